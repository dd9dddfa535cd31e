//! What the demo says: a story for people, or one JSON object per step for machines.
//!
//! Steps tell it what was sent, what came back, what was checked; it alone decides how that looks and where it goes.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Instant;

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::flows;

/// Who reads the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// People: the story on stdout.
    Text,
    /// Programs: one JSON object per line on stdout, the story on stderr.
    Json,
}

/// The narrator.
#[derive(Debug)]
pub(crate) struct Story {
    output: Output,
    colour: bool,
    start: Instant,
    step_start: Instant,
    finished: usize,
    step: Step,
}

/// What the step under way has told.
#[derive(Debug, Default)]
struct Step {
    number: usize,
    name: &'static str,
    sent: Vec<String>,
    received: Vec<Value>,
    checks: Vec<String>,
    flows: Vec<Value>,
}

impl Story {
    pub(crate) fn new(output: Output) -> Story {
        let colour = match output {
            Output::Text => io::stdout().is_terminal(),
            Output::Json => io::stderr().is_terminal(),
        };
        let now = Instant::now();
        Story { output, colour, start: now, step_start: now, finished: 0, step: Step::default() }
    }

    /// A line of narration.
    pub(crate) fn say(&self, line: &str) {
        let line = format!("{line}\n");
        // Nobody to tell if the stream is closed.
        match self.output {
            Output::Text => io::stdout().write_all(line.as_bytes()).ok(),
            Output::Json => io::stderr().write_all(line.as_bytes()).ok(),
        };
    }

    /// Something is up and running.
    pub(crate) fn done(&self, what: &str) {
        self.say(&format!("  {} {what} ({:.2} s)", self.paint(GREEN, "up"), self.start.elapsed().as_secs_f64()));
    }

    pub(crate) fn begin(&mut self, number: usize, of: usize, name: &'static str) {
        self.step = Step { number, name, ..Step::default() };
        self.step_start = Instant::now();
        self.say(&format!("\n{} {}", self.paint(BOLD, &format!("[{number}/{of}]")), self.paint(BOLD, name)));
    }

    /// What was done or sent.
    pub(crate) fn sent(&mut self, what: &str) {
        self.say(&format!("  {} {what}", self.paint(BLUE, "→")));
        self.step.sent.push(what.to_owned());
    }

    /// What came back: in short for people, in full for machines.
    pub(crate) fn received(&mut self, short: &str, full: Value) {
        for line in short.lines() {
            self.say(&format!("  {} {line}", self.paint(BLUE, "←")));
        }
        self.step.received.push(full);
    }

    /// The flow records that the step caused.
    pub(crate) fn flows(&mut self, records: Vec<Value>) {
        for record in &records {
            self.say(&format!("  {} {}", self.paint(GREY, "flow"), flows::short(record)));
        }
        self.step.flows.extend(records);
    }

    /// Asserts a claim; `seen` explains a failure.
    pub(crate) fn check(&mut self, claim: &str, holds: bool, seen: &dyn std::fmt::Display) -> Result<()> {
        if !holds {
            bail!("expected: {claim}; seen: {seen}");
        }
        self.say(&format!("  {} {claim}", self.paint(GREEN, "✓")));
        self.step.checks.push(claim.to_owned());
        Ok(())
    }

    /// Reports the step's end; `log` is shown if it failed. Gives whether it succeeded.
    pub(crate) fn end(&mut self, result: Result<()>, log: Option<&str>) -> bool {
        let ok = result.is_ok();
        let seconds = self.step_start.elapsed().as_secs_f64();
        let step = std::mem::take(&mut self.step);
        let mut line = json!({
            "step": step.number,
            "name": step.name,
            "ok": ok,
            "sent": step.sent,
            "received": step.received,
            "checks": step.checks,
            "flows": step.flows,
            "seconds": rounded(seconds),
        });
        match result {
            Ok(()) => self.say(&format!("  {}", self.paint(GREY, &format!("{seconds:.2} s")))),
            Err(error) => {
                line["error"] = json!(format!("{error:#}"));
                self.say(&format!("  {} {error:#}", self.paint(RED, "✗")));
            }
        }
        if let Some(log) = log {
            self.say(&format!("\nThe interceptor's last log lines:\n{log}"));
        }
        self.finished += 1;
        self.json(&line);
        ok
    }

    /// The last line.
    pub(crate) fn finish(&self, ok: bool) {
        let seconds = self.start.elapsed().as_secs_f64();
        let word = if ok { self.paint(GREEN, "All steps hold") } else { self.paint(RED, "FAILED") };
        self.say(&format!("\n{word}: {} steps in {seconds:.1} s", self.finished));
        self.json(&json!({ "ok": ok, "steps": self.finished, "seconds": rounded(seconds) }));
    }

    /// The last line when not even the first step could begin.
    pub(crate) fn abandon(&self, error: &anyhow::Error) {
        let seconds = self.start.elapsed().as_secs_f64();
        self.say(&format!("\n{}: {error:#}", self.paint(RED, "FAILED")));
        self.json(&json!({ "ok": false, "steps": 0, "seconds": rounded(seconds), "error": format!("{error:#}") }));
    }

    fn json(&self, value: &Value) {
        if self.output == Output::Json {
            // A reader that has gone away has seen enough.
            writeln!(io::stdout(), "{value}").ok();
        }
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

fn rounded(seconds: f64) -> f64 {
    (seconds * 1000.0).round() / 1000.0
}

const BOLD: &str = "1";
const RED: &str = "31";
const GREEN: &str = "32";
const BLUE: &str = "34";
const GREY: &str = "90";
