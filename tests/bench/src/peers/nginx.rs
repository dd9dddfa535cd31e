//! nginx: upstreams with kept-alive connections, chosen by a map of the header (over HTTP/2 by the gRPC module, its only one
//! with such upstreams), and the stream module for the rest.

use anyhow::Result;

use super::{Command, Plan, THREADS};

/// Where Debian's package `libnginx-mod-stream` puts the module.
const STREAM: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

/// Writes its configuration; the command that runs it in the foreground.
pub(super) fn command(plan: &Plan) -> Result<Command> {
    let file = plan.write("nginx.conf", &configuration(plan))?;
    Ok(super::command("nginx", &["-c", &file, "-e", "stderr"]))
}

fn configuration(plan: &Plan) -> String {
    let Plan { dir, http, http2, opaque, http_upstreams: [default, azureuser], opaque_upstream, .. } = plan;
    let [default2, azureuser2] = plan.http2_upstreams;
    let own = dir.display();
    // Large enough that a body of 1 MiB is never written to a temporary file.
    format!(
        "load_module {STREAM};\n\
         daemon off; user root; worker_processes {THREADS}; pid {own}/pid;\n\
         error_log stderr crit;\n\
         events {{ worker_connections 19000; multi_accept on; }}\n\
         http {{\n\
         access_log off; tcp_nodelay on; keepalive_requests 1000000000; keepalive_timeout 3600s;\n\
         client_body_temp_path {own}/body; proxy_temp_path {own}/proxy; fastcgi_temp_path {own}/fastcgi;\n\
         uwsgi_temp_path {own}/uwsgi; scgi_temp_path {own}/scgi;\n\
         map $http_azds_route_as $route {{ '' default; default $http_azds_route_as; }}\n\
         map $route $target {{ azureuser azureuser; default default; }}\n\
         upstream default {{\n\
         server {default}; keepalive 512; keepalive_requests 1000000000; keepalive_timeout 3600s;\n\
         }}\n\
         upstream azureuser {{\n\
         server {azureuser}; keepalive 512; keepalive_requests 1000000000; keepalive_timeout 3600s;\n\
         }}\n\
         map $route $target2 {{ azureuser azureuser2; default default2; }}\n\
         upstream default2 {{\n\
         server {default2}; keepalive 512; keepalive_requests 1000000000; keepalive_timeout 3600s;\n\
         }}\n\
         upstream azureuser2 {{\n\
         server {azureuser2}; keepalive 512; keepalive_requests 1000000000; keepalive_timeout 3600s;\n\
         }}\n\
         server {{\n\
         listen {http2} http2 reuseport backlog=8192; http2_max_concurrent_streams 1024;\n\
         location / {{\n\
         grpc_pass grpc://$target2; grpc_set_header Host $http_host; grpc_set_header azds-route-as $route;\n\
         grpc_buffer_size 64k;\n\
         }}\n\
         }}\n\
         server {{\n\
         listen {http} reuseport backlog=8192;\n\
         location / {{\n\
         proxy_pass http://$target; proxy_http_version 1.1;\n\
         proxy_set_header Connection ''; proxy_set_header Host $http_host; proxy_set_header azds-route-as $route;\n\
         proxy_buffers 16 64k; proxy_buffer_size 64k; proxy_busy_buffers_size 512k; proxy_max_temp_file_size 0;\n\
         }}\n\
         }}\n\
         }}\n\
         stream {{\n\
         tcp_nodelay on; access_log off;\n\
         server {{ listen {opaque} reuseport backlog=8192; proxy_pass {opaque_upstream}; proxy_buffer_size 64k;\n\
         proxy_half_close on; proxy_timeout 3600s; }}\n\
         }}\n"
    )
}
