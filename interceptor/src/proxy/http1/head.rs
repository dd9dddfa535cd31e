//! Reads message heads: only what framing, routing and connection handling need, as ranges into the buffer.
//!
//! The bytes themselves go out as they came. httparse does the grammar; what it is lax about and smuggling lives on
//! (bare LF, conflicting lengths, several Hosts) is refused here. Pure.

use std::mem::MaybeUninit;
use std::ops::Range;

use httparse::{Header, Request, Response, Status};

use super::framing::{Framing, LengthError, LengthFields};
use crate::headers::{Found, Reader};

/// Header fields that a head may have. Common servers allow about a hundred.
const MAX_FIELDS: usize = 128;

/// A request head at the front of a buffer. Ranges count from the buffer's front.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHead {
    /// Its length, the empty line included.
    pub len: usize,
    /// The method.
    pub method: Range<usize>,
    /// The request target.
    pub target: Range<usize>,
    /// The Host field's value, or the authority of an absolute target (RFC 9112, section 3.2.2).
    pub host: Option<Range<usize>>,
    /// What its fields say of its space and its traces.
    pub found: Found<Range<usize>>,
    /// Where a line can be added: before the empty line.
    pub insert_at: usize,
    /// The body's framing.
    pub framing: Framing,
    /// Whether the client wants the connection to stay.
    pub keep_alive: bool,
    /// What kind of answer follows.
    pub kind: RequestKind,
    /// Whether a repetition does no harm (RFC 9110, section 9.2.2).
    pub idempotent: bool,
    /// Whether it carries credentials that count for the whole connection (NTLM and Negotiate, RFC 4559, section 6).
    pub binds_credentials: bool,
}

/// What kind of answer a request gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestKind {
    /// One with a body.
    Ordinary,
    /// One without a body.
    Head,
    /// A tunnel, if it succeeds.
    Connect,
    /// A switch of protocols, if it succeeds.
    Upgrade,
}

/// A response head at the front of a buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResponseHead {
    /// Its length, the empty line included.
    pub len: usize,
    /// The status code.
    pub status: u16,
    /// The body's framing.
    pub framing: Framing,
    /// Whether the server keeps the connection.
    pub keep_alive: bool,
}

/// A head that is not passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// Not the grammar of RFC 9112.
    #[error("{0}")]
    Syntax(httparse::Error),
    /// A line that does not end in CRLF, or a CR inside a line.
    #[error("a head line does not end in CRLF")]
    LineEnd,
    /// More fields than [`MAX_FIELDS`].
    #[error("more than {MAX_FIELDS} header fields")]
    TooManyFields,
    /// Length fields that cannot be believed.
    #[error("{0}")]
    Length(#[from] LengthError),
    /// RFC 9112, section 3.2: exactly one.
    #[error("several Host fields")]
    SeveralHosts,
    /// CONNECT has no body (RFC 9110, section 9.3.6): some servers would take one for the tunnel's first bytes.
    #[error("CONNECT with a body")]
    ConnectBody,
    /// RFC 9110, section 15: three digits from 100 on.
    #[error("invalid status")]
    Status,
}

