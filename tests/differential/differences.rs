//! Where nginx and HAProxy serve less than we pass on, by name and with the reason: they judge as servers, we only as far
//! as framing goes. None of it lets two parties see different messages.

use std::net::Ipv6Addr;

use crate::servers::Server::{self, Haproxy, Nginx};

/// One kind of request that a server refuses.
pub(crate) struct Difference {
    pub(crate) server: Server,
    pub(crate) name: &'static str,
    pub(crate) reason: &'static str,
    pub(crate) holds: fn(&Request<'_>) -> bool,
}

/// A request's head, taken apart.
pub(crate) struct Request<'a> {
    method: &'a str,
    target: &'a str,
    version: &'a str,
    fields: Vec<(&'a str, &'a str)>,
    body: &'a str,
}

impl<'a> Request<'a> {
    /// Of bytes that we accept, as text.
    pub(crate) fn read(text: &'a str) -> Self {
        let text = text.trim_start_matches("\r\n");
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
        let mut lines = head.split("\r\n");
        let mut words = lines.next().unwrap_or_default().split(' ');
        let mut word = || words.next().unwrap_or_default();
        let (method, target, version) = (word(), word(), word());
        Self { method, target, version, fields: lines.filter_map(|line| line.split_once(':')).collect(), body }
    }

    fn all(&self, name: &str) -> Vec<&'a str> {
        self.fields.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| *value).collect()
    }

    fn host(&self) -> Option<&'a str> {
        self.all("host").first().copied()
    }

    fn is_absolute(&self) -> bool {
        self.target.get(..4).is_some_and(|scheme| scheme.eq_ignore_ascii_case("http")) && self.target.contains("://")
    }
}

/// The table. The test fails where a request is refused that no row covers, and where a row covers none.
#[rustfmt::skip]
pub(crate) const DIFFERENCES: &[Difference] = &[
    Difference { server: Nginx, name: "no Host", reason: "RFC 9112, section 3.2: a server answers 400; which is the server's to say",
        holds: |r| r.version == "HTTP/1.1" && r.host().is_none() },
    Difference { server: Nginx, name: "a Host that is no host", reason: "routing does not know it either: it goes where it was sent",
        holds: |r| r.host().is_some_and(|host| !is_host(host.trim_matches(' '))) },
    Difference { server: Nginx, name: "a method in other letters", reason: "methods are any token; nginx knows upper case, _ and -",
        holds: |r| !r.method.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_' || byte == b'-') },
    Difference { server: Nginx, name: "a target with a broken escape", reason: "nginx decodes targets; we do not look into them",
        holds: |r| r.target.split('?').next().is_some_and(has_broken_escape) },
    Difference { server: Nginx, name: "a path above the root", reason: "nginx resolves dots for its own files; we change no target",
        holds: |r| r.target.contains("/..") },
    Difference { server: Nginx, name: "an absolute target without a proper host", reason: "the server's to refuse",
        holds: |r| r.is_absolute() && !r.target.split('/').nth(2).is_some_and(is_host) },
    Difference { server: Nginx, name: "Expect twice", reason: "nginx wants each of its known fields once; this one frames nothing",
        holds: |r| r.all("expect").len() > 1 },
    Difference { server: Nginx, name: "TRACE", reason: "405: nginx does not serve it",
        holds: |r| r.method == "TRACE" },
    Difference { server: Nginx, name: "a length twice", reason: "the same number twice frames the same whichever is believed",
        holds: |r| r.all("content-length").len() > 1 },
    Difference { server: Nginx, name: "a tab around a length or an encoding", reason: "RFC 9110, section 5.6.3: OWS is space or tab; nginx trims spaces",
        holds: |r| r.all("content-length").iter().chain(&r.all("transfer-encoding")).any(|value| value.contains('\t')) },
    Difference { server: Nginx, name: "a target that is no path", reason: "the target of OPTIONS * and of other protocols' requests is not for us to judge",
        holds: |r| !r.target.starts_with('/') && !r.is_absolute() },
    Difference { server: Haproxy, name: "a target beyond ASCII or with a fragment", reason: "real clients send raw UTF-8; it frames nothing",
        holds: |r| !r.target.bytes().all(|byte| byte.is_ascii_graphic() && !b"#".contains(&byte)) },
    Difference { server: Haproxy, name: "an absolute target of another host", reason: "RFC 9112, section 3.2.2: the target wins; routing takes the target's",
        holds: |r| r.is_absolute() },
    Difference { server: Haproxy, name: "a target that is no path", reason: "not for us to judge",
        holds: |r| !r.target.starts_with('/') && !r.is_absolute() },
    Difference { server: Haproxy, name: "a WebSocket handshake without its key", reason: "the server's to refuse",
        holds: |r| r.all("upgrade").iter().any(|value| value.trim() == "websocket") && r.all("sec-websocket-key").is_empty() },
    Difference { server: Haproxy, name: "a trailer that is a broken length", reason: "a trailer frames nothing (RFC 9110, section 6.5.1); HAProxy reads it as if it did",
        holds: |r| r.body.contains("\r\nContent-Length:") },
    Difference { server: Haproxy, name: "HTTP/1.0 with a body where none is expected", reason: "413: some HTTP/1.0 servers ignore it; ours is the one that the client asked for",
        holds: |r| r.version == "HTTP/1.0" && matches!(r.method, "GET" | "HEAD" | "DELETE") && !r.all("content-length").is_empty() },
];

/// A name or IPv6 literal, and perhaps a port.
fn is_host(text: &str) -> bool {
    let (name, port) = match text.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, port),
        _ => (text, ""),
    };
    let literal = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b".-".contains(&byte);
    let plain = !name.is_empty() && name.bytes().all(good) && !name.starts_with('.') && !name.contains("..");
    port.bytes().all(|byte| byte.is_ascii_digit()) && literal.map_or(plain, |inner| inner.parse::<Ipv6Addr>().is_ok())
}

fn has_broken_escape(path: &str) -> bool {
    let bytes = path.as_bytes();
    let hex = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_hexdigit);
    bytes.iter().enumerate().any(|(at, byte)| *byte == b'%' && !(hex(at + 1) && hex(at + 2)))
}

/// The rows that cover a request.
pub(crate) fn covering<'a>(server: Server, text: &'a str) -> impl Iterator<Item = &'static Difference> + 'a {
    let request = Request::read(text);
    DIFFERENCES.iter().filter(move |row| row.server == server && (row.holds)(&request))
}
