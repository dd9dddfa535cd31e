//! How the control thread succeeds an agent, and is succeeded. `takeover` talks; here it is done.
//!
//! While a successor takes over, this thread does nothing else: what it has handed out must not change.

use std::io;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tokio::sync::mpsc::{self, error::TryRecvError};

use super::control::Control;
use crate::admin::AdminSocket;
use crate::takeover::claim::Predecessor;
use crate::takeover::message::Channel;
use crate::takeover::offer::{Ask, Host, Offer};
use crate::takeover::{Admin, Estate};

/// How long a takeover may take once everything was handed out; longer than both sides together wait for each other.
const LIMIT: Duration = Duration::from_secs(30);
/// How often the other thread's word is looked for.
const LOOK: Duration = Duration::from_millis(1);

/// How an agent begins.
pub(super) enum First {
    /// There is no other; it has the admin socket.
    Alone(AdminSocket),
    /// After this one, as soon as it can.
    After(Predecessor),
}

/// What a turn of the control loop comes to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Tick {
    /// It goes on.
    On,
    /// A successor has everything.
    Succeeded,
    /// A successor has no use for anything, and waits for this agent to make way.
    End,
}

/// This agent's place among those before and after it.
#[derive(Default)]
pub(super) struct Succession {
    offer: Option<Offer>,
    asks: Option<mpsc::Receiver<Ask>>,
    /// Open for as long as both agents live: by its end one learns of the other's.
    before: Option<Channel>,
}

impl Succession {
    /// What a successor asks next; never, where none can.
    pub(super) async fn next(&mut self) -> Ask {
        if let Some(asks) = &mut self.asks
            && let Some(ask) = asks.recv().await
        {
            return ask;
        }
        std::future::pending().await
    }

    /// Whether the agent before has ended since this was last asked.
    pub(super) fn has_before_ended(&mut self) -> bool {
        let ended = self.before.as_ref().is_some_and(Channel::is_closed);
        if ended {
            self.before = None;
        }
        ended
    }

    /// No successor may ask any more; the socket's file goes, or is the successor's.
    pub(super) fn end(&mut self, handed: bool) {
        if let Some(offer) = self.offer.take().filter(|_| handed) {
            offer.handed_over();
        }
    }
}

impl Control {
    /// The agent captures from now on, and can be succeeded.
    pub(super) fn begin(&mut self, admin: AdminSocket, offer: Option<std::os::fd::OwnedFd>) -> Result<()> {
        let path = admin.path().to_owned();
        self.parts.start_heartbeat(&self.config.capture)?;
        self.parts.servers.serve_admin(admin)?;
        let (asks_tx, asks_rx) = mpsc::channel(8);
        let maps = self.parts.controller.shared_maps().context("keeping the maps for a successor")?;
        let host = Host { outbound_port: self.config.capture.outbound_port, maps, asks: asks_tx };
        let offer = Offer::start(&path, offer, host).context("waiting for a successor")?;
        (self.succession.offer, self.succession.asks) = (Some(offer), Some(asks_rx));
        self.parts.status.set_ready(true);
        Ok(())
    }

    /// Takes everything over from the agent before.
    pub(super) fn succeed(&mut self, predecessor: Predecessor) -> Result<()> {
        let begin = Instant::now();
        let (pid, version) = (predecessor.pid, predecessor.version.clone());
        let told = || format!("taking over from the agent that runs (pid {pid}), which goes on");
        let mut estate = predecessor.take().with_context(told)?;
        self.parts.controller.relink(&mut estate).with_context(told)?;
        let Admin { listener, lock, offer } =
            estate.admin.take().context("it has no admin socket").with_context(told)?;
        self.succession.before = Some(predecessor.confirm().with_context(told)?);
        // From here on it is this agent's, come what may.
        self.parts.controller.inherit(estate);
        self.begin(AdminSocket::inherit(&self.config.admin.socket, listener, lock)?, Some(offer))?;
        tracing::info!(pid, version, took = ?begin.elapsed(), "took over from the agent before");
        Ok(())
    }

    /// Does what a successor asks.
    pub(super) fn answer(&mut self, ask: Ask) -> Tick {
        match ask {
            Ask::Export(answer) => {
                let estate = self.export().map_err(|error| format!("handing over: {error}"));
                let refused = estate.is_err();
                if answer.send(estate).is_err() || refused {
                    return Tick::On;
                }
                self.hand_over()
            }
            Ask::End => Tick::End,
            // Of a takeover that came to nothing before anything was handed out.
            Ask::Release(_) | Ask::Commit | Ask::Abort(_) | Ask::SuccessorGone => Tick::On,
        }
    }

    /// Waits, and changes nothing, until it is clear whether there is a successor.
    fn hand_over(&mut self) -> Tick {
        let until = Instant::now() + LIMIT;
        let why = loop {
            match self.succession.asks.as_mut().map_or(Err(TryRecvError::Disconnected), mpsc::Receiver::try_recv) {
                Ok(Ask::Release(answer)) => {
                    if let Some(heartbeat) = self.parts.heartbeat.take() {
                        heartbeat.leave();
                    }
                    answer.send(()).ok();
                }
                Ok(Ask::Commit) => return Tick::Succeeded,
                Ok(Ask::Abort(why)) => break why,
                Ok(Ask::Export(_) | Ask::End | Ask::SuccessorGone) => {}
                Err(TryRecvError::Empty) if Instant::now() < until => sleep(LOOK),
                Err(TryRecvError::Empty) => break "it takes too long".to_owned(),
                Err(TryRecvError::Disconnected) => break "the thread that talks to it has ended".to_owned(),
            }
        };
        tracing::warn!(why, "a successor did not come to it: this agent goes on");
        self.parts.controller.resume();
        if self.parts.heartbeat.is_none()
            && let Err(error) = self.parts.start_heartbeat(&self.config.capture)
        {
            tracing::error!(%error, "the heartbeat does not start again: new connections pass");
        }
        Tick::On
    }

    fn export(&self) -> io::Result<Estate> {
        let missing = || io::Error::other("this agent has no admin socket of its own");
        let (listener, lock) = self.parts.servers.admin().ok_or_else(missing)?.descriptors()?;
        let offer = self.succession.offer.as_ref().ok_or_else(missing)?.descriptor()?;
        let mut estate = self.parts.controller.export()?;
        estate.admin = Some(Admin { listener, lock, offer });
        Ok(estate)
    }
}
