//! The names that the kubelet gives to cgroups: which directory is a pod's, and of which pod. Pure text.
//!
//! ```text
//! cgroupfs  kubepods/pod<uid>/<id>                                                       guaranteed
//!           kubepods/burstable/pod<uid>/<id>
//! systemd   kubepods.slice/kubepods-pod<uid>.slice/cri-containerd-<id>.scope             guaranteed
//!           kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod<uid>.slice/crio-<id>.scope
//! nested    kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod<uid>.slice/…       --cgroup-root=/kubelet (kind)
//! ```
//!
//! A slice's name repeats those above it with dashes between, so that systemd's names have `_` for the UID's own dashes.
//! The names of containers differ from runtime to runtime and are never looked at.

use crate::config::PodUid;

/// The name that the kubelet gives to the cgroup above all pods.
const TREE: &str = "kubepods";
/// The suffix of a cgroup that systemd made.
const SLICE: &str = ".slice";

/// Whether this is the directory above all pods, whatever lies above it.
pub(super) fn is_tree(name: &str) -> bool {
    name == TREE || name.strip_suffix(SLICE).and_then(|slice| slice.rsplit('-').next()) == Some(TREE)
}

/// The pod whose directory this is.
pub(super) fn pod_of(name: &str) -> Option<PodUid> {
    match name.strip_suffix(SLICE) {
        Some(slice) => PodUid::new(&slice.rsplit('-').next()?.strip_prefix("pod")?.replace('_', "-")),
        None => PodUid::new(name.strip_prefix("pod")?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UID: &str = "3f2b1c9a-5d61-4be8-9f5e-0a6c1d2e3f40";
    const STATIC: &str = "8b7d1c5e9f0a4b3c2d1e0f9a8b7c6d5e";

    #[test]
    fn both_drivers_name_a_pod_by_its_uid() {
        for (name, uid) in [
            ("pod3f2b1c9a-5d61-4be8-9f5e-0a6c1d2e3f40", UID),
            ("kubepods-pod3f2b1c9a_5d61_4be8_9f5e_0a6c1d2e3f40.slice", UID),
            ("kubepods-burstable-pod3f2b1c9a_5d61_4be8_9f5e_0a6c1d2e3f40.slice", UID),
            ("kubelet-kubepods-besteffort-pod3f2b1c9a_5d61_4be8_9f5e_0a6c1d2e3f40.slice", UID),
            ("pod8b7d1c5e9f0a4b3c2d1e0f9a8b7c6d5e", STATIC),
            ("kubepods-burstable-pod8b7d1c5e9f0a4b3c2d1e0f9a8b7c6d5e.slice", STATIC),
        ] {
            assert_eq!(pod_of(name).as_ref().map(PodUid::as_str), Some(uid), "{name}");
        }
    }

    #[test]
    fn nothing_else_is_a_pod() {
        for name in [
            "",
            "pod",
            "pod-",
            "burstable",
            "kubepods",
            "kubepods.slice",
            "kubepods-burstable.slice",
            "kubepods-burstable-pod.slice",
            "system.slice",
            "cri-containerd-7e1f0a.scope",
            "crio-7e1f0a.scope",
            "pod3f2b1c9a_5d61.scope",
            ".slice",
        ] {
            assert_eq!(pod_of(name), None, "{name}");
        }
    }

    #[test]
    fn the_directory_above_all_pods_is_known_wherever_it_lies() {
        for name in ["kubepods", "kubepods.slice", "kubelet-kubepods.slice", "a-b-kubepods.slice"] {
            assert!(is_tree(name), "{name}");
        }
        for name in
            ["", "kubepods.scope", "kubelet", "kubelet.slice", "kubepods-burstable.slice", "mykubepods", "system.slice"]
        {
            assert!(!is_tree(name), "{name}");
        }
    }
}
