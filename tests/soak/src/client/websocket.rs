//! WebSocket: an upgrade that is routed as a request, then messages of which each comes back.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use interceptor_tests::http::Connection;

use super::ask::Ask;
use super::socket::dial;
use super::{Client, tell};
use crate::clock;
use crate::plan::{Kind, ROUTE_HEADER};
use crate::random::Random;
use crate::told::Outcome;

/// Pauses between messages, milliseconds.
const PAUSES: (u64, u64) = (20, 120);

/// One session.
pub(super) fn turn(client: &mut Client) -> Result<()> {
    let mut ask = Ask::new(client);
    (ask.post, ask.body) = (false, Vec::new());
    ask.query.size = 0;
    let family = client.family();
    let to = client.plan.http.get(family).context("no address")?;
    let length = match client.kind {
        Kind::WebSocketLong => Duration::from_secs(30),
        _ => Duration::from_millis(client.random.range(200, 1500)),
    };
    ask.begin();
    let (times, stream) = dial(*to);
    let mut routed = None;
    let mut first = None;
    let outcome =
        stream.and_then(|stream| session(stream, &ask, length, &mut client.random, (&mut routed, &mut first)));
    let mut told = ask.told(times, routed.unwrap_or_else(clock::now), outcome);
    told.micros = first.unwrap_or(told.micros);
    tell(&told)
}

fn session(
    stream: TcpStream,
    ask: &Ask,
    length: Duration,
    random: &mut Random,
    (routed, first): (&mut Option<u64>, &mut Option<u64>),
) -> Result<Outcome> {
    let begin = Instant::now();
    let mut connection = Connection::new(stream);
    let route = ask.route().map(|space| format!("{ROUTE_HEADER}: {space}\r\n")).unwrap_or_default();
    let (target, host) = (ask.query.target("/ws"), ask.host());
    let head = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n{route}Upgrade: websocket\r\nConnection: Upgrade\r\n");
    let more = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    connection.send(format!("{head}{more}").as_bytes()).context("asking for an upgrade")?;
    let answer = connection.response("GET")?;
    *routed = Some(clock::now());
    ensure!(answer.status()? == 101, "status {}", answer.status()?);
    let outcome = ask.judge(|name| answer.all(name).map(str::to_owned).collect(), b"");
    // Servers of the soak say nothing by themselves: nothing is left in the buffer.
    let mut stream = connection.stream();
    for number in 0.. {
        let size = random.length(1, 3000);
        let payload = crate::random::bytes(ask.query.id ^ (number << 8), size);
        let mask = random.next().to_le_bytes();
        let [m0, m1, m2, m3, ..] = mask;
        let [high, low] = u16::try_from(size)?.to_be_bytes();
        let masked = payload.iter().zip([m0, m1, m2, m3].into_iter().cycle()).map(|(byte, mask)| byte ^ mask);
        let frame: Vec<u8> = [0x82, 0x80 | 126, high, low, m0, m1, m2, m3].into_iter().chain(masked).collect();
        stream.write_all(&frame).context("sending a message")?;
        let mut back = vec![0; 4 + size];
        stream.read_exact(&mut back).context("reading a message")?;
        if back != [&[0x82, 126, high, low], payload.as_slice()].concat() {
            return Ok(Outcome::Wrong(format!("message {number} came back with other bytes")));
        }
        first.get_or_insert_with(|| u64::try_from(begin.elapsed().as_micros()).unwrap_or(u64::MAX));
        if begin.elapsed() > length {
            break;
        }
        thread::sleep(Duration::from_millis(random.range(PAUSES.0, PAUSES.1)));
    }
    Ok(outcome)
}
