//! Runs the agent under test in a laboratory: `interceptor run` on the node, the CLI against its admin socket.
//!
//! It uses the program's public interface only (flags, file, exit codes, JSON), never the crate: what it relies on is
//! what users rely on.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::config::Config;
use crate::lab::Lab;
use crate::place::Place;
use crate::process::Process;
use crate::{bins, wait};

/// How long the agent may take for what normally takes milliseconds.
const LIMIT: Duration = Duration::from_secs(20);

/// A running agent; dropping it kills it.
#[derive(Debug)]
pub struct Agent {
    process: Process,
    node: Place,
    binary: PathBuf,
    file: PathBuf,
    socket: PathBuf,
}

impl Agent {
    /// Starts the agent with a configuration and waits until it says that it is ready.
    pub fn start(lab: &Lab, config: &Config) -> Result<Agent> {
        let mut agent = Agent::start_unready(lab, &config.to_text(), config.admin_socket())?;
        agent.wait_ready()?;
        Ok(agent)
    }

    /// Starts the agent as a node would run it, with the log it has by default, and waits until it is ready.
    pub fn start_deployed(lab: &Lab, config: &Config) -> Result<Agent> {
        let mut agent = Agent::spawn(lab, lab.on_node(), &config.to_text(), config.admin_socket(), &[])?;
        agent.wait_ready()?;
        Ok(agent)
    }

    /// Starts the agent with any text as its configuration, and does not wait.
    pub fn start_unready(lab: &Lab, config: &str, socket: &Path) -> Result<Agent> {
        Agent::spawn(lab, lab.on_node(), config, socket, &["--log", "debug"])
    }

    /// Starts the agent in another place than the node's own cgroup, with more arguments, and waits until it is ready.
    pub fn start_at(lab: &Lab, place: &Place, config: &Config, more: &[&str]) -> Result<Agent> {
        let mut agent = Agent::start_unready_at(lab, place, config, more)?;
        agent.wait_ready()?;
        Ok(agent)
    }

    /// The same, without waiting.
    pub fn start_unready_at(lab: &Lab, place: &Place, config: &Config, more: &[&str]) -> Result<Agent> {
        let more = [&["--log", "debug"], more].concat();
        Agent::spawn(lab, place, &config.to_text(), config.admin_socket(), &more)
    }

    /// The same, as the program that a command (`env`, `unshare` and the like) ends up executing in its own process.
    pub fn start_unready_by(lab: &Lab, command: &[&str], config: &Config, more: &[&str]) -> Result<Agent> {
        let more = [&["--log", "debug"], more].concat();
        Agent::spawn_by(lab, lab.on_node(), command, &config.to_text(), config.admin_socket(), &more)
    }

    fn spawn(lab: &Lab, place: &Place, config: &str, socket: &Path, more: &[&str]) -> Result<Agent> {
        Agent::spawn_by(lab, place, &[], config, socket, more)
    }

    /// As [`succeed`](Self::succeed), by the program of another build.
    pub fn succeed_by(&mut self, binary: &Path, lab: &Lab, config: &Config) -> Result<Agent> {
        let more = ["--log", "debug", "--takeover"];
        let (text, socket) = (config.to_text(), config.admin_socket());
        self.succeeded_by(Agent::spawn_binary(binary.to_owned(), lab, &self.node, &[], &text, socket, &more)?)
    }

    fn spawn_by(
        lab: &Lab,
        place: &Place,
        command: &[&str],
        config: &str,
        socket: &Path,
        more: &[&str],
    ) -> Result<Agent> {
        Agent::spawn_binary(bins::interceptor()?, lab, place, command, config, socket, more)
    }

    fn spawn_binary(
        binary: PathBuf,
        lab: &Lab,
        place: &Place,
        command: &[&str],
        config: &str,
        socket: &Path,
        more: &[&str],
    ) -> Result<Agent> {
        let file = lab.temp().join("interceptor.yaml");
        write_atomically(&file, config)?;
        let node = place.clone();
        let config = file.as_os_str();
        let own = [binary.as_os_str(), OsStr::new("run"), OsStr::new("--config"), config];
        let mut words = command.iter().map(OsStr::new).chain(own).chain(more.iter().map(OsStr::new));
        let program = words.next().context("there is no program")?;
        let process = node.spawn(program, words)?;
        Ok(Agent { process, node, binary, file, socket: socket.to_path_buf() })
    }

    /// Starts another agent that takes over from this one, and waits until it has. What comes back is the one before.
    pub fn succeed(&mut self, lab: &Lab, config: &Config) -> Result<Agent> {
        self.succeeded_by(self.start_successor(lab, config)?)
    }

    /// The same, with the log that the agent has by default.
    pub fn succeed_deployed(&mut self, lab: &Lab, config: &Config) -> Result<Agent> {
        self.succeeded_by(Agent::spawn(lab, &self.node, &config.to_text(), config.admin_socket(), &["--takeover"])?)
    }

