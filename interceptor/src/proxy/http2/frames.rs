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

/// Frames without content that a frame of a message to the client explains: gRPC's libraries answer each with two
/// WINDOW_UPDATEs and, to measure bandwidth, a PING.
const PER_SENT: u32 = 4;

/// How many times its size a bucket holds of what was earned.
const EARNED: u32 = 100;

/// Data that a client's window cuts into parts smaller than this costs more than it carries.
const TINY: usize = 64;

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const GOAWAY: u8 = 7;
pub(super) const END_STREAM: u8 = 1;

/// The head of one frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) len: u32,
}

impl Frame {
    /// Whether it carries a part of a message.
    fn is_of_message(self) -> bool {
        match self.kind {
            DATA => self.len > 0 || self.flags & END_STREAM != 0,
            HEADERS => true,
            _ => false,
        }
    }
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
    TinyWindows,
}

impl Excess {
    /// The stable word for records and metrics.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::Resets => "http2_resets",
            Self::ControlFrames => "http2_control_frames",
            Self::TinyWindows => "http2_tiny_windows",
        }
    }

    /// What it was, and which bound it passed.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Resets => "the client reset more streams than proxy.http2.max_resets within ten seconds",
            Self::ControlFrames => "the client sent more frames without content than proxy.http2.max_control_frames",
            Self::TinyWindows => {
                "the client's windows cut its data into more tiny parts than proxy.http2.max_control_frames"
            }
        }
    }
}

/// How much of what costs us more than a client it may still send.
#[derive(Debug)]
pub(super) struct Allowance {
    resets: Bucket,
    control: Bucket,
    tiny: Bucket,
}

impl Allowance {
    pub(super) fn new(bounds: &Http2, now: Instant) -> Self {
        Self {
            resets: Bucket::new(bounds.max_resets, now),
            control: Bucket::new(bounds.max_control_frames, now),
            tiny: Bucket::new(bounds.max_control_frames, now),
        }
    }

    /// Notes a frame of the client's; `now` is asked for only where a clock is needed.
    pub(super) fn frame(&mut self, frame: Frame, now: impl FnOnce() -> Instant) -> Option<Excess> {
        let (bucket, excess) = match frame.kind {
            _ if frame.is_of_message() => {
                self.control.earn(1);
                return None;
            }
            RST_STREAM => (&mut self.resets, Excess::Resets),
            _ => (&mut self.control, Excess::ControlFrames),
        };
        (!bucket.spend(now())).then_some(excess)
    }

    /// Notes a frame that was sent to the client.
    pub(super) fn sent(&mut self, frame: Frame) {
        if frame.is_of_message() {
            self.control.earn(PER_SENT);
        }
    }

    /// Notes that the client's window let only so much of `waiting` bytes through.
    pub(super) fn cut(&mut self, part: usize, waiting: usize, now: impl FnOnce() -> Instant) -> Option<Excess> {
        (part < TINY.min(waiting) && !self.tiny.spend(now())).then_some(Excess::TinyWindows)
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

    /// What is earned adds up: a thousand streams that were answered at once are acknowledged at once.
    fn earn(&mut self, count: u32) {
        self.left = self.left.saturating_add(count).min(self.size.saturating_mul(EARNED));
    }

    /// Takes one; false where there is none.
    fn spend(&mut self, now: Instant) -> bool {
        let each = WINDOW / self.size.max(1);
        let earned = now.duration_since(self.filled).as_nanos() / each.as_nanos().max(1);
        if let Ok(earned @ 1..) = u32::try_from(earned.min(u128::from(self.size))) {
            self.left = self.left.max(self.left.saturating_add(earned).min(self.size));
            // What is left of a full bucket's time counts for nothing; of any other's it does.
            self.filled = if self.left >= self.size { now } else { self.filled + each * earned };
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
    const WINDOW_UPDATE: u8 = 8;

    #[test]
    fn what_costs_more_than_it_brings_is_bounded_and_what_carries_messages_is_not() {
        let now = Instant::now();
        for (kind, excess) in [
            (RST_STREAM, Some(Excess::Resets)),
            (PING, Some(Excess::ControlFrames)),
            (SETTINGS, Some(Excess::ControlFrames)),
            (2, Some(Excess::ControlFrames)),
            (0x42, Some(Excess::ControlFrames)),
            (WINDOW_UPDATE, Some(Excess::ControlFrames)),
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
    fn what_a_client_answers_each_message_with_is_explained() {
        let now = Instant::now();
        let mut allowed = allowance(now);
        // Also where many were sent before the first answer.
        let sent = Frame { kind: DATA, flags: 0, len: 1 };
        (0..2000).for_each(|_| allowed.sent(sent));
        for n in 0..10_000 {
            if n >= 2000 {
                allowed.sent(sent);
            }
            assert_eq!(allowed.frame(Frame { kind: PING, flags: 0, len: 8 }, || now), None);
            assert_eq!(allowed.frame(Frame { kind: WINDOW_UPDATE, flags: 0, len: 4 }, || now), None);
            assert_eq!(allowed.frame(Frame { kind: WINDOW_UPDATE, flags: 0, len: 4 }, || now), None);
        }
    }

    #[test]
    fn windows_that_let_data_through_in_tiny_parts_are_bounded() {
        let now = Instant::now();
        let mut allowed = allowance(now);
        for (part, waiting) in [(64, 1000), (10, 10), (0, 0), (16_384, 100_000)].repeat(1000) {
            assert_eq!(allowed.cut(part, waiting, || now), None, "{part} of {waiting}");
        }
        let cuts = (0..101).map(|_| allowed.cut(1, 1000, || now));
        assert_eq!(cuts.flatten().collect::<Vec<_>>(), [Excess::TinyWindows]);
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
