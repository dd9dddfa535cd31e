//! Loads the object and attaches its programs. A program that this kernel refuses is left out and said so: only the
//! connect hooks are indispensable.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use aya::programs::{CgroupAttachMode, CgroupSockAddr, ProgramError, SkLookup, SkSkb, SockOps};
use aya::{Ebpf, EbpfLoader};
use interceptor_common::names;

use super::error::BpfError;
use super::handed::{self, Maps};
use super::inspect::{self, ATTACH_TYPES};
use super::link::{CgroupLinks, NetnsLink};
use super::maps::{self, CaptureMaps, ControlMap, FlowMaps, KernelCounters};
use super::offsets::Offsets;
use super::{logging, namespace, object, splice};
use crate::net::netns::Netns;
use crate::sys;

/// The sock_addr programs, all attached to a cgroup.
const SOCK_ADDR: [&str; 10] = [
    names::CONNECT4,
    names::CONNECT6,
    names::SENDMSG4,
    names::SENDMSG6,
    names::RECVMSG4,
    names::RECVMSG6,
    names::GETPEERNAME4,
    names::GETPEERNAME6,
    names::GETSOCKNAME4,
    names::GETSOCKNAME6,
];

/// Without these nothing can be captured.
const INDISPENSABLE: [&str; 2] = [names::CONNECT4, names::CONNECT6];

/// Without all of these no DNS can be captured: an answer that seems to come from elsewhere is thrown away by its client.
const DNS: [&str; 4] = [names::SENDMSG4, names::SENDMSG6, names::RECVMSG4, names::RECVMSG6];

/// `BPF_SK_LOOKUP` of `enum bpf_attach_type`.
const SK_LOOKUP_TYPE: u32 = 36;
/// On kernels from 5.7 aya makes a bpf_link, which is always of the multi kind and refuses the multi flag.
pub(super) const MODE: CgroupAttachMode = CgroupAttachMode::Single;

/// The loaded object.
pub struct Kernel {
    pub(super) ebpf: Ebpf,
    hooks: BTreeMap<&'static str, HookState>,
    /// Descriptors of the maps that a successor gets.
    shared: Vec<(&'static str, OwnedFd)>,
    /// Why programs that read the kernel's structures cannot be used.
    pub(super) no_offsets: Option<String>,
}

/// The programs that not every agent needs.
#[derive(Debug, Clone, Copy, Default)]
pub struct Programs {
    /// The one for kernel splice.
    pub splice: bool,
    /// Those for the DNS of workloads in derived spaces.
    pub dns: bool,
}

/// What became of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HookState {
    /// The kernel took it.
    Loaded,
    /// The kernel refused it, with its words.
    Unavailable(String),
}

impl Kernel {
    /// Loads the embedded object and every program of it but those that are not wanted; on the maps of the agent before,
    /// where there are any.
    ///
    /// # Errors
    /// Where the object is missing or refused, or a connect hook is refused.
    pub fn load(debug: bool, programs: Programs, maps: &[(String, OwnedFd)]) -> Result<Self, BpfError> {
        let (mut kernel, refused) = Self::load_programs(debug, programs, maps)?;
        if let Some(error) = refused {
            return Err(error);
        }
        if debug {
            logging::start(&mut kernel.ebpf);
        }
        Ok(kernel)
    }

    /// Loads what this kernel takes, whatever it refuses: `interceptor check` reports every program, not the first.
    ///
    /// # Errors
    /// Where the object is missing or refused as a whole.
    pub fn probe() -> Result<Self, BpfError> {
        Ok(Self::load_programs(false, Programs { splice: true, dns: true }, &[])?.0)
    }

