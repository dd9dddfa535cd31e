//! The two sock_diag messages, byte for byte (include/uapi/linux/netlink.h, sock_diag.h, inet_diag.h). Pure.
//!
//! Numbers are in the machine's order, ports and addresses in the network's. Whatever the kernel sends is read within its
//! bounds; a message of a kind that is not known is passed over.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use nix::errno::Errno;

use super::{Connection, DiagError};

/// `struct inet_diag_sockid`.
pub(super) type SocketId = [u8; 48];

const NLMSG_HEADER: usize = 16;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_DUMP: u16 = 0x300;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const SOCK_DESTROY: u16 = 21;
const TCP: u8 = 6;
/// A bit for each TCP state: `TCP_ESTABLISHED` is 1.
pub(super) const ESTABLISHED: u32 = 1 << 1;
/// `TCP_LISTEN` is 10.
pub(super) const LISTENING: u32 = 1 << 10;
/// Whatever somebody may still use: neither listening nor in `TCP_TIME_WAIT`, which is 6.
pub(super) const IN_USE: u32 = !(LISTENING | 1 << 6);
const EVERY_STATE: u32 = u32::MAX;
/// `struct inet_diag_msg` without its attributes, and where its `inet_diag_sockid` begins.
const DIAG_MSG: usize = 72;
const DIAG_MSG_ID: usize = 4;
/// `INET_DIAG_SKV6ONLY`, Linux 4.5, of listening sockets.
const V6_ONLY: u16 = 11;
/// `INET_DIAG_CGROUP_ID`, Linux 5.9.
const CGROUP_ID: u16 = 21;

/// Asks for all TCP sockets of a family in these states.
pub(super) fn list(family: u8, states: u32) -> Vec<u8> {
    request(SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST | NLM_F_DUMP, family, states, &[0; 48])
}

/// Closes one connection.
pub(super) fn destroy(family: u8, id: &SocketId) -> Vec<u8> {
    request(SOCK_DESTROY, NLM_F_REQUEST | NLM_F_ACK, family, EVERY_STATE, id)
}

/// `struct nlmsghdr` and `struct inet_diag_req_v2`.
fn request(kind: u16, flags: u16, family: u8, states: u32, id: &SocketId) -> Vec<u8> {
    const LENGTH: u32 = 16 + 56;
    let mut bytes = Vec::with_capacity(LENGTH as usize);
    bytes.extend(LENGTH.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    // Sequence number and sender: one question at a time, the kernel fills in the sender.
    bytes.extend([0; 8]);
    bytes.extend([family, TCP, 0, 0]);
    bytes.extend(states.to_ne_bytes());
    bytes.extend(id);
    bytes
}

/// One message of an answer.
#[derive(Debug)]
pub(super) enum Answer {
    Connection(Connection),
    /// The end of a list, or what was asked for is done.
    Done,
    Error(Errno),
    Other,
}

/// The messages of one part of an answer.
pub(super) struct Answers<'a> {
    rest: &'a [u8],
}

impl<'a> Answers<'a> {
    pub(super) fn new(part: &'a [u8]) -> Self {
        Self { rest: part }
    }
}

impl Iterator for Answers<'_> {
    type Item = Result<Answer, DiagError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let taken = take(self.rest);
        self.rest = taken.as_ref().map_or(&[], |(_, rest)| rest);
        Some(taken.and_then(|(answer, _)| answer).ok_or(DiagError::Malformed))
    }
}

/// The first message, `None` where it is malformed in itself, and what follows it.
fn take(part: &[u8]) -> Option<(Option<Answer>, &[u8])> {
    let length = usize::try_from(u32_at(part, 0)?).ok()?;
    let body = part.get(NLMSG_HEADER..length)?;
    let rest = part.get(length.next_multiple_of(4)..).unwrap_or_default();
    let answer = match u16_at(part, 4)? {
        NLMSG_DONE => Some(Answer::Done),
        NLMSG_ERROR => u32_at(body, 0).map(|code| match code.cast_signed().wrapping_neg() {
            0 => Answer::Done,
            errno => Answer::Error(Errno::from_raw(errno)),
        }),
        SOCK_DIAG_BY_FAMILY => connection(body).map(Answer::Connection),
        _ => Some(Answer::Other),
    };
    Some((answer, rest))
}

fn connection(body: &[u8]) -> Option<Connection> {
    let family = *body.first()?;
    let id: SocketId = body.get(DIAG_MSG_ID..)?.first_chunk().copied()?;
    let v6 = i32::from(family) == libc::AF_INET6;
    let attributes = body.get(DIAG_MSG..)?;
    Some(Connection {
        local: SocketAddr::new(address(&id, 4, v6)?, port(&id, 0)?),
        remote: SocketAddr::new(address(&id, 20, v6)?, port(&id, 2)?),
        cgroup: attribute(attributes, CGROUP_ID).and_then(<[u8]>::first_chunk).map(|id| u64::from_ne_bytes(*id)),
        v6_only: attribute(attributes, V6_ONLY).and_then(<[u8]>::first).is_some_and(|only| *only != 0),
        family,
        id,
    })
}

/// The value of the attribute of that kind.
fn attribute(mut attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    while let (Some(length), Some(kind)) = (u16_at(attributes, 0), u16_at(attributes, 2)) {
        let length = usize::from(length);
        if kind == wanted {
            return attributes.get(4..length);
        }
        attributes = attributes.get(length.max(4).next_multiple_of(4)..)?;
    }
    None
}

fn address(id: &SocketId, at: usize, v6: bool) -> Option<IpAddr> {
    let bytes = id.get(at..)?;
    if v6 {
        return Some(Ipv6Addr::from(*bytes.first_chunk::<16>()?).to_canonical());
    }
    bytes.first_chunk::<4>().map(|four| IpAddr::from(*four))
}

fn port(id: &SocketId, at: usize) -> Option<u16> {
    id.get(at..)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|two| u16::from_ne_bytes(*two))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|four| u32::from_ne_bytes(*four))
}
