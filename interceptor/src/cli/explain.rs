//! `interceptor explain`: asks the agent where a request would go, and prints the answer as a person reads it.

use super::Ended;
use super::args::{ExplainArgs, OutputMode};
use super::client::Client;
use super::output::{Screen, Style, clean};
use crate::explain::{ExplainRequest, Explanation};
use crate::route::{Outcome, SpaceFrom};

pub(super) fn show(
    client: &Client,
    args: ExplainArgs,
    mode: OutputMode,
    screen: &mut Screen<'_>,
) -> anyhow::Result<Ended> {
    let mut headers = args.header;
    // First: the Host that is asked for counts before one among the headers.
    headers.splice(0..0, args.host.map(|host| ("host".to_owned(), host)));
    let ExplainArgs { workload, url, method, direction, .. } = args;
    let answer = client.ask("/v1/explain", &ExplainRequest { workload, url, method, headers, direction })?;
    if mode == OutputMode::Json {
        screen.json(answer)?;
    } else {
        print(&serde_json::from_str(&answer)?, screen)?;
    }
    Ok(Ended::Well)
}

pub(super) fn print(answer: &Explanation, screen: &mut Screen<'_>) -> anyhow::Result<()> {
    let call = format!("{} {}", answer.method.as_deref().unwrap_or("GET"), answer.url);
    let (workload, call) = (clean(&answer.workload).into_owned(), clean(&call).into_owned());
    let who = match answer.direction {
        crate::route::Direction::Outbound => format!("{workload} calls {call}"),
        crate::route::Direction::Inbound => format!("{workload} is called: {call}"),
    };
    screen.line(screen.paint(Style::Bold, &who).into_owned())?;

    let service = answer.service.as_deref().map(|service| format!(" ({service})")).unwrap_or_default();
    let destination = answer.destination.map_or_else(|| "unknown".to_owned(), |d| format!("{d}{service}"));
    fact(screen, "destination", &destination)?;
    if let Some(note) = &answer.note {
        fact(screen, "", note)?;
    }
    fact(screen, "intercepted", if answer.intercepted { "yes" } else { "no" })?;
    if answer.intercepted {
        routing(answer, screen)?;
    }
    fact(screen, "reason", &answer.reason)?;
    screen.line(clean(&answer.text))
}

fn routing(answer: &Explanation, screen: &mut Screen<'_>) -> anyhow::Result<()> {
    let header = answer.route_header.as_ref().map(|header| format!("{}: {}", header.name, header.value));
    fact(screen, "header", header.as_deref().unwrap_or("none"))?;
    let from = match answer.space_from {
        SpaceFrom::Header => "from the route header",
        SpaceFrom::Host => "from the Host",
        SpaceFrom::Caller => "the caller's own",
        SpaceFrom::Trace => "that of the request with the same trace id",
        SpaceFrom::Flight => "that of all requests in the workload",
        SpaceFrom::Thread => "that of the request that the thread had read",
        SpaceFrom::None => "nothing names one",
    };
    fact(screen, "space", &format!("{} ({from})", answer.space.as_deref().unwrap_or("none")))?;
    for (step, name) in answer.chain.iter().zip(std::iter::once("chain").chain(std::iter::repeat(""))) {
        let style = if step.outcome == Outcome::Taken { Style::Good } else { Style::Dim };
        let outcome = screen.paint(style, step.outcome.as_str()).into_owned();
        screen.line(format_args!("  {name:<13}{}: {outcome}", clean(&step.space)))?;
    }
    if let Some(target) = &answer.target {
        let service = match (&target.service, &target.space) {
            (Some(service), Some(space)) => format!("{service}.{space}, "),
            _ => String::new(),
        };
        let kind = match target.kind.as_str() {
            "endpoint" => "an endpoint that the agent chooses",
            "application" => "this pod's application",
            _ => "the original destination",
        };
        fact(screen, "goes to", &format!("{service}{} ({kind})", target.address))?;
    }
    if let Some(propagation) = &answer.propagation {
        fact(screen, "propagation", propagation)?;
    }
    let added = answer.inject.as_ref().map(|header| format!("{}: {}", header.name, header.value));
    fact(screen, "adds", added.as_deref().unwrap_or("nothing"))
}

fn fact(screen: &mut Screen<'_>, name: &str, text: &str) -> anyhow::Result<()> {
    screen.line(format_args!("  {name:<13}{}", clean(text)))
}
