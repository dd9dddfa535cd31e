//! The objects of the test API server, their versions, and what happened to them.
//!
//! One version counter for everything, as etcd has it. Deletions and changes stay in a log per resource that watches
//! read; [`Store::compact`] forgets it, whereupon older versions are gone (410). No I/O and no clock but the creation
//! time; the server's handlers hold its lock only for one call.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::SystemTime;

use serde_json::{Value, json};

use super::answer::Refusal;
use super::resource::{RESOURCES, Resource};
use super::selector::Selector;
use super::{defaults, fields};

/// Where an object lies: namespace (empty for none) and name.
pub(crate) type Key = (String, String);

/// Something that happened to an object.
#[derive(Debug, Clone)]
pub(crate) struct Happening {
    pub(crate) version: u64,
    /// Before and after; `None` where it was not there.
    pub(crate) before: Option<Arc<Value>>,
    pub(crate) after: Option<Arc<Value>>,
}

/// How an object is to be changed.
pub(crate) enum Edit {
    /// The whole object (PUT).
    Replace(Value),
    /// RFC 7396 (and, more coarsely, strategic merge: lists are replaced).
    Merge(Value),
    /// Server-side apply.
    Apply { object: Value, force: bool },
}

#[derive(Debug, Default)]
struct Kind {
    objects: BTreeMap<Key, Arc<Value>>,
    log: Vec<Happening>,
}

/// All objects.
#[derive(Debug)]
pub(crate) struct Store {
    version: u64,
    /// What happened before this is forgotten.
    compacted: u64,
    kinds: HashMap<(&'static str, &'static str), Kind>,
}

/// A page of a list.
pub(crate) struct Page {
    pub(crate) items: Vec<Arc<Value>>,
    pub(crate) version: u64,
    pub(crate) next: Option<Key>,
    /// How many more there are.
    pub(crate) remaining: usize,
}

impl Store {
    pub(crate) fn new() -> Store {
        let kinds = RESOURCES.iter().map(|one| ((one.group, one.plural), Kind::default())).collect();
        Store { version: 1, compacted: 0, kinds }
    }

    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    pub(crate) fn get(&self, resource: &Resource, key: &Key) -> Result<Arc<Value>, Refusal> {
        let found = self.kinds.get(&(resource.group, resource.plural)).and_then(|kind| kind.objects.get(key));
        found.cloned().ok_or_else(|| not_found(resource, &key.1))
    }

    pub(crate) fn list(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        selector: &Selector,
        after: Option<&Key>,
        limit: usize,
    ) -> Page {
        let objects = self.kinds.get(&(resource.group, resource.plural)).map(|kind| &kind.objects);
        let chosen = objects.into_iter().flatten().filter(|(key, object)| {
            namespace.is_none_or(|namespace| key.0 == namespace)
                && after.is_none_or(|after| *key > after)
                && selector.matches(object)
        });
        let mut page = Page { items: Vec::new(), version: self.version, next: None, remaining: 0 };
        let mut last = None;
        for (key, object) in chosen {
            if page.items.len() < limit {
                page.items.push(Arc::clone(object));
                last = Some(key);
            } else {
                page.remaining += 1;
            }
        }
        page.next = last.filter(|_| page.remaining > 0).cloned();
        page
    }

    /// What happened to a resource after a version; the error is the 410 of a version that is too old.
    pub(crate) fn since(&self, resource: &Resource, version: u64) -> Result<&[Happening], Refusal> {
        if version < self.compacted {
            let compacted = self.compacted;
            return Err(Refusal::of(410, format!("too old resource version: {version} ({compacted})")));
        }
        let log = self.kinds.get(&(resource.group, resource.plural)).map_or(&[][..], |kind| &kind.log);
        Ok(&log[log.partition_point(|one| one.version <= version)..])
    }

    /// Forgets what happened so far.
    pub(crate) fn compact(&mut self) {
        // A version of its own: a watcher that has seen everything is too old, too.
        self.version += 1;
        self.compacted = self.version;
        self.kinds.values_mut().for_each(|kind| kind.log.clear());
    }

