//! What the manager sees of the cluster: all namespaces, services and Ingress objects, kept up to date by watches.
//!
//! [`kubernetes::follow`](crate::kubernetes::follow) lists and watches, with back-off; this module keeps what is read of
//! the objects. A list replaces what was known when it is complete: half of one is never seen.

use std::collections::HashMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Namespace, Service};
use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt as _};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::facts::Facts;
use super::objects;
use crate::kubernetes::{News, Object, Pace, Selection, follow};

/// News that wait to be read; more hold the watches up.
const QUEUE: usize = 64;
/// For one list of a dry run.
const DEADLINE: Duration = Duration::from_secs(60);

/// Namespace and name.
pub(super) type Key = (String, String);

macro_rules! followed {
    ($($type:ident, $group:literal, $resource:literal, $path:literal;)*) => {
        $(impl Object for $type {
            const GROUP: &'static str = $group;
            const RESOURCE: &'static str = $resource;
            const PATH: &'static str = $path;
        })*
    };
}

followed! {
    Namespace, "", "namespaces", "/api/v1/namespaces";
    Service, "", "services", "/api/v1/services";
    Ingress, "networking.k8s.io", "ingresses", "/apis/networking.k8s.io/v1/ingresses";
}

/// What one of the watches has to say.
enum Heard {
    Namespace(Box<News<Namespace>>),
    Service(Box<News<Service>>),
    Ingress(Box<News<Ingress>>),
}

/// All objects of one kind.
pub(super) struct Store<T> {
    known: HashMap<Key, T>,
    /// What a list has brought so far, until it is complete.
    listing: Option<HashMap<Key, T>>,
    /// Whether a list was complete once.
    complete: bool,
}

impl<T> Default for Store<T> {
    fn default() -> Self {
        Self { known: HashMap::new(), listing: None, complete: false }
    }
}

impl<T: Trim> Store<T> {
    /// The object of that name.
    pub(super) fn get(&self, namespace: &str, name: &str) -> Option<&T> {
        self.known.get(&(namespace.to_owned(), name.to_owned()))
    }

    fn hear(&mut self, news: News<T>) {
        match news {
            News::Listing => self.listing = Some(HashMap::new()),
            News::Page(objects) => {
                let listing = self.listing.get_or_insert_default();
                listing.extend(objects.into_iter().map(trimmed));
            }
            News::Listed => {
                if let Some(listed) = self.listing.take() {
                    self.known = listed;
                    self.complete = true;
                }
            }
            News::Changed(object) => {
                let (key, object) = trimmed(object);
                self.known.insert(key, object);
            }
            News::Gone(object) => {
                self.known.remove(&trimmed(object).0);
            }
            News::Watching => {}
            // The last picture stays; the watch goes on by itself.
            News::Failed(error) => tracing::warn!(%error, "what is known of the cluster may be old"),
        }
    }
}

fn trimmed<T: Trim>(mut object: T) -> (Key, T) {
    object.trim();
    let meta = object.meta();
    ((meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default()), object)
}

/// The three stores and what keeps them up to date.
pub(super) struct View {
    pub(super) namespaces: Store<Namespace>,
    pub(super) services: Store<Service>,
    pub(super) ingresses: Store<Ingress>,
    heard_rx: mpsc::Receiver<Heard>,
}

impl View {
    /// Starts the watches; they end with `tasks`.
    pub(super) fn start(client: &Client, tasks: &mut JoinSet<()>) -> Self {
        let (heard_tx, heard_rx) = mpsc::channel(QUEUE);
        let (all, pace) = (Selection::default(), Pace::default());
        let (client, tx) = (client.clone(), heard_tx);
        tasks.spawn_local(follow(client.clone(), all.clone(), pace.clone(), tx.clone(), |news| {
            Heard::Namespace(Box::new(news))
        }));
        tasks.spawn_local(follow(client.clone(), all.clone(), pace.clone(), tx.clone(), |news| {
            Heard::Service(Box::new(news))
        }));
        tasks.spawn_local(follow(client, all, pace, tx, |news| Heard::Ingress(Box::new(news))));
        Self { namespaces: Store::default(), services: Store::default(), ingresses: Store::default(), heard_rx }
    }

