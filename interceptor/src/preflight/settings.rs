//! The configuration that the agent would run with, and the places on this machine that it names.

use std::fs;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::{AccessFlags, access};

use super::{Finding, Options};
use crate::config::{Config, Parsed, Proxy, WorkloadSpec};
use crate::net::netns::Netns;
use crate::sock_diag::{self, DiagError};
use crate::source::file::{FileError, FileSource};

const PORT_RANGE: &str = "/proc/sys/net/ipv4/ip_local_port_range";

/// What is examined: options over configuration over defaults.
#[derive(Debug, Clone, Default)]
pub(super) struct Settings {
    /// The attach points that were named; empty when it is for us to find one.
    pub(super) cgroups: Vec<PathBuf>,
    outbound_port: u16,
    socket: PathBuf,
    close_established: bool,
    workloads: Vec<WorkloadSpec>,
    /// The data path's bounds.
    pub(super) proxy: Proxy,
}

/// Reads the configuration. One that cannot be read is a finding, and the rest is examined with the defaults.
pub(super) fn read(options: &Options) -> (Settings, Vec<Finding>) {
    let mut findings = Vec::new();
    let mut config = Config::default();
    if let Some(path) = &options.config {
        match FileSource::new(path).read() {
            Ok(parsed) => {
                findings.push(judge_config(path, &parsed));
                config = parsed.config;
            }
            Err(error) => findings.push(refused(path, &error)),
        }
    }
    let named = config.capture.cgroup.iter().chain(config.topology.workloads.iter().filter_map(|w| w.cgroup.as_ref()));
    let cgroups = options.cgroup.as_ref().map_or_else(|| topmost(named.cloned()), |path| vec![path.clone()]);
    let settings = Settings {
        cgroups,
        outbound_port: options.outbound_port.unwrap_or(config.capture.outbound_port),
        socket: config.admin.socket,
        close_established: config.capture.close_established,
        workloads: config.topology.workloads,
        proxy: config.proxy,
    };
    (settings, findings)
}

fn refused(path: &Path, error: &FileError) -> Finding {
    let name = "config";
    let FileError::Invalid(errors) = error else {
        return Finding::fail(name, error.to_string(), "name a file that is there and can be read");
    };
    let first = errors.diagnostics.first().map(ToString::to_string).unwrap_or_default();
    let detail = format!("{} faults in {}, first {first}", errors.diagnostics.len(), path.display());
    Finding::fail(name, detail, format!("`interceptor config check {}` shows them all", path.display()))
}

fn judge_config(path: &Path, parsed: &Parsed) -> Finding {
    let topology = &parsed.config.topology;
    let (spaces, services) = (topology.spaces.len(), topology.services.len());
    let found = format!("{}: {spaces} spaces, {services} services", path.display());
    match parsed.warnings.first() {
        None => Finding::ok("config", found),
        Some(first) => {
            let detail = format!("{found}, {} of it unusable, first {first}", parsed.warnings.len());
            Finding::warn("config", detail, "mend these spaces; everything else keeps working")
        }
    }
}

fn judge_closing(tried: Result<(), DiagError>) -> Finding {
    let name = "close-established";
    match tried {
        Ok(()) => Finding::ok(name, "works, tried on a connection over loopback"),
        Err(error) => Finding::warn(
            name,
            error.to_string(),
            "connections from before their destination was captured stay until they end; take out \
             capture.close_established, or mend what is said here",
        ),
    }
}

/// As `capture` does: a directory below another one is covered by it.
fn topmost(all: impl Iterator<Item = PathBuf>) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = all.collect();
    all.sort();
    all.dedup_by(|path, above| path.starts_with(above));
    all
}

impl Settings {
    pub(super) fn findings(&self) -> Vec<Finding> {
        let mut findings = vec![self.socket(), judge_port(self.outbound_port, &fs::read_to_string(PORT_RANGE))];
        if self.close_established {
            findings.push(judge_closing(sock_diag::probe()));
        }
        if !self.workloads.is_empty() {
            findings.push(self.workloads());
        }
        findings
    }

