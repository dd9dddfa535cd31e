//! Every metric is moved, and the table describes exactly what is registered.

use std::collections::BTreeSet;

use interceptor_common::counters;

use super::*;
use crate::flow::{Note, samples};
use crate::room::Refused;

/// Everything that the agent can count, counted once.
fn moved() -> Metrics {
    let log = LogCounts::default();
    log.left_out.inc_by(6);
    log.lost.inc_by(7);
    let metrics = Metrics::with_log(&log);
    metrics.connection_opened(Direction::Outbound);
    metrics.connection_opened(Direction::Inbound);
    metrics.connection_opened(Direction::Inbound);
    metrics.connection_closed(Direction::Inbound);
    metrics.observe(&samples::connection(1));
    let mut request = samples::request_record(1);
    request.notes.add(Note::AmbiguousFlight);
    metrics.observe(&Record::Request(request));
    metrics.flow_records_lost(3);
    metrics.snapshot_accepted(5);
    metrics.snapshot_rejected();
    metrics.set_workloads(WorkloadCounts { captured: 4, pending: 2, failed: 1 });
    metrics.set_source_warnings(2);
    metrics.watch_state("pods", WatchState::Failed);
    metrics.watched_objects("pods", 7);
    metrics.watch_event("pods");
    metrics.watch_failed("pods", "forbidden");
    metrics.thread_calls("web").count(CallOrigin::SeveralThreads);
    metrics.refused_connections("web").count(Refused::Agent);
    metrics.unexpected_connection();
    metrics.real_client_table_full();
    metrics.accept_paused();
    metrics.set_kernel_reader(Box::new(|| (100..).take(counters::COUNT as usize).collect()));
    metrics
}

