//! The Kubernetes API as the agent and the ingress manager use it: a client, labels, objects cut down to what is kept, and
//! lists that go on as watches.
//!
//! `source::kubernetes` and `ingress` build on it. Nothing here decides what an object means.

mod client;
mod error;
pub mod names;
mod pace;
pub mod permissions;
mod request;
mod watch;

pub use client::{Access, Cluster, ConnectError, connect};
pub use error::{Asked, WatchError};
pub use pace::Pace;
pub use request::Selection;
pub use watch::{News, Object, follow};