    /// The loaded object, and the first refusal of an indispensable program.
    fn load_programs(
        debug: bool,
        programs: Programs,
        maps: &[(String, OwnedFd)],
    ) -> Result<(Self, Option<BpfError>), BpfError> {
        let Programs { splice, dns } = programs;
        if object::OBJECT.is_empty() {
            return Err(BpfError::NotBuilt);
        }
        let offsets = Offsets::of_kernel();
        let pinned = if maps.is_empty() { None } else { Some(handed::pin(maps)?) };
        let (debug, mut loader) = (u32::from(debug), EbpfLoader::new());
        for (name, path) in pinned.iter().flat_map(|pinned| &pinned.paths) {
            loader.map_pin_path(name.as_str(), path.as_path());
        }
        loader.override_global(names::DEBUG, &debug, true);
        if let Ok(offsets) = &offsets {
            for (name, place) in [
                (names::WRITE_SEQ, &offsets.write_seq),
                (names::COPIED_SEQ, &offsets.copied_seq),
                (names::SKB_SEQ, &offsets.skb_seq),
                (names::SOCK_COOKIE, &offsets.sock_cookie),
                (names::TASK_START, &offsets.task_start),
                (names::TASK_PID, &offsets.task_pid),
                (names::TASK_TGID, &offsets.task_tgid),
            ] {
                loader.override_global(name, place, true);
            }
        }
        let ebpf = loader.load(object::OBJECT).map_err(|source| BpfError::Object(Box::new(source)))?;
        let no_offsets = offsets.err().map(|error| error.to_string());
        let shared = names::SHARED.iter().map(|name| Ok((*name, maps::descriptor(&ebpf, name)?)));
        let shared = shared.collect::<Result<_, BpfError>>()?;
        let mut kernel = Self { ebpf, hooks: BTreeMap::new(), shared, no_offsets };
        let mut refused = None;
        for name in SOCK_ADDR.into_iter().filter(|name| dns || !DNS.contains(name)) {
            let loaded = kernel.sock_addr(name).and_then(CgroupSockAddr::load);
            refused = refused.or(kernel.note(name, loaded));
        }
        let loaded = kernel.sk_lookup().and_then(SkLookup::load);
        refused = refused.or(kernel.note(names::SK_LOOKUP, loaded));
        let loaded = kernel.sock_ops().and_then(SockOps::load);
        refused = refused.or(kernel.note(names::SOCK_OPS, loaded));
        match &kernel.no_offsets {
            _ if !splice => {}
            None => {
                let loaded = kernel.splice();
                refused = refused.or(kernel.note(names::SPLICE, loaded));
            }
            Some(why) => _ = kernel.hooks.insert(names::SPLICE, HookState::Unavailable(why.clone())),
        }
        Ok((kernel, refused))
    }

    /// Whether nothing can be captured without this program.
    pub fn is_indispensable(name: &str) -> bool {
        INDISPENSABLE.contains(&name)
    }

    /// Whether DNS can be captured.
    pub fn can_dns(&self) -> bool {
        DNS.into_iter().all(|name| self.is_loaded(name))
    }

