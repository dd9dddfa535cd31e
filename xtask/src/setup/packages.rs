//! The one table of Debian packages: what proves that each is there, and why it is needed. `setup` installs from it;
//! it looks at the file system and changes nothing. LLVM is not in it: `bpf_linker` chooses the version.

use std::path::Path;

use crate::process::on_path;

/// What a machine is made ready for. Each includes the ones before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Purpose {
    /// Compile the agent and the eBPF programs
    Build,
    /// Run the demo
    Demo,
    /// Let the agent run under mixed traffic and disturbances
    Soak,
    /// Measure the agent and its peers
    Bench,
    /// Run every test
    Test,
}

/// A package this project needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Package {
    /// Its name for apt.
    pub(crate) name: String,
    /// Completes the sentence "it is needed to ...".
    pub(crate) why: &'static str,
}

/// What proves that a package, or something as good, is there. A command and not apt's database: nobody has to have
/// installed nginx from Debian.
enum Proof {
    Command(&'static str),
    File(&'static str),
}

use Proof::{Command, File};
use Purpose::{Bench, Build, Demo, Soak, Test};

#[rustfmt::skip]
const TABLE: &[(Purpose, &str, Proof, &str)] = &[
    (Build, "gcc",               Command("cc"),          "link Rust programs"),
    (Build, "libc6-dev",         File("/usr/include/stdio.h"), "link Rust programs"),
    (Build, "ca-certificates",   File("/etc/ssl/certs/ca-certificates.crt"), "download crates"),
    (Demo,  "iproute2",          Command("ip"),          "make network namespaces and links between them"),
    (Demo,  "nftables",          Command("nft"),         "stand in for kube-proxy: service addresses"),
    (Demo,  "nginx-light",       Command("nginx"),       "be the ingress controller in front of the services"),
    (Demo,  "redis-server",      Command("redis-server"), "be a database that must pass untouched"),
    (Demo,  "redis-tools",       Command("redis-cli"),   "talk to that database"),
    (Demo,  "openssl",           Command("openssl"),     "make certificates for TLS that must pass untouched"),
    (Demo,  "curl",              Command("curl"),        "be a client that nobody here wrote"),
    (Soak,  "bpftool",           Command("bpftool"),     "look into the kernel's maps from outside the agent"),
    (Bench, "wrk",               Command("wrk"),         "measure requests per second and how long each takes"),
    (Bench, "haproxy",           Command("haproxy"),     "be measured, and be a second opinion on where messages end"),
    (Bench, "libnginx-mod-stream", File("/usr/lib/nginx/modules/ngx_stream_module.so"), "measure nginx where it is no HTTP"),
    (Bench, "python3",           Command("python3"),     "install Envoy; be servers and clients with odd habits on the wire"),
    (Bench, "python3-pip",       Command("pip3"),        "install Envoy, or the tests' Python packages, below target"),
    (Bench, "nghttp2-client",    Command("h2load"),      "measure HTTP/2, and be a client of it"),
    (Test,  "kubernetes-client", Command("kubectl"),     "render the manifests as their users do"),
    (Test,  "g++",               Command("c++"),         "compile libFuzzer"),
    (Test,  "nodejs",            Command("node"),        "be a client with a pool of connections, and a server of events"),
    (Test,  "npm",               Command("npm"),         "install the tests' Node packages below target"),
    (Test,  "default-jdk-headless", Command("javac"),    "be Java's own HTTP client, which offers HTTP/2 by upgrade"),
    (Test,  "dnsmasq-base",      Command("dnsmasq"),     "be the cluster's DNS server"),
    (Test,  "bind9-dnsutils",    Command("dig"),         "be a DNS client that shows everything"),
    (Test,  "musl-tools",        Command("musl-gcc"),    "build a program with musl's resolver, as Alpine's images have it"),
    (Test,  "golang-go",         Command("go"),          "build a program with Go's own resolver"),
    (Test,  "apache2-bin",       Command("apache2"),     "be a web server behind the interceptor"),
];

/// The packages of `purpose` that nothing proves to be there.
pub(crate) fn missing(purpose: Purpose) -> Vec<Package> {
    needed(purpose, |proof| match proof {
        Command(program) => on_path(program),
        File(path) => Path::new(path).exists(),
    })
}

fn needed(purpose: Purpose, is_there: impl Fn(&Proof) -> bool) -> Vec<Package> {
    let rows = TABLE.iter().filter(|(from, _, proof, _)| *from <= purpose && !is_there(proof));
    rows.map(|&(_, name, _, why)| Package { name: name.to_owned(), why }).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{Bench, Build, Command, Demo, File, TABLE, Test, needed};

    #[test]
    fn nothing_is_missing_where_everything_is_proved() {
        assert_eq!(needed(Test, |_| true), []);
    }

    #[test]
    fn a_purpose_includes_the_ones_before_it() {
        let count = |purpose| needed(purpose, |_| false).len();
        assert!(0 < count(Build) && count(Build) < count(Demo));
        assert!(count(Demo) < count(Bench) && count(Bench) < count(Test));
        assert_eq!(count(Test), TABLE.len());
    }

    #[test]
    fn only_what_is_not_there_is_asked_for() {
        let names: Vec<_> =
            needed(Demo, |proof| !matches!(proof, Command("nginx"))).into_iter().map(|p| p.name).collect();
        assert_eq!(names, ["nginx-light"]);
    }

    #[test]
    fn the_table_names_each_package_once_and_gives_reasons() {
        let mut seen = HashSet::new();
        for (_, name, proof, why) in TABLE {
            assert!(seen.insert(name), "{name} is in the table twice");
            assert!(!why.is_empty(), "{name} has no reason");
            match proof {
                Command(program) => {
                    assert!(!program.contains('/'), "{name}: a command has no path")
                }
                File(path) => assert!(path.starts_with('/'), "{name}: a file has a whole path"),
            }
        }
    }
}
