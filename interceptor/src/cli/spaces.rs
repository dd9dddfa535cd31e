//! `interceptor spaces`: the trees, each space below the one that it derives from; then those that have no place in one.

use super::Ended;
use super::args::OutputMode;
use super::client::Client;
use super::output::{Screen, Style};
use super::table::{Cell, Table, row};
use crate::view::SpaceView;

pub(super) fn show(client: &Client, mode: OutputMode, screen: &mut Screen<'_>) -> anyhow::Result<Ended> {
    let lines = client.lines("/v1/spaces")?;
    if mode == OutputMode::Json {
        lines.iter().try_for_each(|line| screen.json(line))?;
    } else {
        tree(&Client::values(&lines)?).print("there are no spaces", screen)?;
    }
    Ok(Ended::Well)
}

pub(super) fn tree(spaces: &[SpaceView]) -> Table {
    let mut table = Table::new(&["SPACE", "SERVICES", "WORKLOADS", "FAULT"]);
    for space in spaces.iter().filter(|space| space.fault.is_none() && space.parent.is_none()) {
        branch(&mut table, spaces, space, "", "");
    }
    for space in spaces.iter().filter(|space| space.fault.is_some()) {
        push(&mut table, space, "");
    }
    table
}

/// Adds a space and all below it. As deep as the longest chain of the snapshot, so it ends.
fn branch(table: &mut Table, spaces: &[SpaceView], space: &SpaceView, own_lead: &str, lead: &str) {
    push(table, space, own_lead);
    let is_child = |other: &&SpaceView| other.fault.is_none() && other.parent.as_ref() == Some(&space.name);
    let mut children = spaces.iter().filter(is_child).peekable();
    while let Some(child) = children.next() {
        let (own, below) = if children.peek().is_some() { ("├─ ", "│  ") } else { ("└─ ", "   ") };
        branch(table, spaces, child, &format!("{lead}{own}"), &format!("{lead}{below}"));
    }
}

fn push(table: &mut Table, space: &SpaceView, lead: &str) {
    let fault = space.fault.as_deref().unwrap_or_default();
    table.push(row![
        format!("{lead}{}", space.name),
        space.services.to_string(),
        space.workloads.to_string(),
        Cell::styled(fault, Style::Bad),
    ]);
}
