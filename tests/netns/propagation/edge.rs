//! Header formats and the untrusted edge, on the wire of real applications.

use super::apps::{plain, traceparent_only};
use super::{BACK, FRONT, deploy, host, last, scene, trace, visit};
use crate::stage::{ask, headers, routes, vip};

#[test]
fn baggage_carries_a_space_through_and_the_rest_of_it_stays() {
    let mut scene = scene("baggage");
    scene.config.set("routing", "route_headers", vec!["azds-route-as", "baggage/sd-routing-key", "tracestate/space"]);
    scene.config.set("routing", "inject", vec!["baggage/sd-routing-key"]);
    let front = deploy(&mut scene, "front", FRONT, traceparent_only, BACK);
    let caller = scene.caller("caller", Some("default"));
    let stage = scene.start();
    let baggage = |answer: &serde_json::Value| -> Vec<String> {
        headers(answer).into_iter().filter(|line| line.to_ascii_lowercase().starts_with("baggage:")).collect()
    };
    for header in ["baggage: a=1,sd-routing-key=%61zureuser", "tracestate: o=1,space=azureuser"] {
        let answer = ask(&caller, vip(BACK), "/", &["Host: back", header]);
        assert_eq!(answer["name"], "back.azureuser", "{header}");
        assert!(headers(&answer).contains(&header.to_owned()), "{answer}");
    }
    // Decided by the Host, told on by a member.
    let answer = visit(&stage, &front, "/call", &[&host("azureuser", "front"), "baggage: a=1;p=2, b=3", &trace(1)]);
    assert_eq!(baggage(&answer), ["baggage: a=1;p=2, b=3,sd-routing-key=azureuser"], "{answer}");
    assert_eq!(last(&answer), "back.azureuser");
    assert_eq!(baggage(&answer["upstream"]), ["baggage: sd-routing-key=azureuser"], "{answer}");
    assert!(routes(&answer["upstream"]).is_empty());
    // What differs: the first configured one counts, and the record says so.
    let both = ["Host: back", "baggage: sd-routing-key=azureuser", "azds-route-as: default"];
    assert_eq!(ask(&caller, vip(BACK), "/both", &both)["name"], "back.default");
    assert_eq!(stage.request("/both")["notes"], serde_json::json!(["differing_headers"]));
}

#[test]
fn who_comes_from_outside_names_a_space_by_the_host_alone_if_that_is_asked_for() {
    for strip in [true, false] {
        let mut scene = scene(if strip { "strip" } else { "no-strip" });
        scene.config.set("routing", "strip_from_outside", strip);
        let front = deploy(&mut scene, "front", FRONT, plain, BACK);
        let caller = scene.caller("caller", Some("default"));
        let stage = scene.start();
        let inside = ["Host: front", "azds-route-as: azureuser"];
        let seen = |headers: &[&str]| routes(&visit(&stage, &front, "/", headers));
        let kept = if strip { vec![] } else { vec!["azds-route-as: azureuser".to_owned()] };
        assert_eq!(seen(&inside), kept, "strip {strip}");
        let both = [&*host("default", "front"), "azds-route-as: azureuser"];
        let named = if strip { "azds-route-as: default" } else { "azds-route-as: azureuser" };
        assert_eq!(seen(&both), [named], "strip {strip}");
        assert_eq!(routes(&ask(&caller, vip(FRONT), "/", &inside)), ["azds-route-as: azureuser"], "a workload");
    }
}
