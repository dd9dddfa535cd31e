//! ClusterIPs as nft rules: what kube-proxy does in its nftables mode, for the laboratory's node.
//!
//! Pure: [`Lab`](crate::Lab) keeps the table and gives the script to `nft`, which replaces all rules in one step.
//! Connections that are established keep their translation (conntrack), as on a real node.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;

/// One port of one ClusterIP.
#[derive(Debug)]
pub(crate) struct ClusterIp {
    /// The ClusterIP.
    pub(crate) address: IpAddr,
    /// Its port.
    pub(crate) port: u16,
    /// Where connections go, of either family.
    pub(crate) endpoints: Vec<(IpAddr, u16)>,
}

/// All services of the node: (ClusterIP, port) → endpoints of the same family.
#[derive(Debug, Default)]
pub(crate) struct ClusterIps {
    services: BTreeMap<(IpAddr, u16), Vec<(IpAddr, u16)>>,
}

impl ClusterIps {
    /// Sets the endpoints of one address; none means that connections are refused.
    pub(crate) fn set(&mut self, address: IpAddr, port: u16, endpoints: &[(IpAddr, u16)]) {
        let same_family = endpoints.iter().copied().filter(|(ip, _)| ip.is_ipv4() == address.is_ipv4()).collect();
        self.services.insert((address, port), same_family);
    }

    /// The whole table as one `nft -f` script.
    pub(crate) fn script(&self) -> String {
        let (mut dnat, mut hairpin, mut refused) = (String::new(), String::new(), String::new());
        for (&(address, port), endpoints) in &self.services {
            let family = family(address);
            if endpoints.is_empty() {
                put(&mut refused, format_args!("{family} daddr {address} tcp dport {port} reject with tcp reset"));
                continue;
            }
            let mut choices = String::new();
            for (n, (ip, port)) in endpoints.iter().enumerate() {
                let comma = if n == 0 { "" } else { ", " };
                write!(choices, "{comma}{n} : {ip} . {port}").ok();
                // A pod that calls its own service must not see a packet from itself.
                put(&mut hairpin, format_args!("{family} saddr {ip} {family} daddr {ip} masquerade"));
            }
            put(
                &mut dnat,
                format_args!(
                    "{family} daddr {address} tcp dport {port} dnat {family} to numgen random mod {} map {{ {choices} }}",
                    endpoints.len()
                ),
            );
        }
        format!(
            "table inet lab\n\
             delete table inet lab\n\
             table inet lab {{\n\
             \tchain services {{\n{dnat}\t}}\n\
             \tchain refused {{\n{refused}\
             \t\tip daddr 10.96.0.0/16 meta l4proto tcp reject with tcp reset\n\
             \t\tip6 daddr fd00:96::/64 meta l4proto tcp reject with tcp reset\n\t}}\n\
             \tchain prerouting {{ type nat hook prerouting priority -100; jump services; }}\n\
             \tchain output {{ type nat hook output priority -100; jump services; }}\n\
             \tchain postrouting {{ type nat hook postrouting priority 100;\n{hairpin}\t}}\n\
             \tchain refuse-forwarded {{ type filter hook prerouting priority -90; jump refused; }}\n\
             \tchain refuse-local {{ type filter hook output priority 0; jump refused; }}\n\
             }}\n"
        )
    }
}

fn put(rules: &mut String, rule: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    writeln!(rules, "\t\t{rule}").ok();
}

fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "ip" } else { "ip6" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn endpoints_are_matched_to_the_family_of_the_address() {
        let mut all = ClusterIps::default();
        let endpoints = [(ip("10.244.0.2"), 8080), (ip("fd00:244::2"), 8080), (ip("10.244.0.3"), 8081)];
        all.set(ip("10.96.0.1"), 80, &endpoints);
        all.set(ip("fd00:96::1"), 80, &endpoints);
        let script = all.script();
        assert!(script.contains(
            "ip daddr 10.96.0.1 tcp dport 80 dnat ip to numgen random mod 2 map { 0 : 10.244.0.2 . 8080, 1 : 10.244.0.3 . 8081 }"
        ));
        assert!(script.contains("dnat ip6 to numgen random mod 1 map { 0 : fd00:244::2 . 8080 }"));
    }

    #[test]
    fn a_service_without_endpoints_refuses() {
        let mut all = ClusterIps::default();
        all.set(ip("10.96.0.1"), 80, &[]);
        let script = all.script();
        assert!(script.contains("ip daddr 10.96.0.1 tcp dport 80 reject with tcp reset"));
        assert!(!script.contains("numgen"));
    }
}
