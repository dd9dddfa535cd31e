//! How a machine ended, judged by the lines on its serial line. Pure: `machine` feeds it.

use std::fmt;

/// What process 1 says last (tests/src/bin/vm_init.rs).
const MARKER: &str = "vm-init: result: ";

/// What a kernel says when nothing good can come any more (kernel/panic.c, kernel/watchdog.c, kernel/rcu/tree_stall.h,
/// kernel/hung_task.c, lib/dump_stack.c).
const FATAL: [&str; 8] = [
    "Kernel panic",
    "BUG: ",
    "Oops: ",
    "general protection fault",
    "double fault",
    "soft lockup",
    "detected stalls",
    "blocked for more than",
];

/// How a machine ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Every command succeeded.
    Success,
    /// One did not.
    Failure,
    /// The kernel gave up, with its words.
    Crash(String),
    /// It was turned off, or turned itself off, without a word.
    NoResult,
    /// It was stopped: nothing came for so many seconds.
    Silence(u64),
    /// It was stopped after so many seconds.
    TooLong(u64),
}

impl Verdict {
    /// What one line says of the whole; `None`: nothing yet.
    pub(super) fn of(line: &str) -> Option<Self> {
        if let Some(at) = line.find(MARKER) {
            let word = line.get(at + MARKER.len()..).unwrap_or_default().trim();
            return Some(if word == "success" { Self::Success } else { Self::Failure });
        }
        // The kernel's lines begin with the time; what a test prints does not speak for the kernel.
        let kernels = line.trim_start().starts_with('[');
        (kernels && FATAL.iter().any(|fatal| line.contains(fatal))).then(|| Self::Crash(line.trim().to_owned()))
    }

    /// Whether every test passed.
    pub(super) fn is_success(&self) -> bool {
        *self == Self::Success
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Success => f.write_str("ok     "),
            Self::Failure => f.write_str("FAILED "),
            Self::Crash(line) => write!(f, "CRASHED ({line})"),
            Self::NoResult => f.write_str("ENDED without a result"),
            Self::Silence(seconds) => write!(f, "HANGS (nothing came for {seconds} s)"),
            Self::TooLong(seconds) => write!(f, "STOPPED after {seconds} s"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Verdict;

    #[test]
    fn only_process_1_can_say_that_it_went_well() {
        assert_eq!(Verdict::of("vm-init: result: success\r"), Some(Verdict::Success));
        assert_eq!(Verdict::of("vm-init: result: failure"), Some(Verdict::Failure));
        assert_eq!(Verdict::of("vm-init: result: "), Some(Verdict::Failure));
        assert_eq!(Verdict::of("test result: ok. 3 passed"), None);
        // The console may still hold the end of another line.
        assert_eq!(Verdict::of("okvm-init: result: success"), Some(Verdict::Success));
    }

    #[test]
    fn a_crash_is_the_kernels_word_and_not_a_tests() {
        let crash = "[    3.1] Kernel panic - not syncing: Attempted to kill init!";
        assert_eq!(Verdict::of(crash), Some(Verdict::Crash(crash.to_owned())));
        assert_eq!(Verdict::of("test a_Kernel panic ... ok"), None);
        assert_eq!(Verdict::of("[    2.7] reboot: Power down"), None);
    }
}
