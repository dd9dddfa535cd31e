//! `interceptor services`, `workloads` and `routes`: lists of the admin API as tables.

use super::Ended;
use super::args::OutputMode;
use super::client::Client;
use super::output::{Screen, Style};
use super::table::{Cell, Table, list, or_dash, row};
use crate::query;
use crate::status::WorkloadState;
use crate::view::{PortView, RouteView, ServiceView, WorkloadView};
use crate::wanted::Calls;

pub(super) fn services(client: &Client, mode: OutputMode, screen: &mut Screen<'_>) -> anyhow::Result<Ended> {
    let lines = client.lines("/v1/services")?;
    if mode == OutputMode::Json {
        return pass_on(&lines, screen);
    }
    services_table(&Client::values(&lines)?, mode).print("there are no services", screen)?;
    Ok(Ended::Well)
}

pub(super) fn workloads(client: &Client, mode: OutputMode, screen: &mut Screen<'_>) -> anyhow::Result<Ended> {
    let lines = client.lines("/v1/workloads")?;
    if mode == OutputMode::Json {
        return pass_on(&lines, screen);
    }
    workloads_table(&Client::values(&lines)?, mode).print("no workloads are captured", screen)?;
    Ok(Ended::Well)
}

pub(super) fn routes(
    client: &Client,
    workload: &str,
    mode: OutputMode,
    screen: &mut Screen<'_>,
) -> anyhow::Result<Ended> {
    let mut query = String::new();
    query::push(&mut query, "workload", workload);
    let lines = client.lines(&format!("/v1/routes?{query}"))?;
    if mode == OutputMode::Json {
        return pass_on(&lines, screen);
    }
    routes_table(&Client::values(&lines)?, mode).print("no service of a space tree can be reached", screen)?;
    Ok(Ended::Well)
}

fn pass_on(lines: &[String], screen: &mut Screen<'_>) -> anyhow::Result<Ended> {
    lines.iter().try_for_each(|line| screen.json(line))?;
    Ok(Ended::Well)
}

pub(super) fn services_table(services: &[ServiceView], mode: OutputMode) -> Table {
    let wide = mode == OutputMode::Wide;
    // With everything captured there is nothing to say.
    let captured = wide || services.iter().any(|service| service.captured_calls != Calls::All);
    let mut titles = vec!["SPACE", "SERVICE", "ADDRESSES", "PORTS", "READY"];
    titles.extend(captured.then_some("CAPTURED"));
    titles.extend(["PROTOCOLS", "ENDPOINTS"].iter().filter(|_| wide));
    let mut table = Table::new(&titles);
    for service in services {
        let ready = service.ports.iter().map(|port| port.ready.len()).min().unwrap_or(0);
        let style = if service.ready { Style::Plain } else { Style::Warn };
        let addresses = if service.addresses.is_empty() { "headless".to_owned() } else { list(&service.addresses) };
        let mut row = row![
            &service.space,
            &service.name,
            addresses,
            list(service.ports.iter().map(port_name)),
            Cell::styled(format!("{ready}/{}", service.endpoints), style),
        ];
        if captured {
            row.push(Cell::from(captured_calls(service.captured_calls)));
        }
        if wide {
            row.extend(row![
                list(service.ports.iter().map(|port| port.app_protocol.as_deref().unwrap_or("detected"))),
                list(service.ports.iter().flat_map(|port| &port.ready)),
            ]);
        }
        table.push(row);
    }
    table
}

fn captured_calls(calls: Calls) -> &'static str {
    match calls {
        Calls::None => "no (only copy)",
        Calls::OutsideRoots => "not from root spaces (only copy)",
        Calls::All => "yes",
    }
}

fn port_name(port: &PortView) -> String {
    if port.name.is_empty() { port.port.to_string() } else { format!("{}:{}", port.name, port.port) }
}

pub(super) fn workloads_table(workloads: &[WorkloadView], mode: OutputMode) -> Table {
    let wide = mode == OutputMode::Wide;
    let plain: &[&str] = &["WORKLOAD", "SPACE", "STATE", "ADDRESSES", "DETAIL"];
    let more: &[&str] = &["WORKLOAD", "SPACE", "STATE", "ADDRESSES", "NETNS", "CGROUP", "PROPAGATE", "DETAIL"];
    let mut table = Table::new(if wide { more } else { plain });
    for workload in workloads {
        let style = match workload.state {
            WorkloadState::Captured => Style::Good,
            WorkloadState::Pending => Style::Warn,
            WorkloadState::Failed => Style::Bad,
        };
        let space = match (&workload.space, workload.space_usable) {
            (Some(space), false) => Cell::styled(format!("{space} (not usable)"), Style::Warn),
            (space, _) => Cell::from(or_dash(space.as_ref())),
        };
        let state = Cell::styled(workload.state.to_string(), style);
        let mut row = row![&workload.name, "", "", list(&workload.addresses)];
        row.splice(1..3, [space, state]);
        if wide {
            row.extend(row![&workload.netns, or_dash(workload.cgroup.as_ref()), &workload.propagate]);
        }
        row.push(Cell::from(&workload.detail));
        table.push(row);
    }
    table
}

pub(super) fn routes_table(routes: &[RouteView], mode: OutputMode) -> Table {
    let wide = mode == OutputMode::Wide;
    let titles: &[&str] = &["SERVICE", "PORT", "SPACE", "GOES TO", "REASON", "DESTINATION", "ADDRESS", "CHAIN"];
    let mut table = Table::new(titles.get(..if wide { 8 } else { 5 }).unwrap_or(titles));
    for route in routes {
        let goes_to = match (&route.target.service, &route.target.space) {
            (Some(service), Some(space)) => format!("{service}.{space}"),
            _ => route.target.address.to_string(),
        };
        let style = if route.target.kind == "endpoint" { Style::Good } else { Style::Plain };
        let mut row = row![
            &route.service,
            route.port.to_string(),
            or_dash(route.space.as_ref()),
            Cell::styled(goes_to, style),
            &route.reason,
        ];
        if wide {
            row.extend(row![
                route.destination.to_string(),
                route.target.address.to_string(),
                list(route.chain.iter().map(|step| format!("{}:{}", step.space, step.outcome))),
            ]);
        }
        table.push(row);
    }
    table
}
