//! The maps of kernel splice: which socket's bytes go to which inside the kernel.
//!
//! Two sock maps on purpose. A direction's target is put into the one without a program first; only when its source enters
//! the one with the program does anything move, so no look-up of the program's can miss. A source is never taken out while
//! it is open: the kernel drops what arrives in that moment (docs/decisions/0005-kernel-splice.md).

use std::os::fd::BorrowedFd;

use aya::Ebpf;
use aya::maps::sock::SockMapFd;
use aya::maps::{MapData, MapError, SockHash};
use aya::programs::ProgramError;
use interceptor_common::{SpliceFlow, names};

use super::error::BpfError;
use super::maps::{Table, open};
use crate::sys;

/// A worker's own handles.
pub(super) struct SpliceMaps {
    targets: SockHash<MapData, u64>,
    sources: SockHash<MapData, u64>,
    flows: Table<u64, SpliceFlow>,
}

impl SpliceMaps {
    pub(super) fn open(ebpf: &Ebpf) -> Result<Self, BpfError> {
        Ok(Self {
            targets: sockets(ebpf, names::SPLICE_TARGETS)?,
            sources: sockets(ebpf, names::SPLICE_SOURCES)?,
            flows: Table::new(names::SPLICE_FLOWS, open(ebpf, names::SPLICE_FLOWS)?)?,
        })
    }

    /// See [`KernelSide::splice`](crate::kernel::KernelSide::splice). The key is `from`'s cookie.
    pub(super) fn enrol(&mut self, from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<u64, BpfError> {
        let key = sys::socket_cookie(from).map_err(BpfError::Cookie)?;
        self.flows.insert(key, SpliceFlow::default())?;
        let enrolled = self.targets.insert(key, to, 0).map_err(BpfError::map(names::SPLICE_TARGETS)).and_then(|()| {
            // Fails where the peer has ended its direction meanwhile. A target alone does nothing.
            self.sources.insert(key, from, 0).map_err(BpfError::map(names::SPLICE_SOURCES))
        });
        if let Err(error) = enrolled {
            self.forget(key);
            return Err(error);
        }
        // What arrived before is read by the program now, in order, not when the next segment arrives.
        if let Err(error) = sys::tell_readable(from) {
            tracing::debug!(%error, "telling the kernel to read what came before");
        }
        Ok(key)
    }

    pub(super) fn flow(&self, key: u64) -> Option<SpliceFlow> {
        self.flows.get(&key)
    }

    pub(super) fn forget(&mut self, key: u64) {
        if let Err(error) = self.flows.remove(&key) {
            tracing::debug!(%error, "forgetting a spliced direction");
        }
    }
}

/// The map that the verdict program is attached to.
pub(super) fn sources(ebpf: &Ebpf) -> Result<SockMapFd, ProgramError> {
    let map = ebpf.map(names::SPLICE_SOURCES).ok_or_else(|| missing(names::SPLICE_SOURCES))?;
    let map = SockHash::<&MapData, u64>::try_from(map)?;
    Ok(map.fd().try_clone()?)
}

fn sockets(ebpf: &Ebpf, name: &'static str) -> Result<SockHash<MapData, u64>, BpfError> {
    SockHash::try_from(open(ebpf, name)?).map_err(BpfError::map(name))
}

fn missing(name: &str) -> MapError {
    MapError::InvalidName { name: name.to_owned() }
}
