//! What two agents say to each other, and how: packets of JSON with descriptors (`SCM_RIGHTS`) on a unix socket.
//!
//! Both sides are root's, on one machine; sizes and waits are bounded all the same.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, recv, sendmsg, setsockopt, sockopt};
use nix::sys::time::{TimeVal, TimeValLike as _};
use serde::{Deserialize, Serialize};

use super::TakeoverError;
use crate::sys;

/// The largest packet: a path and some numbers are far less.
const MAX_BYTES: usize = 16 * 1024;
/// Descriptors of one packet: the links of one cgroup, or one worker's listeners.
const MAX_FDS: usize = 32;
/// How long either side waits for the other's next word.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// How long a successor may take to learn its configuration: a cluster has to be listed.
pub(super) const LEARNING: Duration = Duration::from_secs(600);

/// A packet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "say")]
pub enum Message {
    /// The successor is there.
    Hello {
        /// The layout and meaning of the maps that it knows ([`interceptor_common::ABI`]).
        abi: u64,
        /// The port that its listeners would have.
        outbound_port: u16,
        /// Its process.
        pid: u32,
        /// Its version.
        version: String,
    },
    /// The maps follow, as descriptors.
    Maps {
        /// The predecessor's process.
        pid: u32,
        /// The predecessor's version.
        version: String,
        /// The maps' names, in the order of the descriptors.
        names: Vec<String>,
    },
    /// Nothing changes hands.
    Refused {
        /// The predecessor's process.
        pid: u32,
        /// Why.
        why: String,
        /// Whether it would make way, so that the successor can start afresh.
        can_end: bool,
    },
    /// The successor cannot use what there is: the predecessor is to end as it does for SIGTERM.
    End,
    /// It does.
    Ending,
    /// The successor wants all of it now.
    Take,
    /// The links of a cgroup.
    Cgroup {
        /// Its directory.
        path: PathBuf,
        /// Their programs, in the order of the descriptors.
        programs: Vec<String>,
    },
    /// The link of a network namespace.
    Netns {
        /// The device and inode that name the namespace.
        netns: (u64, u64),
    },
    /// A worker's listeners in a network namespace: the outbound one, then the inbound ones.
    Listeners {
        /// The device and inode that name the namespace.
        netns: (u64, u64),
    },
    /// The admin socket, its lock, and the socket of the next takeover.
    Admin,
    /// That was all of it.
    Complete,
    /// The successor's programs run on every link.
    Ready,
    /// The predecessor lets go.
    Yours,
}

/// One end of the socket.
#[derive(Debug)]
pub struct Channel(OwnedFd);

impl Channel {
    /// A connected socket.
    pub(super) fn new(socket: OwnedFd) -> Result<Self, TakeoverError> {
        let channel = Self(socket);
        channel.set_patience(PATIENCE)?;
        Ok(channel)
    }

    /// How long to wait for the other side's next word; zero: for ever.
    pub(super) fn set_patience(&self, patience: Duration) -> Result<(), TakeoverError> {
        let value = TimeVal::seconds(i64::try_from(patience.as_secs()).unwrap_or(i64::MAX));
        let set = setsockopt(&self.0, sockopt::ReceiveTimeout, &value)
            .and_then(|()| setsockopt(&self.0, sockopt::SendTimeout, &value));
        set.map_err(|errno| TakeoverError::io("setting the deadlines of the takeover socket")(errno.into()))
    }

    /// Sends a packet.
    pub(super) fn send(&self, message: &Message, fds: &[BorrowedFd<'_>]) -> Result<(), TakeoverError> {
        let failed = TakeoverError::io("telling the other agent");
        let text = serde_json::to_vec(message).map_err(|error| failed(error.into()))?;
        let raw: Vec<_> = fds.iter().map(|fd| fd.as_raw_fd()).collect();
        let rights = [ControlMessage::ScmRights(&raw)];
        let control = if raw.is_empty() { &[][..] } else { &rights };
        let flags = MsgFlags::MSG_NOSIGNAL;
        let sent = sendmsg::<()>(self.0.as_raw_fd(), &[IoSlice::new(&text)], control, flags, None);
        sent.map(drop).map_err(|errno| failed(errno.into()))
    }

    /// The next packet.
    pub(super) fn receive(&self) -> Result<(Message, Vec<OwnedFd>), TakeoverError> {
        let failed = TakeoverError::io("waiting for the other agent's word");
        let mut bytes = vec![0; MAX_BYTES];
        let (count, fds) = sys::receive_with_fds(&self.0, &mut bytes, MAX_FDS).map_err(&failed)?;
        if count == 0 {
            return Err(failed(io::ErrorKind::UnexpectedEof.into()));
        }
        let text = bytes.get(..count).unwrap_or_default();
        let message = serde_json::from_slice(text);
        let message = message
            .map_err(|_| TakeoverError::Unexpected(String::from_utf8_lossy(text).chars().take(200).collect()))?;
        Ok((message, fds))
    }

    /// Whether the other side has closed its end; it says nothing any more before it does.
    pub fn is_closed(&self) -> bool {
        // A packet of no bytes is nothing that anybody sends.
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_PEEK;
        !matches!(recv(self.0.as_raw_fd(), &mut [0], flags), Ok(1..) | Err(Errno::EAGAIN | Errno::EINTR))
    }

    /// Returns when the other side has closed its end, however long that takes.
    pub(super) fn wait_closed(&self) {
        if self.set_patience(Duration::ZERO).is_ok() {
            while self.receive().is_ok() {}
        }
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
