//! The predecessor's side of a takeover: waits for a successor, and hands over what the control thread gives.
//!
//! A thread of its own that does nothing but talk; what is to happen it [asks](Ask) of the control thread, which is the only
//! one that changes anything.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};

use interceptor_common::ABI;
use nix::sys::socket::{
    AddressFamily, Backlog, Shutdown, SockFlag, SockType, UnixAddr, bind, getsockopt, listen, shutdown, socket, sockopt,
};
use nix::sys::stat::{Mode, fchmod};
use nix::unistd::getuid;
use tokio::sync::mpsc;

use super::message::{Channel, LEARNING, Message, PATIENCE};
use super::{Estate, TakeoverError, socket_path};
use crate::sys;

/// What the thread asks of the control thread. Each answer is awaited.
#[derive(Debug)]
pub enum Ask {
    /// Change nothing any more, and give everything, or say why not.
    Export(SyncSender<Result<Estate, String>>),
    /// Stop the heartbeat: the successor's is next.
    Release(SyncSender<()>),
    /// The successor has all of it: let go and drain.
    Commit,
    /// It came to nothing: go on as before.
    Abort(String),
    /// Make way for a successor that can use nothing of this.
    End,
    /// The successor has ended.
    SuccessorGone,
}

/// The socket at which successors ask; dropping it ends the thread and removes it, unless it was handed over.
#[derive(Debug)]
pub struct Offer {
    path: PathBuf,
    listener: Arc<OwnedFd>,
    handed: Arc<AtomicBool>,
}

/// What a thread that talks to successors knows.
#[derive(Debug)]
pub struct Host {
    /// The port of this agent's listeners.
    pub outbound_port: u16,
    /// Its maps by name.
    pub maps: Vec<(String, OwnedFd)>,
    /// To the control thread.
    pub asks: mpsc::Sender<Ask>,
}

impl Offer {
    /// Waits for successors of the agent with that admin socket, whose lock is held; on the predecessor's socket where there
    /// is one.
    ///
    /// # Errors
    /// Where the socket cannot be made.
    pub fn start(admin: &Path, inherited: Option<OwnedFd>, host: Host) -> io::Result<Self> {
        let path = socket_path(admin);
        let listener = match inherited {
            Some(listener) => listener,
            None => open(&path)?,
        };
        let offer = Self { path, listener: Arc::new(listener), handed: Arc::default() };
        let listener = Arc::clone(&offer.listener);
        std::thread::Builder::new().name("takeover".to_owned()).spawn(move || host.wait(listener))?;
        Ok(offer)
    }

    /// A descriptor for the successor.
    ///
    /// # Errors
    /// Where no descriptors are left.
    pub fn descriptor(&self) -> io::Result<OwnedFd> {
        self.listener.try_clone()
    }

    /// It is the successor's now.
    pub fn handed_over(&self) {
        self.handed.store(true, Ordering::Relaxed);
    }
}

impl Drop for Offer {
    fn drop(&mut self) {
        if !self.handed.load(Ordering::Relaxed) {
            drop(fs::remove_file(&self.path));
            // Wakes the thread. The successor's own would be woken as well.
            shutdown(self.listener.as_raw_fd(), Shutdown::Both).ok();
        }
    }
}

/// How talking to a successor ended.
enum Over {
    /// It came to nothing: the next one may ask.
    Nothing,
    /// It has taken over; the channel closes when it ends.
    Succeeded(Channel),
}

impl Host {
    fn wait(self, listener: Arc<OwnedFd>) {
        loop {
            match sys::accept_unix(&*listener) {
                Ok(socket) => match self.serve(socket) {
                    Ok(Over::Succeeded(channel)) => {
                        // It is the successor's alone now: nobody must find it open when that is gone.
                        drop(listener);
                        channel.wait_closed();
                        return self.ask(Ask::SuccessorGone);
                    }
                    Ok(Over::Nothing) => {}
                    Err(error) => tracing::warn!(%error, "a takeover came to nothing"),
                },
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.raw_os_error() == Some(libc::ECONNABORTED) => {}
                // Shut down: the agent ends.
                Err(error) => return tracing::debug!(%error, "no successor is waited for any more"),
            }
        }
    }

