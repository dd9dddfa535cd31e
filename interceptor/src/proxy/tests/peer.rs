//! The ends of a connection: the client, and the servers behind the agent.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// What normally takes microseconds may take this long on a busy machine.
pub(super) const LIMIT: Duration = Duration::from_secs(5);

/// One end of a connection, played by the test.
pub(super) struct Peer(pub(super) TcpStream);

impl Peer {
    pub(super) fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        Self(stream)
    }

    pub(super) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Reads as many bytes as `text` has, which must be these.
    pub(super) async fn expect(&mut self, text: impl AsRef<[u8]>) {
        let text = text.as_ref();
        let mut got = Vec::new();
        while got.len() < text.len() {
            let mut bytes = vec![0; text.len() - got.len()];
            let count = self.0.read(&mut bytes).await.unwrap();
            got.extend_from_slice(&bytes[..count]);
            if count == 0 || !text.starts_with(&got) {
                break;
            }
        }
        assert!(got == text, "got {:?}", String::from_utf8_lossy(&got));
    }

    /// Reads a head without a body.
    pub(super) async fn head(&mut self) -> String {
        let mut got = Vec::new();
        while !got.ends_with(b"\r\n\r\n") {
            got.push(self.0.read_u8().await.unwrap());
        }
        String::from_utf8(got).unwrap()
    }

    /// Reads to the orderly end.
    pub(super) async fn rest(&mut self) -> String {
        String::from_utf8(self.rest_bytes().await).unwrap()
    }

    /// The same of what is no text.
    pub(super) async fn rest_bytes(&mut self) -> Vec<u8> {
        let mut got = Vec::new();
        self.0.read_to_end(&mut got).await.unwrap();
        got
    }

    /// Reads to the orderly end, before which nothing must come.
    pub(super) async fn ended(&mut self) {
        assert_eq!(self.rest().await, "");
    }

    /// Reads on to the end, which must be a reset.
    pub(super) async fn was_reset(&mut self) {
        let mut got = Vec::new();
        let end = self.0.read_to_end(&mut got).await;
        let reset = end.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset);
        assert!(reset, "an orderly end after {:?}", String::from_utf8_lossy(&got));
    }

    /// Ends this direction.
    pub(super) async fn end(&mut self) {
        self.0.shutdown().await.unwrap();
    }

    /// Breaks the connection.
    pub(super) fn reset(self) {
        self.0.set_zero_linger().unwrap();
    }
}

/// A server, played by the test.
pub(super) struct Server {
    listener: TcpListener,
    pub(super) address: SocketAddr,
}

impl Server {
    pub(super) async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self { address: listener.local_addr().unwrap(), listener }
    }

    /// The next connection to it.
    pub(super) async fn accept(&self) -> Peer {
        Peer::new(self.listener.accept().await.unwrap().0)
    }

    /// Whether nobody has connected that was not accepted.
    pub(super) async fn is_left_alone(&self) -> bool {
        tokio::time::timeout(Duration::ZERO, self.listener.accept()).await.is_err()
    }
}

/// An address where nobody listens.
pub(super) async fn nobody() -> SocketAddr {
    Server::new().await.address
}

/// An address that answers no SYN: its queue of one is full for as long as this lives.
pub(super) struct Mute {
    pub(super) address: SocketAddr,
    _listener: TcpListener,
    _first: TcpStream,
}

impl Mute {
    pub(super) async fn new() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        Self { address, _first: TcpStream::connect(address).await.unwrap(), _listener: listener }
    }
}
