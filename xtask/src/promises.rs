//! What a whole test run says of docs/specification.md: one line for each promise, and whether its tests held it.
//!
//! `test` uses it. It reads what the test programs print and the page's tables, and runs nothing itself; that the tests
//! named there exist is held by `tests/tidy`.

use std::collections::HashMap;
use std::fmt;
use std::fs;

use anyhow::{Context as _, Result, bail};

use crate::process::say;
use crate::workspace::Workspace;

const PAGE: &str = "docs/specification.md";

/// What the tests of a run ended with, by their names without modules.
#[derive(Default)]
pub(crate) struct Results(HashMap<String, bool>);

/// A row of the page.
struct Promise<'a> {
    heading: &'a str,
    event: &'a str,
    limit: &'a str,
    tests: Vec<&'a str>,
}

enum Verdict<'a> {
    Held,
    Broken(Vec<&'a str>),
    Unproved(Vec<&'a str>),
}

/// The text of the page.
pub(crate) fn page(workspace: &Workspace) -> Result<String> {
    fs::read_to_string(workspace.root().join(PAGE)).with_context(|| format!("cannot read {PAGE}"))
}

impl Results {
    /// Takes one line of a test program: `test module::name ... ok`. Anything else is not for us.
    pub(crate) fn line(&mut self, line: &str) {
        let Some((path, result)) = line.strip_prefix("test ").and_then(|rest| rest.split_once(" ... ")) else { return };
        let name = path.rsplit("::").next().unwrap_or(path);
        let held = match result.trim() {
            "ok" => true,
            "FAILED" => false,
            _ => return,
        };
        // A name that two programs have is held where both do.
        self.0.entry(name.to_owned()).and_modify(|all| *all &= held).or_insert(held);
    }

    /// Says a line for each promise of `page`; an error if one was not held, or if a test of it did not run.
    pub(crate) fn report(&self, page: &str) -> Result<()> {
        let promises = promises(page);
        let mut heading = "";
        let mut open = 0;
        for promise in &promises {
            if promise.heading != heading {
                heading = promise.heading;
                say(format_args!("{PAGE}: {heading}"));
            }
            let verdict = self.verdict(promise);
            open += usize::from(!matches!(verdict, Verdict::Held));
            say(format_args!("  {verdict} {promise}"));
        }
        match (promises.len(), open) {
            (0, _) => bail!("{PAGE} promises nothing: its tables were not understood"),
            (_, 0) => Ok(()),
            (all, open) => bail!("{open} of {all} promises of {PAGE} are not shown to hold"),
        }
    }

    fn verdict<'a>(&self, promise: &Promise<'a>) -> Verdict<'a> {
        let of = |wanted: Option<bool>| -> Vec<&'a str> {
            promise.tests.iter().copied().filter(|&test| self.0.get(test).copied() == wanted).collect()
        };
        let (broken, unproved) = (of(Some(false)), of(None));
        if !broken.is_empty() {
            return Verdict::Broken(broken);
        }
        if !unproved.is_empty() || promise.tests.is_empty() {
            return Verdict::Unproved(unproved);
        }
        Verdict::Held
    }
}

/// The rows of the tables that end in the column `enforced by`.
fn promises(page: &str) -> Vec<Promise<'_>> {
    let mut heading = "";
    let mut within = false;
    let mut rows = Vec::new();
    for line in page.lines() {
        if let Some(text) = line.strip_prefix("## ") {
            heading = text;
        }
        let Some(row) = line.strip_prefix("| ").and_then(|row| row.strip_suffix(" |")) else {
            // The line below a table's head has no blank behind its first bar.
            within &= line.starts_with('|');
            continue;
        };
        let columns: Vec<&str> = row.split(" | ").map(str::trim).collect();
        match columns.as_slice() {
            [.., "enforced by"] => within = true,
            [event, .., limit, proofs] if within => {
                let tests = proofs.split('`').skip(1).step_by(2).collect();
                rows.push(Promise { heading, event, limit, tests });
            }
            _ => {}
        }
    }
    rows
}

impl fmt::Display for Promise<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.event)?;
        if !self.limit.is_empty() {
            write!(f, " [{}]", self.limit)?;
        }
        Ok(())
    }
}

impl fmt::Display for Verdict<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held => f.write_str("held    "),
            Self::Broken(tests) => write!(f, "BROKEN  ({})", tests.join(", ")),
            Self::Unproved(tests) => write!(f, "NOT RUN ({})", tests.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Results, promises};

    const PAGE: &str = "\
## Failures
| who | what |
|---|---|
| no | promise `of_ours` |

| event | promise | limit | enforced by |
|---|---|---|---|
| killed | goes directly | 100 ms | `killed_is_direct` |
| hangs | goes directly |  | `hang_is_direct`, `hang_ends` |
";

    fn results(lines: &[&str]) -> Results {
        let mut results = Results::default();
        lines.iter().for_each(|line| results.line(line));
        results
    }

    #[test]
    fn the_rows_of_promises_are_found_and_no_others() {
        let rows: Vec<String> = promises(PAGE).iter().map(|row| format!("{row}: {}", row.tests.join(","))).collect();
        assert_eq!(rows, ["killed [100 ms]: killed_is_direct", "hangs: hang_is_direct,hang_ends"]);
    }

    #[test]
    fn promises_hold_when_all_their_tests_ran_and_passed() {
        let held = ["test crash::killed_is_direct ... ok", "test hang_is_direct ... ok", "test a::b::hang_ends ... ok"];
        results(&held).report(PAGE).unwrap();
    }

    #[test]
    fn a_test_that_failed_or_did_not_run_leaves_its_promise_open() {
        let broken = ["test killed_is_direct ... FAILED", "test hang_is_direct ... ok", "test hang_ends ... ok"];
        assert!(results(&broken).report(PAGE).unwrap_err().to_string().starts_with("1 of 2"));
        let half = ["test killed_is_direct ... ok", "test hang_is_direct ... ok", "test hang_ends ... ignored"];
        assert!(results(&half).report(PAGE).unwrap_err().to_string().starts_with("1 of 2"));
        // A name in two programs is as good as the worse of them.
        let twice = [broken.as_slice(), &["test killed_is_direct ... ok"]].concat();
        assert!(results(&twice).report(PAGE).is_err());
        assert!(results(&[]).report("").is_err());
    }
}
