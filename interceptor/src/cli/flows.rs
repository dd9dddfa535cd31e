//! `interceptor flows`: prints records as the agent sends them, one line each; with `-f` until Ctrl-C.

mod row;

use tokio::signal;

use super::Ended;
use super::args::{FlowsArgs, OutputMode};
use super::client::{Client, ClientError, Lines, runtime};
use super::output::{Screen, Style};
use super::table::Columns;
use crate::flow::{Filter, FlowLine, LostLine};
use crate::query;

/// Records that are shown where nobody says how many.
const DEFAULT_LAST: usize = 100;

pub(super) fn show(
    client: &Client,
    args: FlowsArgs,
    mode: OutputMode,
    screen: &mut Screen<'_>,
) -> anyhow::Result<Ended> {
    let mut query = Filter::from(args.filter).to_query();
    let last = args.last.unwrap_or(if args.follow { 0 } else { DEFAULT_LAST });
    query::push(&mut query, "last", &last.to_string());
    if args.follow {
        query::push(&mut query, "follow", "true");
    }
    runtime()?.block_on(async {
        let lines = client.get(&format!("/v1/flows?{query}")).await?;
        let mut printer = Printer::new(mode);
        if args.follow {
            return follow(lines, &mut printer, screen).await;
        }
        print_all(lines, &mut printer, screen).await?;
        if printer.printed == 0 && mode != OutputMode::Json {
            screen.line("no flows match")?;
        }
        Ok(Ended::Well)
    })
}

async fn print_all(mut lines: Lines, printer: &mut Printer, screen: &mut Screen<'_>) -> anyhow::Result<()> {
    while let Some(line) = lines.next().await? {
        printer.print(&line, screen)?;
    }
    Ok(())
}

async fn follow(mut lines: Lines, printer: &mut Printer, screen: &mut Screen<'_>) -> anyhow::Result<Ended> {
    let mut interrupt = signal::unix::signal(signal::unix::SignalKind::interrupt())?;
    printer.begin(screen)?;
    loop {
        // All that is here is printed before it is shown: a write for each piece, not for each line.
        while let Some(line) = lines.buffered() {
            printer.print(&line, screen)?;
        }
        screen.flush()?;
        let next = tokio::select! {
            _ = interrupt.recv() => return Ok(Ended::Well),
            next = lines.next() => next?,
        };
        match next {
            Some(line) => printer.print(&line, screen)?,
            None => anyhow::bail!("the agent has ended"),
        }
    }
}

/// Prints lines in one form.
pub(super) struct Printer {
    mode: OutputMode,
    columns: Columns,
    begun: bool,
    printed: u64,
}

impl Printer {
    pub(super) fn new(mode: OutputMode) -> Self {
        Self { mode, columns: row::columns(mode == OutputMode::Wide), begun: false, printed: 0 }
    }

    /// Prints the titles, once.
    fn begin(&mut self, screen: &mut Screen<'_>) -> anyhow::Result<()> {
        if !std::mem::replace(&mut self.begun, true) && self.mode != OutputMode::Json {
            self.columns.print_titles(screen)?;
        }
        Ok(())
    }

    /// Prints one line of the agent.
    pub(super) fn print(&mut self, line: &str, screen: &mut Screen<'_>) -> anyhow::Result<()> {
        self.printed += 1;
        if self.mode == OutputMode::Json {
            return screen.json(line);
        }
        self.begin(screen)?;
        if let Ok(lost) = serde_json::from_str::<LostLine>(line) {
            let text = format!("… records lost: {}; they came faster than they were read", lost.count);
            return screen.line(screen.paint(Style::Warn, &text).into_owned());
        }
        let flow: FlowLine = serde_json::from_str(line).map_err(ClientError::NotUnderstood)?;
        self.columns.print_row(&row::cells(&flow, self.mode == OutputMode::Wide), screen)
    }
}
