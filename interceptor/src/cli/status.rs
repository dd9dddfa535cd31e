//! `interceptor status`: how the agent is, on one screen.

use super::Ended;
use super::args::OutputMode;
use super::client::Client;
use super::output::{Screen, Style, clean};
use super::table::{Cell, Table, row};
use crate::status::{ConnectionsStatus, DnsStatus, HookState, Status, WatchStatus, WorkloadState};

pub(super) fn show(client: &Client, mode: OutputMode, screen: &mut Screen<'_>) -> anyhow::Result<Ended> {
    let lines = client.lines("/v1/status")?;
    if mode == OutputMode::Json {
        lines.iter().try_for_each(|line| screen.json(line))?;
    } else {
        for status in Client::values(&lines)? {
            print(&status, mode, screen)?;
        }
    }
    Ok(Ended::Well)
}

pub(super) fn print(status: &Status, mode: OutputMode, screen: &mut Screen<'_>) -> anyhow::Result<()> {
    let wide = mode == OutputMode::Wide;
    summary(status, screen)?;
    for listener in status.listeners.iter().filter(|_| wide) {
        fact(screen, "listener", &format!("{} on {}", listener.name, listener.address))?;
    }
    hooks(status, wide, screen)?;
    workloads(status, wide, screen)?;
    kernel(status, wide, screen)
}

fn summary(status: &Status, screen: &mut Screen<'_>) -> anyhow::Result<()> {
    let ready = if status.ready {
        screen.paint(Style::Good, "ready").into_owned()
    } else {
        screen.paint(Style::Bad, &format!("not ready: {}", status.not_ready_because.join("; "))).into_owned()
    };
    let uptime = duration(status.uptime_seconds);
    screen.line(format_args!("agent {} (pid {}), up {uptime}, {ready}", status.version, status.pid))?;
    let source = &status.source;
    let loaded = source.loaded_at.as_deref().unwrap_or("never");
    fact(
        screen,
        "source",
        &format!("{} {}, version {} of {loaded}", source.kind, source.origin, status.snapshot_version),
    )?;
    if let Some(error) = &source.last_error {
        // A refused file has a line for each of its faults.
        for line in error.lines() {
            fact(screen, "refused", &screen.paint(Style::Bad, &clean(line)))?;
        }
    }
    for warning in &source.warnings {
        fact(screen, "warning", &screen.paint(Style::Warn, &clean(warning)))?;
    }
    for watch in &source.watches {
        fact(screen, "watch", &watch_line(watch, screen))?;
    }
    fact(screen, "holds", &format!("{} spaces, {} services", status.spaces, status.services))?;
    let captured = &status.captured;
    let mut destinations = format!("{} destinations", captured.destinations);
    for (count, words) in [(captured.outside_roots, "not from root spaces"), (captured.only_copies, "more not at all")]
    {
        if count > 0 {
            destinations.push_str(&format!(", {count} {words} (only copy)"));
        }
    }
    let what = format!("{}: {destinations}; {} inbound ports", captured.services, captured.inbound_ports);
    fact(screen, "captures", &what)?;
    if captured.left_out > 0 {
        let text =
            format!("{} addresses: the kernel has no room for them, or refused them; see the log", captured.left_out);
        fact(screen, "left out", &screen.paint(Style::Warn, &text))?;
    }
    let why = if captured.established_detail.is_empty() { "" } else { ": " };
    let established = clean(&captured.established_detail);
    fact(screen, "earlier", &format!("established connections are {}{why}{established}", captured.established))?;
    let counts = status.workloads;
    let (captured, pending, failed) = (counts.captured, counts.pending, counts.failed);
    fact(screen, "workloads", &format!("{captured} captured, {pending} pending, {failed} failed"))?;
    let heartbeat = status.heartbeat_age_ms.map_or_else(|| "none yet".to_owned(), |age| format!("{age} ms ago"));
    fact(screen, "threads", &format!("{} workers; last heartbeat {heartbeat}", status.workers))?;
    privileges(status, screen)?;
    let lapses = &status.heartbeat_lapses;
    if let Some(ended) = &lapses.last_ended {
        let text = format!("{} times new connections passed, the last time for {} ms", lapses.count, lapses.last_ms);
        fact(screen, "hung", &screen.paint(Style::Warn, &format!("{text} until {ended}")))?;
    }
    let splice = &status.splice;
    let (handed, left) = (splice.events.handed, splice.events.left);
    let kernel =
        if splice.backend == "kernel" { format!(": {handed} handed over, {left} left") } else { String::new() };
    fact(screen, "opaque", &format!("{} ({}){kernel}", splice.backend, splice.why))?;
    let ConnectionsStatus { open, limit, why, refused, buffered_bytes } = &status.connections;
    if *limit > 0 {
        let held = buffered_bytes >> 20;
        let text = format!("{open} of {limit} connections ({why}), {refused} refused; at most {held} MiB held");
        let style = if *refused > 0 { Style::Warn } else { Style::Plain };
        fact(screen, "room", &screen.paint(style, &text))?;
    }
    let flows = &status.flows;
    let (kept, capacity) = (flows.kept, flows.capacity);
    fact(screen, "flows", &format!("{kept} of {capacity} kept, {} published, {} lost", flows.published, flows.lost))?;
    dns(status, screen)?;
    let passed = status.passed;
    fact(screen, "passed", &format!("{} outbound, {} inbound connections left alone", passed.outbound, passed.inbound))
}

