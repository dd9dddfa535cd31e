//! The records of a service that lives in an ancestor space, under the name that was asked for. Pure.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};

use hickory_proto::rr::rdata::{A, AAAA, SOA, SRV};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::name::{Asked, Zone, dashed};
use crate::snapshot::{Port, Service, Snapshot, SpaceId};

/// Seconds that clients may keep an answer: as long as CoreDNS lets them, by which a new copy is found by name.
const TTL: u32 = 5;
/// No message holds more.
const MOST: usize = 4096;

/// What is said about a name.
#[derive(Debug, Default)]
pub(super) struct Records {
    pub(super) answers: Vec<Record>,
    pub(super) additionals: Vec<Record>,
    /// Endpoints whose addresses are among the additionals.
    hosts: HashSet<IpAddr>,
}

/// The copy that a space without an own one shares: that of the nearest ancestor that has an address for it.
pub(super) fn shared<'s>(snapshot: &'s Snapshot, space: SpaceId, label: &str) -> Option<&'s Service> {
    let name = snapshot.service_name_like(label)?;
    let (own, above) = snapshot.space(space).chain.split_first()?;
    if snapshot.service_named(*own, name).is_some() {
        return None;
    }
    let has_address = |service: &&Service| !service.addresses.is_empty() || service.ports.iter().any(Port::is_ready);
    above.iter().filter_map(|space| snapshot.service_named(*space, name)).map(AsRef::as_ref).find(has_address)
}

/// What a server would say of that service. `None`: nothing under this name, so that the server is asked.
pub(super) fn records(
    asked: &Asked<'_>,
    name: &Name,
    wanted: RecordType,
    of: &Service,
    turn: usize,
) -> Option<Records> {
    let wants = |kind| wanted == kind || wanted == RecordType::ANY;
    let mut records = Records::default();
    match asked {
        Asked::Service { .. } => {
            records.answers = addresses(name, of, turn).filter(|record| wants(record.record_type())).collect();
            if wanted == RecordType::SRV {
                of.ports.iter().for_each(|port| services(&mut records, name, name, of, port, turn));
            }
        }
        Asked::Port { port, protocol, .. } => {
            let port = of.ports.iter().find(|known| known.name.eq_ignore_ascii_case(port));
            // Services of spaces are captured as TCP; of other protocols nothing is known.
            let port = port.filter(|_| protocol.eq_ignore_ascii_case("tcp"))?;
            if wants(RecordType::SRV) {
                let service = name.trim_to(usize::from(name.num_labels()).saturating_sub(2));
                services(&mut records, name, &service, of, port, turn);
            }
        }
        Asked::Endpoint { address, .. } => {
            let known = of.addresses.is_empty() && of.ports.iter().flat_map(Port::ready).any(|at| at.ip() == *address);
            let record = known.then(|| host(name, *address))?;
            records.answers.extend(Some(record).filter(|record| wants(record.record_type())));
        }
    }
    Some(records)
}

/// What goes with an answer that holds nothing of the kind asked for, so that clients know how long that is so.
pub(super) fn start_of_authority(zone: &Zone, version: u64) -> Option<Record> {
    let below =
        |labels: &[&str]| labels.iter().rev().try_fold(zone.name.clone(), |name, label| name.prepend_label(*label));
    let serial = u32::try_from(version & u64::from(u32::MAX)).unwrap_or_default();
    let (server, mailbox) = (below(&["ns", "dns"]).ok()?, below(&["hostmaster"]).ok()?);
    let soa = SOA::new(server, mailbox, serial, 7200, 1800, 86400, TTL);
    Some(Record::from_rdata(zone.name.clone(), TTL, RData::SOA(soa)))
}

/// The ClusterIPs, or the pods of a headless service, beginning with another one at every turn.
fn addresses<'s>(name: &Name, of: &'s Service, turn: usize) -> impl Iterator<Item = Record> + use<'s> {
    let mut all = of.addresses.clone();
    if all.is_empty() {
        all = of.ports.iter().flat_map(Port::ready).map(|at| at.ip()).collect();
        all.sort_unstable();
        all.dedup();
    }
    let start = turn.checked_rem(all.len()).unwrap_or_default();
    all.rotate_left(start);
    all.truncate(MOST);
    let name = name.clone();
    all.into_iter().map(move |address| host(&name, address))
}

/// The SRV records of one port, with the addresses of their targets.
fn services(records: &mut Records, name: &Name, service: &Name, of: &Service, port: &Port, turn: usize) {
    if !of.addresses.is_empty() {
        records.answers.push(srv(name, 100, port.port, service.clone()));
        if records.additionals.is_empty() {
            records.additionals.extend(addresses(service, of, turn));
        }
        return;
    }
    let ready: Vec<SocketAddr> = port.ready().take(MOST).collect();
    let weight = 100 / u16::try_from(ready.len()).unwrap_or(u16::MAX).clamp(1, 100);
    for at in ready {
        // A label too long for the name leaves that endpoint out.
        let Ok(target) = service.prepend_label(dashed(at.ip()).as_str()) else { continue };
        if records.hosts.insert(at.ip()) {
            records.additionals.push(host(&target, at.ip()));
        }
        records.answers.push(srv(name, weight, at.port(), target));
    }
}

fn srv(name: &Name, weight: u16, port: u16, target: Name) -> Record {
    Record::from_rdata(name.clone(), TTL, RData::SRV(SRV::new(0, weight, port, target)))
}

fn host(name: &Name, address: IpAddr) -> Record {
    let data = match address {
        IpAddr::V4(v4) => RData::A(A(v4)),
        IpAddr::V6(v6) => RData::AAAA(AAAA(v6)),
    };
    Record::from_rdata(name.clone(), TTL, data)
}
