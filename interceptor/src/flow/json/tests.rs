//! The lines of both kinds, literally: their names are a promise.

use super::super::samples;
use super::*;

fn line(record: &Record) -> String {
    let mut out = Vec::new();
    write_line(&mut out, record);
    String::from_utf8(out).unwrap()
}

#[test]
fn a_connection_reads_as_documented() {
    let expected = concat!(
        r#"{"kind":"connection","id":7,"time":"2026-03-14T15:09:26.535897Z","workload":"serviceA-azureuser","#,
        r#""direction":"outbound","client":"10.1.0.3:40000","original_destination":"10.96.0.9:6379","#,
        r#""service":"redis.default","protocol":"opaque","protocol_from":"server_first","#,
        r#""target":{"kind":"original","address":"10.96.0.9:6379","service":"redis","space":"default"},"#,
        r#""verdict":"forwarded","reason":"end_of_stream","error":null,"requests":0,"bytes_in":14,"bytes_out":7,"#,
        r#""connect_us":210,"duration_us":15000,"#,
        r#""kernel":{"srtt_us":40,"retransmits":0,"bytes_sent":14,"bytes_received":7,"open_us":null}}"#,
        "\n"
    );
    assert_eq!(line(&samples::connection(7)), expected);
}

#[test]
fn a_request_reads_as_documented() {
    let expected = concat!(
        r#"{"kind":"request","id":9,"connection":7,"time":"2026-03-14T15:09:26.535897Z","workload":"serviceA-azureuser","#,
        r#""direction":"outbound","client":"10.1.0.3:40000","original_destination":"10.96.0.2:80","#,
        r#""service":"serviceB.default","protocol":"http1","protocol_from":"client_bytes","method":"GET","path":"/","#,
        r#""host":"serviceB","status":200,"route_header":{"name":"azds-route-as","value":"azureuser"},"injected":false,"#,
        r#""space":"azureuser","space_from":"header","#,
        r#""chain":[{"space":"azureuser","outcome":"no_service"},{"space":"default","outcome":"taken"}],"#,
        r#""target":{"kind":"original","address":"10.96.0.2:80","service":"serviceB","space":"default"},"#,
        r#""verdict":"forwarded","reason":"same_space","route_reason":"same_space","side":null,"error":null,"#,
        r#""bytes_in":120,"bytes_out":310,"connect_us":180,"first_byte_us":900,"duration_us":1234,"grpc_status":null,"notes":[]}"#,
        "\n"
    );
    assert_eq!(line(&samples::request(9)), expected);
}

#[test]
fn the_cli_reads_both_kinds_back() {
    let request: FlowLine = serde_json::from_str(&line(&samples::request(9))).unwrap();
    assert_eq!((request.kind.as_str(), request.connection, request.status), ("request", Some(7), Some(200)));
    assert_eq!(request.chain.iter().map(|step| step.space.as_str()).collect::<Vec<_>>(), ["azureuser", "default"]);
    assert_eq!(request.target.unwrap().space.as_deref(), Some("default"));
    let connection: FlowLine = serde_json::from_str(&line(&samples::connection(7))).unwrap();
    assert_eq!((connection.kind.as_str(), connection.requests, connection.status), ("connection", Some(0), None));
    assert_eq!(connection.kernel.unwrap().srtt_us, 40);
}

#[test]
fn a_loss_is_a_line_of_its_own_kind() {
    let mut out = Vec::new();
    write_lost(&mut out, 12);
    assert_eq!(out, b"{\"kind\":\"lost\",\"count\":12}\n");
    let lost: LostLine = serde_json::from_slice(&out).unwrap();
    assert_eq!((lost.kind.as_str(), lost.count), ("lost", 12));
}

#[test]
fn text_from_the_network_stays_inside_its_string() {
    let mut record = samples::request_record(1);
    record.path = "/\"\n\u{1b}[31m\u{fffd}".into();
    let text = line(&Record::Request(record));
    assert_eq!(text.lines().count(), 1);
    assert!(text.contains(r#""path":"/\"\n\u001b[31m"#));
}