/// Reads a request head; `None` while it is incomplete. `reader` knows the fields that say something of its space.
///
/// # Errors
/// Where the head must not be passed on.
pub fn request(bytes: &[u8], reader: &Reader) -> Result<Option<RequestHead>, HeadError> {
    check_beginning(bytes)?;
    let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut request = Request::new(&mut []);
    let Status::Complete(len) = request.parse_with_uninit_headers(bytes, &mut fields).map_err(syntax)? else {
        return Ok(None);
    };
    check_line_ends(bytes.get(..len).unwrap_or_default())?;
    let http10 = request.version == Some(0);
    let (method, target) = (request.method.unwrap_or_default(), request.path.unwrap_or_default());
    let mut lengths = LengthFields::default();
    let mut connection = ConnectionFields::default();
    let (mut host, mut found, mut upgrade) = (None, Found::default(), false);
    let mut binds_credentials = false;
    for field in request.headers.iter() {
        match Known::of(field) {
            Known::ContentLength => lengths.content_length(field.value)?,
            Known::TransferEncoding => lengths.transfer_encoding(field.value)?,
            Known::Connection => connection.add(field.value),
            Known::Upgrade => upgrade = true,
            Known::Host if host.is_some() => return Err(HeadError::SeveralHosts),
            Known::Host => host = Some(range_in(bytes, field.value)),
            Known::Authorization => binds_credentials |= counts_for_connection(field.value),
            Known::Other => reader.see(&mut found, field.name.as_bytes(), field.value),
        }
    }
    let kind = match method {
        "HEAD" => RequestKind::Head,
        "CONNECT" => RequestKind::Connect,
        _ if upgrade && connection.upgrade && !http10 => RequestKind::Upgrade,
        _ => RequestKind::Ordinary,
    };
    let framing = lengths.request(http10)?;
    if kind == RequestKind::Connect && framing != Framing::NONE {
        return Err(HeadError::ConnectBody);
    }
    Ok(Some(RequestHead {
        len,
        method: range_in(bytes, method.as_bytes()),
        target: range_in(bytes, target.as_bytes()),
        host: authority(target).map(|authority| range_in(bytes, authority.as_bytes())).or(host),
        found: found.map(|part| range_in(bytes, part)),
        insert_at: len.saturating_sub(2),
        framing,
        keep_alive: connection.keep_alive(http10),
        kind,
        idempotent: matches!(method, "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE"),
        binds_credentials,
    }))
}

/// Reads a response head; `None` while it is incomplete. `to` is the request that it answers.
///
/// # Errors
/// Where the head must not be passed on.
pub fn response(bytes: &[u8], to: RequestKind) -> Result<Option<ResponseHead>, HeadError> {
    check_beginning(bytes)?;
    let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut response = Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let parsed = config.parse_response_with_uninit_headers(&mut response, bytes, &mut fields);
    let Status::Complete(len) = parsed.map_err(syntax)? else { return Ok(None) };
    check_line_ends(bytes.get(..len).unwrap_or_default())?;
    let http10 = response.version == Some(0);
    let status = response.code.filter(|code| *code >= 100).ok_or(HeadError::Status)?;
    let mut lengths = LengthFields::default();
    let mut connection = ConnectionFields::default();
    for field in response.headers.iter() {
        match Known::of(field) {
            Known::ContentLength => lengths.content_length(field.value)?,
            Known::TransferEncoding => lengths.transfer_encoding(field.value)?,
            Known::Connection => connection.add(field.value),
            _ => {}
        }
    }
    let framed = lengths.response(http10)?;
    // RFC 9112, section 6.3: these never have a body, whatever their fields say.
    let bodiless = to == RequestKind::Head || matches!(status, 100..=199 | 204 | 304);
    let framing = if bodiless { Framing::NONE } else { framed };
    let keep_alive = connection.keep_alive(http10) && framing != Framing::UntilClose;
    Ok(Some(ResponseHead { len, status, framing, keep_alive }))
}

fn syntax(error: httparse::Error) -> HeadError {
    match error {
        httparse::Error::TooManyHeaders => HeadError::TooManyFields,
        other => HeadError::Syntax(other),
    }
}

/// Empty lines may stand before the first one (RFC 9112, section 2.2). httparse skips bare LFs there, too; without this
/// they would be refused only once the head is whole.
fn check_beginning(bytes: &[u8]) -> Result<(), HeadError> {
    let mut rest = bytes;
    while let Some(next) = rest.strip_prefix(b"\r\n") {
        rest = next;
    }
    if rest.first() == Some(&b'\n') { Err(HeadError::LineEnd) } else { Ok(()) }
}

/// httparse takes a bare LF for a line's end; others take it for part of the line. So nobody gets one.
fn check_line_ends(head: &[u8]) -> Result<(), HeadError> {
    let mut before = 0;
    for &byte in head {
        if (byte == b'\n') != (before == b'\r') {
            return Err(HeadError::LineEnd);
        }
        before = byte;
    }
    Ok(())
}

/// The fields that matter here.
enum Known {
    ContentLength,
    TransferEncoding,
    Connection,
    Upgrade,
    Host,
    Authorization,
    Other,
}

