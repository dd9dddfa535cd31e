//! Each way to get a single value wrong, and the exact words about it.

use super::said;
use crate::config::{Config, Kind, Severity};

fn says(text: &str, expected: &[&str]) {
    assert_eq!(said(text), expected, "{text}");
}

#[test]
fn the_document() {
    let empty = "f:1:1: the file is empty; `interceptor config example` prints a file to start from";
    for text in ["", "\n\n", "# nothing\n", "---\n", "~", "--- null\n...\n"] {
        says(text, &[empty]);
    }
    says("- a\n", &["f:1:1: expected a mapping, found a list"]);
    says("hello", &["f:1:1: expected a mapping, found \"hello\""]);
    says("{}\n---\n{}\n", &["f:2:1: a second document begins here, only one is allowed"]);
    says("a: [\n", &["f:2:1: not valid YAML: while parsing a node, did not find expected node content"]);
    says("spaces: !!seq []\n", &["f:1:9: YAML tags (`!name`) are not supported"]);
    says("spaces: &a [*a]\n", &["f:1:13: this alias stands for something that contains it"]);
    says("spaces: *a\n", &["f:1:9: not valid YAML: while parsing node, found unknown anchor"]);
}

#[test]
fn text_that_is_not_utf_8() {
    let errors = Config::parse_bytes(b"flows:\n  # \xc3\xa4 \xff", "f").unwrap_err();
    assert_eq!(errors.to_string(), "f:2:7: not UTF-8 text (byte 0xff); save the file as UTF-8");
    assert!(Config::parse_bytes("flows: # ä".as_bytes(), "f").is_ok());
}

#[test]
fn unknown_keys_say_what_was_meant_where_they_belong_or_what_there_is() {
    says("proxi: {}\n", &["f:1:1: proxi: unknown key; did you mean \"proxy\"?"]);
    says(
        "services:\n- {name: a, space: s, ports: [{port: 80, targetPort: 1}]}\nspaces: [{name: s}]",
        &["f:2:42: services[0].ports[0].targetPort: unknown key; did you mean \"target_port\"?"],
    );
    says("flows: {workers: 1}\n", &["f:1:9: flows.workers: unknown key; it belongs into `proxy`"]);
    says("proxy: {admin: 1}\n", &["f:1:9: proxy.admin: unknown key; it belongs to the top of the file"]);
    says("metrics: {x: 1}\n", &["f:1:11: metrics.x: unknown key; known here: address"]);
    says(
        "flows: {<<: {}}\n",
        &["f:1:9: flows[\"<<\"]: unknown key; merge keys are not YAML 1.2; repeat what is to be merged"],
    );
    says("flows: {\"a\\e[2J\": 1}\n", &["f:1:9: flows[\"a\\u{1b}[2J\"]: unknown key; known here: capacity"]);
    says("? [a]\n: 1\n", &["f:1:3: a key must be text, not a list or a mapping"]);
}

#[test]
fn all_duplicate_keys() {
    says(
        "flows:\n  capacity: 1\n  capacity: 2\nproxy: {workers: 1, workers: 2}\nflows: {}\n",
        &[
            "f:3:3: flows.capacity: this key is there already, in line 2",
            "f:4:21: proxy.workers: this key is there already, in line 4",
            "f:5:1: flows: this key is there already, in line 1",
        ],
    );
}

#[test]
fn missing_keys_and_items_that_are_nothing() {
    says("spaces: [{}]\n", &["f:1:10: spaces[0]: the key \"name\" is missing"]);
    says("spaces:\n-\n", &["f:2:2: spaces[0]: expected a mapping, found nothing"]);
    says(
        "services: [{}]\n",
        &[
            "f:1:12: services[0]: the key \"name\" is missing",
            "f:1:12: services[0]: the key \"space\" is missing",
            "f:1:12: services[0]: the key \"ports\" is missing",
        ],
    );
    says(
        "capture: {cgroup: /c}\nworkloads:\n- {name: a, addresses: []}\n- {name: b, netns: /n, pid: 1, addresses: [10.0.0.1]}\n",
        &[
            "f:3:3: workloads[0]: one of the keys \"netns\", \"pid\" and \"pod_uid\" is missing",
            "f:3:24: workloads[0].addresses: at least one is needed",
            "f:4:29: workloads[1].pid: the network namespace is given by \"netns\" already; remove one of the two",
        ],
    );
    says(
        "workloads:\n- {name: a, pid: 1, pod_uid: x, cgroup: /c, addresses: [10.0.0.1]}\n- {name: b, pod_uid: a/b, addresses: [10.0.0.2]}\n",
        &[
            "f:2:30: workloads[0].pod_uid: the network namespace is given by \"pid\" already; remove one of the two",
            "f:3:22: workloads[1].pod_uid: expected the UID of a pod (letters, digits and '-', as `metadata.uid` has it), found \"a/b\"",
        ],
    );
}

