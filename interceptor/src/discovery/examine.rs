//! From a pod's directory to its network namespace: through a process that runs in it.
//!
//! Called by [`Pods`](super::Pods) for one pod at a time. The sandbox's own process (pause) counts like any other. A
//! process alone proves nothing: a runtime puts it into the cgroup before it gives it the namespace, until then it is in
//! the node's; and a container may make namespaces of its own. So the namespace must have an address of the pod.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::{Found, Missing, tree};
use crate::net::netns::{Identity, Netns, of_process};

/// The namespace of the pod whose directory this is. `known` is kept as long as a process is in it.
///
/// # Errors
/// The reason in words.
pub(super) fn examine(dir: &Path, addresses: &[IpAddr], known: Option<&Found>) -> Result<Found, Missing> {
    let mut look = Look::default();
    let pod = dir;
    let mut waiting = vec![pod.to_owned()];
    while let Some(dir) = waiting.pop() {
        for pid in processes(&dir) {
            let Some(identity) = look.at(pid) else { continue };
            if let Some(known) = known.filter(|known| known.netns.identity() == identity) {
                return Ok(known.clone());
            }
            if let Some(netns) = look.judge(pid, identity, addresses) {
                return Ok(Found::new(netns, pod));
            }
        }
        // Containers may divide their own further.
        waiting.extend(tree::directories(&dir));
    }
    Err(look.missing())
}

/// The processes of one cgroup; 0 stands for one that is outside the agent's PID namespace. A cgroup in threaded mode has
/// none of its own: the one above it lists them. One that is gone has none either.
fn processes(dir: &Path) -> Vec<u32> {
    let text = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

/// What has been seen in a pod so far.
#[derive(Default)]
struct Look {
    /// Namespaces that are not the pod's.
    others: Vec<Identity>,
    /// A process that this PID namespace does not show.
    hidden: bool,
    /// What could not be looked at.
    refused: Option<(PathBuf, io::Error)>,
}

impl Look {
    /// The namespace that a process is in; none for one that has just ended or is a zombie.
    fn at(&mut self, pid: u32) -> Option<Identity> {
        if pid == 0 {
            self.hidden = true;
            return None;
        }
        let path = of_process(pid);
        Identity::of(&path).map_err(|error| self.refuse(path, error)).ok()
    }

    /// The namespace, if it is the pod's.
    fn judge(&mut self, pid: u32, identity: Identity, addresses: &[IpAddr]) -> Option<Netns> {
        if self.others.contains(&identity) {
            return None;
        }
        let path = of_process(pid);
        let judged = Netns::open(&path).and_then(|netns| Ok((netns.has_address(addresses)?, netns)));
        match judged {
            // Not that of `identity` where the process has moved meanwhile: what was opened has the address.
            Ok((true, netns)) => return Some(netns),
            Ok((false, _)) => self.others.push(identity),
            Err(error) => self.refuse(path, error),
        }
        None
    }

    fn refuse(&mut self, path: PathBuf, error: io::Error) {
        let ended = error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(Errno::ESRCH as i32);
        if !ended {
            self.refused = Some((path, error));
        }
    }

    /// Why there is no namespace; what somebody has to mend comes first.
    fn missing(self) -> Missing {
        match self.refused {
            Some((path, source)) => Missing::Refused { path, source: source.into() },
            None if !self.others.is_empty() => Missing::Address { namespaces: self.others.len() },
            None if self.hidden => Missing::Hidden,
            None => Missing::Process,
        }
    }
}
