//! Makes the next snapshot from the last one and what has changed. Total: what is at fault is left out by a written rule,
//! never an error.
//!
//! - A space whose tree is broken (see [`space_faults`](crate::config::tree::space_faults)) stays visible with its fault;
//!   its services are not captured and its workloads have no space. Both are there again as soon as the space can be used.
//! - A service or workload in a space that nobody declared is treated the same.
//! - Things are told apart by name. Of changes to the same thing the last one holds; of items of a list with the same name,
//!   the first.
//!
//! The work is proportional to what changes, with one exception: a change of a space's place in its tree looks at every
//! service once.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;

use super::Snapshot;
use super::destinations::{Destinations, Member};
use super::families::{Families, FamilyId};
use super::service::{Service, ServiceRef};
use super::sharded::Sharded;
use super::space::{SpaceId, Spaces};
use super::workload::Workload;
use crate::config::{Routing, ServiceSpec, SpaceSpec, Topology, WorkloadSpec};
use crate::headers::Reader;

/// One thing that a source saw change. To declare what is there already, as it is, changes nothing.
#[derive(Debug, Clone, Copy)]
pub enum Change<'a> {
    /// Other rules.
    Routing(&'a Routing),
    /// A new space, or another parent of one.
    Space(&'a SpaceSpec),
    /// The space of that name is declared no longer.
    SpaceGone(&'a str),
    /// A new service, or another state of one.
    Service(&'a ServiceSpec),
    /// There is no such service any more.
    ServiceGone {
        /// The name of its space.
        space: &'a str,
        /// Its name.
        name: &'a str,
    },
    /// A new workload, or another state of one.
    Workload(&'a WorkloadSpec),
    /// The workload of that name is gone.
    WorkloadGone(&'a str),
}

/// Where a snapshot differs from the one it was made from, as far as what is captured depends on it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Delta {
    /// Addresses to look at again, each once: those that came, went or stand for other services, and all of services of
    /// whose name there are more or fewer copies now, or whose tree is another one.
    pub destinations: Vec<SocketAddr>,
    /// Names of workloads that came, went or are described otherwise.
    pub workloads: Vec<Arc<str>>,
}

impl Delta {
    /// Where a snapshot differs from an empty one.
    pub fn whole(snapshot: &Snapshot) -> Self {
        Self {
            destinations: snapshot.destinations().map(|(addr, _)| addr).collect(),
            workloads: snapshot.workloads().map(|workload| Arc::clone(&workload.name)).collect(),
        }
    }
}

impl Snapshot {
    /// A snapshot with nothing in it, version 0.
    pub fn empty(routing: &Routing) -> Self {
        Self {
            version: 0,
            routing: Arc::new(routing.clone()),
            route_headers: route_headers(routing),
            reader: Arc::new(Reader::new(routing)),
            spaces: Arc::default(),
            families: Families::default(),
            destinations: Destinations::default(),
            parked: Sharded::default(),
            workloads: Arc::default(),
        }
    }

    /// A snapshot of that version of all that there is.
    pub fn build(topology: &Topology, routing: &Routing, version: u64) -> Self {
        Self { version, ..Self::empty(routing).replaced(topology, routing).0 }
    }

    /// The next snapshot, and where it differs.
    pub fn update(&self, changes: &[Change<'_>]) -> (Self, Delta) {
        let mut update = Update { next: self.clone(), regrouped: BTreeSet::new(), delta: Delta::default() };
        update.next.version += 1;
        update.spaces(changes);
        for change in changes {
            match *change {
                Change::Routing(routing) => update.routing(routing),
                Change::Space(_) | Change::SpaceGone(_) => {}
                Change::Service(spec) => {
                    let id = ServiceRef::new(Arc::from(spec.name.as_str()), Arc::from(spec.space.as_str()));
                    update.service(&id, Some(Service::new(spec, id.clone())));
                }
                Change::ServiceGone { space, name } => {
                    update.service(&ServiceRef::new(Arc::from(name), Arc::from(space)), None);
                }
                Change::Workload(spec) => update.workload(Workload::new(spec, &update.next.spaces)),
                Change::WorkloadGone(name) => update.workload_gone(name),
            }
        }
        update.finish()
    }

    /// The next snapshot where this is all that there is, and where it differs.
    pub fn replaced(&self, topology: &Topology, routing: &Routing) -> (Self, Delta) {
        let mut changes = Vec::with_capacity(topology.services.len() + 1);
        if *self.routing != *routing {
            changes.push(Change::Routing(routing));
        }
        let mut spaces = HashSet::new();
        changes.extend(topology.spaces.iter().filter(|spec| spaces.insert(&*spec.name)).map(Change::Space));
        let gone = self.spaces().map(|space| &*space.name).filter(|name| !spaces.contains(name));
        changes.extend(gone.map(Change::SpaceGone));

        let mut services = HashSet::new();
        let listed = topology.services.iter().filter(|spec| services.insert((&*spec.space, &*spec.name)));
        changes.extend(listed.map(Change::Service));
        let known = self.services().map(|service| &service.id).chain(self.parked.iter().map(|(id, _)| id));
        let gone = known.map(|id| (&*id.space, &*id.name)).filter(|id| !services.contains(id));
        changes.extend(gone.map(|(space, name)| Change::ServiceGone { space, name }));

        let mut workloads = HashSet::new();
        changes.extend(topology.workloads.iter().filter(|spec| workloads.insert(&*spec.name)).map(Change::Workload));
        let gone = self.workloads.keys().map(|name| &**name).filter(|name| !workloads.contains(name));
        changes.extend(gone.map(Change::WorkloadGone));
        self.update(&changes)
    }
}

fn route_headers(routing: &Routing) -> Arc<[Arc<str>]> {
    routing.route_headers.iter().map(|carrier| Arc::from(carrier.to_string())).collect()
}

/// A snapshot that is being made.
struct Update {
    next: Snapshot,
    /// Names that have more or fewer copies than before, or copies in another tree.
    regrouped: BTreeSet<FamilyId>,
    delta: Delta,
}

impl Update {
    fn routing(&mut self, routing: &Routing) {
        self.next.routing = Arc::new(routing.clone());
        self.next.route_headers = route_headers(routing);
        self.next.reader = Arc::new(Reader::new(routing));
    }

    /// Puts all changes of spaces into force at once, and moves what depends on them.
    fn spaces(&mut self, changes: &[Change<'_>]) {
        let mut spaces: BTreeMap<&str, Option<&SpaceSpec>> = BTreeMap::new();
        for change in changes {
            match *change {
                Change::Space(spec) => drop(spaces.insert(&spec.name, Some(spec))),
                Change::SpaceGone(name) => drop(spaces.insert(name, None)),
                _ => {}
            }
        }
        spaces.retain(|name, spec| !is_declared(&self.next.spaces, name, *spec));
        if spaces.is_empty() {
            return;
        }
        let now = Arc::new(self.next.spaces.changed(&spaces));
        let before = std::mem::replace(&mut self.next.spaces, Arc::clone(&now));
        // A usable space keeps its identifier, its root keeps its own: equal ones mean the same tree.
        let tree = |spaces: &Spaces, name: &str| spaces.usable(name).and_then(|id| spaces.get(id).root());
        let moved: HashSet<SpaceId> = before
            .iter()
            .filter(|(_, space)| space.fault.is_none() && tree(&now, &space.name) != space.root())
            .map(|(id, _)| id)
            .collect();
        let is_new = |name: &str| before.usable(name).is_none() && now.usable(name).is_some();
        let mut active: Vec<Arc<Service>> = Vec::new();
        if !moved.is_empty() {
            active.extend(self.next.services().filter(|service| moved.contains(&service.space)).map(Arc::clone));
        }
        let waiting = self.next.parked.iter().map(|(_, service)| service);
        let waiting: Vec<Arc<Service>> = waiting.filter(|service| is_new(&service.id.space)).map(Arc::clone).collect();
        for service in active {
            if now.usable(&service.id.space).is_some() {
                self.regrouped.insert(service.family);
            } else {
                self.park(&service);
            }
        }
        for service in waiting {
            self.service(&service.id, Some(Service::clone(&service)));
        }
        let all: Vec<Workload> = self.next.workloads().cloned().collect();
        for workload in all {
            let space = workload.space_name.as_deref().and_then(|name| now.usable(name));
            if space != workload.space {
                self.workload(Workload { space, ..workload });
            }
        }
    }

    /// Puts a state of a service into force, or its absence.
    fn service(&mut self, id: &ServiceRef, new: Option<Service>) {
        let next = &mut self.next;
        let space = next.spaces.usable(&id.space);
        let old = space.and_then(|space| next.service_named(space, &id.name)).cloned();
        match (space, new) {
            (Some(space), Some(new)) => {
                if old.as_ref().is_some_and(|old| old.is_like(&new)) {
                    return;
                }
                next.parked.remove(id);
                // Names and references that are there already are shared.
                let (id, name) = match &old {
                    Some(old) => (old.id.clone(), Arc::clone(&old.id.name)),
                    None => {
                        let named = next.families.named(&id.name).and_then(|family| next.families.get(family));
                        let name = named.map_or_else(|| Arc::clone(&id.name), |family| Arc::clone(&family.name));
                        (ServiceRef::new(Arc::clone(&name), Arc::clone(&next.spaces.get(space).name)), name)
                    }
                };
                let family = next.families.place(&name);
                let mut new = Service { id, space, family, ..new };
                if let Some(copy) = next.families.get(family).and_then(|family| family.copies().next()) {
                    new.share_names(copy);
                }
                let new = Arc::new(new);
                if next.families.put(Arc::clone(&new)).is_none() {
                    self.regrouped.insert(new.family);
                }
                self.redirect(old.as_deref(), Some(&new));
            }
            (Some(_), None) => {
                if let Some(old) = old {
                    self.take(&old);
                }
            }
            (None, Some(new)) => {
                let new = Arc::new(new);
                next.parked.upsert(id.clone(), || Arc::clone(&new), |held| *held = Arc::clone(&new));
            }
            (None, None) => next.parked.remove(id),
        }
    }

    /// A service whose space cannot be used waits for it.
    fn park(&mut self, service: &Arc<Service>) {
        self.take(service);
        self.next.parked.upsert(service.id.clone(), || Arc::clone(service), |_| {});
    }

    fn take(&mut self, service: &Service) {
        self.next.families.take(service.family, service.space);
        self.regrouped.insert(service.family);
        self.redirect(Some(service), None);
    }

    /// Brings the table of destinations from one state of a service to the next.
    fn redirect(&mut self, old: Option<&Service>, new: Option<&Service>) {
        let (old, new) = (old.map(Service::members).unwrap_or_default(), new.map(Service::members).unwrap_or_default());
        let Snapshot { destinations, spaces, families, .. } = &mut self.next;
        let order = |a: &Member, b: &Member| by_name(spaces, families, a, b);
        for (ip, member) in missing_in(&old, &new) {
            destinations.remove(*ip, member);
            self.delta.destinations.push(SocketAddr::new(*ip, member.number));
        }
        for (ip, member) in missing_in(&new, &old) {
            destinations.insert(*ip, *member, order);
            self.delta.destinations.push(SocketAddr::new(*ip, member.number));
        }
    }

    fn workload(&mut self, new: Workload) {
        if self.next.workload(&new.name) != Some(&new) {
            self.delta.workloads.push(Arc::clone(&new.name));
            Arc::make_mut(&mut self.next.workloads).insert(Arc::clone(&new.name), Arc::new(new));
        }
    }

    fn workload_gone(&mut self, name: &str) {
        if self.next.workloads.contains_key(name) {
            let gone = Arc::make_mut(&mut self.next.workloads).remove_entry(name);
            self.delta.workloads.extend(gone.map(|(name, _)| name));
        }
    }

    fn finish(mut self) -> (Snapshot, Delta) {
        for family in &self.regrouped {
            let copies = self.next.families.get(*family).into_iter().flat_map(|family| family.copies());
            let members = copies.flat_map(|service| service.members());
            self.delta.destinations.extend(members.map(|(ip, member)| SocketAddr::new(ip, member.number)));
        }
        self.delta.destinations.sort_unstable();
        self.delta.destinations.dedup();
        self.delta.workloads.sort_unstable();
        self.delta.workloads.dedup();
        (self.next, self.delta)
    }
}

/// Whether a space is there as declared (`Some`), or not there (`None`).
fn is_declared(spaces: &Spaces, name: &str, spec: Option<&SpaceSpec>) -> bool {
    match (spaces.named(name), spec) {
        (Some(id), Some(spec)) => {
            let space = spaces.get(id);
            space.parent.as_deref() == spec.parent.as_deref() && space.propagate == spec.propagate
        }
        (known, spec) => known.is_none() && spec.is_none(),
    }
}

/// The order of services behind one address: by space and name, so that it does not depend on how they came about.
fn by_name(spaces: &Spaces, families: &Families, a: &Member, b: &Member) -> Ordering {
    let space = |member: &Member| &*spaces.get(member.space).name;
    let name = |member: &Member| families.get(member.family).map(|family| &*family.name);
    let order = space(a).cmp(space(b)).then_with(|| name(a).cmp(&name(b)));
    order.then_with(|| (a.port, a.kind).cmp(&(b.port, b.kind)))
}

/// What is in `these` and not in `those`; both are sorted.
fn missing_in<'m, T: Ord>(these: &'m [T], those: &'m [T]) -> impl Iterator<Item = &'m T> {
    let mut those = those.iter().peekable();
    these.iter().filter(move |this| {
        while those.next_if(|that| *that < *this).is_some() {}
        those.peek() != Some(this)
    })
}
