//! One flow as a row of a table.

use crate::cli::output::Style;
use crate::cli::table::{Cell, Columns, list, or_dash, row};
use crate::flow::{FlowLine, FlowTarget};

const TITLES: &[&str] =
    &["TIME", "WORKLOAD", "DIR", "WHAT", "SERVICE", "SPACE", "GOES TO", "STATUS", "VERDICT", "REASON", "TOOK"];
const MORE: &[&str] = &[
    "ID",
    "CONN",
    "CLIENT",
    "DESTINATION",
    "ADDRESS",
    "HOST",
    "HEADER",
    "CHAIN",
    "KNOWN BY",
    "IN",
    "OUT",
    "CONNECT",
    "FIRST BYTE",
    "RTT",
    "NOTES",
    "ERROR",
];
/// Rows come one by one; these widths keep most of them in line from the first on.
const WIDTHS: &[usize] = &[12, 20, 3, 14, 18, 18, 18, 6, 10, 14, 6];

pub(super) fn columns(wide: bool) -> Columns {
    if wide {
        return Columns::with_widths(&[TITLES, MORE].concat(), WIDTHS);
    }
    Columns::with_widths(TITLES, WIDTHS)
}

pub(super) fn cells(flow: &FlowLine, wide: bool) -> Vec<Cell> {
    let verdict = match flow.verdict.as_str() {
        "redirected" => Style::Good,
        "refused" => Style::Warn,
        "error" => Style::Bad,
        _ => Style::Plain,
    };
    let mut row = row![
        // 2026-03-14T15:09:26.535897Z: who wants the date takes wide or json.
        if wide { flow.time.as_str() } else { flow.time.get(11..23).unwrap_or(&flow.time) },
        &flow.workload,
        if flow.direction == "inbound" { "in" } else { "out" },
        what(flow),
        or_dash(flow.service.as_ref()),
        space(flow),
        flow.target.as_ref().map_or_else(|| "-".to_owned(), goes_to),
        or_dash(flow.status.map(|status| status.to_string())),
        Cell::styled(&flow.verdict, verdict),
        &flow.reason,
        took(flow.duration_us),
    ];
    if wide {
        row.extend(more(flow));
    }
    row
}

fn more(flow: &FlowLine) -> Vec<Cell> {
    let header = flow.route_header.as_ref().map(|header| format!("{}: {}", header.name, header.value));
    let error = match (&flow.side, &flow.error) {
        (Some(side), Some(error)) => format!("{side}: {error}"),
        (_, error) => error.clone().unwrap_or_default(),
    };
    row![
        flow.id.to_string(),
        flow.connection.unwrap_or(flow.id).to_string(),
        &flow.client,
        &flow.original_destination,
        or_dash(flow.target.as_ref().map(|target| &target.address)),
        or_dash(flow.host.as_ref()),
        or_dash(header),
        list(flow.chain.iter().map(|step| format!("{}:{}", step.space, step.outcome))),
        &flow.protocol_from,
        size(flow.bytes_in),
        size(flow.bytes_out),
        or_dash(flow.connect_us.map(took)),
        or_dash(flow.first_byte_us.map(took)),
        or_dash(flow.kernel.map(|facts| took(u64::from(facts.srtt_us)))),
        list(flow.notes.iter().cloned()),
        error,
    ]
}

/// `GET /path` for a request, the protocol and how much of it for a connection.
fn what(flow: &FlowLine) -> String {
    match (&flow.method, &flow.path) {
        (Some(method), Some(path)) => format!("{method} {}", shortened(path)),
        _ if flow.requests.unwrap_or(0) > 0 => format!("{} x{}", flow.protocol, flow.requests.unwrap_or(0)),
        _ => flow.protocol.clone(),
    }
}

/// The space, where it was read, and whether the header was added.
fn space(flow: &FlowLine) -> String {
    let Some(space) = &flow.space else { return "-".to_owned() };
    let from = flow.space_from.as_deref().unwrap_or("none");
    let added = if flow.injected == Some(true) { ", added" } else { "" };
    format!("{space} ({from}{added})")
}

fn goes_to(target: &FlowTarget) -> String {
    match (&target.service, &target.space) {
        (Some(service), Some(space)) => format!("{service}.{space}"),
        _ => target.address.clone(),
    }
}

/// A path that leaves room for the other columns.
fn shortened(path: &str) -> String {
    const LONGEST: usize = 40;
    match path.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", path.get(..end).unwrap_or(path)),
        None => path.to_owned(),
    }
}

/// Microseconds as a person reads them.
fn took(us: u64) -> String {
    match us {
        0..1_000 => format!("{us}us"),
        1_000..1_000_000 => format!("{}.{}ms", us / 1_000, us % 1_000 / 100),
        _ => format!("{}.{:02}s", us / 1_000_000, us % 1_000_000 / 10_000),
    }
}

/// Bytes as a person reads them.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["K", "M", "G", "T"];
    let mut unit = "B";
    let (mut whole, mut tenth) = (bytes, 0);
    for next in UNITS {
        if whole < 1024 {
            break;
        }
        tenth = whole % 1024 * 10 / 1024;
        whole /= 1024;
        unit = next;
    }
    if unit == "B" { format!("{whole}B") } else { format!("{whole}.{tenth}{unit}") }
}
