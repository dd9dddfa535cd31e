//! Keeps Debian from starting the services it installs (nginx, redis): on someone's own machine that would be rude,
//! and the demo wants their ports. `apt` holds it while it installs. A policy that is there already is left alone.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process;

use anyhow::{Context, Result};

use crate::process::say;

const POLICY: &str = "/usr/sbin/policy-rc.d";
const MARK: &str = "# written by cargo xtask";

/// While it lives, installed services stay stopped.
pub(crate) struct NoServices {
    ours: Option<PathBuf>,
}

impl NoServices {
    /// Puts the policy in place unless the machine has one of its own.
    pub(crate) fn begin() -> Result<Self> {
        Self::at(Path::new(POLICY))
    }

    fn at(path: &Path) -> Result<Self> {
        // What a killed run left behind speaks for a process that is gone.
        if fs::read_to_string(path).is_ok_and(|text| text.contains(MARK)) {
            fs::remove_file(path).with_context(|| format!("cannot replace {}", path.display()))?;
        }
        match OpenOptions::new().write(true).create_new(true).mode(0o755).open(path) {
            Ok(mut file) => {
                file.write_all(script(process::id()).as_bytes())?;
                Ok(Self { ours: Some(path.to_path_buf()) })
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(Self { ours: None }),
            Err(error) => Err(error).with_context(|| format!("cannot write {}", path.display())),
        }
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if let Some(path) = &self.ours
            && let Err(error) = fs::remove_file(path)
        {
            say(format_args!("remove {} by hand: {error}", path.display()));
        }
    }
}

/// Drop does not run when xtask is killed, so the policy ends by itself with the process that wrote it.
fn script(pid: u32) -> String {
    format!(
        "#!/bin/sh\n{MARK}: no service starts while process {pid} installs packages\n[ ! -d /proc/{pid} ] || exit 101\n"
    )
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;
    use std::process::{self, Command};

    use super::{NoServices, script};

    fn scratch(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("xtask-policy-{}", process::id()));
        fs::create_dir_all(&dir).unwrap();
        dir.join(name)
    }

    fn answer(path: &PathBuf) -> Option<i32> {
        Command::new("sh").arg(path).status().unwrap().code()
    }

    #[test]
    fn services_are_refused_only_while_the_policy_is_held() {
        let path = scratch("held");
        let held = NoServices::at(&path).unwrap();
        assert_eq!(answer(&path), Some(101));
        drop(held);
        assert!(!path.exists());
    }

    #[test]
    fn a_policy_of_the_machine_is_left_alone() {
        let path = scratch("foreign");
        fs::write(&path, "#!/bin/sh\nexit 0\n").unwrap();
        drop(NoServices::at(&path).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), "#!/bin/sh\nexit 0\n");
    }

    #[test]
    fn what_a_killed_run_left_refuses_nothing_and_is_replaced() {
        let path = scratch("stale");
        // No process has this number: it is above the kernel's limit.
        fs::write(&path, script(4_194_305)).unwrap();
        assert_eq!(answer(&path), Some(0));
        drop(NoServices::at(&path).unwrap());
        assert!(!path.exists());
    }
}
