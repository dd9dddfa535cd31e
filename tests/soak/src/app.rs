//! What of the soak runs inside pods: the copies of the service and the clients (`interceptor-soak app …`).
//!
//! The program starts itself there, so that the sockets are the pod's. Servers print the id of every request that is not
//! idempotent as they execute it, clients a line of JSON for everything that they did.

mod copy;
mod front;
mod http2;
mod query;
mod streams;

use std::env;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};

pub(crate) use self::query::Query;
use crate::client;

/// The first word of the command line that asks for all this.
pub(crate) const WORD: &str = "app";

/// The ports of a copy.
pub(crate) const HTTP: u16 = 8080;
pub(crate) const HTTP2: u16 = 8081;
pub(crate) const TCP: u16 = 8082;
pub(crate) const RAW: u16 = 8083;

#[derive(Debug, Parser)]
#[command(name = "interceptor-soak app")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// A copy of the service.
    Copy { name: String },
    /// An application that calls the service at one of these addresses and passes on a trace id only.
    Front { name: String, call: Vec<SocketAddr> },
    /// Clients.
    Client { plan: String },
}

/// Runs what the words after [`WORD`] say.
pub(crate) fn run() -> Result<()> {
    match Cli::parse_from(env::args_os().skip(1)).command {
        Command::Copy { name } => {
            let first = name.clone();
            thread::spawn(move || http2::serve(HTTP2, &first));
            let first = name.clone();
            thread::spawn(move || serve(TCP, move |stream| streams::greet(stream, &first)));
            let first = name.clone();
            thread::spawn(move || serve(RAW, move |stream| streams::answer(stream, &first)));
            serve(HTTP, move |stream| copy::answer(stream, &name))
        }
        Command::Front { name, call } => serve(HTTP, move |stream| front::answer(stream, &name, &call)),
        Command::Client { plan } => {
            let plan = serde_json::from_str(&plan).with_context(|| format!("reading the plan {plan}"))?;
            client::run(plan)
        }
    }
}

/// Accepts for ever, a thread per connection. Connections end as they like: what matters is told by clients.
fn serve<F>(port: u16, answer: F) -> Result<()>
where
    F: Fn(TcpStream) -> Result<()> + Send + Sync + Clone + 'static,
{
    let listener = TcpListener::bind(("::", port)).with_context(|| format!("listening on port {port}"))?;
    loop {
        let (stream, _) = listener.accept().context("accepting")?;
        stream.set_nodelay(true).context("setting TCP_NODELAY")?;
        let answer = answer.clone();
        thread::spawn(move || answer(stream).ok());
    }
}
