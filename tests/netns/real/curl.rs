//! curl, with what it can do of HTTP/1.1, and nginx: ranges, compression, redirects, conditions, uploads.

use std::fs;

use interceptor_tests::Pod;
use serde_json::Value;

use super::servers::{gunicorn, nginx};
use super::site::{BACKEND, Site, pattern};
use super::tools::{curl, shell};
use crate::stage::{Stage, vip};

/// The number of nginx's service.
const NGINX: u8 = 30;

/// `METHOD path status` of the requests that the caller made, in their order, once there are `count`.
fn requests(stage: &Stage, count: usize) -> Vec<String> {
    let records = stage.wait_flows(count, |record| record["kind"] == "request");
    assert!(records.iter().all(|record| record["workload"] == "caller" && record["error"] == Value::Null));
    let text = |record: &Value, name: &str| record[name].as_str().unwrap_or("?").to_owned();
    records.iter().map(|r| format!("{} {} {}", text(r, "method"), text(r, "path"), r["status"])).collect()
}

/// nginx and gunicorn in `default`, and who calls them.
fn site(name: &str) -> (Site, Pod) {
    let mut site = Site::new(name);
    let caller = site.scene.caller("caller", Some("default"));
    site.deploy("nginx", "default", NGINX, nginx);
    site.deploy("sums", "default", BACKEND, gunicorn);
    (site, caller)
}

#[test]
fn curl_gets_parts_compressed_files_and_redirects_of_nginx() {
    let (site, caller) = site("realget");
    let content = pattern(100_000);
    let text: String = (0..5000).map(|n| format!("line {n}\n")).collect();
    site.write("page.bin", &content);
    site.write("page.txt", text.as_bytes());
    let stage = site.scene.start();
    let out = stage.scene.lab.temp().join("out").display().to_string();
    let base = format!("http://{}", vip(NGINX));
    let (bin, txt) = (format!("{base}/page.bin"), format!("{base}/page.txt"));
    let get = |args: &[&str]| curl(&caller, &[&["-o", &out], args].concat());
    let stored = || fs::read(&out).unwrap();

    let head = curl(&caller, &["--head", &bin]);
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains("\r\nContent-Length: 100000\r\n"), "{head}");
    get(&["--http1.0", &bin]);
    assert!(stored() == content, "HTTP/1.0");
    assert_eq!(
        get(&["-w", "%{http_code} %header{content-range}", "-r", "1000-1999", &bin]),
        "206 bytes 1000-1999/100000"
    );
    assert!(stored() == content[1000..2000], "a range");
    get(&["-r", "0-99,50000-50099", &bin]);
    let has = |part: &[u8]| stored().windows(part.len()).any(|window| window == part);
    assert!(has(&content[..100]) && has(&content[50_000..50_100]), "two ranges");
    assert_eq!(get(&["-w", "%{http_code}", "-r", "200000-", &bin]), "416");
    let sent = get(&["--compressed", "-w", "%header{content-encoding} %{size_download}", &txt]);
    let size: usize = sent.strip_prefix("gzip ").unwrap().parse().unwrap();
    assert!(size < text.len() / 2 && stored() == text.as_bytes(), "{size} bytes");
    assert_eq!(get(&["-L", "-w", "%{http_code} %{num_redirects}", &format!("{base}/old")]), "200 1");
    assert!(stored() == text.as_bytes(), "redirected");
    let etag = get(&["-w", "%header{etag}", &bin]);
    let condition = format!("If-None-Match: {etag}");
    assert_eq!(get(&["-w", "%{http_code}", "-H", &condition, &bin]), "304");
    assert_eq!(get(&["-w", "%{http_code}", &format!("{base}/none")]), "404");
    // Two addresses, one connection.
    let both = ["-w", "%{num_connects} %{http_code}\n", &bin, "-o", &out, &txt];
    assert_eq!(get(&both), "1 200\n0 200\n");
    assert_eq!(
        requests(&stage, 13),
        [
            "HEAD /page.bin 200",
            "GET /page.bin 200",
            "GET /page.bin 206",
            "GET /page.bin 206",
            "GET /page.bin 416",
            "GET /page.txt 200",
            "GET /old 302",
            "GET /page.txt 200",
            "GET /page.bin 200",
            "GET /page.bin 304",
            "GET /none 404",
            "GET /page.bin 200",
            "GET /page.txt 200",
        ]
    );
    let connections = stage.wait_flows(11, |record| record["kind"] == "connection");
    assert!(connections.iter().all(|record| record["error"] == Value::Null), "{connections:?}");
}

#[test]
fn curl_uploads_to_nginx_and_gunicorn_in_every_way_it_knows() {
    let (site, caller) = site("realput");
    let content = pattern(3_000_000);
    let file = site.write("page.bin", &content);
    let uploads = site.uploads();
    let stage = site.scene.start();
    let base = format!("http://{}/upload", vip(NGINX));
    let stored = |name: &str| fs::read(uploads.join(name)).unwrap();
    let code = ["-o", "/dev/null", "-w", "%{http_code}"];
    // curl would wait a minute for `100 Continue`, and may take half of that in all.
    let patient = ["-H", "Expect: 100-continue", "--expect100-timeout", "60"];

    let put = |args: &[&str]| curl(&caller, &[&code, args].concat());
    assert_eq!(put(&[&patient[..], &["-T", &file, &format!("{base}/expect")]].concat()), "201");
    assert!(stored("expect") == content);
    assert_eq!(put(&["-T", &file, &format!("{base}/expect")]), "204", "it exists");
    let chunked = "cat \"$1\" | curl -sS --noproxy '*' --max-time 30 -o /dev/null -w '%{http_code}' -T - \"$2\"";
    assert_eq!(shell(&caller, chunked, &[&file, &format!("{base}/chunked")]), "201");
    assert!(stored("chunked") == content);
    // Refused before the body: with Expect it is never sent, without it nginx answers into it.
    let small = format!("http://{}/small/x", vip(NGINX));
    let sent = ["-w", "%{http_code} %{size_upload}", "-o", "/dev/null", "-T", &file, &small];
    assert_eq!(curl(&caller, &[&patient[..], &sent[..]].concat()), "413 0");
    assert_eq!(put(&["-H", "Expect:", "-T", &file, &small]), "413");

    let sums = format!("http://{}/sum", vip(BACKEND));
    let sum = shell(&caller, "sha256sum < \"$1\" | cut -d' ' -f1", &[&file]);
    let data = format!("@{file}");
    assert_eq!(curl(&caller, &["--data-binary", &data, &sums]), format!("POST 3000000 {sum}"));
    let chunks = ["-H", "Transfer-Encoding: chunked", "--data-binary", &data, &sums];
    assert_eq!(curl(&caller, &chunks), format!("POST 3000000 {sum}"));
    assert_eq!(
        requests(&stage, 7),
        [
            "PUT /upload/expect 201",
            "PUT /upload/expect 204",
            "PUT /upload/chunked 201",
            "PUT /small/x 413",
            "PUT /small/x 413",
            "POST /sum 200",
            "POST /sum 200",
        ]
    );
}
