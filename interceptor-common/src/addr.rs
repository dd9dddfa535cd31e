//! Addresses as the maps hold them: 16 bytes, IPv4 as v4-mapped IPv6, ports in network byte order.
//!
//! One form for both families keeps every map single; the byte order is in the type so that no hook can mix it up.

/// An IP address; IPv4 as `::ffff:a.b.c.d`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address(pub [u8; 16]);

impl Address {
    /// An IPv4 address from its four bytes, `a.b.c.d` in that order.
    #[inline(always)]
    pub const fn v4(o: [u8; 4]) -> Self {
        Self([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, o[0], o[1], o[2], o[3]])
    }

    /// An IPv4 address from the context's word, which is in network byte order.
    #[inline(always)]
    pub const fn from_be32(word: u32) -> Self {
        Self::v4(word.to_ne_bytes())
    }

    /// An IPv6 address from the context's four words, each in network byte order.
    #[inline(always)]
    pub const fn from_be32x4(words: [u32; 4]) -> Self {
        let (a, b, c, d) =
            (words[0].to_ne_bytes(), words[1].to_ne_bytes(), words[2].to_ne_bytes(), words[3].to_ne_bytes());
        Self([a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3], c[0], c[1], c[2], c[3], d[0], d[1], d[2], d[3]])
    }

    /// The four words that a context takes, each in network byte order.
    #[inline(always)]
    pub const fn to_be32x4(self) -> [u32; 4] {
        let o = self.0;
        [
            u32::from_ne_bytes([o[0], o[1], o[2], o[3]]),
            u32::from_ne_bytes([o[4], o[5], o[6], o[7]]),
            u32::from_ne_bytes([o[8], o[9], o[10], o[11]]),
            u32::from_ne_bytes([o[12], o[13], o[14], o[15]]),
        ]
    }

    /// Whether this is an IPv4 address.
    #[inline(always)]
    pub const fn is_v4(self) -> bool {
        let w = self.to_be32x4();
        w[0] == 0 && w[1] == 0 && w[2] == 0xffff_u32.to_be()
    }

    /// The IPv4 bytes; meaningless unless [`Address::is_v4`].
    #[inline(always)]
    pub const fn v4_octets(self) -> [u8; 4] {
        [self.0[12], self.0[13], self.0[14], self.0[15]]
    }

    /// Whether this is 127.0.0.0/8 (also v4-mapped) or `::1`.
    #[inline(always)]
    pub const fn is_loopback(self) -> bool {
        if self.is_v4() {
            return self.0[12] == 127;
        }
        let w = self.to_be32x4();
        w[0] == 0 && w[1] == 0 && w[2] == 0 && w[3] == 1_u32.to_be()
    }

    /// Whether this is `::` or `0.0.0.0`.
    #[inline(always)]
    pub const fn is_unspecified(self) -> bool {
        let w = self.to_be32x4();
        w[0] == 0 && w[1] == 0 && w[3] == 0 && (w[2] == 0 || w[2] == 0xffff_u32.to_be())
    }
}

/// A port in network byte order.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NetPort(pub u16);

impl NetPort {
    /// From host byte order.
    #[inline(always)]
    pub const fn from_host(port: u16) -> Self {
        Self(port.to_be())
    }

    /// To host byte order.
    #[inline(always)]
    pub const fn to_host(self) -> u16 {
        u16::from_be(self.0)
    }
}

/// An address and a port: a destination, a client, a listener.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint {
    /// The address.
    pub address: Address,
    /// The port.
    pub port: NetPort,
    /// Explicit padding: map keys are compared byte by byte.
    pub pad: u16,
}

impl Endpoint {
    /// An endpoint with its padding zeroed.
    #[inline(always)]
    pub const fn new(address: Address, port: NetPort) -> Self {
        Self { address, port, pad: 0 }
    }
}

#[cfg(feature = "user")]
mod user {
    //! Conversions from and to std's types.

    extern crate std;

    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

    use super::{Address, Endpoint, NetPort};

    impl From<IpAddr> for Address {
        fn from(ip: IpAddr) -> Self {
            match ip {
                IpAddr::V4(v4) => Self::v4(v4.octets()),
                IpAddr::V6(v6) => Self(v6.octets()),
            }
        }
    }

    impl From<Address> for IpAddr {
        fn from(address: Address) -> Self {
            if address.is_v4() {
                Self::V4(Ipv4Addr::from(address.v4_octets()))
            } else {
                Self::V6(Ipv6Addr::from(address.0))
            }
        }
    }

    impl From<SocketAddr> for Endpoint {
        fn from(addr: SocketAddr) -> Self {
            Self::new(addr.ip().into(), NetPort::from_host(addr.port()))
        }
    }

    impl From<Endpoint> for SocketAddr {
        fn from(endpoint: Endpoint) -> Self {
            Self::new(endpoint.address.into(), endpoint.port.to_host())
        }
    }
}

#[cfg(all(test, feature = "user"))]
mod tests {
    extern crate std;

    use std::net::{IpAddr, SocketAddr};
    use std::string::ToString;

    use super::*;

    #[test]
    fn both_families_survive_the_trip_through_the_maps_form() {
        for text in ["10.0.0.1:80", "[fd00::1]:443", "0.0.0.0:0", "[::1]:65535"] {
            let addr: SocketAddr = text.parse().unwrap();
            assert_eq!(SocketAddr::from(Endpoint::from(addr)), addr);
        }
    }

    #[test]
    fn a_v4_mapped_address_is_the_v4_address() {
        let mapped: IpAddr = "::ffff:10.1.2.3".parse().unwrap();
        assert_eq!(Address::from(mapped), Address::v4([10, 1, 2, 3]));
        assert_eq!(IpAddr::from(Address::from(mapped)).to_string(), "10.1.2.3");
    }

    #[test]
    fn words_are_the_contexts_network_order() {
        let a = Address::v4([127, 1, 2, 3]);
        assert_eq!(a.to_be32x4()[3].to_ne_bytes(), [127, 1, 2, 3]);
        assert_eq!(Address::from_be32x4(a.to_be32x4()), a);
        assert_eq!(Address::from_be32(u32::from_ne_bytes([127, 1, 2, 3])), a);
    }

    #[test]
    fn loopback_and_unspecified_in_both_families() {
        for (text, loopback, unspecified) in [
            ("127.255.0.1", true, false),
            ("::ffff:127.0.0.1", true, false),
            ("::1", true, false),
            ("::", false, true),
            ("0.0.0.0", false, true),
            ("10.0.0.1", false, false),
            ("fd00::1", false, false),
        ] {
            let a = Address::from(text.parse::<IpAddr>().unwrap());
            assert_eq!((a.is_loopback(), a.is_unspecified()), (loopback, unspecified), "{text}");
        }
    }
}
