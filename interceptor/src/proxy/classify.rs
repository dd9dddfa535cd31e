//! What a connection's first bytes are: HTTP/1, HTTP/2, TLS, something else, or not yet known.
//!
//! Pure and incremental: asked again with more bytes until it knows. HTTP/1 is believed only when the request line is
//! complete up to its version, because commands of other protocols (Redis, NATS, SMTP) begin like a method.

/// The verdict over the first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// A request line of HTTP/1.
    Http1,
    /// The preface of HTTP/2 (RFC 9113, section 3.4).
    Http2,
    /// A TLS record that carries a handshake (RFC 8446, section 5.1).
    Tls,
    /// Anything else.
    Opaque,
    /// More bytes are needed.
    Unknown,
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The longest method that is believed; the longest registered one has 17 letters.
const MAX_METHOD: usize = 32;
/// What follows the request target.
const VERSION: &[u8] = b"HTTP/1.";

/// Classifies what a client sent first. The request line must be known within `limit` bytes, however they arrive.
pub fn classify(bytes: &[u8], limit: usize) -> Class {
    let within = bytes.get(..limit).unwrap_or(bytes);
    match beginning(within) {
        Class::Unknown if bytes.len() >= limit => Class::Opaque,
        class => class,
    }
}

fn beginning(bytes: &[u8]) -> Class {
    match bytes {
        [] => return Class::Unknown,
        [0x16] | [0x16, 0x03] => return Class::Unknown,
        [0x16, 0x03, ..] => return Class::Tls,
        _ => {}
    }
    if bytes.len() >= PREFACE.len() && bytes.starts_with(PREFACE) {
        return Class::Http2;
    }
    if PREFACE.starts_with(bytes) && bytes.len() > 3 {
        return Class::Unknown;
    }
    // RFC 9112, section 2.2: a server ignores at least one empty line before the request line.
    let bytes = match bytes {
        [b'\r', b'\n', rest @ ..] => rest,
        [b'\r'] => return Class::Unknown,
        _ => bytes,
    };
    request_line(bytes)
}

fn request_line(bytes: &[u8]) -> Class {
    let Some(method) = bytes.iter().take(MAX_METHOD + 1).position(|byte| !is_token(*byte)) else {
        return if bytes.len() > MAX_METHOD { Class::Opaque } else { Class::Unknown };
    };
    if method == 0 || bytes.get(method) != Some(&b' ') {
        return Class::Opaque;
    }
    let target = bytes.get(method + 1..).unwrap_or_default();
    let Some(end) = target.iter().position(|byte| !is_target(*byte)) else {
        return Class::Unknown;
    };
    if end == 0 || target.get(end) != Some(&b' ') {
        return Class::Opaque;
    }
    let version = target.get(end + 1..).unwrap_or_default();
    if version.len() >= VERSION.len() {
        return if version.starts_with(VERSION) { Class::Http1 } else { Class::Opaque };
    }
    if VERSION.starts_with(version) { Class::Unknown } else { Class::Opaque }
}

/// `tchar` of RFC 9110, section 5.6.2.
pub(super) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Bytes that real clients put into a request target: visible ASCII and raw UTF-8.
fn is_target(byte: u8) -> bool {
    byte > b' ' && byte != 0x7f
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every prefix is unknown or already the final verdict, never another one.
    fn at_every_split(bytes: &[u8], verdict: Class) {
        let mut known = false;
        for len in 0..=bytes.len() {
            match classify(&bytes[..len], 8192) {
                Class::Unknown => assert!(!known, "forgot the verdict at {len} of {bytes:?}"),
                class => {
                    assert_eq!(class, verdict, "at {len} of {:?}", String::from_utf8_lossy(bytes));
                    known = true;
                }
            }
        }
        assert!(known, "no verdict over all of {:?}", String::from_utf8_lossy(bytes));
    }

    #[test]
    fn http1_requests_are_known_at_their_version() {
        for text in [
            "GET / HTTP/1.1\r\n",
            "POST /a?b=c HTTP/1.0\r\n",
            "\r\nGET / HTTP/1.1\r\n",
            "M-SEARCH * HTTP/1.1\r\n",
            "OPTIONS * HTTP/1.1\r\n",
            "CONNECT a.example:443 HTTP/1.1\r\n",
            "get http://x/ HTTP/1.1\r\n",
            "PRI /x HTTP/1.1\r\n",
            "P HTTP/1. HTTP/1.1\r\n",
            "VERSION-CONTROL / HTTP/1.1\r\n",
        ] {
            at_every_split(text.as_bytes(), Class::Http1);
        }
    }

    #[test]
    fn commands_that_look_like_a_method_are_not_http() {
        for text in [
            "GET key\r\n",
            "PING\r\n",
            "SET a b\r\n",
            "*1\r\n$4\r\nPING\r\n",
            "EHLO me\r\n",
            "QUIT\n",
            "CONNECT {\"verbose\":false}\r\n",
            "GET / HTTP/2.0\r\n",
            "GET / HTTPX1.1\r\n",
            "GET /\r\n",
            " GET / HTTP/1.1\r\n",
            "GET  / HTTP/1.1\r\n",
            "SSH-2.0-OpenSSH\r\n",
            "\0\0\0\x08\x04\x02\x16\x2f",
            "PRI * HTTP/2.0\r\n\r\nXX",
            "STATS items HTTP\r\n",
            "\r\n\r\nGET / HTTP/1.1",
        ] {
            at_every_split(text.as_bytes(), Class::Opaque);
        }
    }

    #[test]
    fn http2_and_tls_are_named() {
        at_every_split(PREFACE, Class::Http2);
        at_every_split(&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01], Class::Tls);
        at_every_split(&[0x16, 0x04, 0x01], Class::Opaque);
    }

    #[test]
    fn an_endless_method_or_target_is_not_http() {
        assert_eq!(classify(&[b'A'; 33], 8192), Class::Opaque);
        let mut long = b"GET /".to_vec();
        long.resize(9000, b'a');
        assert_eq!(classify(&long, 8192), Class::Opaque);
        // The verdict must not depend on how much of the line arrived at once.
        long.extend_from_slice(b" HTTP/1.1\r\n");
        assert_eq!(classify(&long, 8192), Class::Opaque);
    }
}
