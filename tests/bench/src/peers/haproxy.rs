//! HAProxy: frontends of HTTP/1 and HTTP/2 that choose a backend by the header, and a TCP one that splices.

use anyhow::Result;

use super::{Command, Plan, THREADS};

/// Writes its configuration; the command that runs it in the foreground.
pub(super) fn command(plan: &Plan) -> Result<Command> {
    let file = plan.write("haproxy.cfg", &configuration(plan))?;
    Ok(super::command("haproxy", &["-db", "-q", "-f", &file]))
}

fn configuration(plan: &Plan) -> String {
    let Plan { http, http2, opaque, http_upstreams: [default, azureuser], opaque_upstream, .. } = plan;
    let [default2, azureuser2] = plan.http2_upstreams;
    // Left to itself it takes fewer connections than the machine allows, as it reckons with two files for each.
    format!(
        "global\n\
         \tnbthread {THREADS}\n\
         \tno strict-limits\n\
         \tmaxconn 15000\n\
         defaults\n\
         \tmode http\n\
         \tmaxconn 20000\n\
         \tbacklog 8192\n\
         \ttimeout connect 10s\n\
         \ttimeout client 1h\n\
         \ttimeout server 1h\n\
         \toption http-no-delay\n\
         \toption http-keep-alive\n\
         \thttp-reuse always\n\
         frontend http\n\
         \tbind {http}\n\
         \tuse_backend azureuser if {{ req.hdr(azds-route-as) -m str azureuser }}\n\
         \thttp-request set-header azds-route-as default unless {{ req.hdr(azds-route-as) -m found }}\n\
         \tdefault_backend default\n\
         backend default\n\
         \tserver default {default} pool-purge-delay 1h\n\
         backend azureuser\n\
         \tserver azureuser {azureuser} pool-purge-delay 1h\n\
         frontend http2\n\
         \tbind {http2} proto h2\n\
         \tuse_backend azureuser2 if {{ req.hdr(azds-route-as) -m str azureuser }}\n\
         \thttp-request set-header azds-route-as default unless {{ req.hdr(azds-route-as) -m found }}\n\
         \tdefault_backend default2\n\
         backend default2\n\
         \tserver default {default2} proto h2 pool-purge-delay 1h\n\
         backend azureuser2\n\
         \tserver azureuser {azureuser2} proto h2 pool-purge-delay 1h\n\
         frontend opaque\n\
         \tmode tcp\n\
         \tbind {opaque}\n\
         \toption splice-request\n\
         \toption splice-response\n\
         \tdefault_backend opaque\n\
         backend opaque\n\
         \tmode tcp\n\
         \toption splice-request\n\
         \toption splice-response\n\
         \tserver opaque {opaque_upstream}\n"
    )
}
