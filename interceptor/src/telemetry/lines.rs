//! Takes the log's lines to stderr on a thread of their own, so that nobody else ever waits for whoever reads them.
//!
//! The queue has a bound: where stderr is a pipe that nobody reads, further lines are lost and counted; so are those that a
//! full disk refuses. The log says so itself as soon as it can.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::{self, Builder};
use std::time::{Duration, Instant};

use prometheus_client::metrics::counter::Counter;
use tracing::{Level, Subscriber};
use tracing_subscriber::fmt::MakeWriter;

use super::limit::{LeftOut, Limit};

/// Lines that may wait for being written.
const QUEUE: usize = 1024;

/// Bytes of a line; the rest is cut off. With the queue's length this bounds what waits: 8 MiB.
const MAX_LINE: usize = 8 * 1024;

/// How often the thread looks whether there is something to tell of the log itself.
const LOOK: Duration = Duration::from_secs(1);

/// How often a full queue is tried again by somebody who wants it written to its end.
const AGAIN: Duration = Duration::from_millis(5);

/// The way to the thread that writes.
#[derive(Debug, Clone)]
pub(super) struct Lines {
    queue: SyncSender<Item>,
    lost: Counter,
}

#[derive(Debug)]
enum Item {
    Line(Box<[u8]>),
    /// Everything before it was written.
    Mark(SyncSender<()>),
}

impl Lines {
    /// Writes to this process's stderr.
    ///
    /// # Errors
    /// Where there is no thread, or no descriptor.
    pub(super) fn to_stderr(limit: Arc<Limit>, lost: Counter) -> io::Result<Self> {
        // Past the standard library's lock, which a thread that waits for a reader would hold.
        let stderr = File::from(io::stderr().as_fd().try_clone_to_owned()?);
        Self::to(stderr, limit, lost)
    }

    fn to(out: impl Write + Send + 'static, limit: Arc<Limit>, lost: Counter) -> io::Result<Self> {
        let (queue, items) = sync_channel(QUEUE);
        let writer = Writer { out, limit, lost: lost.clone(), told: 0 };
        Builder::new().name("log".to_owned()).spawn(move || writer.run(&items))?;
        Ok(Self { queue, lost })
    }

    /// Waits until everything so far was written, but not longer than that.
    pub(super) fn flush(&self, limit: Duration) {
        let until = Instant::now() + limit;
        let (written, mark) = sync_channel(1);
        let mut item = Item::Mark(written);
        loop {
            match self.queue.try_send(item) {
                Ok(()) => break,
                Err(TrySendError::Full(back)) if Instant::now() < until => item = back,
                Err(_) => return,
            }
            thread::sleep(AGAIN);
        }
        mark.recv_timeout(until.saturating_duration_since(Instant::now())).ok();
    }

    fn push(&self, line: &[u8]) {
        let line = match line.get(..MAX_LINE) {
            Some(begin) => [begin, &b"...\n"[..]].concat(),
            None => line.to_vec(),
        };
        if self.queue.try_send(Item::Line(line.into())).is_err() {
            self.lost.inc();
        }
    }
}

/// One line on its way; the formatter gives it in one piece.
pub(super) struct Line<'a>(&'a Lines);

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(self)
    }
}

/// A layer only to be found again by whoever wants to flush.
impl<S: Subscriber> tracing_subscriber::Layer<S> for Lines {}

/// The thread that writes.
struct Writer<W> {
    out: W,
    limit: Arc<Limit>,
    lost: Counter,
    /// Of the lost lines so many were told of.
    told: u64,
}

impl<W: Write> Writer<W> {
    fn run(mut self, items: &Receiver<Item>) {
        let mut looked = Instant::now();
        loop {
            match items.recv_timeout(LOOK) {
                Ok(Item::Line(line)) => self.write(&line),
                Ok(Item::Mark(written)) => drop(written.try_send(())),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if looked.elapsed() >= LOOK {
                looked = Instant::now();
                self.tell(looked);
            }
        }
    }

    fn write(&mut self, line: &[u8]) {
        if self.out.write_all(line).is_err() {
            self.lost.inc();
        }
    }

    /// Says what is not in the log. What it says comes back as lines like any other.
    fn tell(&mut self, now: Instant) {
        for LeftOut { count, message, level } in self.limit.left_out(now) {
            match level {
                Level::ERROR => tracing::error!(target: super::OWN, count, message, "more of these were left out"),
                Level::WARN => tracing::warn!(target: super::OWN, count, message, "more of these were left out"),
                _ => tracing::info!(target: super::OWN, count, message, "more of these were left out"),
            }
        }
        let lost = self.lost.get();
        if lost > self.told {
            self.told = lost;
            tracing::warn!(target: super::OWN, lost, "lines of this log were lost since its beginning: nobody read it, or the disk is full");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};

    use super::*;

    fn lines(out: impl Write + Send + 'static) -> Lines {
        let limit = Arc::new(Limit::new(Counter::default()));
        Lines::to(out, limit, Counter::default()).unwrap()
    }

    /// Writes whenever it is told to, and says what it has.
    struct Slow(Receiver<()>, Sender<Vec<u8>>);

    impl Write for Slow {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.0.recv().map_err(io::Error::other)?;
            self.1.send(line.to_vec()).map_err(io::Error::other)?;
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn nobody_waits_for_a_reader_and_what_finds_no_room_is_counted() {
        let ((go_tx, go), (written_tx, written)) = (channel(), channel());
        let lines = lines(Slow(go, written_tx));
        let begin = Instant::now();
        for number in 0..QUEUE + 100 {
            lines.push(format!("{number}\n").as_bytes());
        }
        lines.flush(Duration::from_millis(50));
        assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
        // One is with the writer already.
        let lost = lines.lost.get();
        assert!((98..=100).contains(&lost), "{lost}");
        let kept = QUEUE + 100 - usize::try_from(lost).unwrap();
        (0..kept).for_each(|_| go_tx.send(()).unwrap());
        let all: Vec<String> = written.iter().take(kept).map(|line| String::from_utf8(line).unwrap()).collect();
        assert_eq!(all, (0..kept).map(|number| format!("{number}\n")).collect::<Vec<_>>());
    }

    #[test]
    fn what_a_full_disk_refuses_is_counted_and_the_thread_goes_on() {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let lines = lines(full);
        (0..10).for_each(|_| lines.push(b"line\n"));
        lines.flush(Duration::from_secs(10));
        lines.push(b"line\n");
        lines.flush(Duration::from_secs(10));
        assert_eq!(lines.lost.get(), 11);
    }

    #[test]
    fn long_lines_are_cut_off() {
        let ((go_tx, go), (written_tx, written)) = (channel(), channel());
        let lines = lines(Slow(go, written_tx));
        lines.push(&[b'x'; 2 * MAX_LINE]);
        go_tx.send(()).unwrap();
        let line = written.recv().unwrap();
        assert_eq!((line.len(), line.ends_with(b"x...\n")), (MAX_LINE + 4, true));
    }
}
