//! Tries an archive as a container runtime would: follows the index to the layer by digests, unpacks it, runs the program
//! with nothing else around it.

use std::collections::HashMap;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use flate2::read::GzDecoder;
use serde_json::Value;

use super::archive::digest;
use super::layer::PROGRAM;
use crate::process::{find_on_path, say};
use crate::setup;

/// Unpacks the image's one layer into `directory`, which is emptied first, and says where its root is.
pub(super) fn unpack(archive: &[u8], directory: &Path) -> Result<PathBuf> {
    let mut files = HashMap::new();
    for entry in tar::Archive::new(archive).entries()? {
        let mut entry = entry?;
        let mut content = Vec::new();
        entry.read_to_end(&mut content)?;
        files.insert(entry.path()?.to_string_lossy().into_owned(), content);
    }
    let json = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).context("an entry of the archive is no JSON");
    let named = |name: &str| files.get(name).with_context(|| format!("the archive has no {name}"));
    let manifest = json(blob(&files, &json(named("index.json")?)?["manifests"][0])?)?;
    let config = json(blob(&files, &manifest["config"])?)?;
    let layer = blob(&files, &manifest["layers"][0])?;

    let docker = json(named("manifest.json")?)?;
    for (path, descriptor) in
        [(&docker[0]["Config"], &manifest["config"]), (&docker[0]["Layers"][0], &manifest["layers"][0])]
    {
        let wanted = text(&descriptor["digest"])?.replace("sha256:", "blobs/sha256/");
        ensure!(text(path)? == wanted, "manifest.json names {path}, the OCI manifest {wanted}");
    }
    let mut tar = Vec::new();
    GzDecoder::new(layer.as_slice()).read_to_end(&mut tar).context("the layer cannot be unpacked")?;
    let diff_id = text(&config["rootfs"]["diff_ids"][0])?;
    ensure!(diff_id == format!("sha256:{}", digest(&tar)), "the unpacked layer has another digest than {diff_id}");

    if directory.exists() {
        fs::remove_dir_all(directory).with_context(|| format!("cannot empty {}", directory.display()))?;
    }
    fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    tar::Archive::new(tar.as_slice()).unpack(directory).context("the layer cannot be unpacked")?;
    Ok(directory.to_owned())
}

/// The blob that a descriptor names, checked.
fn blob<'f>(files: &'f HashMap<String, Vec<u8>>, descriptor: &Value) -> Result<&'f Vec<u8>> {
    let name = text(&descriptor["digest"])?;
    let found = name.strip_prefix("sha256:").and_then(|hex| files.get(&format!("blobs/sha256/{hex}")));
    let found = found.with_context(|| format!("the archive has no blob {name}"))?;
    ensure!(name == format!("sha256:{}", digest(found)), "a blob has another digest than {name}");
    ensure!(descriptor["size"] == found.len(), "the blob {name} has {} bytes, not {}", found.len(), descriptor["size"]);
    Ok(found)
}

fn text(value: &Value) -> Result<&str> {
    value.as_str().with_context(|| format!("expected text, found {value}"))
}

/// Runs the program in its own root and returns what it says of its version.
pub(super) fn run(root: &Path) -> Result<String> {
    let mut command = if setup::is_root()? {
        let chroot = find_on_path("chroot").context("chroot(8) of coreutils is not on the PATH")?;
        let mut chroot = Command::new(chroot);
        chroot.arg(root).arg(format!("/{PROGRAM}"));
        chroot
    } else {
        say("not root: the program is run in place and not in a root of its own");
        Command::new(root.join(PROGRAM))
    };
    let output = command.arg("--version").env_clear().output().context("cannot run the image's program")?;
    if !output.status.success() {
        bail!("the image's program failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    let said = String::from_utf8(output.stdout)?.trim().to_owned();
    let expected = concat!("interceptor ", env!("CARGO_PKG_VERSION"));
    ensure!(said == expected, "the image's program says {said:?}, expected {expected:?}");
    Ok(said)
}
