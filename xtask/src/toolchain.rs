//! What a Rust compiler says of itself: release, LLVM, sources. `setup` and `lint` choose by it.
//! It asks compilers and never changes a toolchain.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// One installed compiler.
pub(crate) struct Rustc {
    /// Major version of the LLVM it makes bitcode with; the BPF linker must be able to read that.
    pub(crate) llvm: u32,
    /// The machine it runs on and compiles for.
    pub(crate) host: String,
    /// Minor version of the release: 95 of 1.95.0.
    minor: u32,
    sysroot: PathBuf,
}

impl Rustc {
    /// The compiler cargo uses here.
    pub(crate) fn current() -> Result<Self> {
        Self::at(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
    }

    /// The compiler at `program`.
    pub(crate) fn at(program: impl AsRef<OsStr>) -> Result<Self> {
        let program = program.as_ref();
        let version = ask(program, &["-vV"])?;
        let sysroot = ask(program, &["--print", "sysroot"])?;
        let host = version.lines().find_map(|line| line.strip_prefix("host: ")).map(str::to_owned);
        Ok(Self {
            host: host.with_context(|| format!("no `host: ` in:\n{version}"))?,
            llvm: number(&version, "LLVM version: ", 0)?,
            minor: number(&version, "release: ", 1)?,
            sysroot: PathBuf::from(sysroot.trim()),
        })
    }

    /// Whether it can build `core` for the BPF target: it is new enough for this workspace and its sources are there.
    pub(crate) fn builds_core(&self) -> bool {
        let wanted = env!("CARGO_PKG_RUST_VERSION").split('.').nth(1).and_then(|minor| minor.parse().ok());
        wanted <= Some(self.minor) && self.has_core_sources()
    }

    fn has_core_sources(&self) -> bool {
        self.sysroot.join("lib/rustlib/src/rust/library/core").is_dir()
    }
}

fn ask(program: &OsStr, args: &[&str]) -> Result<String> {
    let shown = Path::new(program).display();
    let output = Command::new(program).args(args).output().with_context(|| format!("cannot run {shown}"))?;
    ensure!(output.status.success(), "{shown} {} failed", args.join(" "));
    String::from_utf8(output.stdout).with_context(|| format!("{shown} did not answer in text"))
}

/// The `index`-th dotted number of the line that begins with `key`.
fn number(version: &str, key: &str, index: usize) -> Result<u32> {
    let line = version.lines().find_map(|line| line.strip_prefix(key));
    let digits = line.and_then(|line| line.split('.').nth(index));
    digits.and_then(|digits| digits.trim().parse().ok()).with_context(|| format!("no `{key}` in:\n{version}"))
}

#[cfg(test)]
mod tests {
    use super::number;

    const RUSTUP: &str = "rustc 1.95.0 (59807616e 2026-04-14)\nbinary: rustc\nhost: x86_64-unknown-linux-gnu\n\
                          release: 1.95.0\nLLVM version: 22.1.2\n";
    const NIGHTLY: &str = "rustc 1.97.0-nightly (abc 2026-05-01)\nrelease: 1.97.0-nightly\nLLVM version: 22.1\n";

    #[test]
    fn the_release_and_llvm_of_a_stable_compiler_are_read() {
        assert_eq!(number(RUSTUP, "LLVM version: ", 0).unwrap(), 22);
        assert_eq!(number(RUSTUP, "release: ", 1).unwrap(), 95);
    }

    #[test]
    fn a_nightly_and_a_short_llvm_version_are_read_too() {
        assert_eq!(number(NIGHTLY, "LLVM version: ", 0).unwrap(), 22);
        assert_eq!(number(NIGHTLY, "release: ", 1).unwrap(), 97);
    }

    #[test]
    fn a_compiler_without_llvm_is_an_error_that_shows_its_answer() {
        let error = number("rustc 1.95.0\nrelease: 1.95.0\n", "LLVM version: ", 0).unwrap_err();
        assert!(error.to_string().contains("rustc 1.95.0"));
    }
}
