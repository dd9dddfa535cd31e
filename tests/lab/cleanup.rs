//! Whatever ends the owner of a laboratory, nothing of it is left.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use interceptor_tests::{Lab, cgroup, wait};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::{LIMIT, http, lab};

/// What of a laboratory would be left.
struct Traces {
    cgroup: PathBuf,
    temp: PathBuf,
    processes: Vec<i32>,
}

impl Traces {
    fn of(lab: &Lab) -> Traces {
        let mut processes = cgroup::processes(lab.cgroup()).unwrap();
        processes.push(i32::try_from(lab.guardian().pid()).unwrap());
        Traces { cgroup: lab.cgroup().to_path_buf(), temp: lab.temp().to_path_buf(), processes }
    }

    fn left(&self) -> Vec<String> {
        let exists = |path: &PathBuf| path.exists().then(|| path.display().to_string());
        let process = |pid: &i32| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            // A zombie is its parent's to collect.
            (!stat.contains(") Z ")).then(|| format!("process {stat}"))
        };
        let paths = [exists(&self.cgroup), exists(&self.temp)].into_iter().flatten();
        paths.chain(self.processes.iter().filter_map(process)).collect()
    }
}

/// A laboratory in use: pods, a server, a file.
fn busy() -> (Lab, Traces) {
    let lab = lab("cleanup");
    let pod = lab.pod("a").unwrap();
    lab.pod("b").unwrap();
    // The guard must not be what ends it.
    std::mem::forget(http(&pod));
    fs::write(lab.temp().join("file"), "x").unwrap();
    let traces = Traces::of(&lab);
    assert!(traces.processes.len() >= 6, "four pauses, a server, a guardian: {:?}", traces.processes);
    (lab, traces)
}

#[test]
fn nothing_is_left_after_drop() {
    let (lab, traces) = busy();
    drop(lab);
    assert_eq!(traces.left(), Vec::<String>::new());
}

#[test]
fn nothing_is_left_after_a_panic() {
    let mut seen = None;
    let result = panic::catch_unwind(AssertUnwindSafe(|| {
        let (_lab, traces) = busy();
        seen = Some(traces);
        panic!("on purpose");
    }));
    assert!(result.is_err());
    assert_eq!(seen.unwrap().left(), Vec::<String>::new());
}

#[test]
fn nothing_is_left_after_the_owner_is_killed_or_told_to_end() {
    // SIGINT is ignored where a shell runs this in the background; it ends a process the same way as SIGTERM.
    for signal in [Signal::SIGKILL, Signal::SIGTERM] {
        let mut owner = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "cleanup::owner", "--nocapture"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(owner.stdout.take().unwrap()).lines();
        let line = lines.by_ref().map(Result::unwrap).find(|line| line.starts_with('{')).unwrap();
        let said: Value = serde_json::from_str(&line).unwrap();
        let path = |key: &str| PathBuf::from(said[key].as_str().unwrap());
        let pids = said["processes"].as_array().unwrap().iter();
        let processes = pids.map(|pid| i32::try_from(pid.as_i64().unwrap()).unwrap()).collect();
        let traces = Traces { cgroup: path("cgroup"), temp: path("temp"), processes };
        assert!(traces.left().len() >= 8, "it runs: {:?}", traces.left());
        kill(Pid::from_raw(i32::try_from(owner.id()).unwrap()), signal).unwrap();
        assert_eq!(owner.wait().unwrap().signal(), Some(i32::from(signal as u8)));
        wait::until(LIMIT, "the guardian to clean up", || {
            let left = traces.left();
            anyhow::ensure!(left.is_empty(), "left: {left:?}");
            Ok(())
        })
        .unwrap();
    }
}

/// The process that the test above kills.
#[test]
#[ignore = "run by nothing_is_left_after_the_owner_is_killed_or_told_to_end"]
fn owner() {
    let (_lab, traces) = busy();
    let said = json!({ "cgroup": traces.cgroup, "temp": traces.temp, "processes": traces.processes });
    println!("\n{said}");
    std::io::stdout().flush().unwrap();
    std::thread::sleep(LIMIT);
}
