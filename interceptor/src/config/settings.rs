//! The sections that are about the agent and not about the cluster: routing, capture, proxy, admin, metrics, flows, dns.
//!
//! [`parse`](super::parse) calls each reader once. A reader starts from the section's defaults and overwrites what the
//! file names; it checks values on their own, never against other sections ([`check`](super::check) does).

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::path::PathBuf;

use super::cursor::{Cursor, Entry, Fields};
use super::defaults as bounds;
use super::error::Kind;
use super::names::{is_dns_name, is_framing_header, is_header_name, is_name};
use super::{
    Admin, Capture, CapturedServices, Carrier, DefaultSpace, Dns, Fail, Flows, Http2, Ingress, Metrics, Propagate,
    PropagateMode, Proxy, Routing, SameSpace, Splice,
};

pub(super) fn routing(root: &Fields<'_>) -> Routing {
    let mut routing = Routing::default();
    root.section("routing", |fields| {
        fields.set("route_headers", &mut routing.route_headers, route_headers);
        fields.set("inject", &mut routing.inject, |list| carriers(list).map(Some));
        fields.set("strip_from_outside", &mut routing.strip_from_outside, Cursor::boolean);
        fields.set("ingress_suffixes", &mut routing.ingress_suffixes, |list| Some(unique(list, ingress_suffix)));
        fields.set("default_space", &mut routing.default_space, |word| {
            word.choice(&[("caller", DefaultSpace::Caller), ("none", DefaultSpace::None)])
        });
        fields.set("same_space", &mut routing.same_space, |word| {
            word.choice(&[("original", SameSpace::Original), ("endpoint", SameSpace::Endpoint)])
        });
    });
    routing.propagate = propagate(root);
    routing
}

fn propagate(root: &Fields<'_>) -> Propagate {
    let mut propagate = Propagate::default();
    root.section("propagate", |fields| {
        fields.set("mode", &mut propagate.mode, propagate_mode);
        fields.set("trace_ids", &mut propagate.trace_ids, |list| Some(unique(list, header_name)));
        fields.set("grace", &mut propagate.grace, |d| d.duration(bounds::GRACE_BOUNDS));
        fields.set("max_traces", &mut propagate.max_traces, |n| n.number(bounds::MAX_TRACES_BOUNDS));
    });
    propagate
}

pub(super) fn propagate_mode(word: &Cursor<'_>) -> Option<PropagateMode> {
    word.choice(&PropagateMode::ALL.map(|mode| (mode.as_str(), mode)))
}

pub(super) fn capture(root: &Fields<'_>) -> Capture {
    let mut capture = Capture::default();
    root.section("capture", |fields| {
        fields.set("cgroup", &mut capture.cgroup, |path| path.absolute_path().map(Some));
        fields.set("outbound_port", &mut capture.outbound_port, Cursor::port);
        fields.set("heartbeat_timeout", &mut capture.heartbeat_timeout, |d| d.duration(bounds::HEARTBEAT_BOUNDS));
        fields.set("fail", &mut capture.fail, |word| word.choice(&[("open", Fail::Open), ("closed", Fail::Closed)]));
        fields.set("pin_directory", &mut capture.pin_directory, Cursor::absolute_path);
        fields.set("services", &mut capture.services, |word| {
            let choices = [CapturedServices::SpaceServices, CapturedServices::Overridden];
            word.choice(&choices.map(|choice| (choice.as_str(), choice)))
        });
        fields.set("close_established", &mut capture.close_established, Cursor::boolean);
    });
    capture
}

