//! All objects that the source knows, and what of them the snapshot does not say yet.
//!
//! [`Source`](super::Source) puts in what the watches tell and takes out a [`Batch`] of changes. An event costs what it
//! concerns: one service with its slices, or the services of one namespace. No I/O, no clock.

use std::collections::{BTreeMap, BTreeSet};

use super::batch::Batch;
use super::objects::{Key, Namespace, Pod, Service, Slice};
use super::store::Store;
use super::translate::{self, Trouble};
use crate::kubernetes::News;

/// What one of the watches tells.
#[derive(Debug)]
pub(super) enum Input {
    /// Of namespaces.
    Namespaces(News<Namespace>),
    /// Of services.
    Services(News<Service>),
    /// Of EndpointSlices.
    Slices(News<Slice>),
    /// Of this node's pods.
    Pods(News<Pod>),
}

/// How many objects there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Namespaces, spaces or not.
    pub namespaces: usize,
    /// Services.
    pub services: usize,
    /// EndpointSlices.
    pub slices: usize,
    /// Pods of this node.
    pub pods: usize,
}

/// All objects.
#[derive(Debug, Default)]
pub(super) struct World {
    namespaces: Store<Namespace>,
    services: Store<Service>,
    slices: Store<Slice>,
    pods: Store<Pod>,
    /// The names of every service's slices.
    slices_of: BTreeMap<Key, Vec<Box<str>>>,
    dirty: Dirty,
    /// What the snapshot holds because of us.
    given: Given,
    troubles: BTreeMap<Subject, Vec<Trouble>>,
    troubles_changed: bool,
}

/// What the snapshot does not say yet.
#[derive(Debug, Default)]
struct Dirty {
    namespaces: BTreeSet<Box<str>>,
    services: BTreeSet<Key>,
    pods: BTreeSet<Key>,
}

/// What the snapshot holds.
#[derive(Debug, Default)]
struct Given {
    spaces: BTreeSet<Box<str>>,
    services: BTreeSet<Key>,
    workloads: BTreeSet<Key>,
}

/// What a trouble is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    Namespace(Box<str>),
    Service(Key),
    Pod(Key),
}

impl World {
    /// Takes what a watch tells.
    pub(super) fn take(&mut self, input: Input) {
        let dirty = &mut self.dirty;
        match input {
            Input::Namespaces(news) => self.namespaces.take(news, |before, after| {
                dirty.namespaces.extend(before.or(after).map(|namespace| namespace.name.clone()));
            }),
            Input::Services(news) => self.services.take(news, |before, after| {
                dirty.services.extend(before.or(after).map(|service| service.key.clone()));
            }),
            Input::Slices(news) => {
                let slices_of = &mut self.slices_of;
                self.slices.take(news, |before, after| {
                    // A label can change, in theory: both services are other ones then.
                    for slice in [before, after].into_iter().flatten() {
                        dirty.services.insert(service_of(slice));
                    }
                    if let Some(slice) = before {
                        unlist(slices_of, slice);
                    }
                    if let Some(slice) = after {
                        slices_of.entry(service_of(slice)).or_default().push(slice.key.name.clone());
                    }
                });
            }
            Input::Pods(news) => self.pods.take(news, |before, after| {
                dirty.pods.extend(before.or(after).map(|pod| pod.key.clone()));
            }),
        }
    }

    /// Whether there was a complete list of everything: before that nothing is to be captured.
    pub(super) fn is_complete(&self) -> bool {
        self.namespaces.is_complete()
            && self.services.is_complete()
            && self.slices.is_complete()
            && self.pods.is_complete()
    }

    /// Whether the snapshot may have to say something else.
    pub(super) fn is_dirty(&self) -> bool {
        !(self.dirty.namespaces.is_empty() && self.dirty.services.is_empty() && self.dirty.pods.is_empty())
    }

    /// How many objects there are.
    pub(super) fn counts(&self) -> Counts {
        let (namespaces, services) = (self.namespaces.len(), self.services.len());
        Counts { namespaces, services, slices: self.slices.len(), pods: self.pods.len() }
    }

    /// What people should mend, in the order of what it is about.
    pub(super) fn troubles(&self) -> impl Iterator<Item = &Trouble> {
        self.troubles.values().flatten()
    }

