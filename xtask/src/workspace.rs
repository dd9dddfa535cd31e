//! Where the workspace and its target directory are. Every command gets it; it runs nothing by itself.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

/// The checkout this xtask was built in.
pub(crate) struct Workspace {
    root: PathBuf,
    target: PathBuf,
}

impl Workspace {
    /// From this program's own place: cargo tags its target directory, wherever it was told to put it. The agent's
    /// build script looks for it the same way, so both find the same tools.
    pub(crate) fn locate() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask is not in its workspace")?;
        let program = env::current_exe().context("cannot tell where xtask itself is")?;
        let tagged = program.ancestors().find(|dir| dir.join("CACHEDIR.TAG").is_file());
        let target = tagged.map_or_else(|| root.join("target"), Path::to_path_buf);
        Ok(Self { root: root.to_path_buf(), target })
    }

    /// The top of the source tree.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Cargo's target directory.
    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    /// Where the tools for the BPF target are installed: below target/, so that nothing is left in the user's home.
    pub(crate) fn bpf_tools(&self) -> PathBuf {
        self.target.join("bpf-tools")
    }

    /// The package of the fuzz targets and their committed corpora.
    pub(crate) fn fuzz(&self) -> PathBuf {
        self.root.join("tests/fuzz")
    }

    /// A program of the release profile.
    pub(crate) fn release(&self, program: &str) -> PathBuf {
        self.target.join("release").join(program)
    }

    /// A program of the profile for development.
    pub(crate) fn debug(&self, program: &str) -> PathBuf {
        self.target.join("debug").join(program)
    }

    /// The cargo that runs this xtask, for this workspace and this target directory.
    pub(crate) fn cargo(&self, args: &[&str]) -> Command {
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(args).current_dir(&self.root).env("CARGO_TARGET_DIR", &self.target);
        cargo
    }
}
