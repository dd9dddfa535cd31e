//! What the data path and the kernel's hooks say to each other about single connections.
//!
//! `proxy` speaks through this; `bpf` implements it over its maps, tests over nothing. It knows of neither.

use std::io;
use std::os::fd::BorrowedFd;

use interceptor_common::{ClientKey, Endpoint, Facts, FactsKey, SpliceFlow};

/// What the data path tells the kernel's hooks of connections, and asks them. Implemented by the maps of `bpf`.
pub trait KernelSide {
    /// Says which client is behind the agent's connection to an application. False where there is no room to say it.
    fn set_client(&mut self, key: ClientKey, client: Endpoint) -> bool;
    /// Forgets what [`KernelSide::set_client`] said.
    fn remove_client(&mut self, key: &ClientKey);
    /// Takes what the kernel gathered of an application's socket, if it gathered anything.
    fn take_facts(&mut self, key: &FactsKey) -> Option<Facts>;
    /// From now on the kernel moves what `from` receives to `to`, until it leaves the direction to the agent again (see
    /// [`SpliceFlow`]). Nothing that was read from `from` may be left unwritten, and nobody else may write to `to`.
    ///
    /// # Errors
    /// Where it does not: both sockets are then as they were.
    fn splice(&mut self, from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<u64> {
        let _ = (from, to);
        Err(io::ErrorKind::Unsupported.into())
    }
    /// How far a direction has come that [`KernelSide::splice`] began.
    fn spliced(&self, key: u64) -> Option<SpliceFlow> {
        let _ = key;
        None
    }
    /// Forgets a direction. Its sockets leave the kernel's maps when they are closed.
    fn end_splice(&mut self, key: u64) {
        let _ = key;
    }
}
