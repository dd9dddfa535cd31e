//! Brings the kernel's maps of captured addresses to what a snapshot says, one address at a time.
//!
//! Owned by [`Controller`](super::Controller), which says which addresses to look at. Nothing here walks over all of them:
//! what an update or a sweep costs depends on what it changes. What fails is remembered and tried again at the next sweep.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use interceptor_common::Endpoint;
use interceptor_common::policy::{self, Callers};

use super::close::Switched;
use super::listening::Always;
use crate::bpf::{BpfError, CaptureMaps};
use crate::captured::{Captured, Destinations};
use crate::snapshot::Destination;
use crate::status::CapturedCounts;
use crate::wanted::{Basis, Calls, Wanted};

/// The kernel's maps of addresses, as they are and as far as they are not yet what they should be.
pub(super) struct Addresses {
    destinations: Arc<Destinations>,
    /// Those of the captured destinations that pods of root spaces reach directly.
    outside_roots: HashSet<SocketAddr>,
    /// What is in a space tree and not captured.
    only_copies: HashSet<SocketAddr>,
    /// What the answers to all addresses were based on.
    basis: Basis,
    /// What has switched since it was last asked for; nothing is noted where nobody will ask.
    switched: Option<Switched>,
    /// Ports that are intercepted inbound, and whose connections.
    inbound: HashMap<SocketAddr, Callers>,
    /// Those of them that are intercepted whether their application listens or not.
    always: Always,
    /// Addresses of the workloads that are attached, and whose connections to them are intercepted.
    local: HashMap<IpAddr, Callers>,
    /// What the kernel refused, to be tried again.
    failed: BTreeSet<SocketAddr>,
    /// What found no index. Not tried again before there is one, as it can be very many.
    no_room: BTreeSet<SocketAddr>,
}

impl Addresses {
    /// With `notes`, what switches to captured can be asked for.
    pub(super) fn new(destinations: Arc<Destinations>, notes: bool) -> Self {
        Self {
            destinations,
            outside_roots: HashSet::new(),
            only_copies: HashSet::new(),
            basis: Basis::default(),
            switched: notes.then(Switched::default),
            inbound: HashMap::new(),
            always: Always::default(),
            local: HashMap::new(),
            failed: BTreeSet::new(),
            no_room: BTreeSet::new(),
        }
    }

    /// What has become captured since this was last called.
    pub(super) fn take_switched(&mut self) -> Option<Switched> {
        self.switched.as_mut().map(std::mem::take)
    }

    /// Those of the captured destinations that pods of root spaces reach directly.
    pub(super) fn outside_roots(&self) -> impl Iterator<Item = SocketAddr> {
        self.outside_roots.iter().copied()
    }

    /// How many addresses are captured, and how.
    pub(super) fn counts(&self) -> CapturedCounts {
        CapturedCounts {
            destinations: self.destinations.held(),
            outside_roots: self.outside_roots.len(),
            only_copies: self.only_copies.len(),
            inbound_ports: self.inbound.len(),
            left_out: self.failed.len() + self.no_room.len(),
        }
    }

    /// Takes over what the agent before has in the kernel. All of it is looked at again by the next [`retry`](Self::retry).
    pub(super) fn adopt(&mut self, maps: &CaptureMaps) {
        let captured: HashMap<SocketAddr, policy::Captured> = maps
            .captured
            .entries()
            .into_iter()
            .map(|(endpoint, word)| (SocketAddr::from(endpoint), policy::Captured::from_word(word)))
            .collect();
        for (index, endpoint) in maps.originals.entries() {
            let addr = SocketAddr::from(endpoint);
            self.destinations.adopt(index, addr);
            if captured.get(&addr).is_none_or(|entry| entry.index != index) {
                self.destinations.retire(addr);
            }
        }
        let outside_roots = captured.iter().filter(|(_, entry)| entry.passes_root);
        self.outside_roots = outside_roots.map(|(addr, _)| *addr).collect();
        self.failed.extend(captured.into_keys());
    }

