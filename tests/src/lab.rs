//! A Kubernetes node on this machine: pods, ClusterIPs and a client outside, all in namespaces of their own.
//!
//! ```text
//!  outside 192.0.2.2 ──veth── node 192.0.2.1 ──veth── pod 10.244.0.2     one veth and one host route per pod
//!                             (10.244.0.1)   ──veth── pod 10.244.0.3     (as Calico lays it out: no bridge)
//! ```
//!
//! All traffic between pods crosses the node's IP stack, where nft rules in place of kube-proxy turn ClusterIPs into
//! endpoints; pods see each other's real addresses. Every test tier, the demo and the bench build on it. It touches
//! nothing outside what it makes: one directory below the cgroup2 mount, one below the temporary directory, and
//! namespaces without names. Whatever happens to this process, its [`guardian`](crate::guardian) removes them.

use std::env;
use std::fs::{self, DirBuilder};
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, bail};

use crate::cgroup;
use crate::cluster_ip::ClusterIps;
use crate::config::Service;
use crate::guardian::Guardian;
use crate::netns::Pauses;
use crate::place::Place;
use crate::pod::Pod;

/// The node's address on the network that the outside client is on.
pub const NODE_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// The outside client's address.
pub const OUTSIDE_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
/// The outside client's IPv6 address.
pub const OUTSIDE_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);
/// The gateway that every pod sees.
pub(crate) const GATEWAY_V4: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 1);
/// The IPv6 gateway that every pod sees.
pub(crate) const GATEWAY_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x244, 0, 0, 0, 0, 0, 1);

/// A node with its pods; dropping it ends and removes everything.
#[derive(Debug)]
pub struct Lab {
    cgroup: PathBuf,
    temp: PathBuf,
    node: Place,
    outside: Place,
    pauses: Pauses,
    next_pod: AtomicU32,
    cluster_ips: Mutex<ClusterIps>,
    // Last: it ends what the fields above stand for.
    guardian: Arc<Guardian>,
}

impl Lab {
    /// Brings a node up. `name` (letters, digits, dashes) helps to recognise it in process and cgroup listings.
    pub fn new(name: &str) -> Result<Lab> {
        let (cgroup, temp) = make_directories(name)?;
        // From here on the guardian removes both, also when a later step fails.
        let guardian = Arc::new(Guardian::start(&cgroup, &temp).inspect_err(|_| {
            fs::remove_dir(&cgroup).ok();
            fs::remove_dir_all(&temp).ok();
        })?);
        for dir in ["pods", "agent"] {
            let dir = cgroup.join(dir);
            fs::create_dir(&dir).with_context(|| format!("making the cgroup {}", dir.display()))?;
        }
        let logs = temp.join("logs");
        fs::create_dir(&logs).with_context(|| format!("making {}", logs.display()))?;
        let pauses = Pauses::default();
        let node = Place::new("node", cgroup.join("node"), &logs, &pauses)?;
        let outside = Place::new("outside", cgroup.join("outside"), &logs, &pauses)?;
        node.netns().run(enable_forwarding)?;
        node.ip(&format!(
            "link set lo up\n\
             link add name outside type veth peer name eth0 netns {pid}\n\
             link set outside addrgenmode none\n\
             link set outside up\n\
             addr add {NODE_V4}/24 dev outside\n\
             addr add 2001:db8::1/64 dev outside nodad\n\
             addr add fe80::1/64 dev outside nodad\n\
             route add 0.0.0.0/0 via {OUTSIDE_V4}\n\
             route add unreachable 10.244.0.0/16\n\
             route add unreachable fd00:244::/64\n",
            pid = outside.netns().pid()
        ))?;
        outside.ip(&format!(
            "link set lo up\n\
             link set eth0 addrgenmode none\n\
             link set eth0 up\n\
             addr add {OUTSIDE_V4}/24 dev eth0\n\
             addr add {OUTSIDE_V6}/64 dev eth0 nodad\n\
             addr add fe80::2/64 dev eth0 nodad\n\
             route add 0.0.0.0/0 via {NODE_V4}\n\
             route add ::/0 via 2001:db8::1\n"
        ))?;
        // The node's own IPv6 default route needs the neighbour's address to exist first.
        node.ip(&format!("route add ::/0 via {OUTSIDE_V6}\n"))?;
        let cluster_ips = ClusterIps::default();
        // Empty, it refuses what nobody serves; without it such connections would hang.
        node.nft(&cluster_ips.script()).context("setting up the ClusterIPs of the node")?;
        let cluster_ips = Mutex::new(cluster_ips);
        let node = node.with_cgroup("node", cgroup.join("agent"));
        Ok(Lab { cgroup, temp, node, outside, pauses, next_pod: AtomicU32::new(2), cluster_ips, guardian })
    }

    /// Starts a pod: a namespace with an address of each family and a cgroup below [`Lab::pods_cgroup`].
    pub fn pod(&self, name: &str) -> Result<Pod> {
        self.pod_at(name, &self.pods_cgroup().join(name))
    }

    /// Starts a pod whose processes are in that cgroup directory, which is made with all above it.
    pub fn pod_at(&self, name: &str, cgroup: &Path) -> Result<Pod> {
        let number = self.next_number()?;
        self.sandbox(name, cgroup, number)
    }

