//! `cargo xtask fuzz`: builds the targets of tests/fuzz with coverage and address sanitizer, runs each for a while and says
//! how much was tried. What is found is kept below target/; the corpora that are committed are only read.
//!
//! The compiler's flags are those of cargo-fuzz, which is not needed: it would be one more thing to install.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::process::{say, shown};
use crate::toolchain::Rustc;
use crate::workspace::Workspace;

/// Run the fuzz targets, all of them unless some are named
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cargo xtask fuzz                          every target for a minute
  cargo xtask fuzz --seconds 3600 chunked   one target for an hour
  cargo xtask fuzz --list                   the targets

A find is written below target/fuzz/artifacts; the command that repeats it is told. New inputs that
reach new code are kept below target/fuzz/corpus and used by the next run.")]
pub(crate) struct Args {
    /// How long each target runs
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// Only say which targets there are
    #[arg(long)]
    list: bool,
    /// The targets to run
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
}

/// What cargo-fuzz gives the compiler: edge counters, the values of comparisons, and checks that release builds lack.
const FLAGS: [&str; 9] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Cllvm-args=-simplifycfg-branch-fold-threshold=0",
    "-Cdebug-assertions",
    "-Coverflow-checks",
    "-Zsanitizer=address",
];

/// Inputs that take longer are reported, seconds: no input of a few KiB may.
const TIMEOUT: u32 = 10;

/// Runs the command.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    let all = targets(&fs::read_to_string(workspace.fuzz().join("Cargo.toml")).context("reading tests/fuzz")?);
    if args.list {
        all.iter().for_each(say);
        return Ok(());
    }
    if let Some(unknown) = args.targets.iter().find(|name| !all.contains(name)) {
        bail!("no fuzz target {unknown}; there are {}", all.join(", "));
    }
    let chosen = if args.targets.is_empty() { all } else { args.targets.clone() };
    let programs = build(workspace, &chosen)?;
    let (mut total, mut failed) = (0, Vec::new());
    for target in &chosen {
        match one(workspace, args.seconds, target, &programs.join(target)) {
            Ok(count) => {
                total += count;
                say(format_args!("{target:<14} ok {count:>12} executions"));
            }
            Err(error) => {
                say(format_args!("{target:<14} FAILED: {error:#}"));
                failed.push(target.as_str());
            }
        }
    }
    say(format_args!("{total} executions in all"));
    ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
    Ok(())
}

/// Builds the targets and says where they are. For a named target triple: build scripts stay as they are then.
fn build(workspace: &Workspace, targets: &[String]) -> Result<PathBuf> {
    let triple = Rustc::current()?.host;
    let dir = workspace.target().join("fuzz");
    let mut cargo = workspace.cargo(&["build", "--package", "interceptor-fuzz", "--features", "libfuzzer"]);
    cargo.args(["--release", "--target", &triple, "--config", "profile.release.lto=false", "--target-dir"]).arg(&dir);
    cargo.args(targets.iter().flat_map(|target| ["--bin", target]));
    // The sanitizer is behind a gate that a stable compiler opens only so; the targets load no eBPF.
    cargo.env("RUSTC_BOOTSTRAP", "1").env("RUSTFLAGS", FLAGS.join(" ")).env("INTERCEPTOR_EBPF", "skip");
    shown("building the fuzz targets", &mut cargo)?;
    Ok(dir.join(triple).join("release"))
}

/// Runs one target; the number of inputs that were tried.
fn one(workspace: &Workspace, seconds: u32, target: &str, program: &Path) -> Result<u64> {
    let dir = workspace.target().join("fuzz");
    let (found, artifacts) = (dir.join("corpus").join(target), dir.join("artifacts").join(target));
    for made in [&found, &artifacts] {
        fs::create_dir_all(made).with_context(|| format!("cannot make {}", made.display()))?;
    }
    let log = dir.join(format!("{target}.log"));
    let output = fs::File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
    let mut command = Command::new(program);
    command.arg(format!("-max_total_time={seconds}")).arg(format!("-timeout={TIMEOUT}"));
    command.args(["-print_final_stats=1", "-rss_limit_mb=2048", "-use_value_profile=1"]);
    command.arg(format!("-artifact_prefix={}/", artifacts.display()));
    // New inputs go to the first; the committed ones are read.
    command.arg(&found).arg(workspace.fuzz().join("corpus").join(target)).stdout(output.try_clone()?).stderr(output);
    say(format_args!("{target}: {seconds} s"));
    let status = command.status().with_context(|| format!("cannot run {}", program.display()))?;
    let text = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
    if !status.success() {
        let input = artifact(&text).unwrap_or("an input that the log names");
        bail!("{input}\n  repeat it with: {} {input}\n  the whole log: {}", program.display(), log.display());
    }
    executions(&text).with_context(|| format!("{} does not say how much was tried", log.display()))
}

/// The names of the binaries in the package's manifest.
fn targets(manifest: &str) -> Vec<String> {
    let bins = manifest.split("[[bin]]").skip(1);
    bins.filter_map(|bin| Some(bin.split_once("name = \"")?.1.split_once('"')?.0.to_owned())).collect()
}

fn executions(log: &str) -> Option<u64> {
    let line = log.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
    line?.trim().parse().ok()
}

fn artifact(log: &str) -> Option<&str> {
    log.lines().find_map(|line| line.split_once("Test unit written to ")).map(|(_, path)| path.trim())
}

#[cfg(test)]
mod tests {
    use super::{artifact, executions, targets};

    #[test]
    fn the_targets_are_those_of_the_manifest() {
        let all = targets(include_str!("../../tests/fuzz/Cargo.toml"));
        assert!(all.len() >= 7 && all.iter().any(|name| name == "connection"), "{all:?}");
    }

    #[test]
    fn what_libfuzzer_says_is_understood() {
        let log = "x\n==1== ERROR: libFuzzer: deadly signal\nartifact_prefix='a/'; Test unit written to a/crash-1\n";
        assert_eq!(artifact(log), Some("a/crash-1"));
        assert_eq!(executions("Done\nstat::number_of_executed_units: 123\nstat::x: 1\n"), Some(123));
        assert_eq!((artifact("Done"), executions("Done")), (None, None));
    }
}
