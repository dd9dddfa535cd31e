//! `connect`: a new connection for every request. The client asks for it with `Connection: close`, the same for all.
//!
//! A peer knows from its configuration that its port speaks HTTP, so the service says so too; the second case says
//! nothing, and the agent has to find out.

use anyhow::Result;

use super::http::{Call, call};
use super::{Outcome, Scenario};
use crate::collect::Collected;
use crate::field::Field;
use crate::ground::{self, Ground, UNDECLARED};
use crate::settings::Settings;
use crate::subject::Subject;

pub(super) const SCENARIO: Scenario = Scenario { name: "connect", help: "a new connection for every request", run };

fn run(settings: &Settings) -> Result<Outcome> {
    let mut field = Field::new(Ground::new("connect")?)?;
    let mut collected = Collected::default();
    let known = Call { case: "c32 100 B", path: "/100", connections: 32, close: true };
    let unknown = Call { case: "c32 100 B undeclared", ..known };
    for round in 1..=settings.rounds() {
        for subject in Subject::ALL {
            let to = field.http(subject)?;
            call(&mut field, settings, round, subject, to, &known, &mut collected)?;
        }
        call(&mut field, settings, round, Subject::Ours, ground::service(0, UNDECLARED), &unknown, &mut collected)?;
    }
    Ok(collected.rows("connect").into())
}