    /// Removes inbound ports that the agent before has left and that are not wanted.
    pub(super) fn purge(&self, maps: &mut CaptureMaps) {
        for (endpoint, _) in maps.inbound.entries() {
            if !self.inbound.contains_key(&SocketAddr::from(endpoint))
                && let Err(error) = maps.inbound.remove(&endpoint)
            {
                tracing::warn!(%error, "forgetting an inbound port of the agent before");
            }
        }
    }

    /// Brings the kernel to a snapshot that differs from the last one at these addresses.
    pub(super) fn update(&mut self, maps: &mut CaptureMaps, wanted: &Wanted<'_>, changed: &[SocketAddr]) {
        let basis = wanted.basis();
        if basis == self.basis {
            return self.look_at(maps, wanted, changed.iter().copied());
        }
        // A tree was woken or laid to rest: addresses of services that did not change are concerned.
        self.basis = basis;
        let all: BTreeSet<SocketAddr> = wanted.snapshot().destinations().map(|(addr, _)| addr).collect();
        let gone = changed.iter().copied().filter(|addr| !all.contains(addr));
        self.look_at(maps, wanted, all.iter().copied().chain(gone));
    }

    /// The addresses of the workloads that are attached, and whose connections to them are intercepted.
    pub(super) fn local(&self) -> &HashMap<IpAddr, Callers> {
        &self.local
    }

    /// Brings the kernel to what is wanted of these addresses.
    fn look_at(
        &mut self,
        maps: &mut CaptureMaps,
        wanted: &Wanted<'_>,
        addresses: impl IntoIterator<Item = SocketAddr>,
    ) {
        let (before, mut refusals) = (self.no_room.len(), Refusals::default());
        for addr in addresses {
            self.look_at_one(maps, wanted, addr, &mut refusals);
        }
        // Only now: something may have been released by what came last.
        while self.destinations.has_room()
            && let Some(addr) = self.no_room.pop_first()
        {
            self.look_at_one(maps, wanted, addr, &mut refusals);
        }
        if self.no_room.len() > before {
            let destinations = self.no_room.len();
            tracing::warn!(destinations, "the capture map is full: these destinations pass uncaptured");
        }
        refusals.tell();
    }

    /// Workloads were attached or detached, or have to see more or less: these are their addresses now.
    pub(super) fn set_local(&mut self, maps: &mut CaptureMaps, wanted: &Wanted<'_>, local: HashMap<IpAddr, Callers>) {
        let before = std::mem::replace(&mut self.local, local);
        let came = self.local.iter().filter(|(ip, callers)| before.get(ip) != Some(callers)).map(|(ip, _)| *ip);
        let mut changed: Vec<SocketAddr> =
            came.flat_map(|ip| wanted.snapshot().destinations_at(ip)).map(|(at, _)| at).collect();
        changed.extend(self.inbound.keys().filter(|at| !self.local.contains_key(&at.ip())));
        self.look_at(maps, wanted, changed);
    }

