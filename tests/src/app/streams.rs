//! `pod echo`, `greet`, `sink`, `source` and `raw-client`: TCP peers that speak no HTTP.
//!
//! They keep half-closed connections working and count what they move, since that is what the interceptor must not
//! change.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::serve;

/// Echoes until the peer ends its side, then ends its own.
pub fn echo(listen: SocketAddr) -> Result<()> {
    serve(listen, |stream, _| echo_one(&stream))
}

/// Speaks first (as MySQL and SMTP do), then echoes.
pub fn greet(listen: SocketAddr, banner: &str) -> Result<()> {
    let banner = format!("{banner}\r\n");
    serve(listen, move |mut stream, _| {
        stream.write_all(banner.as_bytes()).context("greeting")?;
        echo_one(&stream)
    })
}

/// Reads all that a peer sends, then answers with one JSON line: bytes and checksum.
pub fn sink(listen: SocketAddr) -> Result<()> {
    serve(listen, |mut stream, _| {
        let mut total = Total::default();
        io::copy(&mut stream, &mut total).context("reading")?;
        writeln!(stream, "{}", total.to_json()).context("answering with the total")
    })
}

/// Sends `bytes` bytes of the test pattern to each peer, ends its side, and waits for the peer's end.
pub fn source(listen: SocketAddr, bytes: u64) -> Result<()> {
    serve(listen, move |mut stream, _| {
        send_pattern(&mut stream, bytes)?;
        stream.shutdown(Shutdown::Write).context("ending the write side")?;
        io::copy(&mut stream, &mut io::sink()).context("waiting for the peer's end")?;
        Ok(())
    })
}

/// Sends the test pattern (what [`sink`] then counts), ends its side, and returns the peer's answer.
pub fn upload(to: SocketAddr, bytes: u64) -> Result<String> {
    let mut stream = connect(to)?;
    send_pattern(&mut stream, bytes)?;
    stream.shutdown(Shutdown::Write).context("ending the write side")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).context("reading the total")?;
    Ok(answer)
}

/// Reads all that the peer sends (what [`source`] does) and returns bytes and checksum.
pub fn download(from: SocketAddr) -> Result<Value> {
    let mut total = Total::default();
    io::copy(&mut connect(from)?, &mut total).context("reading")?;
    Ok(total.to_json())
}

/// Copies stdin to the peer (its end becomes a half-close) and the peer's bytes to stdout.
pub fn raw_client(to: SocketAddr) -> Result<()> {
    let stream = connect(to)?;
    let mut writer = stream.try_clone().context("duplicating the socket")?;
    let sender = thread::spawn(move || {
        // Ends with an error when the peer is gone first; then reading ends as well and says more.
        io::copy(&mut io::stdin().lock(), &mut writer).ok();
        writer.shutdown(Shutdown::Write).ok();
    });
    let mut stdout = io::stdout().lock();
    let mut buffer = vec![0; BUFFER];
    let mut reader = &stream;
    loop {
        let read = reader.read(&mut buffer).context("reading from the peer")?;
        if read == 0 {
            break;
        }
        stdout.write_all(buffer.get(..read).unwrap_or_default()).context("writing to stdout")?;
        stdout.flush().context("flushing stdout")?;
    }
    // stdin may stay open for ever; its thread ends with the process.
    drop(sender);
    Ok(())
}

/// Bytes and checksum of a stream that was counted.
pub fn pattern_total(bytes: u64) -> Value {
    let mut total = Total::default();
    // Writing to a Total cannot fail.
    send_pattern(&mut total, bytes).ok();
    total.to_json()
}

fn connect(to: SocketAddr) -> Result<TcpStream> {
    TcpStream::connect(to).with_context(|| format!("connecting to {to}"))
}

fn echo_one(stream: &TcpStream) -> Result<()> {
    let mut reader = stream;
    let mut writer = stream;
    io::copy(&mut reader, &mut writer).context("echoing")?;
    stream.shutdown(Shutdown::Write).context("ending the write side")
}

/// A pattern without a period that a buffer size could hide: a byte lost, doubled or moved changes the checksum.
pub fn send_pattern(to: &mut impl Write, bytes: u64) -> Result<()> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut block: Vec<u8> = Vec::with_capacity(BUFFER);
    while block.len() < BUFFER {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        block.extend(state.to_le_bytes());
    }
    // A prime length, so that block and buffer boundaries never line up.
    block.truncate(65_521);
    let mut left = bytes;
    while left > 0 {
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(block.len());
        let part = block.get(..length).unwrap_or_default();
        to.write_all(part).with_context(|| format!("sending with {left} bytes left"))?;
        left -= u64::try_from(length).context("block length")?;
    }
    Ok(())
}

/// Counts bytes and folds them into a checksum that depends on their order.
#[derive(Debug, Default)]
pub struct Total {
    bytes: u64,
    word: u64,
    sum: u64,
}

impl Total {
    /// Both as JSON, as `pod sink` answers.
    pub fn to_json(&self) -> Value {
        json!({ "bytes": self.bytes, "checksum": format!("{:016x}", self.sum ^ self.word) })
    }
}

impl Write for Total {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for byte in bytes {
            // Eight bytes at a time: a debug build must keep up with gigabytes.
            self.word = self.word << 8 | u64::from(*byte);
            self.bytes += 1;
            if self.bytes.is_multiple_of(8) {
                self.sum = (self.sum.rotate_left(5) ^ self.word).wrapping_mul(0x517c_c1b7_2722_0a95);
                self.word = 0;
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

const BUFFER: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_notices_swapped_and_missing_bytes() {
        let total = |parts: &[&[u8]]| {
            let mut total = Total::default();
            for part in parts {
                total.write_all(part).unwrap();
            }
            total.to_json()
        };
        let whole = total(&[b"0123456789abcdef!"]);
        assert_eq!(whole, total(&[b"012", b"3456789ab", b"cdef!"]), "independent of how reads fall");
        assert_ne!(whole, total(&[b"0123456798abcdef!"]));
        assert_ne!(whole, total(&[b"012345679abcdef!"]));
        assert_eq!(pattern_total(100_000)["bytes"], 100_000);
    }
}
