//! Real servers, each with a configuration made for the tests. They stay in the foreground, write only below the
//! laboratory's temporary directory, and answer with `X-Space` and `X-Route`.

use std::fs;
use std::path::Path;

use interceptor_tests::{Pod, Process};
use serde_json::json;

use super::site::{BACKEND, Site};
use super::tools::{packages, program, python};
use crate::stage::vip;

/// nginx with the site's files, and uploads below `/upload/`.
pub(crate) fn nginx(site: &Site, pod: &Pod, space: &str) -> Process {
    nginx_with(site, pod, space, "")
}

/// nginx with further locations.
pub(crate) fn nginx_with(site: &Site, pod: &Pod, space: &str, locations: &str) -> Process {
    let dir = site.directory(pod);
    let (own, files, above) = (dir.display(), site.files(), site.scene.lab.temp().display());
    let files = files.display();
    // Names of temporary files on the file system of the uploads: nginx then renames instead of copying.
    let text = format!(
        "daemon off; user root; worker_processes 1; pid {own}/pid; error_log stderr warn;\n\
         events {{ worker_connections 256; }}\n\
         http {{\n\
         access_log off; types {{ text/plain txt; application/octet-stream bin; }}\n\
         client_body_temp_path {own}/body; proxy_temp_path {own}/proxy; fastcgi_temp_path {own}/fastcgi;\n\
         uwsgi_temp_path {own}/uwsgi; scgi_temp_path {own}/scgi;\n\
         sendfile on; absolute_redirect off; gzip on; gzip_types text/plain; gzip_min_length 1;\n\
         map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}\n\
         server {{\n\
         listen 8080; listen [::]:8080; root {files};\n\
         add_header X-Space {space} always; add_header X-Route $http_azds_route_as always;\n\
         location /upload/ {{ root {above}; dav_methods PUT; client_max_body_size 2g; }}\n\
         location /small/ {{ root {above}; dav_methods PUT; client_max_body_size 1k; }}\n\
         location = /old {{ return 302 /page.txt; }}\n\
         {locations}}}\n\
         }}\n"
    );
    let file = written(&dir, "nginx.conf", &text);
    pod.spawn("nginx", ["-c", &file, "-e", "stderr"]).unwrap()
}

/// A location of nginx that passes everything below it on to the backend, also a change of protocol, without delay.
pub(crate) fn proxy_location(path: &str, via: &str) -> String {
    let backend = vip(BACKEND);
    // A header of its own keeps those of the level above away: X-Space must be the backend's.
    format!(
        "location {path} {{\n\
         proxy_pass http://{backend}/; proxy_http_version 1.1; proxy_buffering off; proxy_request_buffering off;\n\
         proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade;\n\
         client_max_body_size 2g; add_header X-Via {via} always;\n\
         }}\n"
    )
}

/// nginx as a server of HTTP/2 without TLS, with the site's files.
pub(crate) fn nginx_http2(site: &Site, pod: &Pod, space: &str) -> Process {
    let dir = site.directory(pod);
    let (own, files, above) = (dir.display(), site.files(), site.scene.lab.temp().display());
    let files = files.display();
    let text = format!(
        "daemon off; user root; worker_processes 1; pid {own}/pid; error_log stderr warn;\n\
         events {{ worker_connections 256; }}\n\
         http {{\n\
         access_log off; client_body_temp_path {own}/body; proxy_temp_path {own}/proxy; fastcgi_temp_path {own}/fastcgi;\n\
         uwsgi_temp_path {own}/uwsgi; scgi_temp_path {own}/scgi;\n\
         server {{\n\
         listen 8080 http2; listen [::]:8080 http2; root {files};\n\
         add_header X-Space {space} always; add_header X-Route $http_azds_route_as always;\n\
         location /upload/ {{ root {above}; dav_methods PUT; client_max_body_size 2g; }}\n\
         }}\n\
         }}\n"
    );
    let file = written(&dir, "nginx.conf", &text);
    pod.spawn("nginx", ["-c", &file, "-e", "stderr"]).unwrap()
}

