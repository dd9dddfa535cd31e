//! HTTP/1.1 on blocking streams, for peers of the interceptor: heads as they were sent, bodies decoded.
//!
//! The applications of [`app`](crate::app), the demo and tests use it. A peer must show what the interceptor did to the
//! bytes, so names keep their case and order (which rules out a header map) and nothing is normalised. It is no
//! example of a robust server: it believes its peer.

use std::io::{self, BufRead, BufReader, Read, Write};

use anyhow::{Context as _, Result, bail};

/// A request or response, as received.
#[derive(Debug, Clone)]
pub struct Message {
    /// The first line, without its end: `GET / HTTP/1.1` or `HTTP/1.1 200 OK`.
    pub start: String,
    /// Names and values in the order, case and number in which they came.
    pub headers: Vec<(String, String)>,
    /// The body with chunk framing removed.
    pub body: Vec<u8>,
}

impl Message {
    /// One of the three words of the first line.
    fn word(&self, n: usize) -> &str {
        self.start.splitn(3, ' ').nth(n).unwrap_or_default()
    }

    /// The method of a request.
    pub fn method(&self) -> &str {
        self.word(0)
    }

    /// The target of a request.
    pub fn target(&self) -> &str {
        self.word(1)
    }

    /// The status of a response.
    pub fn status(&self) -> Result<u16> {
        self.word(1).parse().with_context(|| format!("no status in {:?}", self.start))
    }

    /// All values of a header, whatever the case of its name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The first value of a header.
    pub fn first(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Whether the sender wants the connection to end after this message.
    pub fn closes(&self) -> bool {
        let says = |token: &str| self.all("connection").any(|value| value.to_ascii_lowercase().contains(token));
        let old = self.start.contains("HTTP/1.0");
        says("close") || (old && !says("keep-alive"))
    }
}

/// One connection, either side of it.
#[derive(Debug)]
pub struct Connection<S> {
    stream: BufReader<S>,
}

impl<S: Read + Write> Connection<S> {
    /// Wraps a stream of which nothing has been read.
    pub fn new(stream: S) -> Connection<S> {
        Connection { stream: BufReader::new(stream) }
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let stream = self.stream.get_mut();
        stream.write_all(bytes)?;
        stream.flush()
    }

    /// The next request with its body; `None` when the peer has ended the connection between requests.
    ///
    /// `Expect: 100-continue` is answered before the body is read.
    pub fn request(&mut self) -> Result<Option<Message>> {
        let Some(mut message) = self.head()? else { return Ok(None) };
        if message.first("expect").is_some_and(|value| value.eq_ignore_ascii_case("100-continue")) {
            self.send(b"HTTP/1.1 100 Continue\r\n\r\n").context("sending 100 Continue")?;
        }
        message.body = match framing(&message)? {
            Framing::Chunked => self.chunked()?,
            Framing::Length(length) => self.exactly(length)?,
            Framing::Unsaid => Vec::new(),
        };
        Ok(Some(message))
    }

    /// The next final response with its body; 1xx responses are skipped. `method` is that of the request.
    pub fn response(&mut self, method: &str) -> Result<Message> {
        loop {
            let mut message = self.head()?.context("the connection ended before a response")?;
            let status = message.status()?;
            if (100..200).contains(&status) && status != 101 {
                continue;
            }
            if method != "HEAD" && !matches!(status, 101 | 204 | 304) {
                message.body = match framing(&message)? {
                    Framing::Chunked => self.chunked()?,
                    Framing::Length(length) => self.exactly(length)?,
                    Framing::Unsaid => self.rest()?,
                };
            }
            return Ok(message);
        }
    }

    /// Everything until the peer ends its side.
    pub fn rest(&mut self) -> Result<Vec<u8>> {
        let mut all = Vec::new();
        self.stream.read_to_end(&mut all).context("reading until the end of the connection")?;
        Ok(all)
    }

    /// The stream below.
    pub fn stream(&self) -> &S {
        self.stream.get_ref()
    }

    fn head(&mut self) -> Result<Option<Message>> {
        let mut raw = Vec::new();
        while !raw.ends_with(b"\r\n\r\n") {
            let before = raw.len();
            let limit = u64::try_from(MAX_HEAD.saturating_sub(before)).context("head limit")?;
            self.stream.by_ref().take(limit).read_until(b'\n', &mut raw).context("reading a message head")?;
            match raw.len() {
                0 => return Ok(None),
                length if length == before => {
                    bail!("a message head breaks off after {length} bytes")
                }
                _ => {}
            }
        }
        parse_head(&raw).map(Some)
    }

