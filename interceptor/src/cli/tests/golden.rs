//! What commands print, literally.

use super::*;
use crate::admin::tests::state;
use crate::cli::args::OutputMode;
use crate::cli::explain as explain_command;
use crate::config::{CapturedServices, SpaceSpec};
use crate::explain::{ExplainRequest, explain};
use crate::flow::{Record, Verdict, samples, write_line};
use crate::preflight::{Finding, State};
use crate::privileges::ThreadPrivileges;
use crate::propagate::Recalled;
use crate::route::Direction;
use crate::snapshot::Snapshot;
use crate::status::{CapturedCounts, Established, HookState, WorkloadState};
use crate::view;
use crate::wanted::Wanted;

fn printed(print: impl FnOnce(&mut Screen<'_>) -> anyhow::Result<()>) -> String {
    let mut out = Vec::new();
    print(&mut Screen::new(&mut out, false)).unwrap();
    String::from_utf8(out).unwrap()
}

#[track_caller]
fn assert_prints(expected: &str, print: impl FnOnce(&mut Screen<'_>) -> anyhow::Result<()>) {
    let found = printed(print);
    assert!(found == expected.trim_start_matches('\n'), "printed:\n{found}\nexpected:\n{expected}");
}

fn space(name: &str, parent: Option<&str>) -> SpaceSpec {
    SpaceSpec { name: name.to_owned(), parent: parent.map(str::to_owned), propagate: None }
}

#[test]
fn spaces_are_trees_and_faults_come_last() {
    let spaces = [
        space("default", None),
        space("lost", Some("gone")),
        space("azureuser", Some("default")),
        space("child", Some("azureuser")),
        space("other", Some("default")),
    ];
    let topology = crate::config::Topology { spaces: spaces.to_vec(), ..Default::default() };
    let snapshot = Snapshot::build(&topology, &crate::config::Routing::default(), 1);
    assert_prints(
        r#"
SPACE         SERVICES  WORKLOADS  FAULT
default       0         0
├─ azureuser  0         0
│  └─ child   0         0
└─ other      0         0
lost          0         0          its parent "gone" does not exist (lost → gone)
"#,
        |screen| spaces::tree(&view::spaces(&snapshot)).print("", screen),
    );
    assert_prints("there are no spaces\n", |screen| spaces::tree(&[]).print("there are no spaces", screen));
}

#[test]
fn services_and_their_endpoints() {
    let services = {
        let state = state();
        let snapshot = state.snapshot.load();
        view::services(&snapshot, &Wanted::new(&snapshot, state.services))
    };
    assert_prints(
        "
SPACE      SERVICE   ADDRESSES               PORTS    READY
default    serviceA  10.96.0.11,fd00:96::11  http:80  1/1
azureuser  serviceA  10.96.0.21,fd00:96::21  http:80  1/1
default    serviceB  10.96.0.12,fd00:96::12  http:80  1/1
",
        |screen| inspect::services_table(&services, OutputMode::Table).print("", screen),
    );
    let wide = printed(|screen| inspect::services_table(&services, OutputMode::Wide).print("", screen));
    assert!(wide.lines().nth(2).unwrap().ends_with("1/1    yes       http       10.244.0.21:8081"), "{wide}");
}

#[test]
fn workloads_and_their_states() {
    let state = state();
    state.status.set_workload("serviceA-azureuser", WorkloadState::Failed, "its netns is gone");
    state.status.set_workload("serviceA-default", WorkloadState::Captured, "");
    let workloads = view::workloads(&state.snapshot.load(), &state.status);
    assert_prints(
        "
WORKLOAD            SPACE      STATE     ADDRESSES                 DETAIL
serviceA-azureuser  azureuser  failed    10.244.0.21,fd00:244::21  its netns is gone
serviceA-default    default    captured  10.244.0.11,fd00:244::11
serviceB-default    default    pending   10.244.0.12,fd00:244::12  not looked at yet
",
        |screen| inspect::workloads_table(&workloads, OutputMode::Table).print("", screen),
    );
}

#[test]
fn routes_show_where_each_space_leads() {
    let routes = {
        let state = state();
        let snapshot = state.snapshot.load();
        view::routes(&snapshot, &Wanted::new(&snapshot, state.services), "serviceA-azureuser").unwrap()
    };
    assert_prints(
        "
SERVICE             PORT  SPACE      GOES TO             REASON
serviceA.azureuser  80    -          serviceA.azureuser  same_space
serviceA.azureuser  80    default    serviceA.default    routed
serviceA.azureuser  80    azureuser  serviceA.azureuser  same_space
serviceB.default    80    -          serviceB.default    same_space
serviceB.default    80    default    serviceB.default    same_space
serviceB.default    80    azureuser  serviceB.default    same_space
",
        |screen| inspect::routes_table(&routes, OutputMode::Table).print("", screen),
    );
}

fn flow_lines() -> Vec<String> {
    let mut redirected = samples::request_record(3);
    redirected.verdict = Verdict::Redirected;
    redirected.reason = "routed";
    redirected.injected = true;
    redirected.space_from = crate::route::SpaceFrom::Caller;
    redirected.path = "/a\u{1b}[2J".into();
    redirected.duration = std::time::Duration::from_millis(2_345);
    redirected.target.as_mut().unwrap().service = Some(samples::service("serviceB", "azureuser"));
    let mut refused = samples::request_record(4);
    refused.direction = Direction::Inbound;
    refused.verdict = Verdict::Refused;
    refused.reason = "bad_request";
    refused.status = Some(400);
    refused.space = None;
    refused.service = None;
    refused.target = None;
    let records = [samples::request(1), samples::connection(2), Record::Request(redirected), Record::Request(refused)];
    let mut text = Vec::new();
    records.iter().for_each(|record| write_line(&mut text, record));
    text.extend_from_slice(b"{\"kind\":\"lost\",\"count\":12}\n");
    String::from_utf8(text).unwrap().lines().map(str::to_owned).collect()
}

fn print_flows(mode: OutputMode) -> String {
    printed(|screen| {
        let mut printer = flows::Printer::new(mode);
        flow_lines().iter().try_for_each(|line| printer.print(line, screen))
    })
}

#[test]
fn flows_are_a_line_each() {
    let lines = print_flows(OutputMode::Table);
    let squeezed: Vec<String> =
        lines.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(
        squeezed,
        [
            "TIME WORKLOAD DIR WHAT SERVICE SPACE GOES TO STATUS VERDICT REASON TOOK",
            "15:09:26.535 serviceA-azureuser out GET / serviceB.default azureuser (header) serviceB.default 200 forwarded \
         same_space 1.2ms",
            "15:09:26.535 serviceA-azureuser out opaque redis.default - redis.default - forwarded end_of_stream 15.0ms",
            "15:09:26.535 serviceA-azureuser out GET /a\\u{1b}[2J serviceB.default azureuser (caller, added) \
         serviceB.azureuser 200 redirected routed 2.34s",
            "15:09:26.535 serviceA-azureuser in GET / - - - 400 refused bad_request 1.2ms",
            "… records lost: 12; they came faster than they were read",
        ]
    );
    // Columns of the first rows stand under their titles, without knowing what comes.
    let at = |line: usize, word: &str| lines.lines().nth(line).unwrap().find(word);
    assert_eq!(at(0, "STATUS"), at(1, "200"));
    assert_eq!(at(0, "STATUS"), at(2, "-       forwarded"));
}

#[test]
fn wide_flows_tell_everything_and_json_is_passed_on() {
    let wide = print_flows(OutputMode::Wide);
    let row = wide.lines().nth(1).unwrap();
    for part in [
        "2026-03-14T15:09:26.535897Z",
        "10.1.0.3:40000",
        "10.96.0.2:80",
        "azds-route-as: azureuser",
        "azureuser:no_service,default:taken",
        "client_bytes",
        "120B",
        "180us",
    ] {
        assert!(row.contains(part), "{part} in {row}");
    }
    let json = print_flows(OutputMode::Json);
    assert_eq!(json.lines().collect::<Vec<_>>(), flow_lines());
}

#[test]
fn an_explanation_reads_as_text() {
    let request = ExplainRequest {
        workload: "serviceA-azureuser".to_owned(),
        url: "http://serviceB/".to_owned(),
        headers: vec![("azds-route-as".to_owned(), "azureuser".to_owned())],
        ..ExplainRequest::default()
    };
    let answer = {
        let state = state();
        let snapshot = state.snapshot.load();
        explain(&snapshot, &Wanted::new(&snapshot, state.services), &request, |_| Recalled::Unknown).unwrap()
    };
    assert_prints(
        "
serviceA-azureuser calls GET http://serviceB/
  destination  10.96.0.12:80 (serviceB.default)
               the short name serviceB is not in the workload's own space and is looked up in its parents'
  intercepted  yes
  header       azds-route-as: azureuser
  space        azureuser (from the route header)
  chain        azureuser: no_service
               default: taken
  goes to      serviceB.default, 10.96.0.12:80 (the original destination)
  adds         nothing
  reason       same_space
serviceB.default is the first copy on the chain of space azureuser, and where the caller sends it already.
",
        |screen| explain_command::print(&answer, screen),
    );
}

#[test]
fn a_status_fits_on_a_screen() {
    let state = state();
    state.status.set_hook("connect4", HookState::Attached, "/sys/fs/cgroup/kubepods");
    state.status.set_hook("sk_lookup", HookState::Unavailable, "no such program type");
    state.status.set_workload("web", WorkloadState::Failed, "its netns is gone");
    state.status.set_source_error("line 3: no key \"spacse\"".to_owned());
    state.status.set_splice("splice", "as configured");
    state.status.set_ready(true);
    state.status.set_captured_services(CapturedServices::Overridden);
    state.status.set_captured(CapturedCounts {
        destinations: 9,
        outside_roots: 3,
        only_copies: 4,
        inbound_ports: 2,
        left_out: 0,
    });
    state.status.set_established(Established::Unavailable, "no tcp_diag");
    state.metrics.set_kernel_reader(Box::new(|| vec![7, 0, 3]));
    let mut status = state.status.report(&state.snapshot.load(), &state.hub, &state.metrics);
    status.version = "0.0.0".to_owned();
    status.pid = 42;
    status.uptime_seconds = 3_661;
    status.source.loaded_at = Some("2026-03-14T15:09:26Z".to_owned());
    let thread = |name: &str, capabilities: &[&str], filters| ThreadPrivileges {
        name: name.to_owned(),
        capabilities: capabilities.iter().map(|&one| one.to_owned()).collect(),
        filters,
    };
    status.privileges.threads = vec![
        thread("heartbeat", &["CAP_NET_ADMIN", "CAP_SYS_ADMIN"], 2),
        thread("interceptor", &["CAP_NET_ADMIN", "CAP_SYS_ADMIN"], 2),
        thread("worker-0", &["CAP_SYS_ADMIN"], 3),
    ];
    assert_prints(
        r#"
agent 0.0.0 (pid 42), up 1h 1m 1s, ready
  source    file example, version 1 of 2026-03-14T15:09:26Z
  refused   line 3: no key "spacse"
  holds     2 spaces, 3 services
  captures  overridden: 9 destinations, 3 not from root spaces (only copy), 4 more not at all (only copy); 2 inbound ports
  earlier   established connections are kept, as they cannot be closed: no tcp_diag
  workloads 0 captured, 0 pending, 1 failed
  threads   0 workers; last heartbeat none yet
  may       heartbeat, interceptor: CAP_NET_ADMIN, CAP_SYS_ADMIN; 2 filters of system calls
  may       worker-0: CAP_SYS_ADMIN; 3 filters of system calls
  opaque    splice (as configured)
  flows     0 of 64 kept, 0 published, 0 lost
  dns       0 workloads of derived spaces; 0 answered, 0 forwarded
  passed    3 outbound, 0 inbound connections left alone

HOOK       STATE        DETAIL
connect4   attached
sk_lookup  unavailable  no such program type

WORKLOAD  STATE   DETAIL
web       failed  its netns is gone

DIRECTION  HOOKS SAW     CONNECTIONS
outbound   redirected    7
outbound   not_captured  3
"#,
        |screen| status::print(&status, OutputMode::Table, screen),
    );
}

#[test]
fn a_configuration_is_checked_with_every_fault() {
    let text = "spaces:\n  - name: a\n    paernt: b\nservices: 3\n";
    let check = |mode| {
        let mut out = Vec::new();
        let ended = config::check_bytes(text.as_bytes(), "x.yaml", mode, &mut Screen::new(&mut out, false)).unwrap();
        assert_eq!(ended, Ended::Badly);
        String::from_utf8(out).unwrap()
    };
    let table = check(OutputMode::Table);
    assert!(table.starts_with("error: x.yaml:3:5: spaces[0].paernt: "), "{table}");
    assert!(table.ends_with("x.yaml: not usable; errors: 2\n"), "{table}");
    let json = check(OutputMode::Json);
    let first: serde_json::Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
    assert_eq!((&first["line"], &first["key"]), (&3.into(), &"spaces[0].paernt".into()));
    assert_eq!(json.lines().last().unwrap(), r#"{"file":"x.yaml","ok":false,"errors":2,"warnings":0}"#);
}

#[test]
fn the_example_is_valid_and_a_space_fault_is_a_warning() {
    let mut out = Vec::new();
    let mut screen = Screen::new(&mut out, false);
    config::example(&mut screen).unwrap();
    let example = String::from_utf8(out.clone()).unwrap();
    for (text, expected) in
        [(example.as_str(), "x: ok\n"), ("spaces: [{name: a, parent: gone}]\n", "x: usable; warnings: 1\n")]
    {
        let printed = printed(|screen| {
            let ended = config::check_bytes(text.as_bytes(), "x", OutputMode::Table, screen)?;
            assert_eq!(ended, Ended::Well);
            Ok(())
        });
        assert!(printed.ends_with(expected), "{printed}");
    }
}

#[test]
fn a_preflight_reads_line_by_line() {
    let finding = |name: &str, state, detail: &str, hint: Option<&str>| Finding {
        name: name.to_owned(),
        state,
        detail: detail.to_owned(),
        hint: hint.map(str::to_owned),
    };
    let findings = [
        finding("kernel", State::Ok, "6.18.5", None),
        finding("sock-map", State::Warn, "may stall", Some("nothing to do")),
        finding("hook-sk_lookup", State::Fail, "refused", Some("run as root")),
    ];
    assert_eq!(check::ended(&findings), Ended::Badly);
    assert_eq!(check::ended(&findings[..2]), Ended::Well);
    assert_prints(
        r#"
{"name":"kernel","state":"ok","detail":"6.18.5","hint":null}
{"name":"sock-map","state":"warn","detail":"may stall","hint":"nothing to do"}
{"name":"hook-sk_lookup","state":"fail","detail":"refused","hint":"run as root"}
"#,
        |screen| check::print(&findings, OutputMode::Json, screen),
    );
    assert_prints(
        "
ok    kernel          6.18.5
warn  sock-map        may stall
                      → nothing to do
FAIL  hook-sk_lookup  refused
                      → run as root
this machine cannot run the agent as it is; failures: 1, warnings: 1
",
        |screen| check::print(&findings, OutputMode::Table, screen),
    );
}
