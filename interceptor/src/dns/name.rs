//! Names below `<space>.svc.<cluster domain>`: which service a question is about. Pure; compared without case.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hickory_proto::rr::Name;

/// The cluster's own domain.
#[derive(Debug)]
pub(super) struct Zone {
    labels: Vec<String>,
    /// The domain.
    pub(super) name: Name,
}

/// What a name of the asker's own space stands for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked<'n> {
    /// `<service>`.
    Service {
        /// The service's name, in the question's case.
        service: &'n str,
    },
    /// `_<port>._<protocol>.<service>`.
    Port {
        /// The port's name.
        port: &'n str,
        /// `tcp` or another protocol.
        protocol: &'n str,
        /// The service's name.
        service: &'n str,
    },
    /// `<address with dashes>.<service>`: a pod behind a headless service.
    Endpoint {
        /// Its address.
        address: IpAddr,
        /// The service's name.
        service: &'n str,
    },
}

impl Asked<'_> {
    /// The service's name, in the question's case.
    pub(super) fn service(&self) -> &str {
        match self {
            Self::Service { service } | Self::Port { service, .. } | Self::Endpoint { service, .. } => service,
        }
    }
}

impl Zone {
    /// The configuration has only domains that are names.
    pub(super) fn new(domain: &str) -> Self {
        let mut name = Name::from_ascii(domain).unwrap_or_else(|_| Name::root());
        name.set_fqdn(true);
        Self { labels: domain.split('.').map(str::to_owned).collect(), name }
    }

    /// What a name stands for, if it lies in the space of that name.
    pub(super) fn asked<'n>(&self, name: &'n Name, space: &str) -> Option<Asked<'n>> {
        let labels: Vec<&[u8]> = name.iter().collect();
        let own = labels.len().checked_sub(self.labels.len() + 2)?;
        let (own, rest) = labels.split_at_checked(own)?;
        let expected = [space, "svc"].into_iter().chain(self.labels.iter().map(String::as_str));
        if !rest.iter().zip(expected).all(|(label, expected)| label.eq_ignore_ascii_case(expected.as_bytes())) {
            return None;
        }
        let text = |label: &'n [u8]| std::str::from_utf8(label).ok();
        match *own {
            [service] => Some(Asked::Service { service: text(service)? }),
            [address, service] => Some(Asked::Endpoint { address: undashed(text(address)?)?, service: text(service)? }),
            [port, protocol, service] => Some(Asked::Port {
                port: text(port)?.strip_prefix('_')?,
                protocol: text(protocol)?.strip_prefix('_')?,
                service: text(service)?,
            }),
            _ => None,
        }
    }
}

/// An address as a label, as CoreDNS names the endpoints of headless services.
pub(super) fn dashed(address: IpAddr) -> String {
    address.to_string().replace(['.', ':'], "-")
}

fn undashed(label: &str) -> Option<IpAddr> {
    let v4 = label.replace('-', ".").parse::<Ipv4Addr>().map(IpAddr::V4);
    v4.or_else(|_| label.replace('-', ":").parse::<Ipv6Addr>().map(IpAddr::V6)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(name: &str) -> Option<String> {
        let zone = Zone::new("cluster.local");
        let name = Name::from_ascii(name).unwrap();
        zone.asked(&name, "Child").map(|asked| format!("{asked:?}"))
    }

    #[test]
    fn names_of_the_own_space_are_taken_apart_without_case() {
        let service = |service: &str| Some(format!("Service {{ service: {service:?} }}"));
        assert_eq!(asked("serviceb.child.svc.cluster.local."), service("serviceb"));
        assert_eq!(asked("ServiceB.CHILD.Svc.Cluster.LOCAL"), service("ServiceB"));
        assert_eq!(
            asked("_http._tcp.b.child.svc.cluster.local."),
            Some("Port { port: \"http\", protocol: \"tcp\", service: \"b\" }".to_owned())
        );
        for (label, address) in [("10-244-0-3", "10.244.0.3"), ("fd00-244--2", "fd00:244::2")] {
            assert_eq!(
                asked(&format!("{label}.b.child.svc.cluster.local.")),
                Some(format!("Endpoint {{ address: {address}, service: \"b\" }}"))
            );
            assert_eq!(dashed(address.parse().unwrap()), label);
        }
    }

    #[test]
    fn no_other_name_is_ours() {
        for name in [
            ".",
            "serviceb.",
            "child.svc.cluster.local.",
            "svc.cluster.local.",
            "b.other.svc.cluster.local.",
            "b.child.pod.cluster.local.",
            "b.child.svc.cluster.local.example.",
            "b.child.svc.cluster.",
            "web-0.b.child.svc.cluster.local.",
            "a.b.c.child.svc.cluster.local.",
            "_http.tcp.b.child.svc.cluster.local.",
            "a._http._tcp.b.child.svc.cluster.local.",
            "www.example.com.child.svc.cluster.local.",
        ] {
            assert_eq!(asked(name), None, "{name}");
        }
    }
}
