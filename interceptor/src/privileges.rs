//! Gives up what the process does not need: capabilities, new privileges, system calls, core dumps.
//!
//! [`confine_process`] is called first by `interceptor run` and `interceptor ingress-manager`, before any other thread is
//! there (that of the log, too), so that every thread has no more from its beginning. [`confine_worker`] is called by
//! each worker before it reads a byte from the network. What fails is logged and left: an agent that holds too much is
//! better than none, and `status` shows what each thread really has ([`Confinement::of_process`]).
//!
//! docs/decisions/0019-privileges.md says why these and no others.

mod filter;
mod report;

use std::io;

use caps::{CapSet, Capability, CapsHashSet};
use nix::sys::prctl;
use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};

pub use report::{Confinement, ThreadPrivileges};

/// What the agent keeps of what it was given, as long as it lives. A port below 1024 is one that somebody chose
/// (`capture.outbound_port`, `metrics.address`); what was not given is not asked for.
pub const AGENT: &[Capability] = &[
    Capability::CAP_BPF,
    Capability::CAP_NET_ADMIN,
    Capability::CAP_NET_BIND_SERVICE,
    Capability::CAP_PERFMON,
    Capability::CAP_SYS_ADMIN,
    Capability::CAP_SYS_PTRACE,
];

/// What a worker keeps: it enters network namespaces to make sockets there, which its filter reduces it to.
pub const WORKER: &[Capability] = &[Capability::CAP_SYS_ADMIN];

/// The ingress manager speaks with an API server, and needs nothing for it.
pub const MANAGER: &[Capability] = &[];

/// What could not be given up.
#[derive(Debug, thiserror::Error)]
enum ConfineError {
    #[error("forbidding itself new privileges: {0}")]
    NewPrivileges(io::Error),
    #[error("keeping its memory from being dumped: {0}")]
    Dumps(io::Error),
    #[error("dropping capabilities from its {0} set: {1}")]
    Capabilities(&'static str, caps::errors::CapsError),
    #[error("forbidding itself system calls: {0}")]
    Filter(#[from] filter::FilterError),
}

/// What could not be given up, to be told once there is a log.
#[must_use = "what was kept against the documentation has to be told"]
pub struct Confined(Vec<ConfineError>);

/// Leaves this process, which has one thread and no log yet, with `keep` at most.
pub fn confine_process(keep: &[Capability]) -> Confined {
    allow_maps();
    let forbidden = || filter::forbid_to_process().map_err(ConfineError::from);
    let steps = [new_privileges(), dumps(), bounding(keep), capabilities(keep), forbidden()];
    Confined(steps.into_iter().filter_map(Result::err).collect())
}

/// Leaves the calling thread with what a worker needs at most.
pub fn confine_worker() {
    let steps = [capabilities(WORKER), filter::allow_to_worker().map_err(ConfineError::from)];
    Confined(steps.into_iter().filter_map(Result::err).collect()).tell();
}

impl Confined {
    /// Logs each right that was kept against the documentation.
    pub fn tell(self) {
        let thread = std::thread::current();
        for error in self.0 {
            tracing::warn!(
                thread = thread.name().unwrap_or_default(),
                "goes on with more rights than it needs: {error}"
            );
        }
    }
}

/// Before 5.11 maps are charged to a limit that only CAP_SYS_RESOURCE lifts, which is not kept. Where it may not be lifted
/// loading the maps says so.
fn allow_maps() {
    setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY).ok();
}

/// No program that this process might be brought to execute gets more than it has: no set-user-ID, no file capabilities.
fn new_privileges() -> Result<(), ConfineError> {
    prctl::set_no_new_privs().map_err(|error| ConfineError::NewPrivileges(error.into()))
}

/// Its memory holds what other people send: it is written to no file and handed to no program that collects crashes (for
/// those the limit does not count), and shown to nobody without CAP_SYS_PTRACE.
fn dumps() -> Result<(), ConfineError> {
    let limited = setrlimit(Resource::RLIMIT_CORE, 0, 0).and_then(|()| prctl::set_dumpable(false));
    limited.map_err(|error| ConfineError::Dumps(error.into()))
}

/// A process may shorten this set only with CAP_SETPCAP. Without it there is nothing that could be had from it either:
/// nothing is executed.
fn bounding(keep: &[Capability]) -> Result<(), ConfineError> {
    let failed = |error| ConfineError::Capabilities("bounding", error);
    if !caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP).map_err(failed)? {
        return Ok(());
    }
    let all = caps::read(None, CapSet::Bounding).map_err(failed)?;
    all.into_iter()
        .filter(|capability| !keep.contains(capability))
        .try_for_each(|capability| caps::drop(None, CapSet::Bounding, capability))
        .map_err(failed)
}

/// What to add where a file may not be read, which root finds surprising.
pub fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "; the agent gives up the right to read everybody's files: have it, and its directories, owned by root or open to all"
        }
        _ => "",
    }
}

fn capabilities(keep: &[Capability]) -> Result<(), ConfineError> {
    let failed = |set| move |error| ConfineError::Capabilities(set, error);
    caps::clear(None, CapSet::Ambient).map_err(failed("ambient"))?;
    caps::clear(None, CapSet::Inheritable).map_err(failed("inheritable"))?;
    let permitted = caps::read(None, CapSet::Permitted).map_err(failed("permitted"))?;
    let kept: CapsHashSet = permitted.into_iter().filter(|capability| keep.contains(capability)).collect();
    // In this order: nothing may be effective that is not permitted.
    caps::set(None, CapSet::Effective, &kept).map_err(failed("effective"))?;
    caps::set(None, CapSet::Permitted, &kept).map_err(failed("permitted"))
}

#[cfg(test)]
mod tests;
