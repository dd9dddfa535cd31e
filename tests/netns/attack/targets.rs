//! Requests that try to choose where the agent connects to, or what it writes: by target, Host, route header.

use std::io::{Read as _, Write as _};

use interceptor_tests::http::Connection;

use crate::stage::{SUFFIX, Scene, ask, dial, get, headers, json, routes, vip};

/// Names of machines, sockets and spaces that no request may lead to by naming them.
const HOSTS: [&str; 14] = [
    "169.254.169.254",
    "127.0.0.1:15020",
    "127.0.0.1:15001",
    "[::1]:15001",
    "127.0.1.0:15001",
    "10.244.0.1",
    "localhost",
    "..",
    "../../../../run/interceptor/admin.sock",
    "serviceB.shop",
    "shop.s.default.serviceB",
    "azureuser%0d%0aazds-route-as:%20shop",
    "default@169.254.169.254",
    "xn--80ak6aa92e.com",
];

#[test]
fn no_target_and_no_host_takes_a_request_elsewhere_than_to_the_destination_or_a_known_copy() {
    let mut scene = Scene::worked_example("ssrf");
    let caller = scene.caller("caller", Some("azureuser"));
    scene.deploy("serviceB", "default", 12);
    scene.deploy("serviceB", "shop", 14);
    let private = scene.app("private");
    let mut stage = scene.start();
    let private = private.at(8080).to_string();
    let hosts = HOSTS.into_iter().chain([private.as_str()]);
    let mut sent = 0;
    for host in hosts {
        let field = format!("Host: {host}");
        let absolute = format!("http://{host}/absolute");
        for target in ["/relative", absolute.as_str(), "//169.254.169.254/latest", "/../../etc/passwd"] {
            for space in ["azureuser", "shop", "../shop", "shop%00"] {
                let header = format!("azds-route-as: {space}");
                let mut client = Connection::new(dial(&caller, vip(12)));
                client.send(get(target, &[&field, &header]).as_bytes()).unwrap();
                let response = client.response("GET").unwrap();
                // User information in an authority, say, may be refused; by us, and nothing of it is passed on.
                if response.status().unwrap() == 400 {
                    assert_eq!(response.first("server"), Some("interceptor"), "{host} {target}");
                    continue;
                }
                let answer = json(&response);
                assert_eq!(answer["name"], "serviceB.default", "{host} {target} {space}");
                assert_eq!(headers(&answer), [field.as_str(), header.as_str()], "as it was sent");
                sent += 1;
            }
        }
    }
    assert!(sent >= 150, "{sent} were passed on");
    for record in stage.flows(&[]).iter().filter(|record| record["target"].is_object()) {
        assert_eq!(record["target"]["address"].as_str().unwrap(), vip(12).to_string(), "{record}");
    }
    // A tunnel is the server's to make: it is asked for it, nobody else.
    let mut tunnel = dial(&caller, vip(12));
    tunnel.write_all(format!("CONNECT {private} HTTP/1.1\r\nHost: {private}\r\n\r\n").as_bytes()).unwrap();
    tunnel.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    tunnel.read_to_end(&mut answer).ok();
    assert!(!String::from_utf8_lossy(&answer).contains("\"private\""), "{}", String::from_utf8_lossy(&answer));
    stage.expect_running();
}

#[test]
fn no_host_from_outside_and_no_space_name_makes_the_agent_write_what_it_was_not_configured_to() {
    let mut scene = Scene::worked_example("injection");
    let pod = scene.deploy("serviceB", "default", 12);
    scene.deploy("serviceB", "azureuser", 13);
    let mut stage = scene.start();
    let outside = stage.scene.lab.outside();
    let long = "a".repeat(5000);
    let names = [
        "azureuser%0d%0aX-Evil:%201",
        "azureuser\u{85}X-Evil: 1",
        "azureuser\tshop",
        "..",
        "azureuser..",
        "azureuser.",
        "\u{202e}resuerza",
        "azureuse\u{0301}r",
        "аzureuser",
        "shop",
        "*",
        "azureuser,shop",
        &long,
    ];
    for name in names {
        let host = format!("Host: {name}.s.default.serviceB.{SUFFIX}");
        let answer = ask(outside, pod.at(8080), "/host", &[&host]);
        assert_eq!(answer["name"], "serviceB.default", "{name}");
        let seen = headers(&answer);
        assert!(seen.iter().all(|line| !line.to_ascii_lowercase().starts_with("x-evil")), "{seen:?}");
        // At most the space that the root's own name stands for; nothing of what was sent.
        assert!(routes(&answer).iter().all(|line| line == "azds-route-as: default"), "{name}: {seen:?}");
        let header = format!("azds-route-as: {name}");
        let answer = ask(outside, pod.at(8080), "/header", &["Host: serviceB", &header]);
        assert_eq!(answer["name"], "serviceB.default", "{name}");
        assert_eq!(routes(&answer).len(), 1, "{:?}", routes(&answer));
    }
    // CR, LF and NUL end a request instead.
    for byte in ["\r", "\n", "\0", "\r\n\r\n", "\x1b[2J", "\x7f"] {
        for field in ["Host", "azds-route-as"] {
            let mut client = Connection::new(dial(outside, pod.at(8080)));
            let line = format!("{field}: azureuser{byte}.s.default.serviceB.{SUFFIX}");
            client.send(get("/control", &[&line]).as_bytes()).unwrap();
            let response = client.response("GET").unwrap();
            let passed = response.status().unwrap() == 200;
            // Two line ends make it two requests, of which the first is whole and harmless.
            assert_eq!(passed, byte == "\r\n\r\n", "{line:?}: {}", response.start);
        }
    }
    // The opposite.
    let host = format!("Host: azureuser.s.default.serviceB.{SUFFIX}");
    assert_eq!(ask(outside, pod.at(8080), "/known", &[&host])["name"], "serviceB.azureuser");
    stage.expect_running();
}
