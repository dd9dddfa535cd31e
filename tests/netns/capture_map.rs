//! The agent's controller over the kernel's real maps, in this process: what it captures is what the snapshot says, after
//! every change, also when the map was full.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use interceptor::bpf::{Kernel, Programs};
use interceptor::capture::{Controller, ControllerParts};
use interceptor::captured::Destinations;
use interceptor::config::{Config, EndpointSpec, PortSpec, ServiceSpec, SpaceSpec};
use interceptor::discovery::Pods;
use interceptor::metrics::Metrics;
use interceptor::snapshot::{Change, Snapshot};
use interceptor::status::StatusBoard;
use interceptor_tests::bpftool;
use serde_json::Value;

/// Destinations that the kernel's map holds (`CAPTURE_CAPACITY`).
const CAPACITY: u32 = 262_144;

/// Longer than it takes to release an index and look for one at once, and shorter than the agent's own.
const REST: Duration = Duration::from_secs(2);

/// A controller without workloads, its snapshot, and the kernel's map that it fills.
struct Node {
    controller: Controller,
    snapshot: Snapshot,
    map: String,
}

impl Node {
    fn new() -> Node {
        let config = Config::parse("spaces: []", "test").unwrap().config;
        let before = maps_named_capture();
        let kernel = Kernel::load(false, Programs::default(), &[]).unwrap();
        let controller = Controller::new(ControllerParts {
            kernel,
            neighbours: Default::default(),
            destinations: Arc::new(Destinations::new(config.capture.outbound_port).resting(REST)),
            workers: Vec::new(),
            settings: config.capture,
            dns: config.dns,
            status: Arc::new(StatusBoard::new("test", "test")),
            metrics: Arc::new(Metrics::new()),
            pods: Pods::new(None),
        });
        let map = maps_named_capture().difference(&before).next().expect("the map that was made").clone();
        Node { controller: controller.unwrap(), snapshot: Snapshot::empty(&config.routing), map }
    }