    /// Every program with what became of it.
    pub fn hooks(&self) -> &BTreeMap<&'static str, HookState> {
        &self.hooks
    }

    /// Attaches the cgroup programs to a cgroup v2 directory.
    ///
    /// # Errors
    /// Where the directory cannot be opened, programs of another tool would be silenced, or the kernel refuses a program that
    /// it had loaded.
    pub fn attach_cgroup(&self, path: &Path) -> Result<CgroupLinks, BpfError> {
        self.attach_rest(path, Vec::new())
    }

    /// The same where the agent before has handed over some links, which run this agent's programs already.
    ///
    /// # Errors
    /// As [`attach_cgroup`](Self::attach_cgroup).
    pub fn attach_rest(&self, path: &Path, mut handed: Vec<(String, OwnedFd)>) -> Result<CgroupLinks, BpfError> {
        let open = |source| BpfError::OpenCgroup { path: path.to_owned(), source };
        let cgroup = File::open(path).map_err(open)?;
        // Of a cgroup with links of ours the harm is done already, or there is none.
        if handed.is_empty()
            && let Some((above, found)) = inspect::silenced_by(path)
        {
            return Err(BpfError::Silences { cgroup: path.to_owned(), above, programs: found.programs });
        }
        let mut links = Vec::with_capacity(ATTACH_TYPES.len());
        for (name, attach_type) in ATTACH_TYPES {
            if !self.is_loaded(name) {
                continue;
            }
            let link = match handed.iter().position(|(hook, _)| hook == name) {
                Some(at) => handed.swap_remove(at).1,
                None => {
                    let refused = |source| BpfError::Cgroup { program: name, cgroup: path.to_owned(), source };
                    let program = self.program(name).map_err(refused)?;
                    sys::bpf_link(program, &cgroup, attach_type).map_err(refused)?
                }
            };
            links.push((name, link));
        }
        Ok(CgroupLinks::new(links))
    }

    /// Attaches sk_lookup to a network namespace.
    ///
    /// # Errors
    /// Where the kernel refuses.
    pub fn attach_netns(&self, netns: impl AsFd) -> Result<NetnsLink, BpfError> {
        if !self.is_loaded(names::SK_LOOKUP) {
            return Err(BpfError::Unavailable(names::SK_LOOKUP));
        }
        let program = self.program(names::SK_LOOKUP).map_err(BpfError::Netns)?;
        sys::bpf_link(program, netns, SK_LOOKUP_TYPE).map(NetnsLink::new).map_err(BpfError::Netns)
    }

    /// Has a link of another agent's run this agent's program. False: it leads nowhere any more, or no such program is
    /// loaded here, so that it is to be closed.
    ///
    /// # Errors
    /// Where the kernel refuses.
    pub fn take_link(&self, program: &str, link: impl AsFd) -> Result<bool, BpfError> {
        let failed = |source| BpfError::Relink { program: program.to_owned(), source };
        if !self.is_loaded(program) {
            return Ok(false);
        }
        match sys::bpf_link_update(link, self.program(program).map_err(failed)?) {
            Ok(()) => Ok(true),
            Err(error) if error.raw_os_error() == Some(libc::ENOLINK) => Ok(false),
            Err(source) => Err(failed(source)),
        }
    }

    /// The maps that a successor gets.
    ///
    /// # Errors
    /// Where no descriptors are left.
    pub fn shared_maps(&self) -> io::Result<Maps> {
        self.shared.iter().map(|(name, fd)| Ok(((*name).to_owned(), fd.try_clone()?))).collect()
    }

    /// The maps that `capture` fills.
    ///
    /// # Errors
    /// Where the object lacks one, or it was taken before.
    pub fn capture_maps(&mut self) -> Result<CaptureMaps, BpfError> {
        CaptureMaps::take(&mut self.ebpf)
    }

    /// The map through which the agent shows that it lives.
    ///
    /// # Errors
    /// Where a descriptor cannot be had.
    pub fn control_map(&self) -> Result<ControlMap, BpfError> {
        ControlMap::open(&self.ebpf)
    }

    /// A worker's own handles of the maps that belong to connections.
    ///
    /// # Errors
    /// Where a descriptor cannot be had.
    pub fn flow_maps(&self) -> Result<FlowMaps, BpfError> {
        FlowMaps::open(&self.ebpf)
    }

    /// Why kernel splice cannot be used; `None`: the kernel took its program.
    pub fn splice_refused(&self) -> Option<&str> {
        match self.hooks.get(names::SPLICE) {
            Some(HookState::Loaded) => None,
            Some(HookState::Unavailable(why)) => Some(why),
            None => Some("its program was not loaded"),
        }
    }

    /// The hooks' counters.
    ///
    /// # Errors
    /// Where a descriptor cannot be had.
    pub fn counters(&self) -> Result<KernelCounters, BpfError> {
        KernelCounters::open(&self.ebpf)
    }

    /// The cookie of a network namespace that `socket` is in: the key of its workload in the hooks' maps.
    ///
    /// # Errors
    /// Where the kernel tells neither by socket option (before 5.14) nor by a hook on the agent's own cgroup.
    pub fn netns_cookie(&mut self, netns: &Netns, socket: impl AsFd) -> Result<u64, BpfError> {
        namespace::cookie(&mut self.ebpf, netns, socket)
    }

    fn is_loaded(&self, name: &str) -> bool {
        self.hooks.get(name) == Some(&HookState::Loaded)
    }

    /// Notes what became of a program; the refusal of an indispensable one comes back.
    fn note(&mut self, name: &'static str, loaded: Result<(), ProgramError>) -> Option<BpfError> {
        let Err(source) = loaded else {
            self.hooks.insert(name, HookState::Loaded);
            return None;
        };
        let error = BpfError::Program { program: name, source: Box::new(source) };
        tracing::debug!(program = name, %error, "refused");
        self.hooks.insert(name, HookState::Unavailable(error.brief()));
        Self::is_indispensable(name).then_some(error)
    }

    fn program(&self, name: &str) -> io::Result<BorrowedFd<'_>> {
        let program = self.ebpf.program(name).ok_or(io::ErrorKind::NotFound)?;
        program.fd().map(AsFd::as_fd).map_err(io::Error::other)
    }

    fn sock_addr(&mut self, name: &'static str) -> Result<&mut CgroupSockAddr, ProgramError> {
        program(&mut self.ebpf, name)
    }

    fn sk_lookup(&mut self) -> Result<&mut SkLookup, ProgramError> {
        program(&mut self.ebpf, names::SK_LOOKUP)
    }

    /// Loads the verdict program and attaches it to its map, which no socket is in before.
    fn splice(&mut self) -> Result<(), ProgramError> {
        let sources = splice::sources(&self.ebpf)?;
        let program: &mut SkSkb = program(&mut self.ebpf, names::SPLICE)?;
        program.load()?;
        // The link stays with the program, which lives as long as the agent.
        program.attach(&sources).map(drop)
    }

    fn sock_ops(&mut self) -> Result<&mut SockOps, ProgramError> {
        program(&mut self.ebpf, names::SOCK_OPS)
    }
}

pub(super) fn program<'e, P>(ebpf: &'e mut Ebpf, name: &'static str) -> Result<&'e mut P, ProgramError>
where
    &'e mut P: TryFrom<&'e mut aya::programs::Program, Error = ProgramError>,
{
    // A name that the object lacks is a build of mixed parts; it reads like a program of the wrong type.
    ebpf.program_mut(name).ok_or(ProgramError::UnexpectedProgramType)?.try_into()
}