#[test]
fn a_pod_brings_its_own_cgroup_and_is_named_once() {
    let text = "workloads:\n- {name: a, pod_uid: u-1, addresses: [10.0.0.1]}\n";
    assert!(Config::parse(text, "f").is_ok());
    let twice = format!("{text}- {{name: b, pod_uid: u-1, addresses: [10.0.0.2]}}\n");
    let error = Config::parse(&twice, "f").unwrap_err().to_string();
    assert!(error.contains("f:3:22: workloads[1].pod_uid"), "{error}");
}

/// Messages about the value of one key; `text` has it in line 1.
fn setting(section: &str, key: &str, cases: &[(&str, &str)]) {
    for (value, message) in cases {
        let column = section.len() + key.len() + 6;
        says(&format!("{section}: {{{key}: {value}}}"), &[&format!("f:1:{column}: {section}.{key}: {message}")]);
    }
}

#[test]
fn numbers() {
    setting(
        "capture",
        "outbound_port",
        &[
            ("eighty", "expected a port number from 1 to 65535, found \"eighty\""),
            ("0", "expected a port number from 1 to 65535, found \"0\""),
            ("65536", "expected a port number from 1 to 65535, found \"65536\""),
            ("'80'", "expected a port number from 1 to 65535, found \"80\"; leave out the quotes"),
            ("0x50", "expected a port number from 1 to 65535, found \"0x50\""),
            ("[]", "expected a port number from 1 to 65535, found a list"),
            ("{}", "expected a port number from 1 to 65535, found a mapping"),
            ("~", "expected a port number from 1 to 65535, found nothing; leave the key out if there is no value"),
        ],
    );
    setting("proxy", "workers", &[("-1", "expected a number from 0 to 256, found \"-1\"")]);
    setting("proxy", "max_head_bytes", &[("1023", "expected a number from 1024 to 1048576, found \"1023\"")]);
    setting("flows", "capacity", &[("1000001", "expected a number from 1 to 1000000, found \"1000001\"")]);
}

#[test]
fn names_of_the_ingress_section() {
    setting(
        "ingress",
        "class",
        &[(
            "''",
            "expected a name (1 to 253 letters, digits, '-', '_', '.', with a letter or digit at both ends), found \"\"",
        )],
    );
    let expected = "expected the name of a Secret, which may hold {service}, found";
    setting(
        "ingress",
        "tls_secret",
        &[
            ("'{servce}-tls'", &format!("{expected} \"{servce}-tls\"", servce = "{servce}")),
            ("a b", &format!("{expected} \"a b\"")),
        ],
    );
    says(
        "ingress: {annotations: {a/b/c: x}}",
        &["f:1:25: ingress.annotations[\"a/b/c\"]: no annotation can be called so; write [prefix/]name"],
    );
    says("ingress: {annotations: {a: [x]}}", &["f:1:28: ingress.annotations.a: expected text, found a list"]);
}

#[test]
fn durations() {
    setting(
        "capture",
        "heartbeat_timeout",
        &[
            ("2", "expected a duration from 500ms to 1m, found \"2\"; add a unit, like 2s; there are ms, s, m and h"),
            ("61s", "expected a duration from 500ms to 1m, found \"61s\""),
            ("499ms", "expected a duration from 500ms to 1m, found \"499ms\""),
            ("soon", "expected a duration from 500ms to 1m, found \"soon\""),
        ],
    );
    let expected = "expected a duration from 100ms to 1h, or off, found";
    setting(
        "proxy",
        "first_byte_timeout",
        &[("99ms", &format!("{expected} \"99ms\"")), ("on", &format!("{expected} \"on\""))],
    );
    for key in ["connect_timeout", "detect_timeout", "head_timeout", "idle_timeout", "drain_timeout"] {
        setting("proxy", key, &[("0s", "expected a duration from 100ms to 1h, found \"0s\"")]);
    }
}

