//! The command line: `interceptor run` starts the agent, everything else asks one (or looks at this machine) and prints.
//!
//! Called by `main` only. Commands read the admin API's own types and print them as tables or pass them on as JSON; they
//! must not decide anything that the agent decides.

mod args;
mod check;
mod client;
mod completions;
mod config;
mod explain;
mod flows;
mod ingress_manager;
mod inspect;
mod output;
mod reference;
mod run;
mod spaces;
mod status;
mod table;

use std::ffi::OsString;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;

pub use reference::reference_markdown;

use crate::config::defaults::ADMIN_SOCKET;
use args::{Cli, ColorChoice, Command, ConfigCommand};
use client::Client;
use output::{OutputClosed, Screen};

/// What the process's environment says.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// `INTERCEPTOR_ADMIN_SOCKET`: where the agent's admin socket is, unless `--admin-socket` says.
    pub admin_socket: Option<PathBuf>,
    /// `KUBECONFIG`: kubeconfig files, separated by colons, unless `--kubeconfig` says.
    pub kubeconfig: Vec<PathBuf>,
    /// `NODE_NAME`: this node's name in the cluster, unless `--node-name` says.
    pub node_name: Option<String>,
    /// Whether `NO_COLOR` is set.
    pub no_color: bool,
}

/// How a command ended, other than by an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// All is well.
    Well,
    /// It did its work, and what it found is not well.
    Badly,
}

/// Runs one command: 0 when all is well, 1 when it failed or found something bad, 2 when it was called wrongly.
pub fn main(args: impl IntoIterator<Item = OsString>, environment: &Environment) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Help goes to stdout with 0, usage errors to stderr with 2. Nobody is left to tell if that cannot be written.
            drop(error.print());
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let stdout = io::stdout();
    let color = match cli.color {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => !environment.no_color && stdout.is_terminal(),
    };
    let mut out = io::BufWriter::new(stdout.lock());
    let ended = dispatch(cli, environment, &mut Screen::new(&mut out, color));
    let ended = ended.and_then(|ended| out.flush().context("writing the output").map(|()| ended));
    match ended {
        Ok(Ended::Well) => ExitCode::SUCCESS,
        Ok(Ended::Badly) => ExitCode::FAILURE,
        // `interceptor flows | head`: the reader has what it wanted.
        Err(error) if is_closed(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // It may quote what came from elsewhere. A refused file has a line for each of its faults.
            let text = told(&error).lines().map(|line| output::clean(line).into_owned()).collect::<Vec<_>>().join("\n");
            drop(writeln!(io::stderr(), "interceptor: {text}"));
            ExitCode::FAILURE
        }
    }
}

/// An error with its causes, each once: some say their cause themselves, so that what to do about it can come last.
fn told(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |text, cause| match text.as_str() {
        "" => cause,
        told if told.contains(&cause) => text,
        told => format!("{told}: {cause}"),
    })
}

fn is_closed(error: &anyhow::Error) -> bool {
    error.is::<OutputClosed>()
        || error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

fn dispatch(cli: Cli, environment: &Environment, screen: &mut Screen<'_>) -> anyhow::Result<Ended> {
    let mode = cli.output;
    let given = cli.admin_socket;
    let socket = given.clone().or_else(|| environment.admin_socket.clone());
    let client = Client::new(socket.as_deref().unwrap_or_else(|| Path::new(ADMIN_SOCKET)));
    match cli.command {
        Command::Run(args) => run::run(args, given, environment).map(|()| Ended::Well),
        Command::Check(args) => check::check(&args, mode, screen),
        Command::Status => status::show(&client, mode, screen),
        Command::Spaces => spaces::show(&client, mode, screen),
        Command::Services => inspect::services(&client, mode, screen),
        Command::Workloads => inspect::workloads(&client, mode, screen),
        Command::Routes(args) => inspect::routes(&client, &args.workload, mode, screen),
        Command::Flows(args) => flows::show(&client, args, mode, screen),
        Command::Explain(args) => explain::show(&client, args, mode, screen),
        Command::IngressManager(args) => ingress_manager::run(args, &environment.kubeconfig, mode, screen),
        Command::Config(ConfigCommand::Check { file }) => config::check(&file, mode, screen),
        Command::Config(ConfigCommand::Example) => config::example(screen),
        Command::Completions { shell } => completions::print(shell, screen),
    }
}

#[cfg(test)]
mod tests;
