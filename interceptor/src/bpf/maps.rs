//! Typed handles of the maps. `interceptor-common` says what each map holds and who writes it.

use std::borrow::Borrow;
use std::collections::HashSet;
use std::hash::Hash;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use aya::maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray, SockHash};
use aya::{Ebpf, Pod};
use interceptor_common::threads::{Call, Request};
use interceptor_common::{
    Address, Client, ClientKey, Control, DnsKey, Endpoint, Facts, FactsKey, SpliceFlow, Workload, counters, names,
};

use super::error::BpfError;
use super::splice::SpliceMaps;
use crate::kernel::KernelSide;

/// The maps that `capture` fills, from the control thread.
pub struct CaptureMaps {
    /// Captured destinations by address.
    pub captured: Table<Endpoint, u32>,
    /// Captured destinations by index.
    pub originals: Table<u32, Endpoint>,
    /// Workloads by netns cookie.
    pub workloads: Table<u64, Workload>,
    /// Ports that are intercepted inbound.
    pub inbound: Table<Endpoint, u32>,
    listening: Table<Endpoint, u64>,
    /// Addresses of captured workloads.
    pub peers: Table<Address, u32>,
    /// The agent's DNS sockets by the server they stand for.
    pub dns_agents: Table<DnsKey, Endpoint>,
    /// DNS servers by the agent's socket.
    pub dns_servers: Table<DnsKey, Endpoint>,
    /// Real clients of the workers' connections, which write it: for what an agent before has left.
    pub clients: Table<ClientKey, Client>,
    listeners: SockHash<MapData, Address>,
    outbound: SockHash<MapData, u64>,
}

impl CaptureMaps {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, BpfError> {
        Ok(Self {
            captured: Table::new(names::CAPTURE, take(ebpf, names::CAPTURE)?)?,
            originals: Table::new(names::ORIGINALS, take(ebpf, names::ORIGINALS)?)?,
            workloads: Table::new(names::WORKLOADS, take(ebpf, names::WORKLOADS)?)?,
            inbound: Table::new(names::INBOUND, take(ebpf, names::INBOUND)?)?,
            listening: Table::new(names::LISTENING, take(ebpf, names::LISTENING)?)?,
            peers: Table::new(names::PEERS, take(ebpf, names::PEERS)?)?,
            dns_agents: Table::new(names::DNS_AGENTS, take(ebpf, names::DNS_AGENTS)?)?,
            dns_servers: Table::new(names::DNS_SERVERS, take(ebpf, names::DNS_SERVERS)?)?,
            clients: Table::new(names::CLIENTS, open(ebpf, names::CLIENTS)?)?,
            listeners: SockHash::try_from(take(ebpf, names::LISTENERS)?).map_err(BpfError::map(names::LISTENERS))?,
            outbound: SockHash::try_from(take(ebpf, names::OUTBOUND)?).map_err(BpfError::map(names::OUTBOUND))?,
        })
    }

    /// Makes the inbound listener of a workload's address known to sk_lookup. The kernel forgets it when it closes.
    ///
    /// # Errors
    /// Where the kernel refuses the socket or the map is full.
    pub fn set_listener(&mut self, address: Address, listener: impl AsRawFd) -> Result<(), BpfError> {
        self.listeners.insert(address, listener, 0).map_err(BpfError::map(names::LISTENERS))
    }

    /// Makes a workload's outbound listener known to the connect hooks: without one they let everything pass. The kernel
    /// forgets it when it closes.
    ///
    /// # Errors
    /// As [`set_listener`](Self::set_listener).
    pub fn set_outbound(&mut self, netns: u64, listener: impl AsRawFd) -> Result<(), BpfError> {
        self.outbound.insert(netns, listener, 0).map_err(BpfError::map(names::OUTBOUND))
    }

    /// Forgets which sockets listen at these addresses, whose workload the hooks do not know any more.
    ///
    /// # Errors
    /// Where the kernel refuses.
    pub fn forget_listening(&mut self, at: &[Address]) -> Result<(), BpfError> {
        let gone: Vec<Endpoint> = self.listening.keys().filter(|key| at.contains(&key.address)).collect();
        gone.iter().try_for_each(|key| self.listening.remove(key))
    }
}

