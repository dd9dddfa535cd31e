//! Streams that are not HTTP: blocks that come back, and the end of each direction on its own.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::socket::dial;
use super::{Client, tell};
use crate::clock;
use crate::plan::Kind;
use crate::random::{Random, bytes};
use crate::told::{Outcome, Told, cause};

/// One session.
pub(super) fn turn(client: &mut Client) -> Result<()> {
    let (id, family, kind) = (client.id(), client.family(), client.kind);
    let to = if kind == Kind::Tcp { client.plan.tcp } else { client.plan.raw };
    let length = match kind {
        Kind::RawLong => Duration::from_secs(30),
        _ => Duration::from_millis(client.random.range(0, 1000)),
    };
    let (began, begin) = (clock::now(), Instant::now());
    let (times, stream) = dial(*to.get(family).context("no address")?);
    let mut said = None;
    let outcome = stream.and_then(|stream| session(stream, id, kind, length, &mut client.random, &mut said));
    let (routed, first) = said.unwrap_or_else(|| (clock::now(), begin.elapsed()));
    tell(&Told {
        kind: kind.name().to_owned(),
        id,
        space: None,
        once: false,
        connecting: times.connecting,
        connected: times.connected,
        began,
        routed,
        ended: clock::now(),
        micros: u64::try_from(first.as_micros()).unwrap_or(u64::MAX),
        outcome: outcome.unwrap_or_else(|error| Outcome::Failed(cause(&error))),
    })
}

fn session(
    mut stream: TcpStream,
    id: u64,
    kind: Kind,
    length: Duration,
    random: &mut Random,
    said: &mut Option<(u64, Duration)>,
) -> Result<Outcome> {
    let begin = Instant::now();
    if kind != Kind::Tcp {
        // The first byte of a TLS handshake: no HTTP begins like this.
        stream.write_all(format!("\x16{id}\n").as_bytes()).context("sending")?;
    }
    let (mut name, mut byte) = (Vec::new(), [0]);
    while byte != *b"\n" {
        stream.read_exact(&mut byte).context("reading who answers")?;
        name.extend_from_slice(&byte);
    }
    *said = Some((clock::now(), begin.elapsed()));
    let copy = String::from_utf8_lossy(&name).trim_end().to_owned();
    for number in 0.. {
        let size = if random.once_in(10) { random.length(1, 60_000) } else { random.length(1, 2000) };
        let block = bytes(id ^ (number << 8), size);
        stream.write_all(&block).context("sending a block")?;
        let mut back = vec![0; size];
        stream.read_exact(&mut back).context("reading a block")?;
        if back != block {
            return Ok(Outcome::Wrong(format!("block {number} came back with other bytes")));
        }
        if begin.elapsed() > length {
            break;
        }
        thread::sleep(Duration::from_millis(random.range(20, 120)));
    }
    // The last one after the end of our direction, which the server must not take for the end of both.
    let last = bytes(!id, random.length(0, 20_000));
    stream.write_all(&last).context("sending the last block")?;
    stream.shutdown(Shutdown::Write).context("ending our direction")?;
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).context("reading to the end")?;
    match rest == last {
        true => Ok(Outcome::Answered { copy, added: None }),
        // A stream that is cut must be reset: an end would look as if this were all.
        false => Ok(Outcome::Wrong(format!("{} bytes after our end instead of {}", rest.len(), last.len()))),
    }
}
