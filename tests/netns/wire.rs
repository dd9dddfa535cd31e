//! Two captured pods and both ends of their connections in the test's hands: what one end sends, the other must get.
//!
//! `client` calls the service `peer`; `server` is behind it. Outbound connections are intercepted at the client's pod,
//! inbound ones (from outside the node) at the server's.

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use anyhow::Context as _;
use interceptor_tests::{Agent, Config, Lab, Pod, Process, Service, bins, wait};
use nix::sys::socket::{setsockopt, sockopt};
use serde_json::Value;

/// What normally takes milliseconds may take this long on a busy machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(10);
/// The ClusterIP of the service.
pub(crate) const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 96, 0, 10));
/// Its port and its pods'. Nobody says what is spoken there.
pub(crate) const UNDECLARED: (u16, u16) = (80, 8080);
/// One that is declared as TCP.
pub(crate) const TCP: (u16, u16) = (81, 8081);

/// The pods, the agent, and the node that they are on.
pub(crate) struct Wire {
    // First: programs end before what they run in.
    processes: Vec<Process>,
    pub(crate) agent: Agent,
    pub(crate) config: Config,
    pub(crate) client: Pod,
    pub(crate) server: Pod,
    pub(crate) lab: Lab,
}

/// At which pod's border a connection is intercepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Outbound,
    Inbound,
}

impl Way {
    pub(crate) const BOTH: [Way; 2] = [Way::Outbound, Way::Inbound];
}

impl Wire {
    pub(crate) fn new(name: &str) -> Wire {
        Wire::with(name, |_| {})
    }

    /// With other settings.
    pub(crate) fn with(name: &str, change: impl FnOnce(&mut Config)) -> Wire {
        Wire::with_lab(name, |_, config| change(config))
    }

    /// With other settings that depend on the node.
    pub(crate) fn with_lab(name: &str, change: impl FnOnce(&Lab, &mut Config)) -> Wire {
        let lab = Lab::new(name).unwrap_or_else(|error| panic!("{error:#}"));
        let (client, server) = (lab.pod("client").unwrap(), lab.pod("server").unwrap());
        let mut config = Config::new(&lab);
        // No header is added to requests without one (rule R4), so that they pass byte for byte.
        config.set("routing", "default_space", "none");
        let service = Service::new("peer", "default")
            .address(VIP)
            .port("any", UNDECLARED.0, UNDECLARED.1, None)
            .port("raw", TCP.0, TCP.1, Some("tcp"))
            .endpoint(&server);
        lab.expose(&service).unwrap();
        config.space("default", None).service(&service);
        config.workload(&client, Some("default")).workload(&server, Some("default"));
        change(&lab, &mut config);
        let agent = Agent::start(&lab, &config).unwrap_or_else(|error| panic!("{error:#}"));
        Wire { processes: Vec::new(), agent, config, client, server, lab }
    }

    /// Runs `pod ARGS` in the server's pod and waits until it listens.
    pub(crate) fn serve(&mut self, port: u16, args: &[&str]) {
        let address = format!("[::]:{port}");
        let process = self.server.spawn(bins::pod().unwrap(), [args, &["--listen", &address]].concat()).unwrap();
        self.server.wait_listening(port, LIMIT).unwrap_or_else(|error| panic!("{error:#}: {}", process.stderr()));
        self.processes.push(process);
    }

    /// Runs `pod ARGS` in the client's pod to its end.
    pub(crate) fn call(&self, args: &[&str]) -> String {
        self.client.run(bins::pod().unwrap(), args).unwrap()
    }

    /// Listens in the server's pod.
    pub(crate) fn listen(&self, port: (u16, u16)) -> Server {
        Server::in_pod(&self.server, port)
    }

    /// The address that a client of this way calls.
    pub(crate) fn address(&self, way: Way, port: (u16, u16)) -> SocketAddr {
        match way {
            Way::Outbound => (VIP, port.0).into(),
            Way::Inbound => self.server.at(port.1),
        }
    }

    /// Connects to the service.
    pub(crate) fn dial(&self, way: Way, port: (u16, u16)) -> TcpStream {
        self.dial_at(way, self.address(way, port))
    }

    /// Connects to any address.
    pub(crate) fn dial_at(&self, way: Way, to: SocketAddr) -> TcpStream {
        let from = if way == Way::Outbound { &*self.client } else { self.lab.outside() };
        limited(from.connect(to).unwrap_or_else(|error| panic!("{error:#}")))
    }

    /// Both ends of a new connection.
    pub(crate) fn pair(&self, server: &Server, way: Way, port: (u16, u16)) -> (TcpStream, TcpStream) {
        let client = self.dial(way, port);
        (client, server.accept())
    }

