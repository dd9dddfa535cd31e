//! Tells people of problems where they look: as Events of the object, which `kubectl describe` shows.
//!
//! The controller tells of what is new, and from time to time of what is still so, because a cluster forgets Events after
//! an hour. An Event that cannot be written costs a log line and nothing else.

use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Api, PostParams};
use tokio::time::timeout;

use super::labels::MANAGER;
use super::pace::Pace;
use super::problem::{Kind, Object, Problem};
use super::view::{Trim, View};

/// For one answer of the API server.
const DEADLINE: Duration = Duration::from_secs(5);
/// The API server takes no longer note, and no longer name.
const MAX_NOTE: usize = 1024;
const MAX_INSTANCE: usize = 128;

/// Writes Events.
pub(super) struct Events {
    client: Client,
    identity: String,
    pace: Pace,
}

impl Events {
    pub(super) fn new(client: Client, identity: &str) -> Self {
        Self { client, identity: identity.to_owned(), pace: Pace::default() }
    }

    /// One Event a problem.
    pub(super) async fn tell(&mut self, problems: impl Iterator<Item = &Problem>, view: &View) {
        for problem in problems {
            self.pace.wait().await;
            let event = event(problem, reference(&problem.about, view), &self.identity, Timestamp::now());
            let namespace = event.metadata.namespace.clone().unwrap_or_default();
            let api: Api<Event> = Api::namespaced(self.client.clone(), &namespace);
            match timeout(DEADLINE, api.create(&PostParams::default(), &event)).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => tracing::warn!(%error, about = %problem.about, "writing an event"),
                Err(_) => tracing::warn!(about = %problem.about, "writing an event: no answer from the API server"),
            }
        }
    }
}

fn event(problem: &Problem, regarding: ObjectReference, identity: &str, now: Timestamp) -> Event {
    // Events about what has no namespace lie in this one.
    let namespace = regarding.namespace.clone().unwrap_or_else(|| "default".to_owned());
    Event {
        metadata: ObjectMeta {
            namespace: Some(namespace),
            name: Some(format!("{}.{:x}", problem.about.name, now.as_nanosecond())),
            ..ObjectMeta::default()
        },
        type_: Some("Warning".to_owned()),
        reason: Some(problem.reason.as_str().to_owned()),
        action: Some("Expose".to_owned()),
        note: Some(cut(&problem.message, MAX_NOTE)),
        regarding: Some(regarding),
        event_time: Some(MicroTime(now)),
        reporting_controller: Some(MANAGER.to_owned()),
        reporting_instance: Some(cut(identity, MAX_INSTANCE)),
        ..Event::default()
    }
}

/// With the object's uid, by which `kubectl describe` looks for its Events.
fn reference(object: &Object, view: &View) -> ObjectReference {
    let Object { kind, namespace, name } = object;
    let (api_version, meta) = match kind {
        Kind::Namespace => ("v1", view.namespaces.get(namespace, name).map(Trim::meta)),
        Kind::Service => ("v1", view.services.get(namespace, name).map(Trim::meta)),
        Kind::Ingress => ("networking.k8s.io/v1", view.ingresses.get(namespace, name).map(Trim::meta)),
    };
    ObjectReference {
        api_version: Some(api_version.to_owned()),
        kind: Some(kind.as_str().to_owned()),
        namespace: Some(namespace.clone()).filter(|namespace| !namespace.is_empty()),
        name: Some(name.clone()),
        uid: meta.and_then(|meta| meta.uid.clone()),
        ..ObjectReference::default()
    }
}

/// Cuts a text at the bound, between characters.
fn cut(text: &str, most: usize) -> String {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingress::problem::Reason;

    #[test]
    fn a_note_is_cut_between_characters() {
        assert_eq!(cut("short", 9), "short");
        assert_eq!(cut(&"ä".repeat(1000), 1024).len(), 1024);
        assert_eq!(cut(&format!("x{}", "ä".repeat(1000)), 1024).len(), 1023);
    }

    #[test]
    fn an_event_lies_beside_its_object_or_in_default() {
        let place = |object: Object| {
            let namespace = Some(object.namespace.clone()).filter(|namespace| !namespace.is_empty());
            let regarding = ObjectReference { namespace, ..ObjectReference::default() };
            let event = event(&object.has(Reason::NoPort, "m".into()), regarding, "me", Timestamp::UNIX_EPOCH);
            (event.metadata.namespace.unwrap(), event.reason.unwrap(), event.reporting_instance.unwrap())
        };
        let expected = |namespace: &str| (namespace.to_owned(), "NoPort".to_owned(), "me".to_owned());
        assert_eq!(place(Object::service("dev", "a")), expected("dev"));
        assert_eq!(place(Object::namespace("dev")), expected("default"));
    }
}
