//! Who of several managers writes: a Lease that one of them holds.
//!
//! The decision is pure and never compares clocks of two machines: a lease counts as given up when *this* manager has not
//! seen it change for the lease's duration. A holder stops earlier than that, measured from the moment at which it began
//! its last successful renewal, so that two never write at a time. [`elect`] runs beside the controller, which asks before
//! every write.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, PostParams};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

/// The Lease's name, in the manager's own namespace.
pub const LEASE: &str = "interceptor-ingress-manager";
/// Without a renewal for that long, others may take over.
const DURATION: Duration = Duration::from_secs(15);
/// A holder that could not renew for that long stops writing.
const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// For one write of the manager: one that began before the holder had to stop ends before others may begin.
pub(super) const WRITE_DEADLINE: Duration = DURATION.saturating_sub(RENEW_DEADLINE);
/// For one look at the Lease.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two looks at the Lease.
const PERIOD: Duration = Duration::from_secs(2);

/// What is to be done about the Lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Nobody has made it yet.
    Create,
    /// It is ours, or to be had.
    Hold,
    /// Somebody else has it.
    Wait,
}

/// What this manager has seen of the Lease.
#[derive(Debug, Default)]
struct Observer {
    /// The version that was seen last, and when it was new.
    seen: Option<(String, Instant)>,
}

impl Observer {
    fn step(&mut self, lease: Option<&Lease>, identity: &str, now: Instant) -> Step {
        let Some(lease) = lease else {
            self.seen = None;
            return Step::Create;
        };
        let version = lease.metadata.resource_version.clone().unwrap_or_default();
        let since = match &self.seen {
            Some((seen, since)) if *seen == version => *since,
            _ => {
                self.seen = Some((version, now));
                now
            }
        };
        let spec = lease.spec.as_ref();
        let holder = spec.and_then(|spec| spec.holder_identity.as_deref()).unwrap_or_default();
        let seconds = spec.and_then(|spec| spec.lease_duration_seconds).and_then(|seconds| u64::try_from(seconds).ok());
        let duration = seconds.map_or(DURATION, Duration::from_secs);
        if holder.is_empty() || holder == identity || now.duration_since(since) > duration {
            return Step::Hold;
        }
        Step::Wait
    }
}

/// The Lease as we want it: ours from now on.
fn held(lease: Option<Lease>, identity: &str) -> Lease {
    let mut lease = lease.unwrap_or_else(|| Lease {
        metadata: ObjectMeta { name: Some(LEASE.to_owned()), ..ObjectMeta::default() },
        ..Lease::default()
    });
    let now = Some(MicroTime(Timestamp::now()));
    let spec = lease.spec.get_or_insert_with(LeaseSpec::default);
    if spec.holder_identity.as_deref() != Some(identity) {
        spec.holder_identity = Some(identity.to_owned());
        spec.acquire_time.clone_from(&now);
        spec.lease_transitions = Some(spec.lease_transitions.unwrap_or(0).saturating_add(1));
    }
    spec.lease_duration_seconds = i32::try_from(DURATION.as_secs()).ok();
    spec.renew_time = now;
    lease
}

/// Tries to hold the Lease until `shutdown` turns true, and tells whether it does; gives it up at the end.
pub(super) async fn elect(
    api: Api<Lease>,
    identity: String,
    leading: watch::Sender<bool>,
    mut shutdown: watch::Receiver<bool>,
) {
    let mut elector = Elector { api, identity, observer: Observer::default(), renewed: None };
    loop {
        let started = Instant::now();
        // A holder must know in time that it is none any more, so it does not wait longer than that.
        let patience = elector.left().filter(|left| !left.is_zero()).unwrap_or(PATIENCE).min(PATIENCE);
        match timeout(patience, elector.attempt()).await {
            Ok(Ok(true)) => elector.renewed = Some(started),
            Ok(Ok(false)) => elector.renewed = None,
            // Whether it is still ours is decided by time.
            Ok(Err(error)) => tracing::warn!(%error, lease = LEASE, "asking for the lease"),
            Err(_) => tracing::warn!(lease = LEASE, "asking for the lease: no answer from the API server"),
        }
        let left = elector.left();
        let leads = left.is_some_and(|left| !left.is_zero());
        if leading.send_if_modified(|now| std::mem::replace(now, leads) != leads) {
            tracing::info!(identity = elector.identity, leads, "the lease has changed hands");
        }
        tokio::select! {
            () = sleep(left.filter(|left| !left.is_zero()).map_or(PERIOD, |left| left.min(PERIOD))) => {}
            _ = shutdown.wait_for(|stop| *stop) => break,
        }
    }
    // First nobody writes any more, then somebody else may.
    leading.send_replace(false);
    if elector.renewed.is_some() && timeout(PERIOD, elector.give_up()).await.is_err() {
        tracing::warn!(lease = LEASE, "the lease could not be given up; others wait until it runs out");
    }
}

