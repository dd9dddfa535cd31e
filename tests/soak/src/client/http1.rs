//! Clients of HTTP/1.1: one request after the other, several at once, large ones, slow ones.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use interceptor_tests::http::Connection;

use super::ask::Ask;
use super::socket::{Times, dial};
use super::{Client, tell};
use crate::clock;
use crate::plan::Kind;
use crate::told::{Outcome, cause};

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
                            tell(&ask.told(times, clock::now(), Err(anyhow::anyhow!("{}", cause(&error)))))?;
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
    let mut broken = kept.http.send(&all).context("sending").err().map(|error| cause(&error));
    for ask in asks {
        let answer = match &broken {
            None => kept.http.response(ask.method()).and_then(|answer| Ok((answer.status()?, answer))),
            Some(cause) => Err(anyhow::anyhow!("{cause}")),
        };
        let routed = clock::now();
        let outcome = answer.and_then(|(status, answer)| {
            ensure!(status == 200, "status {status}");
            if answer.closes() {
                // What was sent behind it is lost.
                broken = Some("closed before its turn".to_owned());
            }
            Ok(ask.judge(|name| answer.all(name).map(str::to_owned).collect(), &answer.body))
        });
        match &outcome {
            Ok(Outcome::Wrong(what)) => broken = Some(format!("behind a wrong answer: {what}")),
            // All that was sent at once fails of the same.
            Err(error) => broken = Some(cause(error)),
            Ok(_) => {}
        }
        tell(&ask.told(kept.times, routed, outcome))?;
    }
    Ok(broken.is_none().then_some(kept).filter(|_| !last))
}
