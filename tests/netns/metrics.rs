//! `/metrics`, `/healthz` and `/readyz` over HTTP: what is declared is served, and a busy run moves it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::path::Path;

use interceptor_tests::wait;
use nix::sys::signal::Signal;

use crate::stage::{Client, LIMIT, Scene, Stage, ask, bare_service, dial, vip, vip_v6};

/// Where the agent serves them, on the node.
pub(crate) const ENDPOINT: &str = "127.0.0.1:15020";

/// Families that the Kubernetes source, the ingress manager, DNS, `propagate: thread` or too many connections alone move;
/// their own tests look at them.
const OF_OTHERS: [&str; 5] =
    ["interceptor_watch", "interceptor_ingress", "interceptor_dns", "interceptor_thread", "interceptor_refused"];

/// Families that stand at 0 after a run in which nothing went wrong, no connection was to be closed (`established`), none
/// was handed to the kernel (`opaque::kernel`) and no request's space was in doubt (`propagation`).
const AT_REST: [&str; 12] = [
    "interceptor_heartbeat_lapses_total",
    "interceptor_source_warnings",
    "interceptor_flow_records_lost_total",
    "interceptor_real_client_table_full_total",
    "interceptor_connections_open",
    "interceptor_established_closed_total",
    "interceptor_kernel_splice_total",
    "interceptor_request_notes_total",
    "interceptor_accept_pauses_total",
    "interceptor_log_lines_left_out_total",
    "interceptor_log_lines_lost_total",
    "interceptor_left_out_addresses",
];

fn fetch(stage: &Stage, path: &str) -> (u16, String) {
    let response = Client::new(stage.scene.lab.on_node(), ENDPOINT.parse().unwrap()).raw(path, &["Host: x"]);
    (response.status().unwrap(), String::from_utf8(response.body).unwrap())
}

/// `name{labels}` → value.
pub(crate) fn samples(stage: &Stage) -> BTreeMap<String, f64> {
    let (status, text) = fetch(stage, "/metrics");
    assert_eq!(status, 200);
    assert!(text.ends_with("# EOF\n"), "{text}");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| line.rsplit_once(' ').unwrap())
        .map(|(name, value)| (name.to_owned(), value.parse().unwrap()))
        .collect()
}

/// The sum of the samples whose name begins so and that have all of these labels.
pub(crate) fn sum(samples: &BTreeMap<String, f64>, name: &str, labels: &[(&str, &str)]) -> f64 {
    let has = |sample: &str| labels.iter().all(|(key, value)| sample.contains(&format!("{key}=\"{value}\"")));
    let named = |sample: &str| sample.split('{').next().is_some_and(|n| n == name);
    let all: Vec<f64> = samples.iter().filter(|(s, _)| named(s) && has(s)).map(|(_, value)| *value).collect();
    assert!(!all.is_empty(), "no {name} {labels:?} in {samples:#?}");
    all.iter().sum()
}

/// The families of docs/metrics.md, which a unit test holds together with the code.
fn declared() -> Vec<(String, String)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
    let text = fs::read_to_string(path).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| `interceptor_"));
    let all: Vec<_> = rows
        .map(|row| row.split('|').map(str::trim).collect::<Vec<_>>())
        .map(|cells| (cells[1].trim_matches('`').to_owned(), cells[2].to_owned()))
        .collect();
    assert!(all.len() > 10, "{all:?}");
    all
}