    fn serve(&self, socket: OwnedFd) -> Result<Over, TakeoverError> {
        let peer = getsockopt(&socket, sockopt::PeerCredentials);
        let peer = peer.map_err(|errno| TakeoverError::io("asking who the successor is")(errno.into()))?;
        if peer.uid() != getuid().as_raw() {
            return Err(TakeoverError::Unexpected(format!("a successor of user {}", peer.uid())));
        }
        let channel = Channel::new(socket)?;
        let (abi, port, pid, version) = match channel.receive()?.0 {
            Message::Hello { abi, outbound_port, pid, version } => (abi, outbound_port, pid, version),
            other => return Err(TakeoverError::Unexpected(format!("{other:?}"))),
        };
        tracing::info!(pid, version, "a successor asks for what this agent has");
        if let Some(why) = self.mismatch(abi, port) {
            return self.make_way(&channel, why);
        }
        let names = self.maps.iter().map(|(name, _)| name.clone()).collect();
        let fds: Vec<BorrowedFd<'_>> = self.maps.iter().map(|(_, fd)| fd.as_fd()).collect();
        let (pid, version) = (std::process::id(), env!("CARGO_PKG_VERSION").to_owned());
        channel.send(&Message::Maps { pid, version, names }, &fds)?;
        channel.set_patience(LEARNING)?;
        match channel.receive()?.0 {
            Message::Take => {}
            other => return Err(TakeoverError::Unexpected(format!("{other:?}"))),
        }
        channel.set_patience(PATIENCE)?;
        if let Err(error) = self.hand_over(&channel) {
            self.ask(Ask::Abort(error.to_string()));
            return Err(error);
        }
        self.ask(Ask::Commit);
        Ok(Over::Succeeded(channel))
    }

    /// Why what this agent has is of no use to the other.
    fn mismatch(&self, abi: u64, port: u16) -> Option<String> {
        if abi != ABI {
            return Some(format!("its maps have the layout {ABI:016x}, the successor's {abi:016x}"));
        }
        let own = self.outbound_port;
        (port != own).then(|| format!("it listens on capture.outbound_port {own}, the successor on {port}"))
    }

    fn make_way(&self, channel: &Channel, why: String) -> Result<Over, TakeoverError> {
        channel.send(&Message::Refused { pid: std::process::id(), why, can_end: true }, &[])?;
        match channel.receive()?.0 {
            Message::End => {
                self.ask(Ask::End);
                channel.send(&Message::Ending, &[])?;
                Ok(Over::Nothing)
            }
            other => Err(TakeoverError::Unexpected(format!("{other:?}"))),
        }
    }

    /// Up to the word that makes it the successor's.
    fn hand_over(&self, channel: &Channel) -> Result<(), TakeoverError> {
        let pid = std::process::id();
        let exported = self.answer(Ask::Export).and_then(|exported| exported);
        let estate = match exported {
            Ok(estate) => estate,
            Err(why) => {
                channel.send(&Message::Refused { pid, why: why.clone(), can_end: false }, &[])?;
                return Err(TakeoverError::Refused { pid, why });
            }
        };
        send(channel, &estate)?;
        drop(estate);
        match channel.receive()?.0 {
            Message::Ready => {}
            other => return Err(TakeoverError::Unexpected(format!("{other:?}"))),
        }
        self.answer(Ask::Release).map_err(|why| TakeoverError::Refused { pid, why })?;
        channel.send(&Message::Yours, &[])
    }

    fn ask(&self, ask: Ask) {
        if self.asks.blocking_send(ask).is_err() {
            tracing::debug!("the control thread has ended");
        }
    }

    fn answer<T>(&self, ask: impl FnOnce(SyncSender<T>) -> Ask) -> Result<T, String> {
        let (answer_tx, answer_rx) = sync_channel(1);
        self.ask(ask(answer_tx));
        answer_rx.recv_timeout(PATIENCE).map_err(|_| "its control thread does not answer".to_owned())
    }
}

fn send(channel: &Channel, estate: &Estate) -> Result<(), TakeoverError> {
    for (path, links) in &estate.cgroups {
        let programs = links.iter().map(|(program, _)| program.clone()).collect();
        let fds: Vec<_> = links.iter().map(|(_, link)| link.as_fd()).collect();
        channel.send(&Message::Cgroup { path: path.clone(), programs }, &fds)?;
    }
    for holding in &estate.namespaces {
        let netns = holding.netns.parts();
        if let Some(link) = &holding.link {
            channel.send(&Message::Netns { netns }, &[link.as_fd()])?;
        }
        for set in &holding.listeners {
            let fds: Vec<_> = [&set.outbound].into_iter().chain(&set.inbound).map(AsFd::as_fd).collect();
            channel.send(&Message::Listeners { netns }, &fds)?;
        }
    }
    if let Some(admin) = &estate.admin {
        channel.send(&Message::Admin, &[admin.listener.as_fd(), admin.lock.as_fd(), admin.offer.as_fd()])?;
    }
    channel.send(&Message::Complete, &[])
}

/// The lock beside the admin socket is held, so whatever is there is nobody's.
fn open(path: &Path) -> io::Result<OwnedFd> {
    drop(fs::remove_file(path));
    let fd = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None)?;
    // Linux gives the new file the mode of the socket's own inode.
    fchmod(&fd, Mode::S_IRUSR | Mode::S_IWUSR)?;
    bind(fd.as_raw_fd(), &UnixAddr::new(path)?)?;
    listen(&fd, Backlog::new(8)?)?;
    Ok(fd)
}
