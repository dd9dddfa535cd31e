//! The hooks that follow threads: in the kernel as long as a captured workload has `propagate: thread`, and no longer.
//!
//! Owned by the controller, which says how many workloads want them and where cgroup programs are attached.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use interceptor_common::names;

use crate::bpf::{BpfError, Kernel, ReadsLink, SendsLink};
use crate::status::{HookState, StatusBoard};

/// What is attached.
#[derive(Debug, Default)]
pub(super) struct ThreadHooks {
    reads: Option<ReadsLink>,
    sends: BTreeMap<PathBuf, SendsLink>,
    /// Why they could not be had, as it was last told.
    refused: Option<String>,
}

impl ThreadHooks {
    /// Attaches to these cgroups, or detaches from all of them where nobody wants it. True: threads can be followed.
    pub(super) fn apply<'p>(
        &mut self,
        kernel: &mut Kernel,
        status: &StatusBoard,
        cgroups: impl Iterator<Item = &'p Path> + Clone,
        wanted: bool,
    ) -> bool {
        if !wanted {
            self.detach(kernel, status);
            return false;
        }
        match self.attach(kernel, cgroups) {
            Ok(()) => {
                self.refused = None;
                let paths: Vec<String> = self.sends.keys().map(|path| path.display().to_string()).collect();
                status.set_hook(names::THREAD_READS, HookState::Attached, names::READ_TRACEPOINT);
                status.set_hook(names::THREAD_SENDS, HookState::Attached, &paths.join(", "));
                true
            }
            Err(error) => {
                self.detach(kernel, status);
                let error = error.brief();
                for name in [names::THREAD_READS, names::THREAD_SENDS] {
                    status.set_hook(name, HookState::Unavailable, &error);
                }
                if self.refused.as_ref() != Some(&error) {
                    tracing::warn!(error, "propagate: thread is not possible; calls are not traced back by thread");
                    self.refused = Some(error);
                }
                false
            }
        }
    }

    /// A cgroup is gone, or another one has its name now.
    pub(super) fn leave(&mut self, cgroup: &Path) {
        self.sends.remove(cgroup);
    }

    fn attach<'p>(
        &mut self,
        kernel: &mut Kernel,
        cgroups: impl Iterator<Item = &'p Path> + Clone,
    ) -> Result<(), BpfError> {
        if self.reads.is_none() {
            kernel.load_threads()?;
            self.reads = Some(kernel.attach_reads()?);
        }
        self.sends.retain(|path, _| cgroups.clone().any(|cgroup| cgroup == path));
        for cgroup in cgroups {
            if !self.sends.contains_key(cgroup) {
                self.sends.insert(cgroup.to_owned(), kernel.attach_sends(cgroup)?);
            }
        }
        Ok(())
    }

    fn detach(&mut self, kernel: &mut Kernel, status: &StatusBoard) {
        let Some(reads) = self.reads.take() else { return };
        drop(reads);
        self.sends.clear();
        kernel.unload_threads();
        for name in [names::THREAD_READS, names::THREAD_SENDS] {
            status.set_hook(name, HookState::Detached, "no workload has `propagate: thread`");
        }
    }
}