    /// The same, but what has seen everything so far is not too old.
    pub(crate) fn compact_before_now(&mut self) {
        self.compacted = self.version;
        self.kinds.values_mut().for_each(|kind| kind.log.clear());
    }

    pub(crate) fn create(
        &mut self,
        resource: &'static Resource,
        namespace: &str,
        mut object: Value,
        manager: &str,
    ) -> Result<Arc<Value>, Refusal> {
        if let (None, Some(prefix)) = (object["metadata"]["name"].as_str(), object["metadata"]["generateName"].as_str())
        {
            object["metadata"]["name"] = json!(format!("{prefix}{:05x}", self.version));
        }
        let Some(name) = object["metadata"]["name"].as_str().map(str::to_owned) else {
            return Err(Refusal::of(422, "name or generateName is required"));
        };
        let key = (namespace.to_owned(), name);
        if self.get(resource, &key).is_ok() {
            let message = format!("{} \"{}\" already exists", resource.plural, key.1);
            return Err(Refusal::new(409, "AlreadyExists", message));
        }
        let namespaces = Resource::named("", "namespaces").filter(|_| resource.namespaced);
        if let Some(namespaces) = namespaces {
            self.get(namespaces, &(String::new(), namespace.to_owned()))?;
            object["metadata"]["namespace"] = json!(namespace);
        }
        object["apiVersion"] = json!(resource.api_version());
        object["kind"] = json!(resource.kind);
        object["metadata"]["uid"] = json!(format!("00000000-0000-4000-8000-{:012x}", self.version + 1));
        object["metadata"]["creationTimestamp"] = json!(now());
        object["metadata"]["generation"] = json!(1);
        defaults::fill(resource, &mut object, self.version);
        if object["metadata"]["managedFields"].is_null() {
            fields::note_update(&json!({}), &mut object, manager);
        }
        Ok(self.put(resource, key, object))
    }

    pub(crate) fn edit(
        &mut self,
        resource: &'static Resource,
        key: &Key,
        edit: Edit,
        subresource: Option<&str>,
        manager: &str,
    ) -> Result<(u16, Arc<Value>), Refusal> {
        let (old, edit) = match (self.get(resource, key), edit) {
            (Err(_), Edit::Apply { object, .. }) if subresource.is_none() => {
                let mut object = fields::apply(&json!({}), &object, manager, false).unwrap_or_default();
                object["metadata"]["name"] = json!(key.1);
                return Ok((201, self.create(resource, &key.0, object, manager)?));
            }
            (Err(refusal), _) => return Err(refusal),
            (Ok(old), edit) => (old, edit),
        };
        let (Edit::Replace(given) | Edit::Merge(given) | Edit::Apply { object: given, .. }) = &edit;
        let condition = given["metadata"]["resourceVersion"].as_str().filter(|version| !version.is_empty());
        if condition.is_some_and(|version| old["metadata"]["resourceVersion"] != version) {
            let message = format!(
                "Operation cannot be fulfilled on {}.{} \"{}\": the object has been modified; please apply your changes \
                 to the latest version and try again",
                resource.plural, resource.group, key.1
            );
            return Err(Refusal::of(409, message));
        }
        let is_apply = matches!(edit, Edit::Apply { .. });
        let mut new = match edit {
            Edit::Replace(object) => merge_identity(&old, object),
            Edit::Merge(patch) => {
                let mut new = (*old).clone();
                merge(&mut new, patch);
                merge_identity(&old, new)
            }
            Edit::Apply { object, force } => fields::apply(&old, &object, manager, force).map_err(|conflicts| {
                let lines: Vec<String> =
                    conflicts.iter().map(|(owner, field)| format!("conflict with {owner:?}: .{field}")).collect();
                let message = format!("Apply failed with {} conflicts: {}", lines.len(), lines.join("; "));
                Refusal::of(409, message)
            })?,
        };
        // Status has its own door, and the rest does not come through it.
        match subresource {
            Some(part) => {
                let mut whole = (*old).clone();
                whole[part] = new[part].take();
                new = whole;
            }
            None if !old["status"].is_null() => new["status"] = old["status"].clone(),
            None => {}
        }
        if !is_apply {
            fields::note_update(&old, &mut new, manager);
        }
        if new == *old {
            return Ok((200, old));
        }
        if new["spec"] != old["spec"] {
            new["metadata"]["generation"] = json!(old["metadata"]["generation"].as_u64().unwrap_or(0) + 1);
        }
        let done = new["metadata"]["deletionTimestamp"].is_string()
            && new["metadata"]["finalizers"].as_array().is_none_or(Vec::is_empty);
        let object = self.put(resource, key.clone(), new);
        if done && !old["metadata"]["finalizers"].is_null() {
            self.take(resource, key);
        }
        Ok((200, object))
    }

