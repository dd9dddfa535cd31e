//! Loads the hooks and attaches them for an instant, to a cgroup and a network namespace made for it.
//!
//! Maps are empty and both places hold no process, so no connection ever passes the hooks here.

use std::fs::{self, File};
use std::io;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::thread;

use interceptor_common::names;
use nix::sched::{CloneFlags, unshare};

use super::cgroups::{Points, is_v2};
use super::{Finding, State};
use crate::bpf::{BpfError, HookState, Kernel};
use crate::cgroup;
use crate::net::netns::Netns;
use crate::proxy::selftest;
use crate::sys;

const BUILD: &str = "cargo xtask build";
const SUPPORT: &str = "the findings above say what the kernel or this process lacks";

pub(super) fn findings(points: &Points) -> Vec<Finding> {
    let mut kernel = match Kernel::probe() {
        Ok(kernel) => kernel,
        Err(error @ BpfError::NotBuilt) => return vec![Finding::fail("hooks", error.to_string(), BUILD)],
        Err(error) => {
            let words = error.brief();
            return vec![Finding::fail("hooks", words.trim_end_matches("; run `interceptor check`"), SUPPORT)];
        }
    };
    let mut findings: Vec<Finding> = kernel.hooks().iter().map(|(name, state)| judge(name, state)).collect();
    findings.extend(points.all.iter().map(|point| attach_cgroup(&mut kernel, point)));
    findings.push(attach_netns(&mut kernel));
    findings.push(follow_threads(&mut kernel));
    findings.push(netns_cookie(&mut kernel));
    findings.extend(kernel_splice(&kernel));
    findings
}

fn judge(name: &str, state: &HookState) -> Finding {
    let title = format!("hook-{}", name.trim_start_matches("on_"));
    match state {
        HookState::Loaded => Finding::ok(title, "loads"),
        HookState::Unavailable(why) => Finding {
            state: if Kernel::is_indispensable(name) { State::Fail } else { State::Warn },
            ..Finding::warn(title, why, format!("{}: {SUPPORT}", without(name)))
        },
    }
}

/// What the agent cannot do without a program.
fn without(name: &str) -> &'static str {
    match name {
        names::CONNECT4 | names::CONNECT6 => "nothing is captured without it",
        names::SK_LOOKUP => "inbound requests are not intercepted without it",
        names::SOCK_OPS => "flow records lack the kernel's part without it",
        names::SENDMSG4 | names::SENDMSG6 | names::RECVMSG4 | names::RECVMSG6 => {
            "short names of shared services do not resolve without it"
        }
        names::SPLICE => "splice(2) takes the place of proxy.splice: kernel without it",
        _ => "applications see the agent's addresses without it",
    }
}

/// A cgroup directory that lives as long as this value.
struct ThrowAway(PathBuf);

impl ThrowAway {
    fn below(parent: &Path) -> io::Result<Self> {
        // A killed predecessor with the same process id may have left it; it is as empty as a new one.
        let path = parent.join(format!("interceptor-check-{}", std::process::id()));
        match fs::create_dir(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => Ok(Self(path)),
        }
    }
}

impl Drop for ThrowAway {
    fn drop(&mut self) {
        // Nobody was told of it, so nobody is in it; the kernel removes whatever is attached to it.
        fs::remove_dir(&self.0).ok();
    }
}

fn attach_cgroup(kernel: &mut Kernel, point: &Path) -> Finding {
    let name = "attach-cgroup";
    if !kernel.hooks().iter().any(|(name, state)| *name != names::SK_LOOKUP && *state == HookState::Loaded) {
        return Finding::fail(name, "not tried: no hook is loaded", SUPPORT);
    }
    let below = |path: &Path| if is_v2(path)? { ThrowAway::below(path) } else { Err(io::ErrorKind::NotFound.into()) };
    let made = below(point).or_else(|error| cgroup::mount().and_then(|mount| below(&mount)).map_err(|_| error));
    let directory = match made {
        Ok(directory) => directory,
        Err(error) => {
            let detail = format!("not tried: no directory can be made below {}: {error}", point.display());
            return Finding::warn(
                name,
                detail,
                "run as root, and in a container with the host's /sys/fs/cgroup writable",
            );
        }
    };
    match kernel.attach_cgroup(&directory.0) {
        Ok(_links) => Finding::ok(name, format!("works, tried on {} (removed again)", directory.0.display())),
        Err(error) => Finding::fail(name, error.brief(), "see other-programs above, and `capabilities`"),
    }
}

