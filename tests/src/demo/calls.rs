//! The requests of the demo, made by real curl, and what their answers say.
//!
//! Steps and [`plumbing`](super::plumbing) use it. An answer is the JSON of [`app::http`](crate::app::http).

use std::net::SocketAddr;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::cluster::Cluster;
use crate::app::http::ROUTE_HEADER;
use crate::lab::NODE_V4;
use crate::place::Place;

/// One request: the curl command as a person would type it, and its answer.
#[derive(Debug)]
pub(crate) struct Call {
    /// For the story.
    pub(crate) command: String,
    /// The application's JSON.
    pub(crate) answer: Value,
}

impl Cluster {
    /// A request from outside to a URL of the cluster, through the ingress. `headers` are `Name: value`.
    pub(crate) fn visit(&self, host: &str, path: &str, headers: &[&str]) -> Result<Call> {
        call(self.lab.outside(), host, (NODE_V4, 80).into(), path, headers)
    }
}

/// A request from a pod to a service by name, `address` being what DNS would say.
pub(crate) fn call(from: &Place, host: &str, address: SocketAddr, path: &str, headers: &[&str]) -> Result<Call> {
    let url = format!("http://{host}{path}");
    let resolve = format!("{host}:80:{address}", address = bracketed(address));
    let mut args = vec!["-sS", "--max-time", "10", "-w", "\n%{http_code}", "--resolve", &resolve];
    let mut command = format!("[{}] curl {url}", from.name());
    for header in headers {
        args.extend(["-H", header]);
        command.push_str(&format!(" -H '{header}'"));
    }
    args.push(&url);
    let output = from.output("curl", args)?;
    let text = String::from_utf8_lossy(&output.stdout);
    let (body, status) = text.rsplit_once('\n').unwrap_or_default();
    if !output.status.success() || status != "200" {
        bail!("{command}: status {status}, {}{}", String::from_utf8_lossy(&output.stderr), body.trim());
    }
    let answer = serde_json::from_str(body).with_context(|| format!("{command}: the answer is not JSON: {body}"))?;
    Ok(Call { command, answer })
}

/// curl wants the address alone, in brackets if it is IPv6.
fn bracketed(address: SocketAddr) -> String {
    match address {
        SocketAddr::V4(address) => address.ip().to_string(),
        SocketAddr::V6(address) => format!("[{}]", address.ip()),
    }
}

/// All route headers that an application saw.
pub(crate) fn route_headers(answer: &Value) -> Vec<&str> {
    let headers = answer["headers"].as_array().map(Vec::as_slice).unwrap_or_default();
    let named = |pair: &&Value| pair[0].as_str().is_some_and(|name| name.eq_ignore_ascii_case(ROUTE_HEADER));
    headers.iter().filter(named).filter_map(|pair| pair[1].as_str()).collect()
}

/// `serviceA.azureuser (azds-route-as: azureuser) → serviceB.default (…)`.
pub(crate) fn path_taken(answer: &Value) -> String {
    let saw = match route_headers(answer).as_slice() {
        [] => "no route header".to_owned(),
        values => format!("{ROUTE_HEADER}: {}", values.join(", ")),
    };
    let here = format!("{} saw {saw}", answer["name"].as_str().unwrap_or("?"));
    match answer.get("upstream") {
        None => here,
        Some(Value::Object(failed)) if failed.contains_key("error") => {
            format!("{here} → failed: {}", failed.get("error").and_then(Value::as_str).unwrap_or("?"))
        }
        Some(upstream) => format!("{here} → {}", path_taken(upstream)),
    }
}