#[test]
fn choices_paths_and_listeners() {
    setting("routing", "default_space", &[("Caller", "expected caller or none, found \"Caller\"")]);
    setting("routing", "same_space", &[("x", "expected original or endpoint, found \"x\"")]);
    setting("proxy", "splice", &[("fast", "expected auto, kernel, splice or copy, found \"fast\"")]);
    setting("capture", "cgroup", &[("kubepods", "expected an absolute path, found \"kubepods\"")]);
    setting(
        "admin",
        "socket",
        &[
            ("\"/a\\0b\"", "expected an absolute path, found \"/a\\0b\""),
            (
                &format!("/{}", "a".repeat(107)),
                &format!(
                    "expected a path of at most 107 bytes, the limit of unix sockets, found \"/{}\"…",
                    "a".repeat(63)
                ),
            ),
        ],
    );
    let listener = "expected an address and port like 127.0.0.1:15020, or off, found";
    setting(
        "metrics",
        "address",
        &[("15020", &format!("{listener} \"15020\"")), ("no", &format!("{listener} \"no\""))],
    );
}

#[test]
fn headers_and_suffixes() {
    says(
        "routing:\n  route_headers: [a b, X-A, x-a, Host, Transfer-Encoding]\n  ingress_suffixes: ['a:80', '*.a.b', 'a..b', A.B., .a.b]",
        &[
            "f:2:19: routing.route_headers[0]: expected a header name, baggage/KEY or tracestate/KEY, found \"a b\"",
            "f:2:29: routing.route_headers[2]: \"x-a\" is there already, in line 2",
            "f:2:34: routing.route_headers[3]: \"host\" frames or directs messages, it cannot carry a space",
            "f:2:40: routing.route_headers[4]: \"transfer-encoding\" frames or directs messages, it cannot carry a space",
            "f:3:22: routing.ingress_suffixes[0]: expected a DNS name like eus.azds.io, found \"a:80\"; leave out the port, hosts are compared without it",
            "f:3:30: routing.ingress_suffixes[1]: expected a DNS name like eus.azds.io, found \"*.a.b\"; leave out the wildcard, every host below the suffix matches",
            "f:3:39: routing.ingress_suffixes[2]: expected a DNS name like eus.azds.io, found \"a..b\"",
            "f:3:53: routing.ingress_suffixes[4]: \"a.b\" is there already, in line 3",
        ],
    );
    setting(
        "routing",
        "route_headers",
        &[("[]", "at least one header is needed"), ("x", "expected a list, found \"x\"")],
    );
}

#[test]
fn what_carries_a_space_and_what_is_added() {
    let carrier = "expected a header name, baggage/KEY or tracestate/KEY, found";
    says(
        "routing:
  route_headers: [x, 'baggage:k', baggage/k, Baggage/k, baggage=j, tracestate/K, tracestate/t]
  inject: [x, y, tracestate/t]
propagate:
  mode: always
  trace_ids: [traceparent, Host, a b]
  grace: 2h
  max_traces: 0
spaces: [{name: s, propagate: sometimes}]",
        &[
            &format!("f:2:22: routing.route_headers[1]: {carrier} \"baggage:k\"; write baggage/k"),
            "f:2:46: routing.route_headers[3]: \"baggage/k\" is there already, in line 2",
            &format!("f:2:57: routing.route_headers[4]: {carrier} \"baggage=j\"; write baggage/j"),
            "f:3:15: routing.inject[1]: y is added, but not read: it is not among routing.route_headers; add it there",
            "f:3:18: routing.inject[2]: tracestate/t cannot be added: tracestate belongs to the tracers that write it; add a header or a baggage member",
            "f:5:9: propagate.mode: expected off, trace, single-flight or thread, found \"always\"",
            "f:6:28: propagate.trace_ids[1]: \"host\" frames or directs messages, it cannot have a trace id",
            "f:6:34: propagate.trace_ids[2]: expected a header name, found \"a b\"",
            "f:7:10: propagate.grace: expected a duration from 0h to 1h, found \"2h\"",
            "f:8:15: propagate.max_traces: expected a number from 1 to 1000000, found \"0\"",
            "f:9:31: spaces[0].propagate: expected off, trace, single-flight or thread, found \"sometimes\"",
        ],
    );
}

