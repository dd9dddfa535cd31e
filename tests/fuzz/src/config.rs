//! Target `config`: no text makes the reader panic, and what it accepts can be put into force.

use interceptor::config::Config;
use interceptor::route::{Direction, Query, decide};
use interceptor::snapshot::Snapshot;

/// The bytes of a file.
pub fn config(bytes: &[u8]) {
    let parsed = match Config::parse_bytes(bytes, "f") {
        Ok(parsed) => parsed,
        Err(errors) => {
            let lines = bytes.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count() + 1;
            assert!(!errors.diagnostics.is_empty());
            for diagnostic in &errors.diagnostics {
                let inside = (1..=lines + 1).contains(&diagnostic.line) && diagnostic.column > 0;
                assert!(inside && !diagnostic.to_string().is_empty(), "{diagnostic}");
            }
            return;
        }
    };
    let config = parsed.config;
    let carriers = config.routing.route_headers.iter().map(ToString::to_string);
    for name in config.topology.spaces.iter().map(|space| space.name.clone()).chain(carriers) {
        let plain = name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':');
        assert!(plain && !name.is_empty(), "{name:?} would be written into a head");
    }
    let snapshot = Snapshot::build(&config.topology, &config.routing, 1);
    for (destination, _) in snapshot.destinations() {
        for space in snapshot.spaces() {
            let header = Some(space.name.as_bytes());
            let direction = Direction::Outbound;
            let query = Query { direction, workload: "", destination, header, host: None, recalled: None, turn: 0 };
            assert!(!decide(&snapshot, &query).inject);
        }
    }
}
