//! Which programs, of whomever, sit on a cgroup at our attach points. Read-only; `preflight` judges what it means.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use aya::programs::loaded_programs;
use interceptor_common::names;

use crate::sys;

/// Our cgroup programs with their attach types (`enum bpf_attach_type`, include/uapi/linux/bpf.h).
pub(super) const ATTACH_TYPES: [(&str, u32); 11] = [
    (names::CONNECT4, 10),
    (names::CONNECT6, 11),
    (names::SENDMSG4, 14),
    (names::SENDMSG6, 15),
    (names::RECVMSG4, 19),
    (names::RECVMSG6, 20),
    (names::GETPEERNAME4, 29),
    (names::GETPEERNAME6, 30),
    (names::GETSOCKNAME4, 31),
    (names::GETSOCKNAME6, 32),
    (names::SOCK_OPS, 3),
];

/// `BPF_F_ALLOW_OVERRIDE`: a program below takes its place.
const ALLOW_OVERRIDE: u32 = 1;
/// `BPF_F_ALLOW_MULTI`: programs above and below run as well.
const ALLOW_MULTI: u32 = 2;

/// Programs on one cgroup at the attach point of one of our programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// Our program that attaches at the same point.
    pub hook: &'static str,
    /// How they are attached, see [`sys::ProgramQuery::flags`].
    pub flags: u32,
    /// Their names, or `#` and a number for a program without one; at least one.
    pub programs: Vec<String>,
}

impl Attachment {
    /// Whether a link of ours on a cgroup below would keep these from running for it, without a word: they allow that any
    /// other takes their place (`BPF_F_ALLOW_OVERRIDE`), and none beside them.
    pub fn would_be_silenced(&self) -> bool {
        self.flags & (ALLOW_OVERRIDE | ALLOW_MULTI) == ALLOW_OVERRIDE
    }

    /// Whether programs above and below run as well as these.
    pub fn allows_others(&self) -> bool {
        self.flags & ALLOW_MULTI != 0
    }
}

/// The programs of another tool that hooks on this cgroup would silence, and the cgroup above that they are attached to.
/// What cannot be asked is taken not to be there.
pub(super) fn silenced_by(cgroup: &Path) -> Option<(PathBuf, Attachment)> {
    // A link's own name may lie elsewhere; the hierarchy is where it leads.
    let cgroup = cgroup.canonicalize().ok()?;
    // What is nearest settles it, by kind.
    let mut settled = attachments(&cgroup).ok()?;
    for above in cgroup.ancestors().skip(1) {
        // Above the mount there are no cgroups.
        for found in attachments(above).ok()? {
            if settled.iter().any(|nearer| nearer.hook == found.hook) {
                continue;
            }
            if found.would_be_silenced() {
                return Some((above.to_owned(), found));
            }
            settled.push(found);
        }
    }
    None
}

/// Everything attached to a cgroup directory itself at our attach points.
///
/// # Errors
/// Where the directory cannot be opened or the kernel refuses to tell.
pub fn attachments(cgroup: &Path) -> io::Result<Vec<Attachment>> {
    let directory = File::open(cgroup)?;
    let mut found = Vec::new();
    let mut names = None;
    for (hook, attach_type) in ATTACH_TYPES {
        let query = match sys::query_programs(&directory, attach_type) {
            Ok(query) => query,
            // An attach type that this kernel does not know holds no program.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => continue,
            Err(error) => return Err(error),
        };
        if !query.programs.is_empty() {
            let names = names.get_or_insert_with(program_names);
            let name = |id: &u32| names.get(id).cloned().unwrap_or_else(|| format!("#{id}"));
            found.push(Attachment { hook, flags: query.flags, programs: query.programs.iter().map(name).collect() });
        }
    }
    Ok(found)
}

/// Programs may end while they are listed, and listing needs more rights than the query: what is missing has no name.
fn program_names() -> HashMap<u32, String> {
    let named = |info: aya::programs::ProgramInfo| {
        let name = info.name_as_str().filter(|name| !name.is_empty())?;
        Some((info.id(), name.to_owned()))
    };
    loaded_programs().filter_map(Result::ok).filter_map(named).collect()
}
