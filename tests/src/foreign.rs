//! eBPF programs of "another tool" at the agent's own attach points: what Cilium, Docker and firewalls attach, in a few
//! instructions.
//!
//! Tests attach them before, beside and above the agent's. A program ends with its link, or when it is taken off.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};

use crate::sys;

/// `enum bpf_attach_type` and `enum bpf_prog_type`, include/uapi/linux/bpf.h.
const CONNECT4: u32 = 10;
const SK_LOOKUP: u32 = 36;
const CGROUP_SOCK_ADDR: u32 = 18;
const SK_LOOKUP_PROGRAM: u32 = 30;

/// How a program is attached to a cgroup without a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flags {
    /// No other beside, above or below it.
    Exclusive = 0,
    /// One below takes its place.
    Override = 1,
    /// Others run as well.
    Multi = 2,
}

/// A loaded program.
#[derive(Debug)]
pub struct Program {
    fd: OwnedFd,
    attach_type: u32,
}

/// A program attached by a link; dropping it detaches it.
#[derive(Debug)]
pub struct Link(#[expect(dead_code, reason = "held for what its end does")] OwnedFd);

/// A program attached to a cgroup without a link; dropping this takes it off.
#[derive(Debug)]
pub struct Attached {
    program: Program,
    cgroup: PathBuf,
}

impl Program {
    /// connect4 that refuses every connect() (EPERM).
    pub fn deny() -> Result<Program> {
        Program::load(CGROUP_SOCK_ADDR, CONNECT4, "foreign_deny", &[MOV_R0 | imm(0), EXIT])
    }

    /// connect4 that sends what wants to go to one address elsewhere, as a socket load balancer does.
    pub fn redirect(from: SocketAddrV4, to: SocketAddrV4) -> Result<Program> {
        let network = |ip: Ipv4Addr| u32::from_ne_bytes(ip.octets());
        let port = |port: u16| u32::from(port.to_be());
        let code = [
            LOAD_R2 | offset(4),
            JUMP_R2_NOT | offset(7) | imm(network(*from.ip())),
            LOAD_R2 | offset(24),
            JUMP_R2_NOT | offset(5) | imm(port(from.port())),
            MOV_R2 | imm(network(*to.ip())),
            STORE_R2 | offset(4),
            MOV_R2 | imm(port(to.port())),
            STORE_R2 | offset(24),
            MOV_R0 | imm(1),
            MOV_R0 | imm(1),
            EXIT,
        ];
        Program::load(CGROUP_SOCK_ADDR, CONNECT4, "foreign_lb", &code)
    }

    /// sk_lookup that drops what comes for one port.
    pub fn drop_port(port: u16) -> Result<Program> {
        // `local_port`, in the machine's order.
        let code =
            [LOAD_R2 | offset(60), MOV_R0 | imm(0), JUMP_R2_IS | offset(1) | imm(port.into()), MOV_R0 | imm(1), EXIT];
        Program::load(SK_LOOKUP_PROGRAM, SK_LOOKUP, "foreign_drop", &code)
    }

    fn load(kind: u32, attach_type: u32, name: &str, code: &[u64]) -> Result<Program> {
        // Before 5.11 programs are charged to this limit. Where it may not be raised, loading says so if it has to be.
        setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY).ok();
        let fd = sys::load_program(kind, attach_type, name, code).with_context(|| format!("loading {name}"))?;
        Ok(Program { fd, attach_type })
    }

    /// Attaches it to a cgroup directory, or to a network namespace by its file, with a link.
    pub fn link(&self, to: &Path) -> Result<Link> {
        const BPF_LINK_CREATE: i32 = 28;
        let target = File::open(to).with_context(|| format!("opening {}", to.display()))?;
        let mut words = [word(&self.fd), word(&target), self.attach_type, 0];
        let fd = sys::bpf(BPF_LINK_CREATE, &mut words).with_context(|| format!("attaching to {}", to.display()))?;
        Ok(Link(sys::own_received(fd)))
    }

    /// Attaches it to a cgroup directory the old way.
    pub fn attach(self, cgroup: &Path, flags: Flags) -> Result<Attached> {
        const BPF_PROG_ATTACH: i32 = 8;
        let target = File::open(cgroup).with_context(|| format!("opening {}", cgroup.display()))?;
        let mut words = [word(&target), word(&self.fd), self.attach_type, flags as u32];
        sys::bpf(BPF_PROG_ATTACH, &mut words).with_context(|| format!("attaching to {}", cgroup.display()))?;
        Ok(Attached { program: self, cgroup: cgroup.to_owned() })
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        const BPF_PROG_DETACH: i32 = 9;
        let detach = || -> io::Result<()> {
            let target = File::open(&self.cgroup)?;
            let mut words = [word(&target), word(&self.program.fd), self.program.attach_type, 0];
            sys::bpf(BPF_PROG_DETACH, &mut words).map(drop)
        };
        // With the cgroup it is gone as well.
        detach().ok();
    }
}

fn word(fd: &impl AsFd) -> u32 {
    fd.as_fd().as_raw_fd().cast_unsigned()
}

// Instructions as the kernel reads them: the code, two registers, an offset of 16 bits, a number of 32 (little endian).
const LOAD_R2: u64 = 0x1261;
const STORE_R2: u64 = 0x2163;
const MOV_R0: u64 = 0x00b7;
const MOV_R2: u64 = 0x02b4;
const JUMP_R2_NOT: u64 = 0x0256;
const JUMP_R2_IS: u64 = 0x0216;
const EXIT: u64 = 0x0095;

fn offset(bytes: u16) -> u64 {
    u64::from(bytes) << 16
}

fn imm(number: u32) -> u64 {
    u64::from(number) << 32
}
