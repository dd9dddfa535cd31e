//! Flow records: exactly one per connection, one per HTTP request; bounded, lossy with a counter.
//!
//! `proxy` opens a record when it accepts and finishes it once (the guard's Drop is the net); the hub keeps the latest
//! and feeds followers; admin and CLI show them; metrics count them. A record never holds up a connection.

mod filter;
mod hub;
mod json;
mod notes;
mod record;
mod words;

pub use filter::{Filter, FilterError, RecordKind, StatusFilter};
pub use hub::{Followed, Follower, Hub};
pub use json::{FlowKernel, FlowLine, FlowStep, FlowTarget, LostLine, write_line, write_lost};
pub use notes::{Note, Notes};
pub use record::{
    ConnectionRecord, ErrorSide, KernelFacts, Protocol, ProtocolFrom, Record, RequestRecord, RouteHeader, TargetKind,
    TargetRecord, Verdict,
};

#[cfg(test)]
pub(crate) mod samples;
