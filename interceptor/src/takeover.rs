//! One agent takes over from another on the same node: listeners, links and maps change hands while traffic goes on.
//!
//! ```text
//! successor                        predecessor
//!   hello (ABI, port)     ──────►    goes on as ever
//!                         ◄──────  maps
//!   loads its programs on them, learns the configuration
//!   take                  ──────►    changes nothing any more; goes on to accept
//!                         ◄──────  links, listeners, admin socket
//!   has the links run its programs
//!   ready                 ──────►    stops its heartbeat
//!                         ◄──────  yours: lets go of everything and drains
//! ```
//! Until `yours` whatever fails, or whoever dies, leaves the predecessor in charge: it gives its links its own programs back
//! and goes on. Every message is a packet of its own with the descriptors that it names. [`offer`] is the predecessor's
//! side, [`claim`] the successor's; `agent` runs both. Nothing here touches the kernel's hooks.

pub mod claim;
pub mod message;
pub mod offer;

use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use crate::net::netns::Identity;
use crate::net::socket::Listeners;

/// Everything that changes hands, but the maps.
#[derive(Debug, Default)]
pub struct Estate {
    /// The links on each cgroup, by program.
    pub cgroups: Vec<(PathBuf, Vec<(String, OwnedFd)>)>,
    /// What there is in each network namespace.
    pub namespaces: Vec<Holding>,
    /// The admin socket.
    pub admin: Option<Admin>,
}

/// What changes hands of one network namespace.
#[derive(Debug)]
pub struct Holding {
    /// Which.
    pub netns: Identity,
    /// The link of sk_lookup, where that kernel has it.
    pub link: Option<OwnedFd>,
    /// The listeners, one set a worker.
    pub listeners: Vec<Listeners>,
}

/// The admin socket, and what shows whose it is.
#[derive(Debug)]
pub struct Admin {
    /// It.
    pub listener: OwnedFd,
    /// The lock beside it, which is held for as long as anybody has this descriptor.
    pub lock: OwnedFd,
    /// The socket at which the next successor asks.
    pub offer: OwnedFd,
}

/// A takeover that did not come about; the predecessor goes on as before.
#[derive(Debug, thiserror::Error)]
pub enum TakeoverError {
    /// The socket fails.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// The other side says no.
    #[error("the agent that runs (pid {pid}) refuses: {why}")]
    Refused {
        /// Its process.
        pid: u32,
        /// Its words.
        why: String,
    },
    /// The other side says what it should not say now.
    #[error("the other agent sent what does not belong there: {0}")]
    Unexpected(String),
}

impl TakeoverError {
    fn io(doing: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self::Io { doing, source }
    }
}

/// Where an agent with that admin socket waits for its successor.
pub fn socket_path(admin: &std::path::Path) -> PathBuf {
    let mut path = admin.as_os_str().to_owned();
    path.push(".takeover");
    PathBuf::from(path)
}

fn listeners(mut fds: Vec<OwnedFd>) -> Option<Listeners> {
    if fds.is_empty() {
        return None;
    }
    let outbound = TcpListener::from(fds.remove(0));
    Some(Listeners { outbound, inbound: fds.into_iter().map(TcpListener::from).collect() })
}

#[cfg(test)]
mod tests;
