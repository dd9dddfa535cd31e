//! The upstream connections of one client's connection, by where they lead.
//!
//! Asked by each stream for a connection with room for it. Opens a further one where those that are there carry as many
//! streams as their server allows, or are being left by it (GOAWAY). Each connection is one task, which dials, waits for
//! the server's SETTINGS and then drives it; nobody else's connections are ever used (docs/decisions/0012).

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Sleep, sleep, timeout};

use super::Site;
use super::wire::{First, Meter, Wire};
use crate::flow::ErrorSide;
use crate::net::budget::{Held, Spare};
use crate::proxy::connect::Upstream;
use crate::proxy::respond::Answer;

/// Connections to one target at a time. Streams beyond what they carry wait for their turn.
const MOST: usize = 64;

/// What is assumed of a server until its SETTINGS are there; nothing is sent before, so that the value does not matter.
const UNTIL_SETTINGS: usize = 100;

/// Bytes of one stream that wait for their turn on a connection.
pub(super) const SEND_BUFFER: usize = 64 * 1024;

/// What a connection to an upstream takes.
const CONNECTION: usize = 32 * 1024;

/// Where a connection leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    /// The original destination, or the application of the pod.
    Original,
    /// An endpoint that the agent chose.
    Endpoint(SocketAddr),
}

type Connection = h2::client::Connection<Wire, Bytes>;

/// The upstream connections of one client's connection. Their tasks end with it.
pub(super) struct Upstreams {
    site: Rc<Site>,
    places: Rc<Places>,
    tasks: RefCell<JoinSet<()>>,
    /// A connection to the original destination that was made while the protocol was not known.
    dialled: Cell<Option<Upstream>>,
}

#[derive(Default)]
struct Places(RefCell<Vec<Place>>);

struct Place {
    key: Key,
    links: Vec<Rc<Link>>,
    dial: Option<Rc<Dial>>,
}

/// One connection that is open.
struct Link {
    send: SendRequest<Bytes>,
    meter: Rc<Meter>,
    /// Streams on it.
    active: Cell<usize>,
    /// Whether it has carried a stream since its clock was last looked at.
    used: Cell<bool>,
    ended: Cell<bool>,
}

/// One that is being opened, for all that wait for it.
#[derive(Default)]
struct Dial {
    outcome: RefCell<Option<Result<Duration, Answer>>>,
    done: Notify,
}

/// What a connection beyond the first takes of what is not planned for.
struct Further {
    _spare: Spare,
    _held: Held,
}

impl Further {
    fn of(site: &Site) -> Option<Self> {
        Some(Self { _spare: site.context.budget.spare(1)?, _held: site.account.hold(CONNECTION)? })
    }
}

/// Room for one stream on a connection, until it is dropped.
pub(super) struct Lease {
    link: Rc<Link>,
    /// How long connecting took, for the stream that it was done for.
    pub(super) took: Option<Duration>,
}

impl Upstreams {
    /// None yet, but for what was dialled already.
    pub(super) fn new(site: Rc<Site>, dialled: Option<Upstream>) -> Self {
        Self { site, places: Rc::default(), tasks: RefCell::new(JoinSet::new()), dialled: Cell::new(dialled) }
    }

    /// A connection to there with room for a stream.
    ///
    /// # Errors
    /// Where it cannot be reached, or does not speak HTTP/2.
    pub(super) async fn get(&self, key: Key) -> Result<Lease, Answer> {
        let mut took = None;
        loop {
            if let Some(link) = self.places.with(key, Place::pick) {
                return Ok(Lease::new(link, took));
            }
            let Some((dial, ours)) = self.dial(key) else {
                let crowded = || Answer::no_memory("one more connection to an upstream");
                return self
                    .places
                    .with(key, |place| place.idlest())
                    .map(|link| Lease::new(link, took))
                    .ok_or_else(crowded);
            };
            dial.wait().await;
            match &*dial.outcome.borrow() {
                Some(Err(answer)) => return Err(answer.clone()),
                Some(Ok(duration)) => took = ours.then_some(*duration),
                None => {}
            }
        }
    }

