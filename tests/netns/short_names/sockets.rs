//! What sockets show of a captured server is what they would show without us, and what they send arrives as it is.

use interceptor_tests::Pod;

use super::site::{Site, V4, V6};
use crate::stage::LIMIT;

/// Prints what each kind of socket shows of this server.
fn shown(site: &Site, server: &str) -> Vec<String> {
    let program = format!("{}/netns/short_names/sockets.py", env!("CARGO_MANIFEST_DIR"));
    let command = ["/usr/bin/python3", &program, server, "serviceb.azureuser.svc.cluster.local"];
    site.run(&site.child, &command).lines().map(str::to_owned).collect()
}

#[test]
fn every_kind_of_socket_sees_the_server_that_it_asked() {
    let site = Site::new("short-socket", &[V4, V6]);
    let mapped = format!("::ffff:{}", site.dns.v4);
    let own_mapped = format!("::ffff:{}", site.child.v4);
    for (server, own) in [
        (site.dns.v4.to_string(), site.child.v4.to_string()),
        (site.dns.v6.to_string(), site.child.v6.to_string()),
        (mapped, own_mapped),
    ] {
        let before = site.stage.kernel("dns", "redirected");
        let expected = [
            format!("unconnected - {server} 53 1"),
            format!("connected {server} {server} 53 1"),
            format!("own {own}"),
            format!("tcp {server} {server} 53 1"),
        ];
        assert_eq!(shown(&site, &server), expected);
        assert_eq!(site.stage.kernel("dns", "redirected"), before + 3, "{server}");
    }
    // It was the agent: the server knows no such name.
    assert!(!site.log().contains("serviceb.azureuser"), "{}", site.log());
}

/// A site whose server answers with what it sees, or not at all.
fn mirror(name: &str, arguments: &[&str], max_in_flight: u32) -> (Site, Pod, interceptor_tests::Process) {
    let mut made = None;
    let site = Site::with(name, &[V4], |scene, _| {
        let pod = scene.lab.pod("mirror").unwrap();
        let program = format!("{}/netns/short_names/mirror.py", env!("CARGO_MANIFEST_DIR"));
        let process = pod.spawn("/usr/bin/python3", [&[program.as_str()], arguments].concat()).unwrap();
        pod.wait_listening(53, LIMIT).unwrap_or_else(|error| panic!("{error:#}: {}", process.stderr()));
        scene.config.set("dns", "servers", vec![pod.v4.to_string()]);
        scene.config.set("dns", "max_in_flight", max_in_flight);
        made = Some((pod, process));
    });
    let (pod, process) = made.unwrap();
    (site, pod, process)
}

/// Sends bytes as a program in the pod would; what comes back as text.
fn exchange(site: &Site, to: &Pod, hex: &str) -> String {
    let script = "import socket, sys
made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
made.settimeout(5)
made.sendto(bytes.fromhex(sys.argv[2]), (sys.argv[1], 53))
answer, source = made.recvfrom(65536)
print(source[0], source[1], answer.decode())";
    site.run(&site.child, &["/usr/bin/python3", "-c", script, &to.v4.to_string(), hex]).trim().to_owned()
}

#[test]
fn what_is_not_understood_reaches_the_server_as_it_is_and_is_counted() {
    let (site, server, _process) = mirror("short-raw", &[], 64);
    let long = "ab".repeat(20_000);
    let plain = "00010100000100000000000003777777076578616d706c6503636f6d0000010001";
    for (hex, outcome) in
        [("", "malformed"), ("00", "malformed"), ("ff00ff", "malformed"), (&long, "malformed"), (plain, "forwarded")]
    {
        let before = metric(&site, outcome);
        let expected = format!("{} 53 {} {} {hex}", server.v4, site.child.v4, hex.len() / 2);
        assert_eq!(exchange(&site, &server, hex), expected.trim());
        assert_eq!(metric(&site, outcome), before + 1, "{outcome}");
    }
}

fn metric(site: &Site, outcome: &str) -> u64 {
    let text = crate::short_names::failures::metrics(site);
    let line = format!("interceptor_dns_queries_total{{transport=\"udp\",outcome=\"{outcome}\"}} ");
    let value = text.lines().find_map(|found| found.strip_prefix(&line));
    value.unwrap_or_else(|| panic!("no {line} in {text}")).parse().unwrap()
}

#[test]
fn a_server_that_says_nothing_cannot_make_queries_pile_up() {
    let (site, server, _process) = mirror("short-mute", &["mute"], 8);
    let script = "import socket, sys
query = bytes.fromhex('00010100000100000000000003777777076578616d706c6503636f6d0000010001')
made = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(20)]
[one.sendto(query, (sys.argv[1], 53)) for one in made]";
    site.run(&site.child, &["/usr/bin/python3", "-c", script, &server.v4.to_string()]);
    interceptor_tests::wait::until(LIMIT, "all queries to be counted", || {
        let counted = (metric(&site, "forwarded"), metric(&site, "dropped"));
        anyhow::ensure!(counted == (8, 12), "{counted:?}");
        Ok(())
    })
    .unwrap_or_else(|error| panic!("{error:#}"));
    // What the agent answers itself waits for nobody.
    let at = format!("@{}", server.v4);
    assert_eq!(site.dig(&site.child, &[&at, "serviceb.azureuser.svc.cluster.local", "A", "+short"]), "10.96.0.12");
}

/// The figures are for people; the bound only notices what is broken.
#[test]
fn a_forwarded_query_takes_little_longer_and_an_answered_one_less_than_a_lifetime() {
    let site = Site::new("short-time", &[V4]);
    let program = format!("{}/netns/short_names/time.py", env!("CARGO_MANIFEST_DIR"));
    let server = site.dns.v4.to_string();
    let time = |pod: &Pod, name: &str| {
        let text = site.run(pod, &["/usr/bin/python3", &program, &server, name, "500"]);
        let (median, p99) = text.trim().split_once(' ').unwrap();
        (median.parse::<u64>().unwrap(), p99.parse::<u64>().unwrap())
    };
    let direct = time(&site.root, "www.example.com");
    let forwarded = time(&site.child, "www.example.com");
    let answered = time(&site.child, "serviceb.azureuser.svc.cluster.local");
    println!("median and p99, us: direct {direct:?}, forwarded {forwarded:?}, answered by the agent {answered:?}");
    assert!(forwarded.0 < direct.0 + 5_000 && answered.0 < direct.0 + 5_000);
}
