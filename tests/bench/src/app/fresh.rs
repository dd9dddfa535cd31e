//! A new connection for every request: connect, ask, read the answer, close. One thread per caller.
//!
//! The client closes, without having said so before, as programs do that know nothing of keep-alive.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

use super::latencies::{Latencies, Nanos};

/// Nothing takes this long unless it hangs.
const LIMIT: Duration = Duration::from_secs(20);

/// What was measured.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Fresh {
    pub(crate) requests: u64,
    /// Requests per second, all callers together.
    pub(crate) rate: f64,
    /// Microseconds from connect() to the end of the answer.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

/// Calls with that many callers at a time for that long.
pub(super) fn run(to: SocketAddr, callers: usize, time: Duration, header: &str) -> Result<Fresh> {
    let request = format!("GET /100 HTTP/1.1\r\nHost: {to}\r\n{header}\r\n\r\n");
    let begin = Instant::now();
    let latencies = thread::scope(|scope| {
        Latencies::of((0..callers).map(|_| scope.spawn(|| call(to, &request, begin + time))).collect())
    })?;
    let (requests, rate) = (latencies.count(), latencies.rate(begin.elapsed()));
    Ok(Fresh { requests, rate, p50: latencies.micros(0.5), p99: latencies.micros(0.99) })
}

fn call(to: SocketAddr, request: &str, end: Instant) -> Nanos {
    let mut nanos = Vec::with_capacity(1 << 12);
    let mut answer = [0; 4096];
    while Instant::now() < end {
        let begin = Instant::now();
        let mut stream = TcpStream::connect(to).with_context(|| format!("connecting to {to}"))?;
        stream.set_read_timeout(Some(LIMIT)).context("setting a read timeout")?;
        stream.write_all(request.as_bytes()).context("sending a request")?;
        let mut len = 0;
        while !is_whole(answer.get(..len).unwrap_or_default()) {
            let room = answer.get_mut(len..).filter(|room| !room.is_empty()).context("the answer is too long")?;
            let count = stream.read(room).context("reading an answer")?;
            ensure!(count > 0, "the connection ended within an answer");
            len += count;
        }
        ensure!(answer.starts_with(b"HTTP/1.1 200 "), "the answer was no 200");
        nanos.push(u32::try_from(begin.elapsed().as_nanos()).unwrap_or(u32::MAX));
    }
    Ok(nanos)
}

/// Whether the head and the 100 bytes after it are there.
fn is_whole(answer: &[u8]) -> bool {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
    end.is_some_and(|end| answer.len() >= end + 4 + 100)
}

#[cfg(test)]
mod tests {
    use super::is_whole;

    #[test]
    fn an_answer_is_whole_with_its_last_byte() {
        let mut answer = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
        answer.extend([b'x'; 99]);
        assert!(!is_whole(&answer) && !is_whole(b"HTTP/1.1 200 OK\r\n"));
        answer.push(b'x');
        assert!(is_whole(&answer));
    }
}
