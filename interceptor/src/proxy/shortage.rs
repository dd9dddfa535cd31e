//! What a worker does while the process has no descriptors, or the kernel no memory, left for another socket.
//!
//! A connection needs two sockets, and the second one is made when the first was accepted already. So a connection that was
//! accepted waits for its second one, nothing more is accepted meanwhile, and what was not accepted waits in the kernel.

use std::cell::Cell;
use std::io;
use std::time::Duration;

use tokio::task::yield_now;
use tokio::time::sleep;

/// How long somebody waits before it looks whether there is room again.
const PAUSE: Duration = Duration::from_millis(50);

/// Connections that are accepted one by one after a shortage.
const CAREFUL: u32 = 1000;

/// The shortage of one worker.
#[derive(Debug, Default)]
pub struct Shortage {
    /// Connections that wait for their second socket.
    waiting: Cell<usize>,
    careful: Cell<u32>,
}

/// One that waits.
struct Waiting<'a>(&'a Cell<usize>);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl Shortage {
    /// Whether that is why a socket could not be made.
    pub fn is_behind(error: &io::Error) -> bool {
        matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
    }

    /// Whether a connection that was accepted waits for its second socket.
    pub fn holds_accepting(&self) -> bool {
        self.waiting.get() > 0
    }

    /// Waits a moment before another connection is accepted.
    pub async fn pause(&self) {
        self.careful.set(CAREFUL);
        sleep(PAUSE).await;
    }

    /// Waits a moment for a second socket, while nothing is accepted.
    pub async fn wait(&self) {
        self.waiting.set(self.waiting.get() + 1);
        let _waiting = Waiting(&self.waiting);
        self.pause().await;
    }

    /// After a shortage: lets a connection that was just accepted make its second socket before another one is accepted.
    pub async fn after_accept(&self) {
        let careful = self.careful.get();
        if careful > 0 {
            self.careful.set(careful - 1);
            yield_now().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_is_counted_until_it_does_not_any_more() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let shortage = Shortage::default();
            let mut wait = Box::pin(shortage.wait());
            assert!(!shortage.holds_accepting());
            tokio::select! {
                biased;
                () = &mut wait => panic!("at once"),
                () = yield_now() => {}
            }
            assert!(shortage.holds_accepting());
            // A client that leaves meanwhile.
            drop(wait);
            assert!(!shortage.holds_accepting());
            shortage.wait().await;
            assert!(!shortage.holds_accepting());
        });
    }

    #[test]
    fn only_what_may_be_there_again_soon_is_a_shortage() {
        for (code, expected) in [(libc::EMFILE, true), (libc::ENOBUFS, true), (libc::EACCES, false)] {
            assert_eq!(Shortage::is_behind(&io::Error::from_raw_os_error(code)), expected);
        }
    }
}
