//! Queries as resolvers make them, answered over a small tree: `child` derives from `mid`, `mid` from `root`.

use std::net::IpAddr;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::opt::EdnsOption;
use hickory_proto::rr::{DNSClass, Name, RData, RecordType};

use super::*;
use crate::config::{EndpointSpec, PortSpec, Routing, ServiceSpec, SpaceSpec, Topology};

fn service(name: &str, space: &str, addresses: &[&str], endpoints: &[&str]) -> ServiceSpec {
    let endpoint = |address: &&str| EndpointSpec { address: address.parse().unwrap(), ready: true, ports: Vec::new() };
    let port =
        |name: &str, port, target_port| PortSpec { name: name.to_owned(), port, target_port, app_protocol: None };
    ServiceSpec {
        endpoints_are_destinations: true,
        name: name.to_owned(),
        space: space.to_owned(),
        addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
        ports: vec![port("http", 80, 8080), port("admin", 81, 8081)],
        endpoints: endpoints.iter().map(endpoint).collect(),
    }
}

fn snapshot() -> Snapshot {
    let space = |name: &str, parent: Option<&str>| SpaceSpec {
        name: name.into(),
        parent: parent.map(Into::into),
        propagate: None,
    };
    let pods: Vec<String> = (1..=250).map(|last| format!("10.244.7.{last}")).collect();
    let pods: Vec<&str> = pods.iter().map(String::as_str).collect();
    let topology = Topology {
        spaces: vec![space("root", None), space("mid", Some("root")), space("child", Some("mid"))],
        services: vec![
            service("both", "root", &["10.96.0.1", "fd00:96::1"], &[]),
            service("both", "mid", &["10.96.0.2"], &[]),
            service("own", "child", &[], &[]),
            service("own", "root", &["10.96.0.3"], &[]),
            service("serviceB", "root", &["10.96.0.4"], &[]),
            service("headless", "root", &[], &["10.244.0.3", "10.244.0.2", "fd00:244::2"]),
            service("headless", "mid", &[], &[]),
            service("many", "root", &[], &pods),
            service("nobody", "root", &[], &[]),
        ],
        workloads: Vec::new(),
    };
    Snapshot::build(&topology, &Routing::default(), 7)
}

fn query(name: &str, wanted: RecordType) -> Message {
    let mut message = Message::new(4711, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), wanted));
    message
}

fn verdict(query: &[u8], limit: Limit, turn: usize) -> Verdict {
    let snapshot = snapshot();
    let space = snapshot.space_named("child").unwrap();
    judge(&Asker { snapshot: &snapshot, space, zone: &Zone::new("cluster.local"), turn }, query, limit)
}

fn response_to(query: &Message, limit: Limit) -> Option<Message> {
    match verdict(&query.to_vec().unwrap(), limit, 0) {
        Verdict::Answer(bytes) => Some(Message::from_vec(&bytes).unwrap()),
        Verdict::Forward => None,
        Verdict::Malformed => panic!("{query:?}"),
    }
}

fn answer_to(name: &str, wanted: RecordType) -> Option<Message> {
    response_to(&query(&format!("{name}.child.svc.cluster.local."), wanted), Limit::Udp)
}

fn addresses(message: &Message) -> Vec<String> {
    message.answers.iter().map(|record| record.data.ip_addr().unwrap().to_string()).collect()
}

#[test]
fn a_name_that_only_an_ancestor_has_is_answered_with_the_nearest_one() {
    let answer = answer_to("both", RecordType::A).unwrap();
    assert_eq!(addresses(&answer), ["10.96.0.2"]);
    assert_eq!(answer.answers[0].ttl, 5);
    assert_eq!(answer.queries, query("both.child.svc.cluster.local.", RecordType::A).queries);
    let head = &answer.metadata;
    assert_eq!((head.id, head.message_type, head.response_code), (4711, MessageType::Response, ResponseCode::NoError));
    assert!(head.authoritative && head.recursion_desired);
    assert!(!head.recursion_available && !head.truncation && !head.authentic_data);
    assert!(answer.edns.is_none() && answer.authorities.is_empty());
}

#[test]
fn case_is_kept_in_the_answer_and_does_not_matter_in_the_question() {
    let answer = answer_to("SERVICEb", RecordType::A).unwrap();
    assert_eq!(addresses(&answer), ["10.96.0.4"]);
    assert_eq!(answer.answers[0].name.to_ascii(), "SERVICEb.child.svc.cluster.local.");
}

