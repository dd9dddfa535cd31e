//! Directory trees as the kubelet makes them, with this test's own processes in them. The files are plain ones: inotify
//! and the process table are the real ones, the cgroups are real in tests/netns/pods.rs.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use super::{Missing, Pods, tree};
use crate::config::PodUid;

const UID: &str = "3f2b1c9a-5d61-4be8-9f5e-0a6c1d2e3f40";
const UNDERSCORED: &str = "3f2b1c9a_5d61_4be8_9f5e_0a6c1d2e3f40";
const STATIC: &str = "8b7d1c5e9f0a4b3c2d1e0f9a8b7c6d5e";
/// Set in the test's own namespace, as is expected of a pod's address in the pod's.
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 77));

/// A cgroup2 mount, or what looks like one.
struct Node(PathBuf);

impl Node {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let root = std::env::temp_dir().join(format!("interceptor-discovery-{}-{number}", std::process::id()));
        fs::create_dir(&root).unwrap();
        Self(root)
    }

    fn dir(&self, path: &str) -> PathBuf {
        let dir = self.0.join(path);
        fs::create_dir_all(&dir).unwrap();
        for dir in dir.ancestors().take_while(|dir| *dir != self.0) {
            for file in
                ["cgroup.procs", "cgroup.events"].map(|file| dir.join(file)).iter().filter(|file| !file.exists())
            {
                fs::write(file, "").unwrap();
            }
        }
        dir
    }

    /// A container with these processes.
    fn container(&self, path: &str, pids: &[u32]) -> PathBuf {
        let dir = self.dir(path);
        processes(&dir, pids);
        dir
    }

    fn pods(&self) -> Pods {
        Pods::new(Some(self.0.clone()))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

/// Puts processes into a cgroup and, as the kernel does it, tells of them in the events of all above.
fn processes(dir: &Path, pids: &[u32]) {
    let text: String = pids.iter().map(|pid| format!("{pid}\n")).collect();
    fs::write(dir.join("cgroup.procs"), text).unwrap();
    for dir in [dir, dir.parent().unwrap()] {
        fs::write(dir.join("cgroup.events"), format!("populated {}\nfrozen 0\n", u8::from(!pids.is_empty()))).unwrap();
    }
}

fn uid(text: &str) -> PodUid {
    PodUid::new(text).unwrap()
}

fn follow(pods: &mut Pods, wanted: &[(&str, IpAddr)]) {
    let all: Vec<_> = wanted.iter().map(|(text, address)| (uid(text), Arc::<str>::from(*text), [*address])).collect();
    pods.follow(all.iter().map(|(uid, name, addresses)| (uid, name, addresses.as_slice())));
}

fn own() -> u32 {
    std::process::id()
}

fn missing(pods: &Pods, text: &str) -> Missing {
    pods.find(&uid(text)).unwrap_err()
}

/// Waits for news of a pod, which must come without a sweep.
async fn news(pods: &mut Pods) -> Vec<String> {
    let news = async {
        loop {
            pods.stirred().await;
            let changed = pods.take();
            if !changed.is_empty() {
                return changed.iter().map(|name| name.as_ref().to_owned()).collect();
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(5), news).await.expect("no news")
}

#[tokio::test]
async fn a_pod_is_found_in_every_layout_of_the_kubelet() {
    for path in [
        format!("kubepods/pod{UID}/7e1f0a"),
        format!("kubepods/besteffort/pod{UID}/7e1f0a"),
        format!("kubepods.slice/kubepods-pod{UNDERSCORED}.slice/cri-containerd-7e1f0a.scope"),
        format!("kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{UNDERSCORED}.slice/crio-7e1f0a.scope"),
        format!("kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{UNDERSCORED}.slice/docker-7e.scope"),
        format!("kubelet/kubepods/burstable/pod{UID}/7e1f0a"),
        format!("kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod{UNDERSCORED}.slice/cri-containerd-7e.scope"),
        format!("docker/4fd1/kubelet/kubepods/burstable/pod{UID}/7e1f0a"),
        format!(
            "system.slice/docker-4fd1.scope/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-pod{UNDERSCORED}.slice/cri-containerd-7e.scope"
        ),
        // A container that divides its cgroup.
        format!("kubepods/pod{UID}/7e1f0a/init.scope"),
    ] {
        let node = Node::new();
        node.container(&path, &[own()]);
        node.container("system.slice/ssh.service", &[own()]);
        let mut pods = node.pods();
        follow(&mut pods, &[(UID, HERE), (STATIC, HERE)]);
        assert!(pods.find(&uid(UID)).is_ok(), "{path}: {}", missing(&pods, UID));
        assert!(matches!(missing(&pods, STATIC), Missing::Cgroup), "{path}");
        assert_eq!(pods.trees().len(), 1, "{path}");
    }
}

#[tokio::test]
async fn a_static_pod_is_found_by_its_hash() {
    let node = Node::new();
    node.container(
        &format!("kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{STATIC}.slice/a.scope"),
        &[own()],
    );
    let mut pods = node.pods();
    follow(&mut pods, &[(STATIC, HERE)]);
    assert!(pods.find(&uid(STATIC)).is_ok());
}

#[test]
fn one_walk_finds_all_pods_and_leaves_those_of_a_kubelet_in_a_pod_alone() {
    let node = Node::new();
    let inner = uid("11111111-1111-1111-1111-111111111111");
    node.dir(&format!("kubepods/burstable/pod{UID}/7e/kubepods/pod{inner}/9a"));
    node.dir(&format!("kubepods/pod{STATIC}/7e"));
    node.dir("kubepods/besteffort");
    let trees = tree::trees(&node.0);
    assert_eq!(trees, [node.0.join("kubepods")]);
    let listing = tree::list(&trees);
    let mut found: Vec<_> = listing.pods.keys().map(PodUid::as_str).collect();
    found.sort_unstable();
    assert_eq!(found, [UID, STATIC]);
    let mut parents = listing.parents;
    parents.sort();
    assert_eq!(parents, ["kubepods", "kubepods/besteffort", "kubepods/burstable"].map(|dir| node.0.join(dir)));
}

#[tokio::test]
async fn why_a_pod_is_not_found_is_said() {
    let node = Node::new();
    let mut pods = node.pods();
    follow(&mut pods, &[(UID, HERE)]);
    let tree = missing(&pods, UID);
    assert!(matches!(tree, Missing::Tree(_)), "{tree}");
    assert!(tree.to_string().contains("--cgroup-root") && !tree.is_yet_to_come());

    node.dir("kubepods/burstable");
    pods.sweep();
    assert!(matches!(missing(&pods, UID), Missing::Cgroup));

    let container = node.dir(&format!("kubepods/burstable/pod{UID}/7e"));
    pods.sweep();
    assert!(matches!(missing(&pods, UID), Missing::Process));

    // A zombie has no namespace any more, and neither has what never was.
    let mut zombie = ended();
    processes(&container, &[zombie.id(), 4_194_304]);
    pods.sweep();
    assert!(matches!(missing(&pods, UID), Missing::Process), "{}", missing(&pods, UID));
    zombie.wait().unwrap();

    processes(&container, &[0]);
    pods.sweep();
    let hidden = missing(&pods, UID);
    assert!(matches!(hidden, Missing::Hidden) && hidden.to_string().contains("hostPID"), "{hidden}");

    // The runtime has not given it its namespace yet: it is in the node's, which has none of the pod's addresses.
    follow(&mut pods, &[(UID, ELSEWHERE)]);
    processes(&container, &[own()]);
    pods.sweep();
    let elsewhere = missing(&pods, UID);
    assert!(matches!(elsewhere, Missing::Address { namespaces: 1 }) && elsewhere.is_yet_to_come(), "{elsewhere}");

    follow(&mut pods, &[(UID, HERE)]);
    assert!(pods.find(&uid(UID)).is_ok());
}

/// A process that has ended and that nobody has waited for.
fn ended() -> Child {
    let child = Command::new("true").stdin(Stdio::null()).spawn().unwrap();
    let stat = format!("/proc/{}/stat", child.id());
    while !fs::read_to_string(&stat).unwrap().contains(") Z ") {
        std::thread::sleep(Duration::from_millis(1));
    }
    child
}

#[tokio::test]
async fn what_comes_and_goes_is_heard_of_without_a_sweep() {
    let node = Node::new();
    node.dir("kubepods");
    let mut pods = node.pods();
    follow(&mut pods, &[(UID, HERE), (STATIC, HERE)]);
    // The class's directory is new, too.
    let container = node.dir(&format!("kubepods/burstable/pod{UID}/7e"));
    // The directory without a process is news, or is passed over when the process is there already.
    assert_eq!(news(&mut pods).await, [UID]);
    processes(&container, &[own()]);
    if pods.find(&uid(UID)).is_err() {
        assert_eq!(news(&mut pods).await, [UID]);
    }
    assert!(pods.find(&uid(UID)).is_ok(), "{}", missing(&pods, UID));

    // The container ends and another one takes its place.
    fs::remove_dir_all(&container).unwrap();
    assert_eq!(news(&mut pods).await, [UID]);
    assert!(matches!(missing(&pods, UID), Missing::Process));
    node.container(&format!("kubepods/burstable/pod{UID}/8f"), &[own()]);
    assert_eq!(news(&mut pods).await, [UID]);
    assert!(pods.find(&uid(UID)).is_ok());

    fs::remove_dir_all(node.0.join(format!("kubepods/burstable/pod{UID}"))).unwrap();
    while pods.find(&uid(UID)).is_ok() || matches!(missing(&pods, UID), Missing::Process) {
        assert_eq!(news(&mut pods).await, [UID]);
    }
    assert!(matches!(missing(&pods, UID), Missing::Cgroup));
}

#[tokio::test]
async fn nobody_is_woken_by_a_pod_that_is_not_looked_for() {
    let node = Node::new();
    let other = node.container(&format!("kubepods/burstable/pod{STATIC}/7e"), &[own()]);
    node.container(&format!("kubepods/burstable/pod{UID}/7e"), &[own()]);
    let mut pods = node.pods();
    let quiet = |pods: &Pods| {
        let stirred = pods.stirred();
        let stirred = std::pin::pin!(stirred);
        // One poll, after the events had every chance: they are queued when the call that causes them returns.
        Future::poll(stirred, &mut Context::from_waker(Waker::noop())).is_pending()
    };
    assert!(quiet(&pods), "nothing is looked for");
    follow(&mut pods, &[(UID, HERE)]);
    processes(&other, &[]);
    node.dir(&format!("kubepods/burstable/pod{STATIC}/8f"));
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(quiet(&pods));
    follow(&mut pods, &[(STATIC, HERE)]);
    assert!(matches!(pods.find(&uid(STATIC)), Err(Missing::Process)));
    assert!(matches!(missing(&pods, UID), Missing::Cgroup), "no longer looked for");
    processes(&other, &[own()]);
    assert_eq!(news(&mut pods).await, [STATIC]);
}