    /// Waits until the far ends have acknowledged all that was sent from a port of the server's.
    pub(crate) fn wait_all_sent(&self, port: (u16, u16)) {
        let path = format!("/proc/{}/net/tcp6", self.server.netns().pid());
        let local = format!(":{:04X}", port.1);
        let sent = wait::until(LIMIT, "the server's bytes to be acknowledged", || {
            let table = fs::read_to_string(&path).context("reading the sockets")?;
            // "sl local remote state tx_queue:rx_queue …"
            let mut rows = table.lines().map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
            let mut of_port = rows.by_ref().filter(|row| row.get(1).is_some_and(|address| address.ends_with(&local)));
            let unsent = of_port.find(|row| row.get(4).is_some_and(|queues| !queues.starts_with("00000000:")));
            anyhow::ensure!(unsent.is_none(), "{unsent:?}");
            Ok(())
        });
        sent.unwrap();
    }

    /// The agent's process id.
    pub(crate) fn pid(&mut self) -> u32 {
        self.agent.process().pid()
    }

    /// A line of the agent's /proc/PID/status, in KiB.
    pub(crate) fn memory_kib(&mut self, key: &str) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = text.lines().find(|line| line.starts_with(key)).unwrap();
        line.split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// How many descriptors the agent has open.
    pub(crate) fn descriptors(&mut self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count()
    }

    /// What `status` says of how opaque bytes move.
    pub(crate) fn splice_status(&self) -> Value {
        self.agent.status().unwrap()["splice"].clone()
    }

    /// What the hooks have counted for this direction and reason.
    pub(crate) fn counted(&self, direction: &str, reason: &str) -> u64 {
        let status = self.agent.status().unwrap();
        let same = |count: &&Value| count["direction"] == direction && count["reason"] == reason;
        let counts = status["kernel"].as_array().unwrap();
        counts.iter().find(same).unwrap_or_else(|| panic!("no {reason} in {status}"))["connections"].as_u64().unwrap()
    }
}

/// The server's end before there is a connection.
pub(crate) struct Server(TcpListener);

impl Server {
    /// Listens in a pod.
    pub(crate) fn in_pod(pod: &Pod, port: (u16, u16)) -> Server {
        // A child that another test is starting may hold the listener of before until it executes.
        let at = format!("[::]:{}", port.1).parse().unwrap();
        let listener = wait::until(LIMIT, "the port to be free", || pod.listen(at)).unwrap();
        listener.set_nonblocking(true).unwrap();
        Server(listener)
    }

    /// The next connection.
    pub(crate) fn accept(&self) -> TcpStream {
        let accepted = wait::until(LIMIT, "a connection at the server", || self.0.accept().context("accepting"));
        limited(accepted.unwrap_or_else(|error| panic!("{error:#}")).0)
    }

    /// The next connection, if there is one already.
    pub(crate) fn waiting(&self) -> Option<TcpStream> {
        self.0.accept().ok().map(|(stream, _)| limited(stream))
    }
}

fn limited(stream: TcpStream) -> TcpStream {
    stream.set_nonblocking(false).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.set_write_timeout(Some(LIMIT)).unwrap();
    stream
}

/// Sends bytes.
pub(crate) fn send(to: &TcpStream, bytes: impl AsRef<[u8]>) {
    let mut to = to;
    to.write_all(bytes.as_ref()).unwrap();
}

/// The next bytes must be these.
#[track_caller]
pub(crate) fn expect(from: &TcpStream, bytes: impl AsRef<[u8]>) {
    let (mut from, expected) = (from, bytes.as_ref());
    let mut got = vec![0; expected.len()];
    let mut at = 0;
    while at < got.len() {
        match from.read(&mut got[at..]) {
            Ok(0) => break,
            Ok(count) => at += count,
            Err(error) => panic!("{error} after {:?}", String::from_utf8_lossy(&got[..at])),
        }
    }
    assert_eq!(String::from_utf8_lossy(&got[..at]), String::from_utf8_lossy(expected));
}

/// Everything until the peer ends its direction.
#[track_caller]
pub(crate) fn until_end(from: &TcpStream) -> Vec<u8> {
    let (mut from, mut got) = (from, Vec::new());
    from.read_to_end(&mut got)
        .unwrap_or_else(|error| panic!("{error} after {} bytes: {}", got.len(), String::from_utf8_lossy(&got)));
    got
}

/// The peer has ended its direction, and nothing comes before.
#[track_caller]
pub(crate) fn expect_end(from: &TcpStream) {
    assert_eq!(String::from_utf8_lossy(&until_end(from)), "");
}

/// The connection is broken, and nothing comes before.
#[track_caller]
pub(crate) fn expect_reset(from: &TcpStream) {
    let mut from = from;
    match from.read(&mut [0; 64]) {
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        other => panic!("{other:?} instead of a reset"),
    }
}

/// Sends `request` from one end and `response` from the other; both must arrive as they are.
#[track_caller]
pub(crate) fn exchange(client: &TcpStream, server: &TcpStream, request: impl AsRef<[u8]>, response: impl AsRef<[u8]>) {
    send(client, &request);
    expect(server, &request);
    send(server, &response);
    expect(client, &response);
}

/// Closes with RST.
pub(crate) fn reset(stream: TcpStream) {
    let at_once = nix::libc::linger { l_onoff: 1, l_linger: 0 };
    setsockopt(&stream, sockopt::Linger, &at_once).unwrap();
    drop(stream);
}