#[test]
fn a_name_without_the_kind_asked_for_exists_all_the_same() {
    for wanted in [RecordType::AAAA, RecordType::HTTPS, RecordType::TXT, RecordType::MX, RecordType::CNAME] {
        let answer = answer_to("both", wanted).unwrap();
        assert_eq!(answer.metadata.response_code, ResponseCode::NoError, "{wanted}");
        assert!(answer.answers.is_empty());
        let RData::SOA(soa) = &answer.authorities[0].data else { panic!("{answer:?}") };
        assert_eq!((answer.authorities[0].name.to_ascii().as_str(), soa.minimum), ("cluster.local.", 5));
        assert_eq!(soa.mname.to_ascii(), "ns.dns.cluster.local.");
    }
}

#[test]
fn whatever_else_is_asked_is_for_the_server() {
    for name in ["own", "nobody", "unknown", "both.x", "10-96-0-2.both", "_ftp._tcp.both", "_http._udp.both"] {
        assert_eq!(answer_to(name, RecordType::A), None, "{name}");
    }
    for name in ["both.root.svc.cluster.local.", "both.", "both.child.svc.example.", "child.svc.cluster.local.", "."] {
        assert_eq!(response_to(&query(name, RecordType::A), Limit::Udp), None, "{name}");
    }
}

#[test]
fn what_only_a_server_can_judge_is_for_the_server() {
    let good = query("both.child.svc.cluster.local.", RecordType::A);
    assert!(response_to(&good, Limit::Udp).is_some());
    let spoilt: [fn(&mut Message); 7] = [
        |query| query.metadata.op_code = OpCode::Notify,
        |query| query.metadata.message_type = MessageType::Response,
        |query| query.metadata.truncation = true,
        |query| query.queries.clear(),
        |query| query.queries.push(query.queries[0].clone()),
        |query| query.queries[0].query_class = DNSClass::CH,
        |query| {
            let mut edns = Edns::new();
            edns.set_version(1);
            query.edns = Some(edns);
        },
    ];
    for spoil in spoilt {
        let mut query = good.clone();
        spoil(&mut query);
        assert_eq!(response_to(&query, Limit::Udp), None, "{query:?}");
    }
}

#[test]
fn bytes_that_are_no_message_are_malformed_and_cut_ones_never_answered() {
    let good = query("both.child.svc.cluster.local.", RecordType::A).to_vec().unwrap();
    for cut in 0..good.len() {
        assert_eq!(verdict(&good[..cut], Limit::Udp, 0), Verdict::Malformed, "{cut}");
    }
    for byte in 0..good.len() {
        for bit in 0..8 {
            let mut bent = good.clone();
            bent[byte] ^= 1 << bit;
            // Whatever comes out, nothing panics, and an answer is one to that question.
            if let Verdict::Answer(answer) = verdict(&bent, Limit::Udp, 0) {
                assert_eq!(answer[..2], bent[..2]);
            }
        }
    }
}

#[test]
fn edns_is_echoed_with_what_the_client_needs() {
    let mut asked = query("both.child.svc.cluster.local.", RecordType::A);
    let mut edns = Edns::new();
    edns.set_max_payload(1232).set_dnssec_ok(true);
    edns.options_mut().insert(EdnsOption::Unknown(10, vec![7; 24]));
    edns.options_mut().insert(EdnsOption::Unknown(65_001, vec![1]));
    asked.edns = Some(edns);
    let echoed = response_to(&asked, Limit::Udp).unwrap().edns.unwrap();
    assert_eq!((echoed.version(), echoed.max_payload(), echoed.flags().dnssec_ok), (0, 1232, true));
    let options: &[(EdnsCode, EdnsOption)] = &echoed.options().options;
    assert_eq!(options, [(EdnsCode::Cookie, EdnsOption::Unknown(10, vec![7; 24]))]);
    let mut edns = Edns::new();
    edns.options_mut().insert(EdnsOption::Unknown(10, vec![7; 8]));
    asked.edns = Some(edns);
    assert!(response_to(&asked, Limit::Udp).unwrap().edns.unwrap().options().options.is_empty(), "we give no cookies");
}

