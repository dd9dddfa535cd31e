//! Serves HTTP/1 connections within bounds: so many at once, so long for a head, so long for an answer.
//!
//! Shared by the admin socket and the metrics endpoint. A connection carries one request; whoever wants more opens another.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::body::Body;

/// For a request's head to arrive.
const HEAD_DEADLINE: Duration = Duration::from_secs(5);
/// For a connection in all, unless it follows.
const DEADLINE: Duration = Duration::from_secs(30);
/// For answers under way to be finished at the end.
const GRACE: Duration = Duration::from_secs(1);
/// After a failed accept (no descriptors): neither spin nor give up.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The largest head, and the buffer of a connection.
const BUFFER: usize = 16 * 1024;

/// Something that accepts connections.
pub(crate) trait Listener {
    /// What it accepts.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;
    /// The next connection.
    fn accept(&self) -> impl Future<Output = io::Result<Self::Stream>>;
    /// Writes what fits without waiting.
    fn try_write(stream: &Self::Stream, bytes: &[u8]) -> io::Result<usize>;
}

macro_rules! listener {
    ($listener:ty, $stream:ty) => {
        impl Listener for $listener {
            type Stream = $stream;
            async fn accept(&self) -> io::Result<Self::Stream> {
                <$listener>::accept(self).await.map(|(stream, _)| stream)
            }
            fn try_write(stream: &Self::Stream, bytes: &[u8]) -> io::Result<usize> {
                stream.try_write(bytes)
            }
        }
    };
}

listener!(tokio::net::UnixListener, tokio::net::UnixStream);
listener!(tokio::net::TcpListener, tokio::net::TcpStream);

/// Answers connections until `shutdown` turns true; then finishes those under way, within a moment.
pub(crate) async fn serve<L, A, F>(listener: L, limit: usize, answer: A, mut shutdown: watch::Receiver<bool>)
where
    L: Listener,
    A: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let permits = Arc::new(Semaphore::new(limit));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stopped(&mut shutdown) => break,
            _ = connections.join_next(), if !connections.is_empty() => continue,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok(stream) => stream,
            Err(error) => {
                tracing::debug!(%error, "accepting an admin connection");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        match Arc::clone(&permits).try_acquire_owned() {
            Ok(permit) => {
                let answer = answer.clone();
                connections.spawn(async move {
                    connection(stream, answer).await;
                    drop(permit);
                });
            }
            // Told, if that needs no waiting; whoever does not listen loses nothing.
            Err(_) => drop(L::try_write(&stream, BUSY)),
        }
    }
    drop(listener);
    let finish = async { while connections.join_next().await.is_some() {} };
    if timeout(GRACE, finish).await.is_err() {
        connections.shutdown().await;
    }
}

const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n\
{\"error\":\"too many connections at once\",\"hint\":\"end some of the followers (flows -f) and try again\"}\n";

/// Returns when `shutdown` is true, or nobody is left to turn it so.
pub(super) async fn stopped(shutdown: &mut watch::Receiver<bool>) {
    drop(shutdown.wait_for(|stop| *stop).await);
}

async fn connection<S, A, F>(stream: S, answer: A)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    A: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let follows = Arc::new(AtomicBool::new(false));
    let service = {
        let follows = Arc::clone(&follows);
        service_fn(move |request| {
            let (answer, follows) = (answer(request), Arc::clone(&follows));
            async move {
                let response = answer.await;
                follows.store(response.body().follows(), Ordering::Relaxed);
                Ok::<_, Infallible>(response)
            }
        })
    };
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEAD_DEADLINE).keep_alive(false).max_buf_size(BUFFER);
    let mut served = std::pin::pin!(server.serve_connection(TokioIo::new(stream), service));
    let ended = match timeout(DEADLINE, served.as_mut()).await {
        Ok(ended) => ended,
        Err(_) if follows.load(Ordering::Relaxed) => served.await,
        Err(_) => return,
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "an admin connection ended early");
    }
}
