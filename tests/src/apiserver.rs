//! An API server for tests: objects in memory behind the HTTP of a Kubernetes API server.
//!
//! Lists with pages, watches with bookmarks and versions, selectors, create, update, patch, server-side apply, delete, and
//! every way in which such a server can fail. Shapes follow recordings of a real one (v1.36). It runs on a thread of its
//! own, on any listener, so that it can sit in a laboratory's namespace. It is no etcd, has no admission, no controllers
//! (nobody makes EndpointSlices from Services) and no garbage collection: what a test needs of that, it does itself.

mod answer;
mod defaults;
mod discovery;
mod faults;
mod fields;
mod handle;
pub mod resource;
pub mod secure;
mod selector;
mod store;
mod watching;

use std::collections::HashMap;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use anyhow::{Context as _, Result, anyhow};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

pub use faults::{Call, Fault, Rule};
use resource::Resource;
use secure::Authority;

use self::answer::Refusal;
use self::faults::Faults;
use self::secure::{Peer, Tokens};
use self::selector::Selector;
use self::store::{Edit, Store};

/// Who changes objects through [`ApiServer`]'s own methods, in `managedFields`.
const MANAGER: &str = "test";

/// A running server; dropping it ends it and all its connections.
pub struct ApiServer {
    shared: Arc<Shared>,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    stop: watch::Sender<bool>,
    thread: JoinHandle<()>,
}

/// What connections, watches and the test share.
#[derive(Debug)]
pub(crate) struct Shared {
    store: Mutex<Store>,
    faults: Mutex<Faults>,
    /// Tells watches that something happened.
    changed: watch::Sender<()>,
    /// Tells watches to end in the middle.
    cut: watch::Sender<()>,
    /// The tokens that are good.
    tokens: Mutex<Tokens>,
    /// How many bookmarks are still to be sent, by resource.
    bookmarks: Mutex<HashMap<&'static str, usize>>,
}

impl Shared {
    pub(crate) fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn tokens(&self) -> MutexGuard<'_, Tokens> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn tell(&self) {
        self.changed.send_replace(());
    }

    fn take_bookmark(&self, resource: &Resource) -> bool {
        let mut bookmarks = self.bookmarks.lock().unwrap_or_else(PoisonError::into_inner);
        let left = bookmarks.get_mut(resource.plural).filter(|left| **left > 0);
        left.map(|left| *left -= 1).is_some()
    }
}

