//! Programs attached to cgroups and network namespaces, as descriptors that can be handed to a successor.
//!
//! Closing the last descriptor of a link detaches its program, unless it is [pinned](Pins). [`Kernel`](super::Kernel) makes
//! them.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use interceptor_common::names;

use super::pins::Pins;
use crate::sys;

/// The hooks that send connections elsewhere, as opposed to those that show addresses or count.
const REDIRECTING: [&str; 4] = [names::CONNECT4, names::CONNECT6, names::SENDMSG4, names::SENDMSG6];

/// The hooks that refuse connections where no agent answers and `capture.fail` is `closed`.
const REFUSING: [&str; 2] = [names::CONNECT4, names::CONNECT6];

/// A link, and where it is pinned. Dropping it removes the pin.
#[derive(Debug)]
struct Link {
    fd: OwnedFd,
    pin: Option<PathBuf>,
}

impl Link {
    /// Pins it, unless it is pinned: the file system may have been taken away meanwhile, and another one be there.
    fn keep(&mut self, pins: &mut Pins) {
        if self.pin.as_ref().is_none_or(|path| !path.exists()) {
            self.pin = pins.keep(&self.fd);
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // One that is gone already is what was wanted.
        self.pin.iter().for_each(|path| drop(fs::remove_file(path)));
    }
}

/// The programs attached to one cgroup; dropping detaches them, unless a successor holds them as well.
#[derive(Debug, Default)]
pub struct CgroupLinks {
    links: Vec<(&'static str, Link)>,
}

impl CgroupLinks {
    pub(super) fn new(links: Vec<(&'static str, OwnedFd)>) -> Self {
        let links = links.into_iter().map(|(program, fd)| (program, Link { fd, pin: None }));
        Self { links: links.collect() }
    }

    /// Every link with its program.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, BorrowedFd<'_>)> {
        self.links.iter().map(|(program, link)| (*program, link.fd.as_fd()))
    }

    /// Whether every link is attached to the cgroup with that identifier. Links that the kernel does not tell of count.
    pub fn all_lead_to(&self, cgroup: u64) -> bool {
        self.links.iter().all(|(_, link)| leads_to(link, cgroup))
    }

    /// Those links that are attached to the cgroup with that identifier, as [`Kernel::attach_rest`] takes them.
    ///
    /// [`Kernel::attach_rest`]: super::Kernel::attach_rest
    ///
    /// # Errors
    /// Where no descriptors are left.
    pub fn leading_to(&self, cgroup: u64) -> io::Result<Vec<(String, OwnedFd)>> {
        let whole = self.links.iter().filter(|(_, link)| leads_to(link, cgroup));
        whole.map(|(program, link)| Ok(((*program).to_owned(), link.fd.try_clone()?))).collect()
    }

    /// Has those links outlive the agent that refuse what no agent is there for. Again and again: see [`Pins::keep`].
    pub fn keep(&mut self, pins: Option<&mut Pins>) {
        let Some(pins) = pins else { return };
        let refusing = self.links.iter_mut().filter(|(program, _)| REFUSING.contains(program));
        refusing.for_each(|(_, link)| link.keep(pins));
    }

    /// Detaches what redirects. Connections under way are still shown their peers.
    pub fn stop_redirecting(&mut self) {
        self.links.retain(|(program, _)| !REDIRECTING.contains(program));
    }

    /// A successor has the links, and pins of its own: this agent's stay until that removes them.
    pub fn hand_over(&mut self) {
        self.links.iter_mut().for_each(|(_, link)| link.pin = None);
    }
}

/// sk_lookup attached to one network namespace; dropping detaches it, unless a successor holds it as well.
#[derive(Debug)]
pub struct NetnsLink(Link);

impl NetnsLink {
    /// One that runs this agent's program, whoever has made it.
    pub fn new(fd: OwnedFd) -> Self {
        Self(Link { fd, pin: None })
    }

    /// Has it outlive the agent. As [`CgroupLinks::keep`].
    pub fn keep(&mut self, pins: Option<&mut Pins>) {
        pins.into_iter().for_each(|pins| self.0.keep(pins));
    }

    /// As [`CgroupLinks::hand_over`].
    pub fn hand_over(&mut self) {
        self.0.pin = None;
    }

    /// Whether somebody has detached it. Not where the kernel does not tell.
    pub fn is_detached(&self) -> bool {
        sys::bpf_link_target(&self.0.fd).is_ok_and(|target| target == 0)
    }
}

fn leads_to(link: &Link, target: u64) -> bool {
    sys::bpf_link_target(&link.fd).map_or(true, |now| now == target)
}

impl AsFd for NetnsLink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.fd.as_fd()
    }
}
