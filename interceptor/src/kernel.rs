//! What the data path and the kernel's hooks say to each other about single connections.
//!
//! `proxy` speaks through this; `bpf` implements it over its maps, tests over nothing. It knows of neither.

use interceptor_common::{ClientKey, Endpoint, Facts, FactsKey};

/// What the data path tells the kernel's hooks of connections, and asks them. Implemented by the maps of `bpf`.
pub trait KernelSide {
    /// Says which client is behind the agent's connection to an application. False where there is no room to say it.
    fn set_client(&mut self, key: ClientKey, client: Endpoint) -> bool;
    /// Forgets what [`KernelSide::set_client`] said.
    fn remove_client(&mut self, key: &ClientKey);
    /// Takes what the kernel gathered of an application's socket, if it gathered anything.
    fn take_facts(&mut self, key: &FactsKey) -> Option<Facts>;
}
