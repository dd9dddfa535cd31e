//! What these tests share: a node with dnsmasq in a pod, and pods whose programs see a resolv.conf as kubelet writes it.

use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;

use interceptor_tests::place::Place;
use interceptor_tests::{Pod, Process, wait};

use crate::stage::{LIMIT, Scene, Stage, cluster_ip, cluster_ip_v6};

/// The server's IPv4 address is in the resolv.conf.
pub(super) const V4: usize = 0;
/// The server's IPv6 address is.
pub(super) const V6: usize = 1;

/// A node with a DNS server, `serviceb` and nothing else in `default`, and pods to ask from.
pub(super) struct Site {
    /// What keeps the pods' resolv.conf to be seen.
    _programs: Vec<Process>,
    server: Process,
    resolv_conf: PathBuf,
    pub(super) stage: Stage,
    /// The server's pod.
    pub(super) dns: Pod,
    /// In `azureuser`, which derives from `default`.
    pub(super) child: Pod,
    /// In `default`.
    pub(super) root: Pod,
    /// In no space.
    pub(super) outside: Pod,
}

impl Site {
    pub(super) fn new(name: &str, families: &[usize]) -> Site {
        Site::with(name, families, |_, _| {})
    }

    /// `change` may set more before the agent starts.
    pub(super) fn with(name: &str, families: &[usize], change: impl FnOnce(&mut Scene, &Pod)) -> Site {
        let mut scene = Scene::worked_example(name);
        scene.deploy("serviceb", "default", 12);
        let dns = scene.lab.pod("dns").unwrap();
        let servers: Vec<String> =
            families.iter().map(|family| format!("nameserver {}\n", dns.addresses()[*family])).collect();
        let resolv_conf = scene.lab.temp().join("resolv.conf");
        let search = "search azureuser.svc.cluster.local svc.cluster.local cluster.local\n";
        fs::write(&resolv_conf, format!("{}{search}options ndots:5 timeout:2\n", servers.concat())).unwrap();
        let server = start(&dns);
        let mut programs = Vec::new();
        let mut pod = |scene: &mut Scene, name: &str, space: Option<&str>| {
            let pod = scene.lab.pod(name).unwrap();
            programs.push(pod.spawn("unshare", inside(&resolv_conf, &["sleep", "1000"])).unwrap());
            let mut item = serde_json::json!({
                "name": name, "netns": pod.netns().path(), "addresses": pod.addresses(), "cgroup": pod.cgroup(),
            });
            if let Some(space) = space {
                item["space"] = space.into();
            }
            scene.config.item("workloads", item);
            pod
        };
        let child = pod(&mut scene, "child", Some("azureuser"));
        let root = pod(&mut scene, "root", Some("default"));
        let outside = pod(&mut scene, "outside", None);
        change(&mut scene, &child);
        let stage = scene.start();
        let site = Site { _programs: programs, server, resolv_conf, stage, dns, child, root, outside };
        site.wait_captured();
        site
    }

    /// Waits until the one server of the one workload in a derived space is captured, unless DNS is off.
    fn wait_captured(&self) {
        wait::until(LIMIT, "DNS to be captured", || {
            let status = self.stage.agent.status()?;
            let dns = &status["dns"];
            anyhow::ensure!(!dns["off_because"].is_null() || dns["workloads"] == 1, "{dns}");
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error:#}"));
    }

    /// Runs a program in a pod, with its resolv.conf; its stdout.
    pub(super) fn run(&self, place: &Place, command: &[&str]) -> String {
        let arguments = inside(&self.resolv_conf, command);
        let output =
            place.output("timeout", [vec!["60".to_owned(), "unshare".to_owned()], arguments].concat()).unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command:?}: {}\n{text}\n{stderr}", output.status);
        text
    }

    /// What dig prints, whole.
    pub(super) fn dig_raw(&self, place: &Place, arguments: &[&str]) -> String {
        self.run(place, &[&["dig", "+tries=1", "+time=5"], arguments].concat())
    }

    /// What dig finds with `+short`, or the status where it is an error.
    pub(super) fn dig(&self, place: &Place, arguments: &[&str]) -> String {
        let found = self.dig_raw(place, arguments);
        if !found.trim().is_empty() {
            return found.trim().to_owned();
        }
        let whole: Vec<&str> = arguments.iter().copied().filter(|argument| *argument != "+short").collect();
        let text = self.dig_raw(place, &whole);
        let status = text.split("status: ").nth(1).and_then(|rest| rest.split(',').next());
        status.unwrap_or_else(|| panic!("no status in {text}")).to_owned()
    }

    /// What the agent has counted of DNS (`answered` or `forwarded`).
    pub(super) fn dns(&self, outcome: &str) -> u64 {
        self.stage.agent.status().unwrap()["dns"][outcome].as_u64().unwrap()
    }

    /// What the server has been asked.
    pub(super) fn log(&self) -> String {
        self.server.stderr()
    }

    /// Ends the server.
    pub(super) fn end_server(&mut self) {
        self.server.signal(nix::sys::signal::Signal::SIGKILL).unwrap();
        self.server.wait(LIMIT).unwrap();
    }
}

/// Arguments of `unshare` for a command that sees this resolv.conf.
fn inside(resolv_conf: &std::path::Path, command: &[&str]) -> Vec<String> {
    let script = "mount --bind \"$1\" /etc/resolv.conf && shift && exec \"$@\"";
    let path = resolv_conf.display().to_string();
    let fixed = ["--mount", "bash", "-c", script, "bash", &path];
    fixed.into_iter().chain(command.iter().copied()).map(str::to_owned).collect()
}

fn start(dns: &Pod) -> Process {
    let name =
        |name: &str| format!("--host-record={name}.default.svc.cluster.local,{},{}", cluster_ip(12), cluster_ip_v6(12));
    let arguments = [
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--no-resolv",
        "--no-hosts",
        "--user=root",
        "--group=root",
        "--pid-file=",
        "--log-queries",
        "--log-facility=-",
        "--local=/cluster.local/",
        "--local=/example.com/",
        "--host-record=www.example.com,192.0.2.80",
    ];
    let mut arguments: Vec<String> = arguments.map(str::to_owned).to_vec();
    arguments.push(name("serviceb"));
    let server = dns.spawn("dnsmasq", &arguments).unwrap();
    dns.wait_listening(53, LIMIT).unwrap_or_else(|error| panic!("{error:#}; stderr: {}", server.stderr()));
    server
}

/// The addresses in a program's output, each once, in order.
pub(super) fn resolved(text: &str) -> Vec<String> {
    let mut found: Vec<IpAddr> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    found.sort_unstable();
    found.dedup();
    found.iter().map(ToString::to_string).collect()
}