impl Known {
    fn of(field: &Header<'_>) -> Self {
        let is = |name: &str| field.name.eq_ignore_ascii_case(name);
        match field.name.len() {
            4 if is("host") => Self::Host,
            7 if is("upgrade") => Self::Upgrade,
            10 if is("connection") => Self::Connection,
            13 if is("authorization") => Self::Authorization,
            14 if is("content-length") => Self::ContentLength,
            17 if is("transfer-encoding") => Self::TransferEncoding,
            _ => Self::Other,
        }
    }
}

fn counts_for_connection(credentials: &[u8]) -> bool {
    let scheme = credentials.split(|byte| *byte == b' ').next().unwrap_or_default();
    scheme.eq_ignore_ascii_case(b"ntlm") || scheme.eq_ignore_ascii_case(b"negotiate")
}

/// What the Connection fields say (RFC 9110, section 7.6.1).
#[derive(Debug, Default)]
struct ConnectionFields {
    close: bool,
    keep_alive: bool,
    upgrade: bool,
}

impl ConnectionFields {
    fn add(&mut self, value: &[u8]) {
        for option in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
            self.upgrade |= option.eq_ignore_ascii_case(b"upgrade");
        }
    }

    fn keep_alive(&self, http10: bool) -> bool {
        !self.close && (!http10 || self.keep_alive)
    }
}

/// The authority of a target in absolute form, which overrides Host.
fn authority(target: &str) -> Option<&str> {
    let (scheme, rest) = target.split_once("://")?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return None;
    }
    let authority = rest.split(['/', '?', '#']).next()?;
    Some(authority.rsplit_once('@').map_or(authority, |(_, host)| host))
}

