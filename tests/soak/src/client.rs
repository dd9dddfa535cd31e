//! The clients of one place: a thread each, at a gentle pace, until they are killed or their time is over.
//!
//! They behave as common ones do: they keep a connection as long as its server lets them, believe `connection: close` and
//! GOAWAY, check every byte, and never try again.

mod ask;
mod http1;
mod http2;
mod socket;
mod streams;
mod websocket;

use std::io::Write as _;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

use crate::plan::{Kind, Plan};
use crate::random::Random;
use crate::told::Told;

/// What one client has.
struct Client {
    plan: Arc<Plan>,
    kind: Kind,
    random: Random,
    next: u64,
}

impl Client {
    /// An id that no other request has.
    fn id(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// The space of the next request.
    fn space(&mut self) -> Option<String> {
        self.random.pick(&self.plan.spaces).cloned().flatten()
    }

    /// The index of the family of the next connection.
    fn family(&mut self) -> usize {
        self.random.length(0, 2)
    }
}

/// What a client does again and again.
type Turn = dyn FnMut(&mut Client) -> Result<()>;

/// Goes through with a plan.
pub(crate) fn run(plan: Plan) -> Result<()> {
    let plan = Arc::new(plan);
    let end = plan.seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let all = plan.clients.iter().flat_map(|(kind, count)| (0..*count).map(|_| *kind));
    let threads = (0_u64..).zip(all).map(|(number, kind)| {
        let plan = Arc::clone(&plan);
        let next = (plan.number << 44) | (number << 36);
        let random = Random::new(plan.seed ^ next);
        thread::spawn(move || one(Client { plan, kind, random, next }, end))
    });
    let threads: Vec<_> = threads.collect();
    for thread in threads {
        thread.join().map_err(|_| anyhow!("a client panicked"))??;
    }
    Ok(())
}

fn one(mut client: Client, end: Option<Instant>) -> Result<()> {
    let mut turn: Box<Turn> = match client.kind {
        Kind::Http2 => {
            let mut http2 = http2::Http2::new()?;
            Box::new(move |client| http2.turn(client))
        }
        Kind::WebSocket | Kind::WebSocketLong => Box::new(websocket::turn),
        Kind::Tcp | Kind::Raw | Kind::RawLong => Box::new(streams::turn),
        _ => {
            let mut http1 = http1::Http1::default();
            Box::new(move |client| http1.turn(client))
        }
    };
    while end.is_none_or(|end| Instant::now() < end) {
        turn(&mut client)?;
        let (low, high) = match client.kind {
            Kind::KeepAlive | Kind::Fresh => (20, 100),
            Kind::Large => (300, 900),
            _ => (80, 240),
        };
        thread::sleep(Duration::from_millis(client.random.range(low, high)));
    }
    Ok(())
}

/// A line for the driver.
fn tell(told: &Told) -> Result<()> {
    let mut line = serde_json::to_vec(told)?;
    line.push(b'\n');
    Ok(std::io::stdout().write_all(&line)?)
}