/// What each thread may do; a process that has not confined itself stands out.
fn privileges(status: &Status, screen: &mut Screen<'_>) -> anyhow::Result<()> {
    for (names, one) in status.privileges.groups() {
        let capabilities = if one.capabilities.is_empty() { "nothing".to_owned() } else { one.capabilities.join(", ") };
        let text = format!("{}: {capabilities}; {} filters of system calls", names.join(", "), one.filters);
        let style = if one.filters > 0 && status.privileges.no_new_privileges { Style::Plain } else { Style::Warn };
        fact(screen, "may", &screen.paint(style, &clean(&text)))?;
    }
    Ok(())
}

fn watch_line(watch: &WatchStatus, screen: &Screen<'_>) -> String {
    let WatchStatus { resource, state, since, objects, error } = watch;
    let line = format!("{resource}: {state} since {since}, {objects} known");
    match error {
        Some(error) => screen.paint(Style::Bad, &format!("{line}: {}", clean(error))).into_owned(),
        None => line,
    }
}

fn dns(status: &Status, screen: &mut Screen<'_>) -> anyhow::Result<()> {
    let DnsStatus { captured, answered, forwarded } = &status.dns;
    let text = match &captured.off_because {
        Some(why) => format!("off: {}", clean(why)),
        None => {
            format!("{} workloads of derived spaces; {answered} answered, {forwarded} forwarded", captured.workloads)
        }
    };
    fact(screen, "dns", &text)?;
    for left_out in &captured.not_captured {
        let text = format!("{} is left out: {}", clean(&left_out.workload), clean(&left_out.why));
        fact(screen, "", &screen.paint(Style::Warn, &text))?;
    }
    Ok(())
}

fn hooks(status: &Status, wide: bool, screen: &mut Screen<'_>) -> anyhow::Result<()> {
    let mut table = Table::new(&["HOOK", "STATE", "DETAIL"]);
    for hook in &status.hooks {
        let style = match hook.state {
            HookState::Attached => Style::Good,
            HookState::Unavailable | HookState::Detached => Style::Warn,
        };
        let shown = wide || hook.state != HookState::Attached;
        let detail = if shown { hook.detail.as_str() } else { "" };
        table.push(row![&hook.name, Cell::styled(hook.state.to_string(), style), detail]);
    }
    screen.line("")?;
    table.print("no hooks", screen)
}

/// Only those in trouble, unless more is wanted: `interceptor workloads` lists them all.
fn workloads(status: &Status, wide: bool, screen: &mut Screen<'_>) -> anyhow::Result<()> {
    let shown = status.workload_states.iter().filter(|w| wide || w.state != WorkloadState::Captured);
    let mut table = Table::new(&["WORKLOAD", "STATE", "DETAIL"]);
    for workload in shown.clone() {
        let style = match workload.state {
            WorkloadState::Captured => Style::Good,
            WorkloadState::Pending => Style::Warn,
            WorkloadState::Failed => Style::Bad,
        };
        table.push(row![&workload.name, Cell::styled(workload.state.to_string(), style), &workload.detail]);
    }
    if shown.count() > 0 {
        screen.line("")?;
        table.print("", screen)?;
    }
    Ok(())
}

fn kernel(status: &Status, wide: bool, screen: &mut Screen<'_>) -> anyhow::Result<()> {
    let mut table = Table::new(&["DIRECTION", "HOOKS SAW", "CONNECTIONS"]);
    let shown = status.kernel.iter().filter(|count| wide || count.connections > 0);
    for count in shown.clone() {
        table.push(row![&count.direction, &count.reason, count.connections.to_string()]);
    }
    if shown.count() > 0 {
        screen.line("")?;
        table.print("", screen)?;
    }
    Ok(())
}

/// A named fact. The text may hold colours; whatever came from elsewhere was cleaned before.
fn fact(screen: &mut Screen<'_>, name: &str, text: &str) -> anyhow::Result<()> {
    screen.line(format_args!("  {name:<10}{text}"))
}

fn duration(seconds: u64) -> String {
    humantime::format_duration(std::time::Duration::from_secs(seconds)).to_string()
}
