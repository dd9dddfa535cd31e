//! The manager needs exactly the rights that its manifests give it. Needs the test API server, which notes every call.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use interceptor::kubernetes::permissions::MANAGER;
use interceptor_tests::apiserver::Rule;
use interceptor_tests::apiserver::resource::Resource;
use interceptor_tests::manifests::{Grant, grants, render};

use crate::cluster::Cluster;

/// Does everything that the manager ever does to a cluster.
fn a_day(cluster: &Cluster) -> Result<()> {
    let manager = cluster.manager("one")?;
    cluster
        .wait_hosts("azureuser", "azds-servicea", Some(&["azureuser.s.dev.servicea"]))
        .with_context(|| manager.log())?;
    cluster.server()?.delete(service()?, &cluster.name("azureuser"), "servicea")?;
    cluster.wait_hosts("azureuser", "azds-servicea", None).with_context(|| manager.log())?;
    cluster.service("dev", "grpcb", &[("grpc", 50051), ("metrics", 9090)])?;
    cluster.wait_event("dev", "grpcb", "NoPort")?;
    // Its farewell is an update of the Lease.
    manager.end("-TERM")
}

fn service() -> Result<&'static Resource> {
    Resource::named("", "services").context("the test API server has no services")
}

#[test]
fn the_manager_asks_for_what_the_code_lists_and_the_manifests_grant() -> Result<()> {
    let mut cluster = Cluster::start_own()?;
    cluster.worked_example()?;
    a_day(&cluster)?;
    let calls = cluster.server()?.calls();
    let ours = calls.iter().filter(|call| call.user_agent.starts_with("interceptor-ingress-manager"));
    let asked: BTreeSet<(String, String, String)> =
        ours.map(|call| (call.verb.clone(), call.group.clone(), call.resource.clone())).collect();
    let listed: BTreeSet<(String, String, String)> =
        MANAGER.iter().map(|one| (one.verb.to_owned(), one.group.to_owned(), one.resource.to_owned())).collect();
    // Nothing that is not listed, and nothing listed that is not asked for; but for what a real API server asks of whoever
    // patches what is not there.
    let mut expected = listed;
    expected.remove(&("create".to_owned(), "networking.k8s.io".to_owned(), "ingresses".to_owned()));
    assert_eq!(asked, expected);
    Ok(())
}

#[test]
fn the_manager_works_with_no_more_than_the_manifests_grant() -> Result<()> {
    let documents = render("deploy/kubernetes")?;
    let grants = grants(&documents, "interceptor-ingress-manager")?;
    let mut cluster = Cluster::start_own()?;
    cluster.worked_example()?;
    let mut allowed: Vec<Rule> = grants.iter().map(Grant::rule).collect();
    // kubectl's own calls are the test's, not the manager's: reading and the service that a_day makes.
    allowed.push(Rule { groups: vec!["*".into()], resources: vec!["*".into()], verbs: vec!["get".into()] });
    allowed.push(Rule { groups: vec!["".into()], resources: vec!["services".into()], verbs: vec!["patch".into()] });
    allowed.push(Rule {
        groups: vec!["events.k8s.io".into()],
        resources: vec!["*".into()],
        verbs: vec!["list".into()],
    });
    cluster.server()?.allow_only(allowed);
    a_day(&cluster)
}

#[test]
fn a_right_that_is_missing_is_told_with_what_to_do_and_the_rest_goes_on() -> Result<()> {
    let mut cluster = Cluster::start_own()?;
    cluster.worked_example()?;
    let every = ["get", "list", "watch", "create", "update", "patch"].map(str::to_owned).to_vec();
    cluster.server()?.allow_only(vec![Rule { groups: vec!["*".into()], resources: vec!["*".into()], verbs: every }]);
    let manager = cluster.manager("one")?;
    cluster.wait_hosts("azureuser", "azds-servicea", Some(&["azureuser.s.dev.servicea"]))?;
    cluster.server()?.delete(service()?, &cluster.name("azureuser"), "servicea")?;
    let problem = manager.wait_problem("Refused")?;
    let message = problem["message"].as_str().unwrap_or_default();
    assert!(message.contains("ClusterRole") && message.contains("cannot delete"), "{problem}");
    cluster.service("dev", "servicec", &[("http", 80)])?;
    cluster.wait_hosts("dev", "azds-servicec", Some(&["*.s.dev.servicec", "dev.servicec"]))
}