/// Envoy as a server of HTTP/2 without TLS that answers by itself.
pub(crate) fn envoy_http2(site: &Site, pod: &Pod, space: &str) -> Process {
    let dir = site.directory(pod);
    let header = |key: &str, value: &str| json!({ "header": { "key": key, "value": value } });
    let headers = [header("x-space", space), header("x-route", "%REQ(azds-route-as)%")];
    let body = "x".repeat(4000);
    let route = json!({
        "match": { "prefix": "/" },
        "direct_response": { "status": 200, "body": { "inline_string": body } },
        "response_headers_to_add": headers,
    });
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "http",
        "codec_type": "HTTP2",
        "http_filters": [{
            "name": "envoy.filters.http.router",
            "typed_config": { "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" },
        }],
        "route_config": { "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": [route] }] },
    });
    let listener = json!({
        "address": { "socket_address": { "address": "::", "ipv4_compat": true, "port_value": 8080 } },
        "filter_chains": [{ "filters": [{
            "name": "envoy.filters.network.http_connection_manager", "typed_config": manager,
        }] }],
    });
    let text = json!({ "static_resources": { "listeners": [listener] } }).to_string();
    let file = written(&dir, "envoy.yaml", &text);
    let program = packages("bench").join("envoy/_bin/envoy");
    let args = ["-c", &file, "--concurrency", "1", "--disable-hot-restart", "-l", "error"];
    pod.spawn(&program, args).unwrap()
}

/// HAProxy before the backend. Its `X-Space` is its own; `X-Backend` is the space of whoever answered it.
pub(crate) fn haproxy(site: &Site, pod: &Pod, space: &str) -> Process {
    let dir = site.directory(pod);
    let backend = vip(BACKEND);
    let text = format!(
        "global\n\
         \tmaxconn 200\n\
         defaults\n\
         \tmode http\n\
         \ttimeout connect 10s\n\
         \ttimeout client 30s\n\
         \ttimeout server 30s\n\
         frontend web\n\
         \tbind :::8080 v4v6\n\
         \thttp-request set-var(txn.route) req.hdr(azds-route-as)\n\
         \thttp-request return status 200 content-type text/plain string \"haproxy {space}\" if {{ path /static }}\n\
         \thttp-response set-header X-Backend %[res.hdr(x-space)]\n\
         \thttp-after-response set-header X-Space {space}\n\
         \thttp-after-response set-header X-Route %[var(txn.route)]\n\
         \tdefault_backend web\n\
         backend web\n\
         \tserver web {backend}\n"
    );
    let file = written(&dir, "haproxy.cfg", &text);
    pod.spawn("haproxy", ["-db", "-f", &file]).unwrap()
}

/// Apache httpd with the site's files.
pub(crate) fn apache(site: &Site, pod: &Pod, space: &str) -> Process {
    let dir = site.directory(pod);
    let (own, files) = (dir.display(), site.files());
    let files = files.display();
    let modules = ["mpm_event", "authz_core", "headers"];
    let modules: String = modules
        .iter()
        .map(|name| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"))
        .collect();
    let text = format!(
        "ServerRoot {own}\nServerName apache\nListen 8080\nUser nobody\nGroup nogroup\n\
         DefaultRuntimeDir {own}\nPidFile {own}/pid\nErrorLog {own}/error.log\n\
         {modules}\
         KeepAlive On\nDocumentRoot {files}\n<Directory {files}>\nRequire all granted\n</Directory>\n\
         Header always set X-Space {space}\nHeader always set X-Route expr=%{{req:azds-route-as}}\n"
    );
    let file = written(&dir, "apache.conf", &text);
    pod.spawn("apache2", ["-f", &file, "-DFOREGROUND"]).unwrap()
}

/// gunicorn with app.py.
pub(crate) fn gunicorn(site: &Site, pod: &Pod, space: &str) -> Process {
    let variables = [format!("SPACE={space}"), format!("FILES={}", site.files().display())];
    let gunicorn = ["-m", "gunicorn", "--bind", "[::]:8080", "--worker-class", "gthread", "--threads", "8"];
    // Its own default is 2 seconds, which a busy machine may take between two requests.
    let more = ["--keep-alive", "60", "--no-control-socket", "--chdir", &program(""), "app:app"].map(str::to_owned);
    let command = [&python(&variables)[..], &gunicorn.map(str::to_owned), &more].concat();
    pod.spawn(&command[0], &command[1..]).unwrap()
}

/// Node's HTTP server with server.js.
pub(crate) fn node(site: &Site, pod: &Pod, space: &str) -> Process {
    pod.spawn("node", [&program("server.js"), space, &site.files().display().to_string()]).unwrap()
}

/// The server of the websockets package.
pub(crate) fn websockets(_: &Site, pod: &Pod, space: &str) -> Process {
    let command = [python(&[]), vec![program("websocket.py"), "serve".to_owned(), space.to_owned()]].concat();
    pod.spawn(&command[0], &command[1..]).unwrap()
}

fn written(dir: &Path, name: &str, text: &str) -> String {
    let path = dir.join(name);
    fs::write(&path, text).unwrap();
    path.display().to_string()
}
