//! R2: a route header that is there is never added twice, changed or overwritten.

use crate::stage::{Client, SUFFIX, Scene, routes, vip};

#[test]
fn r02_a_header_from_outside_stays_as_it_is_also_with_an_ingress_host() {
    let mut scene = Scene::worked_example("r02in");
    let pod = scene.deploy("serviceA", "default", 10);
    scene.deploy("serviceA", "azureuser", 11);
    let stage = scene.start();
    let mut client = Client::new(stage.scene.lab.outside(), pod.at(8080));
    let host = format!("Host: default.serviceA.{SUFFIX}");
    // (what the client sends besides the Host, whose application answers)
    let cases: [(&[&str], &str); 9] = [
        (&["azds-route-as: azureuser"], "serviceA.azureuser"),
        (&["AZDS-Route-As:  azureuser "], "serviceA.azureuser"),
        (&["kubernetes-route-as: azureuser"], "serviceA.azureuser"),
        (&["azds-route-as: default"], "serviceA.default"),
        (&["kubernetes-route-as: default", "azds-route-as: azureuser"], "serviceA.azureuser"),
        (&["kubernetes-route-as: azureuser", "azds-route-as: default"], "serviceA.default"),
        (&["azds-route-as: nobody"], "serviceA.default"),
        (&["azds-route-as: "], "serviceA.default"),
        (&["azds-route-as: azureuser", "azds-route-as: default"], "serviceA.azureuser"),
    ];
    for (sent, name) in cases {
        let lines = [&[host.as_str()], sent].concat();
        let answer = client.get("/", &lines);
        assert_eq!(answer["name"], name, "{sent:?}");
        let expected: Vec<String> = sent.iter().map(|line| as_parsed(line)).collect();
        assert_eq!(routes(&answer), expected, "{sent:?}");
    }
    // The opposite: where there is none, one is added.
    assert_eq!(routes(&client.get("/", &[&host])), ["azds-route-as: default"]);
}

#[test]
fn r02_a_pods_own_header_stays_as_it_is() {
    let mut scene = Scene::worked_example("r02out");
    let caller = scene.caller("caller", Some("azureuser"));
    scene.deploy("serviceB", "default", 12);
    let stage = scene.start();
    let mut client = Client::new(&caller, vip(12));
    for sent in ["azds-route-as: default", "kubernetes-route-as: azureuser", "azds-route-as: nobody"] {
        let answer = client.get("/sent", &["Host: serviceB", sent]);
        assert_eq!(routes(&answer), [sent]);
    }
    assert_eq!(routes(&client.get("/", &["Host: serviceB"])), ["azds-route-as: azureuser"]);
    let sent = stage.wait_flows(3, |record| record["path"] == "/sent");
    assert!(sent.iter().all(|record| record["injected"] == false), "{sent:?}");
    assert_eq!(stage.request("/")["injected"], true);
}

/// As the application's parser gives it: the name as sent, the value without the blanks around it.
fn as_parsed(line: &str) -> String {
    let (name, value) = line.split_once(':').unwrap();
    format!("{name}: {}", value.trim())
}
