//! The manifests of deploy/kubernetes as kubectl renders them, and the rights that they grant.
//!
//! The ingress tier judges them; the tests of rights let the test API server refuse whatever they do not grant. Needs
//! kubectl (`cargo xtask setup` installs it). Nothing here knows what the code asks for.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::apiserver::Rule;

/// One right that a role grants.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Grant {
    /// What may be done.
    pub verb: String,
    /// The API group; empty for the core.
    pub group: String,
    /// The resource's plural.
    pub resource: String,
    /// In all namespaces (a ClusterRole); otherwise only in the role's own.
    pub everywhere: bool,
}

impl Grant {
    /// As a rule of the test API server, which knows no namespaces of rules.
    pub fn rule(&self) -> Rule {
        Rule {
            groups: vec![self.group.clone()],
            resources: vec![self.resource.clone()],
            verbs: vec![self.verb.clone()],
        }
    }
}

/// A path below the repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// What `kubectl kustomize` makes of a directory of the repository, object by object.
pub fn render(directory: &str) -> Result<Vec<Value>> {
    let path = repository(directory);
    let output = Command::new("kubectl").arg("kustomize").arg(&path).output().context("running kubectl")?;
    ensure!(output.status.success(), "{directory}: {}", String::from_utf8_lossy(&output.stderr));
    let warnings = String::from_utf8_lossy(&output.stderr);
    ensure!(warnings.is_empty(), "{directory}: {warnings}");
    serde_saphyr::from_multiple(&String::from_utf8(output.stdout)?).with_context(|| format!("reading {directory}"))
}

/// The objects of a kind.
pub fn of_kind<'d>(documents: &'d [Value], kind: &str) -> Vec<&'d Value> {
    documents.iter().filter(|document| document["kind"] == kind).collect()
}

/// The object of that kind and name.
pub fn one<'d>(documents: &'d [Value], kind: &str, name: &str) -> Result<&'d Value> {
    let found = documents.iter().find(|document| document["kind"] == kind && document["metadata"]["name"] == name);
    found.with_context(|| format!("there is no {kind} {name}"))
}

/// Every right that the roles bound to a service account grant.
pub fn grants(documents: &[Value], account: &str) -> Result<Vec<Grant>> {
    let mut found = Vec::new();
    for binding in [of_kind(documents, "ClusterRoleBinding"), of_kind(documents, "RoleBinding")].concat() {
        let subjects = binding["subjects"].as_array().cloned().unwrap_or_default();
        if !subjects.iter().any(|subject| subject["name"] == account && subject["kind"] == "ServiceAccount") {
            continue;
        }
        let reference = &binding["roleRef"];
        let kind = reference["kind"].as_str().unwrap_or_default();
        let role = one(documents, kind, reference["name"].as_str().unwrap_or_default())?;
        for rule in role["rules"].as_array().into_iter().flatten() {
            for group in texts(&rule["apiGroups"]) {
                for resource in texts(&rule["resources"]) {
                    let grant = |verb: &str| Grant {
                        verb: verb.to_owned(),
                        group: group.to_owned(),
                        resource: resource.to_owned(),
                        everywhere: kind == "ClusterRole",
                    };
                    found.extend(texts(&rule["verbs"]).into_iter().map(grant));
                }
            }
        }
    }
    Ok(found)
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}
