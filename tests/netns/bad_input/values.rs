//! Header values of any bytes and any length: passed on as they are or refused by name, never a crash.

use std::io::{Read as _, Write as _};

use interceptor_tests::http::Connection;

use crate::stage::{LIMIT, Scene, bare_service, dial, vip};

#[test]
fn header_values_of_any_bytes_pass_unchanged() {
    let mut scene = Scene::worked_example("bytes");
    let caller = scene.caller("caller", Some("azureuser"));
    let server = scene.lab.pod("server").unwrap();
    scene.publish(&bare_service("s", "default", 12).port("http", 80, 8080, None).endpoint(&server));
    let mut stage = scene.start();
    let listener = server.listen("[::]:8080".parse().unwrap()).unwrap();
    let all: Vec<u8> = (0x80..=0xff).collect();
    let printable: Vec<u8> = (0x21..0x7f).collect();
    let long = vec![b'x'; 40_000];
    let invalid = b"\xc3\x28 \xf0\x9f\x92 \xed\xa0\x80".to_vec();
    for value in [all, printable, long, invalid, b"\t a \t b".to_vec(), b"azureuser\xff".to_vec()] {
        for name in ["azds-route-as", "Host", "baggage", "X-Any"] {
            let mut sent = b"GET / HTTP/1.1\r\n".to_vec();
            if name != "Host" {
                sent.extend(b"Host: s\r\n");
            }
            // Something that carries a space, so that nothing is added.
            if name != "azds-route-as" {
                sent.extend(b"kubernetes-route-as: default\r\n");
            }
            sent.extend(name.as_bytes());
            sent.extend(b": ");
            sent.extend(&value);
            sent.extend(b"\r\n\r\n");
            let mut client = dial(&caller, vip(12));
            client.write_all(&sent).unwrap();
            let mut accepted = listener.accept().unwrap().0;
            accepted.set_read_timeout(Some(LIMIT)).unwrap();
            let mut received = vec![0; sent.len()];
            accepted.read_exact(&mut received).unwrap_or_else(|error| {
                let shown = String::from_utf8_lossy(&value);
                panic!("{name}: {}: {error}", shown.chars().take(80).collect::<String>())
            });
            assert!(received == sent, "{name}: {}", String::from_utf8_lossy(&received));
            accepted.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").unwrap();
            assert_eq!(Connection::new(client).response("GET").unwrap().status().unwrap(), 204);
        }
    }
    // Records and logs keep a bounded part of it.
    let records = stage.wait_flows(24, |record| record["kind"] == "request");
    assert!(records.iter().all(|record| record.to_string().len() < 4000), "{records:?}");
    stage.expect_running();
}

#[test]
fn what_no_header_may_hold_is_refused_and_recorded() {
    let mut scene = Scene::worked_example("refused");
    let caller = scene.caller("caller", Some("azureuser"));
    scene.deploy("serviceB", "default", 12);
    let mut stage = scene.start();
    let huge = format!("azds-route-as: {}", "x".repeat(100_000));
    let many = "a: b\r\n".repeat(5000);
    let cases = [
        ("azds-route-as: a\0b", 400),
        ("azds-route-as : a", 400),
        ("azds-route-as: a\r\n folded", 400),
        (": no name", 400),
        (&huge, 431),
        (&many, 431),
        ("Content-Length: 1\r\nContent-Length: 2", 400),
        ("Content-Length: 3\r\nTransfer-Encoding: chunked", 400),
    ];
    for (n, (line, status)) in (1..).zip(cases) {
        let mut client = Connection::new(dial(&caller, vip(12)));
        client.send(format!("GET / HTTP/1.1\r\nHost: s\r\n{line}\r\n\r\n").as_bytes()).ok();
        let response = client.response("GET").unwrap_or_else(|error| panic!("{line:.40}: {error:#}"));
        assert_eq!(response.status().unwrap(), status, "{line:.40}");
        assert_eq!(response.first("server"), Some("interceptor"));
        let records = stage.wait_flows(n, |record| record["kind"] == "request");
        assert_eq!(records.last().unwrap()["verdict"], "refused", "{records:?}");
    }
    stage.expect_running();
}
