//! What an agent that was succeeded leaves in the shared maps when it is killed before it has drained: the real clients of
//! its connections, and the servers that its DNS sockets stood for. An application must not be shown a client that is gone
//! as the peer of a later connection from the same port.
//!
//! Begun by `agent` when the predecessor has ended; [`Controller`] goes on with its sweeps. A client's entry goes when no
//! socket has the port in two looks a while apart, and the entry is the same: one that a worker has just made for a socket
//! that is about to connect is not met twice. Nothing here is on a connection's way.

use std::collections::{HashMap, HashSet};

use interceptor_common::{Client, ClientKey, Endpoint};

use super::controller::{Controller, log};
use crate::captured::Captured;
use crate::sock_diag::{DiagError, Family, SockDiag};

/// The sweeps after the predecessor's end at which it is looked. What the kernel still brings to its end for a process that
/// is gone has a socket for about a minute; the last two looks come after that.
const LOOKS: [u32; 4] = [1, 2, 90, 91];

/// What is being looked through.
#[derive(Debug, Default)]
pub(super) struct Leftovers {
    sweeps: u32,
    /// Entries without a socket at the last look.
    suspects: HashMap<ClientKey, Client>,
}

impl Controller {
    /// The agent before has ended, however that was.
    pub fn begin_leftovers(&mut self) {
        self.names.purge_answers(&mut self.maps);
        self.leftovers = Some(Leftovers::default());
    }

    /// Looks once more, if it is time.
    pub(super) fn sweep_leftovers(&mut self) {
        let Some(mut leftovers) = self.leftovers.take() else { return };
        leftovers.sweeps += 1;
        if LOOKS.contains(&leftovers.sweeps) {
            let suspects = self.clients_without_sockets();
            let gone: Vec<ClientKey> = suspects
                .iter()
                .filter(|(key, client)| leftovers.suspects.get(key) == Some(client))
                .map(|(key, _)| *key)
                .collect();
            for key in &gone {
                log(self.maps.clients.remove(key), "forgetting a client of the agent before");
            }
            if !gone.is_empty() {
                tracing::info!(clients = gone.len(), "the agent before left these behind: forgotten");
            }
            leftovers.suspects = suspects;
        }
        self.leftovers = (LOOKS.last() > Some(&leftovers.sweeps)).then_some(leftovers);
    }

    /// Clients of connections into attached workloads that no socket is of. Of other namespaces nothing is known: what runs
    /// there may go on.
    fn clients_without_sockets(&self) -> HashMap<ClientKey, Client> {
        let mut all: HashMap<u64, Vec<(ClientKey, Client)>> = HashMap::new();
        for (key, client) in self.maps.clients.entries() {
            all.entry(key.netns).or_default().push((key, client));
        }
        let mut found = HashMap::new();
        for attached in self.workloads.values() {
            let Some(entries) = all.remove(&attached.captured.cookie) else { continue };
            match sources(&attached.captured) {
                Ok(sources) => found.extend(entries.into_iter().filter(|(key, _)| !sources.contains(&key.source))),
                Err(error) => tracing::debug!(workload = %attached.captured.name, %error, "listing its connections"),
            }
        }
        found
    }
}

/// Where the connections in a workload's namespace come from.
fn sources(workload: &Captured) -> Result<HashSet<Endpoint>, DiagError> {
    let diag = workload.netns.enter(SockDiag::open).map_err(DiagError::Open)??;
    let mut found = HashSet::new();
    for family in Family::ALL {
        diag.in_use(family, |local| {
            found.insert(Endpoint::from(local));
        })?;
    }
    Ok(found)
}