    /// Leaves inbound ports on which nobody listens to what the hooks see. They see the workloads at the addresses `seen`.
    pub(super) fn settle<'w>(
        &mut self,
        maps: &mut CaptureMaps,
        seen: &HashSet<IpAddr>,
        workloads: impl Iterator<Item = &'w Captured>,
    ) {
        self.always.settle(maps, seen, workloads);
    }

    /// Tries again what failed.
    pub(super) fn retry(&mut self, maps: &mut CaptureMaps, wanted: &Wanted<'_>) {
        let failed: Vec<SocketAddr> = self.failed.iter().copied().collect();
        self.look_at(maps, wanted, failed);
    }

    fn look_at_one(&mut self, maps: &mut CaptureMaps, wanted: &Wanted<'_>, addr: SocketAddr, refusals: &mut Refusals) {
        self.no_room.remove(&addr);
        let again = self.failed.remove(&addr);
        let destination = wanted.snapshot().destination(addr);
        let calls = destination.map_or(Calls::None, |destination| wanted.calls_to(&destination));
        if destination.is_some() && calls == Calls::None {
            self.only_copies.insert(addr);
        } else {
            self.only_copies.remove(&addr);
        }
        let before = self.captured(addr);
        let outbound = if calls == Calls::None && before != Calls::None {
            self.release(maps, addr)
        } else if calls != Calls::None && (calls != before || again) {
            self.capture(maps, addr, calls, before)
        } else {
            Ok(())
        };
        let called = |destination: Destination<'_>| {
            let callers = *self.local.get(&addr.ip())?;
            let all = callers == Callers::All && destination.is_endpoint();
            (all || wanted.inbound(&destination)).then_some(callers)
        };
        let inbound = match (destination.and_then(called), self.inbound.get(&addr)) {
            (Some(callers), before) if before != Some(&callers) => self.intercept(maps, addr, callers),
            (None, Some(_)) => self.leave(maps, addr),
            _ => Ok(()),
        };
        for error in [outbound, inbound].into_iter().filter_map(Result::err) {
            // Told once: sweeps try again every second.
            if self.failed.insert(addr) && !again {
                refusals.note(addr, error);
            }
        }
    }

    /// Whose calls to an address are captured now.
    fn captured(&self, addr: SocketAddr) -> Calls {
        match (self.destinations.holds(addr), self.outside_roots.contains(&addr)) {
            (false, _) => Calls::None,
            (true, false) => Calls::All,
            (true, true) => Calls::OutsideRoots,
        }
    }

    fn capture(
        &mut self,
        maps: &mut CaptureMaps,
        addr: SocketAddr,
        calls: Calls,
        before: Calls,
    ) -> Result<(), BpfError> {
        let Some(assigned) = self.destinations.assign(addr) else {
            self.no_room.insert(addr);
            return Ok(());
        };
        let endpoint = Endpoint::from(addr);
        let entry = policy::Captured { index: assigned.index, passes_root: calls == Calls::OutsideRoots };
        if calls == Calls::OutsideRoots {
            self.outside_roots.insert(addr);
        } else {
            self.outside_roots.remove(&addr);
        }
        let told = maps.originals.insert(assigned.index, endpoint);
        if let Err(error) = told.and_then(|()| maps.captured.insert(endpoint, entry.to_word())) {
            if before == Calls::None {
                // Its index is free for others, and it does not count as captured.
                self.destinations.retire(addr);
                self.outside_roots.remove(&addr);
            }
            return Err(error);
        }
        if let Some(switched) = self.switched.as_mut().filter(|_| calls > before) {
            switched.destinations.insert(addr, calls);
        }
        Ok(())
    }

    fn intercept(&mut self, maps: &mut CaptureMaps, addr: SocketAddr, callers: Callers) -> Result<(), BpfError> {
        self.always.begin(maps, addr, callers)?;
        let before = self.inbound.insert(addr, callers);
        if let Some(switched) = self.switched.as_mut().filter(|_| before.is_none()) {
            switched.inbound.insert(addr);
        }
        Ok(())
    }

    fn leave(&mut self, maps: &mut CaptureMaps, addr: SocketAddr) -> Result<(), BpfError> {
        maps.inbound.remove(&addr.into())?;
        self.inbound.remove(&addr);
        self.always.end(&addr);
        Ok(())
    }

    /// The original stays readable by index: connections that were redirected still ask for it.
    fn release(&mut self, maps: &mut CaptureMaps, addr: SocketAddr) -> Result<(), BpfError> {
        maps.captured.remove(&addr.into())?;
        self.destinations.retire(addr);
        self.outside_roots.remove(&addr);
        Ok(())
    }
}

/// What the kernel has refused while many addresses were looked at: told in one line, however many they are.
#[derive(Debug, Default)]
struct Refusals {
    first: Option<(SocketAddr, BpfError)>,
    count: usize,
}

impl Refusals {
    fn note(&mut self, addr: SocketAddr, error: BpfError) {
        self.count += 1;
        self.first.get_or_insert((addr, error));
    }

    fn tell(self) {
        let Some((addr, error)) = self.first else { return };
        let addresses = self.count;
        tracing::warn!(addresses, %addr, %error, "bringing the kernel to what is captured failed; it is tried again");
    }
}
