//! Against this machine's kernel over loopback, as far as rights allow, and against malformed answers.

use std::io::{ErrorKind, Read as _, Write as _};

use nix::sys::socket::{Backlog, SockaddrStorage, listen};

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

#[test]
fn listening_sockets_are_listed_with_what_they_take() {
    let diag = SockDiag::open().unwrap();
    let listed = |family, at: SocketAddr| {
        let mut found = None;
        diag.listening(family, |local, v6_only| {
            if local == at {
                found = Some(v6_only);
            }
        })
        .unwrap();
        found
    };
    let v4 = TcpListener::bind("127.0.0.1:0").unwrap();
    // Bound to an address of IPv6, a socket takes no IPv4 whatever was asked for.
    let (v6, one) = (TcpListener::bind("[::]:0").unwrap(), TcpListener::bind("[::1]:0").unwrap());
    let only = socket(AddressFamily::Inet6, SockType::Stream, SockFlag::SOCK_CLOEXEC, SockProtocol::Tcp).unwrap();
    setsockopt(&only, sockopt::Ipv6V6Only, &true).unwrap();
    bind(only.as_raw_fd(), &SockaddrStorage::from("[::]:0".parse::<SocketAddr>().unwrap())).unwrap();
    listen(&only, Backlog::new(1).unwrap()).unwrap();
    let only = TcpListener::from(only);
    for (listener, family, v6_only) in
        [(&v4, Family::V4, false), (&v6, Family::V6, false), (&one, Family::V6, true), (&only, Family::V6, true)]
    {
        let at = listener.local_addr().unwrap();
        assert_eq!(listed(family, at), Some(v6_only), "{at}");
    }
    // A connection of it listens no more than one that is closed does.
    let at = v4.local_addr().unwrap();
    let client = TcpStream::connect(at).unwrap();
    assert_eq!(listed(Family::V4, client.local_addr().unwrap()), None);
    drop(v4);
    assert_eq!(listed(Family::V4, at), None);
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
    let good = message::list(2, message::ESTABLISHED);
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
