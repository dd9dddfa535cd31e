//! `pod`: what runs inside the laboratory's pods, one subcommand per kind of application.
//!
//! [`Lab`](interceptor_tests::Lab) starts `pause`, `guardian` and `socket`; tests and the demo start the others.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use interceptor_tests::app::{crowd, dial, http, load, mixed, streams, traffic};
use interceptor_tests::{guardian, sockets};

/// Small applications for the pods of the laboratory.
#[derive(Debug, Parser)]
#[command(name = "pod")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Hold a network namespace until killed.
    Pause,
    /// Answer HTTP/1.1 with what was seen, as JSON; `/call…` calls another service.
    Http {
        /// The name in the answers.
        #[arg(long)]
        name: String,
        /// Where to listen; `[::]:PORT` takes both families.
        #[arg(long)]
        listen: SocketAddr,
        /// The URL that requests to `/call…` call.
        #[arg(long, value_name = "URL")]
        call: Option<String>,
        /// The address of the URL's host, as DNS would give it.
        #[arg(long, value_name = "ADDRESS", requires = "call")]
        resolve: Option<SocketAddr>,
        /// The headers that such calls copy, separated by commas; an empty one: none.
        #[arg(long, value_name = "HEADERS", value_delimiter = ',', default_value = http::ROUTE_HEADER)]
        forward: Vec<String>,
        /// Use one upstream connection per client connection instead of one per request.
        #[arg(long)]
        keep_alive: bool,
    },
    /// Echo bytes, keeping half-closes.
    Echo {
        /// Where to listen.
        #[arg(long)]
        listen: SocketAddr,
    },
    /// Send a banner first, then echo.
    Greet {
        /// Where to listen.
        #[arg(long)]
        listen: SocketAddr,
        /// What to send first.
        #[arg(long, default_value = "220 greet ready")]
        banner: String,
    },
    /// Swallow bytes and answer with their number and checksum.
    Sink {
        /// Where to listen.
        #[arg(long)]
        listen: SocketAddr,
    },
    /// Send a test pattern to whoever connects.
    Source {
        /// Where to listen.
        #[arg(long)]
        listen: SocketAddr,
        /// How many bytes.
        #[arg(long)]
        bytes: u64,
    },
    /// Send the test pattern to a sink and print its answer.
    Upload {
        /// The sink.
        #[arg(long)]
        to: SocketAddr,
        /// How many bytes.
        #[arg(long)]
        bytes: u64,
    },
    /// Read from a source and print the number of bytes and their checksum.
    Download {
        /// The source.
        #[arg(long)]
        from: SocketAddr,
    },
    /// Copy stdin to a peer and the peer's bytes to stdout.
    RawClient {
        /// The peer.
        #[arg(long)]
        connect: SocketAddr,
    },
    /// Connect with unusual socket options, and print what the application sees, as JSON.
    Connect {
        /// Where to; `[::ffff:a.b.c.d]:port` for IPv4 through an IPv6 socket.
        #[arg(long)]
        to: SocketAddr,
        /// Set `IPV6_V6ONLY`.
        #[arg(long)]
        v6_only: bool,
        /// Bind this source address first.
        #[arg(long)]
        source: Option<IpAddr>,
        /// Bind to this device.
        #[arg(long)]
        device: Option<String>,
        /// What to send before ending the sending side.
        #[arg(long, default_value = "")]
        send: String,
    },
    /// Send GET requests on many connections and print what came of them as JSON.
    Load {
        /// The server.
        #[arg(long)]
        to: SocketAddr,
        /// Connections in all.
        #[arg(long)]
        connections: usize,
        /// Requests on each connection.
        #[arg(long, default_value_t = 1)]
        requests: usize,
        /// Connections at a time.
        #[arg(long, default_value_t = 8)]
        threads: usize,
    },
    /// Call for ever, and print a line of JSON for each failure and every 100 ms.
    Traffic {
        /// The server's HTTP.
        #[arg(long)]
        http: SocketAddr,
        /// Its echo.
        #[arg(long)]
        echo: SocketAddr,
    },
    /// Serve what `traffic` calls.
    TrafficServer {
        /// Where to serve HTTP.
        #[arg(long)]
        http: SocketAddr,
        /// Where to echo.
        #[arg(long)]
        echo: SocketAddr,
    },
    /// Send requests of several spaces at once to a service that calls another, and print where the calls went as JSON.
    Mixed {
        /// The service.
        #[arg(long)]
        to: SocketAddr,
        /// How the service is to call: what the path begins with.
        #[arg(long)]
        way: String,
        /// The spaces, in turn; `-` for a request without one.
        #[arg(long, value_delimiter = ',', allow_hyphen_values = true)]
        spaces: Vec<String>,
        /// Requests in all.
        #[arg(long)]
        requests: usize,
        /// Requests at a time.
        #[arg(long, default_value_t = 8)]
        threads: usize,
        /// Requests on one connection, at most.
        #[arg(long, default_value_t = 1)]
        keep: usize,
    },
    /// Open connections to an echo, print their number, and hold them until killed.
    Hold {
        /// The echo.
        #[arg(long)]
        to: SocketAddr,
        /// How many.
        #[arg(long)]
        count: usize,
    },
    /// Be a crowd of clients, print what became of them as JSON, and hold what goes on until killed.
    Crowd {
        /// The server.
        #[arg(long)]
        to: SocketAddr,
        /// What each connection does.
        #[arg(long)]
        kind: String,
        /// Connections in all.
        #[arg(long)]
        count: usize,
        /// New connections a second.
        #[arg(long, default_value_t = 5000)]
        rate: usize,
    },
    /// Serve what `crowd` and `probe` call.
    CrowdServer {
        /// Where to listen.
        #[arg(long)]
        listen: SocketAddr,
    },
    /// Ask at a steady pace and print how long the answers took as JSON.
    Probe {
        /// The server.
        #[arg(long)]
        to: SocketAddr,
        /// Milliseconds between two requests.
        #[arg(long, default_value_t = 5)]
        every_ms: u64,
        /// Milliseconds in all.
        #[arg(long)]
        for_ms: u64,
    },
    /// Make a socket and pass it over stdin, a unix socket.
    #[command(hide = true)]
    Socket {
        /// `dial`, `listen`, `listen-shared`, `listen-v6-only` or `listen-mptcp`.
        how: String,
        /// Where to.
        address: SocketAddr,
    },
    /// Wait for end of file on stdin, then remove what is left of a laboratory.
    #[command(hide = true)]
    Guardian {
        /// Its cgroup directory.
        #[arg(long)]
        cgroup: PathBuf,
        /// Its temporary directory.
        #[arg(long)]
        temp: PathBuf,
    },
}

