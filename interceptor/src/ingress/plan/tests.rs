//! The planner on tables: who gets which hosts, and what every fault costs.

use std::collections::BTreeMap;

use super::*;
use crate::ingress::facts::{Namespace, Port, ServiceKind};
use crate::ingress::problem::Kind;

const SUFFIX: &str = "eus.azds.io";

fn space(name: &str, parent: Option<&str>) -> Namespace {
    Namespace { name: name.into(), space: true, parent: parent.map(Into::into), ..Namespace::default() }
}

fn exposed(namespace: Namespace) -> Namespace {
    Namespace { ingress: Some("true".into()), ..namespace }
}

fn port(name: &str, number: i32) -> Port {
    Port { name: name.into(), number, tcp: true }
}

fn service(namespace: &str, name: &str) -> Service {
    Service { namespace: namespace.into(), name: name.into(), ports: vec![port("", 80)], ..Service::default() }
}

fn says(service: Service, ingress: &str) -> Service {
    Service { ingress: Some(ingress.into()), ..service }
}

/// The hosts of every wanted object, and the reasons of all problems with what they are about.
fn planned(facts: &Facts) -> (BTreeMap<String, Vec<String>>, Vec<String>) {
    let plan = plan(facts, &[SUFFIX.to_owned()], Some("nginx"));
    let hosts = |wanted: &Wanted| wanted.hosts.iter().map(|host| host.replace(&format!(".{SUFFIX}"), "")).collect();
    let wanted = plan.wanted.iter().map(|((namespace, name), wanted)| (format!("{namespace}/{name}"), hosts(wanted)));
    let problem = |problem: &Problem| format!("{} {}", problem.about, problem.reason.as_str());
    (wanted.collect(), plan.problems.iter().map(problem).collect())
}

fn hosts(rows: &[(&str, &[&str])]) -> BTreeMap<String, Vec<String>> {
    rows.iter()
        .map(|(name, hosts)| ((*name).to_owned(), hosts.iter().map(|host| (*host).to_owned()).collect()))
        .collect()
}

/// dev ← azureuser ← kate and dev ← bob; servicea in dev and azureuser, serviceb in dev.
fn worked_example() -> Facts {
    Facts {
        namespaces: vec![
            exposed(space("dev", None)),
            space("azureuser", Some("dev")),
            space("kate", Some("azureuser")),
            space("bob", Some("dev")),
            Namespace { name: "kube-system".into(), ..Namespace::default() },
        ],
        services: vec![
            service("dev", "servicea"),
            service("dev", "serviceb"),
            service("azureuser", "servicea"),
            service("kube-system", "kube-dns"),
        ],
        ingresses: Vec::new(),
    }
}

#[test]
fn r12_every_service_of_every_space_gets_its_host() {
    let (wanted, problems) = planned(&worked_example());
    let expected = hosts(&[
        ("azureuser/azds-servicea", &["azureuser.s.dev.servicea", "kate.s.dev.servicea"]),
        ("dev/azds-servicea", &["*.s.dev.servicea", "dev.servicea"]),
        ("dev/azds-serviceb", &["*.s.dev.serviceb", "dev.serviceb"]),
    ]);
    assert_eq!((wanted, problems), (expected, vec![]));
}

#[test]
fn a_plan_does_not_depend_on_the_order_of_its_facts() {
    let mut facts = worked_example();
    facts.namespaces.push(space("lost", Some("nowhere")));
    let first = plan(&facts, &[SUFFIX.to_owned()], None);
    facts.namespaces.reverse();
    facts.services.reverse();
    assert_eq!(plan(&facts, &[SUFFIX.to_owned()], None), first);
}

#[test]
fn every_suffix_has_its_hosts_and_without_one_there_is_nothing() {
    let facts = worked_example();
    let both = plan(&facts, &["a.io".to_owned(), "b.io".to_owned()], None);
    let hosts = &both.wanted[&("azureuser".to_owned(), "azds-servicea".to_owned())].hosts;
    assert_eq!(hosts.len(), 4);
    assert!(hosts.contains("azureuser.s.dev.servicea.a.io") && hosts.contains("kate.s.dev.servicea.b.io"));
    assert!(plan(&facts, &[], None).wanted.is_empty());
}

