//! The example, the table of keys and the defaults agree with each other and with the parser.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;

use crate::config::load::load;
use crate::config::path::Path;
use crate::config::schema::{KEYS, Presence};
use crate::config::yaml::{Node, Value};
use crate::config::{
    CapturedServices, Config, EXAMPLE, NetnsRef, PodUid, PortSpec, PropagateMode, Routing, SpaceSpec, defaults,
};

fn parse(text: &str) -> Config {
    Config::parse(text, "f").unwrap_or_else(|errors| panic!("{text}\n{errors}")).config
}

/// Adds the pattern of every key below `node`; the keys of `endpoints[].ports` and of annotations are the user's.
fn patterns(node: &Node<'_>, path: &Path, found: &mut BTreeSet<String>) {
    match &node.value {
        Value::List(items) => items.iter().for_each(|item| patterns(item, &path.index(0), found)),
        Value::Map(entries) if !["services[].endpoints[].ports", "ingress.annotations"].contains(&&*path.pattern()) => {
            for (key, value) in entries {
                let path = path.key(key.text().unwrap());
                found.insert(path.pattern());
                patterns(value, &path, found);
            }
        }
        _ => {}
    }
}

#[test]
fn the_example_has_every_key_of_the_table_and_no_other() {
    let mut found = BTreeSet::new();
    patterns(&load(EXAMPLE).unwrap(), &Path::default(), &mut found);
    assert_eq!(found, KEYS.iter().map(|key| key.path.to_owned()).collect());
}

#[test]
fn every_key_of_the_example_is_explained_where_it_is_first() {
    let lines: Vec<_> = EXAMPLE.lines().map(str::trim).collect();
    for key in KEYS {
        let (_, name) = key.split();
        let is_key = |line: &str| line.trim_start_matches("- ").starts_with(&format!("{name}:"));
        let first = lines.iter().position(|line| is_key(line)).unwrap_or_else(|| panic!("{}", key.path));
        // An item's first key may have its explanation above the dash.
        assert!(lines[first - 1].starts_with('#'), "{} has no comment", key.path);
    }
}

#[test]
fn the_example_is_the_worked_example_and_nothing_is_wrong_with_it() {
    let parsed = Config::parse(EXAMPLE, "f").unwrap();
    assert_eq!(parsed.warnings, []);
    let Config { topology, routing, capture, .. } = parsed.config;
    let space = |name: &str, parent: Option<&str>| SpaceSpec {
        name: name.into(),
        parent: parent.map(Into::into),
        propagate: None,
    };
    let azureuser = SpaceSpec { propagate: Some(PropagateMode::SingleFlight), ..space("azureuser", Some("default")) };
    assert_eq!(topology.spaces, [space("default", None), azureuser]);
    assert_eq!(topology.workloads[0].propagate, Some(PropagateMode::Trace));
    assert_eq!(topology.workloads[1].propagate, None);
    let services: Vec<_> = topology.services.iter().map(|s| (s.name.as_str(), s.space.as_str())).collect();
    assert_eq!(services, [("serviceA", "default"), ("serviceA", "azureuser"), ("serviceB", "default")]);
    assert_eq!(topology.services[1].endpoints[0].ports, [("http".to_owned(), 8081)]);
    assert_eq!(topology.workloads[0].netns, NetnsRef::Path("/run/netns/serviceA-default".into()));
    assert_eq!(topology.workloads[1].netns, NetnsRef::Pid(4711));
    let uid = PodUid::new("3f2b1c9a-5d61-4be8-9f5e-0a6c1d2e3f40").unwrap();
    assert_eq!(topology.workloads[2].netns, NetnsRef::Pod(uid));
    assert_eq!(routing.ingress_suffixes, ["fedcba09.eus.azds.io"]);
    assert_eq!(capture.cgroup, Some(PathBuf::from("/sys/fs/cgroup/kubepods.slice")));
}

#[test]
fn the_example_shows_the_defaults_of_all_settings_but_those_that_have_none() {
    let mut config = parse(EXAMPLE);
    config.topology = Default::default();
    config.routing.ingress_suffixes.clear();
    assert_eq!(config.routing.inject.take().as_deref(), Some(Routing::default().injected()));
    config.capture.cgroup = None;
    assert_eq!(config.ingress.tls_secret.take().as_deref(), Some("{service}-tls"));
    assert_eq!(config.ingress.annotations.len(), 1);
    config.ingress = Default::default();
    assert_eq!(config, Config::default());
}

