//! Clients of HTTP/2: streams of several spaces at once on one connection, messages and trailers both ways.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use h2::client::SendRequest;
use http::Request;
use tokio::runtime::Runtime;
use tokio::task::{JoinHandle, LocalSet};

use super::ask::Ask;
use super::socket::{PATIENCE, Times, dial};
use super::{Client, tell};
use crate::clock;
use crate::plan::ROUTE_HEADER;
use crate::told::{Outcome, cause};

/// A connection is kept so long at most.
const AGE: Duration = Duration::from_secs(6);

/// The connection that is kept, and what drives it.
pub(super) struct Http2 {
    runtime: Runtime,
    local: LocalSet,
    kept: Option<Kept>,
}

struct Kept {
    send: SendRequest<Bytes>,
    driver: JoinHandle<()>,
    times: Times,
    since: Instant,
}

impl Http2 {
    pub(super) fn new() -> Result<Http2> {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting a runtime")?;
        Ok(Http2 { runtime, local: LocalSet::new(), kept: None })
    }

    /// Some streams at once.
    pub(super) fn turn(&mut self, client: &mut Client) -> Result<()> {
        let count = client.random.range(1, 5);
        let mut asks: Vec<Ask> = (0..count).map(|_| Ask::new(client)).collect();
        let mut kept = self.kept.take().filter(|kept| kept.since.elapsed() < AGE);
        let family = client.family();
        let to = *client.plan.http2.get(family).context("no address")?;
        let Http2 { runtime, local, kept: keep } = self;
        local.block_on(runtime, async {
            // The server may say that the connection is over before a stream could be opened: nothing of it was sent, and
            // it belongs to the next connection.
            while !asks.is_empty() {
                let connection = match usable(kept.take()).await {
                    Some(connection) => connection,
                    None => match connect(to).await {
                        Ok(connection) => connection,
                        Err((times, error)) => return refused(&asks, times, &error),
                    },
                };
                (*keep, asks) = exchange(connection, asks).await?;
            }
            Ok(())
        })
    }
}

/// There is no connection for these.
fn refused(asks: &[Ask], times: Times, error: &anyhow::Error) -> Result<()> {
    let failed = |ask: &Ask| ask.told(times, clock::now(), Err(anyhow::anyhow!("{}", cause(error))));
    asks.iter().try_for_each(|ask| tell(&failed(ask)))
}

/// All of them at once. What is left of the connection, and those that were not sent.
async fn exchange(kept: Kept, asks: Vec<Ask>) -> Result<(Option<Kept>, Vec<Ask>)> {
    let streams = asks.into_iter().map(|mut ask| {
        ask.begin();
        let (send, times) = (kept.send.clone(), kept.times);
        tokio::task::spawn_local(async move {
            let Ok(send) = send.ready().await else { return Ok(Some(ask)) };
            let mut routed = None;
            let outcome = tokio::time::timeout(PATIENCE, stream(send, &ask, &mut routed)).await;
            let outcome = outcome.unwrap_or_else(|_| Err(anyhow::anyhow!("no answer in time")));
            tell(&ask.told(times, routed.unwrap_or_else(clock::now), outcome)).map(|()| None)
        })
    });
    let streams: Vec<_> = streams.collect();
    let mut unsent = Vec::new();
    for stream in streams {
        unsent.extend(stream.await.context("a stream panicked")??);
    }
    Ok((Some(kept).filter(|_| unsent.is_empty()), unsent))
}

/// The connection, if the server has not said that it is over.
async fn usable(kept: Option<Kept>) -> Option<Kept> {
    let mut kept = kept?;
    // What came while nothing was asked is read first: a GOAWAY above all, as real clients do who read all the time.
    for _ in 0..3 {
        tokio::task::yield_now().await;
    }
    tokio::time::sleep(Duration::from_millis(1)).await;
    match kept.send.clone().ready().await {
        Ok(send) if !kept.driver.is_finished() => {
            kept.send = send;
            Some(kept)
        }
        _ => None,
    }
}

async fn connect(to: std::net::SocketAddr) -> Result<Kept, (Times, anyhow::Error)> {
    let (times, stream) = dial(to);
    let kept = async {
        let stream = stream?;
        stream.set_nonblocking(true).context("making a socket non-blocking")?;
        let stream = tokio::net::TcpStream::from_std(stream).context("registering a socket")?;
        let mut builder = h2::client::Builder::new();
        let (send, connection) = builder.initial_connection_window_size(1 << 20).handshake(stream).await?;
        let driver = tokio::task::spawn_local(async move { connection.await.unwrap_or_default() });
        Ok(Kept { send, driver, times, since: Instant::now() })
    };
    kept.await.map_err(|error| (times, error))
}

/// One stream to its end.
async fn stream(mut send: SendRequest<Bytes>, ask: &Ask, routed: &mut Option<u64>) -> Result<Outcome> {
    let uri = format!("http://{}{}", ask.host(), ask.query.target("/echo"));
    let mut request = Request::builder().method(ask.method()).uri(uri).header("content-type", "application/grpc");
    if let Some(space) = ask.route() {
        request = request.header(ROUTE_HEADER, space);
    }
    let (response, mut body) = send.send_request(request.body(())?, ask.body.is_empty()).context("sending")?;
    let messages = ask.body.chunks((ask.body.len() / 3).max(1));
    let count = messages.len();
    for (number, message) in messages.enumerate() {
        body.send_data(Bytes::copy_from_slice(message), number + 1 == count).context("sending a message")?;
        tokio::task::yield_now().await;
    }
    let (head, mut body) = response.await.context("waiting for an answer")?.into_parts();
    *routed = Some(clock::now());
    // An answer that is all in its head is the interceptor's own.
    ensure!(head.status == 200 && !head.headers.contains_key("grpc-status"), "refused: {:?}", head.headers);
    let mut received = Vec::new();
    while let Some(data) = body.data().await {
        let data = data.context("reading")?;
        body.flow_control().release_capacity(data.len())?;
        received.extend_from_slice(&data);
    }
    let trailers = body.trailers().await.context("reading trailers")?.unwrap_or_default();
    ensure!(trailers.get("grpc-status").is_some_and(|status| status == "0"), "the trailers are lost: {trailers:?}");
    let all = |name: &str| {
        let values = head.headers.get_all(name).into_iter();
        values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect()
    };
    Ok(ask.judge(all, &received))
}
