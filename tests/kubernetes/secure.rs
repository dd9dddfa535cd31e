//! TLS and credentials as a kubeconfig gives them, and what is said where they are wrong.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;

use interceptor::kubernetes::{Access, Cluster, News, Selection, connect, follow};
use interceptor_tests::apiserver::ApiServer;
use interceptor_tests::apiserver::secure::{Authority, Credential};
use k8s_openapi::ByteString;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::server::{LIMIT, Named, pace};

/// As a kubeconfig has it.
fn base64(text: &str) -> Value {
    json!(ByteString(text.as_bytes().to_vec()))
}

fn server(authority: &Authority) -> ApiServer {
    ApiServer::serve_tls(TcpListener::bind("127.0.0.1:0").unwrap(), authority).unwrap()
}

fn file(name: &str, text: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("interceptor-secure-{}-{name}", std::process::id()));
    fs::write(&path, text).unwrap();
    path
}

/// A client by a kubeconfig of these parts.
async fn client(name: &str, cluster: &Value, user: &Value) -> Cluster {
    let config = json!({"apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "k", "cluster": cluster}], "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}]});
    let path = file(name, &config.to_string());
    let access = Access { kubeconfig: vec![path.clone()], user_agent: "tests/1".to_owned() };
    let connected = connect(&access).await.unwrap_or_else(|error| panic!("{error}"));
    fs::remove_file(path).unwrap();
    connected
}

/// How many namespaces the first list has, or what is said of its failure.
async fn list(cluster: &Cluster) -> Result<usize, String> {
    let (news_tx, mut news) = mpsc::channel::<News<Named>>(16);
    tokio::spawn(follow(cluster.client.clone(), Selection::default(), pace(), news_tx, |news| news));
    let mut found = 0;
    loop {
        match timeout(LIMIT, news.recv()).await.unwrap().unwrap() {
            News::Page(objects) => found += objects.len(),
            News::Listed => return Ok(found),
            News::Failed(error) => return Err(error.to_string()),
            _ => {}
        }
    }
}

fn credentials(server: &ApiServer) -> Vec<Credential> {
    let mut all: Vec<Credential> = server.calls().into_iter().map(|call| call.credential).collect();
    all.dedup();
    all
}

#[tokio::test]
async fn a_certificate_of_the_kubeconfig_is_enough() {
    let authority = Authority::new("cluster").unwrap();
    let server = server(&authority);
    let url = format!("https://{}", server.address());
    let own = authority.client("somebody").unwrap();
    let cluster = json!({"server": url, "certificate-authority-data": base64(&authority.certificate())});
    let user = json!({"client-certificate-data": base64(&own.certificate), "client-key-data": base64(&own.key)});
    assert_eq!(list(&client("certificate", &cluster, &user).await).await, Ok(4));
    assert_eq!(credentials(&server), [Credential::Certificate]);

    // One of another authority does not even get through the handshake.
    let other = Authority::new("another").unwrap().client("somebody").unwrap();
    let user = json!({"client-certificate-data": base64(&other.certificate), "client-key-data": base64(&other.key)});
    let error = list(&client("foreign", &cluster, &user).await).await.unwrap_err();
    assert!(error.starts_with("list namespaces: "), "{error}");
    assert_eq!(credentials(&server), [Credential::Certificate], "it was let in");
}

#[tokio::test]
async fn a_token_is_shown_from_the_kubeconfig_or_its_file_and_refused_when_it_is_not_good() {
    let authority = Authority::new("cluster").unwrap();
    let server = server(&authority);
    let ca = file("ca", &authority.certificate());
    let cluster = json!({"server": format!("https://{}", server.address()), "certificate-authority": ca});
    let token = file("token", "from-a-file");
    for (user, expected) in [(json!({"token": "in-line"}), "in-line"), (json!({"tokenFile": token}), "from-a-file")] {
        let client = client(expected, &cluster, &user).await;
        server.accept_tokens(&["another"]);
        let error = list(&client).await.unwrap_err();
        assert!(error.contains("answered 401"), "{error}");
        assert!(error.contains("token is missing, expired or of another cluster"), "{error}");
        server.accept_tokens(&[expected]);
        assert_eq!(list(&client).await, Ok(4));
        assert_eq!(credentials(&server).last(), Some(&Credential::Token(expected.to_owned())));
    }
    fs::write(&token, "from-a-file\n").unwrap();
    let error = list(&client("line", &cluster, &json!({"tokenFile": token})).await).await.unwrap_err();
    assert!(error.contains("is there a line's end in its file?"), "{error}");
    let error = list(&client("nobody", &cluster, &json!({})).await).await.unwrap_err();
    assert!(error.contains("answered 401"), "{error}");
    fs::remove_file(ca).unwrap();
    fs::remove_file(token).unwrap();
}

#[tokio::test]
async fn a_server_that_cannot_be_trusted_is_not_asked_and_told_with_what_to_do() {
    let authority = Authority::new("cluster").unwrap();
    let server = server(&authority);
    server.accept_tokens(&["secret"]);
    let user = json!({"token": "secret"});
    let url = format!("https://{}", server.address());
    let other = Authority::new("another").unwrap();
    let by_name = url.replace("127.0.0.1", "localhost");
    for (name, cluster) in [
        ("other", json!({"server": url, "certificate-authority-data": base64(&other.certificate())})),
        ("elsewhere", json!({"server": by_name, "certificate-authority-data": base64(&authority.certificate())})),
    ] {
        let error = list(&client(name, &cluster, &user).await).await.unwrap_err();
        for words in ["invalid peer certificate", "certificate-authority", "(ca.crt)", "another address", "retried"] {
            assert!(error.contains(words), "{name}: no {words:?} in {error}");
        }
    }
    assert!(credentials(&server).is_empty(), "the token was sent to a server that nobody trusts");
}
