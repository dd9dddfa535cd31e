//! The worked example, explained; over the configuration that `interceptor config example` prints.

use super::*;
use crate::config::{CapturedServices, Config, EXAMPLE};

fn snapshot() -> Snapshot {
    let text = EXAMPLE.to_owned();
    let mut config = Config::parse(&text, "example").unwrap().config;
    config.routing.ingress_suffixes = vec!["fedcba09.eus.azds.io".to_owned()];
    Snapshot::build(&config.topology, &config.routing, 1)
}

fn ask(workload: &str, url: &str, headers: &[(&str, &str)]) -> Explanation {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let request =
        ExplainRequest { workload: workload.to_owned(), url: url.to_owned(), headers, ..ExplainRequest::default() };
    answer(&request, CapturedServices::SpaceServices)
}

fn answer(request: &ExplainRequest, services: CapturedServices) -> Explanation {
    let snapshot = snapshot();
    explain(&snapshot, &Wanted::new(&snapshot, services), request, |_| Recalled::Unknown).unwrap()
}

fn chain(explanation: &Explanation) -> Vec<String> {
    explanation.chain.iter().map(|step| format!("{} {}", step.space, step.outcome)).collect()
}

fn target(explanation: &Explanation) -> (String, String, String) {
    let target = explanation.target.clone().unwrap();
    let service = format!("{}.{}", target.service.unwrap_or_default(), target.space.unwrap_or_default());
    (target.kind, service, target.address.to_string())
}

fn strings(kind: &str, service: &str, address: &str) -> (String, String, String) {
    (kind.to_owned(), service.to_owned(), address.to_owned())
}

#[test]
fn step_4_of_the_worked_example_goes_to_the_parents_copy() {
    let answer = ask("serviceA-azureuser", "http://serviceB/", &[("Azds-Route-As", "azureuser")]);
    assert!(answer.intercepted);
    assert_eq!(answer.destination, Some("10.96.0.12:80".parse().unwrap()));
    assert_eq!(answer.service.as_deref(), Some("serviceB.default"));
    assert_eq!((answer.space.as_deref(), answer.space_from), (Some("azureuser"), SpaceFrom::Header));
    assert_eq!(chain(&answer), ["azureuser no_service", "default taken"]);
    assert_eq!(target(&answer), strings("original", "serviceB.default", "10.96.0.12:80"));
    assert_eq!(answer.inject, None);
    assert_eq!(answer.reason, "same_space");
    assert!(answer.note.unwrap().contains("short name serviceB"));
}

#[test]
fn step_2_of_the_worked_example_is_inbound_and_adds_the_header() {
    let answer = ask("serviceA-azureuser", "http://azureuser.s.default.serviceA.fedcba09.eus.azds.io", &[]);
    assert_eq!(answer.direction, Direction::Inbound);
    assert_eq!(answer.destination, Some("10.244.0.21:8081".parse().unwrap()));
    assert_eq!(answer.inject, Some(Named { name: "azds-route-as".to_owned(), value: "azureuser".to_owned() }));
    assert_eq!(target(&answer), strings("application", "serviceA.azureuser", "10.244.0.21:8081"));
}

#[test]
fn a_header_leads_to_the_copy_of_its_space() {
    let answer = ask("serviceB-default", "serviceA.default.svc.cluster.local", &[("kubernetes-route-as", "azureuser")]);
    assert_eq!(answer.route_header.as_ref().unwrap().name, "kubernetes-route-as");
    assert_eq!(target(&answer), strings("endpoint", "serviceA.azureuser", "10.244.0.21:8081"));
    assert_eq!(answer.reason, "routed");
    assert!(answer.text.contains("serviceA.azureuser is the first copy"), "{}", answer.text);
}

#[test]
fn the_first_configured_header_counts_whatever_the_order_of_the_request() {
    let headers = [("kubernetes-route-as", "default"), ("azds-route-as", "azureuser")];
    let answer = ask("serviceB-default", "serviceA", &headers);
    assert_eq!(answer.route_header, Some(Named { name: "azds-route-as".to_owned(), value: "azureuser".to_owned() }));
    assert_eq!(answer.space.as_deref(), Some("azureuser"));
}

#[test]
fn without_a_header_the_callers_space_counts_and_is_added() {
    let answer = ask("serviceA-azureuser", "http://serviceB.default/", &[]);
    assert_eq!((answer.space.as_deref(), answer.space_from), (Some("azureuser"), SpaceFrom::Caller));
    assert_eq!(answer.inject.unwrap().value, "azureuser");
}

