//! The kernel's maps are full: what finds no room passes, is told of, and is captured as soon as there is some; what was
//! there before goes on, and nothing that was accepted is lost.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use interceptor_tests::{Pod, Service, bpftool, wait};
use serde_json::Value;

use super::{is_intercepted, logged};
use crate::crash::{GET, OK};
use crate::wire::{LIMIT, TCP, UNDECLARED, Way, Wire, exchange};

/// A map of the agent's.
pub(super) struct Map {
    id: String,
    key: usize,
    value: usize,
    capacity: usize,
}

impl Map {
    pub(super) fn of(wire: &mut Wire, name: &str) -> Map {
        let shown = maps(wire).into_iter().find(|map| map["name"] == name).unwrap_or_else(|| panic!("no map {name}"));
        let number = |key: &str| usize::try_from(shown[key].as_u64().unwrap()).unwrap();
        Map {
            id: shown["id"].to_string(),
            key: number("bytes_key"),
            value: number("bytes_value"),
            capacity: number("max_entries"),
        }
    }

    pub(super) fn entries(&self) -> usize {
        bpftool::json(&["map", "dump", "id", &self.id]).unwrap().as_array().unwrap().len()
    }

    /// Keys that nothing of the agent's has: its own begin with a cookie, a number or an address of the laboratory.
    fn strange_key(&self, number: usize) -> String {
        let mut bytes = vec![0xee_u8; self.key];
        bytes[..4].copy_from_slice(&u32::try_from(number).unwrap().to_ne_bytes());
        hex(&bytes)
    }

    /// Does the same with many strange keys; what is refused ends it.
    fn batch(&self, wire: &Wire, count: usize, line: impl Fn(&str) -> String) -> bool {
        let path = wire.lab.temp().join("batch");
        let mut file = BufWriter::new(File::create(&path).unwrap());
        for number in 0..count {
            writeln!(file, "{}", line(&self.strange_key(number))).unwrap();
        }
        file.into_inner().unwrap();
        let mut command = std::process::Command::new("bpftool");
        command.args(["batch", "file", path.to_str().unwrap()]).output().unwrap().status.success()
    }

    /// Leaves no room in it.
    fn fill(&self, wire: &Wire) -> usize {
        let (id, value) = (&self.id, hex(&vec![0; self.value]));
        let strange = self.capacity - self.entries();
        assert!(self.batch(wire, strange, |key| format!("map update id {id} key hex {key} value hex {value}")));
        assert_eq!(self.entries(), self.capacity);
        strange
    }

    /// Makes room again.
    fn release(&self, wire: &Wire, strange: usize) {
        let id = &self.id;
        assert!(self.batch(wire, strange, |key| format!("map delete id {id} key hex {key}")));
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x} ")).collect::<String>().trim_end().to_owned()
}

/// What bpftool shows of each of the agent's maps.
fn maps(wire: &mut Wire) -> Vec<Value> {
    let infos = fs::read_dir(format!("/proc/{}/fdinfo", wire.pid())).unwrap();
    let texts = infos.filter_map(|entry| fs::read_to_string(entry.ok()?.path()).ok());
    let id = |text: String| text.lines().find_map(|line| Some(line.strip_prefix("map_id:")?.trim().to_owned()));
    let mut ids: Vec<String> = texts.filter_map(id).collect();
    ids.sort();
    ids.dedup();
    ids.iter().map(|id| bpftool::json(&["map", "show", "id", id]).unwrap()).collect()
}

fn state(wire: &Wire, workload: &str) -> (String, String) {
    let status = wire.agent.status().unwrap();
    let found = status["workload_states"].as_array().unwrap().iter().find(|state| state["name"] == workload);
    let text = |key: &str| found.unwrap_or_else(|| panic!("{status}"))[key].as_str().unwrap().to_owned();
    (text("state"), text("detail"))
}

#[track_caller]
fn wait_state(wire: &Wire, workload: &str, wanted: &str) {
    let reached = wait::until(LIMIT, wanted, || {
        let (state, detail) = state(wire, workload);
        anyhow::ensure!(state == wanted, "{state}: {detail}");
        Ok(())
    });
    reached.unwrap_or_else(|error| panic!("{error:#}"));
}

