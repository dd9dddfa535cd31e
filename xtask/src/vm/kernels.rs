//! Kernels to test on: a file that the caller names, or one of Debian's, fetched from the mirror that this machine's apt
//! uses and unpacked below target/vm. The system's own apt state is not touched, and root is not needed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::process::{quietly, say};
use crate::workspace::Workspace;

/// In which suite Debian has which series. Everything else is looked for in [`BACKPORTS`].
const SUITES: [(&str, &str); 3] = [("5.10", "bullseye"), ("6.1", "bookworm"), ("6.12", "trixie")];
/// Where the newest kernels are, of every series since 6.16.
const BACKPORTS: &str = "trixie-backports";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// The flavour without drivers for hardware: a third of the size.
const FLAVOUR: &str = "-cloud-amd64";

/// A kernel.
pub(super) struct Kernel {
    /// What the caller asked for.
    pub(super) series: String,
    /// What it calls itself (`uname -r`).
    pub(super) release: String,
    /// The file to boot.
    pub(super) image: PathBuf,
    /// The directory of its modules, named by its release.
    pub(super) modules: PathBuf,
}

/// Finds the kernel that `name` stands for: a file, a series (`6.1`) or `newest`.
pub(super) fn find(workspace: &Workspace, name: &str, modules: Option<&Path>) -> Result<Kernel> {
    if name.contains('/') {
        return of_file(Path::new(name), modules);
    }
    let numbers = name.split('.').all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
    ensure!(name == "newest" || numbers, "`{name}` is no kernel: give a series (6.1), `newest`, or a file's path");
    let root = workspace.target().join("vm/kernels").join(name);
    if let Ok(kernel) = unpacked(name, &root) {
        return Ok(kernel);
    }
    fetch(workspace, name, &root)?;
    let kernel = unpacked(name, &root)?;
    say(format_args!("kernel {name} is {}", kernel.release));
    Ok(kernel)
}

fn of_file(image: &Path, modules: Option<&Path>) -> Result<Kernel> {
    ensure!(image.is_file(), "{} is not a file", image.display());
    let modules =
        modules.with_context(|| format!("where are the modules of {}? Say --modules DIR", image.display()))?;
    ensure!(modules.join("kernel").is_dir(), "{} has no directory `kernel`: is it the right one?", modules.display());
    let release = modules.canonicalize()?.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Kernel { series: release.clone(), release, image: image.to_owned(), modules: modules.to_owned() })
}

/// The kernel in a directory of unpacked packages.
fn unpacked(series: &str, root: &Path) -> Result<Kernel> {
    let merged = ["usr/lib/modules", "lib/modules"].map(|dir| root.join(dir));
    let modules = merged.iter().find(|dir| dir.is_dir()).context("no modules")?;
    let entry = fs::read_dir(modules)?.next().context("no release")??;
    let release = entry.file_name().to_string_lossy().into_owned();
    let images = [root.join(format!("boot/vmlinuz-{release}")), entry.path().join("vmlinuz")];
    let image = images.into_iter().find(|image| image.is_file()).context("no image")?;
    Ok(Kernel { series: series.to_owned(), release, image, modules: entry.path() })
}

fn fetch(workspace: &Workspace, series: &str, root: &Path) -> Result<()> {
    let suite = SUITES.iter().find(|(of, _)| *of == series).map_or(BACKPORTS, |(_, suite)| suite);
    let apt = Private::new(workspace, suite)?;
    let mut update = apt.command("apt-get");
    update.arg("update");
    quietly(workspace, &format!("reading what kernels Debian {suite} has"), &mut update)?;
    let known = apt.command("apt-cache").args(["pkgnames", "linux-"]).output().context("cannot run apt-cache")?;
    let known = String::from_utf8_lossy(&known.stdout);
    let names: Vec<&str> = known.lines().collect();
    let packages = choose(&names, series).with_context(|| format!("Debian {suite} has no kernel {series}"))?;
    let archives = root.join("archives");
    fs::create_dir_all(&archives).with_context(|| format!("cannot make {}", archives.display()))?;
    let mut download = apt.command("apt-get");
    download.arg("download").args(packages).current_dir(&archives);
    quietly(workspace, &format!("downloading a kernel {series}, to be unpacked and not installed"), &mut download)?;
    for archive in fs::read_dir(&archives)? {
        let status = Command::new("dpkg-deb").arg("--extract").arg(archive?.path()).arg(root).status();
        ensure!(status.context("cannot run dpkg-deb")?.success(), "cannot unpack into {}", root.display());
    }
    fs::remove_dir_all(&archives).with_context(|| format!("cannot remove {}", archives.display()))
}

