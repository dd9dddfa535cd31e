//! Who owns which field: server-side apply as far as the ingress manager depends on it.
//!
//! A field is a path of keys to a value that is no object; every list is one value (as `rules` and `tls` of an Ingress
//! are, which the API declares atomic; lists that are maps by key are treated more coarsely than by a real server).
//! [`Store`](super::store::Store) calls [`apply`] and [`note_update`]; nothing here knows of versions or watches.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

type Path = Vec<String>;
type Paths = BTreeSet<Path>;

/// Fields of other managers that an apply would change.
pub(crate) type Conflicts = Vec<(String, String)>;

/// One entry of `metadata.managedFields`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Owner {
    manager: String,
    operation: String,
    paths: Paths,
}

/// The object after `manager` has applied `wanted` to `existing`.
pub(crate) fn apply(existing: &Value, wanted: &Value, manager: &str, force: bool) -> Result<Value, Conflicts> {
    let mut owners = owners(existing);
    let new = leaves(wanted);
    let is_own = |owner: &Owner| owner.manager == manager && owner.operation == "Apply";
    let mut conflicts = Conflicts::new();
    for owner in owners.iter_mut().filter(|owner| !is_own(owner)) {
        let disputed: Paths =
            owner.paths.intersection(&new).filter(|path| at(existing, path) != at(wanted, path)).cloned().collect();
        conflicts.extend(disputed.iter().map(|path| (owner.manager.clone(), path.join("."))));
        owner.paths.retain(|path| !disputed.contains(path));
    }
    if !conflicts.is_empty() && !force {
        return Err(conflicts);
    }
    let old = owners.iter().find(|owner| is_own(owner)).map(|owner| owner.paths.clone()).unwrap_or_default();
    owners.retain(|owner| !is_own(owner) && !owner.paths.is_empty());
    let mut result = existing.clone();
    for path in old.difference(&new).filter(|path| !owners.iter().any(|owner| owner.paths.contains(*path))) {
        remove(&mut result, path);
    }
    for path in &new {
        if let Some(value) = at(wanted, path) {
            set(&mut result, path, value.clone());
        }
    }
    owners.push(Owner { manager: manager.to_owned(), operation: "Apply".to_owned(), paths: new });
    write_owners(&mut result, &mut owners);
    Ok(result)
}

/// Gives `manager` the fields in which `new` differs from `old`, as after a create, update or patch.
pub(crate) fn note_update(old: &Value, new: &mut Value, manager: &str) {
    let mut owners = owners(old);
    let now = leaves(new);
    let changed: Paths = now.iter().filter(|path| at(old, path) != at(new, path)).cloned().collect();
    for owner in &mut owners {
        owner.paths.retain(|path| now.contains(path) && !changed.contains(path));
    }
    owners.retain(|owner| !owner.paths.is_empty());
    if !changed.is_empty() {
        match owners.iter_mut().find(|owner| owner.manager == manager && owner.operation == "Update") {
            Some(owner) => owner.paths.extend(changed),
            None => {
                owners.push(Owner { manager: manager.to_owned(), operation: "Update".to_owned(), paths: changed });
            }
        }
    }
    write_owners(new, &mut owners);
}

/// Fields that are the server's, or the object's identity.
fn is_owned_by_nobody(path: &[String]) -> bool {
    let words: Vec<&str> = path.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["apiVersion" | "kind"] => true,
        ["metadata", key] => !["ownerReferences", "finalizers", "labels", "annotations"].contains(key),
        ["metadata", "managedFields", ..] => true,
        _ => false,
    }
}

fn leaves(value: &Value) -> Paths {
    fn walk(value: &Value, path: &mut Path, found: &mut Paths) {
        match value {
            Value::Object(map) if !map.is_empty() => {
                for (key, value) in map {
                    path.push(key.clone());
                    walk(value, path, found);
                    path.pop();
                }
            }
            _ if path.is_empty() || is_owned_by_nobody(path) => {}
            _ => {
                found.insert(path.clone());
            }
        }
    }
    let mut found = Paths::new();
    walk(value, &mut Path::new(), &mut found);
    found
}

fn at<'v>(value: &'v Value, path: &[String]) -> Option<&'v Value> {
    path.iter().try_fold(value, |value, key| value.get(key))
}

fn set(value: &mut Value, path: &[String], to: Value) {
    let Some((key, rest)) = path.split_first() else {
        *value = to;
        return;
    };
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    if let Value::Object(map) = value {
        set(map.entry(key.clone()).or_insert(Value::Null), rest, to);
    }
}