    /// Whether all three have been listed once.
    pub(super) fn is_complete(&self) -> bool {
        self.namespaces.complete && self.services.complete && self.ingresses.complete
    }

    /// Waits for news and takes in all that are there; false when there will be none.
    pub(super) async fn listen(&mut self) -> bool {
        let Some(first) = self.heard_rx.recv().await else { return false };
        self.hear(first);
        while let Ok(next) = self.heard_rx.try_recv() {
            self.hear(next);
        }
        true
    }

    fn hear(&mut self, heard: Heard) {
        match heard {
            Heard::Namespace(news) => self.namespaces.hear(*news),
            Heard::Service(news) => self.services.hear(*news),
            Heard::Ingress(news) => self.ingresses.hear(*news),
        }
    }

    /// The planner's facts.
    pub(super) fn facts(&self) -> Facts {
        Facts {
            namespaces: self.namespaces.known.values().map(objects::namespace).collect(),
            services: self.services.known.values().map(objects::service).collect(),
            ingresses: self.ingresses.known.values().map(objects::existing).collect(),
        }
    }

    /// All Ingress objects.
    pub(super) fn there(&self) -> &HashMap<Key, Ingress> {
        &self.ingresses.known
    }
}

/// The facts as they are now, asked once: for the dry run.
///
/// # Errors
/// Where the API server does not answer or does not allow it.
pub(super) async fn once(client: &Client) -> anyhow::Result<Facts> {
    let all = ListParams::default();
    let (namespaces, services, ingresses) = (
        Api::<Namespace>::all(client.clone()),
        Api::<Service>::all(client.clone()),
        Api::<Ingress>::all(client.clone()),
    );
    let asked = async {
        Ok::<_, kube::Error>((namespaces.list(&all).await?, services.list(&all).await?, ingresses.list(&all).await?))
    };
    let (namespaces, services, ingresses) = timeout(DEADLINE, asked).await??;
    Ok(Facts {
        namespaces: namespaces.items.iter().map(objects::namespace).collect(),
        services: services.items.iter().map(objects::service).collect(),
        ingresses: ingresses.items.iter().map(objects::existing).collect(),
    })
}

/// Cutting an object down to what is read of it.
pub(super) trait Trim {
    fn trim(&mut self);
    fn meta(&self) -> &ObjectMeta;
}

impl Trim for Namespace {
    fn trim(&mut self) {
        self.metadata.managed_fields = None;
        self.spec = None;
        self.status = None;
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
}

impl Trim for Service {
    fn trim(&mut self) {
        self.metadata.managed_fields = None;
        self.metadata.labels = None;
        self.annotations_mut().retain(|key, _| key.starts_with("azds.io/"));
        self.status = None;
        if let Some(spec) = &mut self.spec {
            spec.selector = None;
        }
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
}

impl Trim for Ingress {
    fn trim(&mut self) {
        self.metadata.managed_fields = None;
        self.annotations_mut().remove("kubectl.kubernetes.io/last-applied-configuration");
        self.status = None;
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Namespace {
        Namespace {
            metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
            ..Namespace::default()
        }
    }

    fn names(store: &Store<Namespace>) -> Vec<&str> {
        let mut names: Vec<_> = store.known.keys().map(|(_, name)| name.as_str()).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn a_list_counts_when_it_is_complete_and_replaces_what_was_known() {
        let mut store = Store::default();
        store.hear(News::Listing);
        store.hear(News::Page(vec![named("a")]));
        assert_eq!((names(&store).len(), store.complete), (0, false));
        store.hear(News::Page(vec![named("b")]));
        store.hear(News::Listed);
        store.hear(News::Watching);
        assert_eq!((names(&store), store.complete), (vec!["a", "b"], true));
        store.hear(News::Changed(named("c")));
        store.hear(News::Gone(named("a")));
        assert_eq!(names(&store), ["b", "c"]);
        // A list that breaks off leaves what was known.
        store.hear(News::Listing);
        store.hear(News::Page(vec![named("d")]));
        store.hear(News::Listing);
        assert_eq!(names(&store), ["b", "c"]);
        store.hear(News::Page(vec![named("c")]));
        store.hear(News::Listed);
        assert_eq!(names(&store), ["c"]);
    }
}
