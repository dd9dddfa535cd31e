//! Where the programs are that the laboratory starts: `pod` (ours) and `interceptor` (the one under test).
//!
//! An environment variable wins (`cargo xtask` sets it); otherwise the directory of the running executable and the one
//! above it are searched, as cargo places tests in `target/<profile>/deps` and programs in `target/<profile>`. Nothing
//! is built here and nothing on PATH is taken: a stale program would be tested without anyone noticing.

use std::env;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

/// The `pod` program: pause processes, guardians and the applications of pods.
pub fn pod() -> Result<PathBuf> {
    find("pod", "INTERCEPTOR_POD_BIN", "cargo build -p interceptor-tests --bins")
}

/// The agent (and CLI) under test.
pub fn interceptor() -> Result<PathBuf> {
    find("interceptor", "INTERCEPTOR_BIN", "cargo xtask test (or cargo xtask demo)")
}

fn find(name: &str, variable: &str, how: &str) -> Result<PathBuf> {
    if let Some(path) = env::var_os(variable) {
        let path = PathBuf::from(path);
        if !path.is_file() {
            bail!("{variable} names {}, which is not a file", path.display());
        }
        return path.canonicalize().with_context(|| format!("resolving {}", path.display()));
    }
    let running = env::current_exe().context("finding the path of the running executable")?;
    let found = running.ancestors().skip(1).take(2).map(|dir| dir.join(name)).find(|path| path.is_file());
    found.with_context(|| format!("no program `{name}` beside {}: run `{how}`, or set {variable}", running.display()))
}
