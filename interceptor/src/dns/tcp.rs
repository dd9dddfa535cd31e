//! Queries over TCP: a stream of messages with their lengths, each answered or sent on over one connection to the server.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::Place;
use super::answer::{Limit, Verdict};
use crate::metrics::{DnsOutcome, DnsTransport};
use crate::net::socket;

/// How long a connection may be silent: servers end theirs much earlier.
const IDLE: Duration = Duration::from_secs(120);
/// For the connection to the server, and for a peer to take what is written.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long accepting pauses when the process has no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// The length before every message (RFC 1035, section 4.2.2).
const PREFIX: usize = 2;

/// Serves the listener until it is closed; connections under way go on.
pub(super) async fn serve(place: Rc<Place>, listener: TcpListener, mut closed: watch::Receiver<()>) {
    let open = Rc::new(Cell::new(0));
    loop {
        let accepted = tokio::select! {
            biased;
            _ = closed.changed() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((client, _)) if open.get() < place.context.max_in_flight => {
                open.set(open.get() + 1);
                let (place, open) = (Rc::clone(&place), Rc::clone(&open));
                tokio::task::spawn_local(async move {
                    if let Err(error) = Conversation::new(client, &place).run().await {
                        tracing::debug!(workload = %place.workload.name, server = %place.server, %error, "DNS over TCP");
                    }
                    open.set(open.get() - 1);
                });
            }
            // Closed at once.
            Ok(_) => place.context.count(DnsTransport::Tcp, DnsOutcome::Dropped),
            Err(error) => {
                tracing::debug!(%error, "accepting DNS over TCP");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// One client's connection.
struct Conversation<'p> {
    place: &'p Place,
    from_client: Messages<OwnedReadHalf>,
    to_client: OwnedWriteHalf,
    upstream: Option<Upstream>,
}

struct Upstream {
    responses: Messages<OwnedReadHalf>,
    queries: OwnedWriteHalf,
}

impl<'p> Conversation<'p> {
    fn new(client: TcpStream, place: &'p Place) -> Self {
        let (from_client, to_client) = client.into_split();
        Self { place, from_client: Messages::new(from_client), to_client, upstream: None }
    }

    async fn run(mut self) -> io::Result<()> {
        let mut client_ended = false;
        loop {
            let next = tokio::select! {
                query = self.from_client.next(), if !client_ended => Next::Query(query?),
                response = response(&mut self.upstream) => Next::Response(response?),
                () = sleep(IDLE) => return Ok(()),
            };
            match next {
                Next::Query(Some(query)) => self.take(&query).await?,
                Next::Query(None) => match &mut self.upstream {
                    // The server may still answer; it ends the connection when it has.
                    Some(upstream) => {
                        client_ended = true;
                        upstream.queries.shutdown().await?;
                    }
                    None => return Ok(()),
                },
                Next::Response(Some(response)) => write(&mut self.to_client, &response).await?,
                Next::Response(None) => return Ok(()),
            }
        }
    }

    /// `query` with its length before it.
    async fn take(&mut self, query: &[u8]) -> io::Result<()> {
        let context = &self.place.context;
        let message = query.get(PREFIX..).unwrap_or_default();
        let outcome = match context.judge(&self.place.workload.name, message, Limit::Tcp) {
            Verdict::Answer(answer) => {
                let length = u16::try_from(answer.len()).map_err(io::Error::other)?;
                write(&mut self.to_client, &[&length.to_be_bytes()[..], &answer].concat()).await?;
                DnsOutcome::Answered
            }
            verdict => {
                let sent = if verdict == Verdict::Malformed { DnsOutcome::Malformed } else { DnsOutcome::Forwarded };
                match self.send_on(query).await {
                    Ok(()) => sent,
                    Err(error) => {
                        context.count(DnsTransport::Tcp, DnsOutcome::Failed);
                        return Err(error);
                    }
                }
            }
        };
        context.count(DnsTransport::Tcp, outcome);
        Ok(())
    }

    async fn send_on(&mut self, query: &[u8]) -> io::Result<()> {
        let upstream = match &mut self.upstream {
            Some(upstream) => upstream,
            None => self.upstream.insert(connect(self.place).await?),
        };
        write(&mut upstream.queries, query).await
    }
}

enum Next {
    Query(Option<Vec<u8>>),
    Response(Option<Vec<u8>>),
}

async fn response(upstream: &mut Option<Upstream>) -> io::Result<Option<Vec<u8>>> {
    match upstream {
        Some(upstream) => upstream.responses.next().await,
        None => std::future::pending().await,
    }
}

async fn connect(place: &Place) -> io::Result<Upstream> {
    let socket = socket::upstream(&place.workload.netns, place.server, None)?;
    let stream = timeout(PATIENCE, socket.connect(place.server)).await.map_err(|_| io::ErrorKind::TimedOut)??;
    let (responses, queries) = stream.into_split();
    Ok(Upstream { responses: Messages::new(responses), queries })
}

async fn write(to: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    timeout(PATIENCE, to.write_all(bytes)).await.map_err(|_| io::ErrorKind::TimedOut)?
}

/// A stream's messages, each with its length before it.
struct Messages<R> {
    stream: R,
    read: Vec<u8>,
}

impl<R: AsyncRead + Unpin> Messages<R> {
    fn new(stream: R) -> Self {
        Self { stream, read: Vec::new() }
    }

    /// The next message; `None` at the end, also in the middle of one. May be dropped and called again.
    async fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some((length, _)) = self.read.split_first_chunk::<PREFIX>() {
                let end = PREFIX + usize::from(u16::from_be_bytes(*length));
                if self.read.len() >= end {
                    let rest = self.read.split_off(end);
                    return Ok(Some(std::mem::replace(&mut self.read, rest)));
                }
            }
            if self.stream.read_buf(&mut self.read).await? == 0 {
                return Ok(None);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn messages_are_told_apart_however_they_arrive() {
        let stream = b"\x00\x03abc\x00\x00\x00\x01d\x00\x05half";
        for size in 1..stream.len() {
            let (mut ours, theirs) = tokio::io::duplex(size);
            let writing = tokio::spawn(async move { ours.write_all(stream).await });
            let mut messages = Messages::new(theirs);
            for expected in [&b"\x00\x03abc"[..], b"\x00\x00", b"\x00\x01d"] {
                assert_eq!(messages.next().await.unwrap().as_deref(), Some(expected));
            }
            assert_eq!(messages.next().await.unwrap(), None, "the end of a message is missing");
            writing.await.unwrap().unwrap();
        }
    }
}
