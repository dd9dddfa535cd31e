//! Starts one virtual machine, shows what it says, and stops it when it has ended, crashed, hangs or takes too long.

use std::fs::{self, OpenOptions};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::emulator::Emulator;
use super::kernels::Kernel;
use super::verdict::Verdict;

/// What a test may take without a word; the longest takes a tenth of it on a machine that has nothing else to do.
const SILENCE: Duration = Duration::from_secs(150);
/// What a machine may take in all.
const WHOLE: Duration = Duration::from_secs(900);

/// What executes a machine's code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Accel {
    /// KVM where it is known to run kernels as they are, else emulation
    #[default]
    Auto,
    /// Emulation by software
    Tcg,
    /// The processor
    Kvm,
}

impl Accel {
    /// What the emulator is told.
    fn args(self) -> [&'static str; 4] {
        match self {
            Self::Kvm => ["-accel", "kvm", "-cpu", "host"],
            Self::Auto if kvm_runs_any_kernel() => Self::Kvm.args(),
            // Without la57 boots are faster; with cx16 QEMU 7.2 crashes kernels at random.
            Self::Auto | Self::Tcg => ["-accel", "tcg,thread=multi", "-cpu", "max,la57=off,cx16=off"],
        }
    }
}

/// That /dev/kvm opens says too little: behind it can be a hypervisor that only runs kernels made for it.
fn kvm_runs_any_kernel() -> bool {
    let opens = OpenOptions::new().read(true).write(true).open("/dev/kvm").is_ok();
    opens && ["kvm_intel", "kvm_amd"].iter().any(|module| Path::new("/sys/module").join(module).exists())
}

/// Ends the machine with its owner.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Runs the machine to its end.
pub(super) fn run(emulator: &Emulator, kernel: &Kernel, initramfs: &Path, accel: Accel) -> Result<Verdict> {
    ensure!(fs::metadata(initramfs)?.len() > 0, "{} is empty", initramfs.display());
    let mut command = emulator.command();
    command.args(accel.args());
    command.args(["-M", "q35", "-m", "3072", "-smp", "2", "-nodefaults", "-no-user-config", "-display", "none"]);
    command.args(["-no-reboot", "-monitor", "none", "-serial", "stdio", "-kernel"]).arg(&kernel.image);
    command.arg("-initrd").arg(initramfs).args(["-append", "console=ttyS0 panic=-1 quiet mitigations=off"]);
    let begin = Instant::now();
    let mut running = Running(start(&command)?);
    let stdout = running.0.stdout.take().context("the emulator has no output")?;
    let (lines, received) = mpsc::channel();
    thread::spawn(move || {
        // A console may carry bytes of any kind.
        for line in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
            if lines.send(String::from_utf8_lossy(&line).trim_end().to_owned()).is_err() {
                break;
            }
        }
    });
    let mut found = None;
    loop {
        let left = WHOLE.saturating_sub(begin.elapsed());
        match received.recv_timeout(left.min(SILENCE)) {
            Ok(line) => {
                eprintln!("{} | {line}", kernel.series);
                found = found.or_else(|| Verdict::of(&line));
            }
            Err(RecvTimeoutError::Disconnected) => return Ok(found.unwrap_or(Verdict::NoResult)),
            // It has said how it ended, and only does not turn itself off.
            Err(RecvTimeoutError::Timeout) if found.is_some() => return Ok(found.unwrap_or(Verdict::NoResult)),
            Err(RecvTimeoutError::Timeout) if left <= SILENCE => return Ok(Verdict::TooLong(WHOLE.as_secs())),
            Err(RecvTimeoutError::Timeout) => return Ok(Verdict::Silence(SILENCE.as_secs())),
        }
    }
}

/// Under `setpriv`, so that the machine ends with this process also when that is killed.
fn start(emulator: &Command) -> Result<Child> {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(emulator.get_program()).args(emulator.get_args());
    for (name, value) in emulator.get_envs() {
        if let Some(value) = value {
            command.env(name, value);
        }
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("cannot start the emulator by setpriv(1)")
}