    /// The dial that is under way, or a new one; `None` where there is no room for a further connection.
    fn dial(&self, key: Key) -> Option<(Rc<Dial>, bool)> {
        if let Some(dial) = self.places.with(key, |place| place.dial.clone()) {
            return Some((dial, false));
        }
        let mut tasks = self.tasks.borrow_mut();
        while tasks.try_join_next().is_some() {}
        let further = if tasks.is_empty() { None } else { Some(Further::of(&self.site)?) };
        let dial = Rc::<Dial>::default();
        self.places.with(key, |place| place.dial = Some(Rc::clone(&dial)));
        let dialled = if key == Key::Original { self.dialled.take() } else { None };
        let (site, places) = (Rc::clone(&self.site), Rc::clone(&self.places));
        tasks.spawn_local(carry(site, places, key, Rc::clone(&dial), dialled, further));
        Some((dial, true))
    }
}

impl Places {
    fn with<T>(&self, key: Key, f: impl FnOnce(&mut Place) -> T) -> T {
        let mut places = self.0.borrow_mut();
        let at = match places.iter().position(|place| place.key == key) {
            Some(at) => at,
            None => {
                // Endpoints come and go; a client's connection may outlive many of them.
                places.retain(|place| place.dial.is_some() || place.links.iter().any(|link| !link.ended.get()));
                places.push(Place { key, links: Vec::new(), dial: None });
                places.len() - 1
            }
        };
        f(&mut places[at])
    }

    fn opened(&self, key: Key, dial: &Dial, outcome: Result<(Rc<Link>, Duration), Answer>) {
        let outcome = outcome.map(|(link, took)| {
            self.with(key, |place| place.links.push(link));
            took
        });
        self.with(key, |place| place.dial = None);
        *dial.outcome.borrow_mut() = Some(outcome);
        dial.done.notify_waiters();
    }
}

impl Place {
    /// A connection that takes one more; `None` where another one should be opened.
    fn pick(&mut self) -> Option<Rc<Link>> {
        self.links.retain(|link| !link.ended.get() && !link.meter.is_leaving());
        let free = self.links.iter().find(|link| link.has_room());
        free.cloned().or_else(|| self.idlest().filter(|_| self.links.len() >= MOST))
    }

    /// The connection with the fewest streams.
    fn idlest(&self) -> Option<Rc<Link>> {
        self.links.iter().min_by_key(|link| link.active.get()).cloned()
    }
}

impl Link {
    fn has_room(&self) -> bool {
        self.active.get() < self.send.current_max_send_streams()
    }
}

impl Dial {
    async fn wait(&self) {
        let done = self.done.notified();
        if self.outcome.borrow().is_none() {
            done.await;
        }
    }
}

impl Lease {
    fn new(link: Rc<Link>, took: Option<Duration>) -> Self {
        link.active.set(link.active.get() + 1);
        link.used.set(true);
        Self { link, took }
    }

    /// What sends a request there.
    pub(super) fn sender(&self) -> SendRequest<Bytes> {
        self.link.send.clone()
    }

    /// Whether the server takes extended CONNECT (RFC 8441).
    pub(super) fn takes_extended_connect(&self) -> bool {
        self.link.send.is_extended_connect_protocol_enabled()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.link.active.set(self.link.active.get() - 1);
    }
}

/// Opens a connection, says so, and drives it to its end.
async fn carry(
    site: Rc<Site>,
    places: Rc<Places>,
    key: Key,
    dial: Rc<Dial>,
    dialled: Option<Upstream>,
    _further: Option<Further>,
) {
    let opening = timeout(site.context.settings.connect_timeout, open(&site, key, dialled));
    let opened = opening.await.unwrap_or_else(|_| Err(silent(&site, key)));
    let (mut connection, link) = match opened {
        Err(answer) => return places.opened(key, &dial, Err(answer)),
        Ok((connection, link, took)) => {
            places.opened(key, &dial, Ok((Rc::clone(&link), took)));
            (connection, link)
        }
    };
    drop((places, dial));
    // The connection to the original destination lives as long as its server and its client keep it.
    let mut clock = match key {
        Key::Original => None,
        Key::Endpoint(_) => Some(Box::pin(sleep(site.context.settings.idle_timeout))),
    };
    let limit = site.context.settings.idle_timeout;
    let end = poll_fn(|cx| match Pin::new(&mut connection).poll(cx) {
        Poll::Ready(end) => Poll::Ready(end),
        Poll::Pending => match clock.as_mut().is_some_and(|clock| is_idle(cx, clock.as_mut(), limit, &link)) {
            true => Poll::Ready(Ok(())),
            false => Poll::Pending,
        },
    });
    if let Err(error) = end.await {
        tracing::debug!(target = %site.address(key), %error, "an HTTP/2 connection to an upstream ended");
    }
    link.ended.set(true);
}

