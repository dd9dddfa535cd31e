//! How often one kind of message is logged: what fails ten thousand times is told of a few times, and then counted.
//!
//! A kind is a place in the code. Called for each event that the filter lets through, before it is formatted; `lines` asks
//! what was left out. Debug messages are not bounded: who asks for them wants them all.

use std::collections::HashMap;
use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::metrics::counter::Counter;
use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::Context;

/// Lines of one kind that are written within [`WINDOW`].
const MOST: u32 = 20;

/// From the first line of a kind on.
const WINDOW: Duration = Duration::from_secs(10);

/// Targets that are not bounded: the log's own, and that of the hooks, one place for all that they say if asked to.
const UNBOUNDED: [&str; 2] = [super::OWN, "ebpf"];

/// Bytes of a message by which what was left out is recognised.
const MAX_TEXT: usize = 160;

/// Counts each kind.
#[derive(Debug)]
pub(super) struct Limit {
    // There are as many as there are places in the code.
    kinds: Mutex<HashMap<Identifier, Kind>>,
    left_out: Counter,
}

#[derive(Debug)]
struct Kind {
    since: Instant,
    lines: u32,
    /// Not told of yet.
    left_out: u64,
    /// Of windows that are over.
    due: u64,
    message: String,
    level: Level,
}

/// So many messages of a kind were left out.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LeftOut {
    pub(super) count: u64,
    pub(super) message: String,
    pub(super) level: Level,
}

/// Asks the limit for each event.
#[derive(Debug)]
pub(super) struct Layer(Arc<Limit>);

impl Layer {
    pub(super) fn new(limit: Arc<Limit>) -> Self {
        Self(limit)
    }
}

impl<S: Subscriber> tracing_subscriber::Layer<S> for Layer {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        self.0.admits(event, Instant::now())
    }
}

impl Limit {
    pub(super) fn new(left_out: Counter) -> Self {
        Self { kinds: Mutex::default(), left_out }
    }

    fn admits(&self, event: &Event<'_>, now: Instant) -> bool {
        let metadata: &Metadata<'_> = event.metadata();
        if *metadata.level() > Level::INFO || UNBOUNDED.contains(&metadata.target()) {
            return true;
        }
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Kind::new(now, *metadata.level());
        let kind = kinds.entry(metadata.callsite()).or_insert_with(new);
        kind.turn(now);
        kind.lines = kind.lines.saturating_add(1);
        if kind.lines <= MOST {
            return true;
        }
        if kind.left_out == 0 {
            kind.message.clear();
            event.record(&mut Message(&mut kind.message));
        }
        kind.left_out += 1;
        self.left_out.inc();
        false
    }

    /// What was left out in windows that are over by `now`, each told once.
    pub(super) fn left_out(&self, now: Instant) -> Vec<LeftOut> {
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        let told = kinds.values_mut().filter_map(|kind| {
            kind.turn(now);
            let count = std::mem::take(&mut kind.due);
            (count > 0).then(|| LeftOut { count, message: kind.message.clone(), level: kind.level })
        });
        told.collect()
    }
}

impl Kind {
    fn new(since: Instant, level: Level) -> Self {
        Self { since, lines: 0, left_out: 0, due: 0, message: String::new(), level }
    }

    /// Begins another window where the last one is over.
    fn turn(&mut self, now: Instant) {
        if now.saturating_duration_since(self.since) >= WINDOW {
            self.due += std::mem::take(&mut self.left_out);
            (self.since, self.lines) = (now, 0);
        }
    }
}

/// Takes an event's message.
struct Message<'a>(&'a mut String);

impl Visit for Message<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            // Writing to a String cannot fail.
            write!(self.0, "{value:?}").ok();
            let end = (0..=MAX_TEXT).rev().find(|end| self.0.is_char_boundary(*end));
            self.0.truncate(end.unwrap_or_default());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    /// Counts what arrives behind the limit.
    #[derive(Clone, Default)]
    struct Arrived(Arc<AtomicU64>);

    impl<S: Subscriber> tracing_subscriber::Layer<S> for Arrived {
        fn on_event(&self, _: &Event<'_>, _: Context<'_, S>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn limited(work: impl FnOnce()) -> (u64, Arc<Limit>) {
        let (limit, arrived) = (Arc::new(Limit::new(Counter::default())), Arrived::default());
        let layers = tracing_subscriber::registry().with(arrived.clone()).with(Layer::new(Arc::clone(&limit)));
        tracing::subscriber::with_default(layers, work);
        (arrived.0.load(Ordering::Relaxed), limit)
    }

    #[test]
    fn a_flood_of_one_kind_is_cut_down_and_told_of_once_and_another_kind_is_not() {
        let (arrived, limit) = limited(|| {
            (0..10_000).for_each(|number| tracing::warn!(number, "the disk is on fire {number}"));
            tracing::warn!("another one");
        });
        assert_eq!(arrived, u64::from(MOST) + 1);
        assert_eq!(limit.left_out.get(), 9_980);
        assert_eq!(limit.left_out(Instant::now()), []);
        let message = format!("the disk is on fire {MOST}");
        let expected = LeftOut { count: 9_980, message, level: Level::WARN };
        assert_eq!(limit.left_out(Instant::now() + WINDOW), [expected]);
        assert_eq!(limit.left_out(Instant::now() + 2 * WINDOW), []);
    }

    #[test]
    fn what_was_asked_for_and_what_is_bounded_by_itself_is_not_cut_down() {
        let (arrived, _) = limited(|| {
            (0..100).for_each(|_| tracing::debug!("asked for"));
            (0..100).for_each(|_| tracing::info!(target: "ebpf", "a hook"));
        });
        assert_eq!(arrived, 200);
    }

    #[test]
    fn a_kind_has_its_lines_again_in_the_next_window() {
        let (begin, mut kind) = (Instant::now(), Kind::new(Instant::now(), Level::INFO));
        (kind.lines, kind.left_out) = (MOST + 5, 5);
        kind.turn(begin + WINDOW / 2);
        assert_eq!((kind.lines, kind.due), (MOST + 5, 0));
        kind.turn(begin + 2 * WINDOW);
        assert_eq!((kind.lines, kind.left_out, kind.due), (0, 0, 5));
    }

    #[test]
    fn long_messages_are_cut_at_a_character() {
        let (_, limit) = limited(|| {
            let long = "ä".repeat(MAX_TEXT);
            (0..=MOST).for_each(|_| tracing::error!("x{long}"));
        });
        let told = limit.left_out(Instant::now() + WINDOW);
        assert_eq!(told.first().map(|told| told.message.len()), Some(MAX_TEXT - 1));
    }
}
