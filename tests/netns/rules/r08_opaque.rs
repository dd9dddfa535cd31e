//! R8: what is not HTTP passes byte for byte, both ways, half-closes included, without parsing and without a stall.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr};
use std::time::{Duration, Instant};

use interceptor_tests::Pod;
use interceptor_tests::place::Place;
use serde_json::Value;

use crate::stage::{LIMIT, Scene, Stage, ask, bare_service, cluster_ip, dial, headers};

/// What nobody notices.
const AT_ONCE: Duration = Duration::from_millis(300);

/// All bytes, in an order in which a lost, doubled or moved one shows.
fn bytes(count: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    (0..count).map(|_| next()).collect()
}

fn record(stage: &Stage, port: u16) -> Value {
    let suffix = format!(":{port}");
    let of_port = |r: &Value| r["original_destination"].as_str().is_some_and(|a| a.ends_with(&suffix));
    let record = stage.wait_flows(1, of_port).remove(0);
    assert_eq!(record["kind"], "connection");
    assert_eq!(record["verdict"], "forwarded", "{record}");
    record
}

fn output(from: &Place, program: &str, args: &[&str]) -> String {
    let output = from.output(program, args).unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{program} {args:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn r08_bytes_pass_unchanged_with_half_closes_both_ways() {
    let mut scene = Scene::worked_example("r08");
    let caller = scene.caller("caller", Some("azureuser"));
    let server = scene.caller("server", Some("default"));
    let service = bare_service("raw", "default", 30).port("a", 70, 7000, None).port("b", 71, 7001, None);
    scene.publish(&service.endpoint(&server));
    let stage = scene.start();
    // Outbound through the ClusterIP, inbound from outside: (client, where to, where it arrives)
    let ways: [(&Place, SocketAddr, u16); 2] =
        [(&caller, (cluster_ip(30), 70).into(), 7000), (stage.scene.lab.outside(), server.at_v6(7001), 7001)];
    for (from, to, port) in ways {
        let listener = server.listen(format!("[::]:{port}").parse().unwrap()).unwrap();
        let (up, down) = (bytes(300_001), bytes(200_003));
        let (mut client, mut accepted) = (dial(from, to), listener.accept().unwrap().0);
        accepted.set_read_timeout(Some(LIMIT)).unwrap();
        // The first bytes say nothing; the server's end comes first, and the client goes on.
        client.write_all(&up[..3]).unwrap();
        let mut first = [0; 3];
        accepted.read_exact(&mut first).unwrap();
        accepted.write_all(&down).unwrap();
        accepted.shutdown(Shutdown::Write).unwrap();
        let mut received = Vec::new();
        client.read_to_end(&mut received).unwrap();
        assert!(received == down, "{} of {} bytes down", received.len(), down.len());
        let mut received = first.to_vec();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                client.write_all(&up[3..]).unwrap();
                client.shutdown(Shutdown::Write).unwrap();
            });
            accepted.read_to_end(&mut received).unwrap();
        });
        assert!(received == up, "{} of {} bytes up", received.len(), up.len());
        let record = record(&stage, to.port());
        assert_eq!(record["bytes_in"], up.len());
        assert_eq!(record["bytes_out"], down.len());
        assert_eq!(record["protocol"], "opaque");
        assert_eq!(record["reason"], "end_of_stream");
        assert_eq!(record["requests"], 0);
    }
}

#[test]
fn r08_a_server_that_speaks_first_is_heard_at_once() {
    let mut scene = Scene::worked_example("r08greet");
    let caller = scene.caller("caller", Some("azureuser"));
    let args = ["greet", "--listen", "[::]:2500", "--banner", "220 hello"];
    let server = scene.program("server", 2500, &args);
    scene.config.workload(&server, Some("default"));
    let service = bare_service("mail", "default", 31)
        .port("smtp", 25, 2500, None)
        .port("http-misnamed", 26, 2500, Some("http"))
        .port("declared", 27, 2500, Some("tcp"));
    scene.publish(&service.endpoint(&server));
    let stage = scene.start();
    let at = |port| SocketAddr::from((cluster_ip(31), port));
    let ways: [(&Place, SocketAddr, &str); 4] = [
        (&caller, at(25), "server_first"),
        (&caller, at(26), "server_first"),
        (&caller, at(27), "declared"),
        (stage.scene.lab.outside(), server.at(2500), "server_first"),
    ];
    for (from, to, known) in ways {
        let mut client = dial(from, to);
        let begin = Instant::now();
        let mut banner = [0; 11];
        client.read_exact(&mut banner).unwrap();
        let took = begin.elapsed();
        assert_eq!(&banner, b"220 hello\r\n");
        assert!(took < AT_ONCE, "the banner of {to} took {took:?}");
        // Once it is opaque, not even HTTP is parsed.
        let sent = "GET / HTTP/1.1\r\nHost: mail\r\n\r\n";
        client.write_all(sent.as_bytes()).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut echoed = String::new();
        client.read_to_string(&mut echoed).unwrap();
        assert_eq!(echoed, sent);
        let record = record(&stage, to.port());
        assert_eq!((&record["protocol"], &record["protocol_from"]), (&"opaque".into(), &known.into()));
    }
}

