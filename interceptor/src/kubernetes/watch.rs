//! Follows one resource: lists it, watches it from there, and begins anew where that is no longer possible.
//!
//! A task per resource runs [`follow`] and sends [`News`]; `source::kubernetes` and `ingress` read them. It ends when they
//! are no longer read. It keeps nothing of the objects and never gives up: each failure is told, waited after, and what
//! was known stays valid. See docs/decisions/0011 for why this is not kube-runtime's watcher.

use std::time::Duration;

use kube::Client;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use tokio::sync::mpsc::Sender;
use tokio::time::{Instant, sleep};

use super::error::{Asked, WatchError};
use super::pace::{BackOff, Pace, spread};
use super::request::{self, Selection, Status};

/// Objects of a page. A page of EndpointSlices with ten endpoints each has two megabytes.
const PAGE: u32 = 500;

/// An object of the API, as far as it is kept.
pub trait Object: DeserializeOwned + 'static {
    /// Its API group; empty for the core.
    const GROUP: &'static str;
    /// Its plural.
    const RESOURCE: &'static str;
    /// The path of all of its kind in all namespaces.
    const PATH: &'static str;
}

/// What happened to a resource.
#[derive(Debug)]
pub enum News<T> {
    /// A list begins: what is in none of its pages is gone at its end.
    Listing,
    /// A page of it.
    Page(Vec<T>),
    /// The list is complete.
    Listed,
    /// The watch is up: from now on changes come as they happen.
    Watching,
    /// An object came or changed.
    Changed(T),
    /// An object is gone; this is its last state.
    Gone(T),
    /// Something failed; it is tried again.
    Failed(WatchError),
}

/// Nobody reads the news any more.
struct Unread;

/// Follows a resource for as long as the other end of `out` is read. `wrap` makes one type of several resources' news.
pub async fn follow<T: Object, O>(
    client: Client,
    selection: Selection,
    pace: Pace,
    out: Sender<O>,
    wrap: fn(News<T>) -> O,
) {
    let back_off = BackOff::new(&pace);
    let mut follower = Follower { client, selection, pace, out, wrap, back_off };
    // The error only says that it is over.
    let Err(Unread) = follower.run().await;
}

struct Follower<T, O> {
    client: Client,
    selection: Selection,
    pace: Pace,
    out: Sender<O>,
    wrap: fn(News<T>) -> O,
    back_off: BackOff,
}

/// An event of a watch. The object is parsed twice: for its version, which is not kept, and for what is.
#[derive(Deserialize)]
struct Event<'l> {
    #[serde(rename = "type")]
    kind: &'l str,
    #[serde(borrow)]
    object: &'l RawValue,
}

#[derive(Deserialize)]
struct Versioned {
    metadata: Version,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    resource_version: String,
}

impl<T: Object, O> Follower<T, O> {
    async fn run(&mut self) -> Result<std::convert::Infallible, Unread> {
        let mut version = None;
        loop {
            let from = match version.take() {
                Some(version) => version,
                None => match self.list().await? {
                    Ok(version) => version,
                    Err(error) => {
                        self.failed(error).await?;
                        continue;
                    }
                },
            };
            let begin = Instant::now();
            let (last, ended) = self.watch(from).await?;
            let lasted = begin.elapsed() >= self.pace.short_watch;
            let expired = matches!(&ended, Err(error) if error.is_expired());
            version = Some(last).filter(|_| !expired);
            match ended {
                // The server ends a watch after a while; nothing is wrong, and nothing is missed.
                Ok(()) => self.back_off.reset(),
                // A new list is what is to be done. It is a fault only where that does not help either.
                Err(error) if expired && lasted => tracing::info!(resource = T::RESOURCE, %error, "listing anew"),
                Err(error) => self.failed(error).await?,
            }
        }
    }

    /// Lists everything: the version that the list is of.
    async fn list(&mut self) -> Result<Result<String, WatchError>, Unread> {
        let asked = Self::asked("list");
        self.tell(News::Listing).await?;
        let mut next = None;
        loop {
            let what = (T::PATH, &self.selection);
            let page = request::page(&self.client, asked, what, next, (PAGE, self.pace.deadline)).await;
            let page: request::Page<T> = match page {
                Ok(page) => page,
                Err(error) => return Ok(Err(error)),
            };
            self.tell(News::Page(page.items.unwrap_or_default())).await?;
            next = Some(page.metadata.next).filter(|next| !next.is_empty());
            if next.is_none() {
                self.tell(News::Listed).await?;
                return Ok(Ok(page.metadata.resource_version));
            }
        }
    }

    /// Watches from a version on: the last version seen, and how it ended.
    async fn watch(&mut self, mut version: String) -> Result<(String, Result<(), WatchError>), Unread> {
        let asked = Self::asked("watch");
        let begin = Instant::now();
        let length = spread(self.pace.watch).max(self.pace.watch * 3 / 4);
        let what = (T::PATH, &self.selection);
        let lines = request::watch(&self.client, asked, what, &version, (length, self.pace.deadline)).await;
        let mut lines = match lines {
            Ok(lines) => lines,
            Err(error) => return Ok((version, Err(error))),
        };
        self.tell(News::Watching).await?;
        let mut events = 0_u64;
        let ended = loop {
            let line = match lines.next().await {
                Ok(Some(line)) => line,
                Ok(None) if events == 0 && begin.elapsed() < self.pace.short_watch => {
                    break Err(WatchError::Short { asked });
                }
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            };
            match read(asked, &line) {
                Ok((now, news)) => {
                    version = now;
                    if let Some(news) = news {
                        self.tell(news).await?;
                    }
                }
                Err(error) => break Err(error),
            }
            events += 1;
            self.back_off.reset();
        };
        Ok((version, ended))
    }

    async fn failed(&mut self, error: WatchError) -> Result<(), Unread> {
        let wait = self.back_off.after_failure(error.retry_after());
        self.tell(News::Failed(error)).await?;
        self.pause(wait).await
    }

    async fn pause(&self, wait: Duration) -> Result<(), Unread> {
        tokio::select! {
            () = sleep(wait) => Ok(()),
            () = self.out.closed() => Err(Unread),
        }
    }

    async fn tell(&self, news: News<T>) -> Result<(), Unread> {
        self.out.send((self.wrap)(news)).await.map_err(|_| Unread)
    }

    fn asked(verb: &'static str) -> Asked {
        Asked { verb, resource: T::RESOURCE, group: T::GROUP }
    }
}

/// Reads an event: the version that it leads to, and what happened.
fn read<T: Object>(asked: Asked, line: &[u8]) -> Result<(String, Option<News<T>>), WatchError> {
    let unreadable = |error: serde_json::Error| request::garbage(asked, &error);
    let event: Event<'_> = serde_json::from_slice(line).map_err(unreadable)?;
    let object = event.object.get();
    if event.kind == "ERROR" {
        let said: Status = serde_json::from_str(object).map_err(unreadable)?;
        return Err(WatchError::Refused { asked, code: said.code, message: said.message, retry_after: None });
    }
    let Version { resource_version } = serde_json::from_str::<Versioned>(object).map_err(unreadable)?.metadata;
    let whole = || serde_json::from_str(object).map_err(unreadable);
    let news = match event.kind {
        "BOOKMARK" => None,
        "DELETED" => Some(News::Gone(whole()?)),
        "ADDED" | "MODIFIED" => Some(News::Changed(whole()?)),
        other => return Err(request::garbage(asked, &format!("unknown kind of event {other:?}"))),
    };
    Ok((resource_version, news))
}
