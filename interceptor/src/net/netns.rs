//! A workload's network namespace, held open.

use std::fs::{File, Metadata};
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::ifaddrs::getifaddrs;

use crate::config::NetnsRef;
use crate::sys;

/// A network namespace that this process can enter.
#[derive(Debug)]
pub struct Netns {
    file: File,
    home: File,
    /// Nothing has to be entered: the workload shares the agent's own namespace.
    is_home: bool,
    identity: Identity,
}

/// Which namespace a file stands for: two files with the same identity are the same namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Identity {
    device: u64,
    inode: u64,
}

impl NetnsRef {
    /// The file to open; none for a pod, which has to be found first.
    pub fn path(&self) -> Option<PathBuf> {
        match self {
            Self::Path(path) => Some(path.clone()),
            Self::Pid(pid) => Some(of_process(*pid)),
            Self::Pod(_) => None,
        }
    }
}

/// The file of a process's network namespace.
pub fn of_process(pid: u32) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/ns/net"))
}

impl Identity {
    /// That of the namespace with this device and inode.
    pub fn new(device: u64, inode: u64) -> Self {
        Self { device, inode }
    }

    /// Its device and inode.
    pub fn parts(self) -> (u64, u64) {
        (self.device, self.inode)
    }

    /// Which namespace a file stands for now.
    ///
    /// # Errors
    /// Where the file is gone, or is that of a process which has ended.
    pub fn of(path: &Path) -> io::Result<Self> {
        Ok(Self::from(&std::fs::metadata(path)?))
    }
}

impl From<&Metadata> for Identity {
    fn from(meta: &Metadata) -> Self {
        Self { device: meta.dev(), inode: meta.ino() }
    }
}

impl Netns {
    /// Opens the network namespace that a file stands for.
    ///
    /// # Errors
    /// Where it is not there or may not be opened.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let identity = Identity::from(&file.metadata()?);
        let home = sys::own_netns()?;
        let is_home = identity == Identity::from(&home.metadata()?);
        Ok(Self { file, home, is_home, identity })
    }

    /// The same namespace, held once more.
    ///
    /// # Errors
    /// Where the limit of open files is reached.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { file: self.file.try_clone()?, home: self.home.try_clone()?, ..*self })
    }

    /// Whether one of these addresses is set on an interface inside.
    ///
    /// # Errors
    /// As for [`enter`](Self::enter), or where the kernel does not list the interfaces.
    pub fn has_address(&self, addresses: &[IpAddr]) -> io::Result<bool> {
        self.enter(|| {
            let mut own = getifaddrs()?.filter_map(|interface| {
                let address = interface.address?;
                let v4 = address.as_sockaddr_in().map(|address| IpAddr::from(address.ip()));
                v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::from(address.ip())))
            });
            Ok(own.any(|address| addresses.contains(&address)))
        })?
    }

    /// Which namespace this is.
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// Whether it is the agent's own: that of the host.
    pub fn is_home(&self) -> bool {
        self.is_home
    }

    /// Runs `work` inside; sockets that it makes stay there. Must not be called across an await.
    ///
    /// # Errors
    /// Where the namespace cannot be entered.
    pub fn enter<T>(&self, work: impl FnOnce() -> T) -> io::Result<T> {
        if self.is_home {
            return Ok(work());
        }
        sys::in_netns(self.file.as_fd(), self.home.as_fd(), work)
    }
}

impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