/// Removes a field, and the objects that are empty without it.
fn remove(value: &mut Value, path: &[String]) {
    let (Value::Object(map), Some((key, rest))) = (value, path.split_first()) else { return };
    if let Some(inner) = map.get_mut(key).filter(|_| !rest.is_empty()) {
        remove(inner, rest);
        if inner.as_object().is_none_or(|inner| !inner.is_empty()) {
            return;
        }
    }
    map.remove(key);
}

fn owners(object: &Value) -> Vec<Owner> {
    fn walk(fields: &Value, path: &mut Path, found: &mut Paths) {
        for (key, inner) in fields.as_object().into_iter().flatten() {
            let Some(key) = key.strip_prefix("f:") else { continue };
            path.push(key.to_owned());
            if inner.as_object().is_none_or(Map::is_empty) {
                found.insert(path.clone());
            } else {
                walk(inner, path, found);
            }
            path.pop();
        }
    }
    let entries = object["metadata"]["managedFields"].as_array().into_iter().flatten();
    entries
        .map(|entry| {
            let text = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
            let mut paths = Paths::new();
            walk(&entry["fieldsV1"], &mut Path::new(), &mut paths);
            Owner { manager: text("manager"), operation: text("operation"), paths }
        })
        .collect()
}

fn write_owners(object: &mut Value, owners: &mut [Owner]) {
    // In one order, so that an apply that changes nothing leaves the object as it was.
    owners.sort_by(|a, b| (&a.manager, &a.operation).cmp(&(&b.manager, &b.operation)));
    let api_version = object["apiVersion"].clone();
    let entry = |owner: &Owner| {
        let mut fields = json!({});
        for path in &owner.paths {
            let path: Path = path.iter().map(|key| format!("f:{key}")).collect();
            set(&mut fields, &path, json!({}));
        }
        json!({"manager": owner.manager, "operation": owner.operation, "apiVersion": api_version,
               "fieldsType": "FieldsV1", "fieldsV1": fields})
    };
    object["metadata"]["managedFields"] = owners.iter().map(entry).collect();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ingress(labels: &Value, class: &str) -> Value {
        json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "x", "labels": labels},
               "spec": {"ingressClassName": class, "rules": [{"host": "a"}]}})
    }

    fn without_owners(mut object: Value) -> Value {
        object["metadata"].as_object_mut().unwrap().remove("managedFields");
        object
    }

    #[test]
    fn what_is_applied_no_longer_is_removed_unless_another_owns_it() {
        let first = apply(&json!({}), &ingress(&json!({"a": "1", "b": "1"}), "nginx"), "m", false).unwrap();
        let with_other = apply(&first, &json!({"metadata": {"labels": {"b": "1", "c": "1"}}}), "n", false).unwrap();
        let second = apply(&with_other, &json!({"metadata": {"labels": {"d": "1"}}}), "m", false).unwrap();
        let left = without_owners(second);
        assert_eq!(left["metadata"]["labels"], json!({"b": "1", "c": "1", "d": "1"}));
        assert_eq!(left.get("spec"), None);
    }

    #[test]
    fn a_field_of_another_manager_is_a_conflict_unless_it_is_the_same_or_forced() {
        let theirs = apply(&json!({}), &ingress(&json!({}), "nginx"), "them", false).unwrap();
        assert!(apply(&theirs, &ingress(&json!({}), "nginx"), "us", false).is_ok());
        let conflicts = apply(&theirs, &ingress(&json!({}), "other"), "us", false).unwrap_err();
        assert_eq!(conflicts, [("them".to_owned(), "spec.ingressClassName".to_owned())]);
        let forced = apply(&theirs, &ingress(&json!({}), "other"), "us", true).unwrap();
        assert_eq!(forced["spec"]["ingressClassName"], "other");
        // Now it is ours: they conflict.
        assert!(apply(&forced, &ingress(&json!({}), "nginx"), "them", false).is_err());
    }

    #[test]
    fn an_update_takes_what_it_changes() {
        let ours = apply(&json!({}), &ingress(&json!({"a": "1"}), "nginx"), "us", false).unwrap();
        let mut edited = ours.clone();
        edited["spec"]["ingressClassName"] = json!("edited");
        note_update(&ours, &mut edited, "kubectl");
        let conflicts = apply(&edited, &ingress(&json!({"a": "1"}), "nginx"), "us", false).unwrap_err();
        assert_eq!(conflicts, [("kubectl".to_owned(), "spec.ingressClassName".to_owned())]);
        assert!(apply(&edited, &json!({"metadata": {"labels": {"a": "2"}}}), "us", false).is_ok());
    }
}
