//! One HTTP request: what it asks, and whether the answer is its own and right in every byte.

use std::time::Instant;

use super::Client;
use super::socket::Times;
use crate::app::Query;
use crate::clock;
use crate::plan::{Kind, ROUTE_HEADER};
use crate::random::{bytes, sum};
use crate::told::{Outcome, Told, cause};

/// A request.
pub(super) struct Ask {
    kind: Kind,
    pub(super) query: Query,
    space: Option<String>,
    pub(super) post: bool,
    pub(super) body: Vec<u8>,
    /// The body is sent in chunks.
    pub(super) chunked: bool,
    /// Spaces are named in the host.
    suffix: Option<String>,
    began: u64,
    begun: Instant,
}

impl Ask {
    /// The next request of a client.
    pub(super) fn new(client: &mut Client) -> Ask {
        let (id, space, random) = (client.id(), client.space(), &mut client.random);
        let post = client.kind != Kind::Front && !random.once_in(3);
        let (up, down) = match client.kind {
            // One of both, so that neither side waits for a window that the other one fills.
            Kind::Large if random.once_in(2) => (random.length(1 << 20, 5 << 20), 10),
            Kind::Large => (0, random.length(1 << 20, 5 << 20)),
            Kind::Slow => (random.length(0, 100), random.length(100, 4000)),
            _ if random.once_in(8) => (random.length(0, 60_000), random.length(0, 60_000)),
            _ => (random.length(0, 1000), random.length(0, 4000)),
        };
        let slow = if client.kind == Kind::Slow { random.range(500, 1500) } else { 0 };
        let query = Query { id, size: down, chunked: random.once_in(2), slow };
        let (chunked, body) = (random.once_in(2), bytes(id, if post { up } else { 0 }));
        let (kind, suffix) = (client.kind, client.plan.suffix.clone());
        Ask { kind, query, space, post, body, chunked, suffix, began: clock::now(), begun: Instant::now() }
    }

    /// It begins now, and not when it was made up.
    pub(super) fn begin(&mut self) {
        (self.began, self.begun) = (clock::now(), Instant::now());
    }

    /// The host that it calls.
    pub(super) fn host(&self) -> String {
        match (&self.suffix, &self.space) {
            (Some(suffix), Some(space)) if space == "default" => format!("default.echo.{suffix}"),
            (Some(suffix), Some(space)) => format!("{space}.s.default.echo.{suffix}"),
            _ => "echo".to_owned(),
        }
    }

    /// The route header's value, where that is what names the space.
    pub(super) fn route(&self) -> Option<&str> {
        self.space.as_deref().filter(|_| self.suffix.is_none())
    }

    /// The method.
    pub(super) fn method(&self) -> &'static str {
        if self.post { "POST" } else { "GET" }
    }

    /// The head of an HTTP/1 request with its body.
    pub(super) fn http1(&self, last: bool) -> Vec<u8> {
        let path = if self.kind == Kind::Front { "/front" } else { "/echo" };
        let mut head = format!("{} {} HTTP/1.1\r\nHost: {}\r\n", self.method(), self.query.target(path), self.host());
        if let Some(space) = self.route() {
            head += &format!("{ROUTE_HEADER}: {space}\r\n");
        }
        if self.kind == Kind::Front {
            head += &format!("traceparent: 00-{:032x}-{:016x}-01\r\n", self.query.id, self.query.id);
        }
        if last {
            head += "Connection: close\r\n";
        }
        match (self.post, self.chunked) {
            (false, _) => [head.as_bytes(), b"\r\n"].concat(),
            (true, false) => {
                let head = format!("{head}Content-Length: {}\r\n\r\n", self.body.len());
                [head.as_bytes(), &self.body].concat()
            }
            (true, true) => {
                let mut all = format!("{head}Transfer-Encoding: chunked\r\n\r\n").into_bytes();
                for chunk in self.body.chunks(10_000) {
                    all.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                    all.extend_from_slice(chunk);
                    all.extend_from_slice(b"\r\n");
                }
                all.extend_from_slice(b"0\r\n\r\n");
                all
            }
        }
    }

    /// What a 200 with these headers (all values of a name) and this body is.
    pub(super) fn judge(&self, all: impl Fn(&str) -> Vec<String>, body: &[u8]) -> Outcome {
        let first = |name: &str| all(name).into_iter().next().unwrap_or_default();
        if let Some(cause) = all("x-failed").into_iter().next() {
            return Outcome::Failed(format!("its own call: {cause}"));
        }
        if first("x-id") != self.query.id.to_string() {
            return Outcome::Wrong(format!("the answer is that of request {:?}", first("x-id")));
        }
        let front = self.kind == Kind::Front;
        if !front && first("x-sum") != sum(&self.body).to_string() {
            return Outcome::Wrong(format!("the server got another body than the {} bytes sent", self.body.len()));
        }
        if body != self.query.body() {
            return Outcome::Wrong(format!("{} bytes of body are not the {} asked for", body.len(), self.query.size));
        }
        let routes = all("x-route");
        match (self.route(), routes.as_slice()) {
            (Some(sent), seen) if !front && seen != [sent] => {
                Outcome::Wrong(format!("the route header {sent} arrived as {seen:?}"))
            }
            (_, [_, _, ..]) => Outcome::Wrong(format!("several route headers arrived: {routes:?}")),
            (sent, seen) => {
                let added = if sent.is_none() || front { seen.first().cloned() } else { None };
                Outcome::Answered { copy: first("x-copy"), added }
            }
        }
    }

    /// What the client tells of it.
    pub(super) fn told(&self, times: Times, routed: u64, outcome: anyhow::Result<Outcome>) -> Told {
        Told {
            kind: self.kind.name().to_owned(),
            id: self.query.id,
            space: self.space.clone(),
            once: self.post || self.kind == Kind::Front,
            connecting: times.connecting,
            connected: times.connected,
            began: self.began,
            routed,
            ended: clock::now(),
            micros: u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX),
            outcome: outcome.unwrap_or_else(|error| Outcome::Failed(cause(&error))),
        }
    }
}
