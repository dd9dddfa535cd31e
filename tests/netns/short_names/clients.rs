//! Every resolver that pods come with finds a shared service by its short name, and hears the server's NXDOMAIN.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::site::{Site, V4, V6, resolved};
use crate::stage::cluster_ip;

fn source(name: &str) -> String {
    format!("{}/netns/short_names/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// Runs a compiler on this machine.
fn build(command: &mut Command, made: &Path) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; run `cargo xtask setup`"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    made.display().to_string()
}

fn musl(dir: &Path) -> String {
    let made = dir.join("resolver-musl");
    build(Command::new("musl-gcc").args(["-static", "-o"]).arg(&made).arg(source("resolver.c")), &made)
}

fn go(dir: &Path) -> String {
    let made: PathBuf = dir.join("resolver-go");
    let mut command = Command::new("go");
    // All that it writes goes with the test.
    command.env("CGO_ENABLED", "0").env("GOCACHE", dir.join("go")).env("GOFLAGS", "-mod=mod").env("GO111MODULE", "off");
    build(command.args(["build", "-o"]).arg(&made).arg(source("resolver.go")), &made)
}

/// Both families of a shared service, and an error for a name that nobody has.
fn finds(site: &Site, command: &[&str]) {
    let both = [cluster_ip(12).to_string(), "fd00:96::c".to_owned()];
    let answered = site.dns("answered");
    let found = site.run(&site.child, &[command, &["serviceb"]].concat());
    assert_eq!(resolved(&found), both, "{command:?}: {found}");
    assert!(site.dns("answered") >= answered + 2, "{command:?}: A and AAAA are answered by the agent");
    let forwarded = site.dns("forwarded");
    let missing = site.run(&site.child, &[command, &["unknown"]].concat());
    assert!(missing.contains("error") && resolved(&missing).is_empty(), "{command:?}: {missing}");
    assert!(site.dns("forwarded") > forwarded, "{command:?}");
}

const PYTHON: &str = "import socket, sys
try:
    print(*sorted({found[4][0] for found in socket.getaddrinfo(sys.argv[1], 80)}))
except socket.gaierror as error:
    print('error', error)";

#[test]
fn glibc_finds_short_names() {
    for family in [V4, V6] {
        finds(&Site::new("short-glibc", &[family]), &["/usr/bin/python3", "-c", PYTHON]);
    }
}

#[test]
fn musl_finds_short_names() {
    for family in [V4, V6] {
        let site = Site::new("short-musl", &[family]);
        finds(&site, &[&musl(site.stage.scene.lab.temp())]);
    }
}

#[test]
fn go_finds_short_names() {
    let site = Site::new("short-go", &[V4]);
    finds(&site, &[&go(site.stage.scene.lab.temp())]);
}

#[test]
fn node_finds_short_names_through_c_ares() {
    let site = Site::new("short-node", &[V4]);
    finds(&site, &["node", &source("resolver.js")]);
}

#[test]
fn java_finds_short_names() {
    let site = Site::new("short-java", &[V4]);
    finds(&site, &["java", &source("Resolver.java")]);
}
