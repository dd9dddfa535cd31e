//! Frames as they pass: their heads only, to see what HTTP/2's library does not tell and to bound what costs us more than
//! it costs a client.
//!
//! Pure; fed by [`Wire`](super::wire::Wire) with every byte that is read. Reads nothing into payloads and refuses nothing
//! itself: what is malformed is the library's affair.

use tokio::time::{Duration, Instant};

use crate::config::Http2;

/// The head of a frame (RFC 9113, section 4.1).
const HEAD: usize = 9;

/// The time over which the bounds of the configuration count.
const WINDOW: Duration = Duration::from_secs(10);

/// Bytes sent to a client that explain one WINDOW_UPDATE of its. One that lets us send byte by byte explains a third of its
/// updates (a frame of one byte has ten).
const BYTES_PER_WINDOW_UPDATE: u32 = 32;

/// Bytes sent to a client that explain one other frame without content.
const BYTES_PER_CONTROL_FRAME: u32 = 1024;

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const END_STREAM: u8 = 1;

/// The head of one frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) len: u32,
}

/// Finds the heads of frames in what one peer sends, however it is cut.
#[derive(Debug, Default)]
pub(super) struct Frames {
    head: [u8; HEAD],
    have: usize,
    /// Bytes until the next head.
    skip: usize,
}

impl Frames {
    /// The first head comes after `preface` bytes.
    pub(super) fn after(preface: usize) -> Self {
        Self { skip: preface, ..Self::default() }
    }

    /// The bytes of the head that is not complete yet, or was completed last.
    pub(super) fn last_head(&self) -> &[u8; HEAD] {
        &self.head
    }

    /// Calls `each` for every head that these bytes complete.
    pub(super) fn feed(&mut self, mut bytes: &[u8], mut each: impl FnMut(Frame)) {
        loop {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = bytes.get(skipped..).unwrap_or_default();
            if bytes.is_empty() {
                return;
            }
            let wanted = HEAD - self.have;
            let taken = wanted.min(bytes.len());
            for (place, byte) in self.head.iter_mut().skip(self.have).zip(bytes) {
                *place = *byte;
            }
            bytes = bytes.get(taken..).unwrap_or_default();
            self.have += taken;
            if self.have < HEAD {
                return;
            }
            let [a, b, c, kind, flags, ..] = self.head;
            let len = u32::from_be_bytes([0, a, b, c]);
            self.have = 0;
            self.skip = len as usize;
            each(Frame { kind, flags, len });
        }
    }
}

/// What a client has done too much of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Excess {
    Resets,
    ControlFrames,
    WindowUpdates,
}

impl Excess {
    /// The stable word for records and metrics.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::Resets => "http2_resets",
            Self::ControlFrames => "http2_control_frames",
            Self::WindowUpdates => "http2_window_updates",
        }
    }

    /// What it was, and which bound it passed.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Resets => "the client reset more streams than proxy.http2.max_resets within ten seconds",
            Self::ControlFrames => "the client sent more frames without content than proxy.http2.max_control_frames",
            Self::WindowUpdates => "the client sent more WINDOW_UPDATE frames than proxy.http2.max_control_frames",
        }
    }
}

/// How much of what costs us more than a client it may still send.
#[derive(Debug)]
pub(super) struct Allowance {
    resets: Bucket,
    control: Bucket,
    windows: Bucket,
}

impl Allowance {
    pub(super) fn new(bounds: &Http2, now: Instant) -> Self {
        Self {
            resets: Bucket::new(bounds.max_resets, now),
            control: Bucket::new(bounds.max_control_frames, now),
            windows: Bucket::new(bounds.max_control_frames, now),
        }
    }

    /// Notes a frame of the client's; `now` is asked for only where a clock is needed.
    pub(super) fn frame(&mut self, frame: Frame, now: impl FnOnce() -> Instant) -> Option<Excess> {
        let (bucket, excess) = match frame.kind {
            DATA if frame.len > 0 || frame.flags & END_STREAM != 0 => return self.message(),
            HEADERS => return self.message(),
            RST_STREAM => (&mut self.resets, Excess::Resets),
            WINDOW_UPDATE => (&mut self.windows, Excess::WindowUpdates),
            _ => (&mut self.control, Excess::ControlFrames),
        };
        (!bucket.spend(now())).then_some(excess)
    }

    fn message(&mut self) -> Option<Excess> {
        self.control.earn(1);
        None
    }

    /// Notes bytes that were sent to the client in one go.
    pub(super) fn sent(&mut self, count: usize) {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.control.earn(1 + count / BYTES_PER_CONTROL_FRAME);
        self.windows.earn(count.div_ceil(BYTES_PER_WINDOW_UPDATE));
    }
}

/// Fills up within [`WINDOW`].
#[derive(Debug)]
struct Bucket {
    size: u32,
    left: u32,
    filled: Instant,
}