pub(super) fn proxy(root: &Fields<'_>) -> Proxy {
    let mut proxy = Proxy::default();
    root.section("proxy", |fields| {
        fields.set("workers", &mut proxy.workers, |n| n.number(bounds::WORKERS_BOUNDS));
        fields.set("connect_timeout", &mut proxy.connect_timeout, |d| d.duration(bounds::TIMEOUT_BOUNDS));
        fields.set("detect_timeout", &mut proxy.detect_timeout, |d| d.duration(bounds::TIMEOUT_BOUNDS));
        fields.set("head_timeout", &mut proxy.head_timeout, |d| d.duration(bounds::TIMEOUT_BOUNDS));
        fields.set("first_byte_timeout", &mut proxy.first_byte_timeout, |d| d.duration_or_off(bounds::TIMEOUT_BOUNDS));
        fields.set("idle_timeout", &mut proxy.idle_timeout, |d| d.duration(bounds::TIMEOUT_BOUNDS));
        fields.set("drain_timeout", &mut proxy.drain_timeout, |d| d.duration(bounds::TIMEOUT_BOUNDS));
        fields.set("max_connections", &mut proxy.max_connections, |n| n.number(bounds::MAX_CONNECTIONS_BOUNDS));
        fields.set("max_connections_total", &mut proxy.max_connections_total, |n| n.number(bounds::TOTAL_BOUNDS));
        fields.set("max_buffered_bytes", &mut proxy.max_buffered_bytes, |n| n.number(bounds::BUFFERED_BOUNDS));
        fields.set("max_head_bytes", &mut proxy.max_head_bytes, |n| n.number(bounds::MAX_HEAD_BOUNDS));
        fields.set("splice", &mut proxy.splice, |word| {
            word.choice(&[
                ("auto", Splice::Auto),
                ("kernel", Splice::Kernel),
                ("splice", Splice::Splice),
                ("copy", Splice::Copy),
            ])
        });
        fields.section("http2", |fields| http2(fields, &mut proxy.http2));
    });
    proxy
}

fn http2(fields: &Fields<'_>, http2: &mut Http2) {
    fields.set("max_concurrent_streams", &mut http2.max_concurrent_streams, |n| n.number(bounds::HTTP2_STREAMS_BOUNDS));
    fields.set("stream_window", &mut http2.stream_window, |n| n.number(bounds::HTTP2_WINDOW_BOUNDS));
    fields.set("connection_window", &mut http2.connection_window, |n| n.number(bounds::HTTP2_WINDOW_BOUNDS));
    fields.set("max_resets", &mut http2.max_resets, |n| n.number(bounds::HTTP2_FRAMES_BOUNDS));
    fields.set("max_control_frames", &mut http2.max_control_frames, |n| n.number(bounds::HTTP2_FRAMES_BOUNDS));
}

pub(super) fn admin(root: &Fields<'_>) -> Admin {
    let mut admin = Admin::default();
    root.section("admin", |fields| fields.set("socket", &mut admin.socket, socket));
    admin
}

pub(super) fn metrics(root: &Fields<'_>) -> Metrics {
    let mut metrics = Metrics::default();
    root.section("metrics", |fields| fields.set("address", &mut metrics.address, Cursor::listener));
    metrics
}

pub(super) fn flows(root: &Fields<'_>) -> Flows {
    let mut flows = Flows::default();
    root.section("flows", |fields| fields.set("capacity", &mut flows.capacity, |n| n.number(bounds::FLOWS_BOUNDS)));
    flows
}

pub(super) fn ingress(root: &Fields<'_>) -> Ingress {
    let mut ingress = Ingress::default();
    root.section("ingress", |fields| {
        fields.set("class", &mut ingress.class, |name| name.name().map(Some));
        fields.set("tls_secret", &mut ingress.tls_secret, |text| tls_secret(text).map(Some));
        fields.set("annotations", &mut ingress.annotations, |map| Some(annotations(map)));
    });
    ingress
}

/// Without its place for the service's name it must be a name like any other.
fn tls_secret(text: &Cursor<'_>) -> Option<String> {
    let read = |text: &str| is_name(&text.replace("{service}", "x")).then(|| text.to_owned());
    text.scalar("the name of a Secret, which may hold {service}", read, |_| None)
}

fn annotations(map: &Cursor<'_>) -> BTreeMap<String, String> {
    if map.node.is_null() {
        return BTreeMap::new();
    }
    let entry = |entry: Entry<'_>| {
        let is_key = |key: &str| is_name(key.rsplit_once('/').map_or(key, |(_, name)| name));
        if !is_key(entry.name) || entry.name.matches('/').count() > 1 {
            let message = "no annotation can be called so".to_owned();
            let hint = Some("write [prefix/]name".to_owned());
            map.report.error(Kind::Key, entry.at, &entry.value.path, message, hint);
        }
        let value = entry.value.scalar("text", |text| Some(text.to_owned()), |_| None)?;
        Some((entry.name.to_owned(), value))
    };
    map.entries().into_iter().filter_map(entry).collect()
}

