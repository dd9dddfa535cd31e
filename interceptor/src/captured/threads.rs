//! The requests that are under way into the applications of a workload whose threads are followed (`propagate: thread`),
//! with their spaces.
//!
//! `proxy` adds and removes them on all workers, and finds the one that the kernel names for a call. The hooks know the
//! same requests by number; nothing is decided here.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use foldhash::fast::RandomState;

use crate::metrics::{CallOrigin, ThreadCalls};

type UnderWay = HashMap<u64, Option<Arc<str>>, RandomState>;

/// Requests under way, by number.
#[derive(Debug, Default)]
pub struct Threads {
    followed: AtomicBool,
    /// There once they were followed.
    calls: OnceLock<ThreadCalls>,
    under_way: Mutex<UnderWay>,
}

impl Threads {
    /// Whether the hooks follow the workload's threads.
    pub fn are_followed(&self) -> bool {
        self.followed.load(Ordering::Relaxed)
    }

    /// The hooks follow them from now on; calls count there.
    pub fn follow(&self, calls: impl FnOnce() -> ThreadCalls) {
        self.calls.get_or_init(calls);
        self.followed.store(true, Ordering::Relaxed);
    }

    /// The hooks follow them no more. Requests under way end as they would.
    pub fn leave(&self) {
        self.followed.store(false, Ordering::Relaxed);
    }

    /// Counts a call.
    pub fn count(&self, origin: CallOrigin) {
        self.calls.get().iter().for_each(|calls| calls.count(origin));
    }

    /// A request of that space is about to be given to the application.
    pub fn begin(&self, request: u64, space: Option<Arc<str>>) {
        self.with(|under_way| under_way.insert(request, space));
    }

    /// It is answered, or will not be.
    pub fn end(&self, request: u64) {
        self.with(|under_way| under_way.remove(&request));
    }

    /// The space of a request under way, if it has one; `None` where it is not under way.
    pub fn space(&self, request: u64) -> Option<Option<Arc<str>>> {
        self.with(|under_way| under_way.get(&request).cloned())
    }

    /// Whether any of these is under way; 0 is none.
    pub fn any(&self, requests: &[u64]) -> bool {
        self.with(|under_way| requests.iter().any(|request| *request != 0 && under_way.contains_key(request)))
    }

    fn with<T>(&self, act: impl FnOnce(&mut UnderWay) -> T) -> T {
        // A worker that panicked in between leaves a table that is whole.
        act(&mut self.under_way.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_known_with_its_space_until_it_ends() {
        let threads = Threads::default();
        threads.begin(1, Some(Arc::from("azureuser")));
        threads.begin(2, None);
        assert_eq!(threads.space(1), Some(Some(Arc::from("azureuser"))));
        assert_eq!((threads.space(2), threads.space(3)), (Some(None), None));
        assert!(threads.any(&[0, 3, 2]) && !threads.any(&[0, 3]));
        threads.end(2);
        assert_eq!(threads.space(2), None);
        assert!(!threads.any(&[0, 2]));
    }
}
