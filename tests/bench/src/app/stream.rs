//! One connection that carries as much as it can, in one direction, for a while.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

use super::serve::{BLOCK, SEND, SWALLOW};

/// What came through.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Streamed {
    pub(crate) bytes: u64,
    pub(crate) seconds: f64,
}

impl Streamed {
    /// Gigabits per second.
    pub(crate) fn gigabits(&self) -> f64 {
        self.bytes as f64 * 8.0 / 1e9 / self.seconds
    }
}

/// Sends for that long, then waits until the other side has told how much arrived: time and bytes are those of all of it.
pub(super) fn upload(to: SocketAddr, time: Duration) -> Result<Streamed> {
    let mut stream = open(to, SWALLOW)?;
    let block = vec![b'x'; BLOCK];
    let (begin, mut sent) = (Instant::now(), 0_u64);
    while begin.elapsed() < time {
        stream.write_all(&block).context("sending")?;
        sent += BLOCK as u64;
    }
    stream.shutdown(Shutdown::Write).context("ending the write side")?;
    let mut told = [0; 8];
    stream.read_exact(&mut told).context("reading how much arrived")?;
    let (seconds, arrived) = (begin.elapsed().as_secs_f64(), u64::from_be_bytes(told));
    ensure!(arrived == sent, "{arrived} bytes of {sent} arrived");
    Ok(Streamed { bytes: arrived, seconds })
}

/// Receives for that long.
pub(super) fn download(to: SocketAddr, time: Duration) -> Result<Streamed> {
    let mut stream = open(to, SEND)?;
    let mut block = vec![0; BLOCK];
    let (begin, mut bytes) = (Instant::now(), 0);
    while begin.elapsed() < time {
        let read = stream.read(&mut block).context("reading")?;
        ensure!(read > 0, "the sender has ended after {bytes} bytes");
        bytes += read as u64;
    }
    Ok(Streamed { bytes, seconds: begin.elapsed().as_secs_f64() })
}

fn open(to: SocketAddr, what: u8) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(to).with_context(|| format!("connecting to {to}"))?;
    stream.set_nodelay(true).context("setting TCP_NODELAY")?;
    stream.set_read_timeout(Some(Duration::from_secs(20))).context("setting a read timeout")?;
    stream.write_all(&[what]).context("sending the first byte")?;
    Ok(stream)
}
