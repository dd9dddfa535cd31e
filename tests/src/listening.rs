//! Whether something listens on a port, seen in /proc instead of by connecting.
//!
//! A probe connection would be accepted by servers that speak first or count connections, and would be captured.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::wait;

/// Waits until a TCP socket listens on `port` in the network namespace of the process `pid`.
pub fn wait(pid: u32, port: u16, limit: Duration) -> Result<()> {
    wait::until(limit, &format!("a listener on port {port}"), || {
        for table in ["tcp", "tcp6"] {
            let path = format!("/proc/{pid}/net/{table}");
            let text = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
            if has_listener(&text, port) {
                return Ok(());
            }
        }
        bail!("nothing listens")
    })
}

fn has_listener(table: &str, port: u16) -> bool {
    table.lines().skip(1).any(|line| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let local = fields.next().and_then(|address| address.rsplit_once(':'));
        let listens = fields.nth(1) == Some("0A");
        listens && local.is_some_and(|(_, hex)| u16::from_str_radix(hex, 16) == Ok(port))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_listening_socket_on_that_port_counts() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue\n\
                     0: 0100007F:1F90 00000000:0000 0A 00000000:00000000\n\
                     1: 0100007F:0050 0100007F:9999 01 00000000:00000000\n";
        assert!(has_listener(table, 8080));
        assert!(!has_listener(table, 80), "established, not listening");
        assert!(!has_listener(table, 8081));
    }
}
