//! Connections for which there is no place: told so in their own protocol as long as telling is cheap, reset otherwise.
//!
//! Called by `proxy` for what `room` did not admit. Nothing is dialled for them; some at a time are answered, some a second
//! are recorded, all are counted (docs/decisions/0018). Must stay cheaper than a connection that is served.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::classify::{Class, classify};
use super::record::RecordGuard;
use super::respond::Answer;
use super::{Arrival, Context, http1, http2, threads};
use crate::net::side::Side;
use crate::room::Refused;
use crate::route::Direction;

/// Refused connections of one worker that are answered at a time; others are reset. Each takes a descriptor and, once it
/// has spoken, a buffer: 2 MiB in all.
const ANSWERING: usize = 128;

/// How long a refused client may take to show what it speaks. A client of HTTP speaks at once.
const PATIENCE: Duration = Duration::from_secs(1);

/// Records that one worker writes of refused connections, a second: a flood must not push everything else out of the ring.
const RECORDS: u32 = 10;

/// Between two lines in the log.
const SILENCE: Duration = Duration::from_secs(10);

/// What one worker remembers of the connections that it refused.
#[derive(Debug, Default)]
pub struct Refusals {
    answering: Cell<usize>,
    /// Records of the current second, and when it began.
    records: Cell<u32>,
    second: Cell<Option<Instant>>,
    /// Refused since the last record.
    unrecorded: Cell<u64>,
    /// Refused since the last line in the log, and when that was.
    untold: Cell<u64>,
    told: Cell<Option<Instant>>,
}

impl Refusals {
    /// Whether this one is recorded; gives how many before it were not.
    fn record(&self, now: Instant) -> Option<u64> {
        if self.second.get().is_none_or(|begin| now.duration_since(begin) >= Duration::from_secs(1)) {
            self.second.set(Some(now));
            self.records.set(0);
        }
        if self.records.get() >= RECORDS {
            self.unrecorded.set(self.unrecorded.get() + 1);
            return None;
        }
        self.records.set(self.records.get() + 1);
        Some(self.unrecorded.take())
    }

    /// Whether this one is told in the log; gives how many there were since the last time.
    fn tell(&self, now: Instant) -> Option<u64> {
        self.untold.set(self.untold.get() + 1);
        if self.told.get().is_some_and(|told| now.duration_since(told) < SILENCE) {
            return None;
        }
        self.told.set(Some(now));
        Some(self.untold.take())
    }
}

/// One of the connections that are answered at a time.
struct Turn(Rc<Context>);

impl Turn {
    fn take(context: &Rc<Context>) -> Option<Self> {
        let answering = &context.refusals.answering;
        (answering.get() < ANSWERING).then(|| {
            answering.set(answering.get() + 1);
            Self(Rc::clone(context))
        })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.refusals.answering.set(self.0.refusals.answering.get() - 1);
    }
}

/// Ends a connection that was not admitted; gives the task that tells its client, where there is one.
pub(super) fn turn_away(arrival: &Arrival, stream: TcpStream, why: Refused) -> Option<JoinHandle<()>> {
    let Arrival { context, workload, direction, client, original } = arrival;
    let now = Instant::now();
    workload.turned_away.get_or_init(|| context.metrics.refused_connections(&workload.name)).count(why);
    context.metrics.connection_turned_away();
    let answer = Answer::no_place(why, &context.settings, context.room.limits());
    if let Some(refused) = context.refusals.tell(now) {
        tracing::warn!(workload = %workload.name, refused, error = answer.error, "connections find no place");
    }
    let record = context.refusals.record(now).map(|unrecorded| {
        let mut record = RecordGuard::begin(context, workload, *direction, *client, *original, None);
        record.no_place(&answer, unrecorded);
        record
    });
    if record.is_none() {
        context.metrics.connection_refused(*direction, why.as_str());
        if *direction == Direction::Outbound {
            threads::forget(context, workload, threads::outbound_key(context, workload, *original, *client));
        }
    }
    let Some(turn) = Turn::take(context) else {
        // Fails only on a socket that is closed already.
        stream.set_zero_linger().ok();
        return None;
    };
    Some(tokio::task::spawn_local(tell(turn, stream, answer, record)))
}

async fn tell(turn: Turn, stream: TcpStream, answer: Answer, record: Option<RecordGuard>) {
    let context = Rc::clone(&turn.0);
    let mut client = Side::new(stream, &context.buffers);
    let class = timeout(PATIENCE, speaks(&mut client, context.settings.max_head_bytes)).await;
    let words = match class {
        Ok(Class::Http1) => answer.without_record(),
        Ok(Class::Http2) => http2::goodbye(&answer.error),
        // What it would be without us, only later: a connection that the server does not take.
        _ => return client.reset().await,
    };
    http1::say(&mut client, &words).await;
    drop(record);
    http1::linger(client).await;
}

/// What a client speaks, by its first bytes.
async fn speaks(client: &mut Side, limit: usize) -> Class {
    poll_fn(|cx| {
        loop {
            match classify(client.buffer.data(), limit) {
                Class::Unknown if client.buffer.is_full() => return Poll::Ready(Class::Opaque),
                Class::Unknown => {}
                class => return Poll::Ready(class),
            }
            match client.poll_fill(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(1..)) => {}
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Class::Opaque),
            }
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_refusals_a_second_are_recorded_and_the_next_record_counts_the_others() {
        let refusals = Refusals::default();
        let mut now = Instant::now();
        let recorded = (0..1000).filter_map(|_| refusals.record(now)).collect::<Vec<_>>();
        assert_eq!(recorded, [0; RECORDS as usize]);
        now += Duration::from_secs(1);
        assert_eq!(refusals.record(now), Some(990));
        assert_eq!(refusals.record(now), Some(0));
    }

    #[test]
    fn the_log_says_once_in_a_while_how_many_there_were() {
        let refusals = Refusals::default();
        let mut now = Instant::now();
        assert_eq!(refusals.tell(now), Some(1));
        assert_eq!((0..500).filter_map(|_| refusals.tell(now)).count(), 0);
        now += SILENCE;
        assert_eq!(refusals.tell(now), Some(501));
    }
}
