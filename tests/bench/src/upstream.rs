//! The upstream: nginx with one worker and nothing to do but answer. It is the same for every subject.
//!
//! `/100` is answered from memory, `/10k` and `/1m` are files; `/who` tells whose copy it is and which route header came,
//! so that routing is proved before anything is measured.

use std::fs;

use anyhow::{Context as _, Result};
use interceptor_tests::{Lab, Pod, Process};

use crate::ground::LIMIT;

/// The port of the endpoints of the HTTP service.
pub(crate) const HTTP: u16 = 8080;
/// The port of the endpoints of the HTTP/2 service.
pub(crate) const HTTP2: u16 = 8081;
/// The port of the endpoints of the opaque service.
pub(crate) const OPAQUE: u16 = 9000;

/// The body of `/100`: 100 bytes.
const BODY: &str =
    "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789";

/// Starts it in a pod.
pub(crate) fn nginx(lab: &Lab, pod: &Pod) -> Result<Process> {
    let dir = lab.temp().join(format!("nginx-{}", pod.name()));
    fs::create_dir(&dir).with_context(|| format!("making {}", dir.display()))?;
    for (name, size) in [("10k", 10 << 10), ("1m", 1 << 20)] {
        let file = dir.join(name);
        fs::write(&file, vec![b'x'; size]).with_context(|| format!("writing {}", file.display()))?;
    }
    let own = dir.display();
    let name = pod.name();
    let text = format!(
        "daemon off; user root; worker_processes 1; pid {own}/pid; error_log stderr crit;\n\
         events {{ worker_connections 19000; multi_accept on; }}\n\
         http {{\n\
         access_log off; sendfile on; tcp_nopush on; tcp_nodelay on; keepalive_requests 1000000000;\n\
         keepalive_timeout 3600s; open_file_cache max=10; open_file_cache_valid 3600s; default_type text/plain;\n\
         client_body_temp_path {own}/body; proxy_temp_path {own}/proxy; fastcgi_temp_path {own}/fastcgi;\n\
         uwsgi_temp_path {own}/uwsgi; scgi_temp_path {own}/scgi;\n\
         http2_max_concurrent_streams 1024;\n\
         server {{\n\
         listen {HTTP} reuseport backlog=8192; listen {HTTP2} http2 reuseport backlog=8192; root {own};\n\
         location = /100 {{ return 200 \"{BODY}\"; }}\n\
         location = /who {{ return 200 \"{name} $http_azds_route_as\"; }}\n\
         }}\n\
         }}\n"
    );
    let file = dir.join("nginx.conf");
    fs::write(&file, text).with_context(|| format!("writing {}", file.display()))?;
    let mut process = pod.spawn("nginx", ["-c".as_ref(), file.as_os_str(), "-e".as_ref(), "stderr".as_ref()])?;
    pod.wait_listening(HTTP, LIMIT).or_else(|error| process.expect_running().and(Err(error)))?;
    Ok(process)
}

#[cfg(test)]
mod tests {
    use super::BODY;

    #[test]
    fn the_body_has_the_size_that_its_name_tells() {
        assert_eq!(BODY.len(), 100);
    }
}