#[test]
fn a_copy_that_goes_takes_its_hosts_along_and_a_new_one_takes_over() {
    let mut facts = worked_example();
    facts.services.retain(|service| service.namespace != "azureuser");
    let (wanted, _) = planned(&facts);
    assert!(!wanted.contains_key("azureuser/azds-servicea"), "the wildcard of dev covers azureuser and kate");
    facts.services.push(service("kate", "servicea"));
    let (wanted, _) = planned(&facts);
    assert_eq!(wanted["kate/azds-servicea"], ["kate.s.dev.servicea"]);
    assert_eq!(wanted["dev/azds-servicea"], ["*.s.dev.servicea", "dev.servicea"]);
}

#[test]
fn a_service_that_the_root_lacks_has_hosts_for_those_who_find_it() {
    let mut facts = worked_example();
    facts.services.push(service("azureuser", "new"));
    let (wanted, problems) = planned(&facts);
    // No wildcard: bob finds no such service.
    assert_eq!(wanted["azureuser/azds-new"], ["azureuser.s.dev.new", "kate.s.dev.new"]);
    assert!(problems.is_empty() && !wanted.contains_key("dev/azds-new"));
}

#[test]
fn the_nearest_annotation_counts() {
    let base = || vec![space("dev", None), space("azureuser", Some("dev"))];
    let all_of = |root: &str| {
        vec![Namespace { ingress: Some(root.into()), ..space("dev", None) }, space("azureuser", Some("dev"))]
    };
    let both = |root: Service, copy: Service| vec![root, copy];
    let (root, copy) = (service("dev", "a"), service("azureuser", "a"));
    type Row<'r> = (&'r str, Vec<Namespace>, Vec<Service>, &'r [&'r str]);
    let rows: [Row<'_>; 7] = [
        ("nobody says anything", base(), both(root.clone(), copy.clone()), &[]),
        ("the root's service", base(), both(says(root.clone(), "true"), copy.clone()), &["azureuser", "dev"]),
        ("the root's namespace", all_of("true"), both(root.clone(), copy.clone()), &["azureuser", "dev"]),
        ("a service opts out", all_of("true"), both(says(root.clone(), "false"), copy.clone()), &[]),
        ("a copy opts out", all_of("true"), both(root.clone(), says(copy.clone(), "false")), &["dev"]),
        ("only the copy", all_of("false"), both(root.clone(), says(copy.clone(), "true")), &["azureuser"]),
        ("the service against its namespace", all_of("false"), both(says(root, "true"), copy), &["azureuser", "dev"]),
    ];
    for (what, namespaces, services, expected) in rows {
        let (wanted, problems) = planned(&Facts { namespaces, services, ..Facts::default() });
        let found: Vec<_> = wanted.keys().map(|key| key.split('/').next().unwrap()).collect();
        assert_eq!((found, problems), (expected.to_vec(), vec![]), "{what}");
    }
}

#[test]
fn a_space_that_opts_out_gets_no_host_on_its_parents_copy() {
    let mut facts = worked_example();
    facts.namespaces[2].ingress = Some("false".into());
    assert_eq!(planned(&facts).0["azureuser/azds-servicea"], ["azureuser.s.dev.servicea"]);
}

#[test]
fn an_annotation_that_is_neither_true_nor_false_is_a_problem_of_its_object_only() {
    let mut facts = worked_example();
    facts.services[0].ingress = Some("yes".into());
    let (wanted, problems) = planned(&facts);
    assert!(wanted.contains_key("dev/azds-serviceb") && !wanted.contains_key("dev/azds-servicea"));
    assert_eq!(problems, ["service dev/servicea BadAnnotation"]);
    facts.namespaces[0].ingress = Some("".into());
    assert!(planned(&facts).1.contains(&"namespace dev BadAnnotation".to_owned()));
}

