//! Kernel splice: what the verdict program keeps of one direction of a connection, and its decisions, pure.
//!
//! `interceptor-ebpf` calls these for every segment that a socket of the agent's receives, under that socket's lock; unit
//! tests call them with plain values. No map, context or helper may appear here. The agent makes a flow and only reads it
//! afterwards. See docs/decisions/0005-kernel-splice.md for why each rule is there.

/// What may wait for a slow receiver beyond its own send buffer, bytes with [`OVERHEAD`]. Above it the agent takes over,
/// which slows the sender down as TCP does.
pub const LIMIT: u64 = 4 * 1024 * 1024;

/// What the kernel spends on a segment beside its bytes, roughly: a flood of tiny ones must not be counted by bytes.
pub const OVERHEAD: u64 = 1024;

/// How much is handed on between two looks at the receiver.
const LOOK_EVERY: u64 = 128 * 1024;

/// How far a direction has come, as numbers because every bit pattern must be valid in a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpliceState {
    /// No segment has been seen.
    New,
    /// Segments go to the other socket inside the kernel.
    Running,
    /// From now on segments go to the agent: the receiver is too slow, or gone.
    Left,
    /// The order of bytes cannot be vouched for: the agent must break the connection.
    Broken,
}

/// One direction of a spliced connection. Key: the cookie of the socket that receives.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpliceFlow {
    /// Bytes that were handed to the other socket.
    pub redirected: u64,
    /// The same with [`OVERHEAD`] per segment.
    pub cost: u64,
    /// `redirected` at the last mark: when this much has been sent, `mark_cost` is settled.
    pub mark: u64,
    /// `cost` at the last mark.
    pub mark_cost: u64,
    /// The cost of what is known to have been sent.
    pub settled: u64,
    /// Bytes that came twice and were taken out.
    pub trimmed: u64,
    /// See [`SpliceFlow::state`].
    pub state: u32,
    /// The sequence number of the next byte that was not seen.
    pub next_seq: u32,
    /// The other socket's `write_seq` before the first byte was handed to it.
    pub write_base: u32,
    /// Explicit padding.
    pub pad: u32,
}

/// What is to be done with a segment before anything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// It begins where the last one ended, after this many bytes that came before (0 as a rule).
    After(u32),
    /// It does not follow what was seen, or holds nothing new.
    Lost,
}

impl SpliceFlow {
    /// How far the direction has come.
    #[inline(always)]
    pub const fn state(&self) -> SpliceState {
        match self.state {
            0 => SpliceState::New,
            1 => SpliceState::Running,
            2 => SpliceState::Left,
            _ => SpliceState::Broken,
        }
    }

    /// The first segment: the sequence number that it should have, and the other socket's `write_seq`.
    #[inline(always)]
    pub const fn begin(&mut self, copied_seq: u32, write_seq: u32) {
        self.next_seq = copied_seq;
        self.write_base = write_seq;
        self.state = 1;
    }

    /// From now on segments go to the agent.
    #[inline(always)]
    pub const fn leave(&mut self) {
        self.state = 2;
    }

    /// The order of bytes cannot be vouched for.
    #[inline(always)]
    pub const fn break_off(&mut self) {
        self.state = 3;
    }

    /// Puts a segment of `len` bytes (not 0) into order. The kernel hands segments over as they came: after a
    /// retransmission one may begin with bytes that the segment before it held already.
    #[inline(always)]
    pub const fn order(&mut self, seq: u32, len: u32) -> Order {
        let old = self.next_seq.wrapping_sub(seq);
        if old >= len {
            return Order::Lost;
        }
        self.next_seq = seq.wrapping_add(len);
        self.trimmed += old as u64;
        Order::After(old)
    }

    /// Whether it is time to look at the receiver again.
    #[inline(always)]
    pub const fn wants_look(&self) -> bool {
        self.cost - self.mark_cost >= LOOK_EVERY
    }

