//! From the cluster's facts to the Ingress objects that it should have: rule R12, pure.
//!
//! The controller calls [`plan`] whenever something has changed, the dry run once. Equal facts give equal plans, in
//! whatever order they come. A fault costs what it concerns and nothing else; each becomes a [`Problem`].
//!
//! - The copy in a root space gets `<root>.<service>.<suffix>` and the wildcard `*.s.<root>.<service>.<suffix>`; a request
//!   for a space without a host of its own arrives there, and the interceptor passes it on (rule R7).
//! - The copy in a derived space gets `<space>.s.<root>.<service>.<suffix>`, and the hosts of the spaces below it that
//!   have no copy of their own and find this one first.

mod exposure;
mod hosts;
mod tree;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::ingress::facts::{Existing, Facts, Service};
use crate::ingress::labels;
use crate::ingress::problem::{Object, Problem, Reason};
use exposure::Exposure;
use tree::Tree;

/// What names of our Ingress objects begin with: a service's own Ingress usually has the service's name.
pub const NAME_PREFIX: &str = "azds-";

/// What the cluster should have, and what stands in the way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// The Ingress objects, by namespace and name.
    pub wanted: BTreeMap<(String, String), Wanted>,
    /// What cannot be done.
    pub problems: BTreeSet<Problem>,
}

/// One Ingress object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The service that it leads to, in its own namespace.
    pub service: String,
    /// That service's port.
    pub port: i32,
    /// The root of the space's tree.
    pub root: String,
    /// Its hosts, in order.
    pub hosts: BTreeSet<String>,
}

/// The plan for these facts.
pub fn plan(facts: &Facts, suffixes: &[String], class: Option<&str>) -> Plan {
    let tree = Tree::new(&facts.namespaces);
    let mut planner = Planner {
        suffixes,
        tree: &tree,
        others: others(&facts.ingresses, class),
        names: facts
            .ingresses
            .iter()
            .filter(|other| !other.ours)
            .map(|other| (&*other.namespace, &*other.name))
            .collect(),
        plan: Plan::default(),
    };
    planner.plan.problems.extend(tree.problems());
    let mut services: Vec<&Service> = facts.services.iter().collect();
    services.sort_unstable_by_key(|service| (&service.namespace, &service.name));
    let copies: HashMap<(&str, &str), &Service> =
        services.iter().map(|service| ((&*service.namespace, &*service.name), *service)).collect();
    let below = tree.leaning(&copies);
    for service in services {
        planner.service(service, &copies, &below);
    }
    planner.plan
}

/// The hosts of other people's objects that the same controller would serve, with who has them.
fn others<'f>(existing: &'f [Existing], class: Option<&str>) -> HashMap<String, &'f Existing> {
    let same_class = |other: &str| class.is_none_or(|class| class == other);
    let mut hosts = HashMap::new();
    for other in existing.iter().filter(|other| !other.ours && other.class.as_deref().is_none_or(same_class)) {
        for host in &other.hosts {
            hosts.entry(host.to_ascii_lowercase()).or_insert(other);
        }
    }
    hosts
}

struct Planner<'f> {
    suffixes: &'f [String],
    tree: &'f Tree<'f>,
    others: HashMap<String, &'f Existing>,
    /// Namespace and name of other people's objects.
    names: BTreeSet<(&'f str, &'f str)>,
    plan: Plan,
}

/// The spaces that find a copy first without having one: by (space, service) of the copy.
type Leaning<'f> = HashMap<(&'f str, &'f str), Vec<&'f str>>;

impl<'f> Planner<'f> {
    fn service(&mut self, service: &'f Service, copies: &HashMap<(&str, &str), &'f Service>, below: &Leaning<'f>) {
        let tree = self.tree;
        let Some(chain) = tree.chain(&service.namespace) else { return };
        let about = Object::service(&service.namespace, &service.name);
        let exposed = match Exposure::of(service, chain, copies) {
            Ok(exposed) => exposed,
            Err(problem) => {
                self.plan.problems.insert(problem);
                return;
            }
        };
        if !exposed.is_exposed(service) {
            return;
        }
        let port = match exposed.port(service) {
            Ok(port) => port,
            Err((reason, message)) => {
                self.plan.problems.insert(about.has(reason, message));
                return;
            }
        };
        let (Some(space), Some(root)) = (chain.first(), chain.last()) else { return };
        let prefixes = match chain {
            [_] => vec![String::new(), "*.s.".to_owned()],
            _ => {
                let leaning = below.get(&(&*service.namespace, &*service.name)).into_iter().flatten();
                let leaning = leaning.filter(|space| !tree.opts_out(space));
                let spaces = std::iter::once(&space.name[..]).chain(leaning.copied());
                spaces.map(|space| format!("{space}.s.")).collect()
            }
        };
        let hosts = self.hosts(&about, &prefixes, &root.name, &service.name);
        let name = format!("{NAME_PREFIX}{}", service.name);
        if hosts.is_empty() || space.terminating {
            return;
        }
        if self.names.contains(&(&*service.namespace, &*name)) {
            let message = format!(
                "an Ingress of this name is there and lacks the label {}={}; rename it, or delete it if it is not needed",
                labels::MANAGED_BY,
                labels::MANAGER
            );
            self.plan.problems.insert(Object::ingress(&service.namespace, &name).has(Reason::NameTaken, message));
            return;
        }
        let wanted = Wanted { service: service.name.clone(), port, root: root.name.clone(), hosts };
        self.plan.wanted.insert((service.namespace.clone(), name), wanted);
    }

    /// The hosts that may be used; what is wrong with the others is told.
    fn hosts(&mut self, about: &Object, prefixes: &[String], root: &str, service: &str) -> BTreeSet<String> {
        let mut hosts = BTreeSet::new();
        for suffix in self.suffixes {
            for prefix in prefixes {
                let host = format!("{prefix}{root}.{service}.{suffix}");
                if let Err(fault) = hosts::check(&host) {
                    self.plan.problems.insert(about.clone().has(Reason::BadHost, fault.to_string()));
                } else if let Some(other) = self.others.get(&host) {
                    let message = format!(
                        "the Ingress {}/{} has the host {host} already; it stays as it is, remove the host there to have it kept here",
                        other.namespace, other.name
                    );
                    self.plan.problems.insert(about.clone().has(Reason::HostTaken, message));
                } else {
                    hosts.insert(host);
                }
            }
        }
        hosts
    }
}
