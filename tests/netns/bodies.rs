//! Large HTTP bodies stream through: the agent holds a few buffers, whatever their size.

use std::io::Read as _;
use std::net::TcpStream;
use std::time::Instant;

use interceptor_tests::app::streams::{Total, pattern_total, send_pattern};
use serde_json::Value;

use crate::wire::{UNDECLARED, Way, Wire, exchange, expect, send};

const BYTES: u64 = 1 << 30;
const PEAK_KIB: u64 = 64 * 1024;

/// Moves the pattern from one end to the other, and returns what arrived.
fn pass(from: &TcpStream, to: &TcpStream) -> Value {
    std::thread::scope(|scope| {
        scope.spawn(|| send_pattern(&mut &*from, BYTES).unwrap());
        let mut total = Total::default();
        std::io::copy(&mut to.take(BYTES), &mut total).unwrap();
        total.to_json()
    })
}

#[test]
fn a_body_of_a_gibibyte_passes_whole_through_little_memory() {
    let mut wire = Wire::new("bodies");
    let server = wire.listen(UNDECLARED);
    let expected = pattern_total(BYTES);
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let (client, peer) = wire.pair(&server, Way::Outbound, UNDECLARED);
    let begin = Instant::now();
    let upload = format!("POST /upload HTTP/1.1\r\nContent-Length: {BYTES}\r\n\r\n");
    send(&client, &upload);
    expect(&peer, &upload);
    assert_eq!(pass(&client, &peer), expected, "upload");
    send(&peer, ok);
    expect(&client, ok);
    let up = begin.elapsed();
    let begin = Instant::now();
    let download = format!("HTTP/1.1 200 OK\r\nContent-Length: {BYTES}\r\n\r\n");
    exchange(&client, &peer, "GET /download HTTP/1.1\r\n\r\n", download);
    assert_eq!(pass(&peer, &client), expected, "download");
    let down = begin.elapsed();
    // The connection is none the worse for it.
    exchange(&client, &peer, "GET / HTTP/1.1\r\n\r\n", ok);
    let peak = wire.memory_kib("VmHWM:");
    println!("1 GiB up in {up:?}, down in {down:?}, the agent's peak {peak} KiB");
    assert!(peak < PEAK_KIB, "{peak} KiB");
}
