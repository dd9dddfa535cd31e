//! Tests of the laboratory itself, without an agent: the network, the applications, and that nothing is left behind.
//!
//! Run as root: `cargo test -p interceptor-tests --test lab`.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test ends at the first thing that fails")]

mod apps;
mod cleanup;
mod network;
mod scenery;

use std::net::SocketAddr;
use std::time::Duration;

use interceptor_tests::{Lab, Pod, Process, bins};
use serde_json::Value;

/// What normally takes milliseconds may take this long on a busy machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(10);

/// Starts `pod ARGS` in a pod and waits until it listens on `port`.
pub(crate) fn app(pod: &Pod, port: u16, args: &[&str]) -> Process {
    let process = pod.spawn(bins::pod().unwrap(), args).unwrap();
    pod.wait_listening(port, LIMIT).unwrap_or_else(|error| panic!("{error:#}; stderr: {}", process.stderr()));
    process
}

/// Starts `pod http` on port 8080 of both families, named as the pod.
pub(crate) fn http(pod: &Pod) -> Process {
    app(pod, 8080, &["http", "--name", pod.name(), "--listen", "[::]:8080"])
}

/// Runs `curl URL` somewhere and parses the JSON that it gets.
pub(crate) fn curl(from: &interceptor_tests::place::Place, address: SocketAddr, path: &str) -> Value {
    let output = from.output("curl", ["-sS", "--max-time", "5", &format!("http://{address}{path}")]).unwrap();
    assert!(output.status.success(), "curl {address}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A laboratory, or a clear panic.
pub(crate) fn lab(name: &str) -> Lab {
    Lab::new(name).unwrap_or_else(|error| panic!("{error:#}"))
}
