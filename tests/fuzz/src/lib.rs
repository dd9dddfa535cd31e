//! What the fuzz targets check: each is a function of bytes that panics where an invariant does not hold.
//!
//! `targets/` hands libFuzzer's bytes to them, and the test below replays the committed corpora through them in plain
//! `cargo test`. Heads, chunks and whole connections are compared with a model of our own making ([`model`]), which
//! shares no code with the product. `cargo xtask fuzz` runs them.

mod chunked;
mod classify;
mod config;
mod connection;
mod heads;
mod host;
pub mod model;

pub use chunked::chunked;
pub use classify::classify;
pub use config::config;
pub use connection::connection;
pub use heads::{request_head, response_head};
pub use host::host;

/// A target: its name and what it does with an input.
pub type Target = (&'static str, fn(&[u8]));

/// Every target by its name, which is also that of its binary and of its corpus.
pub const TARGETS: [Target; 7] = [
    ("request_head", request_head),
    ("response_head", response_head),
    ("chunked", chunked),
    ("classify", classify),
    ("host", host),
    ("config", config),
    ("connection", connection),
];

#[cfg(test)]
mod replay;