/// What the agent tells the hooks, from the heartbeat's thread.
pub struct ControlMap {
    array: Array<MapData, Control>,
}

impl ControlMap {
    pub(super) fn open(ebpf: &Ebpf) -> Result<Self, BpfError> {
        let array = Array::try_from(open(ebpf, names::CONTROL)?).map_err(BpfError::map(names::CONTROL))?;
        Ok(Self { array })
    }

    /// What they were told last, by this agent or the one before.
    ///
    /// # Errors
    /// Where the kernel refuses.
    pub fn get(&self) -> Result<Control, BpfError> {
        self.array.get(&0, 0).map_err(BpfError::map(names::CONTROL))
    }

    /// Tells the hooks.
    ///
    /// # Errors
    /// Where the kernel refuses.
    pub fn set(&mut self, control: Control) -> Result<(), BpfError> {
        self.array.set(0, control, 0).map_err(BpfError::map(names::CONTROL))
    }
}

/// A worker's own handles of the maps that belong to connections.
pub struct FlowMaps {
    clients: Table<ClientKey, Client>,
    facts: Table<FactsKey, Facts>,
    requests: Table<u64, Request>,
    calls: Table<FactsKey, Call>,
    splice: SpliceMaps,
}

impl FlowMaps {
    pub(super) fn open(ebpf: &Ebpf) -> Result<Self, BpfError> {
        Ok(Self {
            clients: Table::new(names::CLIENTS, open(ebpf, names::CLIENTS)?)?,
            facts: Table::new(names::FACTS, open(ebpf, names::FACTS)?)?,
            requests: Table::new(names::REQUESTS, open(ebpf, names::REQUESTS)?)?,
            calls: Table::new(names::CALLS, open(ebpf, names::CALLS)?)?,
            splice: SpliceMaps::open(ebpf)?,
        })
    }
}

impl KernelSide for FlowMaps {
    fn set_client(&mut self, key: ClientKey, client: Client) -> bool {
        let said = self.clients.insert(key, client);
        if let Err(error) = &said {
            tracing::debug!(%error, "the application will see the agent's address instead of the client's");
        }
        said.is_ok()
    }

    fn remove_client(&mut self, key: &ClientKey) {
        if let Err(error) = self.clients.remove(key) {
            tracing::debug!(%error, "forgetting the client of an ended connection");
        }
    }

    fn take_facts(&mut self, key: &FactsKey) -> Option<Facts> {
        let facts = self.facts.inner.get(key, 0).ok()?;
        // A failure leaves the entry to the map's own LRU.
        self.facts.remove(key).ok();
        Some(facts)
    }

    fn begin_request(&mut self, connection: u64, request: Request) -> bool {
        let begun = self.requests.insert(connection, request);
        if let Err(error) = &begun {
            tracing::debug!(%error, "calls for a request will not be traced back to it");
        }
        begun.is_ok()
    }

    fn end_request(&mut self, connection: u64) {
        if let Err(error) = self.requests.remove(&connection) {
            tracing::debug!(%error, "forgetting an ended request");
        }
    }

    fn call(&self, key: &FactsKey) -> Option<Call> {
        self.calls.get(key)
    }

    fn forget_calls(&mut self, key: &FactsKey) {
        if let Err(error) = self.calls.remove(key) {
            tracing::debug!(%error, "forgetting the calls of an ended connection");
        }
    }

    fn splice(&mut self, from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<u64> {
        self.splice.enrol(from, to).map_err(io::Error::other)
    }

    fn spliced(&self, key: u64) -> Option<SpliceFlow> {
        self.splice.flow(key)
    }

    fn end_splice(&mut self, key: u64) {
        self.splice.forget(key);
    }
}

/// The hooks' counters.
pub struct KernelCounters {
    array: PerCpuArray<MapData, u64>,
}

impl KernelCounters {
    pub(super) fn open(ebpf: &Ebpf) -> Result<Self, BpfError> {
        let array = PerCpuArray::try_from(open(ebpf, names::COUNTERS)?).map_err(BpfError::map(names::COUNTERS))?;
        Ok(Self { array })
    }

