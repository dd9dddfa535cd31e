//! `pod http`: an HTTP/1.1 application that answers with what it saw, and calls another service if asked.
//!
//! It stands for serviceA and serviceB of the worked example: on a path that starts with `/call` it calls its upstream
//! and copies the headers that it was told to forward, nothing else. `/call?wait=MS` takes that long before it does.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::serve;
use crate::http::{Connection, Message};

/// The header that the application propagates, unless it is told otherwise.
pub const ROUTE_HEADER: &str = "azds-route-as";

/// What `pod http` serves.
#[derive(Debug, Clone)]
pub struct Options {
    /// The name in its answers, such as `serviceA.azureuser`.
    pub name: String,
    /// Where it listens.
    pub listen: SocketAddr,
    /// What it calls.
    pub call: Option<Upstream>,
    /// The headers that it copies to its upstream.
    pub forward: Vec<String>,
    /// Keep one upstream connection for all requests of a connection, instead of one per request.
    pub keep_alive: bool,
}

/// What a request to `/call…` calls.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// The Host header: the service's name, as an application would have it.
    pub host: String,
    /// The service's ClusterIP, which DNS would have given for the name.
    pub address: SocketAddr,
    /// The path.
    pub path: String,
}

impl Upstream {
    /// Reads `http://HOST[:PORT]/PATH`; `resolve` is the address of HOST where it is a name.
    pub fn parse(url: &str, resolve: Option<SocketAddr>) -> Result<Upstream> {
        let rest = url.strip_prefix("http://").with_context(|| format!("{url} is not an http:// URL"))?;
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let literal = || host.parse().or_else(|_| format!("{host}:80").parse());
        let address = match resolve {
            Some(address) => address,
            None => literal().with_context(|| format!("{host} is a name: say its address with --resolve"))?,
        };
        Ok(Upstream { host: host.to_owned(), address, path: format!("/{path}") })
    }
}

/// Serves until it is killed.
pub fn run(options: Options) -> Result<()> {
    let listen = options.listen;
    let options = Arc::new(options);
    serve(listen, move |stream, peer| connection(stream, peer, &options))
}

fn connection(stream: TcpStream, peer: SocketAddr, options: &Options) -> Result<()> {
    let local = stream.local_addr().context("reading the local address")?;
    // What the kernel says the peer is must agree with what accept() said; both are the application's view.
    let peer_name = stream.peer_addr().context("reading the peer's address")?;
    let mut client = Connection::new(stream);
    let mut kept = None;
    while let Some(request) = client.request()? {
        let mut answer = json!({
            "name": options.name,
            "method": request.method(),
            "path": request.target(),
            "start": request.start,
            "headers": request.headers,
            "body_bytes": request.body.len(),
            "peer": unmapped(peer),
            "peer_name": unmapped(peer_name),
            "local": unmapped(local),
        });
        if let Some(upstream) = options.call.as_ref().filter(|_| request.target().starts_with("/call")) {
            let wait = request.target().split_once("?wait=").and_then(|(_, ms)| ms.parse().ok());
            std::thread::sleep(Duration::from_millis(wait.unwrap_or(0)));
            let called = call(upstream, &request, &options.forward, &mut kept);
            if !options.keep_alive || called.is_err() {
                kept = None;
            }
            answer["upstream"] = called.unwrap_or_else(|error| json!({ "error": format!("{error:#}") }));
        }
        client.send(&response(&request, &answer)).context("answering")?;
        if request.closes() {
            break;
        }
    }
    Ok(())
}

fn response(request: &Message, answer: &Value) -> Vec<u8> {
    let body = format!("{answer}\n");
    let connection = if request.closes() { "close" } else { "keep-alive" };
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: {connection}\r\n\r\n",
        body.len()
    );
    if request.method() == "HEAD" { head.into_bytes() } else { (head + &body).into_bytes() }
}

/// Calls the upstream with those headers of `request`, and returns the JSON that it answered.
fn call(
    upstream: &Upstream,
    request: &Message,
    forward: &[String],
    kept: &mut Option<Connection<TcpStream>>,
) -> Result<Value> {
    let connection = match kept {
        Some(connection) => connection,
        None => {
            let stream = TcpStream::connect_timeout(&upstream.address, LIMIT)
                .with_context(|| format!("connecting to {}", upstream.address))?;
            stream.set_read_timeout(Some(LIMIT)).context("setting a read timeout")?;
            kept.insert(Connection::new(stream))
        }
    };
    let mut head = format!("GET {} HTTP/1.1\r\nHost: {}\r\n", upstream.path, upstream.host);
    for name in forward {
        for value in request.all(name) {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    head.push_str("\r\n");
    connection.send(head.as_bytes()).with_context(|| format!("calling {}", upstream.host))?;
    let response = connection.response("GET").with_context(|| format!("the answer of {}", upstream.host))?;
    if response.status()? != 200 {
        bail!("{} answered {}: {}", upstream.host, response.start, String::from_utf8_lossy(&response.body).trim());
    }
    serde_json::from_slice(&response.body).with_context(|| format!("the answer of {} is not JSON", upstream.host))
}

/// A dual-stack listener sees IPv4 peers as `::ffff:a.b.c.d`.
fn unmapped(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

const LIMIT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_is_a_literal_address_or_a_resolved_name() {
        let literal = Upstream::parse("http://10.96.0.12/x", None).unwrap();
        assert_eq!((literal.address, literal.path.as_str()), ("10.96.0.12:80".parse().unwrap(), "/x"));
        let v6 = Upstream::parse("http://[fd00:96::1]:8080", None).unwrap();
        assert_eq!(v6.address, "[fd00:96::1]:8080".parse().unwrap());
        let name = Upstream::parse("http://serviceB/", Some("10.96.0.12:80".parse().unwrap())).unwrap();
        assert_eq!((name.host.as_str(), name.path.as_str()), ("serviceB", "/"));
        assert!(Upstream::parse("http://serviceB/", None).is_err());
    }
}
