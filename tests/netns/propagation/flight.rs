//! `propagate: single-flight`: an application that forwards nothing at all, and the requests that are in it.

use super::apps::plain;
use super::{BACK, FRONT, deploy, host, last, scene, sent, visit};
use crate::stage::{ask, vip};

#[test]
fn a_single_flight_gives_its_space_to_requests_that_carry_nothing() {
    let mut scene = scene("flight");
    let front = deploy(&mut scene, "front", FRONT, plain, BACK);
    let untouched = deploy(&mut scene, "untouched", FRONT + 1, plain, BACK);
    let caller = scene.caller("caller", Some("default"));
    scene.config.propagate("front.default", "single-flight");
    let mut stage = scene.start();
    let azureuser = host("azureuser", "front");
    let answer = visit(&stage, &front, "/call", &[&azureuser]);
    assert_eq!(last(&answer), "back.azureuser", "{answer}");
    assert_eq!(sent(&stage, "front.default", "/")["space_from"], "flight");
    // Who did not ask for it: the pod's own space, as ever.
    assert_eq!(last(&visit(&stage, &untouched, "/call", &[&host("azureuser", "untouched")])), "back.default");
    // A call of a captured pod of this node is seen as well: it is intercepted on arrival here, and nowhere else.
    let intercepted = stage.kernel("inbound", "redirected");
    let answer = ask(&caller, vip(FRONT), "/call", &["Host: front", "azds-route-as: azureuser"]);
    assert_eq!(last(&answer), "back.azureuser", "{answer}");
    assert_eq!(stage.kernel("inbound", "redirected"), intercepted + 1);
    assert_eq!(answer["peer"].as_str().unwrap().split(':').next(), Some(&*caller.v4.to_string()), "its real client");
    ask(&caller, vip(FRONT + 1), "/call", &["Host: untouched", "azds-route-as: azureuser"]);
    assert_eq!(stage.kernel("inbound", "redirected"), intercepted + 1, "rule R7");
    // Two spaces at once: neither is believed.
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| visit(&stage, &front, "/call?wait=1500", &[&azureuser]));
        std::thread::sleep(std::time::Duration::from_millis(300));
        let answer = visit(&stage, &front, "/call", &[&host("default", "front")]);
        assert_eq!(last(&answer), "back.default", "{answer}");
        // Alone again before it calls.
        assert_eq!(last(&slow.join().unwrap()), "back.azureuser");
    });
    let ambiguous = |record: &serde_json::Value| record["notes"][0] == "ambiguous_flight";
    assert_eq!(stage.wait_flows(1, ambiguous)[0]["space_from"], "caller");
    // Nothing is in flight: a process of the pod that calls by itself has the pod's own space.
    assert_eq!(ask(&front, vip(BACK), "/alone", &["Host: back"])["name"], "back.default");
    // Switched off while it runs, it ends.
    stage.scene.config.propagate("front.default", "off");
    stage.reload();
    assert_eq!(last(&visit(&stage, &front, "/call", &[&azureuser])), "back.default");
    ask(&caller, vip(FRONT), "/call", &["Host: front", "azds-route-as: azureuser"]);
    let after = stage.kernel("inbound", "redirected");
    ask(&caller, vip(FRONT), "/call", &["Host: front", "azds-route-as: azureuser"]);
    assert_eq!(stage.kernel("inbound", "redirected"), after, "rule R7 again");
}
