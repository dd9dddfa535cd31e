//! Rule by rule: endpoints, ports, kinds of services, labels, pods, and what is wrong with them.

use serde_json::{Value, json};

use super::Cluster;

fn namespace(name: &str, labels: &Value) -> Value {
    json!({"kind": "Namespace", "metadata": {"name": name, "labels": labels}})
}

fn dev() -> Value {
    namespace("dev", &json!({"azds.io/space": "true"}))
}

fn service(spec: &Value) -> Value {
    json!({"kind": "Service", "metadata": {"name": "a", "namespace": "dev"}, "spec": spec})
}

fn plain() -> Value {
    service(&json!({"clusterIPs": ["10.96.0.1"], "ports": [{"name": "http", "port": 80, "targetPort": "web"}]}))
}

fn slice(name: &str, ports: &Value, endpoints: &Value) -> Value {
    let labels = json!({"kubernetes.io/service-name": "a"});
    json!({"kind": "EndpointSlice", "metadata": {"name": name, "namespace": "dev", "labels": labels},
           "addressType": "IPv4", "ports": ports, "endpoints": endpoints})
}

fn http(port: u16) -> Value {
    json!([{"name": "http", "port": port, "protocol": "TCP"}])
}

fn endpoint(address: &str, conditions: &Value) -> Value {
    json!({"addresses": [address], "conditions": conditions})
}

/// The ready endpoints of a service's ports, as `port>address`.
fn ready(cluster: &Cluster) -> Vec<String> {
    let services = cluster.snapshot.services();
    let ports = services.flat_map(|service| service.ports.iter());
    ports.flat_map(|port| port.ready().map(|address| format!("{}>{address}", port.port))).collect()
}

#[test]
fn an_endpoint_serves_as_kube_proxy_would_have_it() {
    for (conditions, expected) in [
        (json!([{"ready": true}]), &["80>10.0.0.0:1"][..]),
        // Unknown counts as ready.
        (json!([{}]), &["80>10.0.0.0:1"]),
        (json!([null]), &["80>10.0.0.0:1"]),
        (json!([{"ready": false}]), &[]),
        (json!([{"ready": false, "serving": true}]), &[]),
        // One that is ending is better than none, unless it does not answer any more.
        (json!([{"ready": false, "serving": true, "terminating": true}]), &["80>10.0.0.0:1"]),
        (json!([{"ready": false, "serving": false, "terminating": true}]), &[]),
        (json!([{"ready": false, "serving": true, "terminating": true}, {"ready": true}]), &["80>10.0.0.1:1"]),
        // publishNotReadyAddresses makes everything ready.
        (json!([{"ready": true, "serving": false, "terminating": true}]), &["80>10.0.0.0:1"]),
    ] {
        let list = conditions.as_array().unwrap().iter().zip(0..);
        let endpoints: Vec<Value> = list.map(|(one, n)| endpoint(&format!("10.0.0.{n}"), one)).collect();
        let cluster = Cluster::of(&[dev(), plain(), slice("s", &http(1), &json!(endpoints))]);
        assert_eq!(ready(&cluster), expected, "{conditions}");
    }
}

#[test]
fn endpoints_of_several_slices_are_one_set() {
    let yes = json!({"ready": true});
    let no = json!({"ready": false});
    let cluster = Cluster::of(&[
        dev(),
        plain(),
        slice("s1", &http(8080), &json!([endpoint("10.0.0.1", &yes), endpoint("10.0.0.2", &no)])),
        // Another number under the same name, as pods of an older version have it; and 10.0.0.1 on its way.
        slice("s2", &http(9090), &json!([endpoint("10.0.0.3", &yes)])),
        slice("s3", &http(8080), &json!([endpoint("10.0.0.1", &no), endpoint("10.0.0.2", &yes)])),
        slice("s4", &http(8080), &json!([endpoint("fd00::1", &yes)])),
        slice("empty", &Value::Null, &Value::Null),
    ]);
    assert_eq!(ready(&cluster), ["80>10.0.0.1:8080", "80>10.0.0.2:8080", "80>10.0.0.3:9090", "80>[fd00::1]:8080"]);
    let service = cluster.snapshot.services().next().unwrap();
    assert_eq!(service.endpoints, 4);
}

#[test]
fn a_slice_that_is_given_to_another_service_is_no_longer_the_first_ones() {
    let mut other = plain();
    other["metadata"]["name"] = json!("b");
    other["spec"]["clusterIPs"] = json!(["10.96.0.2"]);
    other["spec"]["ports"][0]["port"] = json!(90);
    let mut slice = slice("s", &http(8080), &json!([endpoint("10.0.0.1", &json!({}))]));
    let mut cluster = Cluster::of(&[dev(), plain(), other, slice.clone()]);
    assert_eq!(ready(&cluster), ["80>10.0.0.1:8080"]);
    slice["metadata"]["labels"]["kubernetes.io/service-name"] = json!("b");
    cluster.event(&slice, false);
    assert_eq!(ready(&cluster), ["90>10.0.0.1:8080"]);
    cluster.event(&slice, true);
    assert_eq!(ready(&cluster), [""; 0]);
}

