//! `pod connect`: one connection made with unusual socket options, and what the application can see of it, as JSON.
//!
//! The hooks must recognise such sockets; addresses are printed as the kernel gives them, v4-mapped ones included.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockProtocol, SockType, SockaddrStorage, bind, connect, setsockopt, socket, sockopt,
};
use serde_json::{Value, json};

/// How the socket is made.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where it connects; `[::ffff:a.b.c.d]:port` for IPv4 through an IPv6 socket.
    pub to: SocketAddr,
    /// Sets `IPV6_V6ONLY`.
    pub v6_only: bool,
    /// Binds the source address first.
    pub source: Option<IpAddr>,
    /// Binds to a device (`SO_BINDTODEVICE`).
    pub device: Option<String>,
    /// What is sent before the sending side is ended.
    pub send: String,
}

/// Connects, sends, ends its side, reads to the end; gives `peer`, `local` and what was `received`.
pub fn run(options: &Options) -> Result<Value> {
    let family = if options.to.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let fd =
        socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, SockProtocol::Tcp).context("making the socket")?;
    if options.v6_only {
        setsockopt(&fd, sockopt::Ipv6V6Only, &true).context("setting IPV6_V6ONLY")?;
    }
    if let Some(device) = &options.device {
        setsockopt(&fd, sockopt::BindToDevice, &device.into()).with_context(|| format!("binding to {device}"))?;
    }
    if let Some(source) = options.source {
        let address = SockaddrStorage::from(SocketAddr::new(source, 0));
        bind(fd.as_raw_fd(), &address).with_context(|| format!("binding {source}"))?;
    }
    connect(fd.as_raw_fd(), &SockaddrStorage::from(options.to))
        .with_context(|| format!("connecting to {}", options.to))?;
    let mut stream = TcpStream::from(fd);
    // Asked before anything is said: a connection that has ended has no peer.
    let (peer, local) = (stream.peer_addr().context("getpeername")?, stream.local_addr().context("getsockname")?);
    stream.set_read_timeout(Some(LIMIT)).context("setting a read timeout")?;
    stream.write_all(options.send.as_bytes()).context("sending")?;
    stream.shutdown(Shutdown::Write).context("ending the write side")?;
    let mut received = Vec::new();
    stream.read_to_end(&mut received).context("reading")?;
    Ok(json!({ "peer": peer, "local": local, "received": String::from_utf8_lossy(&received) }))
}

const LIMIT: Duration = Duration::from_secs(10);