    fn change(&mut self, changes: &[Change<'_>]) {
        let (next, delta) = self.snapshot.update(changes);
        self.snapshot = next;
        self.controller.update(&self.snapshot, &delta);
    }

    /// What the kernel redirects.
    fn held(&self) -> BTreeSet<SocketAddr> {
        let all = bpftool::json(&["map", "dump", "id", &self.map]).unwrap();
        let address = |entry: &Value| {
            let bytes: Vec<u8> = entry["key"].as_array().unwrap().iter().map(byte).collect();
            let ip: [u8; 16] = bytes[..16].try_into().unwrap();
            SocketAddr::new(IpAddr::from(ip).to_canonical(), u16::from_be_bytes([bytes[16], bytes[17]]))
        };
        all.as_array().unwrap().iter().map(address).collect()
    }

    fn wanted(&self) -> BTreeSet<SocketAddr> {
        self.snapshot.destinations().map(|(addr, _)| addr).collect()
    }

    fn holds(&self, addr: SocketAddr) -> bool {
        let IpAddr::V4(ip) = addr.ip() else { panic!("{addr} is not IPv4") };
        let mut key = ip.to_ipv6_mapped().octets().to_vec();
        key.extend(addr.port().to_be_bytes());
        key.extend([0, 0]);
        let key: Vec<String> = key.iter().map(u8::to_string).collect();
        let args = ["map", "lookup", "id", &self.map, "key"];
        bpftool::json(&args.into_iter().chain(key.iter().map(String::as_str)).collect::<Vec<_>>())
            .is_ok_and(|found| found.get("key").is_some())
    }
}

fn byte(text: &Value) -> u8 {
    u8::from_str_radix(text.as_str().unwrap().trim_start_matches("0x"), 16).unwrap()
}

/// The maps of that name that this process has open.
fn maps_named_capture() -> BTreeSet<String> {
    let mut ids = BTreeSet::new();
    for entry in fs::read_dir("/proc/self/fdinfo").unwrap() {
        // A descriptor may be closed while we look.
        let info = fs::read_to_string(entry.unwrap().path()).unwrap_or_default();
        ids.extend(info.lines().find_map(|line| line.strip_prefix("map_id:\t")).map(str::to_owned));
    }
    ids.retain(|id| bpftool::json(&["map", "show", "id", id]).is_ok_and(|map| map["name"] == "CAPTURE"));
    ids
}

fn space(name: &str, parent: Option<&str>) -> SpaceSpec {
    SpaceSpec { name: name.to_owned(), parent: parent.map(str::to_owned), propagate: None }
}

/// A headless service with endpoints at these numbers.
fn service(name: &str, space: &str, pods: impl Iterator<Item = u32>) -> ServiceSpec {
    let pod =
        |number: u32| EndpointSpec { address: pod(number).ip(), ready: number.is_multiple_of(2), ports: Vec::new() };
    ServiceSpec {
        name: name.to_owned(),
        space: space.to_owned(),
        addresses: Vec::new(),
        ports: vec![PortSpec { name: String::new(), port: 80, target_port: 8080, app_protocol: None }],
        endpoints: pods.map(pod).collect(),
        endpoints_are_destinations: true,
    }
}

fn pod(number: u32) -> SocketAddr {
    SocketAddr::new(IpAddr::from((0x0a00_0000 + number).to_be_bytes()), 8080)
}

/// One test, as the maps are found by what this process has open.
#[test]
fn the_kernel_captures_what_the_snapshot_says_after_every_change() {
    let mut node = Node::new();
    node.change(&[Change::Space(&space("default", None)), Change::Space(&space("dev", Some("default")))]);
    assert_eq!(node.held(), BTreeSet::new());
    // Services that come, share pods, move, grow, lose their space and go.
    for round in 0..12_u32 {
        let (first, second) = (round * 7 % 40, round * 11 % 40);
        node.change(&[Change::Service(&service("a", "default", first..first + 20))]);
        assert_eq!(node.held(), node.wanted());
        node.change(&[Change::Service(&service("a", "dev", second..second + 5 + round))]);
        assert_eq!(node.held(), node.wanted());
        let parent = if round % 3 == 0 { "nobody" } else { "default" };
        node.change(&[Change::Space(&space("dev", Some(parent)))]);
        assert_eq!(node.held(), node.wanted());
    }
    node.change(&[Change::SpaceGone("default")]);
    assert_eq!((node.held(), node.wanted()), (BTreeSet::new(), BTreeSet::new()));

    // Full but for five, then twenty more, with lower addresses first.
    let many = CAPACITY - 5;
    let gone = ["default", "dev"].map(|space| Change::ServiceGone { space, name: "a" });
    node.change(&[&gone[..], &[Change::Space(&space("default", None))]].concat());
    assert_eq!(node.held(), BTreeSet::new(), "what waited for its space is gone, too");
    node.change(&[Change::Service(&service("many", "default", 0..many))]);
    let more = service("more", "default", many..many + 20);
    node.change(&[Change::Service(&more)]);
    let held = |node: &Node| (many..many + 20).filter(|number| node.holds(pod(*number))).count();
    assert_eq!((held(&node), node.holds(pod(0)), node.holds(pod(many - 1))), (5, true, true));
    node.controller.sweep(&node.snapshot);
    assert_eq!(held(&node), 5, "there is no room yet");
    node.change(&[Change::Service(&service("many", "default", 7..many))]);
    // What was redirected to those a moment ago must not arrive elsewhere.
    assert_eq!((held(&node), node.holds(pod(0)), node.holds(pod(7))), (5, false, true), "what was released rests");
    std::thread::sleep(REST);
    node.controller.sweep(&node.snapshot);
    assert_eq!(held(&node), 12, "as much as was released");
    node.change(&[Change::Service(&service("many", "default", 100..many))]);
    std::thread::sleep(REST);
    node.controller.sweep(&node.snapshot);
    assert_eq!((held(&node), node.holds(pod(99)), node.holds(pod(100))), (20, false, true));
}