/// Whether a connection has carried nothing since the clock was set.
fn is_idle(cx: &mut std::task::Context<'_>, mut clock: Pin<&mut Sleep>, limit: Duration, link: &Link) -> bool {
    while clock.as_mut().poll(cx).is_ready() {
        if link.active.get() == 0 && !link.used.replace(false) {
            return true;
        }
        clock.as_mut().reset(tokio::time::Instant::now() + limit);
    }
    false
}

/// Connects and waits until the server shows that it speaks HTTP/2: before that nothing is known of how many streams it
/// takes, and a request that was sent could not be told from one that was lost.
async fn open(
    site: &Rc<Site>,
    key: Key,
    dialled: Option<Upstream>,
) -> Result<(Connection, Rc<Link>, Duration), Answer> {
    let upstream = match dialled {
        Some(upstream) => upstream,
        None => site.connect(key).await.map_err(|error| Answer::connect(&error))?,
    };
    let took = upstream.took;
    let (side, client) = upstream.into_parts();
    let (wire, meter) = Wire::of_server(side, client);
    let handshake = builder(site).handshake(wire).await;
    let (send, mut connection) = handshake.map_err(|error| lost(site, key, &error.to_string()))?;
    poll_fn(|cx| {
        let end = Pin::new(&mut connection).poll(cx);
        match (meter.first(), end) {
            (First::Foreign, _) => Poll::Ready(Err(foreign(site, key, &meter))),
            (_, Poll::Ready(Err(error))) => Poll::Ready(Err(lost(site, key, &error.to_string()))),
            (_, Poll::Ready(Ok(()))) => Poll::Ready(Err(lost(site, key, "it closed the connection"))),
            (First::Settings, Poll::Pending) => Poll::Ready(Ok(())),
            (First::Nothing, Poll::Pending) => Poll::Pending,
        }
    })
    .await?;
    let link = Link { send, meter, active: Cell::new(0), used: Cell::new(true), ended: Cell::new(false) };
    Ok((connection, Rc::new(link), took))
}

fn builder(site: &Site) -> Builder {
    let settings = &site.context.settings;
    let mut builder = Builder::new();
    builder
        .initial_window_size(settings.http2.stream_window)
        .initial_connection_window_size(settings.http2.connection_window)
        .max_header_list_size(u32::try_from(settings.max_head_bytes).unwrap_or(u32::MAX))
        .max_send_buffer_size(SEND_BUFFER)
        .initial_max_send_streams(UNTIL_SETTINGS)
        .enable_push(false);
    builder
}

fn lost(site: &Site, key: Key, why: &str) -> Answer {
    answer("upstream_closed", 502, format!("speaking HTTP/2 to {}: {why}", site.address(key)))
}

fn silent(site: &Site, key: Key) -> Answer {
    let error = format!("{} did not begin to speak HTTP/2 within connect_timeout", site.address(key));
    answer("upstream_timeout", 504, error)
}

fn foreign(site: &Site, key: Key, meter: &Meter) -> Answer {
    let begin = meter.first_bytes();
    let error = format!(
        "{} does not speak HTTP/2 without TLS: what it says begins with \"{}\"",
        site.address(key),
        begin.escape_ascii()
    );
    answer("upstream_not_http2", 502, error)
}

fn answer(reason: &'static str, status: u16, error: String) -> Answer {
    Answer { status, reason, side: ErrorSide::Upstream, error }
}
