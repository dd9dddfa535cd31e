//! Faults of the node's state: what others do to the cgroups, hooks, maps and files that the agent lives on, and what is
//! left of workloads, configurations and agents that have gone.

mod cgroups;
mod churn;
mod foreign;
mod leftovers;
mod maps;
mod reloads;

use std::sync::atomic::{AtomicBool, Ordering};

use interceptor_tests::wait;

use crate::crash::{GET, OK, word};
use crate::wire::{LIMIT, UNDECLARED, Way, Wire, exchange};

/// The state of the hook `on_connect4` and what is said of it.
fn connect_hook(wire: &Wire) -> (String, String) {
    let status = wire.agent.status().unwrap();
    let hooks = status["hooks"].as_array().unwrap();
    let hook = hooks.iter().find(|hook| hook["name"] == "on_connect4").unwrap_or_else(|| panic!("{status}"));
    let text = |key: &str| hook[key].as_str().unwrap().to_owned();
    (text("state"), text("detail"))
}

/// Whether a new connection passes through the agent; it works in any case.
#[track_caller]
fn is_intercepted(wire: &Wire, way: Way) -> bool {
    let server = wire.listen(UNDECLARED);
    let before = wire.counted(word(way), "redirected");
    let (client, peer) = wire.pair(&server, way, UNDECLARED);
    exchange(&client, &peer, GET, OK);
    wire.counted(word(way), "redirected") > before
}

/// Waits until new connections pass through the agent again.
#[track_caller]
fn wait_intercepted(wire: &Wire, way: Way) {
    let again = wait::until(LIMIT, "connections to be intercepted", || {
        anyhow::ensure!(is_intercepted(wire, way), "not yet: {}", wire.agent.status()?);
        Ok(())
    });
    again.unwrap_or_else(|error| panic!("{error:#}\n{}", wire.agent.log_tail(30)));
}

/// Tells threads that go on until then that it is over, also where a test fails meanwhile.
#[derive(Default)]
struct Over(AtomicBool);

impl Over {
    fn is(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn at_the_end(&self) -> AtTheEnd<'_> {
        AtTheEnd(self)
    }
}

struct AtTheEnd<'a>(&'a Over);

impl Drop for AtTheEnd<'_> {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}

/// Lines of the agent's log that say so.
fn logged(wire: &Wire, what: &str) -> usize {
    wire.agent.log_tail(usize::MAX).lines().filter(|line| line.contains(what)).count()
}