#[test]
fn every_metric_is_moved_by_what_it_counts() {
    let text = moved().encode();
    for line in [
        r#"interceptor_connections_opened_total{direction="outbound"} 1"#,
        r#"interceptor_connections_opened_total{direction="inbound"} 2"#,
        r#"interceptor_connections_open{direction="inbound"} 1"#,
        r#"interceptor_connections_total{direction="outbound",protocol="opaque",verdict="forwarded",reason="end_of_stream"} 1"#,
        r#"interceptor_requests_total{direction="outbound",verdict="forwarded",reason="same_space",status_class="2xx"} 1"#,
        r#"interceptor_request_duration_seconds_count{direction="outbound",verdict="forwarded"} 1"#,
        r#"interceptor_request_duration_seconds_bucket{le="0.001",direction="outbound",verdict="forwarded"} 0"#,
        r#"interceptor_request_duration_seconds_bucket{le="0.0025",direction="outbound",verdict="forwarded"} 1"#,
        r#"interceptor_request_duration_seconds_count{direction="inbound",verdict="error"} 0"#,
        r#"interceptor_request_spaces_total{direction="outbound",from="header"} 1"#,
        r#"interceptor_request_spaces_total{direction="inbound",from="trace"} 0"#,
        r#"interceptor_request_notes_total{note="ambiguous_flight"} 1"#,
        r#"interceptor_request_notes_total{note="differing_headers"} 0"#,
        r#"interceptor_connect_duration_seconds_count 2"#,
        r#"interceptor_bytes_total{direction="outbound",way="in"} 14"#,
        r#"interceptor_bytes_total{direction="outbound",way="out"} 7"#,
        r#"interceptor_flow_records_lost_total 3"#,
        r#"interceptor_kernel_connections_total{direction="outbound",reason="redirected"} 100"#,
        r#"interceptor_kernel_connections_total{direction="inbound",reason="assign_failed"} 114"#,
        r#"interceptor_kernel_connections_total{direction="outbound",reason="self_capture"} 115"#,
        r#"interceptor_snapshot_version 5"#,
        r#"interceptor_snapshot_updates_total{result="ok"} 1"#,
        r#"interceptor_snapshot_updates_total{result="rejected"} 1"#,
        r#"interceptor_source_warnings 2"#,
        r#"interceptor_watch{resource="pods",state="failed"} 1"#,
        r#"interceptor_watch{resource="pods",state="watching"} 0"#,
        r#"interceptor_watched_objects{resource="pods"} 7"#,
        r#"interceptor_watch_events_total{resource="pods"} 1"#,
        r#"interceptor_watch_failures_total{resource="pods",reason="forbidden"} 1"#,
        r#"interceptor_workloads{state="captured"} 4"#,
        r#"interceptor_workloads{state="pending"} 2"#,
        r#"interceptor_workloads{state="failed"} 1"#,
        r#"interceptor_thread_calls_total{workload="web",origin="traced"} 0"#,
        r#"interceptor_refused_connections_total{workload="web",reason="agent_full"} 1"#,
        r#"interceptor_refused_connections_total{workload="web",reason="too_many_connections"} 0"#,
        r#"interceptor_thread_calls_total{workload="web",origin="several_threads"} 1"#,
        r#"interceptor_unexpected_connections_total 1"#,
        r#"interceptor_real_client_table_full_total 1"#,
        r#"interceptor_accept_pauses_total 1"#,
        r#"interceptor_log_lines_left_out_total 6"#,
        r#"interceptor_log_lines_lost_total 7"#,
        concat!(r#"interceptor_build_info{version=""#, env!("CARGO_PKG_VERSION"), r#""} 1"#),
    ] {
        assert!(text.lines().any(|found| found == line), "no line {line} in\n{text}");
    }
}

#[test]
fn a_workload_that_is_followed_and_captured_no_more_is_shown_no_more() {
    let metrics = moved();
    metrics.forget_thread_calls("web");
    metrics.forget_refused_connections("web");
    assert!(!metrics.encode().contains("web"));
}

#[test]
fn the_table_describes_what_is_registered_and_nothing_else() {
    let text = moved().encode();
    let found: BTreeSet<String> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).map(str::to_owned).collect();
    let described: BTreeSet<String> =
        FAMILIES.iter().map(|family| format!("{} {}", family.registered_name(), family.kind.as_str())).collect();
    assert_eq!(found, described);

    for family in FAMILIES {
        let is_sample =
            |line: &&str| line.strip_prefix(family.name).is_some_and(|rest| rest.starts_with(['{', ' ', '_']));
        let sample = text.lines().find(is_sample).unwrap();
        let labels = sample.split_once('{').map_or("", |(_, rest)| rest.rsplit_once('}').unwrap().0);
        let names: Vec<_> = labels.split(',').filter_map(|pair| pair.split_once('=')).map(|(name, _)| name).collect();
        let names: Vec<_> = names.into_iter().filter(|name| *name != "le").collect();
        assert_eq!(names, family.labels, "{}", family.name);
        assert_eq!(text.matches(&format!("# HELP {} {}.\n", family.registered_name(), family.help)).count(), 1);
    }
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn docs_metrics_md_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, reference_markdown()).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    let command = "UPDATE_DOCS=1 cargo test -p interceptor metrics::tests::docs";
    assert!(written == reference_markdown(), "docs/metrics.md is out of date; run: {command}");
}

#[test]
fn two_agents_in_one_process_count_apart() {
    let (one, other) = (Metrics::new(), Metrics::new());
    one.unexpected_connection();
    assert!(one.encode().contains("interceptor_unexpected_connections_total 1\n"));
    assert!(other.encode().contains("interceptor_unexpected_connections_total 0\n"));
}

#[test]
fn the_hooks_counters_are_absent_without_hooks() {
    let metrics = Metrics::new();
    assert!(metrics.kernel_counters().is_empty());
    assert!(!metrics.encode().contains("interceptor_kernel_connections"));
}

#[test]
fn closed_label_sets_show_before_they_are_moved() {
    let text = Metrics::new().encode();
    assert!(text.contains("interceptor_workloads{state=\"failed\"} 0\n"));
    assert!(text.contains("interceptor_snapshot_updates_total{result=\"rejected\"} 0\n"));
}
