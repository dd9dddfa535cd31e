//! `micro`: routing's decision and a change's way into force, with 100 spaces, 10 000 services and 100 000 endpoints.
//!
//! In this process and without traffic, but with the agent's own code and the kernel's real maps: the controller that
//! `interceptor run` has, loaded beside any agent that runs. Destinations and spaces are drawn at random, so that little
//! of what a decision reads is in the nearest cache.

mod size;

use std::hint::black_box;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use arc_swap::ArcSwap;
use interceptor::bpf::{Kernel, Programs};
use interceptor::capture::{Controller, ControllerParts};
use interceptor::captured::Destinations;
use interceptor::config::{Config, EndpointSpec, Routing, Topology};
use interceptor::discovery::Pods;
use interceptor::metrics::Metrics;
use interceptor::route::{Direction, Query, Target, decide};
use interceptor::snapshot::{Change, Delta, Snapshot};
use interceptor::status::StatusBoard;

use self::size::{ENDPOINTS, Random};
use super::{Outcome, Scenario};
use crate::row::{Better, Metric, Row};
use crate::settings::Settings;
use crate::stats::{self, Spread};
use crate::usage;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "micro",
    help: "route lookup and update at 10 000 services × 100 spaces × 100 000 endpoints",
    run,
};

const LOOKUP: Metric = Metric { name: "time", unit: "ns", better: Better::Lower };
const TIME: Metric = Metric { name: "time", unit: "ms", better: Better::Lower };
const LONGEST: Metric = Metric { name: "longest", unit: "ms", better: Better::Lower };
const MEMORY: Metric = Metric { name: "RSS", unit: "MB", better: Better::Lower };

/// Decisions between two looks at the clock.
const BATCH: usize = 1000;

fn run(settings: &Settings) -> Result<Outcome> {
    let mut topology = size::topology();
    let config = Config::parse("spaces: []", "micro").context("the empty configuration")?.config;
    let (mut built, mut memory) = (Vec::new(), Vec::new());
    for round in 1..=settings.rounds() {
        settings.progress(format_args!("build {round}"));
        let before = usage::own_rss()?;
        let begin = Instant::now();
        let snapshot = Snapshot::build(&topology, &config.routing, 1);
        built.push(milliseconds(begin.elapsed()));
        memory.push(usage::own_rss()?.saturating_sub(before) as f64 / 1e6);
        drop(black_box(snapshot));
    }
    // Later builds find memory that the first one left behind.
    memory.truncate(1);

    let first = Snapshot::build(&topology, &config.routing, 1);
    let mut agent = Agent::new(config)?;
    settings.progress("all destinations into the kernel");
    let begin = Instant::now();
    agent.put(first, None);
    let captured = milliseconds(begin.elapsed());
    let mut random = Random::new();
    let (mut updates, mut longest, mut lookups) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=settings.rounds() {
        settings.progress(format_args!("round {round}"));
        let mut times = (0..settings.pick(20, 500, 2000)).map(|_| agent.update(&mut topology, &mut random));
        let mut times = times.by_ref().collect::<Result<Vec<f64>>>()?;
        times.sort_by(f64::total_cmp);
        updates.push(stats::percentile(&times, 0.5).context("no update was measured")?);
        longest.push(times.last().copied().context("no update was measured")?);
        lookups.push(lookup(&agent.snapshot.load(), &topology, &mut random, settings.pick(50, 1000, 5000))?);
    }
    let row = |case, metric, values| Row::ours("micro", case, metric, values);
    Ok(vec![
        row("route lookup", LOOKUP, lookups),
        row("endpoint update", TIME, updates),
        row("endpoint update", LONGEST, longest),
        row("full build", TIME, built),
        row("all into the kernel", TIME, vec![captured]),
        row("snapshot", MEMORY, memory),
    ]
    .into())
}

/// The part of the agent that puts snapshots into force.
struct Agent {
    snapshot: ArcSwap<Snapshot>,
    controller: Controller,
    moved: u32,
}