    /// Whether those are others than when this was last asked.
    pub(super) fn take_troubles_changed(&mut self) -> bool {
        std::mem::take(&mut self.troubles_changed)
    }

    /// What the snapshot has to say otherwise; afterwards it is taken to say so.
    pub(super) fn changes(&mut self) -> Batch {
        let mut batch = Batch::default();
        for name in std::mem::take(&mut self.dirty.namespaces) {
            self.namespace(&name, &mut batch);
        }
        for key in std::mem::take(&mut self.dirty.services) {
            self.service(key, &mut batch);
        }
        for key in std::mem::take(&mut self.dirty.pods) {
            self.pod(key, &mut batch);
        }
        batch
    }

    fn namespace(&mut self, name: &str, batch: &mut Batch) {
        let namespace = self.namespaces.get(&Key::new("", name));
        let (spec, trouble) = namespace.map_or((None, None), translate::space);
        self.trouble(Subject::Namespace(name.into()), trouble);
        let was = self.given.spaces.contains(name);
        if was != spec.is_some() {
            // All that lies in it comes or goes with it.
            self.dirty.services.extend(self.services.keys_in(name).cloned());
            self.dirty.pods.extend(self.pods.keys_in(name).cloned());
        }
        match spec {
            Some(spec) => {
                self.given.spaces.insert(name.into());
                batch.spaces.push(spec);
            }
            None if was => {
                self.given.spaces.remove(name);
                batch.spaces_gone.push(name.to_owned());
            }
            None => {}
        }
    }

    fn service(&mut self, key: Key, batch: &mut Batch) {
        let in_space = self.given.spaces.contains(&key.namespace);
        let (spec, troubles) = match self.services.get(&key).filter(|_| in_space) {
            Some(service) => {
                let names = self.slices_of.get(&key).map_or(&[][..], Vec::as_slice);
                let slices = names.iter().filter_map(|name| self.slices.get(&Key::new(&key.namespace, name)));
                let (spec, troubles) = translate::service(service, slices);
                (Some(spec), troubles)
            }
            None => (None, Vec::new()),
        };
        self.trouble(Subject::Service(key.clone()), troubles);
        match spec {
            Some(spec) => {
                batch.services.push(spec);
                self.given.services.insert(key);
            }
            None => {
                if self.given.services.remove(&key) {
                    batch.services_gone.push((key.namespace.into(), key.name.into()));
                }
            }
        }
    }

    fn pod(&mut self, key: Key, batch: &mut Batch) {
        let in_space = self.given.spaces.contains(&key.namespace);
        let decided =
            self.pods.get(&key).map(|pod| (translate::workload_name(pod), translate::workload(pod, in_space)));
        let trouble = match &decided {
            Some((name, Err(skip))) if translate::is_trouble(skip) => {
                Some(Trouble::Pod { pod: name.as_str().into(), skip: skip.clone() })
            }
            Some((_, Ok(_))) => self.pods.get(&key).and_then(translate::pod_trouble),
            _ => None,
        };
        self.trouble(Subject::Pod(key.clone()), trouble);
        match decided {
            Some((_, Ok(spec))) => {
                batch.workloads.push(spec);
                self.given.workloads.insert(key);
            }
            _ => {
                if self.given.workloads.remove(&key) {
                    batch.workloads_gone.push(format!("{}/{}", key.namespace, key.name));
                }
            }
        }
    }

    fn trouble(&mut self, subject: Subject, now: impl IntoIterator<Item = Trouble>) {
        let now: Vec<Trouble> = now.into_iter().collect();
        let same = self.troubles.get(&subject).map_or(now.is_empty(), |before| *before == now);
        self.troubles_changed |= !same;
        if now.is_empty() {
            self.troubles.remove(&subject);
        } else {
            self.troubles.insert(subject, now);
        }
    }
}

fn service_of(slice: &Slice) -> Key {
    Key::new(&slice.key.namespace, &slice.service)
}

fn unlist(slices_of: &mut BTreeMap<Key, Vec<Box<str>>>, slice: &Slice) {
    let service = service_of(slice);
    if let Some(names) = slices_of.get_mut(&service) {
        names.retain(|name| *name != slice.key.name);
        if names.is_empty() {
            slices_of.remove(&service);
        }
    }
}
