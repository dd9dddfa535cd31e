//! docs/cli.md, made of the tree of commands: what a person reads is what the program accepts.

use clap::{Arg, Command, CommandFactory as _};

use super::args::Cli;

const INTRODUCTION: &str = "\
# The command line

<!-- Generated from interceptor/src/cli/args.rs; write it anew with
     UPDATE_DOCS=1 cargo test -p interceptor cli::tests::docs -->

";

/// docs/cli.md.
pub fn reference_markdown() -> String {
    let mut root = Cli::command().disable_help_subcommand(true).term_width(0);
    root.build();
    let mut text = INTRODUCTION.to_owned();
    write_command(&mut text, &root, &[], 2);
    // What ends in blank lines in a terminal needs none here.
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    format!("{}\n", lines.join("\n").trim_end())
}

fn write_command(text: &mut String, command: &Command, parents: &[&str], level: usize) {
    let path = [parents, &[command.get_name()]].concat();
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").trim();
    let mut line = |line: &str| text.extend([line, "\n"]);
    line(&format!("{} `{}`\n", "#".repeat(level), path.join(" ")));
    line(&format!("{about}.\n"));
    line(&format!("```text\n{usage}\n```\n"));
    // Global options are described once, at the root.
    let shown = |arg: &&Arg| !arg.is_hide_set() && !is_builtin(arg) && (parents.is_empty() || !arg.is_global_set());
    let mut args = command.get_arguments().filter(shown).peekable();
    if args.peek().is_some() {
        line("| Argument | Meaning |\n|---|---|");
        args.for_each(|arg| line(&argument(arg)));
        line("");
    }
    if let Some(more) = command.get_after_help() {
        line(&format!("```text\n{more}\n```\n"));
    }
    for subcommand in command.get_subcommands() {
        write_command(text, subcommand, &path, level.saturating_add(1).min(3));
    }
}

fn is_builtin(arg: &Arg) -> bool {
    matches!(arg.get_id().as_str(), "help" | "version")
}

fn argument(arg: &Arg) -> String {
    let value = arg.get_value_names().unwrap_or_default().iter().map(|name| format!("<{name}>")).collect::<Vec<_>>();
    let takes = if arg.get_action().takes_values() { value.join(" ") } else { String::new() };
    let names = match (arg.get_short(), arg.get_long()) {
        (Some(short), Some(long)) => format!("-{short}, --{long} {takes}"),
        (None, Some(long)) => format!("--{long} {takes}"),
        (Some(short), None) => format!("-{short} {takes}"),
        (None, None) => takes,
    };
    let mut meaning = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let possible = arg.get_possible_values();
    let words: Vec<String> = possible.iter().map(|value| format!("`{}`", value.get_name())).collect();
    if arg.get_action().takes_values() && !words.is_empty() {
        meaning.push_str(&format!(": {}", words.join(", ")));
    }
    let defaults: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    if arg.get_action().takes_values() && !defaults.is_empty() {
        meaning.push_str(&format!(" [default: {}]", defaults.join(" ")));
    }
    let required = if arg.is_required_set() { "; required" } else { "" };
    format!("| `{}` | {}{required} |", names.trim().replace('|', "\\|"), meaning.replace('|', "\\|"))
}
