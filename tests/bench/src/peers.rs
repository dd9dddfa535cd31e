//! The proxies of others, set up for the same work: route by `azds-route-as` between two upstreams over kept-alive
//! connections, add the header where it is missing, log nothing, two threads.
//!
//! They run in the pod of the caller and listen on its loopback address, where a sidecar would be. Each file below holds
//! one configuration. Nothing that its makers recommend for speed is left out, and nothing is left on that the agent
//! would not have to do.

mod envoy;
mod haproxy;
mod nginx;

use std::ffi::OsStr;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use interceptor_tests::{Lab, Pod, Process};

use crate::ground::{Ground, LIMIT};
use crate::subject::Subject;
use crate::upstream;

pub(crate) use self::envoy::program as envoy_program;

/// As many as the agent has workers on a machine with two CPUs; the rest of the machine is the client's and upstream's.
const THREADS: u32 = 2;

/// A running peer.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) process: Process,
    /// Where it takes HTTP, in the pod `plain`.
    pub(crate) http: SocketAddr,
    /// Where it takes HTTP/2 with prior knowledge.
    pub(crate) http2: SocketAddr,
    /// Where it takes opaque connections.
    pub(crate) opaque: SocketAddr,
}

/// What a configuration is made of.
struct Plan {
    /// A directory of its own.
    dir: PathBuf,
    http: SocketAddr,
    http2: SocketAddr,
    opaque: SocketAddr,
    /// The endpoints of default's and azureuser's copies.
    http_upstreams: [SocketAddr; 2],
    http2_upstreams: [SocketAddr; 2],
    opaque_upstream: SocketAddr,
}

/// Starts a peer in the pod `plain`. `number` keeps its ports apart from those of others that run there.
pub(crate) fn start(ground: &Ground, subject: Subject, number: u16) -> Result<Peer> {
    let plan = Plan::new(&ground.lab, &ground.upstreams, subject, number)?;
    let (program, args) = match subject {
        Subject::HaProxy => haproxy::command(&plan)?,
        Subject::Nginx => nginx::command(&plan)?,
        Subject::Envoy => envoy::command(&plan)?,
        Subject::Direct | Subject::Ours => bail!("{subject} is no peer"),
    };
    let mut process = ground.plain.spawn(program, args)?;
    for port in [plan.http.port(), plan.http2.port(), plan.opaque.port()] {
        let listening = ground.plain.wait_listening(port, LIMIT);
        listening
            .or_else(|error| process.expect_running().and(Err(error)))
            .with_context(|| format!("starting {subject}"))?;
    }
    Ok(Peer { process, http: plan.http, http2: plan.http2, opaque: plan.opaque })
}

impl Plan {
    fn new(lab: &Lab, upstreams: &[Pod; 2], subject: Subject, number: u16) -> Result<Plan> {
        let dir = lab.temp().join(format!("{subject}-{number}"));
        fs::create_dir(&dir).with_context(|| format!("making {}", dir.display()))?;
        let at = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        let [default, azureuser] = upstreams;
        Ok(Plan {
            dir,
            http: at(18_000 + number),
            http2: at(17_000 + number),
            opaque: at(19_000 + number),
            http_upstreams: [default.at(upstream::HTTP), azureuser.at(upstream::HTTP)],
            http2_upstreams: [default.at(upstream::HTTP2), azureuser.at(upstream::HTTP2)],
            opaque_upstream: default.at(upstream::OPAQUE),
        })
    }

    fn write(&self, name: &str, text: &str) -> Result<String> {
        let file = self.dir.join(name);
        fs::write(&file, text).with_context(|| format!("writing {}", file.display()))?;
        Ok(file.display().to_string())
    }
}

/// A program with its arguments.
type Command = (PathBuf, Vec<String>);

fn command(program: impl AsRef<OsStr>, args: &[&str]) -> Command {
    (PathBuf::from(program.as_ref()), args.iter().map(|arg| (*arg).to_owned()).collect())
}
