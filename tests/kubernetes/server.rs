//! What the tests of this tier share: a fast pace, objects, and a client of a server.

use std::time::Duration;

use interceptor::kubernetes::{Access, Cluster, Object, Pace, connect};
use interceptor_tests::apiserver::ApiServer;
use interceptor_tests::apiserver::resource::Resource;
use serde::Deserialize;
use serde_json::{Value, json};

/// What normally takes milliseconds may take this long on a busy machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// An object's name, and nothing else of it.
#[derive(Debug, Deserialize)]
pub(crate) struct Named {
    pub(crate) metadata: Metadata,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Metadata {
    pub(crate) name: String,
}

impl Object for Named {
    const GROUP: &'static str = "";
    const RESOURCE: &'static str = "namespaces";
    const PATH: &'static str = "/api/v1/namespaces";
}

/// Everything ten times faster than in production, so that what is waited for comes soon.
pub(crate) fn pace() -> Pace {
    Pace {
        deadline: Duration::from_millis(800),
        wait: Duration::from_millis(20),
        wait_max: Duration::from_millis(200),
        short_watch: Duration::from_millis(100),
        ..Pace::default()
    }
}

pub(crate) fn resource(group: &str, plural: &str) -> &'static Resource {
    Resource::named(group, plural).unwrap()
}

pub(crate) fn namespaces() -> &'static Resource {
    resource("", "namespaces")
}

pub(crate) fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {"azds.io/space": "true"}}})
}

/// A client of that server.
pub(crate) async fn client(server: &ApiServer) -> Cluster {
    let path = std::env::temp_dir().join(format!("interceptor-kubeconfig-{}", server.address().port()));
    server.write_kubeconfig(&path).unwrap();
    let access = Access { kubeconfig: vec![path.clone()], user_agent: "tests/1".to_owned() };
    let cluster = connect(&access).await.unwrap();
    std::fs::remove_file(path).unwrap();
    cluster
}
