//! From objects to snapshots: on recordings of a real API server, and rule by rule on objects that it would send.

mod recordings;
mod rules;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::objects::{Namespace, Pod, Service, Slice};
use super::world::{Input, World};
use crate::config::Routing;
use crate::kubernetes::News;
use crate::snapshot::Snapshot;

/// A cluster as the source sees it, and the snapshot that it leads to.
struct Cluster {
    world: World,
    snapshot: Snapshot,
}

impl Cluster {
    /// Nothing is known.
    fn new() -> Self {
        let routing = Routing { ingress_suffixes: vec!["eus.azds.io".to_owned()], ..Routing::default() };
        Self { world: World::default(), snapshot: Snapshot::empty(&routing) }
    }

    /// Complete lists of these objects.
    fn of(objects: &[Value]) -> Self {
        let mut cluster = Self::new();
        cluster.list(objects);
        cluster
    }

    /// New lists: all that there is.
    fn list(&mut self, objects: &[Value]) {
        fn all<T: DeserializeOwned>(kind: &str, objects: &[Value]) -> Vec<T> {
            let of_kind = objects.iter().filter(|object| object["kind"] == kind);
            of_kind.map(|object| serde_json::from_value(object.clone()).unwrap()).collect()
        }
        let world = &mut self.world;
        for news in [News::Listing, News::Page(all::<Namespace>("Namespace", objects)), News::Listed] {
            world.take(Input::Namespaces(news));
        }
        for news in [News::Listing, News::Page(all::<Service>("Service", objects)), News::Listed] {
            world.take(Input::Services(news));
        }
        for news in [News::Listing, News::Page(all::<Slice>("EndpointSlice", objects)), News::Listed] {
            world.take(Input::Slices(news));
        }
        for news in [News::Listing, News::Page(all::<Pod>("Pod", objects)), News::Listed] {
            world.take(Input::Pods(news));
        }
        self.settle();
    }

    /// One object came, changed or (`gone`) went.
    fn event(&mut self, object: &Value, gone: bool) {
        fn news<T: DeserializeOwned>(object: &Value, gone: bool) -> News<T> {
            let object = serde_json::from_value(object.clone()).unwrap();
            if gone { News::Gone(object) } else { News::Changed(object) }
        }
        self.world.take(match object["kind"].as_str().unwrap() {
            "Namespace" => Input::Namespaces(news(object, gone)),
            "Service" => Input::Services(news(object, gone)),
            "EndpointSlice" => Input::Slices(news(object, gone)),
            "Pod" => Input::Pods(news(object, gone)),
            other => panic!("{other}"),
        });
        self.settle();
    }

    fn settle(&mut self) {
        let batch = self.world.changes();
        assert!(!self.world.is_dirty());
        self.snapshot = self.snapshot.update(&batch.changes()).0;
    }

    /// The spaces with their parents, as `name<parent`.
    fn spaces(&self) -> Vec<String> {
        let mut spaces: Vec<String> = self
            .snapshot
            .spaces()
            .map(|space| format!("{}<{}", space.name, space.parent.as_deref().unwrap_or("-")))
            .collect();
        spaces.sort();
        spaces
    }

    /// The services as `name.space`.
    fn services(&self) -> Vec<String> {
        let mut services: Vec<String> = self.snapshot.services().map(|service| service.id.to_string()).collect();
        services.sort();
        services
    }

    /// Every address that is routed.
    fn destinations(&self) -> Vec<String> {
        let mut all: Vec<_> = self.snapshot.destinations().map(|(address, _)| address).collect();
        all.sort();
        all.iter().map(ToString::to_string).collect()
    }

    /// The workloads, as `name@space`.
    fn workloads(&self) -> Vec<String> {
        let name = |space: Option<&str>| space.unwrap_or("-").to_owned();
        let all = self.snapshot.workloads();
        let mut all: Vec<String> = all.map(|one| format!("{}@{}", one.name, name(one.space_name.as_deref()))).collect();
        all.sort();
        all
    }

    fn troubles(&self) -> Vec<String> {
        self.world.troubles().map(ToString::to_string).collect()
    }
}