    pub(crate) fn set_uid(&mut self, resource: &'static Resource, key: Key, uid: &str) -> Result<(), Refusal> {
        let mut object = (*self.get(resource, &key)?).clone();
        object["metadata"]["uid"] = json!(uid);
        self.put(resource, key, object);
        Ok(())
    }

    pub(crate) fn delete(&mut self, resource: &'static Resource, key: &Key) -> Result<Arc<Value>, Refusal> {
        let object = self.get(resource, key)?;
        let has_finalizers = object["metadata"]["finalizers"].as_array().is_some_and(|list| !list.is_empty());
        if object["metadata"]["deletionTimestamp"].is_null() && (has_finalizers || resource.plural == "pods") {
            let mut marked = (*object).clone();
            marked["metadata"]["deletionTimestamp"] = json!(now());
            self.put(resource, key.clone(), marked);
        }
        if has_finalizers {
            return self.get(resource, key);
        }
        if resource.plural == "namespaces" {
            self.empty_namespace(&key.1);
        }
        self.take(resource, key).ok_or_else(|| not_found(resource, &key.1))
    }

    fn empty_namespace(&mut self, namespace: &str) {
        for resource in RESOURCES.iter().filter(|resource| resource.namespaced) {
            let all = self.list(resource, Some(namespace), &Selector::default(), None, usize::MAX);
            for object in all.items {
                let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
                self.take(resource, &(namespace.to_owned(), name));
            }
        }
    }

    fn put(&mut self, resource: &'static Resource, key: Key, mut object: Value) -> Arc<Value> {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let object = Arc::new(object);
        let kind = self.kinds.entry((resource.group, resource.plural)).or_default();
        let before = kind.objects.insert(key, Arc::clone(&object));
        kind.log.push(Happening { version: self.version, before, after: Some(Arc::clone(&object)) });
        object
    }

    fn take(&mut self, resource: &'static Resource, key: &Key) -> Option<Arc<Value>> {
        let kind = self.kinds.entry((resource.group, resource.plural)).or_default();
        let mut last = (*kind.objects.remove(key)?).clone();
        self.version += 1;
        last["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let last = Arc::new(last);
        kind.log.push(Happening { version: self.version, before: Some(Arc::clone(&last)), after: None });
        Some(last)
    }
}

pub(crate) fn not_found(resource: &Resource, name: &str) -> Refusal {
    Refusal::of(404, format!("{} \"{name}\" not found", resource.plural))
}

/// The new object with what the server alone decides.
fn merge_identity(old: &Value, mut new: Value) -> Value {
    for key in ["apiVersion", "kind"] {
        new[key] = old[key].clone();
    }
    for key in ["name", "namespace", "uid", "creationTimestamp", "generation", "resourceVersion", "managedFields"] {
        match old["metadata"].get(key) {
            Some(value) => new["metadata"][key] = value.clone(),
            None => {
                new["metadata"].as_object_mut().and_then(|meta| meta.remove(key));
            }
        }
    }
    new
}

/// RFC 7396.
fn merge(into: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *into = patch;
        return;
    };
    if !into.is_object() {
        *into = json!({});
    }
    if let Value::Object(map) = into {
        for (key, value) in patch {
            if value.is_null() {
                map.remove(&key);
            } else {
                merge(map.entry(key).or_insert(Value::Null), value);
            }
        }
    }
}

fn now() -> String {
    humantime::format_rfc3339_seconds(SystemTime::now()).to_string()
}