impl Bucket {
    fn new(size: u32, now: Instant) -> Self {
        Self { size, left: size, filled: now }
    }

    fn earn(&mut self, count: u32) {
        self.left = self.left.saturating_add(count).min(self.size);
    }

    /// Takes one; false where there is none.
    fn spend(&mut self, now: Instant) -> bool {
        let each = WINDOW / self.size.max(1);
        let earned = now.duration_since(self.filled).as_nanos() / each.as_nanos().max(1);
        if let Ok(earned @ 1..) = u32::try_from(earned.min(u128::from(self.size))) {
            self.earn(earned);
            // What is left of a full bucket's time counts for nothing; of any other's it does.
            self.filled = if self.left == self.size { now } else { self.filled + each * earned };
        }
        match self.left.checked_sub(1) {
            Some(left) => self.left = left,
            None => return false,
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let [_, a, b, c] = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut bytes = vec![a, b, c, kind, flags, 0, 0, 0, 1];
        bytes.extend_from_slice(payload);
        bytes
    }

    #[test]
    fn heads_are_found_at_every_split() {
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        bytes.extend(frame(SETTINGS, 0, &[]));
        bytes.extend(frame(HEADERS, 4, &[7; 20]));
        bytes.extend(frame(DATA, END_STREAM, &[1; 300]));
        let expected = [(SETTINGS, 0, 0), (HEADERS, 4, 20), (DATA, 1, 300)];
        for cut in 0..=bytes.len() {
            let mut frames = Frames::after(24);
            let mut found = Vec::new();
            for part in [&bytes[..cut], &bytes[cut..]] {
                frames.feed(part, |frame| found.push((frame.kind, frame.flags, frame.len)));
            }
            assert_eq!(found, expected, "cut at {cut}");
        }
    }

    fn allowance(now: Instant) -> Allowance {
        Allowance::new(&Http2 { max_resets: 100, max_control_frames: 100, ..Http2::default() }, now)
    }

    const PING: u8 = 6;

    #[test]
    fn what_costs_more_than_it_brings_is_bounded_and_what_carries_messages_is_not() {
        let now = Instant::now();
        for (kind, excess) in [
            (RST_STREAM, Some(Excess::Resets)),
            (PING, Some(Excess::ControlFrames)),
            (SETTINGS, Some(Excess::ControlFrames)),
            (2, Some(Excess::ControlFrames)),
            (0x42, Some(Excess::ControlFrames)),
            (WINDOW_UPDATE, Some(Excess::WindowUpdates)),
            (DATA, Some(Excess::ControlFrames)),
            (HEADERS, None),
        ] {
            let mut allowed = allowance(now);
            let empty = Frame { kind, flags: 0, len: 0 };
            for _ in 0..100 {
                assert_eq!(allowed.frame(empty, || now), None, "{kind}");
            }
            assert_eq!(allowed.frame(empty, || now), excess, "{kind}");
        }
        let mut allowed = allowance(now);
        for _ in 0..10_000 {
            assert_eq!(allowed.frame(Frame { kind: DATA, flags: 0, len: 1 }, || now), None);
            assert_eq!(allowed.frame(Frame { kind: DATA, flags: END_STREAM, len: 0 }, || now), None);
        }
    }

    #[test]
    fn a_ping_for_each_message_is_explained_and_a_window_update_for_each_byte_is_not() {
        let now = Instant::now();
        let mut allowed = allowance(now);
        for _ in 0..10_000 {
            allowed.sent(100);
            assert_eq!(allowed.frame(Frame { kind: PING, flags: 0, len: 8 }, || now), None);
            assert_eq!(allowed.frame(Frame { kind: WINDOW_UPDATE, flags: 0, len: 4 }, || now), None);
            assert_eq!(allowed.frame(Frame { kind: WINDOW_UPDATE, flags: 0, len: 4 }, || now), None);
        }
        let mut dribbled = (0..10_000).map(|_| {
            for _ in 0..4 {
                if let Some(excess) = allowed.frame(Frame { kind: WINDOW_UPDATE, flags: 0, len: 4 }, || now) {
                    return Some(excess);
                }
            }
            allowed.sent(40);
            None
        });
        assert_eq!(dribbled.find_map(|excess| excess), Some(Excess::WindowUpdates));
    }

    #[test]
    fn an_allowance_comes_back_with_time() {
        let mut now = Instant::now();
        let mut allowed = allowance(now);
        let reset = Frame { kind: RST_STREAM, flags: 0, len: 4 };
        for _ in 0..100 {
            assert_eq!(allowed.frame(reset, || now), None);
        }
        for _ in 0..1000 {
            assert_eq!(allowed.frame(reset, || now), Some(Excess::Resets));
            now += Duration::from_millis(100);
            assert_eq!(allowed.frame(reset, || now), None, "ten a second");
        }
    }
}
