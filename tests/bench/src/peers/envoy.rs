//! Envoy: a listener of HTTP/1 and one of HTTP/2 with routes by header, one TCP listener; no access log, no request ids, no Envoy headers.

use std::env;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::{Command, Plan, THREADS};

/// Where `cargo xtask bench` has put it: below cargo's target directory, which this program lies in too.
pub(crate) fn program() -> Result<PathBuf> {
    let running = env::current_exe().context("finding the path of the running executable")?;
    let tagged = running.ancestors().find(|dir| dir.join("CACHEDIR.TAG").is_file());
    let target = tagged.map_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/../../target").into(), Path::to_path_buf);
    let program = target.join("test-tools/bench/envoy/_bin/envoy");
    ensure!(program.is_file(), "no Envoy at {}: run `cargo xtask setup --for bench`", program.display());
    Ok(program)
}

/// Writes its configuration; the command that runs it.
pub(super) fn command(plan: &Plan) -> Result<Command> {
    // JSON is YAML.
    let file = plan.write("envoy.yaml", &configuration(plan).to_string())?;
    let threads = THREADS.to_string();
    let args = ["-c", &file, "--concurrency", &threads, "--disable-hot-restart", "-l", "error"];
    Ok(super::command(program()?, &args))
}

fn configuration(plan: &Plan) -> Value {
    let [default, azureuser] = plan.http_upstreams;
    let [default2, azureuser2] = plan.http2_upstreams;
    let manager = |codec: &str, suffix: &str| {
        json!({
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "http",
            "codec_type": codec,
            "generate_request_id": false,
            "stream_idle_timeout": "0s",
            "common_http_protocol_options": { "idle_timeout": "3600s" },
            "http_filters": [{
                "name": "envoy.filters.http.router",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
                    "suppress_envoy_headers": true,
                },
            }],
            "route_config": { "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": routes(suffix) }] },
        })
    };
    let tcp = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        "stat_prefix": "opaque",
        "cluster": "opaque",
    });
    json!({
        "static_resources": {
            "listeners": [
                listener("http", plan.http, "envoy.filters.network.http_connection_manager", &manager("HTTP1", "")),
                listener("http2", plan.http2, "envoy.filters.network.http_connection_manager", &manager("HTTP2", "2")),
                listener("opaque", plan.opaque, "envoy.filters.network.tcp_proxy", &tcp),
            ],
            "clusters": [
                cluster("default", default),
                cluster("azureuser", azureuser),
                http2(cluster("default2", default2)),
                http2(cluster("azureuser2", azureuser2)),
                cluster("opaque", plan.opaque_upstream),
            ],
        },
    })
}

fn routes(suffix: &str) -> Value {
    let add = json!([{
        "header": { "key": "azds-route-as", "value": "default" },
        "append_action": "ADD_IF_ABSENT",
    }]);
    let azureuser = json!([{ "name": "azds-route-as", "string_match": { "exact": "azureuser" } }]);
    json!([
        { "match": { "prefix": "/", "headers": azureuser }, "route": { "cluster": format!("azureuser{suffix}"), "timeout": "0s" } },
        { "match": { "prefix": "/" }, "route": { "cluster": format!("default{suffix}"), "timeout": "0s" }, "request_headers_to_add": add },
    ])
}

fn listener(name: &str, at: SocketAddr, filter: &str, settings: &Value) -> Value {
    json!({
        "name": name,
        "address": address(at),
        "tcp_backlog_size": 8192,
        "filter_chains": [{ "filters": [{ "name": filter, "typed_config": settings }] }],
    })
}

fn cluster(name: &str, at: SocketAddr) -> Value {
    let many = 1_000_000;
    json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "10s",
        "circuit_breakers": { "thresholds": [{
            "max_connections": many, "max_pending_requests": many, "max_requests": many,
        }] },
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": address(at) } }] }],
        },
    })
}

/// The same cluster, spoken to in HTTP/2.
fn http2(mut cluster: Value) -> Value {
    cluster["typed_extension_protocol_options"] = json!({
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": { "http2_protocol_options": { "max_concurrent_streams": 1024 } },
        },
    });
    cluster
}

fn address(at: SocketAddr) -> Value {
    json!({ "socket_address": { "address": at.ip(), "port_value": at.port() } })
}
