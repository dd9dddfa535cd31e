//! One watch of the test API server: what happens to a resource, as events on a connection.
//!
//! A task per watch, started by [`handle`](super::handle); it ends with the client, with its `timeoutSeconds`, when the
//! test cuts all watches, and with an ERROR event once its version is too old.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::channel::Sender;
use serde_json::{Value, json};
use tokio::sync::watch::Receiver;
use tokio::time::{Instant, sleep_until};

use super::Shared;
use super::answer::{Broken, Refusal};
use super::resource::Resource;
use super::selector::Selector;
use super::store::Happening;

/// What a client asked to watch.
pub(crate) struct Watch {
    pub(crate) resource: &'static Resource,
    pub(crate) namespace: Option<String>,
    pub(crate) selector: Selector,
    /// Everything after this.
    pub(crate) version: u64,
    /// Objects that exist come first as ADDED, with a bookmark behind them.
    pub(crate) initial: bool,
    pub(crate) bookmarks: bool,
    pub(crate) timeout: Duration,
}

/// The connection is gone.
struct Gone;

impl Watch {
    /// The watch, which can be cut from now on, whenever it is first polled.
    pub(crate) fn run(self, shared: Arc<Shared>, to: Sender<Bytes, Broken>) -> impl Future<Output = ()> {
        let mut cut = shared.cut.subscribe();
        cut.mark_unchanged();
        self.run_until(cut, shared, to)
    }

    async fn run_until(mut self, mut cut: Receiver<()>, shared: Arc<Shared>, mut to: Sender<Bytes, Broken>) {
        let mut changed = shared.changed.subscribe();
        let end = Instant::now() + self.timeout;
        if self.initial && self.existing(&shared, &mut to).await.is_err() {
            return;
        }
        loop {
            changed.mark_unchanged();
            if self.news(&shared, &mut to).await.is_err() {
                return;
            }
            tokio::select! {
                _ = changed.changed() => {}
                _ = cut.changed() => return to.abort(Broken),
                () = sleep_until(end) => {
                    self.bookmark(&mut to, json!({})).await.ok();
                    return;
                }
            }
        }
    }

    async fn existing(&mut self, shared: &Shared, to: &mut Sender<Bytes, Broken>) -> Result<(), Gone> {
        let page = shared.store().list(self.resource, self.namespace.as_deref(), &self.selector, None, usize::MAX);
        self.version = page.version;
        for object in page.items {
            event(to, "ADDED", &object).await?;
        }
        self.bookmark(to, json!({"k8s.io/initial-events-end": "true"})).await
    }

    /// What has happened since; a bookmark where the test wants one.
    async fn news(&mut self, shared: &Shared, to: &mut Sender<Bytes, Broken>) -> Result<(), Gone> {
        let (happened, now) = match self.read(shared) {
            Ok(read) => read,
            Err(refusal) => {
                event(to, "ERROR", &refusal.status()).await?;
                return Err(Gone);
            }
        };
        for one in happened {
            self.version = one.version;
            if let Some((kind, object)) = self.as_event(&one) {
                event(to, kind, object).await?;
            }
        }
        self.version = now;
        if shared.take_bookmark(self.resource) {
            self.bookmark(to, json!({})).await?;
        }
        Ok(())
    }

    fn read(&self, shared: &Shared) -> Result<(Vec<Happening>, u64), Refusal> {
        let store = shared.store();
        Ok((store.since(self.resource, self.version)?.to_vec(), store.version()))
    }

    /// How a watcher with this selector sees it.
    fn as_event<'h>(&self, one: &'h Happening) -> Option<(&'static str, &'h Value)> {
        let seen = |object: &'h Option<Arc<Value>>| {
            object.as_deref().filter(|object| {
                let inside = |namespace: &String| object["metadata"]["namespace"] == namespace.as_str();
                self.namespace.as_ref().is_none_or(inside) && self.selector.matches(object)
            })
        };
        match (seen(&one.before), seen(&one.after)) {
            (None, None) => None,
            (None, Some(after)) => Some(("ADDED", after)),
            (Some(_), Some(after)) => Some(("MODIFIED", after)),
            (Some(before), None) => Some(("DELETED", one.after.as_deref().unwrap_or(before))),
        }
    }

    async fn bookmark(&self, to: &mut Sender<Bytes, Broken>, annotations: Value) -> Result<(), Gone> {
        if !self.bookmarks {
            return Ok(());
        }
        let mut object = json!({"kind": self.resource.kind, "apiVersion": self.resource.api_version(),
            "metadata": {"resourceVersion": self.version.to_string(), "creationTimestamp": null}});
        if annotations.as_object().is_some_and(|map| !map.is_empty()) {
            object["metadata"]["annotations"] = annotations;
        }
        // As recorded from a real server: what a type requires is there and is null.
        if self.resource.kind == "EndpointSlice" {
            object["addressType"] = json!("");
            object["endpoints"] = Value::Null;
            object["ports"] = Value::Null;
        }
        event(to, "BOOKMARK", &object).await
    }
}

async fn event(to: &mut Sender<Bytes, Broken>, kind: &str, object: &Value) -> Result<(), Gone> {
    let mut line = serde_json::to_vec(&json!({"type": kind, "object": object})).unwrap_or_default();
    line.push(b'\n');
    to.send_data(line.into()).await.map_err(|_| Gone)
}
