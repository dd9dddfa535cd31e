//! `pod traffic`: clients that never stop, and the server that they call; every request that fails is told with its cause.
//!
//! For tests of what the agent's own end, upgrade or hang costs. Clients behave as common ones do: they keep a connection
//! as long as its server lets them, and believe `Connection: close`. They check every byte and never try again.

mod http2;

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Result;
use serde_json::json;

use super::serve;

/// After which a request counts as one that hangs for ever.
const PATIENCE: Duration = Duration::from_secs(15);
/// Pieces of a slow response, and the pause after each: it takes a second.
const PIECES: usize = 20;
const PAUSE: Duration = Duration::from_millis(50);
/// How long a rotating stream is kept.
const ROTATION: Duration = Duration::from_millis(1500);

/// Serves HTTP on one port and echoes on the other, until it is killed.
pub fn run_server(http: SocketAddr, echo: SocketAddr) -> Result<()> {
    thread::spawn(move || serve(echo, |mut stream, _| echo_all(&mut stream).or(Ok(()))));
    // A client that is killed is no failure of the server's.
    serve(http, |mut stream, _| answer(&mut stream).or(Ok(())))
}

fn echo_all(stream: &mut TcpStream) -> Result<()> {
    let mut bytes = [0; 4096];
    loop {
        match stream.read(&mut bytes)? {
            0 => return Ok(()),
            count => stream.write_all(&bytes[..count])?,
        }
    }
}

fn answer(stream: &mut TcpStream) -> Result<()> {
    let (mut buffer, mut first) = (Vec::new(), [0; 12]);
    // Clients send it, or a whole head, at once.
    if stream.peek(&mut first)? == first.len() && first == http2::PREFACE {
        return http2::answer(stream.try_clone()?);
    }
    stream.set_nodelay(true)?;
    while let Some(head) = head(stream, &mut buffer)? {
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        if path.starts_with("/slow") {
            stream.write_all(format!("HTTP/1.1 200 OK\r\ncontent-length: {PIECES}\r\n\r\n").as_bytes())?;
            for _ in 0..PIECES {
                stream.write_all(b"x")?;
                thread::sleep(PAUSE);
            }
        } else {
            stream.write_all(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{path}", path.len()).as_bytes())?;
        }
    }
    Ok(())
}

/// The next head without its last CRLF; what follows stays in the buffer.
fn head(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<Option<String>> {
    loop {
        if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
            buffer.drain(..end + 4);
            return Ok(Some(head));
        }
        let mut bytes = [0; 4096];
        match stream.read(&mut bytes)? {
            0 if buffer.is_empty() => return Ok(None),
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => buffer.extend_from_slice(&bytes[..count]),
        }
    }
}

/// What clients do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Many requests a connection.
    KeepAlive,
    /// A connection a request.
    Fresh,
    /// Requests whose responses take a second.
    Slow,
    /// HTTP/2: several streams at once, with messages and trailers.
    Http2,
    /// One stream that is no HTTP, for ever.
    Stream,
    /// Streams of a second and a half.
    Streams,
}

/// How many clients of each kind.
const CLIENTS: [(Kind, &str, usize); 6] = [
    (Kind::KeepAlive, "keep-alive", 4),
    (Kind::Fresh, "fresh", 2),
    (Kind::Slow, "slow", 2),
    (Kind::Http2, "http2", 2),
    (Kind::Stream, "stream", 1),
    (Kind::Streams, "streams", 2),
];