impl Agent {
    fn new(config: Config) -> Result<Agent> {
        let kernel = Kernel::load(false, Programs::default(), &[]).context("loading the hooks")?;
        let controller = Controller::new(ControllerParts {
            neighbours: Default::default(),
            kernel,
            destinations: Arc::new(Destinations::new(config.capture.outbound_port)),
            workers: Vec::new(),
            settings: config.capture,
            dns: config.dns,
            status: Arc::new(StatusBoard::new("micro", "micro")),
            metrics: Arc::new(Metrics::new()),
            pods: Pods::new(None),
        })
        .context("making the controller")?;
        let routing: Routing = config.routing;
        Ok(Agent { snapshot: ArcSwap::from_pointee(Snapshot::empty(&routing)), controller, moved: 0 })
    }

    /// Puts a snapshot into force as the agent's control loop does.
    fn put(&mut self, snapshot: Snapshot, delta: Option<&Delta>) {
        let snapshot = Arc::new(snapshot);
        self.snapshot.store(Arc::clone(&snapshot));
        match delta {
            Some(delta) => self.controller.update(&snapshot, delta),
            None => self.controller.update(&snapshot, &Delta::whole(&snapshot)),
        }
    }

    /// Gives one endpoint of some service another address; milliseconds until that is published and in the kernel.
    fn update(&mut self, topology: &mut Topology, random: &mut Random) -> Result<f64> {
        self.moved += 1;
        let at = random.below(topology.services.len());
        let service = topology.services.get_mut(at).context("a service")?;
        let at = random.below(ENDPOINTS);
        let endpoint: &mut EndpointSpec = service.endpoints.get_mut(at).context("an endpoint")?;
        endpoint.address = IpAddr::from(size::moved(self.moved).to_be_bytes());
        let begin = Instant::now();
        let (next, delta) = self.snapshot.load().update(&[Change::Service(service)]);
        self.put(next, Some(&delta));
        let took = begin.elapsed();
        ensure!(delta.destinations.len() == 2, "one endpoint's move changed {:?}", delta.destinations);
        Ok(milliseconds(took))
    }
}

/// Nanoseconds of one decision: the median of batches.
fn lookup(snapshot: &Snapshot, topology: &Topology, random: &mut Random, batches: usize) -> Result<f64> {
    let called: Vec<SocketAddr> = topology.services.iter().flat_map(size::destinations).collect();
    let spaces: Vec<&str> = topology.spaces.iter().map(|space| space.name.as_str()).collect();
    ensure!(called.iter().all(|addr| snapshot.destination(*addr).is_some()), "a destination is not known");
    let (mut times, mut routed) = (Vec::with_capacity(batches), 0_usize);
    for _ in 0..batches {
        // Drawn before the clock runs: what a request says is at hand when it is routed, what the snapshot holds is not.
        let draw = |turn: usize| {
            let service = random.below(topology.services.len());
            // The virtual address and a pod's own, in turns.
            let place = if turn.is_multiple_of(2) { 0 } else { 1 + random.below(ENDPOINTS) };
            let destination = called.get(service * (1 + ENDPOINTS) + place).copied().context("a destination")?;
            Ok((destination, spaces.get(size::space(service, random)).copied().context("a space")?))
        };
        let asked = (0..BATCH).map(draw).collect::<Result<Vec<(SocketAddr, &str)>>>()?;
        let begin = Instant::now();
        for (turn, (destination, space)) in asked.iter().enumerate() {
            let query = Query {
                direction: Direction::Outbound,
                workload: "",
                destination: *destination,
                header: Some(space.as_bytes()),
                host: None,
                recalled: None,
                turn,
            };
            let decision = black_box(decide(snapshot, &query));
            routed += usize::from(decision.target != Target::Original);
        }
        times.push(begin.elapsed().as_secs_f64() * 1e9 / BATCH as f64);
    }
    let share = routed as f64 / (batches * BATCH) as f64;
    ensure!((0.2..0.8).contains(&share), "{share} of the requests go to another space: not the mix that is meant");
    Ok(Spread::of(&times).context("nothing was measured")?.median)
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