#[test]
fn an_unknown_space_keeps_the_destination_and_says_so() {
    let answer = ask("serviceA-azureuser", "http://serviceB/", &[("azds-route-as", "nobody")]);
    assert_eq!(answer.reason, "unknown_space");
    assert_eq!(target(&answer), strings("original", "serviceB.default", "10.96.0.12:80"));
    assert_eq!(
        answer.text,
        "There is no such space as the route header's \"nobody\", so the request stays at serviceB.default. \
         See `interceptor spaces`."
    );
}

#[test]
fn names_are_resolved_as_cluster_dns_does() {
    for (url, destination) in [
        ("http://serviceA/", "10.96.0.21:80"),
        ("http://SERVICEA/", "10.96.0.21:80"),
        ("http://serviceA.default/", "10.96.0.11:80"),
        ("http://serviceA.default.svc/", "10.96.0.11:80"),
        ("http://serviceA.default.svc.cluster.local./", "10.96.0.11:80"),
        ("http://10.96.0.11/", "10.96.0.11:80"),
        ("http://10.244.0.11:8080/", "10.244.0.11:8080"),
        ("http://[fd00:96::12]/", "[fd00:96::12]:80"),
        ("http://[::ffff:10.96.0.11]/", "10.96.0.11:80"),
        ("http://azureuser.s.default.serviceB.fedcba09.eus.azds.io/", "10.96.0.12:80"),
    ] {
        let answer = ask("serviceA-azureuser", url, &[]);
        assert_eq!(answer.destination, Some(destination.parse().unwrap()), "{url}");
        assert!(answer.intercepted, "{url}");
    }
}

#[test]
fn what_is_not_routed_says_why_and_what_to_do() {
    for (workload, url, reason, words) in [
        ("nobody", "http://serviceB/", "workload_not_captured", "this node has serviceA-azureuser, serviceA-default"),
        ("serviceA-default", "http://example.com/", "unknown_host", "interceptor services"),
        ("serviceA-default", "http://serviceC/", "unknown_host", "neither the workload's space nor its parents"),
        ("serviceA-default", "http://serviceB:81/", "no_such_port", "it has 80"),
        ("serviceA-default", "http://192.0.2.1/", "outside_space_trees", "kernel's own path"),
    ] {
        let answer = ask(workload, url, &[]);
        assert_eq!(answer.reason, reason, "{url}");
        assert!(!answer.intercepted && answer.target.is_none(), "{url}");
        assert!(answer.text.contains(words), "{}", answer.text);
    }
}

#[test]
fn tls_is_intercepted_but_not_routed() {
    let answer = ask("serviceA-azureuser", "https://serviceB:80/", &[("azds-route-as", "azureuser")]);
    assert!(answer.intercepted);
    assert_eq!(answer.reason, "not_http");
    assert_eq!(target(&answer), strings("original", "serviceB.default", "10.96.0.12:80"));
}

#[test]
fn inbound_can_be_asked_for() {
    let request = ExplainRequest {
        workload: "serviceB-default".to_owned(),
        url: "http://serviceB/".to_owned(),
        direction: Some(Direction::Inbound),
        ..ExplainRequest::default()
    };
    let answer = answer(&request, CapturedServices::SpaceServices);
    assert_eq!(answer.destination, Some("10.244.0.12:8080".parse().unwrap()));
    assert_eq!(answer.reason, "no_space_named");
    assert!(answer.text.contains("Send `azds-route-as: <space>`"), "{}", answer.text);
}

#[test]
fn what_has_only_one_copy_is_not_intercepted_where_only_overridden_services_are() {
    let ask = |workload: &str, url: &str, direction| {
        let (workload, url) = (workload.to_owned(), url.to_owned());
        let request = ExplainRequest { workload, url, direction: Some(direction), ..ExplainRequest::default() };
        answer(&request, CapturedServices::Overridden)
    };
    let passed = ask("serviceA-default", "http://serviceB/", Direction::Outbound);
    assert!(!passed.intercepted);
    assert_eq!((passed.reason.as_str(), passed.service.as_deref()), ("only_copy", Some("serviceB.default")));
    assert_eq!(target(&passed), strings("original", "serviceB.default", "10.96.0.12:80"));
    assert!(passed.text.starts_with("serviceB.default has only one copy in its tree"), "{}", passed.text);
    // The opposite: a second copy, a caller whose space is to be told on, and a Host that may name one.
    for (workload, url, direction) in [
        ("serviceB-default", "http://serviceA/", Direction::Outbound),
        ("serviceA-azureuser", "http://serviceB/", Direction::Outbound),
        ("serviceB-default", "http://serviceB/", Direction::Inbound),
    ] {
        let answer = ask(workload, url, direction);
        assert!(answer.intercepted && answer.reason != "only_copy", "{answer:?}");
    }
}
