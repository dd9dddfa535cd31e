//! One copy of the service, HTTP/1: says who it is, what it was asked and what it got, and sends the bytes asked for.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use interceptor_tests::http::{Connection, Message};

use super::query::Query;
use crate::plan::ROUTE_HEADER;
use crate::random::sum;

/// Pieces of a response that comes in chunks or slowly.
const PIECES: usize = 10;

/// Answers one connection until it ends.
pub(super) fn answer(stream: TcpStream, name: &str) -> Result<()> {
    let mut connection = Connection::new(stream);
    while let Some(request) = connection.request()? {
        let query = Query::of(request.target());
        if request.method() == "POST" {
            executed(query.id)?;
        }
        if request.first("upgrade") == Some("websocket") {
            return upgrade(connection, name, &request, &query);
        }
        let body = query.body();
        let framing = match query.chunked {
            true => "transfer-encoding: chunked".to_owned(),
            false => format!("content-length: {}", body.len()),
        };
        connection.send(format!("HTTP/1.1 200 OK\r\n{}{framing}\r\n\r\n", said(name, &request, &query)).as_bytes())?;
        let pause = Duration::from_millis(query.slow / u64::try_from(PIECES).unwrap_or(1));
        for piece in body.chunks((body.len() / PIECES).max(1)) {
            if query.chunked {
                connection.send(format!("{:x}\r\n", piece.len()).as_bytes())?;
            }
            connection.send(piece)?;
            if query.chunked {
                connection.send(b"\r\n")?;
            }
            thread::sleep(pause);
        }
        if query.chunked {
            connection.send(b"0\r\n\r\n")?;
        }
        if request.closes() {
            break;
        }
    }
    Ok(())
}

/// Tells the driver, before the request is answered.
pub(super) fn executed(id: u64) -> Result<()> {
    writeln!(std::io::stdout(), "{id}").context("telling of a request")
}

/// Headers with which the client can tell whether all is right.
fn said(name: &str, request: &Message, query: &Query) -> String {
    let routes: String = request.all(ROUTE_HEADER).map(|value| format!("x-route: {value}\r\n")).collect();
    format!("x-copy: {name}\r\nx-id: {}\r\nx-sum: {}\r\n{routes}", query.id, sum(&request.body))
}

/// Becomes a WebSocket that sends back every message.
fn upgrade(mut connection: Connection<TcpStream>, name: &str, request: &Message, query: &Query) -> Result<()> {
    let head = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n";
    connection.send(format!("{head}{}\r\n", said(name, request, query)).as_bytes())?;
    // The client sends nothing before it has read this: nothing is left in the buffer.
    let mut stream = connection.stream();
    loop {
        // Binary messages of up to 64 KiB, always with a two-byte length and a mask.
        let mut head = [0; 8];
        stream.read_exact(&mut head)?;
        let [_, _, high, low, mask @ ..] = head;
        let mut payload = vec![0; usize::from(u16::from_be_bytes([high, low]))];
        stream.read_exact(&mut payload)?;
        payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
        stream.write_all(&[&[0x82, 126, high, low], payload.as_slice()].concat())?;
    }
}
