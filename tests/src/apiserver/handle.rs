//! Answers one request of the test API server: from method, path, query and body to the store and back.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::{Method, Request, Response};
use serde_json::{Value, json};

use super::Shared;
use super::answer::{Body, Broken, Refusal, bytes_response, json_response, stream_response};
use super::discovery;
use super::faults::{Call, Fault};
use super::resource::Target;
use super::secure::Peer;
use super::selector::Selector;
use super::store::{Edit, Key};
use super::watching::Watch;

/// Seconds of a watch whose client names none; a real server takes half an hour to an hour.
const WATCH_SECONDS: u64 = 1800;

/// Answers a request; the error ends its connection.
pub(crate) async fn handle(
    shared: Arc<Shared>,
    peer: Peer,
    request: Request<Incoming>,
) -> Result<Response<Body>, Broken> {
    let (head, body) = request.into_parts();
    let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let Some(credential) = shared.tokens().admit(peer, header("authorization")) else {
        return Ok(Refusal::of(401, "Unauthorized").response());
    };
    let path = head.uri.path().to_owned();
    let Some(target) = Target::parse(&path) else {
        return Ok(match discovery::answer(&path) {
            Some(value) => json_response(200, &value),
            None => Refusal::of(404, "the server could not find the requested resource").response(),
        });
    };
    let query = Query::parse(head.uri.query().unwrap_or_default());
    let verb = verb(&head.method, &target, &query);
    let part = target.subresource.as_ref().map(|part| format!("/{part}")).unwrap_or_default();
    let call = Call {
        verb: verb.to_owned(),
        group: target.resource.group.to_owned(),
        resource: format!("{}{part}", target.resource.plural),
        namespace: target.namespace.clone(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        user_agent: header("user-agent").to_owned(),
        credential,
        at: Instant::now(),
    };
    let fault = match shared.faults().judge(call, target.resource) {
        Ok(fault) => fault,
        Err(refusal) => return Ok(refusal.response()),
    };
    match fault {
        None => {}
        Some(Fault::Status(code)) => return Ok(Refusal::of(code, "as the test asked").response()),
        Some(Fault::Garbage) => return Ok(bytes_response(200, Bytes::from_static(b"<html>not the API</html>\n"))),
        Some(Fault::Ends) => return Ok(bytes_response(200, Bytes::new())),
        Some(Fault::Silence) => std::future::pending().await,
        Some(Fault::Cut) => {
            let (sender, response) = stream_response();
            sender.abort(Broken);
            return Ok(response);
        }
        Some(Fault::Slow(pause)) => tokio::time::sleep(pause).await,
    }
    let body = body.collect().await.map_err(|_| Broken)?.to_bytes();
    let manager =
        query.get("fieldManager").unwrap_or_else(|| header("user-agent").split('/').next().unwrap_or_default());
    if header("content-type").contains("protobuf") {
        return Ok(Refusal::of(415, "the test API server reads JSON only").response());
    }
    let asked = Asked { target, query: &query, manager, patch_type: header("content-type"), body };
    Ok(asked.answer(verb, &shared).unwrap_or_else(|refusal| refusal.response()))
}

struct Asked<'r> {
    target: Target,
    query: &'r Query,
    manager: &'r str,
    patch_type: &'r str,
    body: Bytes,
}

