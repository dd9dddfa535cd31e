//! What the agent is attached to goes away and comes back under the same name.

use std::time::{Duration, Instant};

use interceptor_tests::{Agent, Config, Lab, cgroup, wait};

use super::{connect_hook, is_intercepted, logged, wait_intercepted};
use crate::closed::BpfFs;
use crate::crash::own_links;
use crate::wire::{LIMIT, Way, Wire};

/// Looks for a place that nobody uses again so soon: a sweep comes every second.
const BETWEEN_SWEEPS: Duration = Duration::from_millis(1500);

#[test]
fn a_captured_cgroup_that_is_made_anew_is_captured_again() {
    let mut wire = Wire::with_lab("cgroup-anew", |lab, config| {
        // Both directories exist from the start; the client's pod is below neither yet.
        config.set("capture", "cgroup", lab.cgroup().join("tree").to_str().unwrap());
    });
    let tree = wire.lab.cgroup().join("tree");
    // It is not there yet, which is no failure of anything else.
    let (state, detail) = connect_hook(&wire);
    assert!(
        state == "detached" && detail.contains("it must be a cgroup v2 directory that exists"),
        "{state}: {detail}"
    );
    assert!(!is_intercepted(&wire, Way::Outbound));
    assert!(is_intercepted(&wire, Way::Inbound), "another pod's inbound connections");
    let mut links = 0;
    for turn in 0..3 {
        wire.client.remove().unwrap();
        cgroup::destroy(&tree, LIMIT).unwrap();
        if turn == 1 {
            // Gone for longer than a sweep takes; at other times it is back before the agent has looked.
            std::thread::sleep(BETWEEN_SWEEPS);
        }
        wire.client = wire.lab.pod_again(&wire.client, &tree.join(format!("client-{turn}"))).unwrap();
        wire.config.remove_workload("client").workload(&wire.client, Some("default"));
        let begin = Instant::now();
        wire.agent.reload(&wire.config).unwrap();
        wait_intercepted(&wire, Way::Outbound);
        println!("turn {turn}: captured again {:?} after the change", begin.elapsed());
        // Of what was attached before nothing is kept.
        let now = own_links(wire.pid()).len();
        if turn > 0 {
            assert_eq!(now, links);
        }
        links = now;
    }
    assert_eq!(connect_hook(&wire).0, "attached");
    assert!(logged(&wire, "it was made anew") >= 1, "{}", wire.agent.log_tail(40));
}

#[test]
fn a_bpf_file_system_that_is_taken_away_costs_only_what_it_was_for() {
    let lab = Lab::new("bpffs-gone").unwrap_or_else(|error| panic!("{error:#}"));
    let pod = lab.pod("pod").unwrap();
    let mut bpffs = BpfFs::mount(&lab.temp().join("bpf"));
    let mut config = Config::new(&lab);
    config.set("capture", "fail", "closed").set("capture", "pin_directory", bpffs.directory());
    config.space("default", None).workload(&pod, Some("default"));
    let mut agent = Agent::start(&lab, &config).unwrap_or_else(|error| panic!("{error:#}"));
    let (pins, links) = (bpffs.pins(), own_links(agent.process().pid()).len());
    assert_eq!(pins, 3, "two connect hooks, one namespace");
    drop(bpffs);
    wait::until(LIMIT, "the agent to miss it", || {
        anyhow::ensure!(agent.log_tail(50).contains("connections pass should the agent die"));
        Ok(())
    })
    .unwrap();
    std::thread::sleep(BETWEEN_SWEEPS);
    let log = agent.log_tail(usize::MAX);
    assert_eq!(log.matches("connections pass should the agent die").count(), 1, "{log}");
    assert_eq!(own_links(agent.process().pid()).len(), links, "attached as before");
    bpffs = BpfFs::mount(&lab.temp().join("bpf"));
    wait::until(LIMIT, "the links to be pinned again", || {
        anyhow::ensure!(bpffs.pins() == pins, "{} of {pins}", bpffs.pins());
        Ok(())
    })
    .unwrap();
    agent.stop().unwrap();
    assert_eq!(bpffs.pins(), 0);
}