    /// Every counter, summed over the CPUs, in the order of [`counters::ALL`].
    pub fn read(&self) -> Vec<u64> {
        (0..counters::COUNT)
            .map(|index| self.array.get(&index, 0).map(|values| values.iter().sum()).unwrap_or_default())
            .collect()
    }
}

/// A hash map that knows its name for errors.
pub struct Table<K: Pod, V: Pod> {
    name: &'static str,
    inner: HashMap<MapData, K, V>,
}

impl<K: Pod, V: Pod> Table<K, V> {
    pub(super) fn new(name: &'static str, map: Map) -> Result<Self, BpfError> {
        Ok(Self { name, inner: HashMap::try_from(map).map_err(BpfError::map(name))? })
    }

    /// Every entry, as far as nobody else writes meanwhile.
    pub fn entries(&self) -> Vec<(K, V)> {
        self.inner.iter().filter_map(Result::ok).collect()
    }

    /// An entry; `None` where there is none.
    pub(super) fn get(&self, key: &K) -> Option<V> {
        self.inner.get(key, 0).ok()
    }

    /// All keys; those that cannot be read are left out.
    fn keys(&self) -> impl Iterator<Item = K> {
        self.inner.keys().filter_map(Result::ok)
    }

    /// Adds or replaces an entry.
    ///
    /// # Errors
    /// Where the map is full; see [`BpfError::is_full`].
    pub fn insert(&mut self, key: impl Borrow<K>, value: impl Borrow<V>) -> Result<(), BpfError> {
        self.inner.insert(key, value, 0).map_err(BpfError::map(self.name))
    }

    /// Removes an entry; one that is not there counts as removed.
    ///
    /// # Errors
    /// Where the kernel refuses.
    pub fn remove(&mut self, key: &K) -> Result<(), BpfError> {
        match self.inner.remove(key) {
            Err(MapError::KeyNotFound) => Ok(()),
            Err(MapError::SyscallError(error)) if error.io_error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
            other => other.map_err(BpfError::map(self.name)),
        }
    }

    /// Removes every entry whose key is not among these; what the kernel refuses stays, and is told of.
    pub fn remove_others(&mut self, own: &HashSet<K>) -> Vec<BpfError>
    where
        K: Eq + Hash,
    {
        let others: Vec<K> = self.keys().filter(|key| !own.contains(key)).collect();
        others.iter().filter_map(|key| self.remove(key).err()).collect()
    }
}

fn missing(name: &str) -> MapError {
    MapError::InvalidName { name: name.to_owned() }
}

fn take(ebpf: &mut Ebpf, name: &'static str) -> Result<Map, BpfError> {
    ebpf.take_map(name).ok_or_else(|| BpfError::map(name)(missing(name)))
}

/// A second handle of a map, over a descriptor of its own.
pub(super) fn open(ebpf: &Ebpf, name: &'static str) -> Result<Map, BpfError> {
    let data = MapData::from_fd(descriptor(ebpf, name)?).map_err(BpfError::map(name))?;
    Map::from_map_data(data).map_err(BpfError::map(name))
}

/// A descriptor of a map that nobody has taken yet.
pub(super) fn descriptor(ebpf: &Ebpf, name: &'static str) -> Result<OwnedFd, BpfError> {
    let map = ebpf.map(name).ok_or_else(|| BpfError::map(name)(missing(name)))?;
    let data = match map {
        Map::Array(data)
        | Map::HashMap(data)
        | Map::LruHashMap(data)
        | Map::PerCpuArray(data)
        | Map::SockHash(data) => data,
        _ => return Err(BpfError::map(name)(missing(name))),
    };
    let fd = data.fd().as_fd().try_clone_to_owned();
    fd.map_err(|error| BpfError::map(name)(MapError::IoError(error)))
}
