//! By trace id: instrumented applications, also several in a row, with requests of both spaces at once.

use super::apps::{INSTRUMENTED, flask, node, traceparent_only};
use super::{BACK, FRONT, Start, deploy, host, last, mixed, scene, sent, trace, visit};
use crate::metrics::{samples, sum};
use crate::stage::{ask, routes, vip};

#[test]
fn an_instrumented_application_that_forwards_nothing_keeps_requests_in_their_space() {
    let mut scene = scene("traced");
    let mut pods = Vec::new();
    for ((name, start), number) in INSTRUMENTED.into_iter().zip(FRONT..) {
        pods.push((name, deploy(&mut scene, name, number, start, BACK)));
    }
    let stage = scene.start();
    for (name, pod) in &pods {
        let (azureuser, workload) = (host("azureuser", name), format!("{name}.default"));
        let answer = visit(&stage, pod, &format!("/{name}-with-id"), &[&azureuser, &trace(1)]);
        assert_eq!(last(&answer), "back.azureuser", "{answer}");
        assert_eq!(routes(&answer["upstream"]), ["azds-route-as: azureuser"], "added by the agent, once");
        let record = sent(&stage, &workload, &format!("/{name}-with-id"));
        assert_eq!((&record["space_from"], &record["injected"]), (&"trace".into(), &true.into()), "{record}");
        // The opposite: an id that the application made up itself has come from nowhere.
        let answer = visit(&stage, pod, &format!("/{name}-without-id"), &[&azureuser]);
        assert_eq!(last(&answer), "back.default", "{answer}");
        let record = sent(&stage, &workload, &format!("/{name}-without-id"));
        assert_eq!(record["space_from"], "caller", "{record}");
        let (wrong, one) = mixed(stage.scene.lab.outside(), pod, name, 8, 25);
        assert_eq!(wrong, 0, "of {name}, such as {one:?}");
    }
}

/// The second application is called by a captured pod of the same node, whose connections pass its listener (rule R7).
#[test]
fn spaces_are_found_again_through_several_applications_of_one_node() {
    let mut scene = scene("traced-chain");
    // The last one first: who calls it needs its address only.
    let rows: [(&str, Start, u8, u8); 3] = [
        ("third", traceparent_only, FRONT + 2, BACK),
        ("second", node, FRONT + 1, FRONT + 2),
        ("first", flask, FRONT, FRONT + 1),
    ];
    let mut pods = Vec::new();
    for (name, start, number, calls) in rows {
        pods.push(deploy(&mut scene, name, number, start, calls));
    }
    let stage = scene.start();
    let first = pods.last().unwrap();
    let answer = visit(&stage, first, "/call", &[&host("azureuser", "first"), &trace(1)]);
    assert_eq!(last(&answer), "back.azureuser", "{answer}");
    // What every application sees: the header of the agent of its caller.
    for seen in [&answer["upstream"], &answer["upstream"]["upstream"], &answer["upstream"]["upstream"]["upstream"]] {
        assert_eq!(routes(seen), ["azds-route-as: azureuser"], "{seen}");
    }
    assert!(stage.kernel("inbound", "peer") > 0, "calls between captured pods pass the listener");
    let answer = visit(&stage, first, "/call", &[&host("default", "first"), &trace(2)]);
    assert_eq!(last(&answer), "back.default", "{answer}");
}

#[test]
fn a_trace_id_counts_in_the_pod_that_it_came_to_and_for_its_time() {
    let mut scene = scene("traced-bounds");
    scene.config.set("propagate", "grace", "2s");
    let front = deploy(&mut scene, "front", FRONT, traceparent_only, BACK);
    let other = deploy(&mut scene, "other", FRONT + 1, traceparent_only, BACK);
    let caller = scene.caller("caller", Some("default"));
    let stage = scene.start();
    let azureuser = host("azureuser", "front");
    let visit = |path: &str, headers: &[&str]| visit(&stage, &front, path, headers);
    assert_eq!(last(&visit("/call", &[&azureuser, &trace(1)])), "back.azureuser");
    let call = |from: &interceptor_tests::Pod| {
        let answer = ask(from, vip(BACK), "/late", &["Host: back", &trace(1)]);
        answer["name"].as_str().unwrap().to_owned()
    };
    // A process of that pod, after the answer; of others, the id says nothing.
    assert_eq!(call(&front), "back.azureuser", "within the grace");
    assert_eq!(call(&other), "back.default", "another pod");
    assert_eq!(call(&caller), "back.default", "another pod");
    std::thread::sleep(std::time::Duration::from_millis(2200));
    assert_eq!(call(&front), "back.default", "after the grace");
    // Two spaces with one id at a time: neither is believed.
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| visit("/call?wait=1000", &[&azureuser, &trace(2)]));
        std::thread::sleep(std::time::Duration::from_millis(300));
        let answer = visit("/call", &[&host("default", "front"), &trace(2)]);
        assert_eq!(last(&answer), "back.default", "{answer}");
        assert_eq!(last(&slow.join().unwrap()), "back.default", "it falls back to the pod's own space");
    });
    let noted = stage.wait_flows(2, |record| record["notes"].as_array().is_some_and(|notes| !notes.is_empty()));
    assert!(noted.iter().all(|record| record["notes"][0] == "ambiguous_trace"), "{noted:?}");
    let counted = samples(&stage);
    assert_eq!(sum(&counted, "interceptor_request_notes_total", &[("note", "ambiguous_trace")]), 2.0);
    let by_trace = [("direction", "outbound"), ("from", "trace")];
    assert_eq!(sum(&counted, "interceptor_request_spaces_total", &by_trace), 2.0);
}
