//! R3: a request goes to the first space of its chain (space, parent, grandparent, root) in which the service has an
//! address that is ready.

use crate::stage::{Scene, Stage, ask, bare_service, chain, cluster_ip, http_service, vip, vip_v6};
use interceptor_tests::Pod;

/// `feature` derives from `azureuser`, that from `team`, that from `default`: the deepest tree there is.
fn four_levels(name: &str) -> Scene {
    let spaces =
        [("default", None), ("team", Some("default")), ("azureuser", Some("team")), ("feature", Some("azureuser"))];
    Scene::new(name, &spaces)
}

const HEADERS: [&str; 2] = ["Host: serviceB", "azds-route-as: feature"];

fn who_answers(caller: &Pod) -> String {
    let v4 = ask(caller, vip(12), "/v4", &HEADERS)["name"].as_str().unwrap().to_owned();
    let v6 = ask(caller, vip_v6(12), "/v6", &HEADERS)["name"].as_str().unwrap().to_owned();
    assert_eq!(v4, v6);
    v4
}

fn last_chain(stage: &Stage, count: usize) -> Vec<String> {
    chain(stage.wait_flows(count, |record| record["path"] == "/v4").last().unwrap())
}

#[test]
fn r03_the_nearest_space_of_the_chain_answers_up_to_the_root() {
    let mut scene = four_levels("r03");
    let caller = scene.caller("caller", Some("default"));
    scene.deploy("serviceB", "default", 12);
    // Of another name, or in a space beside the chain: never taken.
    scene.config.space("sibling", Some("team"));
    scene.deploy("serviceB", "sibling", 20);
    scene.deploy("serviceC", "feature", 21);
    let mut stage = scene.start();
    assert_eq!(who_answers(&caller), "serviceB.default");
    let none = |space: &str| format!("{space}=no_service");
    let expected = [none("feature"), none("azureuser"), none("team"), "default=taken".to_owned()];
    assert_eq!(last_chain(&stage, 1), expected);
    let nearer = [("team", 13, 3), ("azureuser", 14, 2), ("feature", 15, 1)];
    for (count, (space, number, tried)) in (2..).zip(nearer) {
        stage.scene.deploy("serviceB", space, number);
        stage.reload();
        assert_eq!(who_answers(&caller), format!("serviceB.{space}"));
        let chain = last_chain(&stage, count);
        assert_eq!(chain.len(), tried, "{chain:?}");
        assert_eq!(chain.last().unwrap(), &format!("{space}=taken"));
    }
    // The opposite: a space in the middle of the chain does not see what its children hold.
    let answer = ask(&caller, vip(12), "/", &["Host: serviceB", "azds-route-as: team"]);
    assert_eq!(answer["name"], "serviceB.team");
}

#[test]
fn r03_a_copy_that_is_not_ready_is_skipped() {
    let mut scene = four_levels("r03ready");
    let caller = scene.caller("caller", Some("feature"));
    scene.deploy("serviceB", "default", 12);
    scene.deploy("serviceB", "team", 13);
    let pod = scene.app("serviceB.azureuser");
    let copy = |ready| {
        let service = http_service("serviceB", "azureuser", 14);
        service.endpoint_at(pod.v4.into(), ready).endpoint_at(pod.v6.into(), ready)
    };
    scene.publish(&copy(false));
    scene.publish(&http_service("serviceB", "feature", 15));
    let mut stage = scene.start();
    assert_eq!(who_answers(&caller), "serviceB.team");
    let expected = ["feature=no_ready_endpoint", "azureuser=no_ready_endpoint", "team=taken"];
    assert_eq!(last_chain(&stage, 1), expected);
    stage.scene.publish(&copy(true));
    stage.reload();
    assert_eq!(who_answers(&caller), "serviceB.azureuser");
}

#[test]
fn r03_ports_of_copies_match_by_name_and_else_by_number() {
    let mut scene = Scene::worked_example("r03port");
    let caller = scene.caller("caller", Some("azureuser"));
    let shared = scene.app("shared");
    scene.run(&shared, 9091, &["http", "--name", "shared-admin", "--listen", "[::]:9091"]);
    let copy = scene.program("copy", 7070, &["http", "--name", "copy", "--listen", "[::]:7070"]);
    let both = bare_service("serviceB", "default", 12).port("web", 80, 8080, None).port("admin", 90, 9091, None);
    scene.publish(&both.endpoint(&shared));
    // The copy has `web` under another number, and no `admin`, though a port of its number.
    let copied = bare_service("serviceB", "azureuser", 13).port("web", 8000, 7070, None).port("other", 90, 1, None);
    scene.publish(&copied.endpoint(&copy));
    // Ports without a name match by number.
    let plain = |space, number| bare_service("serviceC", space, number).port("", 80, 8080, None);
    scene.publish(&plain("default", 22).endpoint(&shared));
    let numbered = bare_service("serviceC", "azureuser", 23).port("anything", 80, 7070, None);
    scene.publish(&numbered.endpoint(&copy));
    let stage = scene.start();
    let name = |number, port, path| ask(&caller, (cluster_ip(number), port).into(), path, &["Host: x"])["name"].clone();
    assert_eq!(name(12, 80, "/web"), "copy");
    assert_eq!(name(12, 90, "/admin"), "shared-admin");
    assert_eq!(chain(&stage.request("/admin")), ["azureuser=no_port", "default=taken"]);
    assert_eq!(name(22, 80, "/plain"), "copy");
}
