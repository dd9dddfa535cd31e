//! Attacks on a running agent, as docs/security.md lists them: by a pod that is root in its own namespace, by requests, by
//! whoever reaches a socket of the agent's. Each test also shows the opposite: what is allowed still works.

mod confinement;
mod forgery;
mod listeners;
mod ports;
mod targets;
mod terminal;
