//! The applications that run in pods, as the `pod` program starts them.
//!
//! Small, blocking, one thread per connection: what they do on the wire must be plain to see. None knows anything of
//! the interceptor except that [`http`] copies the route header, which is what the project asks of applications.

pub mod crowd;
pub mod dial;
pub mod http;
pub mod load;
pub mod mixed;
pub mod streams;
pub mod traffic;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use anyhow::{Context as _, Result};

/// Accepts for ever, one thread per connection; what a connection fails with goes to stderr.
pub(crate) fn serve<F>(listen: SocketAddr, handle: F) -> Result<()>
where
    F: Fn(TcpStream, SocketAddr) -> Result<()> + Send + Sync + Clone + 'static,
{
    let listener = TcpListener::bind(listen).with_context(|| format!("listening on {listen}"))?;
    loop {
        let (stream, peer) = listener.accept().context("accepting")?;
        stream.set_nodelay(true).context("setting TCP_NODELAY")?;
        let handle = handle.clone();
        thread::spawn(move || {
            if let Err(error) = handle(stream, peer) {
                #[expect(clippy::print_stderr, reason = "an application's stderr is its log")]
                {
                    eprintln!("connection from {peer}: {error:#}");
                }
            }
        });
    }
}
