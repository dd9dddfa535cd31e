//! Clients of HTTP/1.1: one request after the other, several at once, large ones, slow ones.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use interceptor_tests::http::Connection;

use super::ask::Ask;
use super::socket::{Times, dial};
use super::{Client, tell};
use crate::clock;
use crate::plan::Kind;
use crate::told::Outcome;

/// Requests that are sent at once.
const PIPELINED: u64 = 4;
/// A connection is kept so long at most: one that was made while no agent was there must not last.
const AGE: Duration = Duration::from_secs(6);

/// The connection that is kept.
#[derive(Default)]
pub(super) struct Http1(Option<Kept>);

struct Kept {
    http: Connection<TcpStream>,
    times: Times,
    since: Instant,
}

impl Http1 {
    /// One request, or several at once.
    pub(super) fn turn(&mut self, client: &mut Client) -> Result<()> {
        let count = if client.kind == Kind::Pipelined { PIPELINED } else { 1 };
        let mut asks: Vec<Ask> = (0..count).map(|_| Ask::new(client)).collect();
        let kept = match self.0.take().filter(|kept| kept.since.elapsed() < AGE) {
            Some(kept) => kept,
            None => {
                let family = client.family();
                let to = if client.kind == Kind::Front { client.plan.front } else { client.plan.http };
                let to = to.get(family).context("no address")?;
                asks.iter_mut().for_each(Ask::begin);
                match dial(*to) {
                    (times, Ok(stream)) => Kept { http: Connection::new(stream), times, since: Instant::now() },
                    (times, Err(error)) => {
                        for ask in &asks {
                            tell(&ask.told(times, clock::now(), Err(anyhow::anyhow!("{}", crate::told::cause(&error)))))?;
                        }
                        return Ok(());
                    }
                }
            }
        };
        self.0 = exchange(kept, &mut asks, client.kind == Kind::Fresh)?;
        Ok(())
    }
}

/// Sends all and reads all; what is left of the connection.
fn exchange(mut kept: Kept, asks: &mut [Ask], last: bool) -> Result<Option<Kept>> {
    asks.iter_mut().for_each(Ask::begin);
    let all: Vec<u8> = asks.iter().flat_map(|ask| ask.http1(last)).collect();
    let mut broken = kept.http.send(&all).context("sending").err();
    let mut open = true;
    for ask in asks {
        let answer = match broken.take() {
            None if open => kept.http.response(ask.method()),
            // What was sent behind an answer that said `close`.
            None => Err(anyhow::anyhow!("closed before its turn")),
            Some(error) => Err(error),
        };
        let routed = clock::now();
        let outcome = match answer {
            Ok(answer) => {
                open = open && !answer.closes();
                status(answer.status()?).map(|()| ask.judge(|name| answer.all(name).map(str::to_owned).collect(), &answer.body))
            }
            Err(error) => {
                open = false;
                Err(error)
            }
        };
        open = open && !matches!(outcome, Err(_) | Ok(Outcome::Wrong(_)));
        tell(&ask.told(kept.times, routed, outcome))?;
    }
    Ok(open.then_some(kept).filter(|_| !last))
}

fn status(status: u16) -> Result<()> {
    if status != 200 {
        bail!("status {status}");
    }
    Ok(())
}
