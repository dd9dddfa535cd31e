//! How a controller hands everything to its successor's, and how that takes it over.
//!
//! The maps are shared, so most of a controller's state is in them. What is not, links and listeners, changes hands as
//! descriptors; the first update after that asks for them instead of making its own, and closes what nothing asked for.
//! `agent` calls in this order: [`export`](Controller::export), then [`leave`](Controller::leave) or
//! [`resume`](Controller::resume) on one side; [`relink`](Controller::relink), then [`inherit`](Controller::inherit) on the
//! other.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;

use interceptor_common::names;

use super::controller::{Controller, log};
use super::threads::ThreadHooks;
use crate::bpf::{BpfError, CgroupLinks, NetnsLink, Pins};
use crate::net::netns::Identity;
use crate::net::socket::Listeners;
use crate::takeover::{Estate, Holding};
use crate::wanted::Wanted;

/// What was handed over and is not in use yet.
#[derive(Debug, Default)]
pub(super) struct Handed {
    pub(super) cgroups: HashMap<PathBuf, Vec<(String, OwnedFd)>>,
    pub(super) namespaces: HashMap<Identity, Holding>,
    /// No update has asked for it yet.
    pub(super) is_new: bool,
}

impl Controller {
    /// Everything that a successor gets, as descriptors of the same. Nothing must be changed until it is known whether
    /// there is one.
    ///
    /// # Errors
    /// Where a worker does not answer or no descriptors are left.
    pub fn export(&self) -> io::Result<Estate> {
        let mut sets: HashMap<u64, Vec<Listeners>> = HashMap::new();
        for worker in &self.parts.workers {
            for (cookie, set) in worker.listeners()? {
                sets.entry(cookie).or_default().push(set);
            }
        }
        let mut estate = Estate::default();
        for (path, links) in &self.cgroups {
            let copy = links.all().map(|(program, link)| Ok((program.to_owned(), link.try_clone_to_owned()?)));
            estate.cgroups.push((path.clone(), copy.collect::<io::Result<_>>()?));
        }
        for attached in self.workloads.values() {
            let captured = &attached.captured;
            let link = attached.link.as_ref().map(|link| link.as_fd().try_clone_to_owned()).transpose()?;
            let listeners = sets.remove(&captured.cookie).unwrap_or_default();
            estate.namespaces.push(Holding { netns: captured.netns.identity(), link, listeners });
        }
        Ok(estate)
    }

    /// A successor has everything: this agent attaches and listens to nothing any more, and leaves the maps alone.
    pub fn leave(&mut self) {
        self.cgroups.values_mut().for_each(CgroupLinks::hand_over);
        let links = self.workloads.values_mut().filter_map(|attached| attached.link.as_mut());
        links.for_each(NetnsLink::hand_over);
        self.pins.iter_mut().for_each(Pins::hand_over);
        self.detach_all();
    }

    /// Attaches and listens to nothing any more.
    pub fn detach_all(&mut self) {
        self.threads = ThreadHooks::default();
        self.cgroups.clear();
        for (_, attached) in self.workloads.drain() {
            for worker in &self.parts.workers {
                worker.close(attached.captured.cookie);
            }
        }
    }

    /// Whether DNS answers may be under way, which come back to this agent's sockets.
    pub fn serves_dns(&self) -> bool {
        self.names.is_any_captured()
    }

    /// The last connection has ended after a successor has taken over.
    pub fn end(&mut self) {
        self.names.end(&mut self.maps);
    }

    /// There is no successor after all: every link runs this agent's programs again, whatever the other has done.
    pub fn resume(&mut self) {
        let cgroups = self.cgroups.values().flat_map(|links| links.all());
        let namespaces =
            self.workloads.values().filter_map(|attached| Some((names::SK_LOOKUP, attached.link.as_ref()?.as_fd())));
        for (program, link) in cgroups.chain(namespaces) {
            if let Err(error) = self.parts.kernel.take_link(program, link) {
                // The other agent's program stays, which reads the same maps.
                tracing::warn!(%error, "taking a link back");
            }
        }
    }

    /// Has every link run this agent's programs, and drops those that lead nowhere.
    ///
    /// # Errors
    /// Where the kernel refuses: then nothing must be taken over.
    pub fn relink(&self, estate: &mut Estate) -> Result<(), BpfError> {
        let kernel = &self.parts.kernel;
        for (_, links) in &mut estate.cgroups {
            for (program, link) in std::mem::take(links) {
                if kernel.take_link(&program, &link)? {
                    links.push((program, link));
                }
            }
        }
        for holding in &mut estate.namespaces {
            if let Some(link) = holding.link.take()
                && kernel.take_link(names::SK_LOOKUP, &link)?
            {
                holding.link = Some(link);
            }
        }
        Ok(())
    }

    /// Takes everything over. The next [`update`](Controller::update), which must be to a whole snapshot, uses what it needs
    /// of it and lets the rest go.
    pub fn inherit(&mut self, estate: Estate) {
        self.addresses.adopt(&self.maps);
        self.peers = self.maps.peers.entries().into_iter().map(|(address, _)| IpAddr::from(address)).collect();
        self.handed = Handed {
            cgroups: estate.cgroups.into_iter().collect(),
            namespaces: estate.namespaces.into_iter().map(|holding| (holding.netns, holding)).collect(),
            is_new: true,
        };
    }

    /// Lets go of what the agent before had and this one does not want.
    pub(super) fn purge(&mut self, wanted: &Wanted<'_>) {
        self.addresses.retry(&mut self.maps, wanted);
        self.addresses.purge(&mut self.maps);
        drop(self.addresses.take_switched());
        self.show_captured();
        let own = self.workloads.values().map(|attached| attached.captured.cookie).collect();
        for error in self.maps.workloads.remove_others(&own) {
            log(Err(error), "forgetting a workload of the agent before");
        }
        self.names.purge(&mut self.maps);
        // Last: what is closed here gets no connections any more.
        self.handed = Handed::default();
    }
}
