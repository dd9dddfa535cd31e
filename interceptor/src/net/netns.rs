//! A workload's network namespace, held open.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    device: u64,
    inode: u64,
}

impl NetnsRef {
    /// The file to open.
    pub fn path(&self) -> PathBuf {
        match self {
            Self::Path(path) => path.clone(),
            Self::Pid(pid) => PathBuf::from(format!("/proc/{pid}/ns/net")),
        }
    }

    /// Which namespace it stands for now.
    ///
    /// # Errors
    /// Where the file is gone.
    pub fn identity(&self) -> io::Result<Identity> {
        let meta = std::fs::metadata(self.path())?;
        Ok(Identity { device: meta.dev(), inode: meta.ino() })
    }
}

impl Netns {
    /// Opens a workload's network namespace.
    ///
    /// # Errors
    /// Where it is not there or may not be opened.
    pub fn open(reference: &NetnsRef) -> io::Result<Self> {
        let file = File::open(reference.path())?;
        let meta = file.metadata()?;
        let identity = Identity { device: meta.dev(), inode: meta.ino() };
        let home = sys::own_netns()?;
        let own = home.metadata()?;
        let is_home = identity == Identity { device: own.dev(), inode: own.ino() };
        Ok(Self { file, home, is_home, identity })
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