pub(super) fn dns(root: &Fields<'_>) -> Dns {
    let mut dns = Dns::default();
    root.section("dns", |fields| {
        fields.set("enabled", &mut dns.enabled, Cursor::boolean);
        fields.set("cluster_domain", &mut dns.cluster_domain, cluster_domain);
        fields.set("servers", &mut dns.servers, |list| Some(list.items().iter().filter_map(Cursor::server).collect()));
        fields.set("max_in_flight", &mut dns.max_in_flight, |n| n.number(bounds::DNS_IN_FLIGHT_BOUNDS));
    });
    dns
}

fn cluster_domain(text: &Cursor<'_>) -> Option<String> {
    let read = |text: &str| {
        let domain = text.trim_matches('.').to_ascii_lowercase();
        is_dns_name(&domain).then_some(domain)
    };
    text.scalar("a DNS name like cluster.local", read, |_| None)
}

fn route_headers(list: &Cursor<'_>) -> Option<Vec<Carrier>> {
    if list.is_empty_list() {
        list.error(Kind::Value, "at least one header is needed".to_owned(), None);
    }
    carriers(list)
}

fn carriers(list: &Cursor<'_>) -> Option<Vec<Carrier>> {
    Some(unique(list, carrier))
}

fn carrier(item: &Cursor<'_>) -> Option<Carrier> {
    let hint = |text: &str| {
        let (name, key) = text.split_once([':', '='])?;
        Carrier::parse(&format!("{}/{}", name.trim(), key.trim())).map(|carrier| format!("write {carrier}"))
    };
    let carrier = item.scalar("a header name, baggage/KEY or tracestate/KEY", Carrier::parse, hint)?;
    match &carrier {
        Carrier::Header(name) => may_be_read(item, name, "carry a space").then_some(carrier),
        Carrier::Baggage(_) | Carrier::Tracestate(_) => Some(carrier),
    }
}

/// Lower case: names are compared without case, and HTTP/2 has no upper case.
fn header_name(item: &Cursor<'_>) -> Option<String> {
    let lower =
        item.scalar("a header name", |text| is_header_name(text).then(|| text.to_ascii_lowercase()), |_| None)?;
    may_be_read(item, &lower, "have a trace id").then_some(lower)
}

fn may_be_read(item: &Cursor<'_>, lower: &str, what: &str) -> bool {
    let framing = is_framing_header(lower);
    if framing {
        item.error(Kind::Value, format!("{lower:?} frames or directs messages, it cannot {what}"), None);
    }
    !framing
}

fn ingress_suffix(item: &Cursor<'_>) -> Option<String> {
    let read = |text: &str| {
        let suffix = text.trim_matches('.').to_ascii_lowercase();
        is_dns_name(&suffix).then_some(suffix)
    };
    item.scalar("a DNS name like eus.azds.io", read, |text| match text {
        text if text.contains(':') => Some("leave out the port, hosts are compared without it".to_owned()),
        text if text.contains('*') => Some("leave out the wildcard, every host below the suffix matches".to_owned()),
        _ => None,
    })
}

/// The items of a list, each at most once.
fn unique<T: Clone + Eq + Hash + ToString>(list: &Cursor<'_>, read: impl Fn(&Cursor<'_>) -> Option<T>) -> Vec<T> {
    let mut first = HashMap::new();
    let mut values = Vec::new();
    for item in list.items() {
        let Some(value) = read(&item) else { continue };
        if let Some(line) = first.insert(value.clone(), item.node.at.line) {
            item.error(Kind::Reference, format!("{:?} is there already, in line {line}", value.to_string()), None);
        }
        values.push(value);
    }
    values
}

fn socket(path: &Cursor<'_>) -> Option<PathBuf> {
    let socket = path.absolute_path()?;
    if socket.as_os_str().len() > bounds::ADMIN_SOCKET_MAX {
        path.refuse(&format!("a path of at most {} bytes, the limit of unix sockets", bounds::ADMIN_SOCKET_MAX), None);
        return None;
    }
    Some(socket)
}
