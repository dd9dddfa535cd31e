//! Requests walk from pod to pod through random trees, once with everything captured and once with what can matter: the
//! pods that they meet must be the same. Applications pass the route header on and add nothing themselves.

use std::net::SocketAddr;

use super::*;
use crate::route::{Direction, Query, Target, decide};

/// xorshift64*: the same worlds every time.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33).unwrap() % bound
    }
}

const SERVICES: usize = 4;

/// One tree of up to six spaces; each service has one to three copies, each with a captured pod in its own space. A
/// captured ingress controller is in none.
fn random_world(random: &mut Random) -> Snapshot {
    let spaces = 2 + random.below(5);
    let mut text = "spaces:\n  - {name: s0}\n".to_owned();
    let mut depth = vec![0];
    for space in 1..spaces {
        let parent = loop {
            let parent = random.below(space);
            if depth[parent] < 3 {
                break parent;
            }
        };
        depth.push(depth[parent] + 1);
        text.push_str(&format!("  - {{name: s{space}, parent: s{parent}}}\n"));
    }
    let (mut services, mut pods) = ("services:\n".to_owned(), "workloads:\n".to_owned());
    for service in 0..SERVICES {
        // Mostly one copy: that is what the modes differ in.
        let copies = [1, 1, 1, 2, 3][random.below(5)];
        let mut homes: Vec<usize> =
            (0..copies).map(|_| if random.below(2) == 0 { 0 } else { random.below(spaces) }).collect();
        homes.sort_unstable();
        homes.dedup();
        for space in homes {
            services.push_str(&format!(
                "  - {{name: v{service}, space: s{space}, addresses: [10.96.{service}.{space}], \
                 ports: [{{port: 80, target_port: 8080}}], endpoints: [{{address: 10.244.{service}.{space}}}]}}\n"
            ));
            pods.push_str(&format!(
                "  - {{name: v{service}-s{space}, space: s{space}, netns: /n/{service}-{space}, addresses: [10.244.{service}.{space}]}}\n"
            ));
        }
    }
    pods.push_str("  - {name: ingress, netns: /n/ingress, addresses: [10.244.9.9]}\n");
    let mode = ["caller", "none"][random.below(2)];
    let rest = format!("routing: {{ingress_suffixes: [x.io], default_space: {mode}}}\ncapture: {{cgroup: /c}}\n");
    let config = Config::parse(&[text, services, pods, rest].concat(), "random").unwrap().config;
    Snapshot::build(&config.topology, &config.routing, 1)
}

/// A call: by a captured pod, or from outside with no agent before it.
#[derive(Debug, Clone)]
struct Call<'a> {
    from: Option<&'a str>,
    to: SocketAddr,
    host: Option<&'a str>,
    header: Option<String>,
}

/// The pod that answers a call, and the header that it sees.
fn answer(wanted: &Wanted<'_>, call: Call<'_>) -> (SocketAddr, Option<String>) {
    let snapshot = wanted.snapshot;
    let Call { mut to, mut header, .. } = call;
    let mut pass = |direction, workload: &str, to: &mut SocketAddr| {
        let host = call.host.map(str::as_bytes);
        let value = header.clone();
        let query = Query {
            direction,
            workload,
            destination: *to,
            header: value.as_deref().map(str::as_bytes),
            host,
            recalled: None,
            turn: 0,
        };
        let decision = decide(snapshot, &query);
        if decision.inject {
            header = decision.space_name().map(ToString::to_string);
        }
        if let Target::Endpoint { address, .. } = decision.target {
            *to = address;
        }
    };
    if let Some(from) = call.from {
        let in_root = wanted.in_root(snapshot.workload(from).unwrap());
        if wanted.calls_to(&snapshot.destination(to).unwrap()).include(in_root) {
            pass(Direction::Outbound, from, &mut to);
        }
    }
    let destination = snapshot.destination(to).unwrap();
    if !destination.is_endpoint() {
        to = destination.first().unwrap().port.ready().next().unwrap();
    }
    // Only the calls of captured pods count as routed.
    if call.from.is_none() && wanted.inbound(&snapshot.destination(to).unwrap()) {
        let pod = snapshot.workloads().find(|workload| workload.addresses.contains(&to.ip())).unwrap();
        pass(Direction::Inbound, &pod.name, &mut to);
    }
    (to, header)
}

/// The pods that a request meets. What each pod calls depends on the seed only, so that both modes are asked the same.
fn walk(snapshot: &Snapshot, mode: CapturedServices, seed: u64) -> Vec<SocketAddr> {
    let wanted = Wanted::new(snapshot, mode);
    let mut random = Random(seed);
    let services = snapshot.services_in_order();
    let any_service = |random: &mut Random| services[random.below(services.len())];
    let any_space =
        |random: &mut Random| snapshot.spaces().nth(random.below(snapshot.spaces().len())).unwrap().name.to_string();
    let first = any_service(&mut random);
    let host = format!("{}.s.s0.{}.x.io", any_space(&mut random), first.id.name);
    let header = (random.below(4) == 0).then(|| any_space(&mut random));
    let to =
        if random.below(2) == 0 { first.ports[0].ready().next().unwrap() } else { (first.addresses[0], 80).into() };
    let mut pod = match random.below(3) {
        // The ingress controller, captured or not.
        0 => answer(&wanted, Call { from: Some("ingress"), to, host: Some(&host), header }),
        1 => {
            answer(&wanted, Call { from: None, to: first.ports[0].ready().next().unwrap(), host: Some(&host), header })
        }
        // A pod that begins by itself.
        _ => (first.ports[0].ready().next().unwrap(), None),
    };
    let mut met = vec![pod.0];
    for _ in 0..4 {
        let next = any_service(&mut random);
        let to =
            if random.below(4) == 0 { next.ports[0].ready().next().unwrap() } else { (next.addresses[0], 80).into() };
        let from = snapshot.workloads().find(|workload| workload.addresses.contains(&pod.0.ip())).unwrap();
        pod = answer(&wanted, Call { from: Some(&from.name), to, host: None, header: pod.1 });
        met.push(pod.0);
    }
    met
}

#[test]
fn every_request_goes_the_same_way_in_both_modes() {
    let mut random = Random(0x00c0_ffee);
    let (mut left_alone, mut derived) = (0, 0);
    for _ in 0..400 {
        let snapshot = random_world(&mut random);
        let wanted = Wanted::new(&snapshot, CapturedServices::Overridden);
        left_alone += snapshot.destinations().filter(|(_, d)| wanted.calls_to(d) != Calls::All).count();
        let root = snapshot.space_named("s0").unwrap();
        for _ in 0..50 {
            let seed = u64::try_from(random.below(1 << 30)).unwrap() + 1;
            let all = walk(&snapshot, CapturedServices::SpaceServices, seed);
            assert_eq!(walk(&snapshot, CapturedServices::Overridden, seed), all, "seed {seed} in {snapshot:#?}");
            derived +=
                all.iter().filter(|pod| snapshot.destination(**pod).unwrap().first().unwrap().space != root).count();
        }
    }
    // The opposite: the modes do differ, and requests do meet pods of derived spaces.
    assert!(left_alone > 1000 && derived > 1000, "{left_alone} {derived}");
}
