//! What kubectl asks a server before anything else: its version, groups and resources.

use serde_json::{Value, json};

use super::resource::RESOURCES;

/// The answer to a path that names no resource, if it is one of discovery's.
pub(crate) fn answer(path: &str) -> Option<Value> {
    let words: Vec<&str> = path.split('/').filter(|word| !word.is_empty()).collect();
    match words.as_slice() {
        ["version"] => Some(json!({"major": "1", "minor": "36", "gitVersion": "v1.36.0-interceptor-tests"})),
        ["healthz" | "readyz" | "livez"] => Some(json!("ok")),
        ["api"] => Some(json!({"kind": "APIVersions", "versions": ["v1"]})),
        ["apis"] => Some(json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups()})),
        ["api", "v1"] => Some(resources("")),
        ["apis", group, "v1"] if RESOURCES.iter().any(|one| one.group == *group) => Some(resources(group)),
        _ => None,
    }
}

fn groups() -> Vec<Value> {
    let mut names: Vec<&str> = RESOURCES.iter().map(|one| one.group).filter(|group| !group.is_empty()).collect();
    names.dedup();
    let group = |name: &str| {
        let version = json!({"groupVersion": format!("{name}/v1"), "version": "v1"});
        json!({"name": name, "versions": [version], "preferredVersion": version})
    };
    names.into_iter().map(group).collect()
}

fn resources(group: &str) -> Value {
    let verbs = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
    let of_group = RESOURCES.iter().filter(|one| one.group == group);
    let list: Vec<Value> = of_group
        .map(|one| {
            let short: &[&str] = match one.plural {
                "namespaces" => &["ns"],
                "services" => &["svc"],
                "pods" => &["po"],
                "ingresses" => &["ing"],
                "configmaps" => &["cm"],
                _ => &[],
            };
            json!({"name": one.plural, "singularName": one.kind.to_lowercase(), "namespaced": one.namespaced,
                   "kind": one.kind, "verbs": verbs, "shortNames": short})
        })
        .collect();
    let version = if group.is_empty() { "v1".to_owned() } else { format!("{group}/v1") };
    json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": list})
}
