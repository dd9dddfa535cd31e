//! A connection with the times at which it was made: whether an agent was there then decides what it may see.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::clock;

/// After which a request counts as one that hangs for ever.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// When a connection began to be made, and when it was there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    pub(super) connecting: u64,
    pub(super) connected: u64,
}

/// Connects; the times are told of failures as well.
pub(super) fn dial(to: SocketAddr) -> (Times, Result<TcpStream>) {
    let connecting = clock::now();
    let stream = TcpStream::connect_timeout(&to, PATIENCE).context("connecting").and_then(|stream| {
        stream.set_read_timeout(Some(PATIENCE)).context("setting a timeout")?;
        stream.set_write_timeout(Some(PATIENCE)).context("setting a timeout")?;
        stream.set_nodelay(true).context("setting TCP_NODELAY")?;
        Ok(stream)
    });
    (Times { connecting, connected: clock::now() }, stream)
}
