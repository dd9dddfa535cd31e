//! The agent as a pod has it: the API server by the environment, a token that rotates and the authority from the service
//! account's directory, which a mount namespace of the agent's own has at its place.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use interceptor_tests::apiserver::ApiServer;
use interceptor_tests::apiserver::secure::{Authority, Credential};
use interceptor_tests::{Agent, wait};
use serde_json::json;

use super::{Cluster, NODE, watch};
use crate::stage::{LIMIT, ask, vip};

/// A kubelet renews a token long before it runs out; the client reads it again once a minute.
const ROTATION: Duration = Duration::from_secs(60);

/// Puts the directory `$1` where the service account's is, in a mount namespace of its own, and becomes the rest.
const IN_A_POD: &str = "set -e; dir=$1; shift; mount -t tmpfs none /run; \
     mkdir -p /var/run/secrets/kubernetes.io/serviceaccount; \
     mount --bind \"$dir\" /var/run/secrets/kubernetes.io/serviceaccount; exec \"$@\"";

/// The service account's directory.
fn account(cluster: &Cluster, authority: &Authority, token: &str) -> PathBuf {
    let dir = cluster.scene.lab.temp().join("serviceaccount");
    fs::create_dir_all(&dir).unwrap();
    for (name, text) in [("ca.crt", &*authority.certificate()), ("token", token), ("namespace", "interceptor")] {
        fs::write(dir.join(name), text).unwrap();
    }
    dir
}

/// Runs the agent with that directory, and does not wait.
fn start(cluster: &mut Cluster, account: &std::path::Path) {
    let address = cluster.server.address();
    let host = format!("KUBERNETES_SERVICE_HOST={}", address.ip());
    let port = format!("KUBERNETES_SERVICE_PORT={}", address.port());
    let dir = account.to_str().unwrap();
    let command = ["env", "-u", "KUBECONFIG", &host, &port, "unshare", "--mount", "sh", "-c", IN_A_POD, "sh", dir];
    let lab = &cluster.scene.lab;
    let root = lab.cgroup().to_str().unwrap().to_owned();
    let args = ["--kubernetes", "--node-name", NODE, "--cgroup-root", &root];
    cluster.agent = Some(Agent::start_unready_by(lab, &command, &cluster.scene.config, &args).unwrap());
}

#[test]
fn a_service_account_is_enough_and_its_token_may_change() {
    let authority = Authority::new("cluster").unwrap();
    let mut cluster = Cluster::with("incluster", |listener| ApiServer::serve_tls(listener, &authority));
    cluster.space("dev", None);
    cluster.space("azureuser", Some("dev"));
    cluster.deploy("serviceb", "dev", 12, &[]);
    cluster.deploy("serviceb", "azureuser", 13, &[]);
    let caller = cluster.pod("caller", "azureuser");
    let account = account(&cluster, &authority, "first");
    cluster.server.accept_tokens(&["first"]);
    start(&mut cluster, &account);
    cluster.wait_captured(3);
    assert_eq!(ask(&caller, vip(12), "/first", &["Host: serviceb"])["name"], "serviceb.azureuser");
    let used = |cluster: &Cluster, token: &str| {
        let token = Credential::Token(token.to_owned());
        cluster.server.calls().iter().filter(|call| call.credential == token).count()
    };
    // Pods are captured once the lists are there; the last watch may begin a moment later.
    wait::until(LIMIT, "four lists and four watches", || {
        let calls = cluster.server.calls().len();
        anyhow::ensure!((used(&cluster, "first"), calls) == (8, 8), "{calls} calls");
        Ok(())
    })
    .unwrap();

    // The new one lies there while the old one is still good.
    fs::write(account.join("token"), "second").unwrap();
    cluster.server.accept_tokens(&["first", "second"]);
    std::thread::sleep(ROTATION);
    cluster.server.cut_watches();
    wait::until(LIMIT, "the new token to be shown", || {
        anyhow::ensure!(used(&cluster, "second") == 4, "it shows the old one");
        Ok(())
    })
    .unwrap();
    cluster.server.accept_tokens(&["second"]);
    cluster.server.cut_watches();
    cluster.space("kate", Some("azureuser"));
    // Each of the four comes back in its own time.
    cluster.wait_status("the new space and all watches", |status| {
        let watches = status["source"]["watches"].as_array().unwrap();
        status["spaces"] == 3 && watches.iter().all(|watch| watch["state"] == "watching")
    });
    assert!(!cluster.agent().log_tail(2000).contains("answered 401"), "a request was refused");
}

#[test]
fn a_server_of_another_authority_is_not_asked_and_status_says_so() {
    let authority = Authority::new("cluster").unwrap();
    let mut cluster = Cluster::with("wrongca", |listener| ApiServer::serve_tls(listener, &authority));
    cluster.server.accept_tokens(&["secret"]);
    let account = account(&cluster, &Authority::new("another").unwrap(), "secret");
    start(&mut cluster, &account);
    let status = cluster.wait_status("the failure", |status| watch(status, "pods")["state"] == "failed");
    let error = watch(&status, "pods")["error"].as_str().unwrap();
    assert!(error.contains("invalid peer certificate") && error.contains("the service account (ca.crt)"), "{error}");
    assert_eq!(status["ready"], json!(false));
    assert!(status["not_ready_because"].to_string().contains("invalid peer certificate"), "{status}");
    assert!(cluster.server.calls().is_empty(), "the token was sent");
    cluster.agent_mut().process().expect_running().unwrap();
}
