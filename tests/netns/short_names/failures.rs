//! Without the agent, with one that hangs, with DNS switched off and with a server that is gone.

use std::time::{Duration, Instant};

use interceptor_tests::wait;
use nix::sys::signal::Signal;

use super::site::{Site, V4};
use crate::stage::LIMIT;

const NAME: &str = "serviceb.azureuser.svc.cluster.local";

/// The agent's metrics as text.
pub(super) fn metrics(site: &Site) -> String {
    let status = site.stage.agent.status().unwrap();
    let listeners = status["listeners"].as_array().unwrap();
    let metrics = listeners.iter().find(|listener| listener["name"] == "metrics").unwrap();
    let url = format!("http://{}/metrics", metrics["address"].as_str().unwrap());
    let output = site.stage.scene.lab.on_node().output("curl", ["-sS", "--noproxy", "*", &url]).unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_killed_agent_leaves_dns_to_the_server_at_once() {
    let mut site = Site::new("short-kill", &[V4]);
    assert_eq!(site.dig(&site.child, &[NAME, "A", "+short"]), "10.96.0.12");
    site.stage.agent.kill9().unwrap();
    assert_eq!(site.dig(&site.child, &[NAME, "A", "+short"]), "NXDOMAIN");
    assert_eq!(site.dig(&site.child, &["www.example.com", "A", "+short"]), "192.0.2.80");
}

#[test]
fn an_agent_that_hangs_loses_dns_after_the_heartbeat_and_gets_it_back() {
    let mut site = Site::with("short-hang", &[V4], |scene, _| {
        scene.config.set("capture", "heartbeat_timeout", "500ms");
    });
    site.stage.agent.process().signal(Signal::SIGSTOP).unwrap();
    let stopped = Instant::now();
    wait::until(LIMIT, "the heartbeat to be too old", || {
        anyhow::ensure!(stopped.elapsed() > Duration::from_millis(700));
        Ok(())
    })
    .unwrap();
    assert_eq!(site.dig(&site.child, &[NAME, "A", "+short"]), "NXDOMAIN");
    site.stage.agent.process().signal(Signal::SIGCONT).unwrap();
    wait::until(LIMIT, "DNS to be captured again", || {
        let found = site.dig(&site.child, &[NAME, "A", "+short"]);
        anyhow::ensure!(found == "10.96.0.12", "{found}");
        Ok(())
    })
    .unwrap_or_else(|error| panic!("{error:#}"));
    assert!(site.stage.kernel("dns", "agent_stale") >= 1);
}

#[test]
fn dns_goes_on_while_one_agent_takes_over_from_another() {
    let mut site = Site::new("short-succeed", &[V4]);
    for _ in 0..3 {
        // A query for each moment of the takeover, on both ways.
        let at = format!("@{}", site.dns.v4);
        let asking = [at.as_str(), "+short", "+tries=1", "+time=2"];
        let (child, succeeded) = (site.child.clone(), std::sync::atomic::AtomicBool::new(false));
        let mut old = None;
        std::thread::scope(|scope| {
            let ask = scope.spawn(|| {
                let mut asked = 0;
                while !succeeded.load(std::sync::atomic::Ordering::Relaxed) || asked < 10 {
                    let shared = child.output("dig", [&[NAME, "A"], &asking[..]].concat()).unwrap();
                    asked += 1;
                    if String::from_utf8_lossy(&shared.stdout).trim() != "10.96.0.12" {
                        return Err(format!("query {asked}: {shared:?}"));
                    }
                }
                Ok(asked)
            });
            let stage = &mut site.stage;
            old = Some(stage.agent.succeed(&stage.scene.lab, &stage.scene.config).unwrap());
            succeeded.store(true, std::sync::atomic::Ordering::Relaxed);
            let asked = ask.join().unwrap();
            assert!(asked.is_ok(), "{asked:?}");
        });
        assert_eq!(old.unwrap().process().wait(LIMIT).unwrap().code(), Some(0));
        assert_eq!(site.dig(&site.child, &[NAME, "A", "+short"]), "10.96.0.12");
        assert_eq!(site.dig(&site.child, &["www.example.com", "A", "+short"]), "192.0.2.80");
    }
    assert_eq!(site.stage.kernel("dns", "agent_stale"), 0);
}

#[test]
fn switched_off_nothing_of_dns_is_captured() {
    let site = Site::with("short-off", &[V4], |scene, _| {
        scene.config.set("dns", "enabled", false);
    });
    assert_eq!(site.dig(&site.child, &[NAME, "A", "+short"]), "NXDOMAIN");
    let status = site.stage.agent.status().unwrap();
    assert_eq!(status["dns"]["off_because"], "dns.enabled is false");
    let hooks: Vec<&str> =
        status["hooks"].as_array().unwrap().iter().filter_map(|hook| hook["name"].as_str()).collect();
    assert!(hooks.contains(&"on_connect4") && !hooks.iter().any(|hook| hook.contains("msg")), "{hooks:?}");
    assert_eq!(site.stage.kernel("dns", "redirected"), 0);
}

#[test]
fn a_server_that_is_gone_is_told_at_once_and_shared_names_still_resolve() {
    let mut site = Site::new("short-gone", &[V4]);
    site.end_server();
    let begin = Instant::now();
    assert_eq!(site.dig(&site.child, &["www.example.com", "A", "+short"]), "SERVFAIL");
    assert!(begin.elapsed() < Duration::from_secs(4), "{:?}", begin.elapsed());
    assert_eq!(site.dig(&site.child, &[NAME, "A", "+short"]), "10.96.0.12");
    assert!(metrics(&site).contains("interceptor_dns_queries_total{transport=\"udp\",outcome=\"failed\"}"));
}

#[test]
fn a_workload_whose_servers_are_not_known_is_left_out_and_said_so() {
    let site = Site::with("short-unknown", &[V4], |scene, _| {
        // Its namespace is that of a process whose resolv.conf names no server.
        let pod = scene.lab.pod("silent").unwrap();
        scene.config.item(
            "workloads",
            serde_json::json!({
                "name": "silent", "netns": "/proc/self/ns/net", "addresses": pod.addresses(), "space": "azureuser",
            }),
        );
    });
    let status = site.stage.agent.status().unwrap();
    let left_out = status["dns"]["not_captured"].as_array().unwrap();
    assert_eq!(left_out.len(), 1, "{status}");
    assert_eq!(left_out[0]["workload"], "silent");
    assert!(left_out[0]["why"].as_str().unwrap().contains("the node's network namespace"), "{status}");
}
