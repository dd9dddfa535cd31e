//! What a request's header fields say of its space and its trace, whatever protocol they came by. Pure.
//!
//! HTTP/1 and HTTP/2 show their fields one by one to a [`Reader`], as name and value in bytes; what it finds are parts of
//! those values, nothing is copied. One table look-up by the name's length decides about most fields. `route` decides with
//! what was found, `propagate` remembers the trace ids, `proxy` writes what [`Reader::injections`] says.

mod baggage;
mod inject;
mod reader;
mod strip;
mod trace;

pub use baggage::{Baggage, decode};
pub use inject::Injection;
pub use reader::{Found, Reader};
pub use strip::Stripped;
pub use trace::{TraceId, TraceIds};
