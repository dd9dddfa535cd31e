//! How the agent ends: told to, or because a successor has everything. Either way its connections come to their end first,
//! each in its protocol's way, as far as `proxy.drain_timeout` allows.

use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep};

use super::control::Control;
use crate::proxy::Phase;
use crate::takeover::offer::Ask;

/// How often the connections under way are counted.
const LOOK: Duration = Duration::from_millis(20);
/// What was redirected before the hooks let go has arrived at the listeners, and was accepted, after that.
const ARRIVAL: Duration = Duration::from_millis(50);
/// And a handshake from another node has ended.
const HANDSHAKE: Duration = Duration::from_millis(500);
/// How long a client that asks nothing is waited for.
const IDLE: Duration = Duration::from_secs(5);
/// How long a reset, or an endpoint's last answer, takes to get out.
const LAST_TURN: Duration = Duration::from_millis(20);
/// How long DNS answers are awaited that come back to this agent's sockets.
const ANSWERS: Duration = Duration::from_secs(2);
/// How long an agent in a cluster that has been succeeded waits to be deleted. Ending by itself would have the kubelet start
/// it again, and take over from its successor.
const DELETION: Duration = Duration::from_secs(60);

/// The signals that tell the agent to end.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(super) fn new() -> Result<Self> {
        let terminate = signal(SignalKind::terminate()).context("handling SIGTERM")?;
        let interrupt = signal(SignalKind::interrupt()).context("handling SIGINT")?;
        Ok(Self { terminate, interrupt })
    }

    /// Waits for the next one.
    pub(super) async fn told(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

impl Control {
    /// Ends without a successor: lets new connections pass, and those under way end. Told again, it ends at once.
    pub(super) async fn stop(mut self, signals: &mut Signals) {
        tracing::info!("ending: new connections pass directly");
        self.parts.status.set_ready(false);
        drop(self.parts.heartbeat.take());
        self.succession.end(false);
        self.parts.controller.stop();
        self.parts.controller.drain(Phase::Last);
        self.parts.stop.send_replace(true);
        sleep(ARRIVAL).await;
        let rest = HANDSHAKE.saturating_sub(ARRIVAL);
        let begin = Instant::now();
        while self.is_busy() && begin.elapsed() < rest {
            sleep(LOOK).await;
        }
        // Whoever comes next may have the ports and the admin socket.
        self.parts.controller.detach_all();
        self.parts.servers.end_admin(false);
        self.finish(signals, 1).await;
        self.parts.servers.end_metrics();
        sleep(LAST_TURN).await;
    }

    /// Ends after a successor has taken everything over. Never touches what is the successor's now.
    pub(super) async fn succeeded(mut self, signals: &mut Signals) {
        tracing::info!("succeeded: a new agent has everything, connections under way come to their end");
        self.parts.status.set_succeeded();
        // What the successor began with came into force here as well, or else does so now.
        self.learn_now();
        self.succession.end(true);
        self.parts.servers.end_admin(true);
        self.parts.controller.leave();
        self.parts.controller.drain(Phase::Last);
        self.parts.stop.send_replace(true);
        let in_cluster = self.cluster.is_some();
        if !in_cluster {
            self.parts.servers.end_metrics();
        }
        let begin = Instant::now();
        // Told once, as when its pod is deleted, it goes on: the connections under way are what it is there for.
        let told = self.finish(signals, 2).await;
        self.cluster = None;
        if self.parts.controller.serves_dns() {
            sleep(ANSWERS.saturating_sub(begin.elapsed())).await;
        }
        self.parts.controller.end();
        if in_cluster && told == 0 {
            tokio::select! {
                () = signals.told() => {}
                () = self.successor_gone() => tracing::warn!("the successor has ended: ending, to be started again"),
                () = sleep(DELETION) => {}
            }
        }
        self.parts.servers.end_metrics();
        sleep(LAST_TURN).await;
    }

    async fn successor_gone(&mut self) {
        while !matches!(self.succession.next().await, Ask::SuccessorGone) {}
    }

    fn is_busy(&self) -> bool {
        self.parts.room.open() > 0
    }

    /// Brings the connections under way to their end, and their requests where they belong meanwhile. Told so often, it does
    /// not wait any longer. How often it was told.
    async fn finish(&mut self, signals: &mut Signals, patience: usize) -> usize {
        let limit = self.config.proxy.drain_timeout;
        let (begin, idle) = (Instant::now(), IDLE.min(limit / 2));
        let mut told = 0;
        while self.is_busy() && told < patience && begin.elapsed() < limit {
            if begin.elapsed() > idle {
                self.parts.controller.drain(Phase::Idle);
            }
            tokio::select! {
                () = signals.told() => told += 1,
                () = self.learn() => {}
                () = sleep(LOOK) => {}
            }
        }
        if self.is_busy() {
            let connections = self.parts.room.open();
            tracing::warn!(connections, "these are broken off");
            self.parts.controller.drain(Phase::Over);
            sleep(LAST_TURN * 5).await;
        }
        told
    }
}
