//! Programs and rules of other tools where the agent's are: both have their say, none is silenced, and one that is in the way
//! is named.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddrV4};

use interceptor_tests::foreign::{Flags, Program};
use interceptor_tests::{bpftool, wait};

use super::{connect_hook, is_intercepted, logged, wait_intercepted};
use crate::closed::dial_at;
use crate::crash::{GET, OK, own_links, word};
use crate::wire::{LIMIT, TCP, UNDECLARED, VIP, Way, Wire, exchange, until_end};

/// Addresses that nobody serves but a foreign program or rule.
const OTHER: &str = "10.96.0.77:80";

fn v4(ip: IpAddr, port: u16) -> SocketAddrV4 {
    match ip {
        IpAddr::V4(ip) => SocketAddrV4::new(ip, port),
        IpAddr::V6(ip) => panic!("{ip} is not IPv4"),
    }
}

fn connect_error(wire: &Wire, to: &str) -> Option<ErrorKind> {
    dial_at(&wire.client, to).err()
}

#[test]
fn connect_programs_of_others_run_before_and_after_ours() {
    let wire = Wire::new("foreign-connect");
    let to_service = || Program::redirect(OTHER.parse().unwrap(), v4(VIP, UNDECLARED.0)).unwrap();
    let to_server = || Program::redirect(OTHER.parse().unwrap(), v4(wire.server.v4.into(), UNDECLARED.1)).unwrap();
    assert_eq!(connect_error(&wire, OTHER), Some(ErrorKind::ConnectionRefused), "nobody serves it");
    // Below ours it runs first: what it makes of the destination is what is captured. Above ours it runs after it, and finds
    // what ours has left alone; beside ours in the order in which they came.
    let (below, here, above) = (wire.client.cgroup(), wire.lab.pods_cgroup(), wire.lab.cgroup());
    let server = wire.listen(UNDECLARED);
    for (place, program, redirected) in [
        (below, to_service(), true),
        // A pod's own address is captured as well.
        (below, to_server(), true),
        (here.as_path(), to_server(), false),
        (above, to_server(), false),
    ] {
        let link = program.link(place).unwrap();
        let before = wire.counted("outbound", "redirected");
        let client = wire.dial_at(Way::Outbound, OTHER.parse().unwrap());
        exchange(&client, &server.accept(), GET, OK);
        assert_eq!(wire.counted("outbound", "redirected") > before, redirected, "{}", place.display());
        let (client, peer) = wire.pair(&server, Way::Outbound, UNDECLARED);
        exchange(&client, &peer, GET, OK);
        assert!(wire.counted("outbound", "redirected") > before, "ours goes on: {}", place.display());
        drop(link);
        assert_eq!(connect_error(&wire, OTHER), Some(ErrorKind::ConnectionRefused), "{}", place.display());
    }
    // Whoever refuses has the last word, wherever it is; the agent's own connections are not its business.
    for place in [below, here.as_path(), above] {
        let kept = wire.pair(&server, Way::Outbound, UNDECLARED);
        let link = Program::deny().unwrap().link(place).unwrap();
        let to = wire.address(Way::Outbound, UNDECLARED).to_string();
        assert_eq!(connect_error(&wire, &to), Some(ErrorKind::PermissionDenied), "{}", place.display());
        exchange(&kept.0, &kept.1, GET, OK);
        drop(link);
    }
    drop(server);
    assert!(is_intercepted(&wire, Way::Outbound));
    let check =
        wire.agent.cli(&["check", "--config", wire.lab.temp().join("interceptor.yaml").to_str().unwrap()]).unwrap();
    let check = String::from_utf8_lossy(&check.stdout).into_owned();
    assert!(check.contains("the hooks of an agent that runs"), "{check}");
}

#[test]
fn a_program_that_allows_none_beside_it_is_named_and_left_alone() {
    for (flags, words) in [(Flags::Exclusive, "exclusively"), (Flags::Override, "BPF_F_ALLOW_OVERRIDE")] {
        let mut wire = Wire::new("foreign-alone");
        let above = wire.lab.cgroup().to_owned();
        wire.agent.stop().unwrap();
        let to_server = Program::redirect(OTHER.parse().unwrap(), v4(wire.server.v4.into(), UNDECLARED.1)).unwrap();
        let foreign = to_server.attach(&above, flags).unwrap();
        wire.agent =
            interceptor_tests::Agent::start(&wire.lab, &wire.config).unwrap_or_else(|error| panic!("{error:#}"));
        let (state, detail) = connect_hook(&wire);
        assert!(state == "detached" && detail.contains(words), "{flags:?}: {state}: {detail}");
        let file = wire.lab.temp().join("interceptor.yaml");
        let check = wire.agent.cli(&["check", "--config", file.to_str().unwrap()]).unwrap();
        let text = String::from_utf8_lossy(&check.stdout).into_owned();
        assert!(!check.status.success() && text.contains("foreign_lb at connect4"), "{flags:?}: {text}");
        // Theirs works, and so does everything, directly.
        assert!(!is_intercepted(&wire, Way::Outbound));
        let server = wire.listen(UNDECLARED);
        let client = wire.dial_at(Way::Outbound, OTHER.parse().unwrap());
        exchange(&client, &server.accept(), GET, OK);
        drop((server, client));
        assert_eq!(logged(&wire, "outbound connections pass uncaptured"), 1, "told once");
        drop(foreign);
        wait_intercepted(&wire, Way::Outbound);
        assert_eq!(connect_hook(&wire).0, "attached");
    }
}

