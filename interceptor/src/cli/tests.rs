//! The command line: what it accepts, what it prints (goldens), and how it meets an agent that is or is not there.

mod agent;
mod golden;

use clap::{CommandFactory as _, Parser as _};

use super::args::Cli;
use super::*;

fn parse(args: &[&str]) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(std::iter::once(&"interceptor").chain(args))
}

#[test]
fn the_tree_of_commands_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn every_command_has_examples() {
    fn look(command: &clap::Command, path: &str) {
        let path = format!("{path} {}", command.get_name());
        if command.get_subcommands().next().is_none() || path == " interceptor" {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("EXAMPLES:"), "{path}");
        }
        command.get_subcommands().for_each(|command| look(command, &path));
    }
    look(&Cli::command(), "");
}

#[test]
fn every_example_is_accepted() {
    fn examples(command: &clap::Command, all: &mut Vec<String>) {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let lines = help.lines().map(str::trim).filter(|line| line.starts_with("interceptor "));
        all.extend(lines.map(str::to_owned));
        command.get_subcommands().for_each(|command| examples(command, all));
    }
    let mut all = Vec::new();
    examples(&Cli::command(), &mut all);
    assert!(all.len() > 20, "{all:?}");
    for example in all {
        // Words as a shell takes them; what follows two spaces is a remark, what follows > a file.
        let call = example.split("  ").next().unwrap().split(" > ").next().unwrap();
        let quoted = call.split('\'').enumerate();
        let words = quoted.flat_map(|(index, part)| match index % 2 {
            0 => part.split_whitespace().map(str::to_owned).collect(),
            _ => vec![part.to_owned()],
        });
        Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{example}: {error}"));
    }
}

#[test]
fn wrong_calls_are_usage_errors() {
    for args in [
        &["flow"] as &[_],
        &[],
        &["run"],
        &["run", "--config", "x", "--log", "inof"],
        &["flows", "--status", "abc"],
        &["flows", "--verdict", "good"],
        &["flows", "--last", "-1"],
        &["explain", "--workload", "w", "--url", "x", "--header", "no colon"],
        &["routes"],
        &["status", "-o", "yaml"],
        &["completions", "tcl"],
    ] {
        assert_eq!(parse(args).unwrap_err().exit_code(), 2, "{args:?}");
    }
    for args in [&["--help"] as &[_], &["flows", "--help"], &["--version"], &["help", "explain"]] {
        assert_eq!(parse(args).unwrap_err().exit_code(), 0, "{args:?}");
    }
}

#[test]
fn every_cause_of_an_error_is_told_once() {
    let cause = || io::Error::other("no such thing");
    assert_eq!(told(&anyhow::Error::new(cause()).context("reading x")), "reading x: no such thing");
    assert_eq!(told(&anyhow::Error::new(cause()).context("x: no such thing; do y")), "x: no such thing; do y");
}

#[test]
fn options_of_all_commands_may_stand_anywhere() {
    let cli = parse(&["flows", "-o", "json", "--admin-socket", "/x", "-f"]).unwrap();
    assert_eq!(cli.admin_socket.as_deref(), Some(Path::new("/x")));
    assert_eq!(cli.output, args::OutputMode::Json);
}

#[test]
fn docs_cli_md_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/cli.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, reference_markdown()).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    let command = "UPDATE_DOCS=1 cargo test -p interceptor cli::tests::docs";
    assert!(written == reference_markdown(), "docs/cli.md is out of date; run: {command}");
}

#[test]
fn every_shell_has_completions() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let mut out = Vec::new();
        let Command::Completions { shell } = parse(&["completions", shell]).unwrap().command else { panic!() };
        completions::print(shell, &mut Screen::new(&mut out, false)).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("workloads") && text.contains("admin-socket"), "{shell}");
    }
}