    fn exactly(&mut self, length: u64) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        self.stream.by_ref().take(length).read_to_end(&mut body).context("reading a body")?;
        if u64::try_from(body.len()).ok() != Some(length) {
            bail!("a body of {length} bytes breaks off after {}", body.len());
        }
        Ok(body)
    }

    fn chunked(&mut self) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.line()?;
            let digits = line.split(';').next().unwrap_or_default().trim();
            let size = u64::from_str_radix(digits, 16).with_context(|| format!("chunk size {line:?}"))?;
            if size == 0 {
                // Trailers, then an empty line.
                while !self.line()?.is_empty() {}
                return Ok(body);
            }
            body.extend(self.exactly(size)?);
            self.line()?;
        }
    }

    fn line(&mut self) -> Result<String> {
        let mut raw = Vec::new();
        if self.stream.read_until(b'\n', &mut raw).context("reading a line of chunk framing")? == 0 {
            bail!("the connection ended inside a chunked body");
        }
        // Extensions and trailers may hold any bytes.
        let line = String::from_utf8_lossy(&raw);
        Ok(line.trim_end_matches(['\r', '\n']).to_owned())
    }
}

enum Framing {
    Chunked,
    Length(u64),
    Unsaid,
}

fn framing(message: &Message) -> Result<Framing> {
    if message.all("transfer-encoding").any(|value| value.to_ascii_lowercase().contains("chunked")) {
        return Ok(Framing::Chunked);
    }
    match message.first("content-length") {
        Some(text) => Ok(Framing::Length(text.trim().parse().with_context(|| format!("Content-Length {text:?}"))?)),
        None => Ok(Framing::Unsaid),
    }
}

fn parse_head(raw: &[u8]) -> Result<Message> {
    let end = raw.iter().position(|byte| *byte == b'\n').unwrap_or(raw.len());
    let (start, fields) = raw.split_at(end);
    let start = String::from_utf8_lossy(start).trim_end().to_owned();
    let mut parsed = [httparse::EMPTY_HEADER; 256];
    let fields = fields.get(1..).unwrap_or_default();
    let httparse::Status::Complete((_, found)) =
        httparse::parse_headers(fields, &mut parsed).with_context(|| format!("headers after {start:?}"))?
    else {
        bail!("the head of {start:?} is incomplete");
    };
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    let headers = found.iter().map(|header| (header.name.to_owned(), text(header.value))).collect();
    Ok(Message { start, headers, body: Vec::new() })
}

/// Above what any test sends.
const MAX_HEAD: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn connection(bytes: &str) -> Connection<Cursor<Vec<u8>>> {
        Connection::new(Cursor::new(bytes.as_bytes().to_vec()))
    }

    #[test]
    fn names_keep_case_order_and_number() {
        let mut c = connection("GET /a b HTTP/1.1\r\nb: 1\r\nA: 2\r\nB: 3\r\n\r\n");
        let request = c.request().unwrap().unwrap();
        let pairs: Vec<_> = request.headers.iter().map(|(n, v)| format!("{n}={v}")).collect();
        assert_eq!(pairs, ["b=1", "A=2", "B=3"]);
        assert_eq!(request.all("b").collect::<Vec<_>>(), ["1", "3"]);
    }

    #[test]
    fn bodies_end_where_their_framing_says() {
        let mut c = connection(
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
             3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nT: 1\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhiHTTP/1.1 200 OK\r\n\r\nrest",
        );
        assert_eq!(c.response("GET").unwrap().body, b"abcde");
        assert_eq!(c.response("GET").unwrap().body, b"hi");
        assert_eq!(c.response("GET").unwrap().body, b"rest");
    }

    #[test]
    fn keep_alive_follows_the_version() {
        let closes = |head: &str| connection(head).request().unwrap().unwrap().closes();
        assert!(!closes("GET / HTTP/1.1\r\n\r\n"));
        assert!(closes("GET / HTTP/1.1\r\nConnection: Close\r\n\r\n"));
        assert!(closes("GET / HTTP/1.0\r\n\r\n"));
        assert!(!closes("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
    }
}
