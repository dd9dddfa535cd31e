//! The first process of a virtual machine that `cargo xtask test --vm` starts: makes the machine what a node is, runs
//! what `/tests` says, tells how that ended and turns the machine off.
//!
//! Nothing else runs in there. Limits stay as the kernel sets them for its first process: raising one is the agent's
//! own business, on an old kernel as everywhere. It must run as process 1 only; anywhere else it refuses.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitStatus};

use anyhow::{Context as _, Result, bail, ensure};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{getpid, sync};

/// What is mounted where, in this order.
const MOUNTS: [(&str, &str); 8] = [
    ("proc", "/proc"),
    ("sysfs", "/sys"),
    ("devtmpfs", "/dev"),
    ("tmpfs", "/tmp"),
    ("tmpfs", "/run"),
    ("cgroup2", "/sys/fs/cgroup"),
    ("bpf", "/sys/fs/bpf"),
    ("tracefs", "/sys/kernel/tracing"),
];

/// The list of commands, a line each, words separated by single spaces.
const TESTS: &str = "/tests";

fn main() {
    let ended = if getpid().as_raw() == 1 { run() } else { Err(anyhow::anyhow!("this is only for process 1")) };
    let word = if ended.is_ok() { "success" } else { "failure" };
    if let Err(error) = &ended {
        say(format_args!("{error:#}"));
    }
    // The host believes this line and nothing else.
    say(format_args!("result: {word}"));
    if getpid().as_raw() != 1 {
        std::process::exit(2);
    }
    sync();
    let Err(error) = reboot(RebootMode::RB_POWER_OFF);
    say(format_args!("cannot turn the machine off: {error}"));
}

fn run() -> Result<()> {
    for (kind, path) in MOUNTS {
        fs::create_dir_all(path).with_context(|| format!("making {path}"))?;
        mount(Some(kind), path, Some(kind), MsFlags::empty(), None::<&str>)
            .with_context(|| format!("mounting {kind} on {path}"))?;
    }
    let list = fs::read_to_string(TESTS).with_context(|| format!("reading {TESTS}"))?;
    let mut failed = Vec::new();
    for line in list.lines() {
        let mut words = line.split(' ');
        let program = words.next().context("an empty line in the list of tests")?;
        say(format_args!("run: {line}"));
        let status = wait(Command::new(program).args(words)).with_context(|| format!("running {program}"))?;
        say(format_args!("ended: {program}: {status}"));
        if !status.success() {
            failed.push(program.to_owned());
        }
    }
    ensure!(!list.is_empty(), "{TESTS} is empty");
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    Ok(())
}

/// Runs one command to its end; every orphan of the machine comes to process 1 and is reaped meanwhile.
fn wait(command: &mut Command) -> Result<ExitStatus> {
    let child = command.spawn()?.id();
    loop {
        match waitpid(None, None) {
            Ok(WaitStatus::Exited(pid, code)) if pid.as_raw().cast_unsigned() == child => {
                return Ok(ExitStatus::from_raw(code << 8));
            }
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid.as_raw().cast_unsigned() == child => {
                return Ok(ExitStatus::from_raw(signal as i32));
            }
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn say(what: std::fmt::Arguments<'_>) {
    #[expect(clippy::print_stdout, reason = "the console is all that it has")]
    {
        println!("vm-init: {what}");
    }
}
