//! Ping-pong: a small message, its echo, the next message. One thread per connection.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

use super::latencies::{Latencies, Nanos};
use super::serve::{ECHO, MESSAGE};

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
    let latencies = thread::scope(|scope| {
        let spawn = |stream| thread::Builder::new().stack_size(64 << 10).spawn_scoped(scope, || play(stream));
        Latencies::of(open.into_iter().map(spawn).collect::<std::io::Result<_>>().context("starting threads")?)
    })?;
    let (messages, rate) = (latencies.count(), latencies.rate(begin.elapsed()));
    Ok(Pinged { messages, rate, p50: latencies.micros(0.5), p99: latencies.micros(0.99) })
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

fn rally(stream: &mut TcpStream, time: Duration) -> Nanos {
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
