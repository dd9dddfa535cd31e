//! What is done to the agent: upgrades, kills, hangs, and ends without a successor.
//!
//! Each writes down when it began and ended. Every now and then the configuration changes in the same moment.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use interceptor_tests::{Agent, wait};
use nix::sys::signal::Signal;

use crate::clock;
use crate::deployed::{DRAIN, HEARTBEAT};
use crate::scene::LIMIT;
use crate::soak::Soak;
use crate::timeline::{What, Window};

impl Soak {
    /// Another agent takes over.
    pub(crate) fn upgrade(&mut self) -> Result<()> {
        let (began, begin, changed) = (clock::now(), Instant::now(), self.sometimes());
        let config = self.deployed.config(&self.scene);
        let before = self.agent.succeed_deployed(&self.scene.lab, &config).context("upgrading")?;
        self.before.push((before, Instant::now()));
        let took = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.done.slowest_upgrade_ms = self.done.slowest_upgrade_ms.max(took);
        self.done.upgrades += 1;
        let ended = clock::now();
        self.over(What::Upgrade, began, ended, changed)
    }

    /// kill -9, and a start some time later.
    pub(crate) fn kill(&mut self) -> Result<()> {
        let began = clock::now();
        self.agent.kill9().context("killing the agent")?;
        let gone = clock::now();
        self.pause_between(200, 1200);
        let changed = self.sometimes();
        self.restart().context("starting an agent after a kill")?;
        self.done.kills += 1;
        self.over(What::Kill, began, gone, changed)
    }

    /// SIGSTOP for longer than the heartbeat's patience, then SIGCONT.
    pub(crate) fn hang(&mut self) -> Result<()> {
        let version = self.agent.snapshot_version()?;
        let began = clock::now();
        self.agent.process().signal(Signal::SIGSTOP)?;
        let patience = u64::try_from(HEARTBEAT.as_millis()).unwrap_or_default();
        self.pause_between(100, patience);
        let changed = self.sometimes();
        if changed {
            self.agent.write_config(&self.deployed.config(&self.scene).to_text())?;
        }
        self.pause_between(patience + 200, patience + 1200);
        self.agent.process().signal(Signal::SIGCONT)?;
        if changed {
            wait::until(LIMIT, "the agent to take a configuration that was written while it hung", || {
                let now = self.agent.snapshot_version()?;
                if now > version { Ok(()) } else { bail!("it still has version {now}") }
            })?;
        }
        // Until its heart beats again.
        self.pause(Duration::from_secs(1));
        self.done.hangs += 1;
        self.over(What::Hang, began, began, changed)
    }

    /// SIGTERM, and a start once it has ended.
    pub(crate) fn stop(&mut self) -> Result<()> {
        let (began, begin) = (clock::now(), Instant::now());
        self.agent.process().signal(Signal::SIGTERM)?;
        let status = loop {
            if let Some(status) = self.agent.process().try_wait()? {
                break status;
            }
            if begin.elapsed() > DRAIN + LIMIT {
                bail!("the agent still runs {:?} after SIGTERM:\n{}", begin.elapsed(), self.agent.log_tail(20));
            }
            self.pause(Duration::from_millis(20));
        };
        if !status.success() {
            self.faults.push(format!("after SIGTERM the agent ended with {status}"));
        }
        let gone = clock::now();
        self.pause_between(0, 500);
        let changed = self.sometimes();
        self.restart().context("starting an agent after another one was stopped")?;
        self.done.stops += 1;
        self.over(What::Stop, began, gone, changed)
    }

    fn restart(&mut self) -> Result<()> {
        self.agent = Agent::start_deployed(&self.scene.lab, &self.deployed.config(&self.scene))?;
        Ok(())
    }

    /// Once in a while another configuration comes with an event.
    fn sometimes(&mut self) -> bool {
        let now = self.random.once_in(3);
        if now {
            self.toggle();
        }
        now
    }

    /// Writes down what has happened, and looks at the agent that is there now.
    fn over(&mut self, what: What, began: u64, gone: u64, changed: bool) -> Result<()> {
        let ended = clock::now();
        self.timeline.happened(Window { what, began, gone, ended });
        if changed {
            self.timeline.changed(began, ended, self.deployed.truth);
            self.done.changes += 1;
        }
        self.sampler.follow(self.agent.process().pid());
        self.forget_lapses()?;
        self.settle()
    }
}
