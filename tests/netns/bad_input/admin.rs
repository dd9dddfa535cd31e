//! The admin socket: taken by a living agent, left by a dead one, fed with garbage.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use interceptor_tests::{Agent, bins};

use crate::stage::{LIMIT, Scene, ask, vip};

#[test]
fn a_second_agent_on_the_same_socket_fails_and_harms_nobody() {
    let mut scene = Scene::worked_example("twice");
    let caller = scene.caller("caller", Some("azureuser"));
    scene.deploy("serviceB", "default", 12);
    scene.deploy("serviceB", "azureuser", 13);
    let mut stage = scene.start();
    let pid = stage.agent.process().pid();
    let file = stage.scene.lab.temp().join("second.yaml");
    std::fs::write(&file, stage.scene.config.to_text()).unwrap();
    let args = ["run".as_ref(), "--config".as_ref(), file.as_os_str()];
    let output = stage.scene.lab.on_node().output(bins::interceptor().unwrap(), args).unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains(&format!("pid {pid}")) && error.contains("admin.sock"), "{error}");
    // The first has its socket, its hooks and its traffic.
    assert_eq!(stage.agent.status().unwrap()["pid"], pid);
    let answer = ask(&caller, vip(12), "/", &["Host: serviceB"]);
    assert_eq!(answer["name"], "serviceB.azureuser");
    // The opposite: what a killed agent left behind is in nobody's way.
    stage.agent.kill9().unwrap();
    assert!(stage.scene.config.admin_socket().exists());
    stage.agent = Agent::start(&stage.scene.lab, &stage.scene.config).unwrap();
    assert_eq!(ask(&caller, vip(12), "/", &["Host: serviceB"])["name"], "serviceB.azureuser");
}

#[test]
fn garbage_on_the_admin_socket_gets_an_answer_or_an_end_and_nothing_else_happens() {
    let mut stage = Scene::worked_example("garbage").start();
    let path = stage.scene.config.admin_socket().clone();
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let long = format!("GET /v1/{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(100_000));
    let body =
        format!("POST /v1/explain HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n{}", "[".repeat(99_999));
    let cases: [(&[u8], Option<&str>); 10] = [
        (b"\0\xff\x16\x03\x01 nonsense \r\n\r\n", None),
        (b"", None),
        (b"GET /v1/sta", None),
        (long.as_bytes(), None),
        (b"GET /v1/nothing HTTP/1.1\r\nHost: x\r\n\r\n", Some("404")),
        (b"DELETE /v1/status HTTP/1.1\r\nHost: x\r\n\r\n", Some("405")),
        (b"GET /v1/flows?verdict=maybe HTTP/1.1\r\nHost: x\r\n\r\n", Some("400")),
        (b"GET /v1/flows?last=-1&%zz HTTP/1.1\r\nHost: x\r\n\r\n", Some("400")),
        (b"POST /v1/explain HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{]", Some("400")),
        (body.as_bytes(), Some("413")),
    ];
    // Somebody who says nothing and stays is in nobody's way.
    let _silent = UnixStream::connect(&path).unwrap();
    for (sent, status) in cases {
        let mut stream = UnixStream::connect(&path).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
        // It may stop reading before everything is sent. Who waits for an answer keeps its side open.
        stream.write_all(sent).ok();
        if status.is_none() {
            stream.shutdown(Shutdown::Write).ok();
        }
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok();
        let answer = String::from_utf8_lossy(&answer);
        if let Some(status) = status {
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{:?}: {answer}", String::from_utf8_lossy(sent));
        }
        assert!(!answer.starts_with("HTTP/1.1 5"), "{answer}");
        assert_eq!(stage.agent.status().unwrap()["ready"], true);
    }
    stage.expect_running();
}
