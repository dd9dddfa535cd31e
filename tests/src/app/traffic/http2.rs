//! HTTP/2 of `pod traffic`: several streams at once on one connection, messages and trailers both ways, as gRPC has them.
//!
//! A stream that could not be opened any more, because the server has said that the connection is over, belongs to the next
//! connection: nothing of it was sent. Everything else that fails is told.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::runtime::Runtime;
use tokio::task::LocalSet;

use super::PATIENCE;

/// What a connection of HTTP/2 begins with.
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2";
/// Streams at a time, and messages of each.
const STREAMS: usize = 3;
const MESSAGES: usize = 4;

/// Answers one connection until it ends: each message comes back, then trailers.
pub(super) fn answer(stream: TcpStream) -> Result<()> {
    let (runtime, local) = (runtime()?, LocalSet::new());
    local.block_on(&runtime, async {
        stream.set_nonblocking(true)?;
        let mut connection = h2::server::handshake(tokio::net::TcpStream::from_std(stream)?).await?;
        while let Some(call) = connection.accept().await {
            let (request, mut respond) = call?;
            tokio::task::spawn_local(async move {
                let mut body = request.into_body();
                let mut send = respond.send_response(Response::new(()), false)?;
                while let Some(message) = body.data().await {
                    let message = message?;
                    body.flow_control().release_capacity(message.len())?;
                    send.send_data(message, false)?;
                }
                let mut trailers = HeaderMap::new();
                trailers.insert("grpc-status", HeaderValue::from_static("0"));
                send.send_trailers(trailers)
            });
        }
        Ok(())
    })
}

/// A client's connection, kept until the server says that it is over.
pub(super) struct Client {
    runtime: Runtime,
    local: LocalSet,
    kept: Option<SendRequest<Bytes>>,
}

impl Client {
    pub(super) fn new() -> io::Result<Client> {
        Ok(Client { runtime: runtime()?, local: LocalSet::new(), kept: None })
    }

    /// Streams at once, all of which must be answered in every byte.
    pub(super) fn once(&mut self, to: SocketAddr, id: &str) -> io::Result<()> {
        let Client { runtime, local, kept } = self;
        local.block_on(runtime, async {
            let mut names: Vec<String> = (0..STREAMS).map(|number| format!("/h2/{id}/{number}")).collect();
            while !names.is_empty() {
                // What came meanwhile is read before anything is sent, as clients do that read all the time.
                tokio::time::sleep(Duration::from_millis(1)).await;
                let send = match kept.take() {
                    Some(send) => send,
                    None => connect(to).await?,
                };
                let streams = std::mem::take(&mut names).into_iter().map(|name| {
                    let send = send.clone();
                    tokio::task::spawn_local(async move {
                        let Ok(send) = send.ready().await else { return Ok(Some(name)) };
                        in_time(stream(send, &name)).await.map(|()| None)
                    })
                });
                let streams: Vec<_> = streams.collect();
                for stream in streams {
                    names.extend(stream.await.map_err(io::Error::other)??);
                }
                *kept = Some(send).filter(|_| names.is_empty());
            }
            Ok(())
        })
    }
}

async fn connect(to: SocketAddr) -> io::Result<SendRequest<Bytes>> {
    let stream = in_time(tokio::net::TcpStream::connect(to)).await?;
    stream.set_nodelay(true)?;
    let (send, connection) = h2::client::handshake(stream).await.map_err(error)?;
    tokio::task::spawn_local(async move { connection.await.unwrap_or_default() });
    Ok(send)
}

async fn stream(mut send: SendRequest<Bytes>, name: &str) -> io::Result<()> {
    let request = Request::post(format!("http://peer{name}")).body(()).map_err(io::Error::other)?;
    let (response, mut body) = send.send_request(request, false).map_err(error)?;
    for number in 0..MESSAGES {
        body.send_data(Bytes::from(name.to_owned()), number + 1 == MESSAGES).map_err(error)?;
        tokio::task::yield_now().await;
    }
    let response = response.await.map_err(error)?;
    if response.status() != 200 {
        return Err(io::Error::other(response.status().to_string()));
    }
    let (mut body, mut all) = (response.into_body(), Vec::new());
    while let Some(data) = body.data().await {
        let data = data.map_err(error)?;
        body.flow_control().release_capacity(data.len()).map_err(error)?;
        all.extend_from_slice(&data);
    }
    let trailers = body.trailers().await.map_err(error)?.unwrap_or_default();
    if trailers.get("grpc-status").is_none_or(|status| status != "0") {
        return Err(io::Error::other("the trailers are lost"));
    }
    if all != name.repeat(MESSAGES).as_bytes() {
        return Err(io::Error::other("wrong bytes"));
    }
    Ok(())
}

async fn in_time<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// The socket's own error where there is one.
fn error(error: h2::Error) -> io::Error {
    match error.get_io().map(io::Error::kind) {
        Some(kind) => kind.into(),
        None => io::Error::other(error),
    }
}

fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}
