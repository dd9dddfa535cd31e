//! The walk of `cargo xtask demo`: the project's worked example on a node of the laboratory, every claim asserted.
//!
//! The `demo` program calls [`run`]. Real nginx, redis-server, curl and openssl take part, so that nothing depends on
//! peers that we wrote for ourselves. [`plumbing`] walks the same cluster without the agent; a test of the laboratory
//! runs it, which separates faults of the scenery from faults of the interceptor.

mod calls;
mod cluster;
mod flows;
mod interrupt;
mod keep;
mod nginx;
mod peers;
mod plumbing;
mod steps;
mod story;

use anyhow::{Context as _, Result};

use crate::agent::Agent;
use cluster::Cluster;
use flows::Seen;
use interrupt::Interrupt;
use story::Story;

pub use plumbing::plumbing;
pub use story::Output;

/// What the command line of the demo asks for.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// JSON lines for machines, or a story for people.
    pub output: Output,
    /// Leave everything running at the end, until Enter or Ctrl-C.
    pub keep: bool,
}

/// The running demo, as its steps see it.
#[derive(Debug)]
pub(crate) struct Stage {
    // Before the cluster: it ends before what it runs in.
    pub(crate) agent: Agent,
    pub(crate) cluster: Cluster,
    pub(crate) seen: Seen,
    pub(crate) story: Story,
}

/// Walks through the demo; `Ok(false)` means that a step failed and has been reported.
///
/// Takes over SIGINT, SIGTERM and SIGHUP of the process: they clean up and end it.
pub fn run(options: Options) -> Result<bool> {
    let interrupt = Interrupt::install()?;
    let story = Story::new(options.output);
    let (cluster, agent) = match set_up(&story, &interrupt) {
        Ok(parts) => parts,
        Err(error) => {
            story.abandon(&error);
            return Ok(false);
        }
    };
    let mut stage = Stage { cluster, agent, seen: Seen::default(), story };
    let ok = walk(&mut stage);
    if options.keep {
        keep::wait(&mut stage)?;
    }
    Ok(ok)
}

fn set_up(story: &Story, interrupt: &Interrupt) -> Result<(Cluster, Agent)> {
    story.say("Bringing up one node: ingress (nginx), serviceA and serviceB in `default`, serviceA in `azureuser`,");
    story.say("Redis and a TLS server. Every pod has its own network namespace and cgroup, as in Kubernetes.");
    let cluster = Cluster::start().context("bringing up the cluster of the demo")?;
    interrupt.guard(cluster.lab.guardian());
    story.done("cluster");
    let agent = Agent::start(&cluster.lab, &cluster.config).context("starting the interceptor")?;
    story.done("interceptor (no pod was restarted or changed for it)");
    Ok((cluster, agent))
}

fn walk(stage: &mut Stage) -> bool {
    let steps = steps::ALL;
    for (number, step) in (1_usize..).zip(steps) {
        stage.story.begin(number, steps.len(), step.name);
        let result = (step.run)(stage);
        let tail = result.is_err().then(|| stage.agent.log_tail(40));
        if !stage.story.end(result, tail.as_deref()) {
            stage.story.finish(false);
            return false;
        }
    }
    stage.story.finish(true);
    true
}

impl Stage {
    /// Starts the agent again if a step has ended it.
    pub(crate) fn ensure_agent(&mut self) -> Result<()> {
        if self.agent.process().try_wait()?.is_some() {
            self.agent =
                Agent::start(&self.cluster.lab, &self.cluster.config).context("starting the interceptor again")?;
        }
        Ok(())
    }
}