    /// Makes the sandbox of a removed pod anew: another namespace with the same addresses.
    pub fn pod_again(&self, pod: &Pod, cgroup: &Path) -> Result<Pod> {
        self.sandbox(pod.name(), cgroup, pod.number())
    }

    fn next_number(&self) -> Result<u8> {
        // Numbers are not used again: a late packet of a removed pod never reaches another one.
        let number = u8::try_from(self.next_pod.fetch_add(1, Ordering::Relaxed)).ok().filter(|number| *number < 255);
        number.context("a laboratory holds at most 253 pods in its life")
    }

    fn sandbox(&self, name: &str, cgroup: &Path, number: u8) -> Result<Pod> {
        if let Some(above) = cgroup.parent() {
            fs::create_dir_all(above).with_context(|| format!("making the cgroup {}", above.display()))?;
        }
        Place::new(name, cgroup.to_owned(), &self.logs(), &self.pauses)
            .and_then(|place| Pod::new(place, number, &self.node, &self.pauses))
            .with_context(|| format!("starting the pod {name}"))
    }

    /// The node: its network namespace, and the cgroup of the agent (which is never captured).
    pub fn on_node(&self) -> &Place {
        &self.node
    }

    /// The client outside the cluster, which reaches pods and ClusterIPs through the node.
    pub fn outside(&self) -> &Place {
        &self.outside
    }

    /// Sends connections to any of `addresses` and `port` to one of `endpoints` of the same family, chosen at random.
    ///
    /// Replaces what was set for them before; connections that are established stay where they are. With no endpoint
    /// a connection is refused, as kube-proxy does it.
    pub fn cluster_ip(&self, addresses: &[IpAddr], port: u16, endpoints: &[(IpAddr, u16)]) -> Result<()> {
        self.change_cluster_ips(|all| {
            for address in addresses {
                all.set(*address, port, endpoints);
            }
        })
    }

    /// Forgets ClusterIPs; new connections to them are refused.
    pub fn remove_cluster_ip(&self, addresses: &[IpAddr], port: u16) -> Result<()> {
        self.cluster_ip(addresses, port, &[])
    }

    /// Sets the ClusterIPs of a service as the agent's configuration has it (ready endpoints only).
    pub fn expose(&self, service: &Service) -> Result<()> {
        self.change_cluster_ips(|all| {
            for one in service.cluster_ips() {
                all.set(one.address, one.port, &one.endpoints);
            }
        })
    }

    /// Removes the ClusterIPs of a service.
    pub fn unexpose(&self, service: &Service) -> Result<()> {
        self.change_cluster_ips(|all| {
            for one in service.cluster_ips() {
                all.set(one.address, one.port, &[]);
            }
        })
    }

    /// The laboratory's cgroup directory.
    pub fn cgroup(&self) -> &Path {
        &self.cgroup
    }

    /// The cgroup directory above all pods: what the agent captures.
    pub fn pods_cgroup(&self) -> PathBuf {
        self.cgroup.join("pods")
    }

    /// A directory for files of the test, removed with the laboratory.
    pub fn temp(&self) -> &Path {
        &self.temp
    }

    /// Where the output of programs goes.
    pub fn logs(&self) -> PathBuf {
        self.temp.join("logs")
    }

    /// The guardian, for a signal handler that must end the laboratory while another thread owns it.
    pub fn guardian(&self) -> Arc<Guardian> {
        Arc::clone(&self.guardian)
    }

    fn change_cluster_ips(&self, change: impl FnOnce(&mut ClusterIps)) -> Result<()> {
        let mut all = self.cluster_ips.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut all);
        self.node.nft(&all.script()).context("setting the ClusterIPs of the node")
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Err(error) = self.guardian.finish() {
            // Drop has no other way to say it, and a leak must not stay silent.
            #[expect(clippy::print_stderr, reason = "a test's stderr is where a leak is noticed")]
            {
                eprintln!("the laboratory {} was not removed cleanly: {error:#}", self.cgroup.display());
            }
        }
        self.pauses.reap();
    }
}

/// Makes the two directories with a name that no other laboratory has.
fn make_directories(name: &str) -> Result<(PathBuf, PathBuf)> {
    let mount = cgroup::mount_point()?;
    for n in 0_u32.. {
        let leaf = format!("interceptor-{name}-{}-{n}", process::id());
        let (cgroup, temp) = (mount.join(&leaf), env::temp_dir().join(&leaf));
        match fs::create_dir(&cgroup) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
            made => made.with_context(|| format!("making the cgroup {} (root is needed)", cgroup.display()))?,
        }
        // Mode 0700: keys and sockets of the test lie in it.
        if let Err(error) = DirBuilder::new().mode(0o700).create(&temp) {
            fs::remove_dir(&cgroup).ok();
            return Err(error).with_context(|| format!("making {}", temp.display()));
        }
        return Ok((cgroup, temp));
    }
    bail!("no free directory name for the laboratory {name}")
}

/// /proc/sys/net is that of the calling thread's namespace.
fn enable_forwarding() -> Result<()> {
    for key in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
        let path = format!("/proc/sys/net/{key}");
        fs::write(&path, "1").with_context(|| format!("writing {path}"))?;
    }
    Ok(())
}
