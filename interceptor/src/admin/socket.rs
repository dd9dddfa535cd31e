//! The unix socket itself: who owns it, who may open it, and that it is gone when its agent is.
//!
//! A lock file beside it tells a living agent from a stale socket: the kernel releases the lock with the process, whatever
//! way that ends. The socket is made with mode 0600, not changed to it, so that there is no moment in which others may
//! connect.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket};
use nix::sys::stat::{Mode, fchmod};
use tokio::sync::watch;

use super::{AdminState, handle, server};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 64;
/// Connections that are served at once; followers stay, so there are more than anyone opens by hand.
const CONNECTIONS: usize = 64;
/// How often the lock is tried again because its file was removed meanwhile.
const ATTEMPTS: usize = 8;

/// The admin socket, bound.
#[derive(Debug)]
pub struct AdminSocket {
    listener: UnixListener,
    owned: Owned,
}

/// The files of the socket; dropping it removes them.
#[derive(Debug)]
struct Owned {
    path: PathBuf,
    lock_path: PathBuf,
    /// Held for as long as the agent lives.
    lock: File,
    /// The files are a successor's now.
    handed: Arc<AtomicBool>,
}

/// The admin socket for a successor. The one who listens goes on until it is told to end.
#[derive(Debug)]
pub struct AdminHandle {
    listener: OwnedFd,
    lock: OwnedFd,
    handed: Arc<AtomicBool>,
}

impl AdminHandle {
    /// Descriptors of the socket and of its lock.
    ///
    /// # Errors
    /// Where no descriptors are left.
    pub fn descriptors(&self) -> io::Result<(OwnedFd, OwnedFd)> {
        Ok((self.listener.try_clone()?, self.lock.try_clone()?))
    }

    /// A successor has them: the files stay.
    pub fn handed_over(&self) {
        self.handed.store(true, Ordering::Relaxed);
    }
}

/// Why there is no admin socket.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// Another agent has it.
    #[error("another agent ({}) is listening on {}; stop it or give another --admin-socket", owner(*.pid), .path.display())]
    InUse {
        /// The socket.
        path: PathBuf,
        /// That agent's process, where it is known.
        pid: Option<u32>,
    },
    /// Something else is there.
    #[error("{} is there already and is no socket; remove it or give another --admin-socket", .path.display())]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// The directory cannot be made.
    #[error("creating the directory {}", .path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The lock file cannot be made or locked.
    #[error("locking {}", .path.display())]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The socket cannot be made.
    #[error("listening on {}", .path.display())]
    Bind {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

fn owner(pid: Option<u32>) -> String {
    pid.map_or_else(|| "of another process".to_owned(), |pid| format!("pid {pid}"))
}

impl AdminSocket {
    /// Takes the path for this process and listens there.
    ///
    /// # Errors
    /// Where a living agent has it, or the file system refuses.
    pub fn bind(path: &Path) -> Result<Self, AdminError> {
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(parent);
            made.map_err(|source| AdminError::Directory { path: parent.to_owned(), source })?;
        }
        let lock_path = lock_path(path);
        let lock = lock(path, &lock_path)?;
        remove_stale(path)?;
        let listener = listener(path).map_err(|source| AdminError::Bind { path: path.to_owned(), source })?;
        Ok(Self { listener, owned: Owned { path: path.to_owned(), lock_path, lock, handed: Arc::default() } })
    }

    /// The socket of the agent before, which has let go of it.
    ///
    /// # Errors
    /// Where the lock's file cannot be written.
    pub fn inherit(path: &Path, listener: OwnedFd, lock: OwnedFd) -> Result<Self, AdminError> {
        let (lock_path, lock) = (lock_path(path), File::from(lock));
        sign(&lock).map_err(|source| AdminError::Lock { path: lock_path.clone(), source })?;
        let owned = Owned { path: path.to_owned(), lock_path, lock, handed: Arc::default() };
        Ok(Self { listener: UnixListener::from(listener), owned })
    }

    /// What a successor gets.
    ///
    /// # Errors
    /// Where no descriptors are left.
    pub fn handle(&self) -> io::Result<AdminHandle> {
        let (listener, lock) = (self.listener.try_clone()?.into(), self.owned.lock.try_clone()?.into());
        Ok(AdminHandle { listener, lock, handed: Arc::clone(&self.owned.handed) })
    }

    /// The socket's path.
    pub fn path(&self) -> &Path {
        &self.owned.path
    }

    /// Answers until `shutdown` turns true (or its sender is gone); then the socket is removed.
    pub async fn serve(self, state: AdminState, shutdown: watch::Receiver<bool>) {
        let Self { listener, owned } = self;
        match tokio::net::UnixListener::from_std(listener) {
            Ok(listener) => {
                let follow_until = shutdown.clone();
                let answer = move |request| handle::answer(state.clone(), request, follow_until.clone());
                server::serve(listener, CONNECTIONS, answer, shutdown).await;
            }
            Err(error) => tracing::error!(%error, "the admin socket cannot be served"),
        }
        drop(owned);
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        if self.handed.load(Ordering::Relaxed) {
            return;
        }
        // The lock is still held, so both files are ours; one that is gone already is what was wanted.
        drop(fs::remove_file(&self.path));
        drop(fs::remove_file(&self.lock_path));
    }
}

fn lock_path(path: &Path) -> PathBuf {
    let mut lock_path = path.as_os_str().to_owned();
    lock_path.push(".lock");
    PathBuf::from(lock_path)
}

/// Writes whose lock this is.
fn sign(mut lock: &File) -> io::Result<()> {
    lock.set_len(0)?;
    lock.rewind()?;
    writeln!(lock, "{}", std::process::id())
}

/// Locks the file beside the socket and writes who did.
fn lock(path: &Path, lock_path: &Path) -> Result<File, AdminError> {
    let failed = |source| AdminError::Lock { path: lock_path.to_owned(), source };
    for _ in 0..ATTEMPTS {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(libc::O_NOFOLLOW);
        let mut file = options.open(lock_path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(AdminError::InUse { path: path.to_owned(), pid: read_pid(&mut file) });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        // An agent that ended in between removed the file: a lock on it would keep nobody out.
        let opened = file.metadata().map_err(failed)?;
        if !fs::metadata(lock_path).is_ok_and(|there| (there.dev(), there.ino()) == (opened.dev(), opened.ino())) {
            continue;
        }
        sign(&file).map_err(failed)?;
        return Ok(file);
    }
    Err(failed(io::Error::other("the file is removed again and again")))
}

fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// Removes the socket of an agent that died. The lock is held, so nobody else does the same.
fn remove_stale(path: &Path) -> Result<(), AdminError> {
    let kind = match fs::symlink_metadata(path) {
        Ok(meta) => meta.file_type(),
        Err(_) => return Ok(()),
    };
    if !kind.is_socket() {
        return Err(AdminError::NotASocket { path: path.to_owned() });
    }
    if UnixStream::connect(path).is_ok() {
        return Err(AdminError::InUse { path: path.to_owned(), pid: None });
    }
    fs::remove_file(path).map_err(|source| AdminError::Bind { path: path.to_owned(), source })
}

fn listener(path: &Path) -> io::Result<UnixListener> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    // Linux gives the new file the mode of the socket's own inode.
    fchmod(&fd, Mode::S_IRUSR | Mode::S_IWUSR)?;
    bind(fd.as_raw_fd(), &UnixAddr::new(path)?)?;
    listen(&fd, Backlog::new(BACKLOG)?)?;
    Ok(UnixListener::from(fd))
}
