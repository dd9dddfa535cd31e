//! What a program takes of the machine: CPU time and memory of all its processes, as /proc has them.
//!
//! A program is a process group: what nginx or the agent started belongs to it. The kernel's work on packets (softirq)
//! is charged to whoever runs at that moment, so CPU per request is compared between programs and not added up.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use nix::unistd::{SysconfVar, sysconf};

/// A program: the processes of one process group.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Program {
    group: u32,
}

/// Memory of a program, bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    /// Resident, with what is shared with other programs counted whole, once a process.
    pub(crate) rss: u64,
    /// Resident, with what is shared divided among the sharers.
    pub(crate) pss: u64,
}

/// Resident memory of this process, bytes.
pub(crate) fn own_rss() -> Result<u64> {
    let path = "/proc/self/smaps_rollup";
    let text = fs::read_to_string(path).with_context(|| format!("reading {path}"))?;
    Ok(kib(&text, "Rss:").with_context(|| format!("no Rss in {path}"))? * 1024)
}

impl Program {
    /// The program that leads this process group.
    pub(crate) fn of_group(group: u32) -> Program {
        Program { group }
    }

    /// The CPU time that its processes have taken so far.
    pub(crate) fn cpu(self) -> Result<Duration> {
        let ticks: u64 = self.stats()?.iter().map(|stat| stat.ticks).sum();
        let per_second = sysconf(SysconfVar::CLK_TCK).context("asking for the clock tick")?.unwrap_or(100);
        Ok(Duration::from_secs_f64(ticks as f64 / per_second as f64))
    }

    /// The memory of its processes.
    pub(crate) fn memory(self) -> Result<Memory> {
        let mut all = Memory::default();
        for stat in self.stats()? {
            let path = format!("/proc/{}/smaps_rollup", stat.pid);
            let text = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
            all.rss += kib(&text, "Rss:").with_context(|| format!("no Rss in {path}"))? * 1024;
            all.pss += kib(&text, "Pss:").with_context(|| format!("no Pss in {path}"))? * 1024;
        }
        Ok(all)
    }

    fn stats(self) -> Result<Vec<Stat>> {
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").context("listing /proc")? {
            let entry = entry.context("listing /proc")?;
            if !entry.file_name().to_string_lossy().starts_with(|c: char| c.is_ascii_digit()) {
                continue;
            }
            let stat = read_stat(&entry.path().join("stat"))?;
            found.extend(stat.filter(|stat| stat.group == self.group && !stat.ended));
        }
        ensure!(!found.is_empty(), "no process of the group {} is left: the program has ended", self.group);
        Ok(found)
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Stat {
    pid: u32,
    group: u32,
    ticks: u64,
    /// It only waits to be reaped, which may take as long as its parent likes.
    ended: bool,
}

/// `None` for a process that has ended meanwhile.
fn read_stat(path: &Path) -> Result<Option<Stat>> {
    match fs::read_to_string(path) {
        Ok(text) => {
            parse_stat(&text).map(Some).with_context(|| format!("{} is not as expected: {text}", path.display()))
        }
        // ESRCH: it ended between open and read.
        Err(error) if error.kind() == ErrorKind::NotFound || error.raw_os_error() == Some(3) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
    }
}

fn parse_stat(text: &str) -> Option<Stat> {
    let (pid, rest) = text.split_once(" (")?;
    // The name may hold blanks and parentheses; it ends at the last one.
    let mut fields = rest.rsplit_once(") ")?.1.split(' ');
    let ended = matches!(fields.next()?, "Z" | "X");
    let group = fields.nth(1)?.parse().ok()?;
    let mut times = fields.skip(8).map(str::parse::<u64>);
    let (user, system) = (times.next()?.ok()?, times.next()?.ok()?);
    Some(Stat { pid: pid.parse().ok()?, group, ticks: user + system, ended })
}

fn kib(rollup: &str, key: &str) -> Option<u64> {
    let line = rollup.lines().find_map(|line| line.strip_prefix(key))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt as _;
    use std::process::{Command, Stdio};
    use std::time::Duration;

    use super::{Program, Stat, kib, parse_stat};

    #[test]
    fn a_name_with_parentheses_does_not_move_the_fields() {
        let text = "42 (a) (b c) S 1 40 40 0 -1 4194304 100 0 0 0 17 5 0 0 20 0 3 0 99 1 2 3\n";
        assert_eq!(parse_stat(text), Some(Stat { pid: 42, group: 40, ticks: 22, ended: false }));
        assert!(parse_stat(&text.replace(") S", ") Z")).unwrap().ended);
        assert_eq!(parse_stat("42 (a) S 1 40"), None);
    }

    #[test]
    fn sizes_are_those_of_the_very_key() {
        let text = "55d-7ff ---p 00000000 00:00 0 [rollup]\nRss:    1240 kB\nPss:     345 kB\nPss_Dirty:  9 kB\n";
        assert_eq!((kib(text, "Rss:"), kib(text, "Pss:"), kib(text, "Swap:")), (Some(1240), Some(345), None));
    }

    #[test]
    fn a_program_is_all_processes_of_its_group_and_an_ended_one_is_an_error() {
        let script = "while :; do :; done & while :; do :; done & wait";
        let mut child = Command::new("sh").args(["-c", script]).process_group(0).stdin(Stdio::null()).spawn().unwrap();
        let program = Program::of_group(child.id());
        std::thread::sleep(Duration::from_millis(300));
        let count = program.stats().unwrap().len();
        let (cpu, memory) = (program.cpu().unwrap(), program.memory().unwrap());
        let kill = format!("kill -9 -{}", child.id());
        assert!(Command::new("bash").args(["-c", &kill]).status().unwrap().success());
        child.wait().unwrap();
        assert_eq!(count, 3);
        assert!(cpu > Duration::from_millis(50), "{cpu:?}");
        assert!(memory.rss >= memory.pss && memory.pss > 0, "{memory:?}");
        // The others end when they are scheduled.
        let gone = || if program.cpu().is_err() { Ok(()) } else { anyhow::bail!("it is still there") };
        interceptor_tests::wait::until(Duration::from_secs(10), "the end of the group", gone).unwrap();
    }
}
