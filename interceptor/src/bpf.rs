//! The kernel side as the agent sees it: load, attach, typed maps. The only user of aya in the crate.
//!
//! `capture` owns the [`Kernel`] and fills the maps; workers get their own handles of the two maps that belong to
//! connections. Nothing is pinned: links and maps vanish with the process, which is how the hooks fail open, unless a successor
//! holds them, too.

mod error;
mod handed;
mod inspect;
mod link;
mod load;
mod logging;
mod maps;
mod namespace;
mod object;
mod offsets;
mod pins;
mod splice;
mod threads;

pub use error::BpfError;
pub use handed::Maps;
pub use inspect::{Attachment, attachments};
pub use link::{CgroupLinks, NetnsLink};
pub use load::{HookState, Kernel, Programs};
pub use maps::{CaptureMaps, ControlMap, FlowMaps, KernelCounters};
pub use offsets::{Offsets, OffsetsError};
pub use pins::{PinError, Pins, remove_left};
pub use threads::{ReadsLink, SendsLink};
