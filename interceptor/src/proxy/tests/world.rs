//! The cluster around a connection: a service `b` of the space `default`, its copies, the captured workload `caller`.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use arc_swap::ArcSwap;
use interceptor_common::threads::{Call, Request};
use interceptor_common::{Client, ClientKey, Endpoint, Facts, FactsKey};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;

use super::peer::Peer;
use crate::captured::{Captured, Destinations, Threads};
use crate::config::{
    EndpointSpec, NetnsRef, PortSpec, PropagateMode, Proxy, Routing, ServiceSpec, SpaceSpec, Topology, WorkloadSpec,
};
use crate::flow::{ConnectionRecord, Filter, Hub, Record, RequestRecord};
use crate::kernel::KernelSide;
use crate::metrics::Metrics;
use crate::net::budget::Budget;
use crate::net::netns::Netns;
use crate::propagate::Memory;
use crate::proxy::{Arrival, Context, begin};
use crate::room::{Limits, Room};
use crate::route::Direction;
use crate::snapshot::Snapshot;

const OWN_NETNS: &str = "/proc/self/ns/net";

/// What differs from test to test.
#[derive(Default)]
pub(super) struct Setup {
    /// Spaces derived from `default` with their copy of `b`.
    pub(super) copies: Vec<(&'static str, SocketAddr)>,
    /// Further endpoints of each copy.
    pub(super) beside: Vec<SocketAddr>,
    /// Spaces derived from `default` that have no copy of `b`.
    pub(super) bare: Vec<&'static str>,
    /// The space that `caller` lives in.
    pub(super) caller: Option<&'static str>,
    /// The name of `b`'s port.
    pub(super) port: &'static str,
    /// What `b`'s owner declares.
    pub(super) app_protocol: Option<&'static str>,
    pub(super) settings: Proxy,
    /// How `caller`'s requests find their space again.
    pub(super) mode: Option<PropagateMode>,
    /// Other rules.
    pub(super) routing: Option<Routing>,
    /// Places for connections, where there are few.
    pub(super) room: Option<usize>,
    /// Bytes that may be held for peers that do not keep up, where they are few.
    pub(super) budget: Option<usize>,
}

impl Setup {
    fn limits(&self) -> Limits {
        Limits { connections: self.room.unwrap_or(1000), ..Limits::default() }
    }
}

/// What the kernel's hooks were told, and tell.
#[derive(Default)]
pub(super) struct Kernel {
    pub(super) is_full: Cell<bool>,
    pub(super) clients: RefCell<Vec<Endpoint>>,
    pub(super) facts: Cell<Option<Facts>>,
    /// Requests as they were given to applications, by connection; `None` where one ended.
    pub(super) requests: RefCell<Vec<(u64, Option<Request>)>>,
    /// What is known of the next call.
    pub(super) call: Cell<Option<Call>>,
}

struct Hooks(Rc<Kernel>);

impl KernelSide for Hooks {
    fn set_client(&mut self, _key: ClientKey, client: Client) -> bool {
        if !self.0.is_full.get() {
            self.0.clients.borrow_mut().push(client.client);
        }
        !self.0.is_full.get()
    }

    fn remove_client(&mut self, _key: &ClientKey) {
        self.0.clients.borrow_mut().pop().unwrap();
    }

    fn take_facts(&mut self, _key: &FactsKey) -> Option<Facts> {
        self.0.facts.take()
    }

    fn begin_request(&mut self, connection: u64, request: Request) -> bool {
        self.0.requests.borrow_mut().push((connection, Some(request)));
        true
    }

    fn end_request(&mut self, connection: u64) {
        self.0.requests.borrow_mut().push((connection, None));
    }

