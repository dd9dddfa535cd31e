//! Builds the kernel side (`interceptor-ebpf`) and leaves its object at `$OUT_DIR/interceptor-ebpf`, where the
//! agent embeds it. Cargo runs it before it compiles `interceptor`.
//!
//! It installs nothing: `cargo xtask setup` does. Where a tool is missing it leaves an EMPTY object and a warning, so
//! that `cargo check`, clippy and unit tests work on any machine; the agent refuses to load an empty object.
//! `INTERCEPTOR_EBPF=require` makes a missing tool an error, `INTERCEPTOR_EBPF=skip` asks for the empty object.
//! An eBPF crate that does not compile is an error always: an empty object must never hide a mistake.
#![expect(clippy::print_stderr, reason = "cargo shows a failed build script's stderr")]

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const NAME: &str = "interceptor-ebpf";
const TARGET: &str = "bpfel-unknown-none";
const PROFILE: &str = "bpf";
const MODE: &str = "INTERCEPTOR_EBPF";
const LINKER: &str = "BPF_LINKER";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let manifest_dir = PathBuf::from(var("CARGO_MANIFEST_DIR")?);
    let workspace = manifest_dir.parent().ok_or("the crate is not in its workspace")?;
    let out_dir = PathBuf::from(var("OUT_DIR")?);
    let target_dir = target_dir(&out_dir, workspace);
    let object = out_dir.join(NAME);
    watch(workspace);

    let mode = env::var(MODE).unwrap_or_default();
    match mode.as_str() {
        "" | "require" => {}
        "skip" => return Ok(fs::write(object, [])?),
        other => {
            return Err(format!("{MODE}={other}: expected `require`, `skip` or nothing").into());
        }
    }
    match Tools::find(&target_dir)? {
        Ok(tools) => {
            let built = tools.build(workspace, &target_dir.join("bpf"))?;
            fs::copy(built, object)?;
        }
        Err(missing) if mode == "require" => {
            return Err(format!("cannot build the eBPF programs: {missing}\n`cargo xtask setup` installs it").into());
        }
        Err(missing) => {
            println!("cargo:warning=built without eBPF: {missing}; `cargo xtask build` mends it");
            fs::write(object, [])?;
        }
    }
    Ok(())
}

/// Everything that can change the object, or whether it can be built at all.
fn watch(workspace: &Path) {
    for input in [
        "interceptor/build.rs",
        "interceptor-ebpf/src",
        "interceptor-ebpf/Cargo.toml",
        "interceptor-common/src",
        "interceptor-common/Cargo.toml",
        "Cargo.toml",
        "Cargo.lock",
    ] {
        watch_path(&workspace.join(input));
    }
    for variable in [MODE, LINKER] {
        println!("cargo:rerun-if-env-changed={variable}");
    }
}

fn watch_path(path: &Path) {
    println!("cargo:rerun-if-changed={}", path.display());
}

/// What a build for the BPF target needs beyond cargo.
struct Tools {
    linker: PathBuf,
    rustc: PathBuf,
}

impl Tools {
    /// The inner error says which tool is missing; the outer one is a failure of the search itself.
    fn find(target_dir: &Path) -> Result<std::result::Result<Self, String>> {
        // The directory is made so that it can be watched: a path that does not exist would rerun this script, and
        // recompile the agent, at every build.
        let bin = target_dir.join("bpf-tools/bin");
        fs::create_dir_all(&bin)?;
        watch_path(&bin);
        let Some(linker) = find_linker(&bin) else {
            return Ok(Err("bpf-linker was not found".to_owned()));
        };
        let Some(rustc) = find_rustc(&bin)? else {
            return Ok(Err("no rustc has the sources of `core` (rust-src)".to_owned()));
        };
        Ok(Ok(Self { linker, rustc }))
    }

