//! Parts of a file that do not fit together: all are found, each at its place.

use super::said;
use crate::config::{Config, Kind, Severity};

const SPACES: &str = "spaces: [{name: a}, {name: b, parent: a}]\ncapture: {cgroup: /c}\n";

/// `text` begins in line 3, after two spaces.
fn says(text: &str, expected: &[&str]) {
    assert_eq!(said(&format!("{SPACES}{text}")), expected, "{text}");
}

#[test]
fn names_that_repeat() {
    assert_eq!(
        said("spaces:\n- name: a\n- name: a\n- name: A\n- name: a\n"),
        [
            "f:3:9: spaces[1].name: space \"a\" is there already: spaces[0].name in line 2",
            "f:5:9: spaces[3].name: space \"a\" is there already: spaces[0].name in line 2",
        ]
    );
    says(
        "services:
- {name: x, space: a, ports: [{port: 1}]}
- {name: x, space: b, ports: [{port: 1}]}
- {name: x, space: a, ports: [{port: 1}]}
workloads:
- {name: w, pid: 1, addresses: [10.0.0.1]}
- {name: w, pid: 2, addresses: [10.0.0.2]}",
        &[
            "f:6:10: services[2].name: service \"x\" of space \"a\" is there already: services[0].name in line 4",
            "f:9:10: workloads[1].name: workload \"w\" is there already: workloads[0].name in line 8",
        ],
    );
}

#[test]
fn workloads_that_share_an_address_or_a_namespace() {
    says(
        "workloads:
- {name: u, netns: /n, addresses: [10.0.0.1, '::ffff:10.0.0.1']}
- {name: v, netns: /n, addresses: [10.0.0.2, 'fd00::1']}
- {name: w, pid: 7, addresses: ['fd00:0::1']}
- {name: x, pid: 7, addresses: [10.0.0.3]}",
        &[
            "f:4:46: workloads[0].addresses[1]: address 10.0.0.1 is there already: workloads[0].addresses[0] in line 4",
            "f:5:20: workloads[1].netns: this network namespace is there already: workloads[0].netns in line 4",
            "f:6:33: workloads[2].addresses[0]: address fd00::1 is there already: workloads[1].addresses[1] in line 5",
            "f:7:18: workloads[3].pid: this network namespace is there already: workloads[2].pid in line 6",
        ],
    );
}

#[test]
fn services_that_share_a_virtual_address_and_port() {
    says(
        "services:
- {name: x, space: a, addresses: [10.0.0.1, 10.0.0.1], ports: [{name: p, port: 1}, {name: q, port: 2}]}
- {name: y, space: a, addresses: [10.0.0.1], ports: [{port: 3}]}
- {name: z, space: a, addresses: [10.0.0.2, 10.0.0.1], ports: [{port: 2}]}",
        &[
            "f:4:45: services[0].addresses[1]: address 10.0.0.1 is there already: services[0].addresses[0] in line 4",
            "f:6:45: services[2].addresses[1]: address 10.0.0.1 with port 2 is there already: services[0].addresses[0] in line 4",
        ],
    );
}

#[test]
fn ports_of_a_service() {
    says(
        "services:
- name: x
  space: a
  addresses: [10.0.0.1]
  ports:
  - {name: http, port: 80}
  - {name: http, port: 81}
  - {name: grpc, port: 80}
  - {port: 82}
  endpoints:
  - {address: 10.1.0.1, ports: {http: 1, htpp: 2, other: 3}}",
        &[
            "f:9:12: services[0].ports[1].name: port name \"http\" is there already: services[0].ports[0].name in line 8",
            "f:10:24: services[0].ports[2].port: port 80 is there already: services[0].ports[0].port in line 8",
            "f:11:5: services[0].ports[3]: a port needs a name when its service has several",
            "f:13:48: services[0].endpoints[0].ports.htpp: the service has no port with the name \"htpp\"; did you mean \"http\"?",
            "f:13:58: services[0].endpoints[0].ports.other: the service has no port with the name \"other\"",
        ],
    );
}

#[test]
fn spaces_that_are_not_there() {
    let text = "services: [{name: x, space: default, ports: [{port: 1}]}]
workloads: [{name: w, space: defualt, pid: 1, addresses: [10.0.0.1], cgroup: /c}, {name: v, pid: 2, addresses: [10.0.0.2], cgroup: /c}]
";
    assert_eq!(
        said(&format!("{text}spaces: [{{name: other}}]")),
        [
            "f:1:29: services[0].space: there is no space \"default\"",
            "f:2:30: workloads[0].space: there is no space \"defualt\"",
        ]
    );
    assert_eq!(
        said(&format!("{text}spaces: [{{name: default}}]")),
        ["f:2:30: workloads[0].space: there is no space \"defualt\"; did you mean \"default\"?"]
    );
    // The space whose name is misspelt may be the one that is meant: one mistake, one message.
    assert_eq!(
        said(&format!("{text}spaces: [{{nmae: default}}]")),
        [
            "f:3:10: spaces[0]: the key \"name\" is missing",
            "f:3:11: spaces[0].nmae: unknown key; did you mean \"name\"?",
        ]
    );
}

#[test]
fn cgroups_that_nobody_names() {
    let workloads =
        "workloads: [{name: a, pid: 1, addresses: [10.0.0.1]}, {name: b, pid: 2, cgroup: /c, addresses: [10.0.0.2]}]\n";
    assert_eq!(
        said(workloads),
        [
            "f:1:13: workloads[0]: the workload has no \"cgroup\", and there is no \"capture.cgroup\" above all workloads"
        ]
    );
    // One that is there but cannot be read is one mistake, not two.
    assert_eq!(
        said(&format!("{workloads}capture: {{cgroup: c}}")),
        ["f:2:19: capture.cgroup: expected an absolute path, found \"c\""]
    );
}

#[test]
fn faults_of_the_space_tree_are_warnings_and_the_rest_is_used() {
    let text = "spaces:
- name: root
- {name: child, parent: rot}
- {name: grandchild, parent: child}
- {name: x, parent: y}
- {name: y, parent: x}
services: [{name: s, space: child, ports: [{port: 80}]}]
";
    let parsed = Config::parse(text, "f").unwrap();
    assert_eq!((parsed.config.topology.spaces.len(), parsed.config.topology.services.len()), (5, 1));
    assert!(parsed.warnings.iter().all(|d| (d.severity, d.kind) == (Severity::Warning, Kind::Space)));
    assert_eq!(
        said(text),
        [
            "f:3:25: spaces[1].parent: space \"child\" cannot be used: its parent \"rot\" does not exist (child → rot); did you mean \"root\"?",
            "f:4:30: spaces[2].parent: space \"grandchild\" cannot be used: the space it derives from cannot be used (grandchild → child)",
            "f:5:21: spaces[3].parent: space \"x\" cannot be used: it derives from itself (x → y → x)",
            "f:6:21: spaces[4].parent: space \"y\" cannot be used: it derives from itself (y → x → y)",
        ]
    );
}

#[test]
fn warnings_are_reported_with_errors_in_the_order_of_the_text() {
    let errors =
        Config::parse("flows: {capacity: 0}\nspaces: [{name: a, parent: b}]\nadmin: {socket: x}\n", "f").unwrap_err();
    let severities: Vec<_> = errors.diagnostics.iter().map(|d| d.severity).collect();
    assert_eq!(severities, [Severity::Error, Severity::Warning, Severity::Error]);
}
