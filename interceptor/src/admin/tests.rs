//! The admin API over real sockets: what it answers, what it refuses, who may own it.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::*;
use crate::config::{Config, EXAMPLE};
use crate::flow::samples;

/// A directory that is gone when the test is.
pub(crate) struct TempDir(PathBuf);

impl TempDir {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("interceptor-test-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

pub(crate) fn state() -> AdminState {
    let config = Config::parse(EXAMPLE, "example").unwrap().config;
    let snapshot = Snapshot::build(&config.topology, &config.routing, 1);
    let status = StatusBoard::new("file", "example");
    status.set_source_ok(1, vec![]);
    AdminState {
        snapshot: Arc::new(ArcSwap::from_pointee(snapshot)),
        services: config.capture.services,
        hub: Arc::new(Hub::new(64)),
        metrics: Arc::new(Metrics::new()),
        status: Arc::new(status),
        neighbours: Default::default(),
    }
}

/// A served admin socket.
struct Server {
    path: PathBuf,
    state: AdminState,
    shutdown: watch::Sender<bool>,
    task: JoinHandle<()>,
    _dir: TempDir,
}

impl Server {
    fn start() -> Self {
        let dir = TempDir::new();
        let path = dir.path().join("run/admin.sock");
        let state = state();
        let (shutdown, stop) = watch::channel(false);
        let task = tokio::spawn(AdminSocket::bind(&path).unwrap().serve(state.clone(), stop));
        Self { path, state, shutdown, task, _dir: dir }
    }

    /// Sends bytes and reads to the end.
    async fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = UnixStream::connect(&self.path).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut text = String::new();
        timeout(Duration::from_secs(10), stream.read_to_string(&mut text)).await.unwrap().unwrap();
        text
    }

    /// The status and the body of an answer.
    async fn send(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let head = format!("{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len());
        split(&self.raw(&[head.as_bytes(), body.as_bytes()].concat()).await)
    }

    async fn get(&self, path: &str) -> (u16, String) {
        self.send("GET", path, "").await
    }

    async fn stop(self) {
        self.shutdown.send(true).unwrap();
        timeout(Duration::from_secs(5), self.task).await.unwrap().unwrap();
        assert!(!self.path.exists());
        assert_eq!(std::fs::read_dir(self.path.parent().unwrap()).unwrap().count(), 0);
    }
}

/// Status and body; chunk sizes stay in.
fn split(answer: &str) -> (u16, String) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[tokio::test]
async fn the_status_is_one_object() {
    let server = Server::start();
    let (status, body) = server.get("/v1/status").await;
    assert_eq!(status, 200);
    let body = json(&body);
    assert_eq!(body["pid"], std::process::id());
    assert_eq!(body["spaces"], 2);
    assert_eq!(body["source"]["origin"], "example");
    assert_eq!(body["ready"], false);
    server.stop().await;
}

#[tokio::test]
async fn lists_are_one_object_a_line() {
    let server = Server::start();
    for (path, lines, name) in
        [("/v1/spaces", 2, "default"), ("/v1/services", 3, "serviceA"), ("/v1/workloads", 3, "serviceA-azureuser")]
    {
        let (status, body) = server.get(path).await;
        assert_eq!((status, body.lines().count()), (200, lines), "{path}");
        assert_eq!(json(body.lines().next().unwrap())["name"], name, "{path}");
    }
    let (status, body) = server.get("/v1/routes?workload=serviceA-azureuser").await;
    assert_eq!((status, body.lines().count()), (200, 6));
    server.stop().await;
}

#[tokio::test]
async fn explain_answers_the_worked_example() {
    let server = Server::start();
    let question =
        r#"{"workload":"serviceA-azureuser","url":"http://serviceB/","headers":[["azds-route-as","azureuser"]]}"#;
    let (status, body) = server.send("POST", "/v1/explain", question).await;
    assert_eq!(status, 200);
    let body = json(&body);
    assert_eq!(body["space"], "azureuser");
    assert_eq!(body["chain"][0]["outcome"], "no_service");
    assert_eq!(body["target"]["space"], "default");
    assert_eq!(body["reason"], "same_space");
    server.stop().await;
}

#[tokio::test]
async fn flows_are_filtered_and_counted() {
    let server = Server::start();
    server.state.hub.publish(samples::connection(1));
    server.state.hub.publish(samples::request(2));
    server.state.hub.publish(samples::request(3));
    let (status, body) = server.get("/v1/flows?kind=request&last=1").await;
    assert_eq!(status, 200);
    assert!(body.contains(r#""kind":"request","id":3"#) && !body.contains(r#""id":2"#), "{body}");
    let (status, body) = server.get("/v1/flows?status=5xx").await;
    assert_eq!((status, body.contains("kind")), (200, false));
    server.stop().await;
}

#[tokio::test]
async fn following_streams_tells_losses_and_ends_with_the_agent() {
    let server = Server::start();
    let mut stream = UnixStream::connect(&server.path).await.unwrap();
    stream.write_all(b"GET /v1/flows?follow=true HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    while server.state.hub.followers() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // On this one thread the follower cannot read in between: all but the last 64 are overwritten.
    (1..=100).for_each(|id| server.state.hub.publish(samples::connection(id)));
    let state = server.state.clone();
    let mut text = String::new();
    while !text.contains(r#""id":100,"#) {
        let mut buffer = vec![0; 64 * 1024];
        let count = timeout(Duration::from_secs(5), stream.read(&mut buffer)).await.unwrap().unwrap();
        assert!(count > 0);
        text.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
    }
    assert!(text.contains("{\"kind\":\"lost\",\"count\":36}\n"), "{text}");
    assert!(state.metrics.encode().contains("interceptor_flow_records_lost_total 36\n"));
    server.stop().await;
    let mut rest = String::new();
    stream.read_to_string(&mut rest).await.unwrap();
    assert!(rest.ends_with("0\r\n\r\n"), "{rest}");
    assert_eq!(state.hub.followers(), 0);
}

#[tokio::test]
async fn a_follower_that_goes_away_is_forgotten() {
    let server = Server::start();
    let mut stream = UnixStream::connect(&server.path).await.unwrap();
    stream.write_all(b"GET /v1/flows?follow=true HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let followers = async |count| {
        while server.state.hub.followers() != count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(5), followers(1)).await.unwrap();
    drop(stream);
    timeout(Duration::from_secs(5), followers(0)).await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn what_is_wrong_is_said_with_a_hint() {
    let server = Server::start();
    for (method, path, body, status, words) in [
        ("GET", "/v2/status", "", 404, "there is no /v2/status"),
        ("POST", "/v1/status", "", 405, "/v1/status takes GET only"),
        ("GET", "/v1/explain", "", 405, "/v1/explain takes POST only"),
        ("POST", "/v1/explain", "{", 400, "the body is not understood"),
        ("POST", "/v1/explain", r#"{"workload":"w","url":"x","colour":1}"#, 400, "unknown field `colour`"),
        ("POST", "/v1/explain", r#"{"workload":"serviceA-default","url":"ftp://x/"}"#, 400, "neither http nor https"),
        ("GET", "/v1/routes", "", 400, "no workload is given"),
        ("GET", "/v1/routes?workload=nobody", "", 404, "no captured workload is named"),
        ("GET", "/v1/flows?colour=red", "", 400, "there is no filter"),
        ("GET", "/v1/flows?last=many", "", 400, "is no number of records"),
        ("GET", "/v1/flows?follow=perhaps", "", 400, "neither true nor false"),
        ("GET", "/v1/flows?space=%", "", 400, "is not percent-encoded"),
    ] {
        let (found, text) = server.send(method, path, body).await;
        assert_eq!(found, status, "{method} {path}");
        let body = json(&text);
        assert!(body["error"].as_str().unwrap().contains(words), "{text}");
        assert!(!body["hint"].as_str().unwrap().is_empty(), "{text}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_large_body_is_refused_and_garbage_does_no_harm() {
    let server = Server::start();
    let (status, body) = server.send("POST", "/v1/explain", &" ".repeat(64 * 1024 + 1)).await;
    assert_eq!(status, 413);
    assert_eq!(json(&body)["error"], "the body is larger than 65536 bytes");
    for garbage in
        [b"\x00\xff\x16\x03\x01garbage\r\n\r\n".to_vec(), b"GET / HTTP/9.9\r\n\r\n".to_vec(), vec![b'a'; 4096]]
    {
        let mut stream = UnixStream::connect(&server.path).await.unwrap();
        stream.write_all(&garbage).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await.unwrap().unwrap();
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 400 "), "{}", String::from_utf8_lossy(&answer));
    }
    assert_eq!(server.get("/v1/status").await.0, 200);
    server.stop().await;
}

#[tokio::test]
async fn one_connection_too_many_is_told_and_the_others_stay() {
    let server = Server::start();
    let mut idle = Vec::new();
    for _ in 0..64 {
        idle.push(UnixStream::connect(&server.path).await.unwrap());
    }
    let mut one_more = UnixStream::connect(&server.path).await.unwrap();
    let mut text = String::new();
    timeout(Duration::from_secs(5), one_more.read_to_string(&mut text)).await.unwrap().unwrap();
    assert!(text.starts_with("HTTP/1.1 503 ") && text.contains("too many connections"), "{text}");
    idle.truncate(60);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(server.get("/v1/status").await.0, 200);
    drop(idle);
    server.stop().await;
}

#[test]
fn the_socket_is_for_its_owner_only() {
    let dir = TempDir::new();
    let path = dir.path().join("a/b/admin.sock");
    let socket = AdminSocket::bind(&path).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    drop(socket);
    assert!(!path.exists());
}

#[test]
fn a_living_agent_is_recognised() {
    let dir = TempDir::new();
    let path = dir.path().join("admin.sock");
    let living = AdminSocket::bind(&path).unwrap();
    let refused = AdminSocket::bind(&path).unwrap_err().to_string();
    let pid = std::process::id();
    let expected =
        format!("another agent (pid {pid}) is listening on {}; stop it or give another --admin-socket", path.display());
    assert_eq!(refused, expected);
    assert!(path.exists());
    drop(living);
    AdminSocket::bind(&path).unwrap();
}

#[test]
fn a_stale_socket_is_replaced_and_anything_else_is_not() {
    let dir = TempDir::new();
    let path = dir.path().join("admin.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    drop(AdminSocket::bind(&path).unwrap());

    let foreign = std::os::unix::net::UnixListener::bind(&path).unwrap();
    assert!(matches!(AdminSocket::bind(&path), Err(AdminError::InUse { pid: None, .. })));
    drop(foreign);
    std::fs::remove_file(&path).unwrap();

    std::fs::write(&path, "precious").unwrap();
    assert!(matches!(AdminSocket::bind(&path), Err(AdminError::NotASocket { .. })));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");

    let long = dir.path().join("x".repeat(200));
    assert!(matches!(AdminSocket::bind(&long), Err(AdminError::Bind { .. })));
}

#[tokio::test]
async fn metrics_and_health_are_served_on_tcp() {
    let state = state();
    let server = MetricsServer::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = server.address();
    assert!(MetricsServer::bind(address).unwrap_err().to_string().contains("is the port in use?"));
    let (shutdown, stop) = watch::channel(false);
    let task = tokio::spawn(server.serve(state.clone(), stop));
    let get = async |path: &str| {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        split(&text)
    };
    let (status, body) = get("/metrics").await;
    assert_eq!(status, 200);
    assert!(body.ends_with("# EOF\n"));
    assert_eq!(get("/healthz").await, (200, "ok\n".to_owned()));
    assert_eq!(get("/readyz").await, (503, "workers and hooks are not up yet\n".to_owned()));
    state.status.set_ready(true);
    assert_eq!(get("/readyz").await, (200, "ok\n".to_owned()));
    assert_eq!(get("/").await.0, 404);
    shutdown.send(true).unwrap();
    timeout(Duration::from_secs(5), task).await.unwrap().unwrap();
}
