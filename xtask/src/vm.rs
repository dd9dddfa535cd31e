//! `cargo xtask test --vm`: the privileged tests on other kernels, each in a virtual machine of its own.
//!
//! A machine is a kernel, an archive of files that it unpacks as its root (the built agent and tests, the programs they
//! call, their libraries, modules) and a serial line. Nothing of this machine is mounted in it, nothing is installed for
//! it, and it needs no root. How it ended is read from what process 1 says, never from the emulator's exit code.

mod emulator;
mod initramfs;
mod kernels;
mod machine;
mod programs;
mod verdict;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Result, bail};

use self::emulator::Emulator;
use self::kernels::Kernel;
pub(crate) use self::machine::Accel;
use self::programs::Programs;
use crate::build;
use crate::process::say;
use crate::setup::{self, Purpose};
use crate::workspace::Workspace;

/// What is run unless the caller says otherwise: the oldest kernel that is supported, the newest that Debian has, and
/// those of its last two releases.
const MATRIX: [&str; 4] = ["5.10", "6.1", "6.12", "newest"];

/// What the tests in a machine are unless a filter is given. They are those that depend on the kernel and neither on time
/// (an emulated processor is ten times slower) nor on programs that take a distribution with them (nginx, Python, Java).
const TESTS: &str = "rules:: families:: worked_example:: crash:: attack::confinement:: state::foreign:: state::cgroups:: \
    takeover::http_ends takeover::connections_that_wait takeover::a_client_that_has_asked takeover::where_nothing_can";

/// What of these is a matter of time all the same.
const SLOW: &str = "crash::a_tenth_of_a_second";

/// Which machines, and what they run.
pub(crate) struct Options<'a> {
    /// Series (`6.1`), `newest`, or files; empty for the whole matrix.
    pub(crate) kernels: &'a [String],
    /// The modules of a kernel that is a file.
    pub(crate) modules: Option<PathBuf>,
    /// What executes the machine's code.
    pub(crate) accel: Accel,
    /// Only tests whose names contain this.
    pub(crate) filter: Option<&'a str>,
    /// Further arguments for the test program.
    pub(crate) rest: &'a [String],
}

/// Runs the tests on every kernel, whatever became of the one before.
pub(crate) fn run(workspace: &Workspace, options: &Options<'_>) -> Result<()> {
    if !cfg!(target_arch = "x86_64") {
        bail!("the machines of this task are x86-64 only, as the tests in them must be");
    }
    setup::ready(workspace, Purpose::Build)?;
    let wanted: Vec<&str> = match options.kernels {
        [] => MATRIX.to_vec(),
        some => some.iter().map(String::as_str).collect(),
    };
    let kernels: Vec<Kernel> =
        wanted.iter().map(|name| kernels::find(workspace, name, options.modules.as_deref())).collect::<Result<_>>()?;
    let emulator = Emulator::find(workspace)?;
    build::agent(workspace, "release", &[])?;
    let programs = Programs::build(workspace)?;
    let commands = commands(options);
    let mut failed = Vec::new();
    let mut lines = Vec::new();
    for kernel in &kernels {
        let archive = initramfs::make(workspace, &emulator, kernel, &programs, &commands)?;
        let begin = Instant::now();
        let verdict = machine::run(&emulator, kernel, &archive, options.accel)?;
        lines.push(format!("{:<32} {verdict}  {:>4} s", kernel.release, begin.elapsed().as_secs()));
        if !verdict.is_success() {
            failed.push(kernel.release.as_str());
        }
    }
    for line in lines {
        say(line);
    }
    if !failed.is_empty() {
        bail!("failed on: {}", failed.join(", "));
    }
    Ok(())
}

/// What process 1 runs, a line each.
fn commands(options: &Options<'_>) -> Vec<String> {
    let mut tests = match options.filter {
        Some(filter) => vec!["/bin/netns", filter],
        None => vec!["/bin/netns", TESTS, "--skip", SLOW],
    };
    // As many as there are processors: what shares them with others waits for longer than some tests allow.
    if !options.rest.iter().any(|arg| arg.starts_with("--test-threads")) {
        tests.push("--test-threads=2");
    }
    tests.extend(options.rest.iter().map(String::as_str));
    let fixed = ["/usr/bin/ip link set lo up", "/bin/interceptor check"].map(str::to_owned);
    fixed.into_iter().chain([tests.join(" ")]).collect()
}
