//! Target `connection`: a client's and a server's bytes run through the real exchange over sockets; what comes out on the
//! other side is what went in plus the injected line, or was refused with nothing of it forwarded.
//!
//! The loop below is `http1::serve` without routing and records. The model walks both streams as whole texts.

use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use interceptor::headers::Reader;
use interceptor::net::budget::{Account, Budget};
use interceptor::net::buffer::BufferPool;
use interceptor::net::side::Side;
use interceptor::proxy::http1::exchange::{End, Exchange, RequestFacts};
use interceptor::proxy::http1::head;
use interceptor::proxy::http1::message::{Edit, Message};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::{Builder, Runtime};

use crate::model::{self, Body, Chunks, Verdict};

const LINE: &[u8] = b"azds-route-as: azureuser\r\n";
const MAX_HEAD: usize = 64 * 1024;
/// More than this does not fit into a socket's buffer, and nobody would read on.
const MAX_BYTES: usize = 64 * 1024;

/// Flags, the size of the pieces, the length of the client's bytes (two), the client's bytes, the server's.
pub fn connection(bytes: &[u8]) {
    thread_local! {
        static RUNTIME: io::Result<Runtime> = Builder::new_current_thread().enable_all().build();
    }
    let [flags, piece, high, low, rest @ ..] = bytes else { return };
    if rest.len() > MAX_BYTES {
        return;
    }
    let len = usize::from(u16::from_be_bytes([*high, *low]));
    let (client, server) = rest.split_at_checked(len).unwrap_or((rest, &[]));
    let run = Run { inject: flags & 1 == 1, piece: usize::from(*piece) + 1, client, server };
    RUNTIME.with(|runtime| {
        let Ok(runtime) = runtime else { return };
        let outcome = runtime.block_on(run.run());
        assert!(outcome.is_ok(), "{outcome:?}");
        if let Ok(outcome) = outcome {
            run.check(&outcome);
        }
    });
}

struct Run<'a> {
    inject: bool,
    piece: usize,
    client: &'a [u8],
    server: &'a [u8],
}

#[derive(Debug)]
struct Outcome {
    stop: Stop,
    /// Exchanges after which both sides could go on.
    whole: usize,
    to_server: Vec<u8>,
    to_client: Vec<u8>,
}

/// Why the loop ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// The client ended between or inside heads.
    Ended,
    /// A head, or a body from its first byte.
    Refused,
    /// After a last exchange, or inside one.
    Closed,
}

impl Run<'_> {
    async fn run(&self) -> io::Result<Outcome> {
        let pool = BufferPool::default();
        let (client_peer, mut client) = pair(&pool)?;
        let (server_peer, mut server) = pair(&pool)?;
        let agent = async {
            let ended = self.agent(&mut client, &mut server).await;
            client.shutdown();
            server.shutdown();
            ended
        };
        let (ended, to_client, to_server) =
            tokio::join!(agent, self.peer(client_peer, self.client), self.peer(server_peer, self.server));
        Ok(Outcome { stop: ended.0, whole: ended.1, to_server, to_client })
    }

    /// Sends its bytes in pieces, ends its direction, and returns what it got.
    async fn peer(&self, mut stream: UnixStream, bytes: &[u8]) -> Vec<u8> {
        let mut got = Vec::new();
        for piece in bytes.chunks(self.piece.max(bytes.len() / 64 + 1)) {
            // An agent that has finished takes no more.
            if stream.write_all(piece).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
        stream.shutdown().await.ok();
        stream.read_to_end(&mut got).await.ok();
        got
    }

    async fn agent(&self, client: &mut Side, server: &mut Side) -> (Stop, usize) {
        let mut whole = 0;
        // More than any head takes.
        let account: Rc<Account> = Rc::new(Budget::new(4 * MAX_HEAD, 8)).account(1);
        loop {
            let head = loop {
                match head::request(client.buffer.data(), &Reader::default()) {
                    Ok(Some(head)) => break head,
                    Err(_) => return (Stop::Refused, whole),
                    Ok(None) if client.buffer.len() >= MAX_HEAD => return (Stop::Refused, whole),
                    Ok(None) => {}
                }
                if client.buffer.is_full() {
                    assert!(client.buffer.grow(MAX_HEAD, &account));
                }
                match poll_fn(|cx| client.poll_fill(cx)).await {
                    Ok(0) | Err(_) => return (Stop::Ended, whole),
                    Ok(_) => {}
                }
            };
            let Ok(mut message) = Message::new(client, head.len, head.framing.clone()) else {
                return (Stop::Refused, whole);
            };
            if self.inject {
                message.edit([Some(Edit { at: head.insert_at, skip: 0, text: LINE.into() }), None]);
            }
            let facts = RequestFacts {
                kind: head.kind,
                idempotent: head.idempotent,
                keep_alive: head.keep_alive,
                reused: whole > 0,
                may_splice: true,
            };
            let mut exchange = Exchange::new(message, facts, MAX_HEAD, &account);
            match poll_fn(|cx| exchange.poll(cx, client, server)).await {
                End::Done { reusable: true } => whole += 1,
                End::Done { .. } | End::Switched | End::Stale | End::Failed(_) => return (Stop::Closed, whole),
            }
        }
    }

    fn check(&self, outcome: &Outcome) {
        let requests = Requests::read(self.client, self.inject);
        let upto = requests.ends.get(..outcome.whole).and_then(|ends| ends.last().copied()).unwrap_or(0);
        assert!(requests.ends.len() >= outcome.whole, "{outcome:?} from {} requests", requests.ends.len());
        assert!(requests.bytes.starts_with(&outcome.to_server), "the server got other bytes than the client sent");
        assert!(outcome.to_server.len() >= upto, "a request was answered that had not gone out");
        if outcome.stop != Stop::Closed {
            assert_eq!(outcome.to_server.len(), upto, "something of a refused request was forwarded");
            let last = outcome.whole == requests.ends.len();
            assert!(last && (outcome.stop == Stop::Refused) >= requests.refused, "{outcome:?}");
        }
        assert!(self.server.starts_with(&outcome.to_client), "the client got other bytes than the server sent");
        let answered = self.responses(&requests.heads, outcome.whole);
        assert!(answered.is_some_and(|end| outcome.to_client.len() >= end), "a response ends elsewhere: {outcome:?}");
        if outcome.stop != Stop::Closed {
            assert_eq!(Some(outcome.to_client.len()), answered);
        }
    }

    /// Where the first `count` responses end in the server's bytes.
    fn responses(&self, is_head: &[bool], count: usize) -> Option<usize> {
        let mut at = 0;
        for to_head in is_head.get(..count)? {
            loop {
                let rest = self.server.get(at..)?;
                let Verdict::Head(len, facts) = model::response(rest, *to_head) else { return None };
                at += len + body_len(rest.get(len..)?, facts.body).filter(|_| facts.body != Body::UntilClose)?;
                if facts.word.first() != Some(&b'1') {
                    break;
                }
            }
        }
        Some(at)
    }
}

