//! Commands against a real admin socket, and against what is not one.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use tokio::sync::watch;

use super::*;
use crate::admin::tests::{TempDir, state};
use crate::admin::{AdminSocket, AdminState};
use crate::flow::samples;

/// An agent's admin socket on a thread of its own.
struct Agent {
    socket: PathBuf,
    state: AdminState,
    shutdown: watch::Sender<bool>,
    thread: Option<std::thread::JoinHandle<()>>,
    _dir: TempDir,
}

impl Agent {
    fn start() -> Self {
        let dir = TempDir::new();
        let socket = dir.path().join("admin.sock");
        let state = state();
        let (shutdown, stop) = watch::channel(false);
        let bound = AdminSocket::bind(&socket).unwrap();
        let thread = std::thread::spawn({
            let state = state.clone();
            move || client::runtime().unwrap().block_on(bound.serve(state, stop))
        });
        Self { socket, state, shutdown, thread: Some(thread), _dir: dir }
    }

    /// What a command prints.
    fn run(&self, args: &[&str]) -> anyhow::Result<String> {
        run(&self.socket, args)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.shutdown.send(true).unwrap();
        self.thread.take().unwrap().join().unwrap();
    }
}

fn run(socket: &Path, args: &[&str]) -> anyhow::Result<String> {
    let mut cli = parse(args).unwrap();
    cli.admin_socket = Some(socket.to_owned());
    let mut out = Vec::new();
    dispatch(cli, &Environment::default(), &mut Screen::new(&mut out, false))?;
    Ok(String::from_utf8(out).unwrap())
}

#[test]
fn every_list_comes_as_table_and_as_json() {
    let agent = Agent::start();
    agent.state.hub.publish(samples::request(1));
    for args in [
        &["status"] as &[&str],
        &["spaces"],
        &["services"],
        &["workloads"],
        &["routes", "--workload", "serviceA-azureuser"],
        &["flows"],
        &["explain", "--workload", "serviceA-azureuser", "--url", "http://serviceB/"],
    ] {
        for mode in ["table", "wide"] {
            let text = agent.run(&[args, &["-o", mode]].concat()).unwrap();
            assert!(text.lines().count() > 1, "{args:?}: {text}");
        }
        let json = agent.run(&[args, &["-o", "json"]].concat()).unwrap();
        for line in json.lines() {
            assert!(serde_json::from_str::<serde_json::Value>(line).unwrap().is_object(), "{args:?}");
        }
        assert!(!json.is_empty(), "{args:?}");
    }
}

#[test]
fn flows_are_what_the_filter_lets_through() {
    let agent = Agent::start();
    agent.state.hub.publish(samples::request(1));
    agent.state.hub.publish(samples::connection(2));
    let text = agent.run(&["flows", "-o", "json", "--kind", "connection", "--service", "redis"]).unwrap();
    assert_eq!(text.lines().count(), 1);
    assert!(text.contains(r#""kind":"connection","id":2"#));
    assert_eq!(agent.run(&["flows", "--status", "5xx"]).unwrap(), "no flows match\n");
    assert_eq!(agent.run(&["flows", "--status", "5xx", "-o", "json"]).unwrap(), "");
}

#[test]
fn what_the_agent_refuses_is_said_with_its_hint() {
    let agent = Agent::start();
    let error = agent.run(&["routes", "--workload", "no body"]).unwrap_err().to_string();
    assert_eq!(error, "no captured workload is named \"no body\"; `interceptor workloads` lists them");
    let error = agent.run(&["explain", "--workload", "w", "--url", "ftp://x"]).unwrap_err().to_string();
    assert_eq!(
        error,
        "the scheme of \"ftp://x\" is neither http nor https; give a URL like http://serviceB.default/path"
    );
}

#[test]
fn an_agent_that_is_not_there_is_said_so() {
    let dir = TempDir::new();
    let path = dir.path().join("none.sock");
    let error = run(&path, &["status"]).unwrap_err().to_string();
    let expected = format!(
        "cannot reach the agent at {}: No such file or directory (os error 2); is it running? \
         `interceptor run --config FILE` starts it, --admin-socket names another socket",
        path.display()
    );
    assert_eq!(error, expected);
    // A stale socket, and something that is no agent.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(run(&path, &["status"]).unwrap_err().to_string().contains("Connection refused"));
    std::fs::remove_file(&path).unwrap();
    let foreign = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = foreign.accept().unwrap();
        io::Write::write_all(&mut stream, b"220 smtp ready\r\n").unwrap();
    });
    let error = run(&path, &["status"]).unwrap_err().to_string();
    assert!(error.contains("does not talk like an agent"), "{error}");
    thread.join().unwrap();
}

/// Passes on what is written, until it is told that its reader has gone.
struct Pipe {
    written: mpsc::Sender<String>,
    closed: Arc<AtomicBool>,
}

impl io::Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.closed.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.written.send(String::from_utf8_lossy(bytes).into_owned()).unwrap();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn following_prints_as_they_come_and_survives_a_reader_that_goes_away() {
    let agent = Agent::start();
    let (written, printed) = mpsc::channel();
    let closed = Arc::new(AtomicBool::new(false));
    let follower = std::thread::spawn({
        let (socket, closed) = (agent.socket.clone(), Arc::clone(&closed));
        move || {
            let mut cli = parse(&["flows", "-f", "-o", "json"]).unwrap();
            cli.admin_socket = Some(socket);
            let mut out = Pipe { written, closed };
            dispatch(cli, &Environment::default(), &mut Screen::new(&mut out, false))
        }
    });
    while agent.state.hub.followers() == 0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    agent.state.hub.publish(samples::request(41));
    let mut text = String::new();
    while !text.ends_with('\n') {
        text.push_str(&printed.recv_timeout(Duration::from_secs(10)).unwrap());
    }
    assert!(text.contains(r#""id":41"#), "{text}");
    closed.store(true, Ordering::Relaxed);
    agent.state.hub.publish(samples::request(42));
    assert!(is_closed(&follower.join().unwrap().unwrap_err()));
}

#[test]
fn following_ends_with_the_agent() {
    let agent = Agent::start();
    let socket = agent.socket.clone();
    let follower = std::thread::spawn(move || run(&socket, &["flows", "-f"]));
    while agent.state.hub.followers() == 0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(agent);
    assert_eq!(follower.join().unwrap().unwrap_err().to_string(), "the agent has ended");
}