    /// Takes in how far the other socket has come. False: what waits for it exceeds [`LIMIT`].
    ///
    /// What waits is known in bytes; what it costs is bounded by marks: all up to a mark is settled once that many bytes
    /// were sent, so at most two marks' worth is counted too much.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "wraps as sequence numbers do")]
    pub const fn look(&mut self, write_seq: u32) -> bool {
        let sent = write_seq.wrapping_sub(self.write_base);
        // What waits is far below the 4 GiB at which both wrap.
        let waiting = (self.redirected as u32).wrapping_sub(sent) as u64;
        if self.redirected.saturating_sub(waiting) >= self.mark {
            self.settled = self.mark_cost;
            self.mark = self.redirected;
            self.mark_cost = self.cost;
            if waiting == 0 {
                self.settled = self.cost;
            }
        }
        self.cost - self.settled <= LIMIT
    }

    /// A segment of that many bytes was handed to the other socket.
    #[inline(always)]
    pub const fn add(&mut self, len: u32) {
        self.redirected += len as u64;
        self.cost += len as u64 + OVERHEAD;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow() -> SpliceFlow {
        let mut flow = SpliceFlow::default();
        assert_eq!(flow.state(), SpliceState::New);
        flow.begin(u32::MAX - 499, u32::MAX - 9);
        assert_eq!(flow.state(), SpliceState::Running);
        flow
    }

    #[test]
    fn segments_in_order_pass_whole_also_where_the_numbers_wrap() {
        let mut flow = flow();
        for seq in [u32::MAX - 499, 500, 1500] {
            assert_eq!(flow.order(seq, 1000), Order::After(0), "{seq}");
        }
        assert_eq!((flow.trimmed, flow.next_seq), (0, 2500));
    }

    #[test]
    fn bytes_that_came_before_are_told_apart() {
        let mut flow = flow();
        flow.begin(1000, 0);
        assert_eq!(flow.order(1000, 1000), Order::After(0));
        assert_eq!(flow.order(1500, 1000), Order::After(500));
        assert_eq!(flow.order(1000, 1501), Order::After(1500), "one new byte at its end");
        assert_eq!((flow.trimmed, flow.next_seq), (2000, 2501));
    }

    #[test]
    fn a_segment_that_does_not_follow_or_holds_nothing_new_breaks_the_order() {
        for seq in [1001, 0, 500, 0x8000_0000] {
            let mut flow = SpliceFlow::default();
            flow.begin(1000, 0);
            assert_eq!(flow.order(seq, 500), Order::Lost, "{seq}");
            assert_eq!(flow.next_seq, 1000);
        }
    }

    /// Hands over `count` segments to a receiver that is `behind` bytes behind at every look.
    #[expect(clippy::cast_possible_truncation, reason = "wraps as sequence numbers do")]
    fn run(flow: &mut SpliceFlow, count: u64, len: u32, behind: u64) -> bool {
        for _ in 0..count {
            let sent = flow.redirected.saturating_sub(behind);
            if flow.wants_look() && !flow.look(flow.write_base.wrapping_add(sent as u32)) {
                return false;
            }
            flow.add(len);
        }
        true
    }

    #[test]
    fn a_receiver_that_keeps_up_is_never_left() {
        // Beyond 4 GiB, where the sequence numbers have wrapped.
        assert!(run(&mut flow(), 100_000, 65_536, 0));
        assert!(run(&mut flow(), 100_000, 65_536, 1 << 20));
        assert!(run(&mut flow(), 100_000, 64, 0));
    }

    #[test]
    fn a_receiver_that_stands_still_is_left_at_the_limit() {
        let mut flow = flow();
        assert!(!run(&mut flow, 100_000, 65_536, u64::MAX));
        assert!(flow.redirected <= LIMIT + LOOK_EVERY + 65_536, "{}", flow.redirected);
    }

    #[test]
    fn a_flood_of_tiny_segments_is_counted_by_what_it_costs() {
        let mut flow = flow();
        assert!(!run(&mut flow, 100_000, 1, u64::MAX));
        assert!(flow.redirected < LIMIT / OVERHEAD + 200, "{} segments", flow.redirected);
    }

    #[test]
    fn a_receiver_that_caught_up_starts_anew() {
        let mut flow = flow();
        assert!(run(&mut flow, 50, 65_536, u64::MAX));
        assert!(run(&mut flow, 1000, 65_536, 0));
    }
}
