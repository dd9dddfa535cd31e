//! What of the benchmark runs inside pods: the opaque server and clients, and holders of idle connections.
//!
//! The program starts itself there (`interceptor-bench app …`), so that their sockets belong to the pod. Blocking, a
//! thread per connection: the fewest system calls that a message can take, so that the direct connection is as fast as it
//! can be and nothing is hidden behind the client. Results are one line of JSON on stdout.

mod dial;
mod fresh;
mod hold;
mod latencies;
mod ping;
mod serve;
mod stream;

use std::env;
use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::{Parser, Subcommand};
use interceptor_tests::Process;
use interceptor_tests::place::Place;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub(crate) use self::dial::Dialled;
pub(crate) use self::fresh::Fresh;
pub(crate) use self::ping::Pinged;
pub(crate) use self::stream::Streamed;

/// The first word of the command line that asks for all this.
pub(crate) const WORD: &str = "app";

#[derive(Debug, Parser)]
#[command(name = "interceptor-bench app")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The opaque server.
    Serve { listen: SocketAddr },
    /// Send a small message on each connection and wait for its echo, over and over.
    Ping { to: SocketAddr, connections: usize, millis: u64 },
    /// Send as much as possible.
    Upload { to: SocketAddr, millis: u64 },
    /// Receive as much as possible.
    Download { to: SocketAddr, millis: u64 },
    /// Connect and close, over and over, and tell how long connect() took.
    Dial { to: SocketAddr, count: usize },
    /// Send each HTTP request on a connection of its own.
    Fresh { to: SocketAddr, callers: usize, millis: u64, header: String },
    /// Open connections, send one HTTP request on each, and hold them until killed.
    Hold { to: SocketAddr, connections: usize, header: String },
}

/// Runs what the words after [`WORD`] say.
pub(crate) fn run() -> Result<()> {
    let millis = Duration::from_millis;
    match Cli::parse_from(env::args_os().skip(1)).command {
        Command::Serve { listen } => serve::run(listen),
        Command::Ping { to, connections, millis: m } => print(&ping::run(to, connections, millis(m))?),
        Command::Upload { to, millis: m } => print(&stream::upload(to, millis(m))?),
        Command::Download { to, millis: m } => print(&stream::download(to, millis(m))?),
        Command::Dial { to, count } => print(&dial::run(to, count)?),
        Command::Fresh { to, callers, millis: m, header } => print(&fresh::run(to, callers, millis(m), &header)?),
        Command::Hold { to, connections, header } => hold::run(to, connections, &header),
    }
}

/// Runs one of them in a place to its end; its result.
pub(crate) fn output<T: DeserializeOwned>(place: &Place, words: &[&str]) -> Result<T> {
    let shown = || format!("{} in {}", words.join(" "), place.name());
    let output = place.output(itself()?, [&[WORD], words].concat())?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {}: {}", shown(), output.status, stderr.trim());
    serde_json::from_slice(&output.stdout).with_context(|| format!("reading the result of {}", shown()))
}

/// Starts one of them in a place.
pub(crate) fn spawn(place: &Place, words: &[&str]) -> Result<Process> {
    place.spawn(itself()?, [&[WORD], words].concat())
}

fn itself() -> Result<std::path::PathBuf> {
    env::current_exe().context("finding the path of the running executable")
}

fn print(result: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string(result).context("writing JSON")?;
    writeln!(std::io::stdout(), "{text}").context("writing to stdout")
}
