//! An API server that fails: nothing is lost, nothing is deleted, and it goes on afterwards. Needs the test API server.

use std::net::TcpListener;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result};
use interceptor_tests::apiserver::Fault;
use interceptor_tests::apiserver::resource::Resource;
use interceptor_tests::wait;

use crate::cluster::{Cluster, LIMIT, Manager};

#[test]
fn an_outage_deletes_nothing_and_what_happened_meanwhile_is_caught_up_with() -> Result<()> {
    let mut cluster = Cluster::start_own()?;
    cluster.worked_example()?;
    let manager = cluster.manager("one")?;
    cluster.wait_hosts("azureuser", "azds-servicea", Some(&["azureuser.s.dev.servicea"]))?;
    let address = cluster.server()?.address();
    cluster.server_mut()?.stop();
    // Longer than a manager may write without a renewal.
    manager.wait_leading(false, LIMIT)?;
    assert!(manager.ask("/healthz")?.starts_with("ok"));
    let listener = wait::until(LIMIT, "the address to be free", || Ok(TcpListener::bind(address)?))?;
    cluster.server_mut()?.go_on(listener)?;
    cluster.server()?.compact();
    cluster.service("azureuser", "serviceb", &[("http", 80)])?;
    cluster
        .wait_hosts("azureuser", "azds-servicea", Some(&["azureuser.s.dev.servicea"]))
        .with_context(|| manager.log())?;
    wait::until(LIMIT * 3, "the new URL", || {
        cluster.hosts("azureuser", "azds-serviceb")?.context("there is none").map(drop)
    })
    .with_context(|| manager.log())
}

#[test]
fn answers_that_are_no_answers_are_told_and_tried_again() -> Result<()> {
    for fault in [Fault::Status(500), Fault::Status(429), Fault::Garbage, Fault::Cut] {
        let mut cluster = Cluster::start_own()?;
        cluster.worked_example()?;
        cluster.server()?.fail("patch", "ingresses", fault.clone());
        let manager = cluster.manager("one")?;
        manager.wait_problem("Refused").with_context(|| format!("{fault:?}"))?;
        // It waits longer every time, and does not hammer.
        sleep(Duration::from_secs(3));
        let tried = cluster
            .server()?
            .calls()
            .iter()
            .filter(|call| call.verb == "patch" && call.resource == "ingresses")
            .count();
        assert!(tried <= 3 * 4, "{fault:?}: three objects were tried {tried} times");
        cluster.server()?.heal();
        cluster.wait_hosts("dev", "azds-servicea", Some(&["*.s.dev.servicea", "dev.servicea"]))?;
        wait::until(LIMIT, "the problem to go", || {
            let status = manager.status()?;
            anyhow::ensure!(status["problems"] == serde_json::json!([]), "{status}");
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn an_object_that_is_taken_over_while_its_deletion_is_under_way_stays() -> Result<()> {
    let mut cluster = Cluster::start_own()?;
    cluster.worked_example()?;
    let manager = cluster.manager("one")?;
    cluster.wait_hosts("azureuser", "azds-servicea", Some(&["azureuser.s.dev.servicea"]))?;
    let ingresses =
        Resource::named("networking.k8s.io", "ingresses").context("the test API server has no ingresses")?;
    let services = Resource::named("", "services").context("the test API server has no services")?;
    let (server, namespace) = (cluster.server()?, cluster.name("azureuser"));
    server.fail("delete", "ingresses", Fault::Slow(Duration::from_secs(2)));
    server.delete(services, &namespace, "servicea")?;
    wait::until(LIMIT, "the deletion to be asked for", || {
        let asked = server.calls().iter().any(|call| call.verb == "delete" && call.resource == "ingresses");
        anyhow::ensure!(asked, "it is not");
        Ok(())
    })?;
    // It is somebody else's from here on: the label that says whose it is has another value.
    server.change(ingresses, &namespace, "azds-servicea", |object| {
        object["metadata"]["labels"]["app.kubernetes.io/managed-by"] = "somebody".into();
    })?;
    sleep(Duration::from_secs(3));
    server.heal();
    let there = server.get(ingresses, &namespace, "azds-servicea")?;
    anyhow::ensure!(there.is_some(), "it was deleted: {}", manager.log());
    Ok(())
}

#[test]
fn a_manager_that_has_not_listed_everything_yet_deletes_nothing() -> Result<()> {
    for missing in ["namespaces", "services"] {
        let mut cluster = Cluster::start_own()?;
        cluster.worked_example()?;
        let first = cluster.manager("one")?;
        cluster.wait_hosts("azureuser", "azds-servicea", Some(&["azureuser.s.dev.servicea"]))?;
        first.end("-TERM")?;
        cluster.server()?.fail("list", missing, Fault::Status(500));
        let second = Manager::start(&cluster, "two")?;
        // Long enough to hold the Lease, which was given up, and to write.
        sleep(Duration::from_secs(4));
        anyhow::ensure!(second.ask("/readyz").is_err(), "without {missing} it says that it is ready");
        let deleted = cluster.server()?.calls().iter().filter(|call| call.verb == "delete").count();
        anyhow::ensure!(deleted == 0, "without {missing} it deleted {deleted} objects: {}", second.log());
        cluster.server()?.heal();
        second.wait_leading(true, LIMIT)?;
        cluster.service("dev", "servicec", &[("http", 80)])?;
        cluster.wait_hosts("dev", "azds-servicec", Some(&["*.s.dev.servicec", "dev.servicec"]))?;
        cluster.wait_hosts("azureuser", "azds-servicea", Some(&["azureuser.s.dev.servicea"]))?;
    }
    Ok(())
}
