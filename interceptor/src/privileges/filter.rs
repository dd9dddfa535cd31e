//! Filters of system calls (seccomp), made by seccompiler. What they forbid fails with EPERM.
//!
//! The process's forbids what nothing here ever does and what an intruder would want: it lies over every thread, so that
//! no thread can be used to get around it. A worker's allows what serving connections takes and nothing else: it parses
//! what strangers send. Only called by the parent module; decides nothing at run time.

use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::SeccompAction::{Allow, Errno};
use seccompiler::{
    BackendError, BpfProgram, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
    sock_filter,
};

/// Why there is no filter.
#[derive(Debug, thiserror::Error)]
pub(super) enum FilterError {
    /// It cannot be made for this processor.
    #[error("making the filter: {0}")]
    Make(#[from] BackendError),
    /// The kernel does not take it.
    #[error("the kernel does not take the filter: {0} (is CONFIG_SECCOMP_FILTER off?)")]
    Install(#[from] seccompiler::Error),
}

/// System calls that nothing in this process has a use for: other programs and processes, mounts, modules and kernels, the
/// machine's clock, name and power, keys, and interfaces that get around filters (io_uring) or are exploited for their
/// own sake.
const FORBIDDEN: &[c_long] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_kcmp,
    libc::SYS_pidfd_getfd,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_mount_setattr,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_unshare,
    libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at,
    libc::SYS_mknodat,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_perf_event_open,
    libc::SYS_fanotify_init,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_reboot,
    libc::SYS_syslog,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setgroups,
    libc::SYS_personality,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_kexec_file_load,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_mknod,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_modify_ldt,
];

/// What a worker does with descriptors, sockets, memory, threads and time. It opens no file.
const ALLOWED: &[c_long] = &[
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_close,
    libc::SYS_fcntl,
    libc::SYS_ioctl,
    libc::SYS_pipe2,
    libc::SYS_splice,
    libc::SYS_socket,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_connect,
    libc::SYS_accept4,
    libc::SYS_shutdown,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_ppoll,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_futex,
    libc::SYS_membarrier,
    libc::SYS_rseq,
    libc::SYS_set_robust_list,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_tgkill,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_getrandom,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_wait,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_time,
];

/// What `bpf(2)` may do for a worker: read, write and remove entries of maps that it has descriptors of
/// (`BPF_MAP_LOOKUP_ELEM` to `BPF_MAP_GET_NEXT_KEY`, include/uapi/linux/bpf.h).
const MAP_COMMANDS: [u64; 4] = [1, 2, 3, 4];

/// `__X32_SYSCALL_BIT` (arch/x86/include/uapi/asm/unistd.h): the same calls by other numbers, which a list of what is
/// forbidden would overlook.
const OTHER_NUMBERS: u32 = 0x4000_0000;

/// Forbids to this thread, and to those that it will start, what nothing here has a use for.
pub(super) fn forbid_to_process() -> Result<(), FilterError> {
    let mut rules: Rules = FORBIDDEN.iter().map(|call| (*call, Vec::new())).collect();
    // Into no namespace but one of networks.
    rules.insert(libc::SYS_setns, vec![argument(1, SeccompCmpOp::Ne, network_namespace())?]);
    install(rules, Allow, refusal())?;
    Ok(seccompiler::apply_filter(&no_other_numbers())?)
}

/// Allows this thread what a worker needs, and nothing else.
pub(super) fn allow_to_worker() -> Result<(), FilterError> {
    let mut rules: Rules = ALLOWED.iter().map(|call| (*call, Vec::new())).collect();
    rules.insert(libc::SYS_setns, vec![argument(1, SeccompCmpOp::Eq, network_namespace())?]);
    let commands = MAP_COMMANDS.into_iter().map(|command| argument(0, SeccompCmpOp::Eq, command));
    rules.insert(libc::SYS_bpf, commands.collect::<Result<_, _>>()?);
    // Memory that can be executed is there from the beginning.
    let executable = u64::from(libc::PROT_EXEC.cast_unsigned());
    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        rules.insert(call, vec![argument(2, SeccompCmpOp::MaskedEq(executable), 0)?]);
    }
    install(rules, refusal(), Allow)
}

type Rules = BTreeMap<c_long, Vec<SeccompRule>>;

fn install(
    rules: Rules,
    otherwise: seccompiler::SeccompAction,
    matched: seccompiler::SeccompAction,
) -> Result<(), FilterError> {
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let program: BpfProgram = SeccompFilter::new(rules, otherwise, matched, arch)?.try_into()?;
    Ok(seccompiler::apply_filter(&program)?)
}

/// Holds where the lower half of that argument compares so: flags and commands are 32 bits wide.
fn argument(index: u8, operation: SeccompCmpOp, value: u64) -> Result<SeccompRule, BackendError> {
    SeccompRule::new(vec![SeccompCondition::new(index, SeccompCmpArgLen::Dword, operation, value)?])
}

fn network_namespace() -> u64 {
    u64::from(libc::CLONE_NEWNET.cast_unsigned())
}

fn refusal() -> seccompiler::SeccompAction {
    Errno(libc::EPERM.cast_unsigned())
}

/// `if number >= OTHER_NUMBERS { EPERM } else { allow }`: seccompiler compares numbers for being equal only.
fn no_other_numbers() -> [sock_filter; 4] {
    const LOAD_NUMBER: u16 = 0x20;
    const JUMP_IF_AT_LEAST: u16 = 0x35;
    const RETURN: u16 = 0x06;
    let plain = |code, k| sock_filter { code, jt: 0, jf: 0, k };
    [
        plain(LOAD_NUMBER, 0),
        sock_filter { code: JUMP_IF_AT_LEAST, jt: 0, jf: 1, k: OTHER_NUMBERS },
        plain(RETURN, refusal().into()),
        plain(RETURN, Allow.into()),
    ]
}