    fn socket(&self) -> Finding {
        let name = "admin-socket";
        let shown = self.socket.display();
        if UnixStream::connect(&self.socket).is_ok() {
            return Finding::ok(name, format!("an agent answers at {shown}"));
        }
        // The agent makes the directories that are missing.
        let Some(directory) = self.socket.ancestors().skip(1).find(|path| path.exists()) else {
            return Finding::fail(name, format!("no directory above {shown}"), "name another one with admin.socket");
        };
        match access(directory, AccessFlags::W_OK | AccessFlags::X_OK) {
            Ok(()) => Finding::ok(name, format!("{shown} can be made")),
            Err(error) => Finding::fail(
                name,
                format!("{shown}: {} is not to be written: {}", directory.display(), error.desc()),
                if error == Errno::EROFS {
                    "mount a writable directory there (hostPath or emptyDir), or name another one with admin.socket"
                } else {
                    "run as root, or name another one with admin.socket"
                },
            ),
        }
    }

    fn workloads(&self) -> Finding {
        let name = "workloads";
        let closed: Vec<String> = self
            .workloads
            .iter()
            .filter_map(|workload| {
                // A pod's is found by the running agent, whenever it comes.
                let path = workload.netns.path()?;
                let error = Netns::open(&path).err()?;
                Some(format!("{} ({}: {error})", workload.name, path.display()))
            })
            .collect();
        let count = self.workloads.len();
        if closed.is_empty() {
            return Finding::ok(name, format!("{count}, and the network namespace of each can be opened"));
        }
        let detail = format!("{} of {count} without a network namespace: {}", closed.len(), closed.join(", "));
        Finding::warn(name, detail, "start them or mend netns and pid; the agent captures them when they are there")
    }
}

/// An application may be given any port of the range for a connection of its own, and the agent's listener fails then.
fn judge_port(port: u16, range: &io::Result<String>) -> Finding {
    let name = "outbound-port";
    let bounds = range.as_ref().ok().and_then(|text| {
        let mut numbers = text.split_whitespace().map(str::parse::<u16>);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    });
    match bounds {
        Some((low, high)) if (low..=high).contains(&port) => Finding::warn(
            name,
            format!("{port} is one of the ports {low} to {high} that the kernel gives to connections"),
            "choose one outside with capture.outbound_port, or add it to net.ipv4.ip_local_reserved_ports in the pods",
        ),
        Some((low, high)) => Finding::ok(name, format!("{port}, outside of the ports {low} to {high} of connections")),
        None => Finding::ok(name, format!("{port}; {PORT_RANGE} is not to be read")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn a_port_that_the_kernel_gives_away_is_a_warning() {
        let range = Ok("32768\t60999\n".to_owned());
        assert_eq!(judge_port(15_001, &range).state, State::Ok);
        assert_eq!(judge_port(32_768, &range).state, State::Warn);
        assert_eq!(judge_port(60_999, &range).state, State::Warn);
        assert_eq!(judge_port(61_000, &range).state, State::Ok);
        assert_eq!(judge_port(40_000, &Ok(String::new())).state, State::Ok);
        assert_eq!(judge_port(40_000, &Err(io::Error::from(io::ErrorKind::NotFound))).state, State::Ok);
    }

    #[test]
    fn established_connections_that_cannot_be_closed_are_a_warning() {
        assert_eq!(judge_closing(Ok(())).state, State::Ok);
        let finding = judge_closing(Err(DiagError::Destroy(Errno::EOPNOTSUPP)));
        assert_eq!(finding.state, State::Warn);
        assert!(finding.detail.contains("CONFIG_INET_DIAG_DESTROY"), "{}", finding.detail);
    }

    #[test]
    fn a_cgroup_below_another_one_is_covered_by_it() {
        let paths = ["/c/b/x", "/c/a", "/c/a/y", "/c/ab", "/c/a/y/z"].map(PathBuf::from);
        assert_eq!(topmost(paths.into_iter()), ["/c/a", "/c/ab", "/c/b/x"].map(PathBuf::from));
    }

    #[test]
    fn a_configuration_that_cannot_be_read_fails_and_leaves_the_defaults() {
        let options = Options { config: Some("/nonexistent.yaml".into()), ..Options::default() };
        let (settings, findings) = read(&options);
        assert_eq!(findings[0].state, State::Fail);
        assert_eq!(settings.outbound_port, crate::config::defaults::OUTBOUND_PORT);
    }
}
