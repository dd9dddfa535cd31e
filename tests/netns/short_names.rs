//! Short names: `http://serviceb/` in a derived space where only an ancestor has serviceb, with real resolvers and dnsmasq as
//! the cluster's server, which knows every service by its own space's name and nothing else of the cluster.

mod clients;
mod failures;
mod site;
mod sockets;

use serde_json::json;

use self::site::{Site, V4, V6, resolved};
use crate::stage::{cluster_ip, http_service, routes};

#[test]
fn r3_a_shared_service_is_called_by_its_short_name_from_a_derived_space() {
    let site = Site::new("short-call", &[V4]);
    let body = site.run(&site.child, &["curl", "-sS", "--max-time", "20", "http://serviceb/short"]);
    let answer: serde_json::Value = serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}"));
    assert_eq!(answer["name"], "serviceb.default");
    assert_eq!(routes(&answer), ["azds-route-as: azureuser"]);
    let request = site.stage.request("/short");
    assert_eq!((&request["workload"], &request["service"]), (&json!("child"), &json!("serviceb.default")));
    assert!(site.dns("answered") >= 1);
    // The server was never asked for it.
    assert!(!site.log().contains("serviceb.azureuser"), "{}", site.log());
}

#[test]
fn an_own_copy_is_for_the_server_to_answer_and_its_end_is_noticed() {
    let mut site = Site::new("short-own", &[V4]);
    let found = |site: &Site| site.dig(&site.child, &["+search", "serviceb", "A", "+short"]);
    assert_eq!(found(&site), cluster_ip(12).to_string());
    site.stage.scene.publish(&http_service("serviceb", "azureuser", 13));
    site.stage.reload();
    // The server has not heard of it, so that its answer can be told from the agent's.
    let forwarded = site.dns("forwarded");
    // Not with the search list, which goes on after that.
    let name = "serviceb.azureuser.svc.cluster.local";
    assert_eq!(site.dig(&site.child, &[name, "A", "+short"]), "NXDOMAIN", "the server's own word");
    assert!(site.dns("forwarded") > forwarded);
    assert!(site.log().contains("serviceb.azureuser.svc.cluster.local from 10.244.0."), "{}", site.log());
    site.stage.scene.config.remove_service("azureuser", "serviceb");
    site.stage.reload();
    assert_eq!(found(&site), cluster_ip(12).to_string());
}

#[test]
fn in_a_root_space_and_outside_of_all_dns_is_not_captured() {
    let site = Site::new("short-root", &[V4]);
    for pod in [&site.root, &site.outside] {
        let before = site.stage.kernel("dns", "redirected");
        let name = "serviceb.azureuser.svc.cluster.local";
        assert_eq!(site.dig(pod, &[name, "A", "+short"]), "NXDOMAIN", "{}", pod.name());
        assert_eq!(site.dig(pod, &["serviceb.default.svc.cluster.local", "A", "+short"]), cluster_ip(12).to_string());
        assert_eq!(site.stage.kernel("dns", "redirected"), before, "{}", pod.name());
        assert!(site.log().contains(&format!("{name} from {}", pod.v4)));
    }
    assert_eq!(site.dns("answered") + site.dns("forwarded"), 0);
}

#[test]
fn names_that_are_not_ours_have_the_servers_answers() {
    let site = Site::new("short-other", &[V4]);
    for (name, answer) in [
        ("www.example.com", "192.0.2.80".to_owned()),
        ("serviceb.default.svc.cluster.local", cluster_ip(12).to_string()),
        ("unknown.azureuser.svc.cluster.local", "NXDOMAIN".to_owned()),
        ("serviceb.shop.svc.cluster.local", "NXDOMAIN".to_owned()),
        ("nothing.example.com", "NXDOMAIN".to_owned()),
    ] {
        let answered = site.dns("answered");
        for transport in ["+notcp", "+tcp"] {
            assert_eq!(site.dig(&site.child, &[transport, name, "A", "+short"]), answer, "{name} {transport}");
        }
        assert_eq!(site.dns("answered"), answered, "{name}");
        // The server sees the pod, not the agent.
        assert!(site.log().contains(&format!("{name} from {}", site.child.v4)), "{name}: {}", site.log());
    }
    assert_eq!(site.stage.kernel("dns", "self_capture"), 0);
}

