//! What the data path and the kernel's hooks say to each other about single connections.
//!
//! `proxy` speaks through this; `bpf` implements it over its maps, tests over nothing. It knows of neither.

use std::io;
use std::os::fd::BorrowedFd;

use interceptor_common::threads::{Call, Request};
use interceptor_common::{Client, ClientKey, Facts, FactsKey, SpliceFlow};

/// What the data path tells the kernel's hooks of connections, and asks them. Implemented by the maps of `bpf`.
pub trait KernelSide {
    /// Says which client is behind the agent's connection to an application. False where there is no room to say it.
    fn set_client(&mut self, key: ClientKey, client: Client) -> bool;
    /// Forgets what [`KernelSide::set_client`] said.
    fn remove_client(&mut self, key: &ClientKey);
    /// Takes what the kernel gathered of an application's socket, if it gathered anything.
    fn take_facts(&mut self, key: &FactsKey) -> Option<Facts>;
    /// Says which request the agent is about to give an application on one of its connections, the number of which
    /// [`KernelSide::set_client`] said. False where there is no room to say it.
    fn begin_request(&mut self, connection: u64, request: Request) -> bool {
        let _ = (connection, request);
        false
    }
    /// Says that a connection has no request any more.
    fn end_request(&mut self, connection: u64) {
        let _ = connection;
    }
    /// What is known of the last call on an application's connection to the agent.
    fn call(&self, key: &FactsKey) -> Option<Call> {
        let _ = key;
        None
    }
    /// Forgets what [`KernelSide::call`] tells, as the connection has ended.
    fn forget_calls(&mut self, key: &FactsKey) {
        let _ = key;
    }
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