#[test]
fn the_port_is_the_one_named_the_only_one_or_http() {
    let udp = |number| Port { tcp: false, ..port("dns", number) };
    type Row<'r> = (Option<&'r str>, Vec<Port>, Result<i32, Reason>);
    let rows: [Row<'_>; 11] = [
        (None, vec![port("", 80)], Ok(80)),
        (None, vec![port("grpc", 50051)], Ok(50051)),
        (None, vec![port("admin", 1), port("http", 2)], Ok(2)),
        (None, vec![udp(53), port("web", 8080)], Ok(8080)),
        (None, vec![port("grpc", 1), port("metrics", 2)], Err(Reason::NoPort)),
        (None, vec![udp(53)], Err(Reason::NoPort)),
        (None, vec![], Err(Reason::NoPort)),
        (Some("metrics"), vec![port("grpc", 1), port("metrics", 2)], Ok(2)),
        (Some("1"), vec![port("grpc", 1), port("http", 2)], Ok(1)),
        (Some("web"), vec![port("http", 2)], Err(Reason::NoPort)),
        (Some("53"), vec![udp(53), port("http", 80)], Err(Reason::NoPort)),
    ];
    for (annotation, ports, expected) in rows {
        let service = Service { port: annotation.map(Into::into), ports, ..says(service("dev", "a"), "true") };
        let facts = Facts { namespaces: vec![space("dev", None)], services: vec![service], ..Facts::default() };
        let plan = plan(&facts, &[SUFFIX.to_owned()], None);
        let found =
            plan.wanted.values().next().map(|wanted| wanted.port).ok_or_else(|| plan.problems.first().unwrap().reason);
        assert_eq!(found, expected, "{facts:?}");
    }
}

#[test]
fn what_is_said_of_a_namespace_does_not_mean_databases_names_of_elsewhere_and_the_api_server() {
    let kind = |service: Service, kind| Service { kind, ..service };
    let mut facts = Facts {
        namespaces: vec![exposed(space("default", None))],
        services: vec![
            service("default", "kubernetes"),
            kind(service("default", "db"), ServiceKind::Headless),
            kind(service("default", "mail"), ServiceKind::External),
        ],
        ..Facts::default()
    };
    assert_eq!(planned(&facts), (BTreeMap::new(), vec![]));
    // What is said of the service itself does; what cannot be is told.
    facts.services.iter_mut().for_each(|service| service.ingress = Some("true".into()));
    let (wanted, problems) = planned(&facts);
    assert_eq!(wanted.keys().collect::<Vec<_>>(), ["default/azds-db"]);
    assert_eq!(problems, ["service default/mail ExternalService"]);
}

#[test]
fn faulty_spaces_lose_their_hosts_and_nobody_else_does() {
    let mut facts = worked_example();
    facts.namespaces.extend([
        space("self", Some("self")),
        space("lost", Some("nowhere")),
        space("x", Some("y")),
        space("y", Some("x")),
        space("deep", Some("kate")),
        space("deeper", Some("deep")),
    ]);
    for name in ["self", "lost", "x", "deep", "deeper"] {
        facts.services.push(says(service(name, "servicea"), "true"));
    }
    let (wanted, problems) = planned(&facts);
    assert_eq!(wanted["deep/azds-servicea"], ["deep.s.dev.servicea"], "three levels below the root are allowed");
    let mut sound = planned(&worked_example()).0;
    sound.insert("deep/azds-servicea".into(), vec!["deep.s.dev.servicea".into()]);
    assert_eq!(wanted, sound);
    let expected = ["deeper", "lost", "self", "x", "y"].map(|name| format!("namespace {name} SpaceAtFault"));
    assert_eq!(problems, expected);
}

