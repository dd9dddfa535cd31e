//! The opaque server. The first byte of a connection says what it is for; none of them can begin an HTTP request.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use anyhow::{Context as _, Result, bail};

/// Echo messages of [`MESSAGE`] bytes.
pub(super) const ECHO: u8 = 0x81;
/// Swallow all that comes, then tell how much it was.
pub(super) const SWALLOW: u8 = 0x82;
/// Send for as long as somebody reads.
pub(super) const SEND: u8 = 0x83;
/// The size of a message of ping-pong.
pub(super) const MESSAGE: usize = 64;
/// What is read or written at a time.
pub(super) const BLOCK: usize = 256 << 10;

/// Serves until killed.
pub(super) fn run(listen: SocketAddr) -> Result<()> {
    let listener = TcpListener::bind(listen).with_context(|| format!("listening on {listen}"))?;
    loop {
        let (stream, peer) = listener.accept().context("accepting")?;
        let served = thread::Builder::new().stack_size(64 << 10).spawn(move || {
            if let Err(error) = serve(stream).with_context(|| format!("serving {peer}")) {
                writeln!(io::stderr(), "{error:#}").ok();
            }
        });
        served.context("starting a thread")?;
    }
}

fn serve(mut stream: TcpStream) -> Result<()> {
    stream.set_nodelay(true).context("setting TCP_NODELAY")?;
    let mut first = [0];
    if stream.read(&mut first).context("reading the first byte")? == 0 {
        return Ok(());
    }
    match first {
        [ECHO] => echo(&mut stream),
        [SWALLOW] => swallow(&mut stream),
        [SEND] => send(&mut stream),
        [other] => bail!("nothing begins with the byte {other:#04x}"),
    }
}

fn echo(stream: &mut TcpStream) -> Result<()> {
    let mut message = [0; MESSAGE];
    loop {
        match stream.read_exact(&mut message) {
            Ok(()) => stream.write_all(&message).context("echoing")?,
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error).context("reading a message"),
        }
    }
}

fn swallow(stream: &mut TcpStream) -> Result<()> {
    let mut block = vec![0; BLOCK];
    let mut total = 0_u64;
    loop {
        let read = stream.read(&mut block).context("reading")?;
        if read == 0 {
            break;
        }
        total += read as u64;
    }
    stream.write_all(&total.to_be_bytes()).context("telling the number of bytes")
}

fn send(stream: &mut TcpStream) -> Result<()> {
    let block = vec![b'x'; BLOCK];
    loop {
        match stream.write_all(&block) {
            Ok(()) => {}
            // The reader has had enough.
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => return Ok(()),
            Err(error) => return Err(error).context("sending"),
        }
    }
}
