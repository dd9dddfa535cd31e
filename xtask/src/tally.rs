//! Steps that all run although one fails, and their results at the end, one line each. `test` and `lint` use it.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::process::say;

/// The results so far.
#[derive(Default)]
pub(crate) struct Tally {
    steps: Vec<Step>,
}

struct Step {
    name: &'static str,
    result: Result<()>,
    took: Duration,
}

impl Tally {
    /// Runs a step and keeps its result.
    pub(crate) fn add(&mut self, name: &'static str, step: impl FnOnce() -> Result<()>) {
        let started = Instant::now();
        let result = step();
        self.steps.push(Step { name, result, took: started.elapsed() });
    }

    /// Says one line per step; an error if one failed.
    pub(crate) fn finish(self) -> Result<()> {
        for step in &self.steps {
            say(step.line());
        }
        let failed: Vec<&str> = self.steps.iter().filter(|step| step.result.is_err()).map(|step| step.name).collect();
        if !failed.is_empty() {
            bail!("failed: {}", failed.join(", "));
        }
        Ok(())
    }
}

impl Step {
    fn line(&self) -> String {
        let Self { name, result, took } = self;
        let seconds = took.as_secs();
        match result {
            Ok(()) => format!("{name:<10} ok      {seconds:>4} s"),
            Err(error) => format!("{name:<10} FAILED  {seconds:>4} s  {error:#}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::Tally;

    #[test]
    fn later_steps_run_after_a_failure_and_the_whole_fails() {
        let mut tally = Tally::default();
        let mut ran = false;
        tally.add("first", || bail!("no root"));
        tally.add("second", || {
            ran = true;
            Ok(())
        });
        assert!(tally.steps.iter().any(|step| step.line().contains("FAILED") && step.line().contains("no root")));
        assert_eq!(tally.finish().unwrap_err().to_string(), "failed: first");
        assert!(ran);
    }
}