#[test]
fn answers_are_what_dig_expects_of_a_server() {
    let site = Site::new("short-dig", &[V4]);
    let name = "ServiceB.azureuser.svc.cluster.local";
    let text = site.dig_raw(&site.child, &[name, "A"]);
    for part in [
        "status: NOERROR",
        "flags: qr aa rd;",
        "ServiceB.azureuser.svc.cluster.local. 5 IN\tA\t10.96.0.12",
        "EDNS: version: 0",
    ] {
        let squeezed = text.replace('\t', " ");
        assert!(text.contains(part) || squeezed.contains(&part.replace('\t', " ")), "{part} in {text}");
    }
    let text = site.dig_raw(&site.child, &[name, "HTTPS"]);
    assert!(text.contains("status: NOERROR") && text.contains("SOA"), "{text}");
    let text = site.dig(&site.child, &["+short", &format!("_http._tcp.{name}"), "SRV"]);
    assert_eq!(text, "0 100 80 ServiceB.azureuser.svc.cluster.local.");
}

#[test]
fn a_headless_service_with_many_pods_is_truncated_and_asked_again_over_tcp() {
    let mut site = Site::new("short-headless", &[V4]);
    let mut service = interceptor_tests::Service::new("peers", "default").port("http", 80, 8080, None);
    for last in 1..=200_u8 {
        service = service.endpoint_at([10, 244, 9, last].into(), true);
    }
    site.stage.scene.config.service(&service);
    site.stage.reload();
    let name = "peers.azureuser.svc.cluster.local";
    let cut = site.dig_raw(&site.child, &[name, "A", "+noedns", "+ignore"]);
    assert!(cut.contains("flags: qr aa tc rd;") && cut.contains("10.244.9."), "{cut}");
    assert_eq!(site.dig(&site.child, &["+short", name, "A", "+noedns"]).lines().count(), 200);
    assert_eq!(resolved(&site.run(&site.child, &["getent", "ahostsv4", "peers"])).len(), 200);
    assert_eq!(site.dig(&site.child, &["+short", "10-244-9-7.peers.azureuser.svc.cluster.local", "A"]), "10.244.9.7");
}

#[test]
fn a_server_with_an_ipv6_address_is_captured_as_well() {
    let site = Site::new("short-v6", &[V6]);
    let expected = [cluster_ip(12).to_string(), "fd00:96::c".to_owned()];
    assert_eq!(resolved(&site.run(&site.child, &["getent", "ahosts", "serviceb"])), expected);
    assert_eq!(site.dig(&site.child, &["www.example.com", "A", "+short"]), "192.0.2.80");
    assert!(site.log().contains(&format!("from {}", site.child.v6)), "{}", site.log());
    assert!(site.dns("answered") >= 2 && site.dns("forwarded") >= 1);
}

#[test]
fn a_space_that_becomes_a_root_keeps_its_dns_to_itself() {
    let mut site = Site::new("short-moved", &[V4]);
    let found = |site: &Site| site.dig(&site.child, &["serviceb.azureuser.svc.cluster.local", "A", "+short"]);
    assert_eq!(found(&site), cluster_ip(12).to_string());
    site.stage.scene.config.remove_space("azureuser").space("azureuser", None);
    site.stage.reload();
    let before = site.stage.kernel("dns", "redirected");
    assert_eq!(found(&site), "NXDOMAIN");
    assert_eq!(site.stage.kernel("dns", "redirected"), before);
    site.stage.scene.config.remove_space("azureuser").space("azureuser", Some("default"));
    site.stage.reload();
    assert_eq!(found(&site), cluster_ip(12).to_string());
}
