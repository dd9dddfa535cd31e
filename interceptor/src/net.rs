//! Sockets and bytes: what `proxy` stands on and knows nothing of HTTP.

pub mod budget;
pub mod buffer;
pub mod netns;
pub mod side;
pub mod socket;