#[test]
fn a_headless_service_is_its_endpoints_a_different_one_first_every_time() {
    let asked = query("headless.child.svc.cluster.local.", RecordType::A).to_vec().unwrap();
    let turn = |turn| match verdict(&asked, Limit::Udp, turn) {
        Verdict::Answer(bytes) => addresses(&Message::from_vec(&bytes).unwrap()),
        other => panic!("{other:?}"),
    };
    assert_eq!(turn(0), ["10.244.0.2", "10.244.0.3"]);
    assert_eq!(turn(1), ["10.244.0.3", "10.244.0.2"]);
    assert_eq!(addresses(&answer_to("headless", RecordType::AAAA).unwrap()), ["fd00:244::2"]);
    assert_eq!(addresses(&answer_to("10-244-0-3.headless", RecordType::A).unwrap()), ["10.244.0.3"]);
    assert_eq!(addresses(&answer_to("fd00-244--2.headless", RecordType::AAAA).unwrap()), ["fd00:244::2"]);
    assert!(answer_to("fd00-244--2.headless", RecordType::A).unwrap().answers.is_empty());
    assert_eq!(answer_to("10-244-0-4.headless", RecordType::A), None);
}

fn services(message: &Message) -> Vec<String> {
    let text = |record: &hickory_proto::rr::Record| match &record.data {
        RData::SRV(srv) => format!("{}:{}", srv.target, srv.port),
        other => panic!("{other:?}"),
    };
    message.answers.iter().map(text).collect()
}

#[test]
fn named_ports_are_found_with_the_addresses_of_their_targets() {
    let answer = answer_to("_http._tcp.both", RecordType::SRV).unwrap();
    assert_eq!(services(&answer), ["both.child.svc.cluster.local.:80"]);
    let additional: Vec<IpAddr> = answer.additionals.iter().filter_map(|record| record.data.ip_addr()).collect();
    assert_eq!(additional, ["10.96.0.2".parse::<IpAddr>().unwrap()]);
    assert_eq!(services(&answer_to("both", RecordType::SRV).unwrap()).len(), 2, "all ports");
    assert!(answer_to("_http._tcp.both", RecordType::A).unwrap().answers.is_empty());
    let answer = answer_to("_admin._tcp.headless", RecordType::SRV).unwrap();
    assert_eq!(
        services(&answer),
        [
            "10-244-0-3.headless.child.svc.cluster.local.:8081",
            "10-244-0-2.headless.child.svc.cluster.local.:8081",
            "fd00-244--2.headless.child.svc.cluster.local.:8081"
        ]
    );
    assert_eq!(answer.additionals.len(), 3);
}

#[test]
fn an_answer_is_cut_to_what_the_client_takes_and_says_so() {
    let mut asked = query("many.child.svc.cluster.local.", RecordType::A);
    let cut = |asked: &Message, limit| match verdict(&asked.to_vec().unwrap(), limit, 0) {
        Verdict::Answer(bytes) => (bytes.len(), Message::from_vec(&bytes).unwrap()),
        other => panic!("{other:?}"),
    };
    let (length, plain) = cut(&asked, Limit::Udp);
    assert!(
        plain.metadata.truncation && length <= 512 && plain.answers.len() > 25,
        "{length}, {}",
        plain.answers.len()
    );
    let (_, whole) = cut(&asked, Limit::Tcp);
    assert!(!whole.metadata.truncation && whole.answers.len() == 250);
    let mut edns = Edns::new();
    edns.set_max_payload(1232);
    asked.edns = Some(edns);
    let (length, extended) = cut(&asked, Limit::Udp);
    assert!(extended.metadata.truncation && length <= 1232 && extended.answers.len() > 65, "{length}");
    assert!(extended.edns.is_some());
    // SRV: what is only of help is left out first.
    let (length, srv) = cut(&query("_http._tcp.many.child.svc.cluster.local.", RecordType::SRV), Limit::Tcp);
    assert!(!srv.metadata.truncation && srv.answers.len() == 250, "{length}");
}

#[test]
fn a_server_that_is_not_there_is_told_as_a_failure() {
    let asked = query("www.example.com.", RecordType::A);
    let told = Message::from_vec(&server_failure(&asked.to_vec().unwrap()).unwrap()).unwrap();
    assert_eq!((told.metadata.id, told.metadata.response_code), (4711, ResponseCode::ServFail));
    assert_eq!(told.queries, asked.queries);
    assert_eq!(server_failure(b"no message"), None);
}