/// Where a part of `bytes` lies in it.
fn range_in(bytes: &[u8], part: &[u8]) -> Range<usize> {
    let start = (part.as_ptr() as usize).saturating_sub(bytes.as_ptr() as usize);
    start..start + part.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Routing;

    fn read(text: &str) -> Result<Option<RequestHead>, HeadError> {
        request(text.as_bytes(), &Reader::new(&Routing::default()))
    }

    #[test]
    fn a_head_is_read_once_it_is_whole_and_never_before() {
        let text = "POST /a?b HTTP/1.1\r\nHost: b:80\r\nAZDS-Route-As:  azureuser \r\nContent-Length: 3\r\n\r\nabc";
        let end = text.len() - 3;
        for len in 0..end {
            assert_eq!(read(&text[..len]), Ok(None), "at {len}");
        }
        for len in end..=text.len() {
            let head = read(&text[..len]).unwrap().unwrap();
            let at = |range: Range<usize>| &text[range];
            assert_eq!((at(head.method), at(head.target), at(head.host.unwrap())), ("POST", "/a?b", "b:80"));
            let (place, value) = head.found.route.unwrap();
            assert_eq!((place, at(value)), (0, "azureuser"));
            assert_eq!((head.len, &text[head.insert_at..head.len]), (end, "\r\n"));
            assert_eq!((head.framing, head.keep_alive, head.idempotent), (Framing::Length(3), true, false));
        }
    }

    #[test]
    fn the_first_configured_route_header_wins_then_the_first_line() {
        for (fields, place, value) in [
            ("kubernetes-route-as: k\r\nazds-route-as: a\r\n", 0, "a"),
            ("kubernetes-route-as: k\r\n", 1, "k"),
            ("azds-route-as: a\r\nazds-route-as: b\r\n", 0, "a"),
            ("azds-route-as:\r\n", 0, ""),
        ] {
            let text = format!("GET / HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
            let (found, range) = read(&text).unwrap().unwrap().found.route.unwrap();
            assert_eq!((found, &text[range]), (place, value), "{fields:?}");
        }
    }

    #[test]
    fn connections_stay_or_close_as_the_version_says() {
        for (version, fields, keep_alive) in [
            ("1.1", "", true),
            ("1.1", "Connection: close\r\n", false),
            ("1.1", "Connection: x, Close\r\n", false),
            ("1.0", "", false),
            ("1.0", "Connection: keep-alive\r\n", true),
            ("1.0", "Connection: keep-alive, close\r\n", false),
        ] {
            let head = read(&format!("GET / HTTP/{version}\r\n{fields}\r\n")).unwrap().unwrap();
            assert_eq!(head.keep_alive, keep_alive, "{version} {fields:?}");
        }
    }

    #[test]
    fn kinds_of_requests() {
        let upgrade = "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n";
        for (line, fields, kind) in [
            ("GET / HTTP/1.1", "", RequestKind::Ordinary),
            ("HEAD / HTTP/1.1", "", RequestKind::Head),
            ("CONNECT a:443 HTTP/1.1", "", RequestKind::Connect),
            ("GET / HTTP/1.1", upgrade, RequestKind::Upgrade),
            ("GET / HTTP/1.0", upgrade, RequestKind::Ordinary),
            ("GET / HTTP/1.1", "Upgrade: websocket\r\n", RequestKind::Ordinary),
        ] {
            assert_eq!(read(&format!("{line}\r\n{fields}\r\n")).unwrap().unwrap().kind, kind, "{line} {fields:?}");
        }
    }

    #[test]
    fn an_absolute_target_names_the_host() {
        let text = "GET http://user@a.example:81/x?y HTTP/1.1\r\nHost: other\r\n\r\n";
        let head = read(text).unwrap().unwrap();
        assert_eq!(&text[head.host.unwrap()], "a.example:81");
        let text = "GET urn://a.example/x HTTP/1.1\r\nHost: other\r\n\r\n";
        assert_eq!(&text[read(text).unwrap().unwrap().host.unwrap()], "other", "not of a scheme that this is");
    }

    #[test]
    fn ambiguous_heads_are_refused() {
        for (text, error) in [
            ("GET / HTTP/1.1\nHost: x\r\n\r\n", HeadError::LineEnd),
            ("GET / HTTP/1.1\r\nHost: x\n\n", HeadError::LineEnd),
            ("GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", HeadError::SeveralHosts),
            ("GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", LengthError::Both.into()),
            ("GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", LengthError::Differing.into()),
            ("GET / HTTP/1.1\r\nHost : x\r\n\r\n", HeadError::Syntax(httparse::Error::HeaderName)),
            ("GET / HTTP/1.1\r\nA: x\r\n folded\r\n\r\n", HeadError::Syntax(httparse::Error::HeaderName)),
            ("GET / HTTP/1.1\r\nA: x\0y\r\n\r\n", HeadError::Syntax(httparse::Error::HeaderValue)),
            ("GET / HTTP/1.1\r\nA: x\ry\r\n\r\n", HeadError::Syntax(httparse::Error::HeaderValue)),
            ("GET / HTTP/1.2\r\n\r\n", HeadError::Syntax(httparse::Error::Version)),
        ] {
            assert_eq!(read(text), Err(error), "{text:?}");
        }
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(MAX_FIELDS + 1));
        assert_eq!(read(&many), Err(HeadError::TooManyFields));
    }

    #[test]
    fn responses_have_the_body_that_the_request_allows() {
        let read = |text: &str, to| response(text.as_bytes(), to).unwrap().unwrap();
        let ok = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
        assert_eq!(read(ok, RequestKind::Ordinary).framing, Framing::Length(5));
        assert_eq!(read(ok, RequestKind::Head).framing, Framing::NONE);
        let bare = read("HTTP/1.1 200\r\n\r\n", RequestKind::Ordinary);
        assert_eq!((bare.framing, bare.keep_alive), (Framing::UntilClose, false));
        for status in [100, 103, 204, 304] {
            let text = format!("HTTP/1.1 {status} X\r\nContent-Length: 5\r\n\r\n");
            assert_eq!(read(&text, RequestKind::Ordinary).framing, Framing::NONE, "{status}");
        }
        assert!(
            response(
                b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
                RequestKind::Ordinary
            )
            .is_err()
        );
        assert_eq!(response(b"HTTP/1.1 200 OK\r\nContent-Le", RequestKind::Ordinary), Ok(None));
    }
}
