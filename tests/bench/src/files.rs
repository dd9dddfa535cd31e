//! The limit of open files, which bounds how many connections a program can hold. Children inherit it.
//!
//! Ten thousand connections through a proxy are twenty thousand files of it; a container may allow fewer, also to root.

use anyhow::{Context as _, Result};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// More than any scenario needs.
const WANTED: u64 = 200_000;

/// Raises the limit as far as this machine lets us; the limit then.
pub(crate) fn raise() -> Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).context("asking for the limit of open files")?;
    // Above the hard limit it takes a capability that root in a container may lack.
    for (soft, hard) in [(WANTED.max(soft), WANTED.max(hard)), (hard, hard)] {
        if setrlimit(Resource::RLIMIT_NOFILE, soft, hard).is_ok() {
            return Ok(soft);
        }
    }
    Ok(soft)
}
