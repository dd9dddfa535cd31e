//! What came from the network and is shown to people: logs, tables, JSON, metrics, explanations. Nothing in it reaches a
//! terminal as a control, and nothing makes one line two.

use std::io::{Read as _, Write as _};

use crate::stage::{Client, LIMIT, Scene, dial, vip};

/// Bytes that a terminal acts on, or that change how a line reads: in UTF-8 CSI (U+009B), NEL, bidirectional overrides and
/// marks, a line separator, an invisible joiner; alone, bytes that are no UTF-8.
const HOSTILE: [&[u8]; 9] = [
    b"\xc2\x9b2J",
    b"\xc2\x85",
    b"\xe2\x80\xae",
    b"\xd8\x9c",
    b"\xe2\x80\xa8",
    b"\xe2\x81\xa6",
    b"\xef\xbb\xbf",
    b"\xff\xfe\x9b",
    b"\"}\\n{\"",
];

/// What no output may hold, apart from the end of a line.
fn harmful(text: &str) -> Option<char> {
    text.chars().find(|&c| {
        (c.is_control() && c != '\n')
            || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
    })
}

#[test]
fn nothing_that_a_request_holds_acts_on_a_terminal_or_breaks_a_line() {
    let mut scene = Scene::worked_example("terminal");
    let caller = scene.caller("caller", Some("azureuser"));
    scene.deploy("serviceB", "default", 12);
    let mut stage = scene.start();
    let mut requests = 0;
    for bytes in HOSTILE {
        for place in ["path", "Host", "azds-route-as", "baggage", "traceparent"] {
            let path = if place == "path" { [b"/x", bytes].concat() } else { b"/x".to_vec() };
            let mut sent = [b"GET ", path.as_slice(), b" HTTP/1.1\r\n"].concat();
            if place != "Host" {
                sent.extend(b"Host: serviceB\r\n");
            }
            if place != "path" {
                sent.extend([place.as_bytes(), b": a", bytes, b"\r\n"].concat());
            }
            sent.extend(b"Connection: close\r\n\r\n");
            let mut stream = dial(&caller, vip(12));
            stream.write_all(&sent).unwrap();
            stream.read_to_end(&mut Vec::new()).ok();
            requests += 1;
        }
    }
    // And what is refused: its error quotes what was sent, perhaps.
    for sent in [
        &b"G\x1b[2JT / HTTP/1.1\r\n\r\n"[..],
        b"GET /\x1b[2J HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n\x1b]0;x\x07: 1\r\n\r\n",
    ] {
        let mut stream = dial(&caller, vip(12));
        stream.write_all(sent).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        stream.read_to_end(&mut Vec::new()).ok();
    }
    interceptor_tests::wait::until(LIMIT, "the records", || {
        let count = stage.flows(&[]).iter().filter(|record| record["kind"] == "request").count();
        anyhow::ensure!(count >= requests, "{count}");
        Ok(())
    })
    .unwrap();
    let hostile = "http://serviceB/\u{9b}2J\u{202e}";
    let outputs = [
        ("flows", stage.agent.text(&["flows", "--last", "1000"]).unwrap()),
        ("flows -o wide", stage.agent.text(&["flows", "--last", "1000", "-o", "wide"]).unwrap()),
        ("flows -o json", stage.agent.text(&["flows", "--last", "1000", "-o", "json"]).unwrap()),
        ("status", stage.agent.text(&["status", "-o", "wide"]).unwrap()),
        ("explain", explained(&stage.agent, &["explain", "--workload", "caller", "--url", hostile])),
        (
            "explain -o json",
            explained(&stage.agent, &["explain", "--workload", "caller", "--url", hostile, "-o", "json"]),
        ),
        ("log", stage.agent.process().stderr()),
    ];
    for (name, text) in &outputs {
        assert_eq!(harmful(text), None, "{name}");
    }
    // One record a line, each whole.
    for line in outputs[2].1.lines() {
        let record: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(record["kind"].is_string(), "{line}");
    }
    let shown = |text: &str| outputs[2].1.contains(text);
    assert!(shown("\\u009b2J") && shown("\\u202e"), "they are shown as what they are: {}", outputs[2].1);
    // Labels are words of ours: no series is made by a request.
    let mut metrics = Client::new(stage.scene.lab.on_node(), "127.0.0.1:15020".parse().unwrap());
    let text = String::from_utf8(metrics.raw("/metrics", &["Host: x"]).body).unwrap();
    assert!(text.is_ascii() && !text.contains("2J"), "{text}");
    stage.expect_running();
}

/// What a command prints, whatever it comes to.
fn explained(agent: &interceptor_tests::Agent, args: &[&str]) -> String {
    let output = agent.cli(args).unwrap();
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8(text).unwrap()
}
