//! What the board remembers, and when it calls the agent ready.

use super::*;
use crate::config::{Routing, Topology};
use crate::flow::samples;

fn report(board: &StatusBoard, metrics: &Metrics) -> Status {
    let hub = Hub::new(4);
    hub.publish(samples::connection(1));
    board.report(&Snapshot::build(&Topology::default(), &Routing::default(), 0), &hub, metrics)
}

#[test]
fn an_agent_is_ready_when_it_has_a_configuration_and_says_so() {
    let board = StatusBoard::new("file", "/etc/interceptor.yaml");
    assert_eq!(board.not_ready_because(), ["no configuration is in force", "workers and hooks are not up yet"]);
    board.set_source_error("line 3: no such key".to_owned());
    assert_eq!(board.not_ready_because()[0], "no configuration is in force: line 3: no such key");
    board.set_ready(true);
    board.set_source_ok(1, vec![]);
    assert!(board.not_ready_because().is_empty());
    let status = report(&board, &Metrics::new());
    assert!(status.ready);
    assert_eq!((status.snapshot_version, status.source.last_error), (1, None));
}

#[test]
fn a_refused_configuration_leaves_the_last_good_one_in_force() {
    let board = StatusBoard::new("file", "x");
    board.set_ready(true);
    board.set_source_ok(3, vec!["space a: cycle".to_owned()]);
    board.set_source_error("broken".to_owned());
    let status = report(&board, &Metrics::new());
    assert!(status.ready);
    assert_eq!(status.snapshot_version, 3);
    assert_eq!(status.source.warnings, ["space a: cycle"]);
    assert_eq!(status.source.last_error.as_deref(), Some("broken"));
}

#[test]
fn workloads_hooks_and_listeners_are_kept_by_name() {
    let board = StatusBoard::new("file", "x");
    board.set_workload("b", WorkloadState::Pending, "no netns");
    board.set_workload("a", WorkloadState::Captured, "");
    board.set_workload("b", WorkloadState::Failed, "gone");
    board.set_workload("c", WorkloadState::Captured, "");
    board.retain_workloads(|name| name != "c");
    board.set_hook("connect4", HookState::Unavailable, "no root");
    board.set_hook("connect4", HookState::Attached, "/sys/fs/cgroup");
    board.set_listener("admin", "/run/a.sock");
    board.set_listener("admin", "/run/b.sock");
    assert_eq!(board.workload("b"), Some((WorkloadState::Failed, "gone".to_owned())));
    let status = report(&board, &Metrics::new());
    assert_eq!(status.workloads, WorkloadCounts { captured: 1, pending: 0, failed: 1 });
    assert_eq!(status.workload_states.iter().map(|w| w.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(status.hooks.len(), 1);
    assert_eq!(status.hooks[0].state, HookState::Attached);
    assert_eq!(status.listeners[0].address, "/run/b.sock");
}

#[test]
fn passed_connections_are_what_was_counted_and_not_redirected() {
    let metrics = Metrics::new();
    metrics.set_kernel_reader(Box::new(|| (1..=15).collect()));
    let status = report(&StatusBoard::new("file", "x"), &metrics);
    assert_eq!(status.passed, Passed { outbound: 35, inbound: 75 });
    assert_eq!(status.kernel.len(), 15);
}

#[test]
fn the_report_survives_json() {
    let board = StatusBoard::new("file", "x");
    board.set_splice("splice", "copy is slower here");
    board.set_workers(2);
    board.beat();
    let status = report(&board, &Metrics::new());
    assert!(status.heartbeat_age_ms.is_some());
    assert_eq!(status.flows, FlowsStatus { kept: 1, capacity: 4, published: 1, lost: 0 });
    let text = serde_json::to_string(&status).unwrap();
    assert_eq!(serde_json::from_str::<Status>(&text).unwrap(), status);
    assert!(text.starts_with(r#"{"version":""#));
}