/// A third pod: where it calls from, and the service that it is behind, which is intercepted inbound.
fn third(wire: &mut Wire) -> Pod {
    let pod = wire.lab.pod("third").unwrap();
    let service = Service::new("third", "default").address(Ipv4Addr::new(10, 96, 0, 33)).port("any", 80, 8080, None);
    wire.config.service(&service.endpoint(&pod)).workload(&pod, Some("default"));
    wire.agent.reload(&wire.config).unwrap();
    pod
}

#[test]
fn a_workload_that_finds_no_room_passes_until_there_is_some() {
    let mut wire = Wire::new("full-workloads");
    for name in ["WORKLOADS", "OUTBOUND"] {
        if name == "OUTBOUND" {
            // Sockets cannot be told apart from outside, so this one is only looked at.
            assert_eq!(Map::of(&mut wire, name).capacity, Map::of(&mut wire, "WORKLOADS").capacity);
            break;
        }
        let map = Map::of(&mut wire, name);
        let strange = map.fill(&wire);
        let pod = third(&mut wire);
        wait_state(&wire, "third", "failed");
        assert!(state(&wire, "third").1.contains("map WORKLOADS"), "{:?}", state(&wire, "third"));
        assert!(state(&wire, "third").1.contains("there is no room in it"), "{:?}", state(&wire, "third"));
        // It works, directly; those from before are intercepted.
        let server = wire.listen(UNDECLARED);
        let before = wire.counted("outbound", "redirected");
        let client = pod.connect(wire.address(Way::Outbound, UNDECLARED)).unwrap();
        exchange(&client, &server.accept(), GET, OK);
        assert_eq!(wire.counted("outbound", "redirected"), before);
        drop((client, server));
        for way in Way::BOTH {
            assert!(is_intercepted(&wire, way), "{way:?}");
        }
        // It is tried again every second: with nothing left of the last time, and nothing said of it.
        let descriptors = wire.descriptors();
        std::thread::sleep(Duration::from_millis(3200));
        assert!(wire.descriptors() <= descriptors + 2, "{} after {descriptors}", wire.descriptors());
        assert_eq!(logged(&wire, "its connections pass uncaptured"), 1, "{}", wire.agent.log_tail(30));
        map.release(&wire, strange);
        wait_state(&wire, "third", "captured");
        let server = wire.listen(UNDECLARED);
        let client = pod.connect(wire.address(Way::Outbound, UNDECLARED)).unwrap();
        exchange(&client, &server.accept(), GET, OK);
        assert!(wire.counted("outbound", "redirected") > before);
    }
}

#[test]
fn ports_that_find_no_room_pass_and_are_counted_until_there_is_some() {
    let mut wire = Wire::new("full-inbound");
    let map = Map::of(&mut wire, "INBOUND");
    let strange = map.fill(&wire);
    let pod = third(&mut wire);
    wait_state(&wire, "third", "captured");
    let left_out = |wire: &Wire| wire.agent.status().unwrap()["captured"]["left_out"].clone();
    assert_eq!(left_out(&wire), 2, "its port, in both families");
    let text = wire.agent.text(&["status"]).unwrap();
    assert!(text.contains("left out  2 addresses"), "{text}");
    let listener = pod.listen("[::]:8080".parse().unwrap()).unwrap();
    let call = |wire: &Wire| {
        let before = wire.counted("inbound", "redirected");
        let client = wire.dial_at(Way::Inbound, pod.at(8080));
        exchange(&client, &listener.accept().unwrap().0, GET, OK);
        wire.counted("inbound", "redirected") - before
    };
    assert_eq!(call(&wire), 0);
    for way in Way::BOTH {
        assert!(is_intercepted(&wire, way), "{way:?}");
    }
    std::thread::sleep(Duration::from_millis(2200));
    assert_eq!(logged(&wire, "bringing the kernel to what is captured failed"), 1, "{}", wire.agent.log_tail(30));
    map.release(&wire, strange);
    wait::until(LIMIT, "there to be room", || {
        anyhow::ensure!(left_out(&wire) == 0);
        Ok(())
    })
    .unwrap();
    assert_eq!(call(&wire), 1);
}

