//! `cargo xtask image`: a container image as one archive, made without a container daemon.
//!
//! Builds a static binary, packs it with the few files that it needs, writes an archive that `docker load`,
//! `ctr image import` and `kind load image-archive` take, and tries what it wrote: every digest, and the binary in a root
//! of its own. The same sources and tools give the same bytes.

mod archive;
mod layer;
mod verify;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::process::{say, shown};
use crate::setup::{self, Purpose};
use crate::toolchain::Rustc;
use crate::workspace::Workspace;

/// Make a container image archive, without Docker
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cargo xtask image                                target/image/interceptor.tar
  cargo xtask image --tag registry.example/ic:1    under another name
  cargo xtask image --rootfs /tmp/root             the image's files, for a Dockerfile of your own

Then one of:
  docker load -i target/image/interceptor.tar
  ctr -n k8s.io image import target/image/interceptor.tar
  kind load image-archive target/image/interceptor.tar")]
pub(crate) struct Args {
    /// The image's name
    #[arg(long, value_name = "NAME:TAG", default_value = concat!("interceptor:", env!("CARGO_PKG_VERSION")))]
    tag: String,
    /// Where the archive is written [default: target/image/interceptor.tar]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write the image's files to this directory, too
    #[arg(long, value_name = "DIR")]
    rootfs: Option<PathBuf>,
}

/// The promise: what a node has to fetch.
const MAX_BYTES: u64 = 25 << 20;

/// Runs the command.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    setup::ready(workspace, Purpose::Build)?;
    let rustc = Rustc::current()?;
    let binary = build(workspace, &rustc)?;
    let program = fs::read(&binary).with_context(|| format!("cannot read {}", binary.display()))?;
    let files = layer::files(&program);
    if let Some(rootfs) = &args.rootfs {
        layer::write(&files, rootfs)?;
    }
    let packed = archive::pack(&args.tag, archive::architecture(&rustc.host)?, &layer::tar(&files)?)?;
    let output = args.output.clone().unwrap_or_else(|| workspace.target().join("image/interceptor.tar"));
    let directory = output.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    fs::write(&output, &packed).with_context(|| format!("cannot write {}", output.display()))?;
    let root = verify::unpack(&packed, &workspace.target().join("image/rootfs"))?;
    let version = verify::run(&root)?;
    let size = fs::metadata(&output)?.len();
    say(format_args!(
        "{}: {} ({size} bytes, {} of it the program before compression); every digest is right, {version} runs in it",
        output.display(),
        args.tag,
        program.len()
    ));
    ensure!(size <= MAX_BYTES, "the archive is larger than {} MiB", MAX_BYTES >> 20);
    Ok(())
}

/// Builds the static binary. For a named target, so that build scripts and macros stay as they are. It is linked against
/// glibc's archive: names are resolved by its own `files` and `dns`, nothing is loaded at run time.
fn build(workspace: &Workspace, rustc: &Rustc) -> Result<PathBuf> {
    let triple = &rustc.host;
    let mut cargo = workspace.cargo(&["build", "--package", "interceptor", "--bin", "interceptor", "--release"]);
    cargo.args(["--target", triple, "--config", "profile.release.strip=\"symbols\""]);
    // Paths of this machine are no business of the image, and would make every checkout's image another one.
    let home = std::env::var("CARGO_HOME").or_else(|_| std::env::var("HOME").map(|home| format!("{home}/.cargo")));
    let mut flags = vec!["-Ctarget-feature=+crt-static".to_owned()];
    flags.push(format!("--remap-path-prefix={}=/src", workspace.root().display()));
    flags.extend(home.ok().map(|home| format!("--remap-path-prefix={home}=/cargo")));
    cargo
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"))
        .env_remove("RUSTFLAGS")
        .env("INTERCEPTOR_EBPF", "require");
    shown("building the static agent with its eBPF programs", &mut cargo)?;
    let binary = workspace.target().join(triple).join("release/interceptor");
    ensure!(binary.is_file(), "the build did not make {}", binary.display());
    Ok(binary)
}
