//! The copy's ports that are not HTTP: all bytes come back, to the end of each direction.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};

use anyhow::Result;

/// Says who it is before the client says anything.
pub(super) fn greet(mut stream: TcpStream, name: &str) -> Result<()> {
    stream.write_all(format!("{name}\n").as_bytes())?;
    echo(stream)
}

/// Says who it is once the client has said its first line.
pub(super) fn answer(mut stream: TcpStream, name: &str) -> Result<()> {
    let mut byte = [0];
    while byte != *b"\n" {
        stream.read_exact(&mut byte)?;
    }
    stream.write_all(format!("{name}\n").as_bytes())?;
    echo(stream)
}

fn echo(mut stream: TcpStream) -> Result<()> {
    let mut bytes = vec![0; 64 * 1024];
    loop {
        match stream.read(&mut bytes)? {
            0 => break,
            count => stream.write_all(bytes.get(..count).unwrap_or_default())?,
        }
    }
    Ok(stream.shutdown(Shutdown::Write)?)
}
