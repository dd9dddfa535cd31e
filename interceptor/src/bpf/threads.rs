//! The two programs that follow threads (`propagate: thread`): loaded and attached only while a workload asks for it.
//!
//! `capture` decides when. The raw tracepoint is one for the whole machine, sock_ops is attached wherever the other cgroup
//! programs are; both are detached when what is returned here is dropped.

use std::fs::File;
use std::path::Path;

use aya::programs::raw_trace_point::RawTracePointLink;
use aya::programs::sock_ops::SockOpsLink;
use aya::programs::{ProgramError, RawTracePoint, SockOps};
use interceptor_common::names;

use super::error::BpfError;
use super::load::{Kernel, MODE, program};

/// The program at the tracepoint; dropping detaches it.
#[derive(Debug)]
pub struct ReadsLink {
    _link: RawTracePointLink,
}

/// The sock_ops program on one cgroup; dropping detaches it.
#[derive(Debug)]
pub struct SendsLink {
    _link: SockOpsLink,
}

impl Kernel {
    /// Loads the programs that follow threads.
    ///
    /// # Errors
    /// Where the kernel refuses one, or does not tell where it keeps what they read.
    pub fn load_threads(&mut self) -> Result<(), BpfError> {
        if let Some(why) = &self.no_offsets {
            return Err(BpfError::Offsets { program: names::THREAD_READS, why: why.clone() });
        }
        let refused = |program| move |source| BpfError::Program { program, source: Box::new(source) };
        self.thread_reads().and_then(RawTracePoint::load).map_err(refused(names::THREAD_READS))?;
        if let Err(error) = self.thread_sends().and_then(SockOps::load).map_err(refused(names::THREAD_SENDS)) {
            self.unload_threads();
            return Err(error);
        }
        Ok(())
    }

    /// Takes the programs that follow threads out of the kernel, once nothing holds their links.
    pub fn unload_threads(&mut self) {
        // What is not loaded needs no unloading.
        self.thread_reads().and_then(RawTracePoint::unload).ok();
        self.thread_sends().and_then(SockOps::unload).ok();
    }

    /// Attaches what sees threads read.
    ///
    /// # Errors
    /// Where the kernel has no such tracepoint.
    pub fn attach_reads(&mut self) -> Result<ReadsLink, BpfError> {
        let (program, tracepoint) = (names::THREAD_READS, names::READ_TRACEPOINT);
        let refused = |source| BpfError::Tracepoint { program, tracepoint, source: Box::new(source) };
        let program = self.thread_reads().map_err(refused)?;
        let link = program.attach(tracepoint).and_then(|id| program.take_link(id)).map_err(refused)?;
        Ok(ReadsLink { _link: link })
    }

    /// Attaches what sees threads send to a cgroup v2 directory.
    ///
    /// # Errors
    /// As [`Kernel::attach_cgroup`].
    pub fn attach_sends(&mut self, path: &Path) -> Result<SendsLink, BpfError> {
        let cgroup = File::open(path).map_err(|source| BpfError::OpenCgroup { path: path.to_owned(), source })?;
        let refused = |source| BpfError::Cgroup {
            program: names::THREAD_SENDS,
            cgroup: path.to_owned(),
            source: std::io::Error::other(source),
        };
        let program = self.thread_sends().map_err(refused)?;
        let link = program.attach(&cgroup, MODE).and_then(|id| program.take_link(id)).map_err(refused)?;
        Ok(SendsLink { _link: link })
    }

    fn thread_reads(&mut self) -> Result<&mut RawTracePoint, ProgramError> {
        program(&mut self.ebpf, names::THREAD_READS)
    }

    fn thread_sends(&mut self) -> Result<&mut SockOps, ProgramError> {
        program(&mut self.ebpf, names::THREAD_SENDS)
    }
}