#[test]
fn a_port_that_endpoints_do_not_have_leads_nowhere() {
    let two = json!({"clusterIPs": ["10.96.0.1"], "ports": [
        {"name": "http", "port": 80, "targetPort": 8080}, {"name": "extra", "port": 81, "targetPort": "extra"}]});
    let both = json!([{"name": "http", "port": 8080}, {"name": "extra", "port": 7}]);
    let cluster = Cluster::of(&[
        dev(),
        service(&two),
        slice("s1", &http(8080), &json!([endpoint("10.0.0.1", &json!({}))])),
        slice("s2", &both, &json!([endpoint("10.0.0.2", &json!({}))])),
    ]);
    assert_eq!(ready(&cluster), ["80>10.0.0.1:8080", "80>10.0.0.2:8080", "81>10.0.0.2:7"]);
    assert!(!cluster.destinations().iter().any(|address| address.ends_with(":0")), "{:?}", cluster.destinations());
}

#[test]
fn services_that_cannot_be_routed_have_no_destinations() {
    for (spec, expected) in [
        (json!({"type": "ExternalName", "externalName": "x.example", "ports": [{"port": 80}]}), 0),
        (json!({"clusterIP": "10.96.0.1"}), 0),
        (json!({"clusterIP": "10.96.0.1", "ports": null}), 0),
        (json!({"clusterIP": "10.96.0.1", "ports": [{"port": 53, "protocol": "UDP"}]}), 0),
        (
            json!({"clusterIP": "10.96.0.1", "ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]}),
            1,
        ),
        (json!({"clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1", "fd00::5"], "ports": [{"port": 80}]}), 2),
        (json!({"type": "LoadBalancer", "clusterIP": "10.96.0.1", "ports": [{"port": 80, "nodePort": 30080}]}), 1),
        // Waits for an address.
        (json!({"clusterIP": "", "ports": [{"port": 80}]}), 0),
    ] {
        let cluster = Cluster::of(&[dev(), service(&spec)]);
        assert_eq!(cluster.destinations().len(), expected, "{spec}");
        assert_eq!(cluster.troubles(), [""; 0]);
    }
}

#[test]
fn a_headless_service_passes_unless_it_asks_for_routing() {
    let spec = json!({"clusterIP": "None", "clusterIPs": ["None"], "ports": [{"name": "http", "port": 80}]});
    let of = |annotations: Value| {
        let mut headless = service(&spec);
        headless["metadata"]["annotations"] = annotations;
        Cluster::of(&[dev(), headless, slice("s", &http(80), &json!([endpoint("10.0.0.1", &json!({}))]))])
    };
    let passes = of(Value::Null);
    assert_eq!(passes.destinations(), [""; 0]);
    // Its endpoints are known all the same: a copy that has a ClusterIP may be routed to them.
    assert_eq!(ready(&passes), ["80>10.0.0.1:80"]);
    assert_eq!(of(json!({"interceptor.azds.io/headless": "route"})).destinations(), ["10.0.0.1:80"]);
    let odd = of(json!({"interceptor.azds.io/headless": "yes"}));
    assert_eq!(odd.destinations(), [""; 0]);
    assert!(odd.troubles()[0].contains("write \"route\""), "{:?}", odd.troubles());
}

#[test]
fn labels_that_say_neither_are_told() {
    let mut cluster = Cluster::of(&[
        namespace("yes", &json!({"azds.io/space": "true"})),
        namespace("no", &json!({"azds.io/space": "false", "azds.io/parent-space": "yes"})),
        namespace("odd", &json!({"azds.io/space": "True"})),
        namespace("child", &json!({"azds.io/parent-space": "yes"})),
        namespace("none", &Value::Null),
    ]);
    assert_eq!(cluster.spaces(), ["yes<-"]);
    let troubles = cluster.troubles();
    assert_eq!(troubles.len(), 2, "{troubles:?}");
    assert!(troubles[0].contains("child has the label azds.io/parent-space, but is no space"), "{troubles:?}");
    assert!(troubles[1].contains("odd: the label azds.io/space is \"True\""), "{troubles:?}");
    assert!(cluster.world.take_troubles_changed());
    assert!(!cluster.world.take_troubles_changed());
    // Mended.
    cluster.event(&namespace("odd", &json!({"azds.io/space": "true"})), false);
    cluster.event(&namespace("child", &Value::Null), true);
    assert_eq!((cluster.spaces(), cluster.troubles()), (vec!["odd<-".to_owned(), "yes<-".to_owned()], vec![]));
    assert!(cluster.world.take_troubles_changed());
}

#[test]
fn what_lies_in_a_namespace_comes_and_goes_with_its_label() {
    let pod = json!({"kind": "Pod", "metadata": {"name": "p", "namespace": "dev", "uid": "u-1"}, "spec": {},
                     "status": {"phase": "Running", "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]}});
    let unlabelled = namespace("dev", &Value::Null);
    let slice = slice("s", &http(80), &json!([endpoint("10.0.0.1", &json!({}))]));
    let mut cluster = Cluster::of(&[unlabelled.clone(), plain(), slice, pod.clone()]);
    assert_eq!((cluster.services(), cluster.workloads()), (vec![], vec![]));
    cluster.event(&dev(), false);
    assert_eq!((cluster.services(), cluster.workloads()), (vec!["a.dev".to_owned()], vec!["dev/p@dev".to_owned()]));
    assert_eq!(ready(&cluster), ["80>10.0.0.1:80"]);
    cluster.event(&unlabelled, false);
    assert_eq!((cluster.services(), cluster.workloads(), cluster.spaces()), (vec![], vec![], vec![]));
    assert_eq!(cluster.snapshot.destinations().count(), 0);
    // A pod outside of spaces that asks for it.
    let mut asking = pod;
    asking["metadata"]["annotations"] = json!({"interceptor.azds.io/capture": "true"});
    cluster.event(&asking, false);
    assert_eq!(cluster.workloads(), ["dev/p@-"]);
    cluster.event(&asking, true);
    assert_eq!(cluster.workloads(), [""; 0]);
}

#[test]
fn what_cannot_be_used_is_told_and_the_rest_goes_on() {
    let host = json!({"kind": "Pod", "metadata": {"name": "h", "namespace": "dev", "uid": "u-2"},
                      "spec": {"hostNetwork": true}, "status": {"phase": "Running", "podIPs": [{"ip": "192.0.2.1"}]}});
    let fqdn = json!([{"addresses": ["host.example"]}, {"addresses": []}, {"addresses": null},
                      endpoint("10.0.0.9", &json!({}))]);
    let cluster = Cluster::of(&[dev(), plain(), slice("s", &http(80), &fqdn), host]);
    assert_eq!(ready(&cluster), ["80>10.0.0.9:80"]);
    let troubles = cluster.troubles();
    assert!(troubles[0].contains("a.dev: 3 endpoints have no IP address of a machine"), "{troubles:?}");
    assert!(troubles[1].starts_with("pod dev/h: not captured: it uses the host's network"), "{troubles:?}");
    assert_eq!((troubles.len(), cluster.workloads()), (2, vec![]));
}

#[test]
fn no_endpoint_leads_to_a_callers_own_loopback_or_to_the_nodes_metadata() {
    let forbidden = [
        "127.0.0.1",
        "127.0.1.0",
        "::1",
        "::ffff:127.0.0.1",
        "0.0.0.0",
        "::",
        "169.254.169.254",
        "fe80::1",
        "::ffff:169.254.169.254",
        "224.0.0.1",
        "ff02::1",
        "255.255.255.255",
    ];
    for address in forbidden {
        let endpoints = json!([endpoint(address, &json!({})), endpoint("10.0.0.9", &json!({}))]);
        let cluster = Cluster::of(&[dev(), plain(), slice("s", &http(80), &endpoints)]);
        assert_eq!(ready(&cluster), ["80>10.0.0.9:80"], "{address}");
        assert!(cluster.troubles()[0].contains("1 endpoint"), "{:?}", cluster.troubles());
    }
}

#[test]
fn a_pod_says_how_its_requests_find_their_space_again_and_else_its_namespace_does() {
    use crate::config::PropagateMode::{Off, SingleFlight, Trace};
    let annotated = |object: &Value, word: &str| {
        let mut object = object.clone();
        object["metadata"]["annotations"] = json!({"interceptor.azds.io/propagate": word});
        object
    };
    let pod = json!({"kind": "Pod", "metadata": {"name": "p", "namespace": "dev", "uid": "u-1"}, "spec": {},
                     "status": {"phase": "Running", "podIPs": [{"ip": "10.0.0.1"}]}});
    let mode = |cluster: &Cluster| cluster.snapshot.propagate_mode(cluster.snapshot.workload("dev/p").unwrap());
    let mut cluster = Cluster::of(&[dev(), pod.clone()]);
    assert_eq!(mode(&cluster), Trace);
    cluster.event(&annotated(&dev(), "single-flight"), false);
    assert_eq!(mode(&cluster), SingleFlight);
    cluster.event(&annotated(&pod, "off"), false);
    assert_eq!(mode(&cluster), Off);
    cluster.event(&annotated(&pod, "Trace"), false);
    assert_eq!(mode(&cluster), SingleFlight, "what is no word says nothing");
    assert!(cluster.troubles()[0].starts_with("pod dev/p: the annotation interceptor.azds.io/propagate is \"Trace\""));
    cluster.event(&annotated(&dev(), "yes"), false);
    assert_eq!((mode(&cluster), cluster.troubles().len()), (Trace, 2));
}