/// What the model makes of the client's bytes.
#[derive(Default)]
struct Requests {
    /// What may go out: whole requests, then the beginning of one that is broken or cut off in its body.
    bytes: Vec<u8>,
    /// Where the whole requests end in it.
    ends: Vec<usize>,
    /// Which of them are HEAD.
    heads: Vec<bool>,
    /// Whether a head is refused after them.
    refused: bool,
}

impl Requests {
    fn read(mut client: &[u8], inject: bool) -> Self {
        let mut requests = Self::default();
        loop {
            let (len, facts) = match model::request(client) {
                Verdict::Head(len, facts) => (len, facts),
                verdict => {
                    requests.refused = verdict == Verdict::Refused;
                    return requests;
                }
            };
            let (head, rest) = client.split_at_checked(len).unwrap_or((client, &[]));
            let (lines, empty) = head.split_at_checked(len.saturating_sub(2)).unwrap_or((head, &[]));
            requests.bytes.extend_from_slice(lines);
            if inject {
                requests.bytes.extend_from_slice(LINE);
            }
            requests.bytes.extend_from_slice(empty);
            let Some(body) = body_len(rest, facts.body) else {
                requests.bytes.extend_from_slice(rest);
                return requests;
            };
            let (body, rest) = rest.split_at_checked(body).unwrap_or((rest, &[]));
            requests.bytes.extend_from_slice(body);
            requests.ends.push(requests.bytes.len());
            requests.heads.push(facts.word == b"HEAD");
            client = rest;
        }
    }
}

/// How many of these bytes are the body; `None` where it is not all there, or broken.
fn body_len(bytes: &[u8], body: Body) -> Option<usize> {
    match body {
        Body::Length(length) => usize::try_from(length).ok().filter(|length| *length <= bytes.len()),
        Body::Chunked => match model::chunked(bytes) {
            Chunks::Body(len) => Some(len),
            Chunks::Incomplete | Chunks::Refused => None,
        },
        Body::UntilClose => Some(bytes.len()),
    }
}

/// A connection: the peer's end, and ours with its buffer. A socket pair serves as TCP, at a tenth of the cost.
fn pair(pool: &BufferPool) -> io::Result<(UnixStream, Side)> {
    let (theirs, ours) = std::os::unix::net::UnixStream::pair()?;
    theirs.set_nonblocking(true)?;
    ours.set_nonblocking(true)?;
    let ours = TcpStream::from_std(std::net::TcpStream::from(OwnedFd::from(ours)))?;
    Ok((UnixStream::from_std(theirs)?, Side::new(ours, pool)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &[u8] = b"POST /first HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok";
    const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

    /// What the server gets of these bytes, behind a good request, in pieces of that size.
    fn forwarded(second: &[u8], piece: usize) -> Vec<u8> {
        let client = [GOOD, second].concat();
        let server = [OK, OK].concat();
        let run = Run { inject: false, piece, client: &client, server: &server };
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let outcome = runtime.block_on(run.run()).unwrap();
        run.check(&outcome);
        outcome.to_server
    }

    #[test]
    fn nothing_of_a_refused_request_is_forwarded() {
        let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
        for fields in [
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "Content-Length: 5\r\nContent-Length: 6\r\n\r\n",
            "Content-Length: +5\r\n\r\n",
            "Content-Length: 5, 5\r\n\r\n",
            "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            "Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
            "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
            "A: b\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "A: b\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "A: b\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "A: \0\r\n\r\n",
            "Host: b\r\n\r\n",
        ] {
            let second = format!("POST /second HTTP/1.1\r\nHost: a\r\n{fields}{smuggled}");
            for piece in [1, 7, 100_000] {
                assert_eq!(forwarded(second.as_bytes(), piece), GOOD, "{fields:?} in pieces of {piece}");
            }
        }
    }

    #[test]
    fn what_follows_a_broken_chunk_is_not_forwarded() {
        let begin = "POST /second HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n";
        for broken in ["0x1\r\nb\r\n", "1\nb\r\n", "1\r\nbX", "0\r\nGET /smuggled HTTP/1.1\r\n\r\n", "1 1\r\nb\r\n"] {
            for piece in [1, 7, 100_000] {
                let got = forwarded(format!("{begin}{broken}").as_bytes(), piece);
                let text = String::from_utf8_lossy(&got);
                assert!(!text.contains("smuggled") && !text.contains('X') && !text.contains('b'), "{broken:?}: {text}");
            }
        }
    }
}
