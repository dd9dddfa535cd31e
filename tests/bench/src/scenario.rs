//! The scenarios: what can be measured, each a value with a name and a function that makes rows.
//!
//! [`main`](crate) runs those that were asked for. A scenario lays out what it needs and leaves nothing behind; a new
//! one is a file and a line in [`ALL`].

mod connect;
mod h2;
mod http;
mod idle;
mod mesh;
mod micro;
mod opaque;
mod outside;
mod reload;

use anyhow::Result;

use crate::row::Row;
use crate::settings::Settings;

/// One thing that can be measured.
#[derive(Debug)]
pub(crate) struct Scenario {
    /// The argument that asks for it.
    pub(crate) name: &'static str,
    /// What it measures, in one line.
    pub(crate) help: &'static str,
    /// Measures it. An error is a scenario that could not run, or a request that failed.
    pub(crate) run: fn(&Settings) -> Result<Outcome>,
}

/// What a scenario found.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) rows: Vec<Row>,
    /// What was left out, and why.
    pub(crate) notes: Vec<String>,
}

impl From<Vec<Row>> for Outcome {
    fn from(rows: Vec<Row>) -> Outcome {
        Outcome { rows, notes: Vec::new() }
    }
}

/// All scenarios, in the order in which they run.
#[rustfmt::skip]
pub(crate) const ALL: &[Scenario] = &[
    http::SCENARIO,
    connect::SCENARIO,
    h2::SCENARIO,
    opaque::SCENARIO,
    outside::SCENARIO,
    idle::SCENARIO,
    mesh::SCENARIO,
    reload::SCENARIO,
    micro::SCENARIO,
];
