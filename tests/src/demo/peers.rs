//! The peers of the demo that speak no (plain) HTTP: Redis and a TLS server with a certificate of its own.
//!
//! Redis is the distribution's redis-server; the certificate is made by openssl for this run and trusted by nobody else.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

use super::cluster::LIMIT;
use super::nginx;
use crate::config::Service;
use crate::lab::Lab;
use crate::pod::Pod;
use crate::process::Process;

/// The name in the TLS server's certificate.
pub(crate) const TLS_NAME: &str = "vault.default";
/// What the TLS server answers.
pub(crate) const TLS_TEXT: &str = "read end to end";

/// The TLS server.
#[derive(Debug)]
pub(crate) struct Tls {
    pub(crate) service: Service,
    pub(crate) certificate: PathBuf,
}

/// Fails with what to install if a program of the demo is missing.
pub(crate) fn require_programs(lab: &Lab) -> Result<()> {
    let script = "for p in nginx redis-server redis-cli openssl curl; do command -v $p >/dev/null || echo $p; done";
    let output = lab.on_node().output("sh", ["-c", script])?;
    let missing = String::from_utf8_lossy(&output.stdout);
    if !missing.trim().is_empty() {
        let missing = missing.split_whitespace().collect::<Vec<_>>().join(", ");
        bail!("not on PATH: {missing} (apt-get install nginx-light redis-server redis-tools openssl curl)");
    }
    Ok(())
}

/// Starts Redis on its usual port, without persistence.
pub(crate) fn redis(pod: &Pod) -> Result<Process> {
    let args = ["--port", "6379", "--bind", "*", "-::*", "--protected-mode", "no", "--save", "", "--appendonly", "no"];
    let mut process = pod.spawn("redis-server", args)?;
    pod.wait_listening(6379, LIMIT).or_else(|error| process.expect_running().and(Err(error)))?;
    Ok(process)
}

/// Makes a certificate and starts the TLS server on port 8443, behind port 443 of its service.
pub(crate) fn tls(lab: &Lab, pod: &Pod) -> Result<(Tls, Process)> {
    let (certificate, key) = (lab.temp().join("vault.pem"), lab.temp().join("vault.key"));
    let subject = format!("/CN={TLS_NAME}");
    let names = format!("subjectAltName=DNS:{TLS_NAME}");
    let [certificate_arg, key_arg] = [&certificate, &key].map(|path| path.display().to_string());
    let args = [
        ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
            .as_slice(),
        &["-subj", &subject, "-addext", &names, "-keyout", &key_arg, "-out", &certificate_arg],
    ]
    .concat();
    let output = lab.on_node().output("openssl", args)?;
    if !output.status.success() {
        bail!("openssl could not make a certificate: {}", String::from_utf8_lossy(&output.stderr));
    }
    let server = nginx::tls(lab, pod, 8443, &certificate, &key, TLS_TEXT).context("starting the TLS server")?;
    let service = Service::new("vault", "default")
        .address(Ipv4Addr::new(10, 96, 0, 21))
        .port("https", 443, 8443, None)
        .endpoint(pod);
    Ok((Tls { service, certificate }, server))
}