#[test]
fn hosts_that_dns_does_not_allow_are_told_and_the_others_stay() {
    let long = "a".repeat(64);
    let mut facts = worked_example();
    facts.services.extend([says(service("dev", &long), "true"), says(service("dev", "serviceB"), "true")]);
    let (wanted, problems) = planned(&facts);
    assert_eq!(wanted, planned(&worked_example()).0);
    assert!(
        problems.contains(&format!("service dev/{long} BadHost"))
            && problems.contains(&"service dev/serviceB BadHost".to_owned())
    );

    // Two long names that are valid alone: the shorter host fits, those with the space do not.
    let (root, name) = ("r".repeat(63), "s".repeat(63));
    let suffix = vec![format!("{0}.{0}", "x".repeat(62))];
    let facts = Facts {
        namespaces: vec![space(&root, None)],
        services: vec![says(service(&root, &name), "true")],
        ..Facts::default()
    };
    let plan = plan(&facts, &suffix, None);
    let hosts: Vec<_> = plan.wanted.values().flat_map(|wanted| &wanted.hosts).collect();
    assert_eq!(hosts, [&format!("{root}.{name}.{}", suffix[0])]);
    let messages: Vec<_> = plan.problems.iter().map(|problem| problem.message.as_str()).collect();
    assert!(messages.len() == 1 && messages[0].contains("257 characters"), "{messages:?}");
}

fn other(namespace: &str, name: &str, class: Option<&str>, host: &str) -> Existing {
    Existing {
        namespace: namespace.into(),
        name: name.into(),
        class: class.map(Into::into),
        hosts: vec![host.into()],
        ours: false,
    }
}

#[test]
fn a_host_that_another_object_has_is_left_to_it() {
    let mut facts = worked_example();
    let taken = format!("*.S.dev.servicea.{SUFFIX}");
    facts.ingresses = vec![other("elsewhere", "mine", Some("nginx"), &taken)];
    let (wanted, problems) = planned(&facts);
    assert_eq!(wanted["dev/azds-servicea"], ["dev.servicea"]);
    assert_eq!(problems, ["service dev/servicea HostTaken"]);
    facts.ingresses = vec![other("elsewhere", "mine", None, &taken)];
    assert_eq!(planned(&facts).1.len(), 1, "the default class may be ours");
    // Another controller's hosts are no matter of ours, and our own objects never are.
    facts.ingresses = vec![other("elsewhere", "mine", Some("traefik"), &taken)];
    assert_eq!(planned(&facts), planned(&worked_example()));
    facts.ingresses = vec![Existing { ours: true, ..other("dev", "azds-servicea", Some("nginx"), &taken) }];
    assert_eq!(planned(&facts), planned(&worked_example()));
}

#[test]
fn an_object_of_our_name_that_is_not_ours_is_left_alone() {
    let mut facts = worked_example();
    facts.ingresses = vec![other("dev", "azds-servicea", Some("traefik"), "x.y")];
    let plan = plan(&facts, &[SUFFIX.to_owned()], Some("nginx"));
    assert!(!plan.wanted.contains_key(&("dev".to_owned(), "azds-servicea".to_owned())));
    let problem = plan.problems.first().unwrap();
    assert_eq!((problem.about.kind, problem.reason), (Kind::Ingress, Reason::NameTaken));
    assert!(problem.message.contains("app.kubernetes.io/managed-by=interceptor-ingress-manager"), "{problem}");
}

#[test]
fn nothing_is_made_in_a_namespace_that_is_going() {
    let mut facts = worked_example();
    facts.namespaces[1].terminating = true;
    let (wanted, problems) = planned(&facts);
    assert!(!wanted.keys().any(|key| key.starts_with("azureuser/")) && problems.is_empty());
}

#[test]
fn hundreds_of_spaces_and_thousands_of_services_are_planned_in_no_time() {
    let mut facts = Facts { namespaces: vec![exposed(space("dev", None))], ..Facts::default() };
    facts.services = (0..5000).map(|n| service("dev", &format!("s{n}"))).collect();
    for n in 0..500 {
        facts.namespaces.push(space(&format!("u{n}"), Some("dev")));
        facts.services.extend((0..10).map(|k| service(&format!("u{n}"), &format!("s{}", n + k))));
    }
    let started = std::time::Instant::now();
    let plan = plan(&facts, &[SUFFIX.to_owned()], None);
    assert_eq!((plan.wanted.len(), plan.problems.len()), (10_000, 0));
    assert!(started.elapsed().as_secs() < 5, "{:?}", started.elapsed());
}
