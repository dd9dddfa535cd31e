//! `pod mixed`: requests of several spaces at once, to a service that calls another one for each of them; who answered?
//!
//! The service passes nothing on. The far end says its name and the path that it was called with: a request's own tag shows
//! that the answer is its own, the name's space whether its call went where the request belongs.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use serde_json::{Value, json};

use super::http::ROUTE_HEADER;
use crate::http::{Connection, Message};

/// What takes longer counts as failed.
const LIMIT: Duration = Duration::from_secs(20);

/// What `pod mixed` sends.
#[derive(Debug, Clone)]
pub struct Mixed {
    /// Where to.
    pub to: SocketAddr,
    /// What the path begins with: how the service is to call.
    pub way: String,
    /// The spaces, in turn; `-` for a request without one.
    pub spaces: Vec<String>,
    /// Requests in all.
    pub requests: usize,
    /// Requests at a time.
    pub threads: usize,
    /// Requests on one connection, at most.
    pub keep: usize,
}

/// What came of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    /// Its call went where the request belongs.
    Right,
    /// Its call went where it goes if nothing is known of it.
    Unattributed,
    /// Its call went to somebody else's space, or the answer belongs to another request.
    Wrong,
}

/// Sends the requests and counts what came of them.
pub fn run(mixed: &Mixed) -> Result<Value> {
    let next = AtomicUsize::new(0);
    let results: Vec<Counts> = thread::scope(|scope| {
        let threads: Vec<_> = (0..mixed.threads).map(|_| scope.spawn(|| one_at_a_time(mixed, &next))).collect();
        threads.into_iter().map(|thread| thread.join().map_err(|_| anyhow!("a thread panicked"))).collect::<Result<_>>()
    })?;
    let count =
        |outcome| results.iter().map(|counts| counts.outcomes.get(&outcome).copied().unwrap_or(0)).sum::<usize>();
    let notes: Vec<&String> = results.iter().flat_map(|counts| &counts.notes).take(5).collect();
    Ok(json!({
        "right": count(Outcome::Right),
        "unattributed": count(Outcome::Unattributed),
        "wrong": count(Outcome::Wrong),
        "failed": results.iter().map(|counts| counts.failed).sum::<usize>(),
        "notes": notes,
    }))
}

#[derive(Debug, Default)]
struct Counts {
    outcomes: BTreeMap<Outcome, usize>,
    failed: usize,
    /// What was not as it should be, in words.
    notes: Vec<String>,
}

fn one_at_a_time(mixed: &Mixed, next: &AtomicUsize) -> Counts {
    let mut counts = Counts::default();
    let mut kept = None;
    loop {
        let n = next.fetch_add(1, Ordering::Relaxed);
        if n >= mixed.requests {
            return counts;
        }
        let Some(space) = mixed.spaces.get(n % mixed.spaces.len().max(1)) else { return counts };
        let tag = format!("{space}/{n}");
        match exchange(mixed, space, &tag, &mut kept).and_then(|answer| judge(&answer, space, &tag)) {
            Ok((outcome, words)) => {
                *counts.outcomes.entry(outcome).or_default() += 1;
                if outcome == Outcome::Wrong {
                    counts.notes.push(words);
                }
            }
            Err(error) => {
                kept = None;
                counts.failed += 1;
                counts.notes.push(format!("{tag}: {error:#}"));
            }
        }
    }
}

/// A connection, and how many requests it has carried.
type Kept = Option<(Connection<TcpStream>, usize)>;

fn exchange(mixed: &Mixed, space: &str, tag: &str, kept: &mut Kept) -> Result<Message> {
    let (mut connection, used) = match kept.take() {
        Some(kept) => kept,
        None => (connect(mixed.to)?, 0),
    };
    let route = if space == "-" { String::new() } else { format!("{ROUTE_HEADER}: {space}\r\n") };
    let request = format!("GET /{}/{tag} HTTP/1.1\r\nHost: front\r\n{route}\r\n", mixed.way);
    connection.send(request.as_bytes()).context("sending")?;
    let answer = connection.response("GET")?;
    if !answer.closes() && used + 1 < mixed.keep {
        *kept = Some((connection, used + 1));
    }
    Ok(answer)
}

fn judge(answer: &Message, space: &str, tag: &str) -> Result<(Outcome, String)> {
    let text = String::from_utf8_lossy(&answer.body);
    ensure!(answer.status()? == 200, "{}: {text}", answer.start);
    let seen: Value = serde_json::from_str(&text).with_context(|| format!("reading {text:?}"))?;
    let (name, path) = (seen["name"].as_str().unwrap_or_default(), seen["path"].as_str().unwrap_or_default());
    let answered = name.rsplit('.').next().unwrap_or_default();
    let outcome = match (answered, space) {
        _ if path != format!("/{tag}") => Outcome::Wrong,
        ("default", "-") => Outcome::Right,
        (answered, space) if answered == space => Outcome::Right,
        ("default", _) => Outcome::Unattributed,
        _ => Outcome::Wrong,
    };
    Ok((outcome, format!("{tag} was answered by {name} on {path}")))
}

fn connect(to: SocketAddr) -> Result<Connection<TcpStream>> {
    let stream = TcpStream::connect_timeout(&to, LIMIT).with_context(|| format!("connecting to {to}"))?;
    stream.set_read_timeout(Some(LIMIT)).context("setting a read timeout")?;
    stream.set_nodelay(true).context("setting TCP_NODELAY")?;
    Ok(Connection::new(stream))
}
