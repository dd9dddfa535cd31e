//! The steps of the demo, in order; each narrates and asserts through [`Stage::story`].

mod copies;
mod crash;
mod http2;
mod opaque;
mod propagation;
mod worked_example;

use anyhow::Result;
use serde_json::Value;

use super::Stage;
use super::calls::{Call, path_taken, route_headers};

/// One step.
pub(crate) struct Step {
    /// Its title.
    pub(crate) name: &'static str,
    /// What it does.
    pub(crate) run: fn(&mut Stage) -> Result<()>,
}

/// All steps.
pub(crate) const ALL: &[Step] = &[
    Step {
        name: "azureuser's URL: azureuser's serviceA answers, serviceB is default's (the worked example)",
        run: worked_example::azureuser,
    },
    Step { name: "default's URL touches only default's copies", run: worked_example::default },
    Step { name: "serviceB deployed in azureuser: the next request goes to it (R9)", run: copies::deploy },
    Step {
        name: "an application that forwards only traceparent: the space is found again by the trace id",
        run: propagation::traceparent,
    },
    Step { name: "that serviceB removed: the next request goes to default's again (R9)", run: copies::remove },
    Step {
        name: "an unknown space: original destination, header unchanged, no error (R5)",
        run: copies::unknown_space,
    },
    Step {
        name: "HTTP/2, as gRPC speaks it: streams of one connection go to two spaces (R6)",
        run: http2::two_spaces_over_one_connection,
    },
    Step { name: "Redis and TLS pass unmodified (R8)", run: opaque::redis_and_tls },
    Step { name: "explain says where a request would go and why", run: worked_example::explain },
    Step { name: "kill -9 of the interceptor: traffic goes on directly (fail-open)", run: crash::kill9 },
];

/// The URL of serviceA in azureuser's view.
pub(crate) const AZUREUSER_HOST: &str = "azureuser.s.default.serviceA.fedcba09.eus.azds.io";
/// The URL of serviceC in azureuser's view; only default has one.
pub(crate) const SERVICE_C_HOST: &str = "azureuser.s.default.serviceC.fedcba09.eus.azds.io";
/// The URL of serviceA in default.
pub(crate) const DEFAULT_HOST: &str = "default.serviceA.fedcba09.eus.azds.io";

impl Stage {
    /// Narrates a call and its answer, and gives the answer.
    fn tell(&mut self, call: Call) -> Value {
        self.story.sent(&call.command);
        self.story.received(&path_taken(&call.answer), call.answer.clone());
        call.answer
    }

    /// Asserts who answered and which route headers it saw.
    fn check_answer(&mut self, answer: &Value, name: &str, headers: &[&str]) -> Result<()> {
        self.story.check(&format!("{name} answered"), answer["name"] == name, &answer["name"])?;
        let seen = route_headers(answer);
        let claim = match headers {
            [] => format!("{name} saw no route header"),
            values => format!("{name} saw azds-route-as: {}, once", values.join(", ")),
        };
        self.story.check(&claim, seen == headers, &format_args!("{seen:?}"))
    }
}
