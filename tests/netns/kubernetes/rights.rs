//! The agent needs exactly the rights that its manifests give it, and says which one is missing.

use std::collections::BTreeSet;

use interceptor::kubernetes::permissions::AGENT;
use interceptor_tests::apiserver::Rule;
use interceptor_tests::manifests::{Grant, grants, render};
use serde_json::{Value, json};

use super::{Cluster, ask_metrics, watch};
use crate::stage::{ask, vip};

/// What the rendered manifests let the agent's service account do.
fn granted() -> Vec<Grant> {
    let documents = render("deploy/kubernetes").unwrap_or_else(|error| panic!("{error:#}"));
    let grants = grants(&documents, "interceptor").unwrap();
    assert!(!grants.is_empty(), "the agent has no rights at all");
    grants
}

fn rules<'g>(grants: impl IntoIterator<Item = &'g Grant>) -> Vec<Rule> {
    grants.into_iter().map(Grant::rule).collect()
}

/// How many resources are being watched.
fn watching(status: &Value) -> usize {
    let watches = status["source"]["watches"].as_array().unwrap();
    watches.iter().filter(|watch| watch["state"] == "watching").count()
}

/// Two spaces with a copy each, and a caller in the derived one.
fn node(name: &str) -> (Cluster, interceptor_tests::Pod) {
    let mut cluster = Cluster::new(name);
    cluster.space("dev", None);
    cluster.space("azureuser", Some("dev"));
    cluster.deploy("serviceb", "dev", 12, &[]);
    cluster.deploy("serviceb", "azureuser", 13, &[]);
    let caller = cluster.pod("caller", "azureuser");
    (cluster, caller)
}

#[test]
fn the_agent_works_with_no_more_than_the_manifests_grant_and_uses_all_of_it() {
    let grants = granted();
    let (mut cluster, caller) = node("rights");
    cluster.server.allow_only(rules(&grants));
    cluster.start();
    cluster.wait_captured(3);
    let call = |path: &str| ask(&caller, vip(12), path, &["Host: serviceb"])["name"].clone();
    assert_eq!(call("/first"), "serviceb.azureuser");

    // What an agent ever does to a cluster: it lists, watches, watches again, and lists again where its version is too old.
    cluster.server.cut_watches();
    cluster.space("kate", Some("azureuser"));
    cluster.wait_status("the new space", |status| status["spaces"] == 3);
    cluster.server.compact();
    cluster.space("paul", Some("dev"));
    cluster.wait_status("the next space", |status| status["spaces"] == 4);
    assert_eq!(call("/last"), "serviceb.azureuser");
    cluster.wait_status("all to be watched", |status| watching(status) == 4);
    assert!(!cluster.agent().log_tail(1000).contains("answered 403"), "it was refused something");

    let calls = cluster.server.calls();
    let ours = calls.iter().filter(|call| call.user_agent.starts_with("interceptor/"));
    let asked: BTreeSet<[&str; 3]> = ours.map(|call| [&*call.verb, &*call.group, &*call.resource]).collect();
    let granted: BTreeSet<[&str; 3]> =
        grants.iter().map(|grant| [&*grant.verb, &*grant.group, &*grant.resource]).collect();
    let listed: BTreeSet<[&str; 3]> = AGENT.iter().map(|one| [one.verb, one.group, one.resource]).collect();
    assert_eq!((&asked, &listed), (&granted, &granted));
    assert!(calls.iter().all(|call| call.user_agent.starts_with("interceptor/")), "somebody else asked");
    // A service account is not bound to a node: the selector keeps other nodes' pods from here.
    let of_pods = calls.iter().filter(|call| call.resource == "pods");
    assert!(of_pods.clone().count() >= 4);
    for call in of_pods {
        assert!(call.query.contains("fieldSelector=spec.nodeName%3Dnode-1"), "{}", call.query);
    }
}

#[test]
fn a_right_that_is_taken_away_is_told_everywhere_and_the_rest_goes_on() {
    let grants = granted();
    let (mut cluster, caller) = node("rightless");
    for taken in &grants {
        let Grant { verb, resource, group, .. } = taken;
        // An agent of its own: nobody's wait has grown yet.
        drop(cluster.agent.take());
        cluster.server.allow_only(rules(&grants));
        cluster.start();
        cluster.wait_captured(3);
        cluster.server.allow_only(rules(grants.iter().filter(|grant| *grant != taken)));
        // A watch that is cut is begun anew; one whose version is too old, with a list.
        if verb == "list" {
            cluster.server.compact();
        } else {
            cluster.server.cut_watches();
        }
        let refused = format!("{verb} {resource}: the API server answered 403");
        let told = |status: &Value| {
            let watch = watch(status, resource);
            watch["state"] == "failed" && watch["error"].as_str().is_some_and(|error| error.contains(&refused))
        };
        // The other three are watched again.
        let status = cluster.wait_status(&refused, |status| told(status) && watching(status) == 3);
        let error = watch(&status, resource)["error"].as_str().unwrap();
        let hint = format!(
            "let its service account {verb} {resource} (API group \"{group}\") in all namespaces, as the ClusterRole in \
             deploy/kubernetes does"
        );
        assert!(error.contains(&hint), "{error}");
        let log = cluster.agent().log_tail(400);
        assert!(log.lines().any(|line| line.contains("WARN") && line.contains(&refused)), "{refused}: {log}");
        let metrics = ask_metrics(&cluster);
        for line in [
            format!("interceptor_watch{{resource=\"{resource}\",state=\"failed\"}} 1"),
            format!("interceptor_watch_failures_total{{resource=\"{resource}\",reason=\"forbidden\"}}"),
        ] {
            assert!(metrics.contains(&line), "no {line} in {metrics}");
        }
        // What is known stays in force; what another watch tells is followed.
        assert_eq!((&status["ready"], &status["workloads"]["captured"]), (&json!(true), &json!(3)), "{status}");
        let answer = ask(&caller, vip(12), &format!("/{verb}/{resource}"), &["Host: serviceb"]);
        assert_eq!(answer["name"], "serviceb.azureuser");
        if resource != "namespaces" {
            cluster.space("kate", Some("dev"));
            cluster.wait_status("the new space", |status| status["spaces"] == 3);
            cluster.server.delete(super::resource("", "namespaces"), "", "kate").unwrap();
            cluster.wait_status("no such space", |status| status["spaces"] == 2);
        }
        cluster.server.allow_only(rules(&grants));
        cluster.wait_status("the right to be used again", |status| watching(status) == 4);
    }
    cluster.agent_mut().process().expect_running().unwrap();
}