#[test]
fn items_of_the_topology() {
    let name = "expected a name (1 to 253 letters, digits, '-', '_', '.', with a letter or digit at both ends), found";
    let address = "expected the IP address of a pod or service, found";
    let text = "spaces:
- name: -x
services:
- name: a
  space: s
  addresses: [10.0.0.1/24, 0.0.0.0, '::1', '::ffff:127.0.0.1', 224.0.0.1, 255.255.255.255, x]
  ports:
  - port: 80
    target_port: http
    app_protocol: ''
  endpoints:
  - address: fe80::1%eth0
    ready: yes
    ports: {http: x}
  - address: [10.0.0.1]
    ready: 'true'
    ports: 8080
workloads:
- name: ''
  pid: 4194305
  cgroup: c
  addresses: 10.0.0.1
- name: b
  netns: n
  addresses: [10.0.0.1]
";
    let hint = |kind| format!("{kind} addresses cannot be captured");
    says(
        text,
        &[
            &format!("f:2:9: spaces[0].name: {name} \"-x\""),
            &format!("f:6:15: services[0].addresses[0]: {address} \"10.0.0.1/24\"; write 10.0.0.1"),
            &format!("f:6:28: services[0].addresses[1]: {address} \"0.0.0.0\"; {}", hint("unspecified")),
            &format!("f:6:37: services[0].addresses[2]: {address} \"::1\"; {}", hint("loopback")),
            &format!("f:6:44: services[0].addresses[3]: {address} \"::ffff:127.0.0.1\"; {}", hint("loopback")),
            &format!("f:6:64: services[0].addresses[4]: {address} \"224.0.0.1\"; {}", hint("multicast")),
            &format!("f:6:75: services[0].addresses[5]: {address} \"255.255.255.255\"; {}", hint("broadcast")),
            &format!("f:6:92: services[0].addresses[6]: {address} \"x\""),
            "f:9:18: services[0].ports[0].target_port: expected a port number from 1 to 65535, found \"http\"",
            "f:10:19: services[0].ports[0].app_protocol: expected text, found \"\"",
            &format!("f:12:14: services[0].endpoints[0].address: {address} \"fe80::1%eth0\"; write fe80::1"),
            "f:13:12: services[0].endpoints[0].ready: expected true or false, found \"yes\"",
            "f:14:19: services[0].endpoints[0].ports.http: expected a port number from 1 to 65535, found \"x\"",
            "f:14:19: services[0].endpoints[0].ports.http: the service has no port with the name \"http\"",
            &format!("f:15:14: services[0].endpoints[1].address: {address} a list"),
            "f:16:12: services[0].endpoints[1].ready: expected true or false, found \"true\"; leave out the quotes",
            "f:17:12: services[0].endpoints[1].ports: expected a mapping, found \"8080\"",
            &format!("f:19:9: workloads[0].name: {name} \"\""),
            "f:20:8: workloads[0].pid: expected a number from 1 to 4194304, found \"4194305\"",
            "f:21:11: workloads[0].cgroup: expected an absolute path, found \"c\"",
            "f:22:14: workloads[0].addresses: expected a list, found \"10.0.0.1\"",
            "f:23:3: workloads[1]: the workload has no \"cgroup\", and there is no \"capture.cgroup\" above all workloads",
            "f:24:10: workloads[1].netns: expected an absolute path, found \"n\"",
        ],
    );
}

#[test]
fn diagnostics_are_typed() {
    let errors = Config::parse("flows: {capacity: x, y: 1}", "f").unwrap_err();
    let typed: Vec<_> = errors.diagnostics.iter().map(|d| (d.severity, d.kind, d.line, d.column, &*d.path)).collect();
    assert_eq!(
        typed,
        [(Severity::Error, Kind::Value, 1, 19, "flows.capacity"), (Severity::Error, Kind::Key, 1, 22, "flows.y"),]
    );
    assert_eq!(errors.to_string().lines().count(), 2);
}
