//! The demo's cluster without the agent: proves that ingress, services, Redis and TLS work by themselves.
//!
//! A test of the laboratory runs it (and `demo --plumbing`, for people who look for the faulty side).

use std::net::Ipv4Addr;

use anyhow::{Result, ensure};

use super::calls::{call, path_taken, route_headers};
use super::cluster::{Cluster, SUFFIX};
use super::peers::{TLS_NAME, TLS_TEXT};
use super::steps::{AZUREUSER_HOST, DEFAULT_HOST};

/// The ClusterIP of azureuser's serviceB.
const SERVICE_B_AZUREUSER: Ipv4Addr = Ipv4Addr::new(10, 96, 1, 12);

/// Brings the cluster up, walks through it directly, and gives what was seen, line by line.
pub fn plumbing() -> Result<Vec<String>> {
    let mut cluster = Cluster::start()?;
    let mut lines = Vec::new();
    for (host, a) in [(AZUREUSER_HOST, "serviceA.azureuser"), (DEFAULT_HOST, "serviceA.default")] {
        ensure!(host.ends_with(SUFFIX), "{host} is not below {SUFFIX}");
        let call = cluster.visit(host, "/call", &["azds-route-as: x"])?;
        lines.push(format!("{}: {}", call.command, path_taken(&call.answer)));
        ensure!(call.answer["name"] == a, "{host} was answered by {}", call.answer["name"]);
        ensure!(route_headers(&call.answer) == ["x"], "{a} saw {}", call.answer);
        let upstream = &call.answer["upstream"];
        ensure!(upstream["name"] == "serviceB.default", "serviceB is {}", path_taken(upstream));
        ensure!(route_headers(upstream) == ["x"], "serviceB saw {upstream}");
        ensure!(upstream["headers"][0][1] == "serviceB", "serviceB saw {upstream}");
    }
    let pod = cluster.deploy_service_b()?;
    let own = call(&cluster.service_a_default, "serviceB.azureuser", (SERVICE_B_AZUREUSER, 80).into(), "/", &[])?;
    ensure!(own.answer["name"] == "serviceB.azureuser", "the new copy's own address leads to {}", own.answer);
    lines.push(format!("{} ({}): {}", own.command, pod.v4, path_taken(&own.answer)));
    cluster.undeploy_service_b()?;
    cluster.remove_service_b_pod()?;

    let from = &cluster.service_a_azureuser;
    let redis = cluster.redis.first_address().map(|address| address.ip().to_string()).unwrap_or_default();
    let answer = from.output("redis-cli", ["-h", &redis, "ping"])?;
    ensure!(answer.stdout == b"PONG\n", "Redis answered {answer:?}");
    lines.push("Redis: PONG".to_owned());
    let vault = cluster.tls.service.first_address().map(|address| address.ip().to_string()).unwrap_or_default();
    let (resolve, url) = (format!("{TLS_NAME}:443:{vault}"), format!("https://{TLS_NAME}/"));
    let certificate = cluster.tls.certificate.display().to_string();
    let answer = from.output("curl", ["-sS", "--cacert", &certificate, "--resolve", &resolve, &url])?;
    ensure!(answer.stdout == TLS_TEXT.as_bytes(), "the TLS server answered {answer:?}");
    lines.push(format!("TLS: {TLS_TEXT}"));
    Ok(lines)
}