#[test]
fn a_default_in_the_table_is_what_the_parser_uses() {
    for key in KEYS {
        let (section, name) = key.split();
        if let (Presence::Default(yaml), false) = (key.presence, section.contains('[')) {
            let nested = |text, part| format!("{part}: {{{text}}}");
            let text = section.rsplit('.').fold(format!("{name}: {yaml}"), nested);
            assert_eq!(parse(&text), Config::default(), "{text}");
        }
    }
}

#[test]
fn the_bounds_in_the_table_are_those_of_the_parser() {
    let kind = |path: &str| KEYS.iter().find(|key| key.path == path).unwrap().kind;
    let bounds = |range: &dyn std::fmt::Debug| format!("{range:?}").replace("..=", " to ");
    assert!(kind("proxy.workers").ends_with(&bounds(&defaults::WORKERS_BOUNDS)));
    assert!(kind("proxy.max_connections").ends_with(&bounds(&defaults::MAX_CONNECTIONS_BOUNDS)));
    assert!(kind("proxy.max_connections_total").ends_with(&bounds(&defaults::TOTAL_BOUNDS)));
    assert!(kind("proxy.max_buffered_bytes").ends_with(&bounds(&defaults::BUFFERED_BOUNDS)));
    assert!(kind("proxy.max_head_bytes").ends_with(&bounds(&defaults::MAX_HEAD_BOUNDS)));
    let http2 = |name: &str| kind(&format!("proxy.http2.{name}"));
    assert!(http2("max_concurrent_streams").ends_with(&bounds(&defaults::HTTP2_STREAMS_BOUNDS)));
    assert!(http2("stream_window").ends_with(&bounds(&defaults::HTTP2_WINDOW_BOUNDS)));
    assert!(http2("connection_window").ends_with(&bounds(&defaults::HTTP2_WINDOW_BOUNDS)));
    assert!(http2("max_resets").ends_with(&bounds(&defaults::HTTP2_FRAMES_BOUNDS)));
    assert!(http2("max_control_frames").ends_with(&bounds(&defaults::HTTP2_FRAMES_BOUNDS)));
    assert!(kind("dns.max_in_flight").ends_with(&bounds(&defaults::DNS_IN_FLIGHT_BOUNDS)));
    assert!(kind("flows.capacity").ends_with(&bounds(&defaults::FLOWS_BOUNDS)));
    assert!(kind("workloads[].pid").ends_with(&bounds(&defaults::PID_BOUNDS)));
    assert!(kind("admin.socket").contains(&defaults::ADMIN_SOCKET_MAX.to_string()));
    for (path, low, high) in [
        ("capture.heartbeat_timeout", "500ms", "1m"),
        ("proxy.connect_timeout", "100ms", "1h"),
        ("proxy.detect_timeout", "100ms", "1h"),
        ("proxy.head_timeout", "100ms", "1h"),
        ("proxy.idle_timeout", "100ms", "1h"),
        ("proxy.drain_timeout", "100ms", "1h"),
    ] {
        assert_eq!(kind(path), format!("duration, {low} to {high}"));
        let (section, name) = path.split_once('.').unwrap();
        parse(&format!("{section}: {{{name}: {low}}}"));
        parse(&format!("{section}: {{{name}: {high}}}"));
    }
}

#[test]
fn sections_and_lists_without_content_are_left_out_ones() {
    let text = "spaces:\nservices: []\nworkloads: ~\nrouting:\ncapture: {}\nproxy:\nadmin:\nmetrics:\nflows:\ningress:\ndns:\n";
    assert_eq!(parse(text), Config::default());
    assert_eq!(parse("{}"), Config::default());
    assert_eq!(parse("\u{feff}proxy:\r\n  workers: 0\r\n"), Config::default());
}

