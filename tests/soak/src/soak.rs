//! A soak under way: the node, the agent, what was done and what was told. Others do something to the agent with it
//! ([`events`](crate::events), [`churn`](crate::churn)); here is what they share.
//!
//! All happens on one thread, one thing at a time, so that what was done is known when answers are judged.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use interceptor_tests::Agent;

use crate::children::{App, Line};
use crate::clock;
use crate::deployed::{Absence, DRAIN, Deployed, HEARTBEAT};
use crate::judge;
use crate::progress::Progress;
use crate::random::Random;
use crate::resources::Sampler;
use crate::scene::Scene;
use crate::tally::Tally;
use crate::timeline::{Timeline, What, Window};
use crate::told::Told;
use crate::truth::Truth;

/// Lines that may wait while the driver does something else.
const LINES: usize = 200_000;
/// What is this new is not judged yet: an agent that was late may still say so.
const SETTLED: u64 = 3000;
/// So much longer than the drain may a succeeded agent take to end.
const MORE: Duration = Duration::from_secs(10);

/// How often what was done.
#[derive(Debug, Default, Clone, serde::Serialize)]
pub(crate) struct Done {
    pub(crate) upgrades: u64,
    pub(crate) kills: u64,
    pub(crate) hangs: u64,
    pub(crate) stops: u64,
    pub(crate) changes: u64,
    pub(crate) pods: u64,
    pub(crate) lapses: u64,
    pub(crate) slowest_upgrade_ms: u64,
}

/// The soak. Declared so that what runs ends before what it runs in.
pub(crate) struct Soak {
    pub(crate) dave: Option<App>,
    pub(crate) agent: Agent,
    /// Agents that were succeeded and drain, and since when.
    pub(crate) before: Vec<(Agent, Instant)>,
    pub(crate) scene: Scene,
    pub(crate) deployed: Deployed,
    pub(crate) timeline: Timeline,
    pub(crate) random: Random,
    pub(crate) sampler: Sampler,
    pub(crate) done: Done,
    pub(crate) tally: Tally,
    /// What went wrong beside the answers.
    pub(crate) faults: Vec<String>,
    pub(crate) progress: Progress,
    pub(crate) lines_tx: SyncSender<Line>,
    lines_rx: Receiver<Line>,
    told: Vec<(String, Told)>,
    /// The lapses that the agent has told of, and when it was asked last.
    lapses: u64,
    asked: u64,
}

impl Soak {
    /// Lays out the node, starts the agent and then the clients.
    pub(crate) fn start(seed: u64, progress: Progress) -> Result<Soak> {
        let (lines_tx, lines_rx) = sync_channel(LINES);
        let mut scene = Scene::new(seed, &lines_tx).context("laying out the node")?;
        let truth = Truth { alice: true, bob: true, carol: true, dave: false };
        let deployed = Deployed { truth, absence: Absence::Gone, visitor: false };
        let mut agent = Agent::start_deployed(&scene.lab, &deployed.config(&scene))?;
        let sampler = Sampler::start();
        sampler.follow(agent.process().pid());
        scene.call(&lines_tx).context("starting the clients")?;
        let (timeline, random) = (Timeline::new(truth), Random::new(seed));
        Ok(Soak {
            dave: None,
            agent,
            before: Vec::new(),
            scene,
            deployed,
            timeline,
            random,
            sampler,
            done: Done::default(),
            tally: Tally::default(),
            faults: Vec::new(),
            progress,
            lines_tx,
            lines_rx,
            told: Vec::new(),
            lapses: 0,
            asked: clock::now(),
        })
    }

    /// Lets traffic run, and reads what is told meanwhile.
    pub(crate) fn pause(&mut self, length: Duration) {
        let end = Instant::now() + length;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.lines_rx.recv_timeout(left) {
                Ok(line) => self.heard(line),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// A pause of any length between two, milliseconds.
    pub(crate) fn pause_between(&mut self, low: u64, high: u64) {
        let length = Duration::from_millis(self.random.range(low, high));
        self.pause(length);
    }

    /// Between two events: judges what was told, and looks whether all that should run does.
    pub(crate) fn settle(&mut self) -> Result<()> {
        self.agent.process().expect_running()?;
        self.scene.expect_running()?;
        let before = clock::now();
        self.lapsed()?;
        self.judge(before.saturating_sub(SETTLED));
        self.reap()?;
        self.progress.tick(&self.tally, &self.done);
        Ok(())
    }

    /// An agent was started, or goes on: what it had to say of its heartbeat is known.
    pub(crate) fn forget_lapses(&mut self) -> Result<()> {
        self.lapses = lapses(&self.agent)?.0;
        self.asked = clock::now();
        Ok(())
    }

    fn lapsed(&mut self) -> Result<()> {
        let (count, last) = lapses(&self.agent)?;
        let now = clock::now();
        if count > self.lapses {
            self.done.lapses += count - self.lapses;
            let patience = u64::try_from(HEARTBEAT.as_millis()).unwrap_or_default();
            let began = self.asked.saturating_sub(last + patience);
            self.timeline.happened(Window { what: What::Lapse, began, gone: began, ended: now });
        }
        (self.lapses, self.asked) = (count, now);
        Ok(())
    }

    /// Judges what had ended by then.
    pub(crate) fn judge(&mut self, until: u64) {
        let drain = u64::try_from(DRAIN.as_millis()).unwrap_or_default();
        let (ripe, rest) = std::mem::take(&mut self.told).into_iter().partition(|(_, told)| told.ended <= until);
        self.told = rest;
        let ripe: Vec<(String, Told)> = ripe;
        for (who, told) in ripe {
            let verdict = judge::judge(&self.timeline, &who, &told, drain);
            self.tally.add(&who, &told, verdict);
        }
    }

    /// Agents that were succeeded end by themselves, with 0.
    fn reap(&mut self) -> Result<()> {
        let mut left = Vec::new();
        for (mut agent, since) in std::mem::take(&mut self.before) {
            let pid = agent.process().pid();
            match agent.process().try_wait()? {
                Some(status) if status.success() => {}
                Some(status) => self.faults.push(format!("the succeeded agent {pid} ended with {status}")),
                None if since.elapsed() > DRAIN + MORE => {
                    self.faults.push(format!("the succeeded agent {pid} still runs after {:?}", since.elapsed()));
                }
                None => left.push((agent, since)),
            }
        }
        self.before = left;
        Ok(())
    }

    fn heard(&mut self, line: Line) {
        match line {
            Line::Told(who, told) => self.told.push((who, *told)),
            Line::Executed(id) => self.tally.executed(id),
            Line::Noise(text) => self.faults.push(format!("a program said: {text}")),
        }
    }

    /// Reads all that was told before the programs ended.
    pub(crate) fn drain(&mut self) {
        while let Ok(line) = self.lines_rx.try_recv() {
            self.heard(line);
        }
    }
}

/// How often the agent did not show itself for too long, and for how many milliseconds the last time.
fn lapses(agent: &Agent) -> Result<(u64, u64)> {
    let status = agent.status()?;
    let number = |key: &str| status["heartbeat_lapses"][key].as_u64().unwrap_or_default();
    Ok((number("count"), number("last_ms")))
}
