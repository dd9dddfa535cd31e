//! One copy of the service, HTTP/2: streams that are answered in several messages and with trailers, as gRPC does it.

use std::net::Ipv6Addr;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::net::{TcpListener, TcpStream};

use super::copy::executed;
use super::query::Query;
use crate::plan::ROUTE_HEADER;
use crate::random::sum;

/// Messages of a response.
const MESSAGES: usize = 3;

/// Accepts for ever.
pub(super) fn serve(port: u16, name: &str) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting a runtime")?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let at = (Ipv6Addr::UNSPECIFIED, port);
        let listener = TcpListener::bind(at).await.with_context(|| format!("listening on port {port}"))?;
        loop {
            let (stream, _) = listener.accept().await.context("accepting")?;
            stream.set_nodelay(true).context("setting TCP_NODELAY")?;
            let name = name.to_owned();
            tokio::task::spawn_local(async move { connection(stream, name).await.ok() });
        }
    })
}

async fn connection(stream: TcpStream, name: String) -> Result<()> {
    let mut connection = h2::server::Builder::new().initial_connection_window_size(1 << 20).handshake(stream).await?;
    while let Some(call) = connection.accept().await {
        let (request, respond) = call?;
        let name = name.clone();
        tokio::task::spawn_local(async move { answer(request, respond, &name).await.ok() });
    }
    Ok(())
}

async fn answer(request: Request<RecvStream>, mut respond: SendResponse<Bytes>, name: &str) -> Result<()> {
    let (head, body) = request.into_parts();
    let query = Query::of(&head.uri.to_string());
    // What breaks off is not executed.
    let Ok(received) = whole(body).await else {
        respond.send_reset(Reason::CANCEL);
        return Ok(());
    };
    executed(query.id)?;
    let mut response = Response::builder()
        .header("content-type", "application/grpc")
        .header("x-copy", name)
        .header("x-id", query.id)
        .header("x-sum", sum(&received));
    for value in head.headers.get_all(ROUTE_HEADER) {
        response = response.header("x-route", value);
    }
    let mut send = respond.send_response(response.body(())?, false)?;
    let body = query.body();
    for message in body.chunks((body.len() / MESSAGES).max(1)) {
        send.send_data(Bytes::copy_from_slice(message), false)?;
        tokio::task::yield_now().await;
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    Ok(send.send_trailers(trailers)?)
}

async fn whole(mut body: RecvStream) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        all.extend_from_slice(&data);
    }
    Ok(all)
}