/// Calls until it is killed. Prints a line of JSON for each failure, and every 100 ms one with what has succeeded so far.
pub fn run_clients(http: SocketAddr, echo: SocketAddr) -> Result<()> {
    let done: Arc<Mutex<BTreeMap<&str, u64>>> = Arc::default();
    let longest: Arc<Mutex<u128>> = Arc::default();
    for (kind, name, count) in CLIENTS {
        for number in 0..count {
            let (done, longest) = (Arc::clone(&done), Arc::clone(&longest));
            thread::spawn(move || {
                let http2 = match http2::Client::new() {
                    Ok(http2) => http2,
                    Err(error) => {
                        return say(&json!({ "failed": name, "cause": cause(&error), "began": 0, "ended": 0 }));
                    }
                };
                let (connection, buffer, since) = (None, Vec::new(), Instant::now());
                let mut client = Client { kind, http, echo, connection, buffer, since, http2 };
                for turn in 0_u64.. {
                    let (at, begin) = (now_ms(), Instant::now());
                    match client.once(&format!("{number}/{turn}")) {
                        Ok(()) => {
                            *done.lock().unwrap_or_else(PoisonError::into_inner).entry(name).or_default() += 1;
                            let took = begin.elapsed().as_millis();
                            let mut longest = longest.lock().unwrap_or_else(PoisonError::into_inner);
                            *longest = took.max(*longest);
                        }
                        Err(error) => {
                            (client.connection, client.buffer) = (None, Vec::new());
                            say(&json!({ "failed": name, "cause": cause(&error), "began": at, "ended": now_ms() }));
                            thread::sleep(Duration::from_millis(5));
                        }
                    }
                    // Not as fast as it goes: the machine has other things to do.
                    thread::sleep(Duration::from_millis(1));
                }
            });
        }
    }
    loop {
        thread::sleep(Duration::from_millis(100));
        let longest = std::mem::take(&mut *longest.lock().unwrap_or_else(PoisonError::into_inner));
        let done = done.lock().unwrap_or_else(PoisonError::into_inner).clone();
        say(&json!({ "done": done, "longest_ms": u64::try_from(longest).unwrap_or(u64::MAX), "at": now_ms() }));
    }
}

struct Client {
    kind: Kind,
    http: SocketAddr,
    echo: SocketAddr,
    connection: Option<TcpStream>,
    buffer: Vec<u8>,
    since: Instant,
    http2: http2::Client,
}

impl Client {
    fn once(&mut self, id: &str) -> io::Result<()> {
        match self.kind {
            Kind::KeepAlive => self.request(&format!("/keep/{id}"), false),
            Kind::Fresh => self.request(&format!("/fresh/{id}"), true),
            Kind::Slow => self.request(&format!("/slow/{id}"), false),
            Kind::Http2 => self.http2.once(self.http, id),
            Kind::Stream | Kind::Streams => self.echo(id),
        }
    }

    fn stream(&mut self, to: SocketAddr) -> io::Result<&mut TcpStream> {
        if self.connection.is_none() {
            let stream = TcpStream::connect_timeout(&to, PATIENCE)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_nodelay(true)?;
            (self.connection, self.buffer, self.since) = (Some(stream), Vec::new(), Instant::now());
        }
        self.connection.as_mut().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    fn request(&mut self, path: &str, last: bool) -> io::Result<()> {
        let close = if last { "Connection: close\r\n" } else { "" };
        let mut buffer = std::mem::take(&mut self.buffer);
        let stream = self.stream(self.http)?;
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: peer\r\n{close}\r\n").as_bytes())?;
        let head = head(stream, &mut buffer)?.ok_or(io::ErrorKind::UnexpectedEof)?.to_ascii_lowercase();
        if !head.starts_with("http/1.1 200 ") {
            return Err(io::Error::other(head.lines().next().unwrap_or_default().to_owned()));
        }
        let mut lengths = head.lines().filter_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
        let length = lengths.next_back().ok_or_else(|| io::Error::other("no length"))?;
        while buffer.len() < length {
            let mut bytes = [0; 4096];
            match stream.read(&mut bytes)? {
                0 => return Err(io::Error::other("the response was cut off")),
                count => buffer.extend_from_slice(&bytes[..count]),
            }
        }
        let right = if path.starts_with("/slow") { buffer == [b'x'; PIECES] } else { buffer == path.as_bytes() };
        if !right {
            return Err(io::Error::other("wrong bytes"));
        }
        if last || head.contains("connection: close") {
            self.connection = None;
        }
        Ok(())
    }

    fn echo(&mut self, id: &str) -> io::Result<()> {
        let message = format!("\x16{id}\n");
        let stream = self.stream(self.echo)?;
        stream.write_all(message.as_bytes())?;
        let mut back = vec![0; message.len()];
        stream.read_exact(&mut back)?;
        if back != message.as_bytes() {
            return Err(io::Error::other("wrong bytes"));
        }
        if self.kind == Kind::Streams && self.since.elapsed() > ROTATION {
            self.connection = None;
        }
        Ok(())
    }
}

fn cause(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "refused".to_owned(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => "reset".to_owned(),
        io::ErrorKind::UnexpectedEof => "closed without an answer".to_owned(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "no answer".to_owned(),
        io::ErrorKind::PermissionDenied => "not permitted".to_owned(),
        _ => error.to_string(),
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn say(line: &serde_json::Value) {
    // Whoever reads this may be gone; then nobody asks any more.
    writeln!(io::stdout(), "{line}").ok();
}
