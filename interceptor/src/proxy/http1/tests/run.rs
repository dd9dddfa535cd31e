//! Runs one exchange over real sockets: `client peer ⇄ [client side | upstream side] ⇄ server peer`, all in one task.
//!
//! Nothing sleeps: a peer goes on once the proxy's side has taken what the peer sent so far, which is how a split falls
//! exactly where the test wants it.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::task::yield_now;
use tokio::time::timeout;

use super::super::exchange::{End, Exchange, RequestFacts};
use super::super::head;
use super::super::message::{Edit, Message};
use crate::headers::Reader;
use crate::net::budget::{Account, Budget};
use crate::net::buffer::BufferPool;
use crate::net::side::Side;

/// What normally takes microseconds may take this long on a busy machine.
const LIMIT: Duration = Duration::from_secs(10);

/// The largest head.
const MAX_HEAD: usize = 64 * 1024;

/// More than any head takes.
pub(super) fn account() -> Rc<Account> {
    Rc::new(Budget::new(4 * MAX_HEAD, 8)).account(1)
}

/// One request and its response on the wire.
#[derive(Debug, Clone, Default)]
pub(super) struct Case {
    /// What it shows.
    pub(super) name: &'static str,
    /// The request.
    pub(super) request: Vec<u8>,
    /// What the client sends after it: no part of this exchange.
    pub(super) next: &'static [u8],
    /// The response.
    pub(super) response: Vec<u8>,
    /// What the server sends after it: no part of this exchange.
    pub(super) early: &'static [u8],
    /// How many bytes of the request the server waits for before it answers; all by default.
    pub(super) respond_after: Option<usize>,
    /// The server ends its direction after the response.
    pub(super) server_ends: bool,
    /// A line that is added to the request's head.
    pub(super) line: Option<&'static str>,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Outcome {
    /// How the exchange ended.
    pub(super) end: End,
    /// What the server got.
    pub(super) to_server: Vec<u8>,
    /// What the client got.
    pub(super) to_client: Vec<u8>,
    /// What is left of what the client sent.
    pub(super) next: Vec<u8>,
    /// What is left of what the server sent.
    pub(super) early: Vec<u8>,
    /// The request's and the response's bytes, as counted.
    pub(super) counted: (u64, u64),
}

/// A runtime for many runs.
pub(super) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Two connected sockets.
pub(super) struct Sockets {
    listener: TcpListener,
    pool: BufferPool,
}

impl Sockets {
    pub(super) async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self { listener, pool: BufferPool::default() }
    }

    /// A side and its peer.
    pub(super) async fn pair(&self) -> (Side, TcpStream) {
        let address = self.listener.local_addr().unwrap();
        let (peer, accepted) = tokio::join!(TcpStream::connect(address), self.listener.accept());
        let (peer, (side, _)) = (peer.unwrap(), accepted.unwrap());
        peer.set_nodelay(true).unwrap();
        side.set_nodelay(true).unwrap();
        // Thousands of pairs: none may wait out its end and hold a port.
        peer.set_zero_linger().unwrap();
        (Side::new(side, &self.pool), peer)
    }
}

/// How many bytes the proxy has taken from each peer.
#[derive(Default)]
struct Taken {
    from_client: Cell<usize>,
    from_server: Cell<usize>,
}

/// Runs a case with the client's bytes split at `request_split` and the server's at `response_split`.
pub(super) async fn run(sockets: &Sockets, case: &Case, request_split: usize, response_split: usize) -> Outcome {
    let ((client, client_peer), (upstream, server_peer)) = (sockets.pair().await, sockets.pair().await);
    let taken = Taken::default();
    let running = async {
        tokio::join!(
            proxy(case, client, upstream, &taken),
            play_client(case, client_peer, request_split, &taken.from_client),
            play_server(case, server_peer, response_split, &taken.from_server),
        )
    };
    let ended = timeout(LIMIT, running).await;
    let ((end, next, early, counted), to_client, to_server) =
        ended.unwrap_or_else(|_| panic!("{} hangs, split at {request_split} and {response_split}", case.name));
    Outcome { end, to_server, to_client, next, early, counted }
}

