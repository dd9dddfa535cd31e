//! `pod load` and `pod hold`: many connections from one program of a pod.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use serde_json::{Value, json};

use crate::http::Connection;

/// What takes longer counts as failed.
const LIMIT: Duration = Duration::from_secs(10);

/// What `pod load` sends.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Where to.
    pub to: SocketAddr,
    /// Connections in all.
    pub connections: usize,
    /// Requests on each.
    pub requests: usize,
    /// Connections at a time.
    pub threads: usize,
}

/// Sends GET requests on many connections and counts the answers; an answer other than 200 is an error.
pub fn load(load: Load) -> Result<Value> {
    let one = |thread: usize| {
        let (mut answers, mut errors) = (0, Vec::new());
        for _ in (thread..load.connections).step_by(load.threads) {
            match requests(load) {
                Ok(()) => answers += load.requests,
                Err(error) => errors.push(format!("{error:#}")),
            }
        }
        (answers, errors)
    };
    let results: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..load.threads).map(|thread| scope.spawn(move || one(thread))).collect();
        threads.into_iter().map(|thread| thread.join().map_err(|_| anyhow!("a thread panicked"))).collect::<Result<_>>()
    })?;
    let answers: usize = results.iter().map(|(answers, _)| answers).sum();
    let errors: Vec<&String> = results.iter().flat_map(|(_, errors)| errors).collect();
    Ok(json!({ "answers": answers, "failed": errors.len(), "errors": errors.iter().take(5).collect::<Vec<_>>() }))
}

fn requests(load: Load) -> Result<()> {
    let stream = connect(load.to)?;
    let mut connection = Connection::new(stream);
    for _ in 0..load.requests {
        connection.send(b"GET /load HTTP/1.1\r\nHost: load\r\n\r\n").context("sending")?;
        let answer = connection.response("GET")?;
        if answer.status()? != 200 {
            bail!("{}: {}", answer.start, String::from_utf8_lossy(&answer.body));
        }
    }
    Ok(())
}

/// Opens connections to an echo, proves each with one byte, says how many there are, and holds them until killed.
pub fn hold(to: SocketAddr, count: usize) -> Result<()> {
    let mut open = Vec::with_capacity(count);
    for n in 0..count {
        let mut stream = connect(to).with_context(|| format!("connection {n}"))?;
        stream.write_all(b"x").with_context(|| format!("sending on connection {n}"))?;
        stream.read_exact(&mut [0]).with_context(|| format!("the echo on connection {n}"))?;
        open.push(stream);
    }
    writeln!(io::stdout(), "{count}").context("writing to stdout")?;
    loop {
        thread::park();
    }
}

fn connect(to: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&to, LIMIT).with_context(|| format!("connecting to {to}"))?;
    stream.set_read_timeout(Some(LIMIT)).context("setting a read timeout")?;
    Ok(stream)
}
