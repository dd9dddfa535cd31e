//! The course of a soak: disturbances, a long stretch in which one agent lives undisturbed, disturbances again, the end.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use interceptor_tests::wait;

use crate::clock;
use crate::deployed::DRAIN;
use crate::progress::Progress;
use crate::report::{Machine, Report};
use crate::resources::{self, Objects};
use crate::scene::LIMIT;
use crate::slope;
use crate::soak::Soak;

/// The shares of the stretches in whose course the agent is disturbed, undisturbed, and disturbed again.
const SHARES: [f64; 2] = [0.3, 0.7];

/// What can be done to the agent; each is done as often as it stands here before any is done again.
const DECK: [fn(&mut Soak) -> Result<()>; 9] = [
    Soak::upgrade,
    Soak::upgrade,
    Soak::upgrade,
    Soak::upgrade,
    Soak::kill,
    Soak::kill,
    Soak::hang,
    Soak::hang,
    Soak::stop,
];

/// Runs a soak of that length; the report says what was wrong, errors on the way included.
pub(crate) fn run(length: Duration, seed: u64) -> Result<Report> {
    let started = Instant::now();
    let mut soak = Soak::start(seed, Progress::new(length))?;
    if let Err(error) = course(&mut soak, length) {
        soak.faults.push(format!("the soak could not go on: {error:#}"));
    }
    soak.progress.end();
    end(soak, seed, started)
}

fn course(soak: &mut Soak, length: Duration) -> Result<()> {
    let begin = Instant::now();
    soak.progress.stage("disturbed");
    disturb(soak, begin + length.mul_f64(SHARES[0]))?;
    soak.progress.stage("undisturbed");
    while begin.elapsed() < length.mul_f64(SHARES[1]) {
        soak.pause_between(500, 2500);
        soak.churn()?;
    }
    soak.progress.stage("disturbed");
    disturb(soak, begin + length)
}

fn disturb(soak: &mut Soak, end: Instant) -> Result<()> {
    let mut deck = Vec::new();
    while Instant::now() < end {
        if deck.is_empty() {
            deck = DECK.to_vec();
            soak.random.shuffle(&mut deck);
        }
        soak.pause_between(300, 2500);
        if soak.random.once_in(2) {
            soak.churn()?;
        }
        if let Some(event) = deck.pop() {
            event(soak)?;
        }
    }
    Ok(())
}

/// Ends everything in order, looks for what is left, and draws up the report.
fn end(mut soak: Soak, seed: u64, started: Instant) -> Result<Report> {
    soak.progress.stage("ending");
    // What is under way is told, or was not asked before the last judgement.
    soak.pause(Duration::from_secs(3));
    soak.settle().map_err(|error| soak.faults.push(format!("{error:#}"))).ok();
    // Who calls ends before who answers.
    soak.scene.end();
    soak.dave = None;
    soak.drain();
    soak.judge(clock::now());
    soak.tally.finish();
    match soak.agent.stop() {
        Ok(status) if status.success() => {}
        Ok(status) => soak.faults.push(format!("at the end the agent ended with {status}")),
        Err(error) => soak.faults.push(format!("at the end: {error:#}")),
    }
    for (mut agent, _) in std::mem::take(&mut soak.before) {
        if let Err(error) = agent.process().wait(DRAIN + LIMIT) {
            soak.faults.push(format!("a succeeded agent does not end: {error:#}"));
        }
    }
    let sampler = std::mem::replace(&mut soak.sampler, resources::Sampler::start());
    let (samples, objects) = sampler.finish();
    let left = left(&soak, &objects);
    soak.faults.extend(left);
    let slopes = slope::all(&samples);
    let logs = soak.scene.lab.logs();
    let mut report = Report::new(seed, started.elapsed(), Machine::describe()?, &soak, slopes);
    if !report.ok {
        report.logs = keep(&logs, seed).map_err(|error| report.faults.push(format!("{error:#}"))).ok();
    }
    Ok(report)
}

/// What the kernel still has of agents that are gone.
fn left(soak: &Soak, objects: &Objects) -> Vec<String> {
    let mut all = Vec::new();
    if objects.is_empty() {
        all.push("no agent was ever seen with a link, map or program".to_owned());
    }
    let gone = wait::until(LIMIT, "links, maps and programs to be gone", || {
        let left: BTreeSet<_> = resources::alive(objects)?;
        ensure!(left.is_empty(), "{left:?}");
        Ok(())
    });
    all.extend(gone.err().map(|error| format!("left in the kernel: {error:#}")));
    for pod in soak.scene.pods() {
        match pod.output("ss", ["-Htln", "sport = :15001 or sport = :15006"]) {
            Ok(output) if output.stdout.is_empty() => {}
            Ok(output) => {
                let text = String::from_utf8_lossy(&output.stdout);
                all.push(format!("a listener is left in {}: {}", pod.name(), text.trim()));
            }
            Err(error) => all.push(format!("{error:#}")),
        }
    }
    all
}

/// Copies the logs to where they outlive the laboratory.
fn keep(logs: &Path, seed: u64) -> Result<PathBuf> {
    let program = std::env::current_exe().context("finding the path of the running executable")?;
    let target = program.ancestors().nth(2).context("the program lies in no target directory")?;
    let to = target.join("soak").join(format!("seed-{seed}"));
    fs::create_dir_all(&to).with_context(|| format!("making {}", to.display()))?;
    for entry in fs::read_dir(logs).with_context(|| format!("reading {}", logs.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default();
        fs::copy(&path, to.join(name)).with_context(|| format!("copying {}", path.display()))?;
    }
    Ok(to)
}
