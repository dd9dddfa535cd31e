//! R4: without a header, the space that the calling pod lives in is used, if it is in the destination's tree.

use crate::stage::{Scene, ask, routes, vip};

#[test]
fn r04_a_caller_without_header_stands_for_its_own_space() {
    let mut scene = Scene::worked_example("r04");
    let caller = scene.caller("caller", Some("azureuser"));
    let shared = scene.caller("shared", Some("default"));
    scene.deploy("serviceB", "default", 12);
    scene.deploy("serviceB", "azureuser", 13);
    let stage = scene.start();
    let answer = ask(&caller, vip(12), "/own", &["Host: serviceB"]);
    assert_eq!(answer["name"], "serviceB.azureuser");
    assert_eq!(routes(&answer), ["azds-route-as: azureuser"], "the next hop learns of it");
    let record = stage.request("/own");
    assert_eq!(record["space_from"], "caller");
    assert_eq!(record["injected"], true);
    // The opposite: a caller of the root stays in the root, and a header counts more than the caller.
    assert_eq!(ask(&shared, vip(12), "/", &["Host: serviceB"])["name"], "serviceB.default");
    let header = ["Host: serviceB", "azds-route-as: azureuser"];
    assert_eq!(ask(&shared, vip(12), "/", &header)["name"], "serviceB.azureuser");
    let header = ["Host: serviceB", "azds-route-as: default"];
    assert_eq!(ask(&caller, vip(13), "/", &header)["name"], "serviceB.default");
}

#[test]
fn r04_with_default_space_none_the_original_destination_is_kept() {
    let mut scene = Scene::worked_example("r04none");
    scene.config.set("routing", "default_space", "none");
    let caller = scene.caller("caller", Some("azureuser"));
    scene.deploy("serviceB", "default", 12);
    scene.deploy("serviceB", "azureuser", 13);
    let stage = scene.start();
    let answer = ask(&caller, vip(12), "/none", &["Host: serviceB"]);
    assert_eq!(answer["name"], "serviceB.default");
    assert_eq!(routes(&answer), Vec::<String>::new());
    let record = stage.request("/none");
    assert_eq!(record["space_from"], "none");
    assert_eq!(record["reason"], "no_space_named");
    // A header still routes.
    let header = ["Host: serviceB", "azds-route-as: azureuser"];
    assert_eq!(ask(&caller, vip(12), "/", &header)["name"], "serviceB.azureuser");
}

#[test]
fn r04_a_caller_of_another_tree_or_of_none_keeps_its_destination() {
    let mut scene = Scene::worked_example("r04other");
    let shop = scene.caller("shop", Some("shop"));
    let nowhere = scene.caller("nowhere", None);
    scene.deploy("serviceB", "default", 12);
    scene.deploy("serviceB", "azureuser", 13);
    scene.deploy("serviceB", "shop", 14);
    let stage = scene.start();
    for caller in [&shop, &nowhere] {
        for (number, name) in [(12, "serviceB.default"), (13, "serviceB.azureuser")] {
            let answer = ask(caller, vip(number), "/kept", &["Host: serviceB"]);
            assert_eq!(answer["name"], name);
            assert_eq!(routes(&answer), Vec::<String>::new());
        }
    }
    let records = stage.wait_flows(4, |record| record["path"] == "/kept");
    assert!(records.iter().all(|record| record["reason"] == "no_space_named"), "{records:?}");
}