    /// Cargo within cargo. It has its own target directory: the outer cargo holds the lock of its own until we end.
    fn build(&self, workspace: &Path, target_dir: &Path) -> Result<PathBuf> {
        let mut cargo = Command::new(var("CARGO")?);
        cargo
            .current_dir(workspace)
            .args(["build", "--locked", "-Z", "build-std=core"])
            .args(["--package", NAME, "--bin", NAME, "--target", TARGET, "--profile", PROFILE])
            .arg("--target-dir")
            .arg(target_dir)
            .env("RUSTC", &self.rustc)
            // build-std is unstable; this lets the stable compiler do it, for this build only.
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO_ENCODED_RUSTFLAGS", self.rustflags()?)
            // Under clippy this is clippy-driver, which belongs to the outer rustc and links nothing.
            .env_remove("RUSTC_WORKSPACE_WRAPPER");
        let output = cargo.output().map_err(|error| format!("cannot run {cargo:?}: {error}"))?;
        if !output.status.success() {
            let log = String::from_utf8_lossy(&output.stderr);
            let (rustc, linker) = (self.rustc.display(), self.linker.display());
            return Err(format!("{log}\n{NAME} does not build (rustc: {rustc}, linker: {linker})").into());
        }
        Ok(target_dir.join(TARGET).join(PROFILE).join(NAME))
    }

    fn rustflags(&self) -> Result<String> {
        // aya-ebpf lays out pt_regs for the machine the programs will run on.
        let arch = var("CARGO_CFG_TARGET_ARCH")?;
        let flags = [
            format!("--cfg=bpf_target_arch=\"{arch}\""),
            "-Cdebuginfo=2".to_owned(),
            format!("-Clinker={}", self.linker.display()),
            "-Clink-arg=--btf".to_owned(),
        ];
        Ok(flags.join("\x1f"))
    }
}

fn find_linker(bin: &Path) -> Option<PathBuf> {
    let given = env::var_os(LINKER).map(PathBuf::from);
    let path = env::var_os("PATH").unwrap_or_default();
    let on_path = env::split_paths(&path).map(|dir| dir.join("bpf-linker"));
    given.into_iter().chain([bin.join("bpf-linker")]).chain(on_path).find(|linker| linker.is_file())
}

/// The compiler of this build, else Debian's, installed or unpacked by xtask: the first that has `core`'s sources and
/// is new enough. Sources and compiler must be of one release, so they come as a pair.
fn find_rustc(bin: &Path) -> Result<Option<PathBuf>> {
    let wanted = minor(&var("CARGO_PKG_RUST_VERSION")?);
    let candidates = [PathBuf::from(var("RUSTC")?), PathBuf::from("/usr/bin/rustc"), bin.join("rustc")];
    Ok(candidates.into_iter().find(|rustc| {
        let Some(sysroot) = answer(rustc, &["--print", "sysroot"]) else { return false };
        let rustlib = Path::new(&sysroot).join("lib/rustlib");
        // rustup's list of components changes when rust-src is added.
        let components = rustlib.join("components");
        if components.is_file() {
            watch_path(&components);
        }
        let release = answer(rustc, &["--version"]).unwrap_or_default();
        rustlib.join("src/rust/library/core").is_dir() && minor(release.trim_start_matches("rustc ")) >= wanted
    }))
}

/// `95` of `1.95` or `1.95.0 (hash date)`.
fn minor(version: &str) -> Option<u32> {
    version.split('.').nth(1)?.parse().ok()
}

fn answer(program: &Path, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}

/// Cargo tags its target directory, wherever `--target-dir` or the environment puts it, and in it that of a named target.
fn target_dir(out_dir: &Path, workspace: &Path) -> PathBuf {
    let tagged = out_dir.ancestors().filter(|dir| dir.join("CACHEDIR.TAG").is_file()).last();
    tagged.map_or_else(|| workspace.join("target"), Path::to_path_buf)
}

fn var(name: &str) -> Result<String> {
    env::var(name).map_err(|error| format!("{name}: {error}").into())
}
