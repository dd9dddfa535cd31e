//! Against this machine's kernel over loopback, as far as rights allow, and against malformed answers.

use std::io::{ErrorKind, Read as _, Write as _};

use super::*;

fn pair(at: &str) -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(at).unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}

fn find(diag: &SockDiag, family: Family, local: SocketAddr) -> Option<Connection> {
    let mut found = None;
    diag.established(family, |connection| {
        if connection.local == local {
            found = Some(connection);
        }
    })
    .unwrap();
    found
}

#[test]
fn a_connection_is_listed_with_both_ends_and_its_cgroup() {
    let diag = SockDiag::open().unwrap();
    for (at, family) in [("127.0.0.1:0", Family::V4), ("[::1]:0", Family::V6)] {
        let (client, server) = pair(at);
        let (local, remote) = (client.local_addr().unwrap(), server.local_addr().unwrap());
        let found = find(&diag, family, local).unwrap();
        assert_eq!((found.local, found.remote), (local, remote));
        assert!(found.cgroup.is_some(), "{found:?}");
        let other = if family == Family::V4 { Family::V6 } else { Family::V4 };
        assert!(find(&diag, other, local).is_none());
        // One that is over is no established one.
        drop((client, server));
        assert!(find(&diag, family, local).is_none());
    }
}

#[test]
fn an_ipv4_connection_of_an_ipv6_socket_is_listed_as_ipv4() {
    let diag = SockDiag::open().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let client = TcpStream::connect(format!("[::ffff:127.0.0.1]:{port}")).unwrap();
    let local = SocketAddr::new(client.local_addr().unwrap().ip().to_canonical(), client.local_addr().unwrap().port());
    let found = find(&diag, Family::V6, local).unwrap();
    assert_eq!(found.remote, listener.local_addr().unwrap());
}

/// Closing takes `CAP_NET_ADMIN`; without it the kernel must be seen to refuse.
#[test]
fn a_closed_connection_ends_for_both_sides_and_no_other_does() {
    let diag = SockDiag::open().unwrap();
    let (mut client, mut server) = pair("127.0.0.1:0");
    let (mut other, mut other_server) = pair("127.0.0.1:0");
    let found = find(&diag, Family::V4, client.local_addr().unwrap()).unwrap();
    match diag.destroy(&found) {
        Ok(closed) => assert!(closed),
        Err(error) => {
            assert!(matches!(error, DiagError::Destroy(Errno::EPERM)) && !nix::unistd::geteuid().is_root(), "{error}");
            return;
        }
    }
    assert_eq!(client.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionAborted);
    assert_eq!(server.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert!(!diag.destroy(&found).unwrap(), "it is gone already");
    other.write_all(b"x").unwrap();
    other_server.read_exact(&mut [0]).unwrap();
    probe().unwrap();
}

#[test]
fn a_malformed_answer_is_an_error_and_ends() {
    let good = message::list(2);
    let mut short = good.clone();
    short[4] = 20;
    for part in [&good[..3], &good[..20], &[0; 16], &[255; 64], &short[..40]] {
        let answers: Vec<_> = Answers::new(part).collect();
        assert!(answers.len() <= 5 && matches!(answers.last(), Some(Err(DiagError::Malformed))), "{answers:?}");
    }
    assert_eq!(Answers::new(&[]).count(), 0);
}

#[test]
fn errors_say_what_the_kernel_lacks() {
    for (errno, words) in [
        (Errno::EOPNOTSUPP, "CONFIG_INET_DIAG_DESTROY"),
        (Errno::EPERM, "CAP_NET_ADMIN"),
        (Errno::ETIMEDOUT, "timed out"),
    ] {
        assert!(DiagError::Destroy(errno).to_string().contains(words), "{}", DiagError::Destroy(errno));
    }
    assert!(DiagError::List(Errno::ENOENT).to_string().contains("tcp_diag"));
}