#[test]
fn a_busy_run_moves_every_declared_metric_and_never_captures_the_agent_itself() {
    let mut scene = Scene::worked_example("metrics");
    let caller = scene.caller("caller", Some("azureuser"));
    let pod = scene.deploy("serviceB", "default", 12);
    scene.deploy("serviceB", "azureuser", 13);
    let echo = scene.program("echo", 7000, &["echo", "--listen", "[::]:7000"]);
    scene.publish(&bare_service("echo", "default", 30).port("a", 80, 7000, None).endpoint(&echo));
    scene.publish(&bare_service("nobody", "default", 32).port("a", 80, 9, None).endpoint(&echo));
    let mut stage = scene.start();
    for n in 0..30 {
        let to = if n % 2 == 0 { vip(12) } else { vip_v6(12) };
        ask(&caller, to, "/", &["Host: x"]);
        ask(stage.scene.lab.outside(), pod.at(8080), "/", &["Host: x", "azds-route-as: azureuser"]);
        let mut client = dial(&caller, vip(30));
        client.write_all(b"\0").unwrap();
        client.read_exact(&mut [0]).unwrap();
    }
    Client::new(&caller, vip(32)).raw("/", &["Host: x"]);
    // To the agent's listener, past the hooks.
    let mut past = dial(&caller, "127.0.0.1:15001".parse().unwrap());
    past.read_to_end(&mut Vec::new()).ok();
    let good = stage.scene.config.to_text();
    stage.agent.write_config("nonsense").unwrap();
    stage.agent.process().signal(Signal::SIGHUP).unwrap();
    wait::until(LIMIT, "the refusal", || {
        let status = stage.agent.status()?;
        anyhow::ensure!(!status["source"]["last_error"].is_null(), "{status}");
        Ok(())
    })
    .unwrap();
    stage.agent.write_config(&good).unwrap();
    stage.wait_flows(91, |record| record["kind"] == "connection");

    let samples = samples(&stage);
    let of_clusters = |family: &str| OF_OTHERS.iter().any(|prefix| family.starts_with(prefix));
    for (family, kind) in declared().into_iter().filter(|(family, _)| !of_clusters(family)) {
        let name = match kind.as_str() {
            "histogram" => format!("{family}_count"),
            "info" => format!("{family}_info").replace("_info_info", "_info"),
            _ => family.clone(),
        };
        let moved = sum(&samples, &name, &[]) > 0.0;
        assert_eq!(moved, !AT_REST.contains(&family.as_str()), "{family} in {samples:#?}");
    }
    let of = |name: &str, labels: &[(&str, &str)]| sum(&samples, name, labels);
    let (outbound, inbound) = (("direction", "outbound"), ("direction", "inbound"));
    assert_eq!(of("interceptor_connections_opened_total", &[outbound]), 61.0);
    assert_eq!(of("interceptor_connections_total", &[inbound]), 30.0);
    assert_eq!(of("interceptor_connections_total", &[("protocol", "opaque")]), 30.0);
    assert_eq!(of("interceptor_requests_total", &[outbound, ("verdict", "redirected")]), 30.0);
    assert_eq!(of("interceptor_requests_total", &[("status_class", "5xx")]), 1.0);
    let kernel = "interceptor_kernel_connections_total";
    assert_eq!(of(kernel, &[outbound, ("reason", "redirected")]), 61.0);
    assert_eq!(of(kernel, &[inbound, ("reason", "redirected")]), 30.0);
    assert_eq!(of(kernel, &[("reason", "self_capture")]), 0.0);
    assert_eq!(of("interceptor_unexpected_connections_total", &[]), 1.0);
    assert_eq!(of("interceptor_snapshot_updates_total", &[("result", "rejected")]), 1.0);
}

#[test]
fn health_and_readiness_are_served_on_loopback_only() {
    let stage = Scene::worked_example("health").start();
    for path in ["/healthz", "/readyz"] {
        let (status, text) = fetch(&stage, path);
        assert_eq!(status, 200, "{path}: {text}");
    }
    assert_eq!(fetch(&stage, "/nothing").0, 404);
    let outside = stage.scene.lab.outside();
    let node = std::net::SocketAddr::from((interceptor_tests::lab::NODE_V4, 15020));
    let refused = format!("{:#}", outside.connect(node).unwrap_err());
    assert!(refused.contains("refused"), "{refused}");
}