struct Elector {
    api: Api<Lease>,
    identity: String,
    observer: Observer,
    /// When the last successful renewal began.
    renewed: Option<Instant>,
}

impl Elector {
    /// How long it may still write; `None` where it does not hold the Lease.
    fn left(&self) -> Option<Duration> {
        self.renewed.map(|renewed| RENEW_DEADLINE.saturating_sub(renewed.elapsed()))
    }

    /// Whether the Lease is ours after this.
    async fn attempt(&mut self) -> kube::Result<bool> {
        let lease = self.api.get_opt(LEASE).await?;
        let params = PostParams::default();
        let written = match self.observer.step(lease.as_ref(), &self.identity, Instant::now()) {
            Step::Wait => return Ok(false),
            Step::Create => self.api.create(&params, &held(None, &self.identity)).await,
            // The version goes along: whoever is second gets a conflict.
            Step::Hold => self.api.replace(LEASE, &params, &held(lease, &self.identity)).await,
        };
        match written {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn give_up(&self) {
        let Ok(Some(mut lease)) = self.api.get_opt(LEASE).await else { return };
        let holder = lease.spec.as_mut().map(|spec| &mut spec.holder_identity);
        if let Some(holder) = holder.filter(|holder| holder.as_deref() == Some(self.identity.as_str())) {
            *holder = None;
            if let Err(error) = self.api.replace(LEASE, &PostParams::default(), &lease).await {
                tracing::debug!(%error, lease = LEASE, "giving the lease up");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(holder: &str, version: &str) -> Lease {
        let mut lease = held(None, holder);
        lease.metadata.resource_version = Some(version.to_owned());
        lease
    }

    #[test]
    fn a_lease_is_taken_when_it_has_not_changed_for_its_duration_by_our_own_clock() {
        let mut observer = Observer::default();
        let start = Instant::now();
        assert_eq!(observer.step(None, "me", start), Step::Create);
        // Its times lie far in the past, or the future, of our clock: they do not count.
        let mut other = lease("other", "1");
        other.spec.as_mut().unwrap().renew_time = Some(MicroTime(Timestamp::UNIX_EPOCH));
        assert_eq!(observer.step(Some(&other), "me", start), Step::Wait);
        assert_eq!(observer.step(Some(&other), "me", start + DURATION), Step::Wait);
        assert_eq!(observer.step(Some(&other), "me", start + DURATION + PERIOD), Step::Hold);
        // It lives.
        let renewed = start + DURATION + PERIOD;
        other.metadata.resource_version = Some("2".to_owned());
        assert_eq!(observer.step(Some(&other), "me", renewed), Step::Wait);
        assert_eq!(observer.step(Some(&other), "me", renewed + DURATION), Step::Wait);
    }

    #[test]
    fn ours_and_one_that_was_given_up_are_held_at_once() {
        let mut observer = Observer::default();
        assert_eq!(observer.step(Some(&lease("me", "1")), "me", Instant::now()), Step::Hold);
        assert_eq!(observer.step(Some(&lease("", "2")), "me", Instant::now()), Step::Hold);
    }

    #[test]
    fn a_renewal_keeps_what_an_acquisition_sets() {
        let first = held(None, "me").spec.unwrap();
        assert_eq!((first.lease_transitions, first.lease_duration_seconds), (Some(1), Some(15)));
        let renewed = held(Some(Lease { spec: Some(first.clone()), ..Lease::default() }), "me").spec.unwrap();
        assert_eq!((renewed.acquire_time, renewed.lease_transitions), (first.acquire_time.clone(), Some(1)));
        let taken = held(Some(Lease { spec: Some(first), ..Lease::default() }), "you").spec.unwrap();
        assert_eq!((taken.holder_identity.as_deref(), taken.lease_transitions), (Some("you"), Some(2)));
    }

    #[test]
    fn a_holder_stops_before_others_may_begin() {
        assert!(RENEW_DEADLINE < DURATION && PERIOD < RENEW_DEADLINE);
    }
}
