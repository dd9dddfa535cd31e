//! `interceptor completions`: a shell's completion script, made of the tree of commands.

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::Ended;
use super::args::Cli;
use super::output::Screen;

pub(super) fn print(shell: Shell, screen: &mut Screen<'_>) -> anyhow::Result<Ended> {
    // Written to memory first: the generator panics where its output is closed.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "interceptor", &mut script);
    screen.raw(&script)?;
    Ok(Ended::Well)
}
