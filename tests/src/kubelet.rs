//! Where the kubelet puts pods: the paths of their cgroups, as both of its drivers name them.
//!
//! Tests make pods there with [`Lab::pod_at`](crate::Lab::pod_at). Written down from what the kubelet does, not from what
//! the agent reads.

use std::path::{Path, PathBuf};

/// Who makes the kubelet's cgroups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    /// The kubelet itself.
    Cgroupfs,
    /// systemd, in slices and scopes.
    Systemd,
}

/// A pod's class of service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Directly below the directory of all pods.
    Guaranteed,
    /// In a directory of its own.
    Burstable,
    /// Likewise.
    BestEffort,
}

/// A kubelet's part of the cgroup tree.
#[derive(Debug, Clone)]
pub struct Kubelet {
    mount: PathBuf,
    driver: Driver,
    /// The kubelet's `--cgroup-root` without slashes; empty for none.
    root: &'static str,
}

impl Kubelet {
    /// With `mount` in the place of the cgroup2 mount.
    pub fn new(mount: &Path, driver: Driver) -> Kubelet {
        Kubelet { mount: mount.to_owned(), driver, root: "" }
    }

    /// The same with a `--cgroup-root` of one part, as kind has it.
    pub fn below(self, root: &'static str) -> Kubelet {
        Kubelet { root, ..self }
    }

    /// The directory above all pods.
    pub fn tree(&self) -> PathBuf {
        self.path(&[self.root, "kubepods"])
    }

    /// A pod's directory.
    pub fn pod(&self, uid: &str, class: Class) -> PathBuf {
        let class = match class {
            Class::Guaranteed => "",
            Class::Burstable => "burstable",
            Class::BestEffort => "besteffort",
        };
        let uid = if self.driver == Driver::Systemd { uid.replace('-', "_") } else { uid.to_owned() };
        self.path(&[self.root, "kubepods", class, &format!("pod{uid}")])
    }

    /// A container's directory; containerd is the runtime.
    pub fn container(&self, uid: &str, class: Class, id: &str) -> PathBuf {
        let pod = self.pod(uid, class);
        match self.driver {
            Driver::Cgroupfs => pod.join(id),
            Driver::Systemd => pod.join(format!("cri-containerd-{id}.scope")),
        }
    }

    fn path(&self, parts: &[&str]) -> PathBuf {
        let parts: Vec<&str> = parts.iter().copied().filter(|part| !part.is_empty()).collect();
        match self.driver {
            Driver::Cgroupfs => parts.iter().fold(self.mount.clone(), |path, part| path.join(part)),
            // A slice's name holds the names of all slices above it.
            Driver::Systemd => (1..=parts.len())
                .fold(self.mount.clone(), |path, n| path.join(format!("{}.slice", parts[..n].join("-")))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_paths_are_those_of_real_nodes() {
        let (mount, uid) = (Path::new("/c"), "3f2b1c9a-5d61-4be8-9f5e-0a6c1d2e3f40");
        let plain = Kubelet::new(mount, Driver::Cgroupfs);
        let systemd = Kubelet::new(mount, Driver::Systemd);
        for (path, real) in [
            (plain.container(uid, Class::Guaranteed, "7e"), "/c/kubepods/pod3f2b1c9a-5d61-4be8-9f5e-0a6c1d2e3f40/7e"),
            (plain.pod(uid, Class::BestEffort), "/c/kubepods/besteffort/pod3f2b1c9a-5d61-4be8-9f5e-0a6c1d2e3f40"),
            (plain.below("kubelet").tree(), "/c/kubelet/kubepods"),
            (
                systemd.container(uid, Class::Burstable, "7e"),
                "/c/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod3f2b1c9a_5d61_4be8_9f5e_0a6c1d2e3f40.slice/cri-containerd-7e.scope",
            ),
            (
                systemd.pod(uid, Class::Guaranteed),
                "/c/kubepods.slice/kubepods-pod3f2b1c9a_5d61_4be8_9f5e_0a6c1d2e3f40.slice",
            ),
            (systemd.below("kubelet").tree(), "/c/kubelet.slice/kubelet-kubepods.slice"),
        ] {
            assert_eq!(path, Path::new(real));
        }
    }
}