fn attach_netns(kernel: &mut Kernel) -> Finding {
    let name = "attach-netns";
    let netns = match fresh_netns() {
        Ok(netns) => netns,
        Err(error) => {
            let detail = format!("a network namespace cannot be made: {error}");
            return Finding::fail(name, detail, "entering workloads' namespaces needs CAP_SYS_ADMIN as well");
        }
    };
    match kernel.attach_netns(&netns) {
        Ok(_link) => Finding::ok(name, "works, tried on a fresh network namespace"),
        Err(BpfError::Unavailable(_)) => {
            Finding::warn(name, "not tried: sk_lookup is not loaded", without(names::SK_LOOKUP))
        }
        Err(error) => Finding::fail(name, error.to_string(), "sk_lookup links need Linux 5.9 and CAP_NET_ADMIN"),
    }
}

/// The hooks of `propagate: thread`, at the tracepoint for an instant: no socket is in their map.
fn follow_threads(kernel: &mut Kernel) -> Finding {
    let name = "follow-threads";
    let tried = kernel.load_threads().and_then(|()| kernel.attach_reads().map(drop));
    kernel.unload_threads();
    match tried {
        Ok(()) => {
            let detail = format!(
                "the programs of propagate: thread load, and the tracepoint {} is there",
                names::READ_TRACEPOINT
            );
            Finding::ok(name, detail)
        }
        Err(error) => Finding::warn(name, error.brief(), "propagate: thread traces nothing back without it"),
    }
}

/// Only this decides whether workloads can be told apart, by whichever way the kernel has.
fn netns_cookie(kernel: &mut Kernel) -> Finding {
    let name = "netns-cookie";
    let mut ask = || -> Result<u64, BpfError> {
        let own = Netns::open(Path::new("/proc/thread-self/ns/net")).map_err(BpfError::Namespace)?;
        let socket = UdpSocket::bind("0.0.0.0:0").or_else(|_| UdpSocket::bind("[::]:0"));
        kernel.netns_cookie(&own, &socket.map_err(BpfError::Namespace)?)
    };
    match ask() {
        Ok(cookie) => Finding::ok(name, format!("told (this namespace: {cookie})")),
        Err(error) => Finding::fail(name, error.brief(), "workloads cannot be told apart: run Linux 5.14 or newer"),
    }
}

/// What the self-test says that decides about `proxy.splice: kernel`. Nothing where its program was refused, which is a
/// finding already.
fn kernel_splice(kernel: &Kernel) -> Option<Finding> {
    let name = "kernel-splice";
    if kernel.splice_refused().is_some() {
        return None;
    }
    let maps = match kernel.flow_maps() {
        Ok(maps) => maps,
        Err(error) => return Some(Finding::warn(name, error.brief(), without(names::SPLICE))),
    };
    Some(match selftest::run(maps) {
        Ok(()) => Finding::ok(name, "the self-test of proxy.splice: kernel passes"),
        Err(error) => Finding::warn(name, error.to_string(), without(names::SPLICE)),
    })
}

/// A thread is given a namespace of its own and ends; the descriptor keeps the namespace.
fn fresh_netns() -> io::Result<File> {
    let made = thread::Builder::new().name("check-netns".to_owned()).spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET)?;
        sys::own_netns()
    })?;
    made.join().unwrap_or_else(|_| Err(io::Error::other("the thread that was to make it panicked")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_connect_hook_is_a_failure_in_the_kernels_words() {
        let finding = judge(names::CONNECT6, &HookState::Unavailable("unknown func".to_owned()));
        assert_eq!((finding.state, finding.name.as_str()), (State::Fail, "hook-connect6"));
        assert_eq!(finding.detail, "unknown func");
    }

    #[test]
    fn a_hook_that_is_not_indispensable_is_a_warning_with_what_is_lost() {
        let finding = judge(names::SOCK_OPS, &HookState::Unavailable("refused".to_owned()));
        assert_eq!(finding.state, State::Warn);
        assert!(finding.hint.unwrap().starts_with("flow records lack"));
        assert_eq!(judge(names::SOCK_OPS, &HookState::Loaded).state, State::Ok);
    }

    #[test]
    fn a_throw_away_directory_goes_with_its_value() {
        let parent = std::env::temp_dir();
        let path = ThrowAway::below(&parent).map(|made| {
            assert!(made.0.is_dir());
            made.0.clone()
        });
        assert!(!path.unwrap().exists());
    }
}