#[test]
fn r08_only_http_is_parsed_whatever_the_first_bytes_look_like() {
    let mut scene = Scene::worked_example("r08parse");
    let caller = scene.caller("caller", Some("azureuser"));
    let server = scene.program("server", 7000, &["echo", "--listen", "[::]:7000"]);
    let mut service = bare_service("echo", "default", 32);
    let cases: [(u16, &[u8], &str); 7] = [
        (70, b"PING\r\n", "opaque"),
        (71, b"GET key\r\n", "opaque"),
        (72, b"GET / HTTP/9.9\r\n\r\n", "opaque"),
        (73, b"\0\x01\x02\xff", "opaque"),
        (74, b"\x16\x03\x01\x02\x00\x01", "tls"),
        (76, b"G", "opaque"),
        (77, b"", "opaque"),
    ];
    for (port, _, _) in cases {
        service = service.port(&format!("p{port}"), port, 7000, None);
    }
    scene.publish(&service.endpoint(&server));
    let app = scene.deploy("serviceB", "default", 12);
    let declared = bare_service("declared", "default", 33).port("x", 80, 8080, Some("tcp"));
    scene.publish(&declared.endpoint(&app));
    let stage = scene.start();
    for (port, sent, protocol) in cases {
        let mut client = dial(&caller, (cluster_ip(32), port).into());
        client.write_all(sent).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut echoed = Vec::new();
        client.read_to_end(&mut echoed).unwrap();
        assert_eq!(echoed, sent);
        assert_eq!(record(&stage, port)["protocol"], protocol, "{:?}", String::from_utf8_lossy(sent));
    }
    // The opposite: HTTP is parsed on any port, and not where its owner says that it is none.
    let sent = ["Host: x", "azds-route-as: default"];
    ask(&caller, (cluster_ip(12), 80).into(), "/http", &sent);
    let request = stage.request("/http");
    assert_eq!((&request["protocol"], &request["protocol_from"]), (&"http1".into(), &"client_bytes".into()));
    let answer = ask(&caller, (cluster_ip(33), 80).into(), "/declared", &["Host: x"]);
    assert_eq!(headers(&answer), ["Host: x"]);
    let of_service = stage.wait_flows(1, |record| record["service"] == "declared.default");
    assert_eq!(of_service[0]["protocol_from"], "declared");
}

#[test]
fn r08_bytes_that_stay_ambiguous_pass_at_the_deadline() {
    let mut scene = Scene::worked_example("r08wait");
    scene.config.set("proxy", "detect_timeout", "200ms");
    let caller = scene.caller("caller", Some("azureuser"));
    let server = scene.program("server", 7000, &["echo", "--listen", "[::]:7000"]);
    let service = bare_service("echo", "default", 32).port("p", 70, 7000, None);
    scene.publish(&service.endpoint(&server));
    let stage = scene.start();
    // As HTTP would begin, but the client waits for an answer to it.
    let mut client = dial(&caller, (cluster_ip(32), 70).into());
    client.write_all(b"RUOK").unwrap();
    client.read_exact(&mut [0; 4]).unwrap();
    drop(client);
    let record = record(&stage, 70);
    assert_eq!((&record["protocol"], &record["protocol_from"]), (&"opaque".into(), &"deadline".into()));
}

#[test]
fn r08_redis_and_tls_work_as_without_us() {
    let mut scene = Scene::worked_example("r08real");
    let caller = scene.caller("caller", Some("azureuser"));
    let redis = scene.lab.pod("redis").unwrap();
    let args = ["--port", "6379", "--bind", "0.0.0.0", "--protected-mode", "no", "--save", ""];
    let process = redis.spawn("redis-server", args).unwrap();
    scene.keep(&redis, 6379, process);
    let service = bare_service("redis", "default", 34).port("redis", 6379, 6379, None);
    scene.publish(&service.endpoint_at(redis.v4.into(), true));
    let (vault, certificate) = tls_server(&mut scene);
    let service = bare_service("vault", "default", 35).port("https", 443, 8443, None);
    scene.publish(&service.endpoint_at(vault.v4.into(), true));
    let stage = scene.start();

    let host = cluster_ip(34).to_string();
    let redis_cli = |args: &[&str]| output(&caller, "redis-cli", &[&["-h", &host], args].concat());
    let value = "v".repeat(100_000);
    assert_eq!(redis_cli(&["set", "key", &value]).trim(), "OK");
    assert_eq!(redis_cli(&["get", "key"]).trim(), value);
    let records = stage.wait_flows(2, |record| record["service"] == "redis.default");
    assert!(records.iter().all(|r| r["protocol"] == "opaque" && r["verdict"] == "forwarded"), "{records:?}");

    let resolve = format!("vault:443:{}", cluster_ip(35));
    let args = ["-sS", "--max-time", "10", "--cacert", &certificate, "--resolve", &resolve, "https://vault/"];
    assert!(output(&caller, "curl", &args).contains("TLSv1.3"));
    let record = record(&stage, 443);
    assert_eq!(record["protocol"], "tls");
    assert_eq!(record["protocol_from"], "client_bytes");
}

/// A pod with `openssl s_server` on port 8443, and the file of its certificate (for the name `vault`).
fn tls_server(scene: &mut Scene) -> (Pod, String) {
    let pod = scene.lab.pod("vault").unwrap();
    let [certificate, key] = ["vault.pem", "vault.key"].map(|n| scene.lab.temp().join(n).display().to_string());
    let new = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    let of = ["-days", "2", "-subj", "/CN=vault", "-addext", "subjectAltName=DNS:vault"];
    let to = ["-keyout", &key, "-out", &certificate];
    output(scene.lab.on_node(), "openssl", &[&new[..], &of, &to].concat());
    let args = ["s_server", "-4", "-accept", "8443", "-cert", &certificate, "-key", &key, "-www", "-quiet"];
    let process = pod.spawn("openssl", args).unwrap();
    scene.keep(&pod, 8443, process);
    (pod, certificate)
}
