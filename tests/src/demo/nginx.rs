//! Real nginx, as the ingress controller and as a TLS server, with configurations made for the demo.
//!
//! Everything that nginx writes goes below the laboratory's temporary directory.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::cluster::LIMIT;
use crate::lab::Lab;
use crate::pod::Pod;
use crate::process::Process;

/// Starts the ingress: every host of `routes` goes to one pod, over kept-alive connections, with its Host kept.
pub(crate) fn ingress(lab: &Lab, pod: &Pod, routes: &[(String, SocketAddr)]) -> Result<Process> {
    let mut servers = String::new();
    for (n, (host, pod)) in routes.iter().enumerate() {
        // Writing to a String cannot fail.
        write!(
            servers,
            "upstream u{n} {{ server {pod}; keepalive 8; }}\n\
             server {{\n\
             \tlisten 80;\n\
             \tlisten [::]:80;\n\
             \tserver_name {host};\n\
             \tlocation / {{\n\
             \t\tproxy_pass http://u{n};\n\
             \t\tproxy_http_version 1.1;\n\
             \t\tproxy_set_header Connection \"\";\n\
             \t\tproxy_set_header Host $http_host;\n\
             \t\tproxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\n\
             \t}}\n\
             }}\n"
        )
        .ok();
    }
    // A host that nobody has must not fall to the first server.
    servers.push_str("server { listen 80 default_server; listen [::]:80 default_server; return 404; }\n");
    start(lab, pod, 80, &servers)
}

/// Starts a TLS server on `port` that answers every request with `text`.
pub(crate) fn tls(lab: &Lab, pod: &Pod, port: u16, certificate: &Path, key: &Path, text: &str) -> Result<Process> {
    let (certificate, key) = (certificate.display(), key.display());
    let server = format!(
        "server {{\n\
         \tlisten {port} ssl;\n\
         \tlisten [::]:{port} ssl;\n\
         \tssl_certificate {certificate};\n\
         \tssl_certificate_key {key};\n\
         \tlocation / {{ return 200 \"{text}\"; }}\n\
         }}\n"
    );
    start(lab, pod, port, &server)
}

/// Starts a server of HTTP/2 without TLS on port 8080 that says its name and the route header that it saw.
pub(crate) fn http2(lab: &Lab, pod: &Pod, name: &str) -> Result<Process> {
    let server = format!(
        "server {{\n\
         \tlisten 8080 http2;\n\
         \tlisten [::]:8080 http2;\n\
         \tlocation / {{ return 200 \"{name} $http_azds_route_as\"; }}\n\
         }}\n"
    );
    start(lab, pod, 8080, &server)
}

fn start(lab: &Lab, pod: &Pod, port: u16, servers: &str) -> Result<Process> {
    let dir = lab.temp().join(format!("nginx-{}", pod.name()));
    fs::create_dir(&dir).with_context(|| format!("making {}", dir.display()))?;
    let file = dir.join("nginx.conf");
    fs::write(&file, configuration(&dir, servers)).with_context(|| format!("writing {}", file.display()))?;
    let mut process = pod.spawn("nginx", ["-c".as_ref(), file.as_os_str(), "-e".as_ref(), "stderr".as_ref()])?;
    pod.wait_listening(port, LIMIT).or_else(|error| process.expect_running().and(Err(error)))?;
    Ok(process)
}

fn configuration(dir: &Path, servers: &str) -> String {
    let dir = dir.display();
    format!(
        "daemon off;\n\
         user root;\n\
         worker_processes 1;\n\
         pid {dir}/pid;\n\
         error_log stderr warn;\n\
         events {{ worker_connections 256; }}\n\
         http {{\n\
         access_log off;\n\
         server_names_hash_bucket_size 128;\n\
         client_body_temp_path {dir}/body;\n\
         proxy_temp_path {dir}/proxy;\n\
         fastcgi_temp_path {dir}/fastcgi;\n\
         uwsgi_temp_path {dir}/uwsgi;\n\
         scgi_temp_path {dir}/scgi;\n\
         {servers}}}\n"
    )
}
