//! How long connect() takes, seen from inside a program of the pod.

use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use anyhow::{Context as _, Result};
use nix::libc::linger;
use nix::sys::socket::{setsockopt, sockopt};
use serde::{Deserialize, Serialize};

use crate::stats::percentile;

/// What was measured.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Dialled {
    /// Microseconds that half of the connects took less than.
    pub(crate) p50: f64,
}

/// Connects that often, one after the other. Each is reset, so that none leaves a port in TIME_WAIT.
pub(super) fn run(to: SocketAddr, count: usize) -> Result<Dialled> {
    let mut nanos = Vec::with_capacity(count);
    for _ in 0..count {
        let begin = Instant::now();
        let stream = TcpStream::connect(to).with_context(|| format!("connecting to {to}"))?;
        nanos.push(u32::try_from(begin.elapsed().as_nanos()).unwrap_or(u32::MAX));
        setsockopt(&stream, sockopt::Linger, &linger { l_onoff: 1, l_linger: 0 }).context("setting SO_LINGER")?;
    }
    nanos.sort_unstable();
    let p50 = percentile(&nanos, 0.5).context("nothing was connected")?;
    Ok(Dialled { p50: f64::from(p50) / 1e3 })
}
