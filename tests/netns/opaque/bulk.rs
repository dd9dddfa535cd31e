//! Gigabytes pass whole, both ways at once.

use std::time::Instant;

use interceptor_tests::app::streams::pattern_total;
use serde_json::Value;

use super::each_backend;
use crate::wire::{TCP, UNDECLARED, Way};

/// In each direction.
const BYTES: u64 = 2 << 30;

#[test]
fn two_gibibytes_pass_whole_in_each_direction() {
    let expected = pattern_total(BYTES);
    each_backend("bulk", |wire| {
        let bytes = BYTES.to_string();
        wire.serve(UNDECLARED.1, &["sink"]);
        wire.serve(TCP.1, &["source", "--bytes", &bytes]);
        let sink = wire.address(Way::Outbound, UNDECLARED).to_string();
        let source = wire.address(Way::Outbound, TCP).to_string();
        let begin = Instant::now();
        let wire_ref = &*wire;
        let (up, down) = std::thread::scope(|scope| {
            let up = scope.spawn(|| wire_ref.call(&["upload", "--to", &sink, "--bytes", &bytes]));
            let down = scope.spawn(|| wire_ref.call(&["download", "--from", &source]));
            (up.join().unwrap(), down.join().unwrap())
        });
        let took = begin.elapsed();
        for (way, total) in [("up", up), ("down", down)] {
            let total: Value = serde_json::from_str(&total).unwrap();
            assert_eq!(total, expected, "{way}");
        }
        let peak = wire.memory_kib("VmHWM:");
        println!("2 GiB each way in {took:?}, the agent's peak {peak} KiB");
        assert!(peak < 64 * 1024, "{peak} KiB");
    });
}
