//! The archive: an OCI image layout with Docker's own manifest beside it, so that both worlds' tools take it.
//!
//! Layer, configuration and manifest are blobs called by their SHA-256. No clock, user or machine goes into it.

use std::io::Write as _;

use anyhow::{Context, Result, bail};
use flate2::{Compression, GzBuilder};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tar::Builder;

use super::layer::{PROGRAM, append};

/// Images have no clock: that of the first second is what tools show as "a long time ago".
const CREATED: &str = "1970-01-01T00:00:00Z";

/// The architecture in OCI's words.
pub(super) fn architecture(triple: &str) -> Result<&'static str> {
    match triple.split('-').next() {
        Some("x86_64") => Ok("amd64"),
        Some("aarch64") => Ok("arm64"),
        _ => bail!("no image for {triple}: the agent is built for x86_64 and aarch64"),
    }
}

/// Packs an image of one layer.
pub(super) fn pack(tag: &str, architecture: &str, layer: &[u8]) -> Result<Vec<u8>> {
    let diff_id = digest(layer);
    let packed = gzip(layer)?;
    let title = "interceptor";
    let config = serde_json::to_vec(&json!({
        "architecture": architecture,
        "os": "linux",
        "created": CREATED,
        "config": {
            "Entrypoint": [format!("/{PROGRAM}")],
            "Env": ["PATH=/usr/local/bin"],
            "WorkingDir": "/",
            "Labels": {"org.opencontainers.image.title": title, "org.opencontainers.image.version": env!("CARGO_PKG_VERSION")},
        },
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{diff_id}")]},
        "history": [{"created": CREATED, "created_by": "cargo xtask image"}],
    }))?;
    let manifest = serde_json::to_vec(&json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar+gzip", &packed)],
    }))?;
    let mut entry = descriptor("application/vnd.oci.image.manifest.v1+json", &manifest);
    entry["platform"] = json!({"architecture": architecture, "os": "linux"});
    entry["annotations"] = json!({
        "io.containerd.image.name": full_name(tag),
        "org.opencontainers.image.ref.name": tag.rsplit_once(':').map_or(tag, |(_, tag)| tag),
    });
    let index =
        json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [entry]});
    let docker = json!([{"Config": blob(&config), "RepoTags": [tag], "Layers": [blob(&packed)]}]);

    let mut builder = Builder::new(Vec::new());
    append(&mut builder, "blobs/", 0o755, true, &[])?;
    append(&mut builder, "blobs/sha256/", 0o755, true, &[])?;
    for content in [&config, &manifest, &packed] {
        append(&mut builder, &blob(content), 0o644, false, content)?;
    }
    append(&mut builder, "index.json", 0o644, false, &serde_json::to_vec(&index)?)?;
    append(&mut builder, "manifest.json", 0o644, false, &serde_json::to_vec(&docker)?)?;
    append(&mut builder, "oci-layout", 0o644, false, br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    builder.into_inner().context("cannot end the archive")
}

/// The hexadecimal SHA-256.
pub(super) fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn blob(bytes: &[u8]) -> String {
    format!("blobs/sha256/{}", digest(bytes))
}

fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": format!("sha256:{}", digest(bytes)), "size": bytes.len()})
}

/// Without a file's name and time in its head.
fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
    encoder.write_all(bytes).context("cannot compress the layer")?;
    encoder.finish().context("cannot compress the layer")
}

/// The name as containerd stores it: the kubelet asks for that one.
fn full_name(tag: &str) -> String {
    match tag.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => tag.to_owned(),
        Some(_) => format!("docker.io/{tag}"),
        None => format!("docker.io/library/{tag}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{layer, verify};

    fn packed() -> Vec<u8> {
        let files = layer::files(b"#!/bin/sh\n");
        pack("interceptor:1", "amd64", &layer::tar(&files).unwrap()).unwrap()
    }

    fn scratch(name: &str) -> std::path::PathBuf {
        std::env::temp_dir().join(format!("interceptor-image-{name}-{}", std::process::id()))
    }

    #[test]
    fn the_same_files_give_the_same_bytes() {
        assert_eq!(packed(), packed());
    }

    #[test]
    fn an_archive_unpacks_to_its_files_and_every_digest_is_right() {
        let directory = scratch("good");
        let root = verify::unpack(&packed(), &directory).unwrap();
        assert_eq!(std::fs::read(root.join(PROGRAM)).unwrap(), b"#!/bin/sh\n");
        assert!(root.join("run/interceptor").is_dir() && root.join("etc/passwd").is_file());
        std::fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_changed_byte_is_found() {
        let directory = scratch("bad");
        let good = packed();
        // In the middle of the layer's blob, which is the largest.
        let at = good.windows(2).rposition(|two| two == [0x1f, 0x8b]).unwrap() + 40;
        let mut bad = good;
        bad[at] ^= 1;
        let error = verify::unpack(&bad, &directory).unwrap_err();
        assert!(error.to_string().contains("digest"), "{error:#}");
        std::fs::remove_dir_all(directory).ok();
    }

    #[test]
    fn names_are_stored_as_containerd_asks_for_them() {
        assert_eq!(full_name("interceptor:1"), "docker.io/library/interceptor:1");
        assert_eq!(full_name("team/interceptor:1"), "docker.io/team/interceptor:1");
        assert_eq!(full_name("registry.example:5000/x/interceptor:1"), "registry.example:5000/x/interceptor:1");
        assert!(architecture("riscv64gc-unknown-linux-gnu").is_err());
    }
}
