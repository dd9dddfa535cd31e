//! The successor's side of a takeover: finds the agent that runs, gets its maps, then everything else.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::Path;

use interceptor_common::ABI;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};

use super::message::{Channel, Message};
use super::{Admin, Estate, Holding, TakeoverError, listeners, socket_path};
use crate::net::netns::Identity;

/// The agent that runs, as its successor sees it: it goes on as before until [`confirm`](Self::confirm).
#[derive(Debug)]
pub struct Predecessor {
    channel: Channel,
    /// Its process.
    pub pid: u32,
    /// Its version.
    pub version: String,
    /// Its maps by name, until they are taken.
    pub maps: Vec<(String, OwnedFd)>,
}

/// What there is to take over.
#[derive(Debug)]
pub enum Found {
    /// No agent runs.
    Nobody,
    /// One that can be taken over from.
    Agent(Predecessor),
    /// One that could not be, and makes way now: it lets traffic pass directly and drains. Why it could not be.
    Ending(String),
}

/// Looks for an agent with that admin socket.
///
/// # Errors
/// Where there is one that neither hands over nor makes way.
pub fn find(admin: &Path, outbound_port: u16) -> Result<Found, TakeoverError> {
    let Some(socket) = dial(&socket_path(admin)).map_err(TakeoverError::io("asking the agent that runs"))? else {
        return Ok(Found::Nobody);
    };
    let channel = Channel::new(socket)?;
    let version = env!("CARGO_PKG_VERSION").to_owned();
    channel.send(&Message::Hello { abi: ABI, outbound_port, pid: std::process::id(), version }, &[])?;
    match channel.receive()? {
        (Message::Maps { pid, version, names }, fds) if names.len() == fds.len() => {
            let maps = names.into_iter().zip(fds).collect();
            Ok(Found::Agent(Predecessor { channel, pid, version, maps }))
        }
        (Message::Refused { why, can_end: true, .. }, _) => {
            channel.send(&Message::End, &[])?;
            match channel.receive()? {
                (Message::Ending, _) => Ok(Found::Ending(why)),
                (other, _) => Err(unexpected(&other)),
            }
        }
        (Message::Refused { pid, why, .. }, _) => Err(TakeoverError::Refused { pid, why }),
        (other, _) => Err(unexpected(&other)),
    }
}

impl Predecessor {
    /// Gets everything. From now on the predecessor changes nothing; dropping this lets it go on.
    ///
    /// # Errors
    /// Where it refuses or does not answer.
    pub fn take(&self) -> Result<Estate, TakeoverError> {
        self.channel.send(&Message::Take, &[])?;
        let mut estate = Estate::default();
        loop {
            let (message, mut fds) = self.channel.receive()?;
            match message {
                Message::Cgroup { path, programs } if programs.len() == fds.len() => {
                    estate.cgroups.push((path, programs.into_iter().zip(fds).collect()));
                }
                Message::Netns { netns } => estate.holding(netns).link = fds.pop(),
                Message::Listeners { netns } => estate.holding(netns).listeners.extend(listeners(fds)),
                Message::Admin => {
                    let three: Result<[OwnedFd; 3], _> = fds.try_into();
                    let [listener, lock, offer] =
                        three.map_err(|_| TakeoverError::Unexpected("not three sockets".to_owned()))?;
                    estate.admin = Some(Admin { listener, lock, offer });
                }
                Message::Complete => return Ok(estate),
                Message::Refused { pid, why, .. } => return Err(TakeoverError::Refused { pid, why }),
                other => return Err(unexpected(&other)),
            }
        }
    }

    /// Says that this agent is ready. When this returns, all of it is this agent's and the predecessor drains; it is told
    /// by the end of what this returns when this agent ends.
    ///
    /// # Errors
    /// Where it does not agree in time: then it goes on as before.
    pub fn confirm(self) -> Result<Channel, TakeoverError> {
        self.channel.send(&Message::Ready, &[])?;
        match self.channel.receive()? {
            (Message::Yours, _) => Ok(self.channel),
            (other, _) => Err(unexpected(&other)),
        }
    }
}

impl Estate {
    fn holding(&mut self, (device, inode): (u64, u64)) -> &mut Holding {
        let netns = Identity::new(device, inode);
        let at = self.namespaces.iter().rposition(|holding| holding.netns == netns);
        let at = at.unwrap_or_else(|| {
            self.namespaces.push(Holding { netns, link: None, listeners: Vec::new() });
            self.namespaces.len() - 1
        });
        &mut self.namespaces[at]
    }
}

fn unexpected(message: &Message) -> TakeoverError {
    TakeoverError::Unexpected(format!("{message:?}").chars().take(200).collect())
}

/// None where nobody listens.
pub(super) fn dial(path: &Path) -> io::Result<Option<OwnedFd>> {
    let fd = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None)?;
    match connect(fd.as_raw_fd(), &UnixAddr::new(path)?) {
        Ok(()) => Ok(Some(fd)),
        Err(nix::errno::Errno::ENOENT | nix::errno::Errno::ECONNREFUSED) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}
