//! An application that calls the service for each of its requests and passes on a trace id, but no space.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result};
use interceptor_tests::http::{Connection, Message};

use super::query::Query;
use crate::told;

/// After which a call has failed.
const LIMIT: Duration = Duration::from_secs(15);

/// Answers one connection until it ends. The answer is the called one's, so that the client can judge it.
pub(super) fn answer(stream: TcpStream, name: &str, to: &[SocketAddr]) -> Result<()> {
    let mut connection = Connection::new(stream);
    while let Some(request) = connection.request()? {
        let query = Query::of(request.target());
        let (said, body) = match call(&request, &query, to) {
            Ok(answer) => {
                let kept = answer.headers.iter().filter(|(name, _)| name.starts_with("x-"));
                (kept.map(|(name, value)| format!("{name}: {value}\r\n")).collect(), answer.body)
            }
            Err(error) => (format!("x-failed: {}\r\n", told::cause(&error).replace(['\r', '\n'], " ")), Vec::new()),
        };
        let head = format!("HTTP/1.1 200 OK\r\nx-via: {name}\r\n{said}content-length: {}\r\n\r\n", body.len());
        connection.send(&[head.as_bytes(), &body].concat())?;
        if request.closes() {
            break;
        }
    }
    Ok(())
}

fn call(request: &Message, query: &Query, to: &[SocketAddr]) -> Result<Message> {
    let parity = usize::try_from(query.id % 2).unwrap_or_default();
    let to = to.get(parity).context("there is nobody to call")?;
    let stream = TcpStream::connect_timeout(to, LIMIT).context("connecting")?;
    stream.set_read_timeout(Some(LIMIT)).context("setting a timeout")?;
    let trace = request.first("traceparent").unwrap_or_default();
    let mut connection = Connection::new(stream);
    let head = format!("POST {} HTTP/1.1\r\nHost: echo\r\ntraceparent: {trace}\r\n", query.target("/echo"));
    connection.send(format!("{head}content-length: 0\r\nconnection: close\r\n\r\n").as_bytes()).context("calling")?;
    let answer = connection.response("POST")?;
    anyhow::ensure!(answer.status()? == 200, "status {}", answer.status()?);
    Ok(answer)
}
