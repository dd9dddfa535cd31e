//! Maps of the agent before, put in the place of those that the object would have made.
//!
//! aya reuses maps only from paths. So they are pinned for a moment, in a bpf file system that is mounted nowhere and
//! vanishes with its descriptor: nothing is left behind, whatever becomes of this process.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::PathBuf;

use aya::maps::MapData;

use super::error::BpfError;
use crate::sys;

/// Maps with their names.
pub type Maps = Vec<(String, OwnedFd)>;

/// Where maps are pinned; they are not any more when this is dropped.
pub(super) struct Pinned {
    pub(super) paths: Vec<(String, PathBuf)>,
    _directory: OwnedFd,
}

/// Pins maps where nobody else finds them.
///
/// # Errors
/// Where the kernel refuses.
pub(super) fn pin(maps: &[(String, OwnedFd)]) -> Result<Pinned, BpfError> {
    let refused = |map: &str, source| BpfError::Handed { map: map.to_owned(), source };
    let directory = sys::unmounted_bpffs().map_err(|error| refused("(all)", error))?;
    let base = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd()));
    let mut paths = Vec::with_capacity(maps.len());
    for (name, fd) in maps {
        let failed = |error: io::Error| refused(name, error);
        let data = MapData::from_fd(fd.try_clone().map_err(failed)?);
        let path = base.join(name);
        data.map_err(io::Error::other).and_then(|data| data.pin(&path).map_err(io::Error::other)).map_err(failed)?;
        paths.push((name.clone(), path));
    }
    Ok(Pinned { paths, _directory: directory })
}
