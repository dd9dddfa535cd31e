//! Runs other programs and tells about it on stderr: what is run, why, how long it took.
//!
//! Two ways: `shown` (or `read_along`) for programs with a progress display of their own (cargo), `quietly` for the rest
//! (apt), whose output goes to a log that is printed only when they fail.

use std::env;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::workspace::Workspace;

/// How much of a failed program's log is printed; the rest stays in the file.
const LOG_TAIL: usize = 40;
const POLL: Duration = Duration::from_millis(100);
/// Without a terminal one line per tick would flood a CI log.
const QUIET_TICK: u64 = 15;

/// Says one thing, marked so that it stands out between other programs' output.
pub(crate) fn say(message: impl fmt::Display) {
    let colour = io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none();
    let (on, off) = if colour { ("\x1b[1;36m", "\x1b[0m") } else { ("", "") };
    eprintln!("{on}xtask{off} {message}");
}

/// Runs a program that shows its own progress; its output passes through.
pub(crate) fn shown(what: &str, command: &mut Command) -> Result<()> {
    say(what);
    let status = command.status().with_context(|| format!("cannot run {}", line(command)))?;
    check(status, command)
}

/// Runs a program that shows its own progress, and reads along: `line` gets each line of its standard output.
pub(crate) fn read_along(what: &str, command: &mut Command, mut line: impl FnMut(&str)) -> Result<()> {
    say(what);
    let child = command.stdout(Stdio::piped()).spawn();
    let mut child = child.with_context(|| format!("cannot run {}", self::line(command)))?;
    let mut output = io::stdout().lock();
    if let Some(stdout) = child.stdout.take() {
        let mut stdout = BufReader::new(stdout);
        let mut bytes = Vec::new();
        while stdout.read_until(b'\n', &mut bytes)? > 0 {
            output.write_all(&bytes)?;
            line(String::from_utf8_lossy(&bytes).trim_end());
            bytes.clear();
        }
    }
    check(child.wait()?, command)
}

/// Runs a program whose output matters only when it fails. `what` names the step, with the reason for it.
pub(crate) fn quietly(workspace: &Workspace, what: &str, command: &mut Command) -> Result<()> {
    say(what);
    say(format_args!("  $ {}", line(command)));
    let path = log_path(workspace, command)?;
    let log = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn();
    let child = child.with_context(|| format!("cannot run {}", line(command)))?;
    let started = Instant::now();
    let status = wait(child, started)?;
    if !status.success() {
        let log = fs::read(&path)?;
        eprintln!("{}", tail(&String::from_utf8_lossy(&log)));
        say(format_args!("the whole log is in {}", path.display()));
    } else {
        say(format_args!("  done in {} s", started.elapsed().as_secs()));
    }
    check(status, command)
}

/// Whether `program` is on the PATH.
pub(crate) fn on_path(program: &str) -> bool {
    find_on_path(program).is_some()
}

/// Where `program` is on the PATH. Debian keeps administrators' tools in sbin, which a user's PATH may lack.
pub(crate) fn find_on_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let sbin = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    env::split_paths(&path).chain(sbin).map(|dir| dir.join(program)).find(|file| file.is_file())
}

fn wait(mut child: Child, started: Instant) -> Result<ExitStatus> {
    let terminal = io::stderr().is_terminal();
    let mut told = 0;
    loop {
        if let Some(status) = child.try_wait()? {
            if terminal && told > 0 {
                eprint!("\r\x1b[K");
            }
            return Ok(status);
        }
        thread::sleep(POLL);
        let seconds = started.elapsed().as_secs();
        if terminal && seconds > told {
            eprint!("\r  ... {seconds} s");
            io::stderr().flush()?;
            told = seconds;
        } else if !terminal && seconds >= told + QUIET_TICK {
            say(format_args!("  ... {seconds} s"));
            told = seconds;
        }
    }
}

fn check(status: ExitStatus, command: &Command) -> Result<()> {
    if !status.success() {
        bail!("{} failed: {status}", line(command));
    }
    Ok(())
}

/// The command as one would type it: cargo and the like are called by their whole path.
fn line(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let words = [program.file_name().unwrap_or_default()].into_iter().chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

fn log_path(workspace: &Workspace, command: &Command) -> Result<PathBuf> {
    let dir = workspace.target().join("xtask-logs");
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let stem = Path::new(command.get_program()).file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let verb = command.get_args().map(|arg| arg.to_string_lossy()).find(|arg| !arg.starts_with('-'));
    let verb = verb.unwrap_or_default().replace('/', "_");
    Ok(dir.join(format!("{stem}-{verb}.log")))
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    let first = lines.len().saturating_sub(LOG_TAIL);
    lines.get(first..).unwrap_or_default().join("\n")
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::{LOG_TAIL, line, tail};

    #[test]
    fn a_command_is_shown_as_one_would_type_it() {
        assert_eq!(line(Command::new("/usr/bin/apt-get").args(["install", "-y"])), "apt-get install -y");
    }

    #[test]
    fn a_long_log_is_cut_to_its_end() {
        let log: String = (0..LOG_TAIL + 5).map(|n| format!("{n}\n")).collect();
        assert!(tail(&log).starts_with("5\n"));
        assert_eq!(tail("a\nb\n"), "a\nb");
    }
}
