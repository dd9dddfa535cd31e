//! What our own head and framing code makes of a connection's bytes, with the bodies taken out of their chunks.

use std::io::Cursor;

use interceptor::headers::Reader;
use interceptor::proxy::http1::head;
use interceptor_tests::http::Connection;

use crate::servers::Seen;

/// The requests that we pass on, each with its own bytes.
pub(crate) struct Ours {
    pub(crate) requests: Vec<(Seen, Vec<u8>)>,
    /// Why no more of them: nothing is left, the client closes, or the rest is refused or incomplete.
    pub(crate) end: End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Whole,
    Closed,
    Refused,
    Incomplete,
}

/// Reads as `http1::serve` does.
pub(crate) fn read(mut bytes: &[u8]) -> Ours {
    let mut requests = Vec::new();
    loop {
        if bytes.is_empty() {
            return Ours { requests, end: End::Whole };
        }
        let head = match head::request(bytes, &Reader::default()) {
            Ok(Some(head)) => head,
            Ok(None) => return Ours { requests, end: End::Incomplete },
            Err(_) => return Ours { requests, end: End::Refused },
        };
        let mut framing = head.framing.clone();
        let Ok(body) = framing.take(&bytes[head.len..]) else { return Ours { requests, end: End::Refused } };
        if !framing.is_done() {
            return Ours { requests, end: End::Incomplete };
        }
        let (own, rest) = bytes.split_at(head.len + body);
        requests.push((seen(own), own.to_vec()));
        if !head.keep_alive {
            return Ours { requests, end: End::Closed };
        }
        bytes = rest;
    }
}

/// The request of exactly these bytes.
fn seen(own: &[u8]) -> Seen {
    let bare = own.strip_prefix(b"\r\n").unwrap_or(own);
    let mut connection = Connection::new(Quiet(Cursor::new(bare.to_vec())));
    let request = connection.request().unwrap().unwrap();
    assert_eq!(connection.rest().unwrap(), b"", "the body is shorter than its framing: {}", own.escape_ascii());
    let tag = request.first("x-tag").unwrap_or_default().to_owned();
    Seen { method: request.method().to_owned(), tag, body: request.body }
}

/// Reads from memory; what is written (100 Continue) goes nowhere.
struct Quiet(Cursor<Vec<u8>>);

impl std::io::Read for Quiet {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(into)
    }
}

impl std::io::Write for Quiet {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
