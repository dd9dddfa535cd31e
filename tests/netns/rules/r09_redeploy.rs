//! R9: deploying, changing or removing a copy re-routes the next request, with no restart of anything.

use interceptor_tests::wait;
use nix::sys::signal::Signal;

use crate::stage::{Client, LIMIT, Scene, Stage, ask, http_service, vip};

const HEADERS: [&str; 2] = ["Host: serviceB", "azds-route-as: azureuser"];

#[test]
fn r09_the_next_request_of_the_same_connection_follows_what_is_deployed() {
    let mut scene = Scene::worked_example("r09");
    let caller = scene.caller("caller", Some("azureuser"));
    scene.deploy("serviceB", "default", 12);
    let mut stage = scene.start();
    let pid = stage.agent.process().pid();
    let mut client = Client::new(&caller, vip(12));
    assert_eq!(client.get("/1", &HEADERS)["name"], "serviceB.default");

    let first = stage.scene.deploy("serviceB", "azureuser", 13);
    stage.reload();
    assert_eq!(client.get("/2", &HEADERS)["name"], "serviceB.azureuser");

    // Changed: another pod takes over, the old one ends.
    let second = stage.scene.app("second");
    stage.scene.publish(&http_service("serviceB", "azureuser", 13).endpoint(&second));
    stage.reload();
    first.remove().unwrap();
    assert_eq!(client.get("/3", &HEADERS)["name"], "second");

    stage.scene.config.remove_service("azureuser", "serviceB");
    stage.reload();
    assert_eq!(client.get("/4", &HEADERS)["name"], "serviceB.default");
    // A space that goes is unknown from then on, and one that comes is known.
    stage.scene.config.remove_space("azureuser").remove_workload("caller");
    stage.scene.config.remove_workload("serviceB.azureuser");
    stage.scene.config.workload(&caller, Some("default"));
    stage.reload();
    assert_eq!(client.get("/5", &HEADERS)["name"], "serviceB.default");

    assert_eq!(stage.agent.process().pid(), pid);
    stage.expect_running();
    drop(client);
    let connection = stage.wait_flows(1, |record| record["kind"] == "connection").remove(0);
    assert_eq!(connection["requests"], 5, "{connection}");
    assert_eq!(stage.request("/5")["reason"], "unknown_space");
}

#[test]
fn r09_sighup_reads_the_file_again() {
    let mut stage = Scene::worked_example("r09hup").start();
    let before = stage.agent.snapshot_version().unwrap();
    // Nothing has changed, so that only the signal can be the reason.
    stage.agent.process().signal(Signal::SIGHUP).unwrap();
    wait::until(LIMIT, "a new version", || {
        let now = stage.agent.snapshot_version()?;
        anyhow::ensure!(now == before + 1, "it is {now}");
        Ok(())
    })
    .unwrap();
}

fn wait_error(stage: &Stage) -> String {
    wait::until(LIMIT, "the refusal in status", || {
        let status = stage.agent.status()?;
        let error = status["source"]["last_error"].as_str().map(str::to_owned);
        error.ok_or_else(|| anyhow::anyhow!("{status}"))
    })
    .unwrap()
}

#[test]
fn r09_a_file_that_is_refused_leaves_the_last_good_one_in_force() {
    let mut scene = Scene::worked_example("r09bad");
    let caller = scene.caller("caller", Some("azureuser"));
    scene.deploy("serviceB", "default", 12);
    scene.deploy("serviceB", "azureuser", 13);
    let mut stage = scene.start();
    let good = stage.scene.config.to_text();
    // Not YAML, a key that there is not, and half of the file: each is refused as a whole.
    for (bad, says) in [
        ("spaces: [", None),
        (&*good.replace("\"services\"", "\"servces\""), Some("servces")),
        (&good[..good.len() / 2], None),
    ] {
        let version = stage.agent.snapshot_version().unwrap();
        stage.agent.write_config(bad).unwrap();
        let error = wait_error(&stage);
        assert!(says.is_none_or(|word| error.contains(word)), "{error}");
        assert_eq!(ask(&caller, vip(12), "/", &HEADERS)["name"], "serviceB.azureuser");
        // Asking again changes nothing.
        stage.agent.process().signal(Signal::SIGHUP).unwrap();
        assert_eq!(ask(&caller, vip(12), "/", &HEADERS)["name"], "serviceB.azureuser");
        let status = stage.agent.status().unwrap();
        assert_eq!(status["snapshot_version"], version);
        assert_eq!(status["ready"], true);
        // The opposite: a good one clears it.
        stage.agent.write_config(&good).unwrap();
        wait::until(LIMIT, "the error to go", || {
            let error = stage.agent.status()?["source"]["last_error"].clone();
            anyhow::ensure!(error.is_null(), "{error}");
            Ok(())
        })
        .unwrap();
    }
    stage.expect_running();
}
