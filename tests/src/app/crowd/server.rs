//! The server that a crowd calls: HTTP/1 with a short answer or one without end, HTTP/2 that greets and then says nothing,
//! and a stream without end.

use std::io;
use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What a request is answered with.
pub(super) const ANSWER: &[u8; 43] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

/// SETTINGS without any.
pub(super) const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];

/// Serves until it is killed.
pub fn run(listen: SocketAddr) -> Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).context("reading the limit of open files")?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).context("raising the limit of open files")?;
    super::on_one_thread(async {
        let listener = TcpListener::bind(listen).await.with_context(|| format!("listening on {listen}"))?;
        loop {
            let (stream, _) = listener.accept().await.context("accepting")?;
            // A client that has gone is no failure of the server's.
            tokio::task::spawn_local(async move { one(stream).await.ok() });
        }
    })
}

async fn one(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut head = Vec::new();
    loop {
        let mut bytes = [0; 2048];
        let count = stream.read(&mut bytes).await?;
        if count == 0 {
            return Ok(());
        }
        head.extend_from_slice(&bytes[..count]);
        if head.starts_with(b"PRI * HTTP/2.0") {
            stream.write_all(&SETTINGS).await?;
            return swallow(stream).await;
        }
        if head.starts_with(b"\x16endless\n") {
            return endless(stream).await;
        }
        if head.starts_with(b"POST ") {
            return swallow(stream).await;
        }
        if head.starts_with(b"GET /endless ") && head.ends_with(b"\r\n\r\n") {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n").await?;
            return endless(stream).await;
        }
        if head.ends_with(b"\r\n\r\n") {
            stream.write_all(ANSWER).await?;
            head.clear();
        }
    }
}

async fn endless(mut stream: TcpStream) -> io::Result<()> {
    let block = vec![b'x'; 16 * 1024];
    loop {
        stream.write_all(&block).await?;
    }
}

async fn swallow(mut stream: TcpStream) -> io::Result<()> {
    let mut bytes = vec![0; 16 * 1024];
    while stream.read(&mut bytes).await? > 0 {}
    Ok(())
}
