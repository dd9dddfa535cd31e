//! What changes in the cluster: copies, spaces and pods come and go.

use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::clock;
use crate::deployed::{Absence, Deployed};
use crate::plan::Kind;
use crate::scene::{LIMIT, copy};
use crate::soak::Soak;

/// A copy that is no longer chosen is removed only when what it was asked has been answered.
const GRACE: Duration = Duration::from_millis(3500);
/// How long a pod stays that comes to call.
const VISIT: u64 = 2;

impl Soak {
    /// One change or another.
    pub(crate) fn churn(&mut self) -> Result<()> {
        match self.random.range(0, 10) {
            0 => self.pod_of_a_copy()?,
            1 => self.visit()?,
            // Several in a row.
            2 => {
                for _ in 0..5 {
                    self.change()?;
                }
            }
            _ => self.change()?,
        }
        self.settle()
    }

    /// A copy, or a space with its copy, comes or goes.
    fn change(&mut self) -> Result<()> {
        let began = clock::now();
        self.toggle();
        self.reload(began)
    }

    /// Another truth, which is not in force yet.
    pub(crate) fn toggle(&mut self) {
        let ways = [Absence::Unready, Absence::Empty, Absence::Gone];
        self.deployed.absence = *self.random.pick(&ways).unwrap_or(&Absence::Gone);
        let truth = &mut self.deployed.truth;
        match self.random.range(0, 3) {
            0 => truth.alice = !truth.alice,
            1 => truth.bob = !truth.bob,
            _ => truth.carol = !truth.carol,
        }
    }

    fn reload(&mut self, began: u64) -> Result<()> {
        self.agent.reload(&self.deployed.config(&self.scene)).context("changing the configuration")?;
        self.timeline.changed(began, clock::now(), self.deployed.truth);
        self.done.changes += 1;
        Ok(())
    }

    /// dave's copy comes with its pod, or goes with it.
    fn pod_of_a_copy(&mut self) -> Result<()> {
        let lab = &self.scene.lab;
        if self.dave.is_none() {
            let pod = lab.pod_again(&self.scene.dave, &lab.pods_cgroup().join("dave"))?;
            let app = copy(&pod, "dave", &self.lines_tx)?;
            lab.expose(&crate::deployed::service("echo", "dave").endpoint(&pod))?;
            (self.scene.dave, self.dave) = (pod, Some(app));
            self.timeline.note(clock::now(), "dave's pod is there".to_owned());
            self.deployed.truth.dave = true;
            self.done.pods += 1;
            return self.reload(clock::now());
        }
        let began = clock::now();
        self.deployed.truth.dave = false;
        self.reload(began)?;
        self.pause(GRACE);
        self.timeline.note(clock::now(), "dave's pod goes".to_owned());
        self.dave = None;
        self.scene.dave.remove()
    }

    /// A pod comes, calls for a while, and goes.
    fn visit(&mut self) -> Result<()> {
        let lab = &self.scene.lab;
        let pod = lab.pod_again(&self.scene.visitor, &lab.pods_cgroup().join("visitor"))?;
        self.scene.visitor = pod;
        self.set_visitor(true)?;
        // Its requests have ids of their own, visit by visit.
        let number = 100 + self.done.pods;
        let clients = [(Kind::KeepAlive, 1), (Kind::Http2, 1), (Kind::Raw, 1)];
        let mut app = self.scene.clients(&self.scene.visitor, number, &clients, Some(VISIT), &self.lines_tx)?;
        self.done.pods += 1;
        self.pause(Duration::from_secs(VISIT));
        app.ended(LIMIT)?;
        self.set_visitor(false)?;
        self.scene.visitor.remove()
    }

    fn set_visitor(&mut self, visitor: bool) -> Result<()> {
        let began = clock::now();
        self.deployed = Deployed { visitor, ..self.deployed };
        self.reload(began)
    }
}
