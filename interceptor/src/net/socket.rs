//! Makes the agent's sockets inside a workload's network namespace: listeners and upstream connections.
//!
//! Upstream connections leave from the workload's namespace so that their source address, NetworkPolicy and route are
//! those of the pod.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockProtocol, SockType, SockaddrStorage, bind, listen, setsockopt, socket,
    sockopt,
};
use tokio::net::TcpSocket;

use super::netns::Netns;

/// Connections that may wait for accept(); the kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// Seconds of silence before a peer is probed, between probes, and how many may stay without an answer: a vanished peer
/// is noticed after four minutes, an idle one costs a packet every two.
const KEEP_ALIVE_IDLE: u32 = 120;
const KEEP_ALIVE_INTERVAL: u32 = 30;
const KEEP_ALIVE_COUNT: u32 = 4;

/// The device that every redirected connection comes from.
const LOOPBACK_DEVICE: &str = "lo";

/// The listeners of one workload for one worker.
#[derive(Debug)]
pub struct Listeners {
    /// For connections that the workload makes.
    pub outbound: TcpListener,
    /// For connections that are made to the workload, one a family: sk_lookup hands a connection only to a listener of
    /// its own, and one bound to `::1` counts as IPv6 only.
    pub inbound: Vec<TcpListener>,
}

/// Opens a set of listeners a worker; the kernel spreads connections over them (`SO_REUSEPORT`).
///
/// The outbound one is bound to the device `lo` and the inbound ones to loopback addresses, so that none can be reached
/// from outside the pod: only the hooks hand connections to them.
///
/// # Errors
/// Where a port is taken or the namespace cannot be entered.
pub fn listen_in(netns: &Netns, outbound_port: u16, workers: usize) -> io::Result<Vec<Listeners>> {
    listen_beside(netns, outbound_port, &[], workers)
}

/// Opens so many sets beside others of the same namespace, on the same ports.
///
/// # Errors
/// As [`listen_in`].
pub fn listen_beside(
    netns: &Netns,
    outbound_port: u16,
    others: &[Listeners],
    count: usize,
) -> io::Result<Vec<Listeners>> {
    let families: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    let inbound = others.first().map(|others| others.inbound.as_slice()).unwrap_or_default();
    let mut ports = families.map(|ip| {
        let own = inbound.iter().filter_map(|listener| listener.local_addr().ok());
        own.clone().find(|own| own.is_ipv4() == ip.is_ipv4()).map_or(0, |own| own.port())
    });
    netns.enter(|| {
        let mut all = Vec::with_capacity(count);
        for _ in 0..count {
            let mut inbound = Vec::with_capacity(2);
            for (port, ip) in ports.iter_mut().zip(families) {
                match listener(SocketAddr::new(ip, *port), false) {
                    Ok(listener) => {
                        *port = listener.local_addr()?.port();
                        inbound.push(listener);
                    }
                    Err(error) if ip.is_ipv6() && no_ipv6(&error) => {}
                    Err(error) => return Err(error),
                }
            }
            all.push(Listeners { outbound: wildcard_listener(outbound_port)?, inbound });
        }
        Ok(all)
    })?
}

fn wildcard_listener(port: u16) -> io::Result<TcpListener> {
    // Dual-stack, as IPv6 sockets arrive with v4-mapped addresses; plain IPv4 where the namespace has no IPv6.
    match listener(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)), true) {
        Err(error) if no_ipv6(&error) => listener(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)), true),
        result => result,
    }
}

fn no_ipv6(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL))
}

fn listener(address: SocketAddr, only_loopback: bool) -> io::Result<TcpListener> {
    let fd = tcp_socket(address.ip())?;
    if address.is_ipv6() {
        setsockopt(&fd, sockopt::Ipv6V6Only, &false)?;
    }
    setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    setsockopt(&fd, sockopt::ReusePort, &true)?;
    // Accepted sockets inherit all of it: a call less for each connection.
    setsockopt(&fd, sockopt::TcpNoDelay, &true)?;
    break_with_process(&fd)?;
    if only_loopback {
        setsockopt(&fd, sockopt::BindToDevice, &LOOPBACK_DEVICE.into())?;
    } else {
        keep_alive(&fd)?;
    }
    bind(fd.as_raw_fd(), &SockaddrStorage::from(address))?;
    listen(&fd, Backlog::new(BACKLOG)?)?;
    Ok(TcpListener::from(fd))
}

fn tcp_socket(family: IpAddr) -> io::Result<OwnedFd> {
    let family = if family.is_ipv6() { AddressFamily::Inet6 } else { AddressFamily::Inet };
    Ok(socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK, SockProtocol::Tcp)?)
}

/// A socket in the workload's namespace that is ready to connect to `to`; with `source`, bound to that address and a
/// port of the kernel's choice.
///
/// # Errors
/// Where the namespace cannot be entered or the source cannot be bound.
pub fn upstream(netns: &Netns, to: SocketAddr, source: Option<IpAddr>) -> io::Result<TcpSocket> {
    let fd = netns.enter(|| tcp_socket(to.ip()))??;
    let socket = TcpSocket::from_std_stream(std::net::TcpStream::from(fd));
    socket.set_nodelay(true)?;
    break_with_process(&socket)?;
    if let Some(ip) = source {
        // Ports that wait out an earlier connection may be used again: the far end differs or its sequence has moved on.
        socket.set_reuseaddr(true)?;
        socket.bind(SocketAddr::new(ip, 0))?;
    } else {
        keep_alive(&socket)?;
    }
    Ok(socket)
}

/// Has the kernel reset a connection whose socket it closes because the process has died: peers must not take what they got
/// for the whole. [`orderly`] undoes it.
///
/// # Errors
/// Where the descriptor is no socket.
fn break_with_process(socket: &impl AsFd) -> io::Result<()> {
    Ok(setsockopt(socket, sockopt::Linger, &libc::linger { l_onoff: 1, l_linger: 0 })?)
}

/// From now on closing the socket ends the connection in order, with what was written delivered.
///
/// # Errors
/// Where the descriptor is no socket.
pub fn orderly(socket: &impl AsFd) -> io::Result<()> {
    Ok(setsockopt(socket, sockopt::Linger, &libc::linger { l_onoff: 0, l_linger: 0 })?)
}

/// Lets the kernel find out that a remote peer has vanished without a word: nothing else would ever end that connection, as
/// neither side's own keep-alive reaches beyond the agent.
///
/// # Errors
/// Where the descriptor is no TCP socket.
pub fn keep_alive(socket: &impl AsFd) -> io::Result<()> {
    setsockopt(socket, sockopt::KeepAlive, &true)?;
    setsockopt(socket, sockopt::TcpKeepIdle, &KEEP_ALIVE_IDLE)?;
    setsockopt(socket, sockopt::TcpKeepInterval, &KEEP_ALIVE_INTERVAL)?;
    Ok(setsockopt(socket, sockopt::TcpKeepCount, &KEEP_ALIVE_COUNT)?)
}

/// The address as IPv4 where it is v4-mapped.
pub fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