#[test]
fn every_setting_can_be_changed() {
    let config = parse(
        "routing: {route_headers: [X-Space, Azds-Route-As], ingress_suffixes: [.EUS.Azds.IO.], default_space: none, same_space: endpoint}
capture: {cgroup: /c, outbound_port: 1, heartbeat_timeout: 500ms, fail: closed, pin_directory: /p, services: overridden, close_established: true}
proxy: {workers: 3, connect_timeout: 1s, detect_timeout: 2s, head_timeout: 3s, first_byte_timeout: 5s, idle_timeout: 4s, drain_timeout: 6s, max_connections: 7, max_connections_total: 8, max_buffered_bytes: 9, max_head_bytes: 1024, splice: copy, http2: {max_concurrent_streams: 100, stream_window: 65535, connection_window: 65536, max_resets: 101, max_control_frames: 102}}
admin: {socket: /s}
metrics: {address: off}
flows: {capacity: 1}
ingress: {class: c, tls_secret: 's-{service}', annotations: {example.org/a: b, c: 'true'}}
dns: {enabled: false, cluster_domain: .K8S.Example.org., servers: [10.96.0.10, 'fd00::a', 127.0.0.1], max_in_flight: 8}",
    );
    let carriers: Vec<String> = config.routing.route_headers.iter().map(ToString::to_string).collect();
    assert_eq!(carriers, ["x-space", "azds-route-as"]);
    assert_eq!(config.routing.ingress_suffixes, ["eus.azds.io"]);
    let kept = Routing::default();
    assert!(config.routing.default_space != kept.default_space && config.routing.same_space != kept.same_space);
    assert_eq!((config.capture.cgroup, config.capture.outbound_port), (Some("/c".into()), 1));
    assert_eq!(config.capture.heartbeat_timeout.as_millis(), 500);
    assert_eq!(config.capture.fail, crate::config::Fail::Closed);
    assert_eq!(config.capture.pin_directory.as_os_str(), "/p");
    assert_eq!((config.capture.services, config.capture.close_established), (CapturedServices::Overridden, true));
    let proxy = config.proxy;
    let seconds = [proxy.connect_timeout, proxy.detect_timeout, proxy.head_timeout, proxy.idle_timeout];
    assert_eq!(seconds.map(|timeout| timeout.as_secs()), [1, 2, 3, 4]);
    assert_eq!((proxy.workers, proxy.max_connections, proxy.max_head_bytes), (3, 7, 1024));
    assert_eq!((proxy.max_connections_total, proxy.max_buffered_bytes), (8, 9));
    assert_eq!(proxy.drain_timeout.as_secs(), 6);
    assert_eq!(proxy.first_byte_timeout.map(|timeout| timeout.as_secs()), Some(5));
    assert_eq!(proxy.splice, crate::config::Splice::Copy);
    let http2 = proxy.http2;
    let bounds = [http2.max_concurrent_streams, http2.stream_window, http2.connection_window, http2.max_resets];
    assert_eq!((bounds, http2.max_control_frames), ([100, 65_535, 65_536, 101], 102));
    assert_eq!((config.admin.socket, config.metrics.address), (PathBuf::from("/s"), None));
    assert_eq!(config.flows.capacity, 1);
    let ingress = config.ingress;
    assert_eq!((ingress.class.as_deref(), ingress.tls_secret.as_deref()), (Some("c"), Some("s-{service}")));
    let pairs: Vec<_> = ingress.annotations.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert_eq!(pairs, [("c", "true"), ("example.org/a", "b")]);
    let servers: Vec<String> = config.dns.servers.iter().map(ToString::to_string).collect();
    assert_eq!(servers, ["10.96.0.10", "fd00::a", "127.0.0.1"]);
    let dns = (config.dns.enabled, config.dns.cluster_domain.as_str(), config.dns.max_in_flight);
    assert_eq!(dns, (false, "k8s.example.org", 8));
}

#[test]
fn a_service_may_say_as_little_as_this() {
    let config = parse(
        "spaces: [{name: 123}]
services: [{name: 1e3, space: 123, ports: [{port: 80}], endpoints: [{address: '::ffff:10.0.0.1', ports: }]}]",
    );
    let service = &config.topology.services[0];
    assert_eq!((service.name.as_str(), service.space.as_str()), ("1e3", "123"));
    assert_eq!(service.addresses, [] as [IpAddr; 0]);
    assert_eq!(service.ports, [PortSpec { name: String::new(), port: 80, target_port: 80, app_protocol: None }]);
    let endpoint = &service.endpoints[0];
    assert_eq!((endpoint.address, endpoint.ready, endpoint.ports.len()), ("10.0.0.1".parse().unwrap(), true, 0));
}

#[test]
fn aliases_repeat_what_their_anchor_says() {
    let config = parse(
        "spaces: [{name: a}, {name: b}]
services:
- {name: x, space: a, ports: &http [{port: 80, target_port: 8080}]}
- {name: x, space: b, ports: *http}",
    );
    assert_eq!(config.topology.services[0].ports, config.topology.services[1].ports);
}