fn main() -> Result<()> {
    match Cli::parse().command {
        Command::Pause => loop {
            std::thread::park();
        },
        Command::Http { name, listen, call, resolve, forward, keep_alive } => {
            let call = call.map(|url| http::Upstream::parse(&url, resolve)).transpose()?;
            let forward = forward.into_iter().filter(|name| !name.is_empty()).collect();
            http::run(http::Options { name, listen, call, forward, keep_alive })
        }
        Command::Echo { listen } => streams::echo(listen),
        Command::Greet { listen, banner } => streams::greet(listen, &banner),
        Command::Sink { listen } => streams::sink(listen),
        Command::Source { listen, bytes } => streams::source(listen, bytes),
        Command::Upload { to, bytes } => print(&streams::upload(to, bytes)?),
        Command::Download { from } => print(&format!("{}\n", streams::download(from)?)),
        Command::RawClient { connect } => streams::raw_client(connect),
        Command::Connect { to, v6_only, source, device, send } => {
            let seen = dial::run(&dial::Options { to, v6_only, source, device, send })?;
            print(&format!("{seen}\n"))
        }
        Command::Load { to, connections, requests, threads } => {
            print(&format!("{}\n", load::load(load::Load { to, connections, requests, threads })?))
        }
        Command::Traffic { http, echo } => traffic::run_clients(http, echo),
        Command::TrafficServer { http, echo } => traffic::run_server(http, echo),
        Command::Mixed { to, way, spaces, requests, threads, keep } => {
            print(&format!("{}\n", mixed::run(&mixed::Mixed { to, way, spaces, requests, threads, keep })?))
        }
        Command::Crowd { to, kind, count, rate } => crowd::run(&crowd::Crowd { to, kind, count, rate }),
        Command::CrowdServer { listen } => crowd::serve(listen),
        Command::Probe { to, every_ms, for_ms } => {
            let (every, long) = (Duration::from_millis(every_ms), Duration::from_millis(for_ms));
            print(&format!("{}\n", crowd::probe(to, every, long)?))
        }
        Command::Hold { to, count } => load::hold(to, count),
        Command::Socket { how, address } => sockets::run(&how, address),
        Command::Guardian { cgroup, temp } => guardian::run(&cgroup, &temp),
    }
}

fn print(text: &str) -> Result<()> {
    use std::io::Write as _;
    std::io::stdout().write_all(text.as_bytes()).context("writing to stdout")
}