async fn play_client(case: &Case, mut peer: TcpStream, split: usize, taken: &Cell<usize>) -> Vec<u8> {
    let bytes = [&case.request, case.next].concat();
    let (first, second) = bytes.split_at(split.min(bytes.len()));
    send_apart(&mut peer, first, second, taken).await;
    rest(&mut peer, Vec::new()).await
}

async fn play_server(case: &Case, mut peer: TcpStream, split: usize, taken: &Cell<usize>) -> Vec<u8> {
    let line = case.line.map_or(0, str::len);
    let mut got = vec![0; case.respond_after.unwrap_or(case.request.len() + line)];
    peer.read_exact(&mut got).await.unwrap();
    let bytes = [&case.response, case.early].concat();
    let (first, second) = bytes.split_at(split.min(bytes.len()));
    send_apart(&mut peer, first, second, taken).await;
    if case.server_ends {
        peer.shutdown().await.unwrap();
    }
    rest(&mut peer, got).await
}

async fn send_apart(peer: &mut TcpStream, first: &[u8], second: &[u8], taken: &Cell<usize>) {
    peer.write_all(first).await.unwrap();
    while taken.get() < first.len() {
        yield_now().await;
    }
    peer.write_all(second).await.unwrap();
}

async fn rest(peer: &mut TcpStream, mut got: Vec<u8>) -> Vec<u8> {
    // A reset counts as an end here: the end itself is asserted on the proxy's side.
    peer.read_to_end(&mut got).await.ok();
    got
}

async fn proxy(
    case: &Case,
    mut client: Side,
    mut upstream: Side,
    taken: &Taken,
) -> (End, Vec<u8>, Vec<u8>, (u64, u64)) {
    let (message, facts) = read_request(&mut client, case.line, &taken.from_client).await;
    let mut exchange = Exchange::new(message, facts, MAX_HEAD, &account());
    let number = |bytes: u64| usize::try_from(bytes).unwrap();
    let end = poll_fn(|cx| {
        let end = exchange.poll(cx, &mut client, &mut upstream);
        taken.from_client.set(number(exchange.received()) + client.buffer.len());
        taken.from_server.set(number(exchange.sent()) + upstream.buffer.len());
        end
    })
    .await;
    let counted = (exchange.received(), exchange.sent());
    // What belongs to no exchange may still be under way.
    for (side, seen, bytes) in
        [(&mut client, &taken.from_client, case.next), (&mut upstream, &taken.from_server, case.early)]
    {
        while side.buffer.len() < bytes.len() {
            let got = poll_fn(|cx| side.poll_fill(cx)).await.unwrap();
            assert_ne!(got, 0, "{}: bytes after the exchange are lost", case.name);
            seen.set(seen.get() + got);
        }
        seen.set(usize::MAX);
    }
    (end, client.buffer.data().to_vec(), upstream.buffer.data().to_vec(), counted)
}

/// Reads a request's head as `http1::serve` does, and makes ready to move the request.
pub(super) async fn read_request(
    client: &mut Side,
    line: Option<&str>,
    taken: &Cell<usize>,
) -> (Message, RequestFacts) {
    let head = loop {
        if let Some(head) = head::request(client.buffer.data(), &Reader::default()).unwrap() {
            break head;
        }
        assert_ne!(poll_fn(|cx| client.poll_fill(cx)).await.unwrap(), 0, "the head is incomplete");
        taken.set(client.buffer.len());
    };
    let mut message = Message::new(client, head.len, head.framing).unwrap();
    if let Some(line) = line {
        message.edit([Some(Edit { at: head.insert_at, skip: 0, text: line.as_bytes().into() }), None]);
    }
    let facts = RequestFacts {
        kind: head.kind,
        idempotent: head.idempotent,
        keep_alive: head.keep_alive,
        reused: false,
        may_splice: true,
    };
    (message, facts)
}