    fn call(&self, _key: &FactsKey) -> Option<Call> {
        self.0.call.get()
    }
}

/// The agent with one captured workload, before which a client can be put.
pub(super) struct World {
    pub(super) context: Rc<Context>,
    pub(super) workload: Arc<Captured>,
    pub(super) kernel: Rc<Kernel>,
    front: TcpListener,
    /// Where `b` is.
    origin: SocketAddr,
}

impl World {
    /// A world where `b` is at that address.
    pub(super) async fn new(origin: SocketAddr, setup: Setup) -> Self {
        let (topology, routing) = (topology(origin, &setup), setup.routing.clone().unwrap_or_else(routing));
        let destinations = Destinations::new(15001);
        destinations.assign(origin).unwrap();
        let kernel = Rc::<Kernel>::default();
        let context = Context {
            snapshot: Arc::new(ArcSwap::from_pointee(Snapshot::build(&topology, &routing, 1))),
            hub: Arc::new(Hub::new(1000)),
            metrics: Arc::new(Metrics::new()),
            destinations: Arc::new(destinations),
            room: Arc::new(Room::new(setup.limits())),
            budget: Rc::new(Budget::new(setup.budget.unwrap_or(64 << 20), 1000)),
            refusals: Default::default(),
            settings: setup.settings,
            kernel: RefCell::new(Box::new(Hooks(Rc::clone(&kernel)))),
            buffers: Default::default(),
            turn: Cell::default(),
            http: RefCell::default(),
            stopping: tokio::sync::watch::channel(false).1,
            neighbours: Default::default(),
            inherited: Default::default(),
            drain: Default::default(),
            shortage: Default::default(),
        };
        let workload = Captured {
            name: Arc::from("caller"),
            netns: Netns::open(OWN_NETNS.as_ref()).unwrap(),
            cookie: 1,
            addresses: vec![origin.ip()],
            cgroup: None,
            open: Arc::default(),
            turned_away: Default::default(),
            threads: Threads::default(),
            refused: AtomicBool::new(false),
            memory: Memory::new(setup.mode.unwrap_or(PropagateMode::Trace)),
        };
        let front = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self { context: Rc::new(context), workload: Arc::new(workload), kernel, front, origin }
    }

    /// A connection of `caller` to `b`. Bytes that are given here are there before the agent looks.
    pub(super) async fn call(&self, first: impl AsRef<[u8]>) -> Session {
        self.open(Direction::Outbound, first.as_ref(), |_| 0).await.0
    }

    /// As [`World::call`], with something done to the agent's end before it is served.
    pub(super) async fn call_filled(&self, first: &str, fill: impl FnOnce(&TcpStream) -> usize) -> (Session, usize) {
        self.open(Direction::Outbound, first.as_ref(), fill).await
    }

    /// A connection to `caller`'s own application, which is `b`.
    pub(super) async fn called(&self, first: impl AsRef<[u8]>) -> Session {
        self.open(Direction::Inbound, first.as_ref(), |_| 0).await.0
    }

    /// The same from an address that is neither a workload's nor a service's.
    pub(super) async fn called_by_outside(&self, first: impl AsRef<[u8]>) -> Session {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.9:0".parse().unwrap()).unwrap();
        self.open_on(socket, Direction::Inbound, first.as_ref(), |_| 0).await.0
    }

    /// From now on the hooks follow `caller`'s threads.
    pub(super) fn follow_threads(&self) {
        self.workload.threads.follow(|| self.context.metrics.thread_calls("caller"));
    }

    /// Connections that come from now on are those of another workload.
    pub(super) fn become_another_workload(&mut self) {
        let netns = Netns::open(OWN_NETNS.as_ref()).unwrap();
        let (name, addresses) = (Arc::clone(&self.workload.name), self.workload.addresses.clone());
        let (memory, threads) = (Memory::new(PropagateMode::Trace), Threads::default());
        self.workload = Arc::new(Captured {
            name,
            netns,
            cookie: 2,
            addresses,
            cgroup: None,
            open: Arc::default(),
            turned_away: Default::default(),
            threads,
            refused: AtomicBool::new(false),
            memory,
        });
    }

    async fn open(
        &self,
        direction: Direction,
        first: &[u8],
        fill: impl FnOnce(&TcpStream) -> usize,
    ) -> (Session, usize) {
        self.open_on(TcpSocket::new_v4().unwrap(), direction, first, fill).await
    }

    async fn open_on(
        &self,
        socket: TcpSocket,
        direction: Direction,
        first: &[u8],
        fill: impl FnOnce(&TcpStream) -> usize,
    ) -> (Session, usize) {
        let at = self.front.local_addr().unwrap();
        let (client, accepted) = tokio::join!(socket.connect(at), self.front.accept());
        let (mut client, (stream, address)) = (Peer::new(client.unwrap()), accepted.unwrap());
        if !first.is_empty() {
            client.send(first).await;
            stream.readable().await.unwrap();
        }
        let filled = fill(&stream);
        let (context, workload) = (Rc::clone(&self.context), Arc::clone(&self.workload));
        let arrival = Arrival { context, workload, direction, client: address, original: self.origin };
        let serving = begin(arrival, stream).unwrap_or_else(|| tokio::task::spawn_local(async {}));
        (Session { client, address, serving, context: Rc::clone(&self.context) }, filled)
    }
}

/// A connection that the agent serves.
pub(super) struct Session {
    pub(super) client: Peer,
    address: SocketAddr,
    serving: JoinHandle<()>,
    context: Rc<Context>,
}

/// What was recorded of a connection.
pub(super) struct Records {
    pub(super) connection: ConnectionRecord,
    pub(super) requests: Vec<RequestRecord>,
}

impl Session {
    /// Closes the client's end, if it is still open, and waits for the agent's.
    pub(super) async fn over(self) -> Records {
        drop(self.client);
        Self::ended(self.serving, self.address, &self.context).await
    }

