//! `cargo xtask`: the project's tasks, so that a clean machine needs nothing but cargo to build, try and test it.
//!
//! One file per command; what they share is `workspace` (where things are), `process` (running programs and telling
//! about it) and `toolchain` (what the compiler says of itself). Everything told here goes to stderr: stdout belongs
//! to the program that was asked for, so that `cargo xtask demo --json` can be piped.
#![expect(clippy::print_stderr, reason = "telling what is being done is this program's job")]

mod bench;
mod build;
mod demo;
mod fuzz;
mod image;
mod lint;
mod process;
mod promises;
mod setup;
mod soak;
mod tally;
mod test;
mod toolchain;
mod vm;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::workspace::Workspace;

/// Tasks of this project.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    Setup(setup::Args),
    Build(build::Args),
    Demo(demo::Args),
    Test(test::Args),
    Lint(lint::Args),
    Fuzz(fuzz::Args),
    Image(image::Args),
    Bench(bench::Args),
    Soak(soak::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = Workspace::locate().and_then(|workspace| match cli.task {
        Task::Setup(args) => setup::run(&workspace, &args),
        Task::Build(args) => build::run(&workspace, &args),
        Task::Demo(args) => demo::run(&workspace, &args),
        Task::Test(args) => test::run(&workspace, &args),
        Task::Lint(args) => lint::run(&workspace, &args),
        Task::Fuzz(args) => fuzz::run(&workspace, &args),
        Task::Image(args) => image::run(&workspace, &args),
        Task::Bench(args) => bench::run(&workspace, &args),
        Task::Soak(args) => soak::run(&workspace, &args),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Cli;

    #[test]
    fn every_command_has_help_and_examples() {
        let command = Cli::command();
        command.clone().debug_assert();
        for task in command.get_subcommands() {
            assert!(task.get_about().is_some(), "{} has no help", task.get_name());
            let after = task.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(after.starts_with("Examples:"), "{} has no examples", task.get_name());
        }
    }
}