impl Asked<'_> {
    fn answer(&self, verb: &str, shared: &Arc<Shared>) -> Result<Response<Body>, Refusal> {
        let resource = self.target.resource;
        let part = self.target.subresource.as_deref();
        match verb {
            "watch" => self.watch(shared),
            "list" => self.list(shared),
            "get" => Ok(json_response(200, &*shared.store().get(resource, &self.key())?)),
            "create" => {
                let namespace = self.target.namespace.as_deref().unwrap_or_default();
                let object = shared.store().create(resource, namespace, self.object()?, self.manager)?;
                shared.tell();
                Ok(json_response(201, &object))
            }
            "update" | "patch" => {
                let edit = if verb == "update" { Edit::Replace(self.object()?) } else { self.patch()? };
                let (code, object) = shared.store().edit(resource, &self.key(), edit, part, self.manager)?;
                shared.tell();
                Ok(json_response(code, &object))
            }
            "delete" => {
                let object = {
                    let mut store = shared.store();
                    self.preconditions(&*store.get(resource, &self.key())?)?;
                    store.delete(resource, &self.key())?
                };
                shared.tell();
                Ok(json_response(200, &object))
            }
            "deletecollection" => {
                let page = {
                    let store = shared.store();
                    store.list(resource, self.target.namespace.as_deref(), &self.selector()?, None, usize::MAX)
                };
                for object in page.items {
                    let text = |key: &str| object["metadata"][key].as_str().unwrap_or_default().to_owned();
                    shared.store().delete(resource, &(text("namespace"), text("name")))?;
                }
                shared.tell();
                Ok(json_response(200, &json!({"kind": "Status", "apiVersion": "v1", "status": "Success"})))
            }
            _ => Err(Refusal::new(405, "MethodNotAllowed", "the method is not supported here")),
        }
    }

    fn key(&self) -> Key {
        (self.target.namespace.clone().unwrap_or_default(), self.target.name.clone().unwrap_or_default())
    }

    fn object(&self) -> Result<Value, Refusal> {
        serde_json::from_slice(&self.body).map_err(|error| Refusal::of(400, format!("the body is no JSON: {error}")))
    }

    /// Whether the object is still the one that is to be deleted.
    fn preconditions(&self, object: &Value) -> Result<(), Refusal> {
        let wanted = if self.body.is_empty() { Value::Null } else { self.object()?["preconditions"].take() };
        for key in ["uid", "resourceVersion"] {
            let (wanted, there) = (&wanted[key], &object["metadata"][key]);
            if !wanted.is_null() && wanted != there {
                let message = format!("Precondition failed: {key} in precondition: {wanted}, in object meta: {there}");
                return Err(Refusal::of(409, message));
            }
        }
        Ok(())
    }

    fn patch(&self) -> Result<Edit, Refusal> {
        let object = self.object()?;
        match self.patch_type {
            kind if kind.starts_with("application/apply-patch+") => {
                if self.query.get("fieldManager").is_none() {
                    return Err(Refusal::of(422, "fieldManager is required for apply patch"));
                }
                Ok(Edit::Apply { object, force: self.query.is_true("force") })
            }
            "application/merge-patch+json" | "application/strategic-merge-patch+json" => Ok(Edit::Merge(object)),
            other => Err(Refusal::of(415, format!("the test API server does not know patches of type {other:?}"))),
        }
    }

    fn selector(&self) -> Result<Selector, Refusal> {
        let text = |key| self.query.get(key).unwrap_or_default();
        Selector::parse(text("labelSelector"), text("fieldSelector")).map_err(|why| Refusal::of(400, why))
    }

    fn list(&self, shared: &Shared) -> Result<Response<Body>, Refusal> {
        let limit = self.query.number("limit").filter(|limit| *limit > 0).unwrap_or(u64::MAX);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        // Version of the list, namespace, name: later pages belong to the version of the first.
        let token: Option<Vec<&str>> = self.query.get("continue").map(|token| token.split('\n').collect());
        let store = shared.store();
        let (version, after) = match token.as_deref() {
            None => (store.version(), None),
            Some([version, namespace, name]) => {
                let version = version.parse().map_err(|_| Refusal::of(400, "continue key is not valid"))?;
                store.since(self.target.resource, version)?;
                (version, Some(((*namespace).to_owned(), (*name).to_owned())))
            }
            Some(_) => return Err(Refusal::of(400, "continue key is not valid")),
        };
        let namespace = self.target.namespace.as_deref();
        let page = store.list(self.target.resource, namespace, &self.selector()?, after.as_ref(), limit);
        drop(store);
        let mut meta = json!({"resourceVersion": version.to_string()});
        if let Some((namespace, name)) = &page.next {
            meta["continue"] = json!(format!("{version}\n{namespace}\n{name}"));
            meta["remainingItemCount"] = json!(page.remaining);
        }
        // As a real server does: items of a list do not say their kind.
        let bare = |object: &Arc<Value>| {
            let mut object = (**object).clone();
            object.as_object_mut().map(|map| [map.remove("kind"), map.remove("apiVersion")]);
            object
        };
        let items: Vec<Value> = page.items.iter().map(bare).collect();
        let resource = self.target.resource;
        let list = json!({"kind": format!("{}List", resource.kind), "apiVersion": resource.api_version(),
                          "metadata": meta, "items": items});
        Ok(json_response(200, &list))
    }

    fn watch(&self, shared: &Arc<Shared>) -> Result<Response<Body>, Refusal> {
        let asked = self.query.get("resourceVersion").unwrap_or_default();
        let initial = self.query.is_true("sendInitialEvents") || asked.is_empty() || asked == "0";
        // One that is too old is told in an event, as by a real server.
        let version =
            if initial { 0 } else { asked.parse().map_err(|_| Refusal::of(400, "invalid resource version"))? };
        let watch = Watch {
            resource: self.target.resource,
            namespace: self.target.namespace.clone(),
            selector: self.selector()?,
            version,
            initial,
            bookmarks: self.query.is_true("allowWatchBookmarks"),
            timeout: Duration::from_secs(self.query.number("timeoutSeconds").unwrap_or(WATCH_SECONDS)),
        };
        let (sender, response) = stream_response();
        tokio::spawn(watch.run(Arc::clone(shared), sender));
        Ok(response)
    }
}

fn verb(method: &Method, target: &Target, query: &Query) -> &'static str {
    match (method.as_str(), target.name.is_some()) {
        ("GET", false) if query.is_true("watch") => "watch",
        ("GET", false) => "list",
        ("GET", true) => "get",
        ("POST", false) => "create",
        ("PUT", true) => "update",
        ("PATCH", true) => "patch",
        ("DELETE", true) => "delete",
        ("DELETE", false) => "deletecollection",
        _ => "unknown",
    }
}

/// A query's pairs, decoded.
struct Query(HashMap<String, String>);

impl Query {
    fn parse(text: &str) -> Query {
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        Query(
            pairs
                .map(|pair| {
                    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (decode(key), decode(value))
                })
                .collect(),
        )
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    fn is_true(&self, key: &str) -> bool {
        matches!(self.get(key), Some("1" | "true"))
    }

    fn number(&self, key: &str) -> Option<u64> {
        self.get(key)?.parse().ok()
    }
}

fn decode(text: &str) -> String {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits: Vec<u8> = bytes.by_ref().take(2).collect();
                let hex = std::str::from_utf8(&digits).ok().and_then(|hex| u8::from_str_radix(hex, 16).ok());
                hex.unwrap_or(b'%')
            }
            other => other,
        });
    }
    String::from_utf8_lossy(&decoded).into_owned()
}
