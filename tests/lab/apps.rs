//! The applications of pods do on the wire what tests rely on.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;

use interceptor_tests::app::streams;
use interceptor_tests::bins;
use interceptor_tests::http::Connection;

use crate::{LIMIT, app, curl, lab};

#[test]
fn the_http_application_shows_headers_as_sent_and_calls_its_upstream() {
    let lab = lab("http");
    let (a, b) = (lab.pod("a").unwrap(), lab.pod("b").unwrap());
    let _b = crate::http(&b);
    let url = "http://serviceB/x";
    let resolve = b.at(8080).to_string();
    for keep_alive in [false, true] {
        let mut args = vec!["http", "--name", "a", "--listen", "[::]:8080", "--call", url, "--resolve", &resolve];
        args.extend(keep_alive.then_some("--keep-alive"));
        let mut server = app(&a, 8080, &args);
        let mut client = Connection::new(lab.outside().connect(a.at(8080)).unwrap());
        let mut peers = Vec::new();
        for _ in 0..2 {
            client
                .send(b"GET /call HTTP/1.1\r\nHost: a\r\nAzds-Route-As: azureuser\r\nX-b: 1\r\nx-A: 2\r\n\r\n")
                .unwrap();
            let answer: serde_json::Value = serde_json::from_slice(&client.response("GET").unwrap().body).unwrap();
            assert_eq!(
                answer["headers"],
                serde_json::json!([["Host", "a"], ["Azds-Route-As", "azureuser"], ["X-b", "1"], ["x-A", "2"]])
            );
            let upstream = &answer["upstream"];
            assert_eq!(upstream["name"], "b");
            assert_eq!(upstream["path"], "/x");
            assert_eq!(upstream["headers"], serde_json::json!([["Host", "serviceB"], ["azds-route-as", "azureuser"]]));
            peers.push(upstream["peer"].clone());
        }
        assert_eq!(peers.first() == peers.last(), keep_alive, "{peers:?}");
        server.kill().unwrap();
    }
    let mut server = app(&a, 8080, &["http", "--name", "a", "--listen", "[::]:8080", "--call", "http://10.96.0.1/"]);
    assert!(curl(&b, a.at(8080), "/call")["upstream"]["error"].as_str().unwrap().contains("refused"));
    assert!(curl(&b, a.at(8080), "/").get("upstream").is_none());
    server.expect_running().unwrap();
}

#[test]
fn echo_and_greet_keep_half_closes() {
    let lab = lab("streams");
    let pod = lab.pod("a").unwrap();
    let _echo = app(&pod, 7, &["echo", "--listen", "[::]:7"]);
    let _greet = app(&pod, 25, &["greet", "--listen", "[::]:25", "--banner", "220 hello"]);
    for (port, expected) in [(7, "ping"), (25, "220 hello\r\nping")] {
        let mut stream = lab.outside().connect(pod.at_v6(port)).unwrap();
        stream.write_all(b"ping").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, expected);
    }
}

#[test]
fn sink_and_source_agree_on_the_checksum() {
    let lab = lab("bytes");
    let pod = lab.pod("a").unwrap();
    let _sink = app(&pod, 9, &["sink", "--listen", "[::]:9"]);
    let _source = app(&pod, 19, &["source", "--listen", "[::]:19", "--bytes", "1000003"]);
    let expected = format!("{}\n", streams::pattern_total(1_000_003));
    let run = |args: &[&str]| {
        let output = lab.outside().output(bins::pod().unwrap(), args).unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(run(&["upload", "--to", &pod.at(9).to_string(), "--bytes", "1000003"]), expected);
    assert_eq!(run(&["download", "--from", &pod.at(19).to_string()]), expected);
}

#[test]
fn sockets_made_in_a_pod_work_in_the_test() {
    let lab = lab("sockets");
    let (a, b) = (lab.pod("a").unwrap(), lab.pod("b").unwrap());
    let listener = b.listen("[::]:8080".parse().unwrap()).unwrap();
    let mut client = a.connect(b.at(8080)).unwrap();
    let (mut server, peer) = listener.accept().unwrap();
    assert_eq!(peer.ip().to_canonical(), a.v4);
    // The hooks see them as the pods' own: the kernel took the cgroup of the process that made them.
    for (pod, sockets) in [(&a, 1), (&b, 2)] {
        let namespace = format!("--net={}", pod.netns().path().display());
        let output = lab.on_node().output("nsenter", [namespace.as_str(), "ss", "-tanH", "--cgroup"]).unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let own = text.lines().filter(|line| line.trim_end().ends_with(&format!("/pods/{}", pod.name()))).count();
        assert_eq!(own, sockets, "{text}");
    }
    client.write_all(b"x").unwrap();
    server.set_read_timeout(Some(LIMIT)).unwrap();
    server.read_exact(&mut [0]).unwrap();
    let refused = format!("{:#}", a.connect(b.at(81)).unwrap_err());
    assert!(refused.contains("refused"), "{refused}");
}
