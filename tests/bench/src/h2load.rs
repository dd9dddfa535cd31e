//! Runs h2load in a pod and reads what it measured. A request that fails is an error of the benchmark.
//!
//! One thread, as wrk has, so that client, proxy and upstream share the machine in the same way for everybody.

use anyhow::{Context as _, Result, ensure};
use interceptor_tests::place::Place;

/// One run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run<'a> {
    pub(crate) url: &'a str,
    pub(crate) header: &'a str,
    pub(crate) connections: u32,
    /// At a time, on each connection.
    pub(crate) streams: u32,
    pub(crate) seconds: u32,
}

/// What a run measured.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Report {
    pub(crate) requests: u64,
    seconds: f64,
    /// From a request to its answer, on average, microseconds.
    pub(crate) mean: f64,
}

impl Report {
    /// Requests per second.
    pub(crate) fn rate(&self) -> f64 {
        self.requests as f64 / self.seconds
    }
}

impl Run<'_> {
    /// Runs h2load in `place`.
    pub(crate) fn run(self, place: &Place) -> Result<Report> {
        let Run { url, header, connections, streams, seconds } = self;
        let (connections, streams) = (format!("-c{connections}"), format!("-m{streams}"));
        let args = ["-t1", &connections, &streams, &format!("-D{seconds}"), "-H", header, url];
        let output = place.output("h2load", args)?;
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.success(), "h2load {} ended with {}: {stdout}{stderr}", args.join(" "), output.status);
        parse(&stdout, seconds).with_context(|| format!("h2load {} printed {stdout}", args.join(" ")))
    }
}

fn parse(stdout: &str, seconds: u32) -> Result<Report> {
    let line = |begin: &str| {
        let found = stdout.lines().find_map(|line| line.trim_start().strip_prefix(begin));
        found.with_context(|| format!("a line that begins with {begin:?} is missing"))
    };
    let count = |text: &str, word: &str| -> Result<u64> {
        let part = text.split(',').find_map(|part| part.trim().strip_suffix(word));
        let part = part.with_context(|| format!("no number of {word:?} in {text:?}"))?;
        part.trim().parse().with_context(|| format!("reading the number of {word:?}"))
    };
    let requests = line("requests: ")?;
    for word in ["failed", "errored", "timeout"] {
        ensure!(count(requests, word)? == 0, "requests failed: {requests}");
    }
    let succeeded = count(requests, "succeeded")?;
    ensure!(succeeded > 0, "no request was answered");
    let statuses = line("status codes: ")?;
    for word in ["3xx", "4xx", "5xx"] {
        ensure!(count(statuses, word)? == 0, "not every answer is a 2xx: {statuses}");
    }
    // min, max, mean, …
    let mean = line("time for request: ")?.split_whitespace().nth(2).context("there is no mean")?;
    Ok(Report { requests: succeeded, seconds: seconds.into(), mean: micros(mean)? })
}

/// A duration as h2load writes it.
fn micros(text: &str) -> Result<f64> {
    let at = text.find(|c: char| c.is_ascii_alphabetic()).with_context(|| format!("{text:?} has no unit"))?;
    let (number, unit) = text.split_at(at);
    let number: f64 = number.parse().with_context(|| format!("reading {text:?}"))?;
    match unit {
        "us" => Ok(number),
        "ms" => Ok(number * 1e3),
        "s" => Ok(number * 1e6),
        _ => anyhow::bail!("{text:?} has an unknown unit"),
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    const OUTPUT: &str = "finished in 1.00s, 71940.00 req/s, 9.11MB/s\n\
        requests: 71940 total, 72196 started, 71940 done, 71940 succeeded, 0 failed, 0 errored, 0 timeout\n\
        status codes: 71941 2xx, 0 3xx, 0 4xx, 0 5xx\n\
        traffic: 9.11MB (9550000) total, 1.10MB (1150000) headers (space savings 90.00%), 6.86MB (7194000) data\n\
        \u{20}                    min         max         mean         sd        +/- sd\n\
        time for request:     1.05ms     15.26ms      3.51ms       711us    88.48%\n";

    #[test]
    fn the_numbers_are_found_among_the_words() {
        let report = parse(OUTPUT, 1).unwrap();
        assert_eq!((report.requests, report.rate(), report.mean), (71_940, 71_940.0, 3510.0));
    }

    #[test]
    fn any_failed_request_fails_the_run_and_so_does_silence() {
        for (right, wrong) in [("0 failed", "3 failed"), ("0 errored", "1 errored"), ("0 4xx", "5 4xx")] {
            assert!(parse(&OUTPUT.replace(right, wrong), 1).is_err(), "{wrong}");
        }
        assert!(parse(&OUTPUT.replace("71940 succeeded", "0 succeeded"), 1).is_err());
        assert!(parse("", 1).unwrap_err().to_string().contains("requests"));
    }
}
