//! The field of runners: the ground with the agent and the peers running, and for each subject who calls what from where.
//!
//! The scenarios that compare everybody build on it.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use interceptor_tests::http::Connection;
use interceptor_tests::{Agent, Pod};

use crate::ground::{self, Ground, HTTP, HTTP2, LIMIT, ROUTE, UNDECLARED};
use crate::peers::{self, Peer};
use crate::subject::Subject;
use crate::usage::Program;

/// Everything that is compared, running.
#[derive(Debug)]
pub(crate) struct Field {
    // First: programs end before what they run in.
    pub(crate) agent: Agent,
    peers: Vec<(Subject, Peer)>,
    pub(crate) ground: Ground,
}

impl Field {
    /// Starts the agent and all peers on a ground, and proves that each of them routes by the header.
    pub(crate) fn new(ground: Ground) -> Result<Field> {
        let mut peers = Vec::new();
        for (number, subject) in (1..).zip(Subject::PEERS) {
            peers.push((subject, peers::start(&ground, subject, number)?));
        }
        let agent = ground.agent()?;
        let field = Field { agent, peers, ground };
        for subject in Subject::ALL {
            field.prove(subject).with_context(|| format!("proving that {subject} does what is measured"))?;
        }
        Ok(field)
    }

    /// The pod from which this subject is called.
    pub(crate) fn caller(&self, subject: Subject) -> &Pod {
        if subject == Subject::Ours { &self.ground.captured } else { &self.ground.plain }
    }

    /// Where its HTTP is called.
    pub(crate) fn http(&self, subject: Subject) -> Result<SocketAddr> {
        Ok(match subject {
            Subject::Ours => ground::service(0, HTTP),
            Subject::Direct => ground::service(1, HTTP),
            peer => self.peer(peer)?.http,
        })
    }

    /// Where its HTTP/2 is called.
    pub(crate) fn http2(&self, subject: Subject) -> Result<SocketAddr> {
        Ok(match subject {
            Subject::Ours => ground::service(0, HTTP2),
            Subject::Direct => ground::service(1, HTTP2),
            peer => self.peer(peer)?.http2,
        })
    }

    /// Its program; `None` for the direct connection, which has none.
    pub(crate) fn program(&mut self, subject: Subject) -> Result<Option<Program>> {
        Ok(match subject {
            Subject::Direct => None,
            Subject::Ours => Some(Program::of_group(self.agent.process().pid())),
            peer => Some(Program::of_group(self.peer(peer)?.process.pid())),
        })
    }

    pub(crate) fn peer(&self, subject: Subject) -> Result<&Peer> {
        let found = self.peers.iter().find(|(of, _)| *of == subject);
        found.map(|(_, peer)| peer).with_context(|| format!("{subject} is no peer that runs"))
    }

    fn prove(&self, subject: Subject) -> Result<()> {
        let (from, to) = (self.caller(subject), self.http(subject)?);
        ensure_answer(from, to, Some(ROUTE), "upstream.azureuser azureuser")?;
        if subject == Subject::Ours {
            ensure_answer(from, ground::service(0, UNDECLARED), Some(ROUTE), "upstream.azureuser azureuser")?;
        }
        if subject != Subject::Direct {
            ensure_answer(from, to, None, "upstream.default default")?;
        }
        Ok(())
    }
}

/// Asks `/who` and compares the answer: the copy that answered, and the route header that it got.
fn ensure_answer(from: &Pod, to: SocketAddr, header: Option<&str>, expected: &str) -> Result<()> {
    let stream = from.connect(to)?;
    stream.set_read_timeout(Some(LIMIT)).context("setting a read timeout")?;
    let mut connection = Connection::new(stream);
    let header = header.map(|line| format!("{line}\r\n")).unwrap_or_default();
    connection.send(format!("GET /who HTTP/1.1\r\nHost: {to}\r\n{header}\r\n").as_bytes()).context("sending")?;
    let answer = connection.response("GET")?;
    let body = String::from_utf8_lossy(&answer.body);
    ensure!(answer.status()? == 200 && body == expected, "{to} answered {} {body:?}, not {expected:?}", answer.start);
    Ok(())
}

/// CPU time per request, microseconds.
pub(crate) fn cpu_per_request(before: Duration, after: Duration, requests: u64) -> f64 {
    after.saturating_sub(before).as_secs_f64() * 1e6 / requests as f64
}
