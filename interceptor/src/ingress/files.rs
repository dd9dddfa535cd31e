//! API objects from files, as `kubectl get -o yaml` prints them and as `kubectl apply` takes them: the dry run's other source.
//!
//! YAML with any number of documents, or JSON; lists are taken apart. Kinds that the planner does not look at are passed
//! over, so that a whole deployment's manifests can be given.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::facts::Facts;
use super::objects;

/// Why a file gives no objects.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// It cannot be read.
    #[error("reading the objects in {}: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is neither YAML nor JSON.
    #[error("the objects in {} are neither YAML nor JSON: {message}", .path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        message: String,
    },
    /// An object is not what its kind says.
    #[error("in {}: the {kind} {name:?} is not valid: {source}", .path.display())]
    Object {
        /// The file.
        path: PathBuf,
        /// The object's kind.
        kind: String,
        /// The object's name.
        name: String,
        /// Why.
        source: serde_json::Error,
    },
}

/// Reads the objects of all files.
///
/// # Errors
/// Where a file cannot be read or holds something that is no object.
pub fn read(paths: &[PathBuf]) -> Result<Facts, FilesError> {
    let mut facts = Facts::default();
    for path in paths {
        let text = fs::read_to_string(path).map_err(|source| FilesError::Read { path: path.clone(), source })?;
        for document in documents(path, &text)? {
            add(&mut facts, path, "", document)?;
        }
    }
    Ok(facts)
}

fn documents(path: &Path, text: &str) -> Result<Vec<Value>, FilesError> {
    // Whatever is JSON is read as that: YAML's rules for it cost more.
    if let Ok(value) = serde_json::from_str(text) {
        return Ok(vec![value]);
    }
    let failed = |error: serde_saphyr::Error| FilesError::Syntax { path: path.to_owned(), message: error.to_string() };
    serde_saphyr::from_multiple(text).map_err(failed)
}

/// Adds one object, or those of a list. Items of a `ServiceList` do not say that they are services: `kind` does.
fn add(facts: &mut Facts, path: &Path, kind: &str, mut object: Value) -> Result<(), FilesError> {
    let kind = object.get("kind").and_then(Value::as_str).unwrap_or(kind).to_owned();
    if let Some(items) = object.get_mut("items").and_then(Value::as_array_mut) {
        let of = kind.strip_suffix("List").unwrap_or_default();
        return std::mem::take(items).into_iter().try_for_each(|item| add(facts, path, of, item));
    }
    match kind.as_str() {
        "Namespace" => facts.namespaces.push(objects::namespace(&parse(path, &kind, object)?)),
        "Service" => facts.services.push(objects::service(&parse(path, &kind, object)?)),
        "Ingress" => facts.ingresses.push(objects::existing(&parse(path, &kind, object)?)),
        _ => {}
    }
    Ok(())
}

fn parse<T: DeserializeOwned>(path: &Path, kind: &str, mut object: Value) -> Result<T, FilesError> {
    let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    if let Some(fields) = object.as_object_mut() {
        // Items of lists lack them, and nothing here looks at them.
        fields.retain(|key, _| !matches!(key.as_str(), "apiVersion" | "kind"));
        if kind != "Ingress" {
            fields.insert("apiVersion".to_owned(), "v1".into());
        } else {
            fields.insert("apiVersion".to_owned(), "networking.k8s.io/v1".into());
        }
        fields.insert("kind".to_owned(), kind.into());
    }
    let failed = |source| FilesError::Object { path: path.to_owned(), kind: kind.to_owned(), name, source };
    serde_json::from_value(object).map_err(failed)
}
