//! The sockets that stand for one DNS server on a workload's loopback. `capture` opens them, [`serve`](super::serve) gets them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};

use interceptor_common::dns::PORT;

use crate::net::netns::Netns;

/// How often a port that one protocol has free and the other has not is tried again.
const TRIES: usize = 16;

/// The sockets that stand for one server: one port for both protocols.
///
/// An IPv6 server has them on `::1`: the kernel takes no IPv4 address from the sendmsg6 hook. Loopback addresses cannot be
/// reached from outside the pod.
#[derive(Debug)]
pub struct StandIn {
    /// The server.
    pub server: SocketAddr,
    pub(super) udp: UdpSocket,
    pub(super) tcp: TcpListener,
}

impl StandIn {
    /// Opens them in a workload's network namespace, on a port of the kernel's choice.
    ///
    /// # Errors
    /// Where the namespace cannot be entered, or has no loopback address of the server's family.
    pub fn open(netns: &Netns, server: IpAddr) -> io::Result<Self> {
        let loopback = if server.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
        let (udp, tcp) = netns.enter(|| pair(loopback))??;
        udp.set_nonblocking(true)?;
        tcp.set_nonblocking(true)?;
        Ok(Self { server: SocketAddr::new(server, PORT), udp, tcp })
    }

    /// Where they are.
    ///
    /// # Errors
    /// Where the kernel does not tell.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.udp.local_addr()
    }
}

fn pair(loopback: IpAddr) -> io::Result<(UdpSocket, TcpListener)> {
    let mut taken = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..TRIES {
        let udp = UdpSocket::bind((loopback, 0))?;
        match TcpListener::bind(udp.local_addr()?) {
            Ok(tcp) => return Ok((udp, tcp)),
            Err(error) => taken = error,
        }
    }
    Err(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_protocols_have_one_port_on_loopback() {
        let (udp, tcp) = pair(Ipv4Addr::LOCALHOST.into()).unwrap();
        assert_eq!(udp.local_addr().unwrap(), tcp.local_addr().unwrap());
        assert!(udp.local_addr().unwrap().ip().is_loopback());
    }
}
