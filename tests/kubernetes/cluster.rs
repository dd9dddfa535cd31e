//! What runs on a real cluster as well (`cargo xtask test --kubernetes`): the API alone makes and removes everything, in
//! namespaces of its own; without a cluster the test API server takes its place.
//!
//! The service has no selector, so that its slices are the test's also where controllers run.

use std::env;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::Request;
use interceptor::config::{ServiceSpec, SpaceSpec};
use interceptor::kubernetes::{Access, Cluster, Pace, connect};
use interceptor::metrics::Metrics;
use interceptor::source::kubernetes::{Batch, Source};
use interceptor::status::StatusBoard;
use interceptor_tests::apiserver::ApiServer;
use interceptor_tests::apiserver::resource::Resource;
use serde_json::{Value, json};
use tokio::task::LocalSet;
use tokio::time::timeout;

use crate::server::{LIMIT, client, resource};

/// A cluster, and what was made in it.
struct Api {
    cluster: Cluster,
    /// Where there is no real one.
    _server: Option<ApiServer>,
    prefix: String,
}

impl Api {
    async fn new() -> Api {
        let prefix = format!("interceptor-test-{}", std::process::id());
        // Named by `cargo xtask test --kubernetes`, never taken from what happens to be the user's current cluster.
        let Some(kubeconfig) = env::var_os("INTERCEPTOR_TEST_KUBECONFIG") else {
            let server = ApiServer::start().unwrap();
            return Api { cluster: client(&server).await, _server: Some(server), prefix };
        };
        let access = Access { kubeconfig: vec![PathBuf::from(kubeconfig)], user_agent: "interceptor-tests".to_owned() };
        Api { cluster: connect(&access).await.unwrap(), _server: None, prefix }
    }

    async fn send(&self, method: &str, path: &str, body: &Value) -> Value {
        let kind = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let request = Request::builder().method(method).uri(path).header("content-type", kind);
        let request = request.body(serde_json::to_vec(body).unwrap()).unwrap();
        self.cluster.client.request(request).await.unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    async fn create(&self, kind: &Resource, namespace: &str, object: Value) -> Value {
        let mut object = object;
        object["apiVersion"] = json!(kind.api_version());
        object["kind"] = json!(kind.kind);
        self.send("POST", &kind.path(Some(namespace).filter(|name| !name.is_empty()), None), &object).await
    }

    async fn remove(&self, kind: &Resource, namespace: &str, name: &str) {
        let path = kind.path(Some(namespace).filter(|name| !name.is_empty()), Some(name));
        self.send("DELETE", &path, &json!({})).await;
    }

    fn name(&self, name: &str) -> String {
        format!("{}-{name}", self.prefix)
    }
}

/// What the source has told, put together.
#[derive(Default)]
struct Told {
    spaces: Vec<SpaceSpec>,
    services: Vec<ServiceSpec>,
}

impl Told {
    fn take(&mut self, batch: Batch) {
        self.spaces.retain(|old| !batch.spaces_gone.contains(&old.name));
        self.spaces.retain(|old| batch.spaces.iter().all(|new| new.name != old.name));
        self.spaces.extend(batch.spaces);
        let is_gone = |old: &ServiceSpec| batch.services_gone.contains(&(old.space.clone(), old.name.clone()));
        self.services.retain(|old| !is_gone(old));
        self.services.retain(|old| batch.services.iter().all(|new| (&new.space, &new.name) != (&old.space, &old.name)));
        self.services.extend(batch.services);
    }

    fn service(&self, space: &str, name: &str) -> Option<&ServiceSpec> {
        self.services.iter().find(|service| service.space == space && service.name == name)
    }
}

/// Reads batches until `done` holds; how long that took.
async fn until(source: &mut Source, told: &mut Told, what: &str, done: impl Fn(&Told) -> bool) -> Duration {
    let begin = Instant::now();
    while !done(told) {
        let batch = timeout(LIMIT, source.next()).await.unwrap_or_else(|_| panic!("waited for {what}"));
        told.take(batch);
        source.in_force(Duration::ZERO);
    }
    begin.elapsed()
}

#[tokio::test]
async fn spaces_services_and_endpoints_of_a_cluster_are_followed() {
    LocalSet::new().run_until(story()).await;
}

async fn story() {
    let api = Api::new().await;
    let namespaces = resource("", "namespaces");
    let (root, child) = (api.name("root"), api.name("child"));
    let labels = json!({"azds.io/space": "true"});
    api.create(namespaces, "", json!({"metadata": {"name": root, "labels": labels}})).await;

    let (status, metrics) = (Arc::new(StatusBoard::new("kubernetes", "test")), Arc::new(Metrics::new()));
    let mut source = Source::start(&api.cluster, "no-such-node", &Pace::default(), status, metrics);
    let mut told = Told::default();
    let synced =
        until(&mut source, &mut told, "the first sync", |told| told.spaces.iter().any(|s| s.name == root)).await;

    let labels = json!({"azds.io/space": "true", "azds.io/parent-space": root});
    api.create(namespaces, "", json!({"metadata": {"name": child, "labels": labels}})).await;
    let is_child = |space: &SpaceSpec| space.name == child && space.parent.as_deref() == Some(&*root);
    let space = until(&mut source, &mut told, "the child", |told| told.spaces.iter().any(is_child)).await;

    let ports = json!([{"name": "http", "port": 80, "targetPort": 8080, "appProtocol": "http"}]);
    let service = json!({"metadata": {"name": "web"}, "spec": {"ports": ports}});
    let made = api.create(resource("", "services"), &child, service).await;
    until(&mut source, &mut told, "the service", |told| told.service(&child, "web").is_some()).await;
    let web = told.service(&child, "web").unwrap();
    assert_eq!(web.addresses.first().unwrap().to_string(), made["spec"]["clusterIP"].as_str().unwrap());
    assert_eq!((web.ports[0].app_protocol.as_deref(), web.endpoints.len()), (Some("http"), 0));

    let slices = resource("discovery.k8s.io", "endpointslices");
    let slice = |ready: bool| {
        json!({"metadata": {"name": "web-1", "labels": {"kubernetes.io/service-name": "web"}}, "addressType": "IPv4",
               "endpoints": [{"addresses": ["192.0.2.7"], "conditions": {"ready": ready}}],
               "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}]})
    };
    api.create(slices, &child, slice(true)).await;
    let is = |told: &Told, ready: bool| {
        told.service(&child, "web").is_some_and(|web| web.endpoints.first().is_some_and(|one| one.ready == ready))
    };
    let endpoint = until(&mut source, &mut told, "the endpoint", |told| is(told, true)).await;
    api.send("PATCH", &slices.path(Some(&child), Some("web-1")), &slice(false)).await;
    until(&mut source, &mut told, "the endpoint to be unready", |told| is(told, false)).await;

    api.remove(resource("", "services"), &child, "web").await;
    until(&mut source, &mut told, "the service to go", |told| told.service(&child, "web").is_none()).await;
    for name in [&child, &root] {
        api.remove(namespaces, "", name).await;
    }
    println!(
        "first sync {synced:?}; a space known after {space:?}, an endpoint after {endpoint:?} (and the call's end)"
    );
    until(&mut source, &mut told, "the spaces to go", |told| !told.spaces.iter().any(|space| space.name == child))
        .await;
}
