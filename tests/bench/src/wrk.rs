//! Runs wrk in a pod and reads what it measured. An error of any kind in a run is an error of the benchmark.
//!
//! One thread, so that client, proxy and upstream share two cores in the same way for everybody. wrk's latencies are
//! corrected by itself for the requests that a stalled connection did not send.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use interceptor_tests::Lab;
use interceptor_tests::place::Place;
use serde::Deserialize;

const SCRIPT: &str = include_str!("wrk.lua");

/// One run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run<'a> {
    pub(crate) url: &'a str,
    pub(crate) headers: &'a [&'a str],
    pub(crate) connections: u32,
    pub(crate) seconds: u32,
}

/// What a run measured; times are microseconds.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Report {
    pub(crate) requests: u64,
    micros: u64,
    bytes: u64,
    connect: u64,
    read: u64,
    write: u64,
    status: u64,
    timeout: u64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

impl Report {
    /// Requests per second.
    pub(crate) fn rate(&self) -> f64 {
        self.requests as f64 * 1e6 / self.micros as f64
    }
}

impl Run<'_> {
    /// Runs wrk in `place`. An answer other than 2xx or 3xx, a lost connection or no answer at all is an error.
    pub(crate) fn run(self, lab: &Lab, place: &Place) -> Result<Report> {
        let script = lab.temp().join("wrk.lua");
        if !script.exists() {
            fs::write(&script, SCRIPT).with_context(|| format!("writing {}", script.display()))?;
        }
        let mut args = vec!["-t1".to_owned(), "--latency".to_owned(), "--timeout".to_owned(), "10s".to_owned()];
        args.extend([format!("-c{}", self.connections), format!("-d{}s", self.seconds)]);
        args.extend(self.headers.iter().flat_map(|line| ["-H".to_owned(), (*line).to_owned()]));
        args.extend(["-s".to_owned(), script.display().to_string(), self.url.to_owned()]);
        let output = place.output("wrk", &args)?;
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.success(), "wrk {} ended with {}: {stdout}{stderr}", args.join(" "), output.status);
        let report = parse(&stdout).with_context(|| format!("wrk {}", args.join(" ")))?;
        report.check().with_context(|| format!("wrk {} in {}", args.join(" "), place.name()))?;
        Ok(report)
    }
}

impl Report {
    fn check(&self) -> Result<()> {
        let Report { connect, read, write, status, timeout, .. } = self;
        ensure!(
            connect + read + write + status + timeout == 0,
            "requests failed: {connect} to connect, {read} to read, {write} to write, {status} by status, {timeout} by \
             timeout; {} were answered",
            self.requests
        );
        ensure!(self.requests > 0 && self.micros > 0 && self.bytes > 0, "no request was answered");
        Ok(())
    }
}

fn parse(stdout: &str) -> Result<Report> {
    let line = stdout.lines().find(|line| line.starts_with('{'));
    let line = line.with_context(|| format!("wrk printed no result of our script: {stdout}"))?;
    serde_json::from_str(line).with_context(|| format!("reading wrk's result {line}"))
}

#[cfg(test)]
mod tests {
    use super::parse;

    const OUTPUT: &str = "Running 1s test @ http://10.96.0.11/\n  1 threads and 32 connections\n\
        Requests/sec: 1000.00\n\
        {\"requests\":2000,\"micros\":500000,\"bytes\":9,\"connect\":0,\"read\":0,\"write\":0,\"status\":0,\
        \"timeout\":0,\"p50\":163,\"p90\":170,\"p99\":900,\"max\":1000}\n";

    #[test]
    fn the_line_of_the_script_is_found_among_those_for_people() {
        let report = parse(OUTPUT).unwrap();
        assert_eq!((report.rate(), report.p50, report.p99), (4000.0, 163.0, 900.0));
        report.check().unwrap();
    }

    #[test]
    fn any_failed_request_fails_the_run_and_so_does_silence() {
        let failed = OUTPUT.replace("\"status\":0", "\"status\":3");
        assert!(parse(&failed).unwrap().check().unwrap_err().to_string().contains("3 by status"));
        let nothing = OUTPUT.replace("\"requests\":2000", "\"requests\":0");
        assert!(parse(&nothing).unwrap().check().is_err());
        assert!(parse("Running 1s test\n").unwrap_err().to_string().contains("Running 1s test"));
    }
}