impl ApiServer {
    /// Serves on a loopback port of this process's own namespace.
    pub fn start() -> Result<ApiServer> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).context("binding a port for the test API server")?;
        ApiServer::serve(listener)
    }

    /// Serves on this listener, which may lie in any network namespace. There are the namespaces of a new cluster.
    pub fn serve(listener: TcpListener) -> Result<ApiServer> {
        ApiServer::new(listener, None)
    }

    /// The same behind TLS with a certificate of this authority. Who shows neither a certificate of it nor a token that is
    /// good ([`ApiServer::accept_tokens`]) is refused with 401.
    pub fn serve_tls(listener: TcpListener, authority: &Authority) -> Result<ApiServer> {
        let address = listener.local_addr().context("asking for the test API server's address")?;
        ApiServer::new(listener, Some(authority.acceptor(address.ip())?))
    }

    fn new(listener: TcpListener, tls: Option<TlsAcceptor>) -> Result<ApiServer> {
        let shared = Arc::new(Shared {
            store: Mutex::new(Store::new()),
            faults: Mutex::default(),
            changed: watch::Sender::new(()),
            cut: watch::Sender::new(()),
            tokens: Mutex::default(),
            bookmarks: Mutex::default(),
        });
        let address = listener.local_addr().context("asking for the test API server's address")?;
        let running = Some(Running::start(Arc::clone(&shared), listener, tls.clone())?);
        let server = ApiServer { shared, address, tls, running };
        for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
            server.apply(&serde_json::json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}))?;
        }
        Ok(server)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Writes a kubeconfig for it.
    pub fn write_kubeconfig(&self, path: &Path) -> Result<()> {
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: test\n\
             clusters: [{{name: test, cluster: {{server: \"http://{}\"}}}}]\n\
             users: [{{name: test, user: {{}}}}]\n\
             contexts: [{{name: test, context: {{cluster: test, user: test}}}}]\n",
            self.address
        );
        fs::write(path, text).with_context(|| format!("writing {}", path.display()))
    }

    /// Ends it and cuts its connections, but keeps the objects; the address is free.
    pub fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop.send_replace(true);
            // A panic of its thread has been printed there.
            running.thread.join().ok();
        }
    }

    /// Goes on after [`ApiServer::stop`], on a listener at the same address.
    pub fn go_on(&mut self, listener: TcpListener) -> Result<()> {
        self.stop();
        self.running = Some(Running::start(Arc::clone(&self.shared), listener, self.tls.clone())?);
        Ok(())
    }

    /// Creates an object or changes what it says of it, as `kubectl apply --server-side --force-conflicts` does.
    pub fn apply(&self, object: &Value) -> Result<Value> {
        let (resource, key) = identity(object)?;
        let edit = Edit::Apply { object: object.clone(), force: true };
        let applied = self.shared.store().edit(resource, &key, edit, None, MANAGER).map_err(refused)?.1;
        let mut result = (*applied).clone();
        if !object["status"].is_null() && result["status"] != object["status"] {
            let edit = Edit::Merge(serde_json::json!({"status": object["status"]}));
            let edited = self.shared.store().edit(resource, &key, edit, Some("status"), MANAGER).map_err(refused)?.1;
            result = (*edited).clone();
        }
        self.shared.tell();
        Ok(result)
    }

    /// Replaces an object as it is now by what `change` makes of it.
    pub fn change(&self, kind: &Resource, namespace: &str, name: &str, change: impl FnOnce(&mut Value)) -> Result<()> {
        let mut object =
            self.get(kind, namespace, name)?.with_context(|| format!("there is no {} {name}", kind.kind))?;
        change(&mut object);
        let (resource, key) = identity(&object)?;
        let status = Edit::Replace(object.clone());
        let mut store = self.shared.store();
        store.edit(resource, &key, Edit::Replace(object), None, MANAGER).map_err(refused)?;
        // The version has moved on by the first half.
        if let Edit::Replace(mut object) = status {
            object["metadata"]["resourceVersion"] = Value::Null;
            if !object["status"].is_null() {
                store.edit(resource, &key, Edit::Replace(object), Some("status"), MANAGER).map_err(refused)?;
            }
        }
        drop(store);
        self.shared.tell();
        Ok(())
    }

    /// Gives an object the UID that a test needs, as if it had been created with it.
    pub fn set_uid(&self, kind: &Resource, namespace: &str, name: &str, uid: &str) -> Result<()> {
        let resource = Resource::named(kind.group, kind.plural).context("an unknown resource")?;
        self.shared.store().set_uid(resource, (namespace.to_owned(), name.to_owned()), uid).map_err(refused)?;
        self.shared.tell();
        Ok(())
    }

    /// Deletes an object.
    pub fn delete(&self, kind: &Resource, namespace: &str, name: &str) -> Result<()> {
        let resource = Resource::named(kind.group, kind.plural).context("an unknown resource")?;
        self.shared.store().delete(resource, &(namespace.to_owned(), name.to_owned())).map_err(refused)?;
        self.shared.tell();
        Ok(())
    }

    /// An object as it is now.
    pub fn get(&self, kind: &Resource, namespace: &str, name: &str) -> Result<Option<Value>> {
        match self.shared.store().get(kind, &(namespace.to_owned(), name.to_owned())) {
            Ok(object) => Ok(Some((*object).clone())),
            Err(refusal) if refusal.code == 404 => Ok(None),
            Err(refusal) => Err(refused(refusal)),
        }
    }

    /// All objects of a kind.
    pub fn list(&self, kind: &Resource) -> Vec<Value> {
        let page = self.shared.store().list(kind, None, &Selector::default(), None, usize::MAX);
        page.items.iter().map(|object| (**object).clone()).collect()
    }

    /// Lets requests of that verb and resource go wrong (`*` for any) until [`ApiServer::heal`].
    pub fn fail(&self, verb: &str, resource: &str, fault: Fault) {
        self.shared.faults().add(verb, resource, fault);
    }

    /// Ends all faults.
    pub fn heal(&self) {
        self.shared.faults().heal();
    }

    /// Refuses from now on whatever no rule allows, as RBAC does.
    pub fn allow_only(&self, rules: Vec<Rule>) {
        self.shared.faults().allow_only(rules);
    }

    /// These tokens are good from now on, and no others.
    pub fn accept_tokens(&self, tokens: &[&str]) {
        self.shared.tokens().0 = tokens.iter().map(|token| (*token).to_owned()).collect();
    }

    /// What was asked so far.
    pub fn calls(&self) -> Vec<Call> {
        self.shared.faults().calls.clone()
    }

    /// Cuts the connections of all watches.
    pub fn cut_watches(&self) {
        self.shared.cut.send_replace(());
    }

    /// Forgets what happened so far: every watch gets 410, and so does whoever asks for an older version.
    pub fn compact(&self) {
        self.shared.store().compact();
        self.shared.tell();
    }

    /// Forgets what happened before now; watches that have seen everything go on.
    pub fn compact_before_now(&self) {
        self.shared.store().compact_before_now();
    }

    /// Sends a bookmark to one watch of that resource.
    pub fn bookmark(&self, resource: &Resource) {
        let known = Resource::named(resource.group, resource.plural);
        if let Some(known) = known {
            let mut bookmarks = self.shared.bookmarks.lock().unwrap_or_else(PoisonError::into_inner);
            *bookmarks.entry(known.plural).or_default() += 1;
        }
        self.shared.tell();
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Running {
    fn start(shared: Arc<Shared>, listener: TcpListener, tls: Option<TlsAcceptor>) -> Result<Running> {
        listener.set_nonblocking(true).context("making the test API server's listener non-blocking")?;
        let (stop, stopped) = watch::channel(false);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("starting the test API server's runtime")?;
        let thread = thread::Builder::new().name("apiserver".to_owned());
        let thread = thread
            .spawn(move || runtime.block_on(accept(shared, listener, tls, stopped)))
            .context("starting the test API server's thread")?;
        Ok(Running { stop, thread })
    }
}

async fn accept(
    shared: Arc<Shared>,
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    mut stopped: watch::Receiver<bool>,
) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            _ = stopped.changed() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = stream else { continue };
        connections.spawn(connection(Arc::clone(&shared), stream, tls.clone()));
    }
}

/// Serves one connection to its end. What a client does wrong ends it.
async fn connection(shared: Arc<Shared>, stream: TcpStream, tls: Option<TlsAcceptor>) {
    let service = |peer| service_fn(move |request| handle::handle(Arc::clone(&shared), peer, request));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new());
    match tls {
        None => _ = http.serve_connection(TokioIo::new(stream), service(Peer::Plain)).await,
        Some(tls) => {
            let Ok(stream) = tls.accept(stream).await else { return };
            let peer = if stream.get_ref().1.peer_certificates().is_some() { Peer::Certified } else { Peer::Unknown };
            _ = http.serve_connection(TokioIo::new(stream), service(peer)).await;
        }
    }
}

/// The resource, namespace and name of an object.
fn identity(object: &Value) -> Result<(&'static Resource, store::Key)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (api_version, kind) = (text(&object["apiVersion"]), text(&object["kind"]));
    let resource = Resource::of(&api_version, &kind).with_context(|| format!("unknown kind {api_version} {kind}"))?;
    let namespace = if resource.namespaced { text(&object["metadata"]["namespace"]) } else { String::new() };
    Ok((resource, (namespace, text(&object["metadata"]["name"]))))
}

fn refused(refusal: Refusal) -> anyhow::Error {
    let Refusal { code, message, .. } = refusal;
    anyhow!("the test API server refused: {message} ({code})")
}