    /// Breaks the client's end and waits for the agent's.
    pub(super) async fn broken(self) -> Records {
        self.client.reset();
        Self::ended(self.serving, self.address, &self.context).await
    }

    /// Exactly one record of the connection, and those of its requests.
    async fn ended(serving: JoinHandle<()>, client: SocketAddr, context: &Context) -> Records {
        serving.await.unwrap();
        let mut requests = Vec::new();
        let mut connections = Vec::new();
        for record in context.hub.recent(&Filter::default(), usize::MAX) {
            match &*record {
                Record::Connection(record) if record.client == client => connections.push(record.clone()),
                Record::Request(record) if record.client == client => requests.push(record.clone()),
                _ => {}
            }
        }
        assert_eq!(connections.len(), 1, "records of one connection");
        Records { connection: connections.remove(0), requests }
    }

    /// Stops the agent's task, as the end of the agent does.
    pub(super) async fn abandoned(self) -> Records {
        self.serving.abort();
        assert!(self.serving.await.unwrap_err().is_cancelled());
        Self::ended(tokio::task::spawn_local(async {}), self.address, &self.context).await
    }
}

impl Records {
    /// The verdict and reason of the connection.
    pub(super) fn end(&self) -> (&'static str, &'static str) {
        (self.connection.verdict.as_str(), self.connection.reason)
    }

    /// The status, verdict and reason of its one request.
    pub(super) fn request(&self) -> (Option<u16>, &'static str, &'static str) {
        let [request] = &self.requests[..] else { panic!("{} requests", self.requests.len()) };
        (request.status, request.verdict.as_str(), request.reason)
    }
}

pub(super) fn routing() -> Routing {
    Routing { ingress_suffixes: vec!["eus.azds.io".to_owned()], ..Routing::default() }
}

/// Built by hand: a file may not name loopback addresses.
fn topology(origin: SocketAddr, setup: &Setup) -> Topology {
    let further = |address: &SocketAddr| EndpointSpec {
        address: address.ip(),
        ready: true,
        ports: vec![(setup.port.to_owned(), address.port())],
    };
    let endpoints = |address: SocketAddr| {
        let first = EndpointSpec { address: address.ip(), ready: true, ports: Vec::new() };
        let beside: &[SocketAddr] = if address == origin { &[] } else { &setup.beside };
        std::iter::once(first).chain(beside.iter().map(further)).collect()
    };
    let service = |space: &str, address: SocketAddr| ServiceSpec {
        name: "b".to_owned(),
        space: space.to_owned(),
        addresses: if address == origin { vec![address.ip()] } else { Vec::new() },
        ports: vec![PortSpec {
            name: setup.port.to_owned(),
            port: origin.port(),
            target_port: address.port(),
            app_protocol: setup.app_protocol.map(str::to_owned),
        }],
        endpoints: endpoints(address),
        endpoints_are_destinations: true,
    };
    let root = [("default", origin)];
    let all = root.iter().chain(&setup.copies);
    let parent = |name: &str| (name != "default").then(|| "default".to_owned());
    let space = |name: &str| SpaceSpec { name: name.to_owned(), parent: parent(name), propagate: None };
    let caller = WorkloadSpec {
        name: "caller".to_owned(),
        space: setup.caller.map(str::to_owned),
        netns: NetnsRef::Path(OWN_NETNS.into()),
        cgroup: None,
        addresses: vec![origin.ip()],
        propagate: None,
    };
    Topology {
        spaces: all.clone().map(|(name, _)| *name).chain(setup.bare.iter().copied()).map(space).collect(),
        services: all.map(|(name, address)| service(name, *address)).collect(),
        workloads: vec![caller],
    }
}
