//! Ping-pong: a small message, its echo, the next message. One thread per connection.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use serde::{Deserialize, Serialize};

use super::serve::{ECHO, MESSAGE};
use crate::stats::percentile;

/// Nothing takes this long unless it hangs.
const LIMIT: Duration = Duration::from_secs(20);

/// What ping-pong measured.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Pinged {
    pub(crate) messages: u64,
    /// Messages per second, all connections together.
    pub(crate) rate: f64,
    /// Microseconds from a message to its echo.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

/// Plays on that many connections for that long, after all of them are open.
pub(super) fn run(to: SocketAddr, connections: usize, time: Duration) -> Result<Pinged> {
    let open: Vec<TcpStream> = (0..connections).map(|_| open(to)).collect::<Result<_>>()?;
    let start = Barrier::new(connections);
    let play = |mut stream: TcpStream| {
        start.wait();
        rally(&mut stream, time)
    };
    let begin = Instant::now();
    let mut nanos: Vec<u32> = thread::scope(|scope| {
        let spawn = |stream| thread::Builder::new().stack_size(64 << 10).spawn_scoped(scope, || play(stream));
        let threads: Vec<_> =
            open.into_iter().map(spawn).collect::<std::io::Result<_>>().context("starting threads")?;
        let join = |thread: thread::ScopedJoinHandle<'_, Result<Vec<u32>>>| {
            thread.join().map_err(|_| anyhow!("a thread panicked"))?
        };
        let all: Vec<Vec<u32>> = threads.into_iter().map(join).collect::<Result<_>>()?;
        Ok::<_, anyhow::Error>(all.concat())
    })?;
    let seconds = begin.elapsed().as_secs_f64();
    ensure!(!nanos.is_empty(), "no message came back");
    nanos.sort_unstable();
    let micros = |share| f64::from(percentile(&nanos, share).unwrap_or_default()) / 1e3;
    let messages = nanos.len() as u64;
    Ok(Pinged { messages, rate: messages as f64 / seconds, p50: micros(0.5), p99: micros(0.99) })
}

/// A connection that has carried one message, so that everything on its way is set up.
fn open(to: SocketAddr) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(to).with_context(|| format!("connecting to {to}"))?;
    stream.set_nodelay(true).context("setting TCP_NODELAY")?;
    stream.set_read_timeout(Some(LIMIT)).context("setting a read timeout")?;
    stream.write_all(&[ECHO]).context("sending the first byte")?;
    exchange(&mut stream)?;
    Ok(stream)
}

fn rally(stream: &mut TcpStream, time: Duration) -> Result<Vec<u32>> {
    let end = Instant::now() + time;
    let mut nanos = Vec::with_capacity(1 << 12);
    let mut before = Instant::now();
    while before < end {
        exchange(stream)?;
        let now = Instant::now();
        nanos.push(u32::try_from((now - before).as_nanos()).unwrap_or(u32::MAX));
        before = now;
    }
    Ok(nanos)
}

fn exchange(stream: &mut TcpStream) -> Result<()> {
    let (message, mut echo) = ([0xa5; MESSAGE], [0; MESSAGE]);
    stream.write_all(&message).context("sending a message")?;
    stream.read_exact(&mut echo).context("reading its echo")?;
    ensure!(message == echo, "the echo differs from the message");
    Ok(())
}