/// The packages of the newest kernel of a series. From 6.19 on image and modules are packages of their own.
fn choose(names: &[&str], series: &str) -> Option<Vec<String>> {
    let version = |name: &&str| {
        let rest = name.strip_prefix("linux-image-")?;
        let version = rest.strip_suffix("-unsigned").unwrap_or(rest).strip_suffix(FLAVOUR)?;
        let of_series = version.strip_prefix(series).is_some_and(|rest| rest.starts_with(['.', '-']));
        (version.starts_with(|first: char| first.is_ascii_digit()) && (series == "newest" || of_series))
            .then(|| version.to_owned())
    };
    let newest = names.iter().filter_map(version).max_by_key(|version| numbers(version))?;
    let split = ["binary", "modules"].map(|part| format!("linux-{part}-{newest}{FLAVOUR}"));
    if split.iter().all(|name| names.contains(&name.as_str())) {
        return Some(split.to_vec());
    }
    let image = format!("linux-image-{newest}{FLAVOUR}");
    let unsigned = format!("{image}-unsigned");
    Some(vec![if names.contains(&unsigned.as_str()) { unsigned } else { image }])
}

/// The numbers of a version in their order.
fn numbers(version: &str) -> Vec<u64> {
    version.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect()
}

/// apt with lists and caches of its own.
struct Private {
    options: Vec<String>,
}

impl Private {
    fn new(workspace: &Workspace, suite: &str) -> Result<Self> {
        let dir = workspace.target().join("vm/apt").join(suite);
        for below in ["lists/partial", "archives/partial", "parts", "state"] {
            let dir = dir.join(below);
            fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        }
        let sources = dir.join("sources.list");
        let line = format!("deb [signed-by={KEYRING} arch=amd64] {} {suite} main\n", mirror()?);
        fs::write(&sources, line).with_context(|| format!("cannot write {}", sources.display()))?;
        let below = |path: &str| dir.join(path).display().to_string();
        let options = vec![
            format!("Dir::Etc::sourcelist={}", sources.display()),
            format!("Dir::Etc::sourceparts={}", below("parts")),
            format!("Dir::State={}", below("state")),
            format!("Dir::State::lists={}", below("lists")),
            "Dir::State::status=/dev/null".to_owned(),
            format!("Dir::Cache={}", dir.display()),
            "Acquire::Languages=none".to_owned(),
            "Debug::NoLocking=1".to_owned(),
        ];
        Ok(Self { options })
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        for option in &self.options {
            command.args(["-o", option]);
        }
        command
    }
}

/// Where this machine gets Debian's packages from.
fn mirror() -> Result<String> {
    let mut ask = Command::new("apt-get");
    ask.args(["indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Origin: Debian", "Label: Debian"]);
    let output = ask.output().context("cannot run apt-get, by which kernels are fetched; name one: --kernel FILE")?;
    let text = String::from_utf8_lossy(&output.stdout);
    match text.lines().next() {
        Some(first) if Path::new(KEYRING).is_file() => Ok(first.to_owned()),
        _ => bail!(
            "apt of this machine knows no Debian mirror (or {KEYRING} is missing); name a kernel that is here: \
             --kernel /boot/vmlinuz-VERSION --modules /lib/modules/VERSION"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::choose;

    #[test]
    fn the_newest_of_a_series_is_chosen_by_number() {
        let names = [
            "linux-image-6.1.0-9-cloud-amd64-unsigned",
            "linux-image-6.1.0-50-cloud-amd64",
            "linux-image-6.1.0-50-cloud-amd64-unsigned",
            "linux-image-6.12.1-1-cloud-amd64",
            "linux-image-cloud-amd64",
        ];
        assert_eq!(choose(&names, "6.1").unwrap(), ["linux-image-6.1.0-50-cloud-amd64-unsigned"]);
        assert_eq!(choose(&names, "6.12").unwrap(), ["linux-image-6.12.1-1-cloud-amd64"]);
        assert_eq!(choose(&names, "5.10"), None);
    }

    #[test]
    fn a_split_kernel_is_two_packages() {
        let names = [
            "linux-image-7.2.12+deb13-cloud-amd64",
            "linux-image-7.3.4+deb13-cloud-amd64",
            "linux-binary-7.3.4+deb13-cloud-amd64",
            "linux-modules-7.3.4+deb13-cloud-amd64",
        ];
        let wanted = ["linux-binary-7.3.4+deb13-cloud-amd64", "linux-modules-7.3.4+deb13-cloud-amd64"];
        assert_eq!(choose(&names, "newest").unwrap(), wanted);
        assert_eq!(choose(&names, "7.2").unwrap(), ["linux-image-7.2.12+deb13-cloud-amd64"]);
    }
}
