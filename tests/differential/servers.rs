//! Real nginx and HAProxy between a client and a backend that notes what it sees. All on Unix sockets of one directory:
//! no port is taken.

use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use interceptor_tests::http::Connection;

/// A request as the backend saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) tag: String,
    pub(crate) body: Vec<u8>,
}

/// The two servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Server {
    Nginx,
    Haproxy,
}

/// A running server with its backend.
pub(crate) struct Chain {
    directory: PathBuf,
    child: Child,
    front: PathBuf,
    seen: Arc<Mutex<Vec<Seen>>>,
}

/// For a server to start, and for the whole of an exchange.
const LIMIT: Duration = Duration::from_secs(10);

impl Chain {
    pub(crate) fn start(server: Server, name: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("differential-{}-{name}-{server:?}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let (front, back) = (directory.join("front"), directory.join("back"));
        let seen = backend(&back);
        let file = directory.join("configuration");
        let child = match server {
            Server::Nginx => {
                fs::write(&file, nginx(&directory)).unwrap();
                run(Command::new("nginx").arg("-c").arg(&file).arg("-e").arg(directory.join("log")), &directory)
            }
            Server::Haproxy => {
                fs::write(&file, haproxy(&directory)).unwrap();
                run(Command::new("haproxy").arg("-db").arg("-f").arg(&file), &directory)
            }
        };
        let mut chain = Self { directory, child, front, seen };
        let begin = Instant::now();
        while UnixStream::connect(&chain.front).is_err() {
            let ended = chain.child.try_wait().unwrap();
            let said = || fs::read_to_string(chain.directory.join("out")).unwrap_or_default();
            assert!(ended.is_none() && begin.elapsed() < LIMIT, "{server:?} does not start: {}", said());
            thread::sleep(Duration::from_millis(20));
        }
        chain
    }

    /// Sends these bytes over a connection of their own; what the backend saw, and what the client got.
    pub(crate) fn send(&self, bytes: &[u8], patience: Duration) -> (Vec<Seen>, Vec<u8>) {
        self.seen.lock().unwrap().clear();
        let mut stream = UnixStream::connect(&self.front).unwrap();
        stream.set_read_timeout(Some(patience)).unwrap();
        // A server that refuses may close before it has read everything.
        let mut got = Vec::new();
        if stream.write_all(bytes).is_ok() {
            let mut part = [0; 4096];
            while let Ok(count @ 1..) = stream.read(&mut part) {
                got.extend_from_slice(&part[..count]);
            }
        }
        stream.shutdown(Shutdown::Both).ok();
        (self.seen.lock().unwrap().clone(), got)
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        fs::remove_dir_all(&self.directory).ok();
    }
}

fn run(command: &mut Command, directory: &Path) -> Child {
    let out = fs::File::create(directory.join("out")).unwrap();
    let child = command.stdin(Stdio::null()).stdout(out.try_clone().unwrap()).stderr(out).spawn();
    assert!(child.is_ok(), "{:?} (cargo xtask setup installs it): {child:?}", command.get_program());
    child.unwrap()
}

/// Notes every request and answers it. It may believe its peer, which has parsed the request already.
fn backend(path: &Path) -> Arc<Mutex<Vec<Seen>>> {
    let listener = UnixListener::bind(path).unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&seen);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let notes = Arc::clone(&notes);
            thread::spawn(move || {
                let mut connection = Connection::new(stream);
                while let Ok(Some(request)) = connection.request() {
                    let tag = request.first("x-tag").unwrap_or_default().to_owned();
                    let method = request.method().to_owned();
                    notes.lock().unwrap().push(Seen { method, tag, body: request.body.clone() });
                    if connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").is_err() || request.closes() {
                        break;
                    }
                }
            });
        }
    });
    seen
}

fn nginx(directory: &Path) -> String {
    let dir = directory.display();
    // Only root may name a user.
    let user = if nix::unistd::geteuid().is_root() { "user root;" } else { "" };
    format!(
        "daemon off; master_process off; {user}\n\
         pid {dir}/pid;\n\
         events {{ worker_connections 64; }}\n\
         http {{\n\
         access_log off;\n\
         client_body_temp_path {dir}/body;\n\
         proxy_temp_path {dir}/proxy;\n\
         fastcgi_temp_path {dir}/fastcgi;\n\
         uwsgi_temp_path {dir}/uwsgi;\n\
         scgi_temp_path {dir}/scgi;\n\
         lingering_timeout 1s;\n\
         server {{\n\
         listen unix:{dir}/front;\n\
         location / {{ proxy_pass http://unix:{dir}/back; proxy_http_version 1.1; }}\n\
         }} }}\n"
    )
}

fn haproxy(directory: &Path) -> String {
    let dir = directory.display();
    format!(
        "global\n  nbthread 1\n  maxconn 64\n\
         defaults\n  mode http\n  timeout connect 5s\n  timeout client 5s\n  timeout server 5s\n\
         frontend front\n  bind unix@{dir}/front\n  default_backend back\n\
         backend back\n  server one unix@{dir}/back\n"
    )
}
