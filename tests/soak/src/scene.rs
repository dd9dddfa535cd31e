//! The node of the soak: pods, the copies of the service and the clients that call it.
//!
//! [`deployed`](crate::deployed) has the configuration for it, [`churn`](crate::churn) changes what is there.

use std::net::SocketAddr;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use anyhow::{Context as _, Result};
use interceptor_tests::{Lab, Pod};

use crate::app;
use crate::children::{App, Line};
use crate::deployed::{addresses, service};
use crate::plan::{Kind, Plan};
use crate::truth::NAMED;

/// What normally takes milliseconds may take this long on a busy machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);
/// The ingress suffix of rule R1.
pub(crate) const SUFFIX: &str = "soak.example";
/// The service's ports, in the order of the copy's own.
pub(crate) const PORTS: [(&str, u16, u16, Option<&str>); 4] = [
    ("http", 80, app::HTTP, None),
    ("http2", 81, app::HTTP2, None),
    ("tcp", 82, app::TCP, Some("tcp")),
    ("raw", 83, app::RAW, None),
];

/// The pods and what runs in them. Programs are declared before what they run in, so that they end first.
pub(crate) struct Scene {
    apps: Vec<App>,
    /// The copies of default, alice, bob and carol.
    pub(crate) copies: Vec<(&'static str, Pod)>,
    pub(crate) front: Pod,
    /// Captured pods from which requests come, with the space that they are in.
    pub(crate) callers: Vec<(Pod, Option<&'static str>)>,
    /// Pods that come and go; they are not there at first.
    pub(crate) dave: Pod,
    pub(crate) visitor: Pod,
    pub(crate) seed: u64,
    pub(crate) lab: Lab,
}

impl Scene {
    /// Makes the pods and starts the copies.
    pub(crate) fn new(seed: u64, lines: &SyncSender<Line>) -> Result<Scene> {
        let lab = Lab::new("soak")?;
        let (mut apps, mut copies) = (Vec::new(), Vec::new());
        for space in ["default", "alice", "bob", "carol"] {
            let pod = lab.pod(&format!("echo-{space}"))?;
            apps.push(copy(&pod, space, lines)?);
            lab.expose(&service("echo", space).endpoint(&pod))?;
            copies.push((space, pod));
        }
        let front = lab.pod("front")?;
        let [v4, v6] = addresses("echo", "default").map(|address| SocketAddr::from((address, 80)).to_string());
        apps.push(App::start(&front, &["front", "front.default", &v4, &v6], lines)?);
        front.wait_listening(app::HTTP, LIMIT)?;
        lab.expose(&service("front", "default").endpoint(&front))?;
        let mut callers = Vec::new();
        for (name, space) in [("caller", Some("default")), ("dev", Some("bob")), ("plain", None)] {
            callers.push((lab.pod(name)?, space));
        }
        let (dave, visitor) = (lab.pod("dave")?, lab.pod("visitor")?);
        dave.remove()?;
        visitor.remove()?;
        Ok(Scene { apps, copies, front, callers, dave, visitor, seed, lab })
    }

    /// Starts the clients that never stop.
    pub(crate) fn call(&mut self, lines: &SyncSender<Line>) -> Result<()> {
        let many: &[(Kind, u64)] = &[
            (Kind::KeepAlive, 2),
            (Kind::Fresh, 1),
            (Kind::Pipelined, 1),
            (Kind::Large, 1),
            (Kind::Slow, 1),
            (Kind::Front, 1),
            (Kind::Http2, 2),
            (Kind::WebSocket, 1),
            (Kind::WebSocketLong, 1),
            (Kind::Tcp, 1),
            (Kind::Raw, 1),
            (Kind::RawLong, 1),
        ];
        let some: &[(Kind, u64)] = &[(Kind::KeepAlive, 1), (Kind::Fresh, 1), (Kind::Http2, 1), (Kind::Tcp, 1)];
        let few: &[(Kind, u64)] = &[(Kind::KeepAlive, 1), (Kind::Raw, 1)];
        let inbound: &[(Kind, u64)] = &[
            (Kind::KeepAlive, 1),
            (Kind::Fresh, 1),
            (Kind::Pipelined, 1),
            (Kind::Large, 1),
            (Kind::Http2, 1),
            (Kind::WebSocket, 1),
            (Kind::Raw, 1),
            (Kind::RawLong, 1),
        ];
        for (number, ((pod, _), clients)) in (1..).zip(self.callers.iter().zip([many, some, few])) {
            self.apps.push(self.clients(pod, number, clients, None, lines)?);
        }
        // As an ingress controller without an agent: straight to a pod, the space in the host.
        let mut plan = self.plan(9, inbound);
        let (_, pod) = self.copies.first().context("there is no copy")?;
        [plan.http, plan.http2, plan.tcp, plan.raw] = PORTS.map(|(_, _, port, _)| [pod.at(port), pod.at_v6(port)]);
        plan.suffix = Some(SUFFIX.to_owned());
        let plan = serde_json::to_string(&plan)?;
        self.apps.push(App::start(self.lab.outside(), &["client", &plan], lines)?);
        Ok(())
    }

    /// Starts clients in a pod, for ever or for some seconds.
    pub(crate) fn clients(
        &self,
        pod: &Pod,
        number: u64,
        clients: &[(Kind, u64)],
        seconds: Option<u64>,
        lines: &SyncSender<Line>,
    ) -> Result<App> {
        let mut plan = self.plan(number, clients);
        plan.seconds = seconds;
        App::start(pod, &["client", &serde_json::to_string(&plan)?], lines)
    }

    fn plan(&self, number: u64, clients: &[(Kind, u64)]) -> Plan {
        let echo = addresses("echo", "default");
        let [http, http2, tcp, raw] =
            PORTS.map(|(_, port, _, _)| echo.map(|address| SocketAddr::from((address, port))));
        let front = addresses("front", "default").map(|address| SocketAddr::from((address, 80)));
        let named = NAMED.iter().map(|space| Some((*space).to_owned()));
        let spaces = named.chain([None, None]).collect();
        let clients = clients.to_vec();
        Plan { number, seed: self.seed, http, http2, tcp, raw, front, spaces, suffix: None, clients, seconds: None }
    }

    /// Ends the clients, and then what they call.
    pub(crate) fn end(&mut self) {
        while self.apps.pop().is_some() {}
    }

    /// All pods that are always there.
    pub(crate) fn pods(&self) -> impl Iterator<Item = &Pod> {
        let (copies, callers) = (self.copies.iter().map(|(_, pod)| pod), self.callers.iter().map(|(pod, _)| pod));
        copies.chain(callers).chain([&self.front])
    }

    /// Fails if a program that should run for ever has ended.
    pub(crate) fn expect_running(&mut self) -> Result<()> {
        self.apps.iter_mut().try_for_each(App::expect_running)
    }
}

/// Starts the copy of a space in a pod, and waits for it.
pub(crate) fn copy(pod: &Pod, space: &str, lines: &SyncSender<Line>) -> Result<App> {
    let app = App::start(pod, &["copy", &format!("echo.{space}")], lines)?;
    for (_, _, port, _) in PORTS {
        pod.wait_listening(port, LIMIT)?;
    }
    Ok(app)
}
