//! What the kernel says of programs, maps and links, by bpftool(8): the agent's own libraries are not asked about the agent.
//!
//! Tests and the soak look with it at what an agent holds and what it leaves. It knows nothing of which objects those are.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// What `bpftool -j ARGS` answers; null where it has nothing to say.
///
/// # Errors
/// Where it is not installed, or refuses: an object that is gone, a key that is not there.
pub fn json(args: &[&str]) -> Result<Value> {
    let output = Command::new("bpftool").arg("-j").args(args).output();
    let output = output.context("running bpftool, which `cargo xtask setup` installs")?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "bpftool {args:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    match text.trim() {
        "" => Ok(Value::Null),
        text => serde_json::from_str(text).with_context(|| format!("bpftool {args:?} says {text}")),
    }
}
