//! `pod crowd`, `pod crowd-server` and `pod probe`: clients that are too many, too slow or too large, the server that they
//! call, and a well-behaved client beside them whose answers are timed.
//!
//! For tests of what a crowd in one pod costs the others. One thread each: thousands of connections must cost the machine
//! as little as possible beside what the interceptor spends on them.

mod http2;
mod server;

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Write as _};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{interval, sleep, timeout};

pub use server::run as serve;

/// What takes longer counts as silence.
const LIMIT: Duration = Duration::from_secs(10);

/// Between two rounds of new connections.
const TICK: Duration = Duration::from_millis(10);

/// Connections of one crowd whose outcome is not known yet: fewer than it has descriptors for.
const IN_FLIGHT: usize = 4000;

/// A whole head that is as large as the interceptor lets pass.
const LARGE: usize = 60_000;

/// What `pod crowd` does.
#[derive(Debug, Clone)]
pub struct Crowd {
    /// The server.
    pub to: SocketAddr,
    /// What each connection does.
    pub kind: String,
    /// Connections in all.
    pub count: usize,
    /// New connections a second.
    pub rate: usize,
}

/// What became of a connection, and the connection if it goes on.
type Outcome = (&'static str, Option<TcpStream>);

/// Opens the connections, prints what became of them as JSON when that is known of all, and holds those that go on until
/// it is killed.
pub fn run(crowd: &Crowd) -> Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).context("reading the limit of open files")?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).context("raising the limit of open files")?;
    if !KINDS.contains(&crowd.kind.as_str()) {
        bail!("no kind {:?}: there are {}", crowd.kind, KINDS.join(", "));
    }
    on_one_thread(async {
        let begin = Instant::now();
        let outcomes = all(crowd).await?;
        let mut counts = BTreeMap::<&str, usize>::new();
        for (what, _) in &outcomes {
            *counts.entry(*what).or_default() += 1;
        }
        let took = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
        say(&json!({ "offered": outcomes.len(), "ms": took, "outcomes": counts }))?;
        std::future::pending::<()>().await;
        drop(outcomes);
        Ok(())
    })
}

async fn all(crowd: &Crowd) -> Result<Vec<Outcome>> {
    let crowd = Rc::new(crowd.clone());
    let mut connections = JoinSet::new();
    let mut ticks = interval(TICK);
    let begin = Instant::now();
    let mut made = 0;
    let mut outcomes = Vec::with_capacity(crowd.count);
    while made < crowd.count {
        ticks.tick().await;
        let due = usize::try_from(begin.elapsed().as_millis()).unwrap_or(usize::MAX).saturating_mul(crowd.rate) / 1000;
        // Some at a time: a SYN that finds a full queue is tried again only after a second.
        let due = due.clamp(made, crowd.count).min(made + IN_FLIGHT.saturating_sub(connections.len()));
        for _ in made..due {
            let crowd = Rc::clone(&crowd);
            connections.spawn_local(async move { one(&crowd).await });
        }
        made = due;
        while let Some(outcome) = connections.try_join_next() {
            outcomes.push(outcome.context("a connection's task")?);
        }
    }
    while let Some(outcome) = connections.join_next().await {
        outcomes.push(outcome.context("a connection's task")?);
    }
    Ok(outcomes)
}

/// What `--kind` takes.
const KINDS: [&str; 9] = [
    "ask",
    "leave",
    "slow-heads",
    "slow-bodies",
    "large-heads",
    "no-readers",
    "opaque-no-readers",
    "http2-bombs",
    "http2-heads",
];

async fn one(crowd: &Crowd) -> Outcome {
    let stream = match timeout(LIMIT, TcpStream::connect(crowd.to)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return (cause(&error), None),
        Err(_) => return ("no connection", None),
    };
    let begun = match crowd.kind.as_str() {
        "ask" => ask(stream, b"GET /crowd HTTP/1.1\r\nHost: crowd\r\n\r\n").await,
        "leave" => stream.set_zero_linger().map(|()| ("left", None)),
        "slow-heads" => drip(stream, b"GET /crowd HTTP/1.1\r\nHost: crowd\r\nX-Slow: ").await,
        "slow-bodies" => drip(stream, b"POST /crowd HTTP/1.1\r\nHost: crowd\r\nContent-Length: 1000000\r\n\r\n").await,
        "large-heads" => large(stream).await,
        "no-readers" => ignore(stream, b"GET /endless HTTP/1.1\r\nHost: crowd\r\n\r\n").await,
        "opaque-no-readers" => ignore(stream, b"\x16endless\n").await,
        "http2-bombs" => http2::bombs(stream).await,
        _ => http2::endless_head(stream).await,
    };
    begun.unwrap_or_else(|error| (cause(&error), None))
}

