//! A pod: a network namespace with one address of each family, and a cgroup.
//!
//! [`Lab::pod`](crate::Lab::pod) starts them. What runs in one is started through it ([`Place`]), or uses sockets that
//! were made in it ([`sockets`](crate::sockets)).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::Deref;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::lab::{GATEWAY_V4, GATEWAY_V6};
use crate::netns::Pauses;
use crate::place::Place;
use crate::{cgroup, listening};

/// A pod of the laboratory. It lives until [`Pod::remove`] or the laboratory's end, not until it is dropped.
#[derive(Debug, Clone)]
pub struct Pod {
    place: Place,
    node: Place,
    pauses: Pauses,
    link: String,
    /// Its IPv4 address.
    pub v4: Ipv4Addr,
    /// Its IPv6 address.
    pub v6: Ipv6Addr,
}

impl Pod {
    /// Makes the pod with this number (the last part of its addresses) and its link to the node.
    pub(crate) fn new(place: Place, number: u8, node: &Place, pauses: &Pauses) -> Result<Pod> {
        let (v4, v6) = addresses(number);
        let link = format!("pod{number}");
        // Link-local addresses are our own: those of the kernel are unusable for a second (duplicate detection), and
        // without any the node cannot ask for the neighbour of a forwarded packet.
        // Every pod's link has the gateway's address: one address on many links is fine with /32 host routes.
        node.ip(&format!(
            "link add name {link} type veth peer name eth0 netns {pid}\n\
             link set {link} addrgenmode none\n\
             link set {link} up\n\
             addr add {GATEWAY_V4}/32 dev {link}\n\
             addr add {GATEWAY_V6}/128 dev {link} nodad\n\
             addr add fe80::1/64 dev {link} nodad\n\
             route add {v4}/32 dev {link}\n\
             route add {v6}/128 dev {link}\n",
            pid = place.netns().pid()
        ))?;
        place.ip(&format!(
            "link set lo up\n\
             link set eth0 addrgenmode none\n\
             link set eth0 up\n\
             addr add {v4}/32 dev eth0\n\
             addr add {v6}/128 dev eth0 nodad\n\
             addr add fe80::{number:x}/64 dev eth0 nodad\n\
             route add {GATEWAY_V4}/32 dev eth0\n\
             route add 0.0.0.0/0 via {GATEWAY_V4} src {v4}\n\
             route add {GATEWAY_V6}/128 dev eth0\n\
             route add ::/0 via {GATEWAY_V6} src {v6}\n"
        ))?;
        Ok(Pod { place, node: node.clone(), pauses: pauses.clone(), link, v4, v6 })
    }

    /// The last part of its addresses.
    pub(crate) fn number(&self) -> u8 {
        self.v4.octets()[3]
    }

    /// Both addresses.
    pub fn addresses(&self) -> [IpAddr; 2] {
        [self.v4.into(), self.v6.into()]
    }

    /// A port of its IPv4 address.
    pub fn at(&self, port: u16) -> SocketAddr {
        (self.v4, port).into()
    }

    /// A port of its IPv6 address.
    pub fn at_v6(&self, port: u16) -> SocketAddr {
        (self.v6, port).into()
    }

    /// Waits until something in the pod listens on a TCP port, without connecting to it.
    pub fn wait_listening(&self, port: u16, limit: Duration) -> Result<()> {
        listening::wait(self.netns().pid(), port, limit)
            .with_context(|| format!("waiting for port {port} of the pod {}", self.name()))
    }

    /// Ends the pod: everything in it is killed, its addresses become unreachable at once.
    pub fn remove(&self) -> Result<()> {
        cgroup::destroy(self.cgroup(), Duration::from_secs(10))
            .with_context(|| format!("removing the pod {}", self.name()))?;
        self.pauses.reap();
        // The namespace itself lives as long as a descriptor of it (the agent's, ours); the link need not.
        self.node.ip(&format!("link del {}\n", self.link))
    }
}

/// The addresses of the pod with this number: the first of a laboratory has number 2, the next one 3.
pub fn addresses(number: u8) -> (Ipv4Addr, Ipv6Addr) {
    (Ipv4Addr::new(10, 244, 0, number), Ipv6Addr::new(0xfd00, 0x244, 0, 0, 0, 0, 0, number.into()))
}

impl Deref for Pod {
    type Target = Place;

    fn deref(&self) -> &Place {
        &self.place
    }
}
