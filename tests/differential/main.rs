//! Real nginx and HAProxy as second opinions on where messages end. What we pass on they frame as we do; what we refuse
//! they refuse too, or a table says that they are laxer.
//!
//! Needs both servers (Debian's packages) and no root. `cargo xtask test` runs it. A new release of theirs that judges
//! otherwise fails it: that is news, and a row to change.

// `cfg(test)` is always true here; it tells clippy that helpers, too, may unwrap and panic.
#[cfg(test)]
mod accepted;
#[cfg(test)]
mod differences;
#[cfg(test)]
mod generator;
#[cfg(test)]
mod ours;
#[cfg(test)]
mod refused;
#[cfg(test)]
mod servers;
