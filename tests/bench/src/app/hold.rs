//! Connections that carried one request each and then stay, as a pool of an application does.

use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use interceptor_tests::http::Connection;

/// Opens them one after the other, prints their number, and holds them until killed.
pub(super) fn run(to: SocketAddr, connections: usize, header: &str) -> Result<()> {
    let mut open = Vec::with_capacity(connections);
    for n in 0..connections {
        open.push(ask(to, header).with_context(|| format!("connection {n}"))?);
    }
    writeln!(io::stdout(), "{connections}").context("writing to stdout")?;
    loop {
        thread::park();
    }
}

fn ask(to: SocketAddr, header: &str) -> Result<TcpStream> {
    let stream = TcpStream::connect(to).with_context(|| format!("connecting to {to}"))?;
    stream.set_read_timeout(Some(Duration::from_secs(20))).context("setting a read timeout")?;
    let mut connection = Connection::new(stream.try_clone().context("duplicating the socket")?);
    let request = format!("GET /100 HTTP/1.1\r\nHost: {to}\r\n{header}\r\n\r\n");
    connection.send(request.as_bytes()).context("sending")?;
    let answer = connection.response("GET")?;
    ensure!(answer.status()? == 200 && !answer.closes(), "the answer was {}", answer.start);
    Ok(stream)
}
