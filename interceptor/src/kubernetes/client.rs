//! The connection to the API server: where it is, who we are, and when it counts as gone.
//!
//! `agent` and `ingress` call [`connect`] once. kube's own client has neither keepalive nor a deadline for an answer, and it
//! logs every failure by itself; this one notices a silent network within half a minute and leaves words to its callers.

use std::path::PathBuf;
use std::time::Duration;

use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kube::client::ConfigExt as _;
use kube::config::{InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};
use tower::{BoxError, ServiceBuilder};

/// For a TCP connection to one address of the API server.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A watch may be silent for long; this long after the last byte the kernel asks whether the other side is still there.
const KEEPALIVE: Duration = Duration::from_secs(15);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_PROBES: u32 = 3;
/// Bytes that are not acknowledged for this long end the connection.
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

/// How the API server is found.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// Kubeconfig files, merged; where there is none, the pod's service account is used.
    pub kubeconfig: Vec<PathBuf>,
    /// What the client calls itself (`User-Agent`), for the API server's audit log and its flow control.
    pub user_agent: String,
}

/// A cluster that can be asked.
#[derive(Clone)]
pub struct Cluster {
    /// The client; clones share its connections.
    pub client: Client,
    /// The API server's URL.
    pub url: String,
    /// The namespace that the agent runs in, or that of the kubeconfig's context.
    pub namespace: String,
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The kubeconfig cannot be used.
    #[error("reading the kubeconfig {paths}: {source}")]
    Kubeconfig {
        /// The files.
        paths: String,
        /// Why.
        source: Box<KubeconfigError>,
    },
    /// Neither a kubeconfig nor a service account.
    #[error(
        "finding the API server: {0}; run it in a pod with a service account, or name a kubeconfig with --kubeconfig or \
         KUBECONFIG"
    )]
    InCluster(#[source] Box<InClusterError>),
    /// The credentials cannot be used.
    #[error("preparing the connection to the API server {url}: {source}{hint}")]
    Prepare {
        /// Its URL.
        url: String,
        /// Why.
        source: Box<kube::Error>,
        /// What to do about it, where that is known.
        hint: &'static str,
    },
}

/// Where a kubeconfig names no authority the machine's own are asked, of which an image has none.
const NO_AUTHORITY: &str = "; the kubeconfig names no certificate authority and this machine has none of its own: give \
     the cluster a certificate-authority or certificate-authority-data";

/// Prepares a client; whether the API server answers, its first request tells. Needs a runtime.
///
/// # Errors
/// Where no API server is named or its credentials cannot be used.
pub async fn connect(access: &Access) -> Result<Cluster, ConnectError> {
    let mut config = find(access).await?;
    if let Ok(name) = access.user_agent.parse() {
        config.headers.push((hyper::header::USER_AGENT, name));
    }
    let url = config.cluster_url.to_string().trim_end_matches('/').to_owned();
    let namespace = config.default_namespace.clone();
    let hint = if config.root_cert.is_none() && config.root_cert_file.is_none() { NO_AUTHORITY } else { "" };
    let failed = |source: kube::Error| ConnectError::Prepare { url: url.clone(), source: source.into(), hint };
    let client = client(&config).map_err(failed)?;
    Ok(Cluster { client, url, namespace })
}

async fn find(access: &Access) -> Result<Config, ConnectError> {
    if access.kubeconfig.is_empty() {
        return Config::incluster().map_err(|error| ConnectError::InCluster(Box::new(error)));
    }
    let failed = |source| {
        let paths: Vec<String> = access.kubeconfig.iter().map(|path| path.display().to_string()).collect();
        ConnectError::Kubeconfig { paths: paths.join(":"), source: Box::new(source) }
    };
    let mut merged = Kubeconfig::default();
    for path in &access.kubeconfig {
        let one = Kubeconfig::read_from(path).map_err(failed)?;
        merged = merged.merge(one).map_err(failed)?;
    }
    Config::from_custom_kubeconfig(merged, &KubeConfigOptions::default()).await.map_err(failed)
}

fn client(config: &Config) -> Result<Client, kube::Error> {
    let mut tcp = HttpConnector::new();
    // https is spoken on top of it.
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    tcp.set_keepalive(Some(KEEPALIVE));
    tcp.set_keepalive_interval(Some(KEEPALIVE_INTERVAL));
    tcp.set_keepalive_retries(Some(KEEPALIVE_PROBES));
    tcp.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
    let tls = config.rustls_https_connector_with_connector(tcp)?;
    let http: legacy::Client<_, kube::client::Body> = legacy::Client::builder(TokioExecutor::new()).build(tls);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(http);
    Ok(Client::new(service, config.default_namespace.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn refusal(kubeconfig: Vec<PathBuf>) -> String {
        let access = Access { kubeconfig, user_agent: "test".to_owned() };
        connect(&access).await.map(|cluster| cluster.url).unwrap_err().to_string()
    }

    #[tokio::test]
    async fn a_client_that_cannot_be_made_says_what_to_do() {
        let missing = refusal(vec!["/nonexistent/kubeconfig".into()]).await;
        assert!(missing.starts_with("reading the kubeconfig /nonexistent/kubeconfig: "), "{missing}");
        let outside = refusal(Vec::new()).await;
        assert!(outside.contains("--kubeconfig"), "{outside}");
    }

    #[tokio::test]
    async fn a_kubeconfig_names_server_and_namespace() {
        let path = std::env::temp_dir().join(format!("interceptor-kubeconfig-{}", std::process::id()));
        let text = "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
            clusters: [{name: k, cluster: {server: \"https://192.0.2.1:6443\"}}]\nusers: [{name: u, user: {token: t}}]\n\
            contexts: [{name: c, context: {cluster: k, user: u, namespace: n}}]\n";
        std::fs::write(&path, text).unwrap();
        let access = Access { kubeconfig: vec![path.clone()], user_agent: "test".to_owned() };
        let cluster = connect(&access).await.unwrap();
        std::fs::remove_file(path).unwrap();
        assert_eq!((&*cluster.url, &*cluster.namespace), ("https://192.0.2.1:6443", "n"));
    }
}
