//! What nginx and HAProxy make of what we refuse, one example each: the table shows where we are stricter than they are.
//!
//! docs/security.md repeats it in words. A new release of theirs that changes its mind is news, so the test is exact.

use std::time::Duration;

use crate::ours::{self, End};
use crate::servers::{Chain, Server};

/// A server that waits for more has not refused, but served nothing either. One that serves closes at once.
const PATIENCE: Duration = Duration::from_secs(2);

/// How a server treats what we refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Does {
    /// Nothing of it reached the backend.
    Refuses,
    /// The backend got a request.
    Serves,
}

use Does::{Refuses, Serves};

/// Name, head after its first line or a whole request, nginx, HAProxy.
#[rustfmt::skip]
const TABLE: &[(&str, &str, Does, Does)] = &[
    ("length and transfer encoding", "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Refuses, Serves),
    ("lengths that differ", "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", Refuses, Refuses),
    ("a list of equal lengths", "Content-Length: 3, 3\r\n\r\nabc", Refuses, Serves),
    ("a length with +", "Content-Length: +3\r\n\r\nabc", Refuses, Refuses),
    ("a length in hexadecimal", "Content-Length: 0x3\r\n\r\nabc", Refuses, Refuses),
    ("a negative length", "Content-Length: -3\r\n\r\nabc", Refuses, Refuses),
    ("a length beyond 63 bits", "Content-Length: 18446744073709551619\r\n\r\nabc", Refuses, Refuses),
    ("an empty length", "Content-Length:\r\n\r\n", Refuses, Refuses),
    ("gzip, chunked", "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", Refuses, Refuses),
    ("chunked twice", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Refuses, Refuses),
    ("identity", "Transfer-Encoding: identity\r\n\r\n", Refuses, Refuses),
    ("xchunked", "Transfer-Encoding: xchunked\r\n\r\n", Refuses, Refuses),
    ("an encoding behind VT", "Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", Refuses, Refuses),
    ("space before the colon", "X-A : b\r\n\r\n", Refuses, Refuses),
    ("a folded field", "X-A: b\r\n c\r\n\r\n", Refuses, Serves),
    ("a bare LF", "X-A: b\nX-B: c\r\n\r\n", Serves, Serves),
    ("a bare CR", "X-A: b\rX-B: c\r\n\r\n", Refuses, Refuses),
    ("NUL", "X-A: b\0c\r\n\r\n", Refuses, Refuses),
    ("another control byte", "X-A: b\x01c\r\n\r\n", Refuses, Refuses),
    ("several Hosts", "Host: b\r\n\r\n", Refuses, Refuses),
    ("a chunk size with 0x", "Transfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n", Refuses, Refuses),
    ("a chunk size with +", "Transfer-Encoding: chunked\r\n\r\n+1\r\na\r\n0\r\n\r\n", Refuses, Refuses),
    ("junk behind a chunk size", "Transfer-Encoding: chunked\r\n\r\n1 x\r\na\r\n0\r\n\r\n", Serves, Refuses),
    ("a chunk line that ends in LF", "Transfer-Encoding: chunked\r\n\r\n1\na\r\n0\r\n\r\n", Serves, Serves),
    ("no CRLF behind chunk data", "Transfer-Encoding: chunked\r\n\r\n1\r\naX0\r\n\r\n", Refuses, Refuses),
    ("LF behind chunk data", "Transfer-Encoding: chunked\r\n\r\n1\r\na\n0\r\n\r\n", Serves, Serves),
    ("an overflowing chunk size", "Transfer-Encoding: chunked\r\n\r\n10000000000000001\r\na\r\n0\r\n\r\n", Refuses, Refuses),
    ("a trailer line that is no field", "Transfer-Encoding: chunked\r\n\r\n0\r\nGET / HTTP/1.1\r\n\r\n", Serves, Refuses),
];

#[test]
fn what_we_refuse_nginx_and_haproxy_treat_as_the_table_says() {
    let chains = [Server::Nginx, Server::Haproxy].map(|server| (server, Chain::start(server, "refused")));
    let mut wrong = Vec::new();
    for (name, rest, nginx, haproxy) in TABLE {
        let bytes = format!("POST / HTTP/1.1\r\nX-Tag: 0\r\nHost: a\r\nConnection: close\r\n{rest}").into_bytes();
        let ours = ours::read(&bytes);
        assert!(ours.end == End::Refused && ours.requests.is_empty(), "we pass on: {name}");
        for ((server, chain), says) in chains.iter().zip([nginx, haproxy]) {
            let (seen, _) = chain.send(&bytes, PATIENCE);
            let does = if seen.is_empty() { Refuses } else { Serves };
            if does != *says {
                wrong.push(format!("{name}: {server:?} {does:?}, the table says {says:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