#[test]
fn dns_servers_that_find_no_room_are_told_of_until_there_is_some() {
    let mut wire = Wire::with("full-dns", |config| {
        config.space("dev", Some("default")).set("dns", "servers", vec!["10.96.0.53"]);
    });
    for name in ["DNS_AGENTS", "DNS_SERVERS"] {
        let map = Map::of(&mut wire, name);
        let strange = map.fill(&wire);
        let pod = wire.lab.pod(&name.to_lowercase().replace('_', "-")).unwrap();
        wire.config.workload(&pod, Some("dev"));
        wire.agent.reload(&wire.config).unwrap();
        let dns = |wire: &Wire| wire.agent.status().unwrap()["dns"].clone();
        let left_out = dns(&wire)["not_captured"].clone();
        assert!(left_out[0]["why"].as_str().unwrap().contains("there is no room in it"), "{left_out}");
        let descriptors = wire.descriptors();
        std::thread::sleep(Duration::from_millis(2200));
        assert!(wire.descriptors() <= descriptors + 2, "{} after {descriptors}", wire.descriptors());
        map.release(&wire, strange);
        wait::until(LIMIT, "its DNS to be captured", || {
            let dns = dns(&wire);
            anyhow::ensure!(
                dns["not_captured"].as_array().is_some_and(Vec::is_empty) && dns["workloads"] == 1,
                "{dns}"
            );
            Ok(())
        })
        .unwrap();
        wire.config.remove_workload(pod.name());
        wire.agent.reload(&wire.config).unwrap();
    }
}

#[test]
fn a_client_that_finds_no_room_is_served_all_the_same() {
    let mut wire = Wire::new("full-clients");
    let map = Map::of(&mut wire, "CLIENTS");
    let server = wire.listen(UNDECLARED);
    let outside: SocketAddr = (interceptor_tests::lab::OUTSIDE_V4, 0).into();
    let seen_by_server = |wire: &Wire| {
        let (client, peer) = wire.pair(&server, Way::Inbound, UNDECLARED);
        exchange(&client, &peer, GET, OK);
        peer.peer_addr().unwrap().ip().to_canonical()
    };
    let kept = wire.pair(&server, Way::Inbound, UNDECLARED);
    assert_eq!(seen_by_server(&wire), outside.ip());
    let strange = map.fill(&wire);
    assert_eq!(seen_by_server(&wire), wire.server.v4, "it is not known, and not taken for anybody else");
    assert_eq!(kept.1.peer_addr().unwrap().ip().to_canonical(), outside.ip(), "nobody else's gives way");
    exchange(&kept.0, &kept.1, GET, OK);
    map.release(&wire, strange);
    assert_eq!(seen_by_server(&wire), outside.ip());
}

#[test]
fn a_flood_takes_nothing_from_a_live_connection_but_its_statistics() {
    let mut wire = Wire::new("flood");
    // Where something gives way to what is new, it must be nothing that says where a connection goes or who it is.
    let gives_way: Vec<String> = maps(&mut wire)
        .iter()
        .filter(|map| map["type"].as_str().unwrap().contains("lru"))
        .map(|map| map["name"].as_str().unwrap().to_owned())
        .collect();
    let harmless = ["FACTS", "NAMESPACES", "INBOUND_SOCKETS", "READINGS", "MISTRUSTED", "CALLS"];
    assert!(gives_way.iter().all(|name| harmless.contains(&name.as_str())), "{gives_way:?}");
    assert!(gives_way.iter().any(|name| name == "FACTS"));
    let server = wire.listen(TCP);
    let pairs = Way::BOTH.map(|way| wire.pair(&server, way, TCP));
    let peers = |pairs: &[(std::net::TcpStream, std::net::TcpStream)]| -> Vec<SocketAddr> {
        pairs.iter().flat_map(|(client, peer)| [client.peer_addr().unwrap(), peer.peer_addr().unwrap()]).collect()
    };
    let before = peers(&pairs);
    let facts = Map::of(&mut wire, "FACTS");
    let (id, value) = (&facts.id, hex(&vec![0; facts.value]));
    assert!(
        facts.batch(&wire, facts.capacity * 2, |key| format!("map update id {id} key hex {key} value hex {value}"))
    );
    for (client, peer) in &pairs {
        exchange(client, peer, "still", "there");
    }
    assert_eq!(peers(&pairs), before);
    drop(pairs);
    // The records come, and tell of what the agent itself has seen.
    wait::until(LIMIT, "the records", || {
        let records = wire.agent.flows(&["--last", "10"])?;
        let ended = records.iter().filter(|record| record["bytes_in"] == 5 && record["bytes_out"] == 5).count();
        anyhow::ensure!(ended == 2, "{records:?}");
        Ok(())
    })
    .unwrap();
}
