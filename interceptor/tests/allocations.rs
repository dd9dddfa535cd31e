//! How often a request allocates: whole connections through the data path, in this process, without the kernel side.
//!
//! What is allowed, and why, stands in docs/architecture.md; this test holds the number down. The client and the server
//! are plain threads that allocate nothing while they are counted.
#![expect(clippy::unwrap_used, reason = "a test ends at the first thing that fails")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use interceptor::captured::{Captured, Destinations};
use interceptor::config::{Config, PropagateMode, Proxy};
use interceptor::flow::Hub;
use interceptor::kernel::KernelSide;
use interceptor::metrics::Metrics;
use interceptor::net::budget::Budget;
use interceptor::net::buffer::BufferPool;
use interceptor::net::netns::Netns;
use interceptor::propagate::Memory;
use interceptor::proxy::{self, Arrival, Context};
use interceptor::room::{Limits, Room};
use interceptor::route::Direction;
use interceptor::snapshot::Snapshot;
use interceptor_common::{Client, ClientKey, Facts, FactsKey};

/// Counts what is asked of the system's allocator.
struct Counting;

static COUNT: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes on to the system's allocator with the arguments that came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise for `alloc` is the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from `alloc` above, which is the system's.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// No hooks are there to be told anything.
struct NoKernel;

impl KernelSide for NoKernel {
    fn set_client(&mut self, _key: ClientKey, _client: Client) -> bool {
        true
    }
    fn remove_client(&mut self, _key: &ClientKey) {}
    fn take_facts(&mut self, _key: &FactsKey) -> Option<Facts> {
        None
    }
}

fn context() -> Context {
    let text = "spaces: [{name: default}]\nrouting: {ingress_suffixes: [eus.azds.io]}";
    let config = Config::parse(text, "test").unwrap().config;
    Context {
        snapshot: Arc::new(ArcSwap::from_pointee(Snapshot::build(&config.topology, &config.routing, 1))),
        // The ring is full before anything is counted: from then on each record takes the place of one that is freed.
        hub: Arc::new(Hub::new(16)),
        metrics: Arc::new(Metrics::new()),
        destinations: Arc::new(Destinations::new(15001)),
        room: Arc::new(Room::new(Limits { connections: 64, ..Limits::default() })),
        budget: Rc::new(Budget::new(1 << 20, 0)),
        refusals: Default::default(),
        settings: Proxy::default(),
        kernel: RefCell::new(Box::new(NoKernel)),
        buffers: BufferPool::default(),
        turn: Cell::new(0),
        http: RefCell::new(HashSet::new()),
        stopping: tokio::sync::watch::channel(false).1,
        neighbours: Default::default(),
        inherited: Default::default(),
        drain: Default::default(),
        shortage: Default::default(),
    }
}

const REQUEST: &[u8] = b"GET /path HTTP/1.1\r\nHost: serviceB\r\nazds-route-as: default\r\n\r\n";
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

fn serve(listener: &TcpListener) {
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_nodelay(true).unwrap();
    let mut buffer = [0; REQUEST.len()];
    while stream.read_exact(&mut buffer).is_ok() {
        stream.write_all(RESPONSE).unwrap();
    }
}

fn ask(stream: &mut TcpStream, times: usize) {
    let mut buffer = [0; RESPONSE.len()];
    for _ in 0..times {
        stream.write_all(REQUEST).unwrap();
        stream.read_exact(&mut buffer).unwrap();
        assert_eq!(buffer, RESPONSE);
    }
}

/// Allocations of so many requests on a connection that is warm.
fn allocations(requests: usize) -> usize {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let front = TcpListener::bind("127.0.0.1:0").unwrap();
    let (to, at) = (server.local_addr().unwrap(), front.local_addr().unwrap());
    let server = std::thread::spawn(move || serve(&server));
    let client = std::thread::spawn(move || {
        let mut stream = TcpStream::connect(at).unwrap();
        stream.set_nodelay(true).unwrap();
        ask(&mut stream, 100);
        let before = COUNT.load(Ordering::Relaxed);
        ask(&mut stream, requests);
        COUNT.load(Ordering::Relaxed) - before
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, proxy_one(front, to));
    server.join().unwrap();
    client.join().unwrap()
}

async fn proxy_one(front: TcpListener, to: SocketAddr) {
    let (stream, client) = front.accept().unwrap();
    stream.set_nonblocking(true).unwrap();
    let stream = tokio::net::TcpStream::from_std(stream).unwrap();
    let workload = Captured {
        name: Arc::from("workload"),
        netns: Netns::open("/proc/self/ns/net".as_ref()).unwrap(),
        cookie: 1,
        addresses: vec![to.ip()],
        cgroup: None,
        open: Arc::default(),
        turned_away: Default::default(),
        threads: Default::default(),
        refused: AtomicBool::new(false),
        memory: Memory::new(PropagateMode::Trace),
    };
    let (context, workload) = (Rc::new(context()), Arc::new(workload));
    let arrival = Arrival { context, workload, direction: Direction::Outbound, client, original: to };
    proxy::begin(arrival, stream).unwrap().await.unwrap();
}

/// What a request's record takes: the record itself, and its method, path, host and header value.
const PER_REQUEST: usize = 5;

#[test]
fn a_request_on_a_warm_connection_allocates_only_its_record() {
    const REQUESTS: usize = 2000;
    let counted = allocations(REQUESTS);
    assert!(counted <= REQUESTS * PER_REQUEST + 50, "{counted} allocations for {REQUESTS} requests");
}