/// Asks and holds the connection if it is answered.
async fn ask(mut stream: TcpStream, request: &[u8]) -> io::Result<Outcome> {
    stream.write_all(request).await?;
    answer(stream).await
}

async fn answer(mut stream: TcpStream) -> io::Result<Outcome> {
    let mut bytes = [0; 1024];
    let mut have = 0;
    while have < 12 {
        match timeout(LIMIT, stream.read(&mut bytes[have..])).await {
            Ok(read) => match read? {
                0 => return Ok(("closed", None)),
                count => have += count,
            },
            Err(_) => return Ok(("silent", None)),
        }
    }
    match &bytes[..12] {
        b"HTTP/1.1 200" => Ok(("held", Some(stream))),
        b"HTTP/1.1 503" => Ok(("told", None)),
        b"HTTP/1.1 408" => Ok(("too slow", None)),
        _ => Ok(("another answer", None)),
    }
}

/// Sends the beginning and then a byte a second, for three seconds.
async fn drip(mut stream: TcpStream, beginning: &[u8]) -> io::Result<Outcome> {
    stream.write_all(beginning).await?;
    for _ in 0..3 {
        sleep(Duration::from_secs(1)).await;
        stream.write_all(b"x").await?;
    }
    Ok(("held", Some(stream)))
}

/// Sends a head that is large and never whole.
async fn large(mut stream: TcpStream) -> io::Result<Outcome> {
    let mut head = b"GET /crowd HTTP/1.1\r\nHost: crowd\r\nX-Large: ".to_vec();
    head.resize(LARGE, b'x');
    stream.write_all(&head).await?;
    let mut bytes = [0; 12];
    match timeout(Duration::from_secs(3), stream.read_exact(&mut bytes)).await {
        Err(_) => Ok(("held", Some(stream))),
        Ok(read) => {
            read?;
            Ok((if &bytes == b"HTTP/1.1 503" { "told" } else { "another answer" }, None))
        }
    }
}

/// Asks for what has no end, and does not read on once it has come.
async fn ignore(mut stream: TcpStream, request: &[u8]) -> io::Result<Outcome> {
    stream.write_all(request).await?;
    match timeout(LIMIT, stream.read(&mut [0; 1])).await {
        Ok(read) => Ok(if read? == 0 { ("closed", None) } else { ("held", Some(stream)) }),
        Err(_) => Ok(("silent", None)),
    }
}

/// Sends a request each `every`, every other one on a connection of its own, for so long; gives their times.
pub fn probe(to: SocketAddr, every: Duration, long: Duration) -> Result<Value> {
    on_one_thread(async {
        let (mut took, mut failed) = (Vec::new(), BTreeMap::<String, usize>::new());
        let mut kept = None;
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let begin = Instant::now();
        for turn in 0_u64.. {
            ticks.tick().await;
            if begin.elapsed() > long {
                break;
            }
            let asked = Instant::now();
            let mut stream = if turn.is_multiple_of(2) { None } else { kept.take() };
            let answered =
                timeout(LIMIT, get(to, &mut stream)).await.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()));
            match answered {
                Ok(()) => took.push(asked.elapsed()),
                Err(error) => *failed.entry(cause(&error).to_owned()).or_default() += 1,
            }
            kept = stream.filter(|_| !turn.is_multiple_of(2)).or(kept);
        }
        took.sort_unstable();
        let at = |share: usize| took.get(took.len() * share / 1000).or(took.last()).map_or(0, Duration::as_micros);
        let us = |share| u64::try_from(at(share)).unwrap_or(u64::MAX);
        Ok(
            json!({ "answered": took.len(), "failed": failed, "p50_us": us(500), "p99_us": us(990), "max_us": us(1000) }),
        )
    })
}

async fn get(to: SocketAddr, kept: &mut Option<TcpStream>) -> io::Result<()> {
    let mut stream = match kept.take() {
        Some(stream) => stream,
        None => TcpStream::connect(to).await?,
    };
    stream.set_nodelay(true)?;
    stream.write_all(b"GET /probe HTTP/1.1\r\nHost: calm\r\n\r\n").await?;
    let mut answer = [0; server::ANSWER.len()];
    stream.read_exact(&mut answer).await?;
    if answer != *server::ANSWER {
        return Err(io::Error::other("another answer"));
    }
    *kept = Some(stream);
    Ok(())
}

fn on_one_thread<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting the runtime")?;
    LocalSet::new().block_on(&runtime, work)
}

fn cause(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => "reset",
        ErrorKind::ConnectionRefused => "refused",
        ErrorKind::UnexpectedEof => "closed",
        ErrorKind::TimedOut => "silent",
        _ if error.to_string() == "another answer" => "another answer",
        _ => "failed",
    }
}

fn say(line: &Value) -> Result<()> {
    writeln!(io::stdout(), "{line}").context("writing to stdout")
}