#[test]
fn a_link_that_somebody_detaches_is_attached_again() {
    let mut wire = Wire::new("detached");
    let links = own_links(wire.pid());
    let server = wire.listen(TCP);
    let streams = Way::BOTH.map(|way| wire.pair(&server, way, TCP));
    for link in &links {
        // The raw tracepoint's is not there, so all are of cgroups or namespaces.
        bpftool::json(&["link", "detach", "id", &link.to_string()]).unwrap();
    }
    for way in Way::BOTH {
        wait_intercepted(&wire, way);
    }
    for (client, peer) in &streams {
        exchange(client, peer, "still", "there");
    }
    wait::until(LIMIT, "all links to be there", || {
        let now = own_links(wire.pid());
        anyhow::ensure!(now.len() == links.len() && now.iter().all(|id| !links.contains(id)), "{now:?} {links:?}");
        Ok(())
    })
    .unwrap();
    assert!((1..=2).contains(&logged(&wire, "attaching again")), "{}", wire.agent.log_tail(30));
    assert!((1..=2).contains(&logged(&wire, "somebody has detached sk_lookup")));
    // One of many: the others stay as they are.
    let before = own_links(wire.pid());
    bpftool::json(&["link", "detach", "id", &before[0].to_string()]).unwrap();
    wait::until(LIMIT, "that link to be there again", || {
        let now = own_links(wire.pid());
        let kept = now.iter().filter(|id| before.contains(id)).count();
        anyhow::ensure!(now.len() == before.len() && kept == before.len() - 1, "{now:?} {before:?}");
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_sk_lookup_program_of_others_in_a_pod_has_its_say() {
    let wire = Wire::new("foreign-lookup");
    let netns = wire.server.netns().path().to_owned();
    let other = (9999, 9999);
    let server = wire.listen(other);
    let theirs = Program::drop_port(other.1).unwrap().link(&netns).unwrap();
    let to = wire.server.at(other.1).to_string();
    let refused = |wire: &Wire| wire.lab.outside().connect(to.parse().unwrap()).is_err();
    assert!(refused(&wire), "what it drops is dropped");
    for way in Way::BOTH {
        assert!(is_intercepted(&wire, way), "{way:?}");
    }
    drop(theirs);
    let client = wire.dial_at(Way::Inbound, wire.server.at(other.1));
    exchange(&client, &server.accept(), GET, OK);
    // Where one program drops what another one takes the kernel has it taken. So the agent has it, and is dropped itself on
    // the way to the application, which nothing reaches that would not have without the agent.
    let server = wire.listen(UNDECLARED);
    let theirs = Program::drop_port(UNDECLARED.1).unwrap().link(&netns).unwrap();
    let client = wire.dial(Way::Inbound, UNDECLARED);
    std::io::Write::write_all(&mut &client, GET.as_bytes()).unwrap();
    let answer = String::from_utf8_lossy(&until_end(&client)).into_owned();
    assert!(answer.starts_with("HTTP/1.1 502 ") && server.waiting().is_none(), "{answer}");
    drop((theirs, server));
    assert!(is_intercepted(&wire, Way::Inbound));
}

#[test]
fn translation_rules_inside_a_pod_go_on() {
    let mut wire = Wire::with("foreign-nft", |config| {
        let other = interceptor_tests::Service::new("other", "default").port("any", 80, 8080, None);
        config.service(&other.address(OTHER.parse::<SocketAddrV4>().unwrap().ip().to_owned()));
    });
    // As a sidecar's set-up leaves loopback alone: the call meets our hook first, and the agent's connection meets the rule.
    let rule = format!(
        "add table ip t; add chain ip t out {{ type nat hook output priority -100; }}; \
         add rule ip t out oif != \"lo\" ip daddr 10.96.0.77 tcp dport 80 dnat to {}:8080; \
         add chain ip t in {{ type nat hook prerouting priority -100; }}; \
         add rule ip t in tcp dport 9090 redirect to :8080",
        wire.server.v4
    );
    wire.client.run("nft", [&rule]).unwrap();
    wire.server.run("nft", [&rule]).unwrap();
    let server = wire.listen(UNDECLARED);
    let before = wire.counted("outbound", "redirected");
    let client = wire.dial_at(Way::Outbound, OTHER.parse().unwrap());
    exchange(&client, &server.accept(), GET, OK);
    assert_eq!(wire.counted("outbound", "redirected"), before + 1);
    // Inbound the rule comes first: what it makes of the port is what is intercepted, or not.
    let before = wire.counted("inbound", "redirected");
    let client = wire.dial_at(Way::Inbound, wire.server.at(9090));
    exchange(&client, &server.accept(), GET, OK);
    assert_eq!(wire.counted(word(Way::Inbound), "redirected"), before + 1);
    wire.agent.kill9().unwrap();
    let client = wire.dial_at(Way::Outbound, OTHER.parse().unwrap());
    exchange(&client, &server.accept(), GET, OK);
}