    /// Waits until `next` has taken over, and gives the one before.
    fn succeeded_by(&mut self, mut next: Agent) -> Result<Agent> {
        next.wait_ready()?;
        Ok(std::mem::replace(self, next))
    }

    /// Starts another agent that is to take over from this one, and does not wait.
    pub fn start_successor(&self, lab: &Lab, config: &Config) -> Result<Agent> {
        let more = ["--log", "debug", "--takeover"];
        Agent::spawn(lab, &self.node, &config.to_text(), config.admin_socket(), &more)
    }

    /// Waits until `status` says that this agent, and no other, is ready.
    pub fn wait_ready(&mut self) -> Result<()> {
        let pid = self.process.pid();
        let ready = wait::until(LIMIT, "the agent to become ready", || {
            if self.process.try_wait()?.is_some() {
                return Ok(false);
            }
            let status = self.status()?;
            if status["ready"] == true && status["pid"] == pid { Ok(true) } else { bail!("status is {status}") }
        });
        match ready {
            Ok(true) => Ok(()),
            Ok(false) => self.process.expect_running(),
            Err(error) => Err(error).with_context(|| format!("the agent's log:\n{}", self.log_tail(40))),
        }
    }

    /// Writes another configuration and waits until the agent has taken it.
    pub fn reload(&self, config: &Config) -> Result<()> {
        let before = self.snapshot_version()?;
        self.write_config(&config.to_text())?;
        wait::until(LIMIT, "the agent to take the new configuration", || {
            let now = self.snapshot_version()?;
            if now > before { Ok(()) } else { bail!("it still has version {now}: {}", self.status()?) }
        })
        .with_context(|| format!("the agent's log:\n{}", self.log_tail(40)))
    }

    /// Replaces the configuration file, and does not wait; the text need not be valid.
    pub fn write_config(&self, text: &str) -> Result<()> {
        write_atomically(&self.file, text)
    }

    /// What `interceptor status -o json` says.
    pub fn status(&self) -> Result<Value> {
        self.json(&["status", "-o", "json"])
    }

    /// The version of the snapshot in force.
    pub fn snapshot_version(&self) -> Result<u64> {
        let status = self.status()?;
        status["snapshot_version"].as_u64().with_context(|| format!("no snapshot_version in {status}"))
    }

    /// Flow records that match the filters (arguments of `interceptor flows`).
    pub fn flows(&self, filters: &[&str]) -> Result<Vec<Value>> {
        let text = self.text(&[&["flows", "-o", "json"], filters].concat())?;
        let parse = |line: &str| serde_json::from_str(line).with_context(|| format!("parsing the flow record {line}"));
        text.lines().filter(|line| !line.trim().is_empty()).map(parse).collect()
    }

    /// Runs the CLI against this agent.
    pub fn cli(&self, args: &[&str]) -> Result<Output> {
        let mut all = vec![OsStr::new("--admin-socket"), self.socket.as_os_str()];
        all.extend(args.iter().map(OsStr::new));
        self.node.output(&self.binary, all)
    }

    /// Runs the CLI, which must succeed, and returns its stdout.
    pub fn text(&self, args: &[&str]) -> Result<String> {
        let output = self.cli(args)?;
        if !output.status.success() {
            let stderr = String::from_utf8_lossy(&output.stderr);
            bail!("`interceptor {}` ended with {}: {}", args.join(" "), output.status, stderr.trim());
        }
        String::from_utf8(output.stdout)
            .with_context(|| format!("reading the output of `interceptor {}`", args.join(" ")))
    }

    /// Runs the CLI, which must succeed, and parses its stdout as one JSON value.
    pub fn json(&self, args: &[&str]) -> Result<Value> {
        let text = self.text(args)?;
        serde_json::from_str(&text)
            .with_context(|| format!("parsing the output of `interceptor {}`: {text}", args.join(" ")))
    }

    /// The last lines that it logged.
    pub fn log_tail(&self, lines: usize) -> String {
        let log = self.process.stderr();
        let all: Vec<&str> = log.lines().collect();
        all.get(all.len().saturating_sub(lines)..).unwrap_or_default().join("\n")
    }

    /// Kills it as a crash would, and waits until it is gone.
    pub fn kill9(&mut self) -> Result<ExitStatus> {
        self.process.kill()
    }

    /// Asks it to end (SIGTERM) and waits for that.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        self.process.signal(Signal::SIGTERM)?;
        self.process.wait(LIMIT).with_context(|| format!("the agent's log:\n{}", self.log_tail(40)))
    }

    /// Its process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Its executable, for commands to show.
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// Its admin socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }
}

/// The agent watches the file: it must never see half of one.
fn write_atomically(path: &Path, text: &str) -> Result<()> {
    let new = path.with_extension("yaml.new");
    fs::write(&new, text).with_context(|| format!("writing {}", new.display()))?;
    fs::rename(&new, path).with_context(|| format!("renaming {} to {}", new.display(), path.display()))
}
