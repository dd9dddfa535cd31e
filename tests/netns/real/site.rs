//! A node for real servers: files that they serve, and copies of them in the spaces of the worked example.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use interceptor_tests::{Pod, Process};

use crate::stage::{Scene, http_service};

/// The number of the service that proxies pass requests on to (its copy in `default`).
pub(crate) const BACKEND: u8 = 20;

/// Starts a server in a pod of a space, on port 8080 of both families.
pub(crate) type Start = fn(&Site, &Pod, &str) -> Process;

/// A scene with files.
pub(crate) struct Site {
    pub(crate) scene: Scene,
}

impl Site {
    /// The spaces of the worked example, nothing deployed.
    pub(crate) fn new(name: &str) -> Site {
        let scene = Scene::worked_example(name);
        // Apache leaves root's rights behind before it opens a file: it must get through, but may not look around.
        fs::set_permissions(scene.lab.temp(), Permissions::from_mode(0o711)).unwrap();
        let site = Site { scene };
        for dir in [site.files(), site.uploads()] {
            fs::create_dir(dir).unwrap();
        }
        site
    }

    /// What the servers serve.
    pub(crate) fn files(&self) -> PathBuf {
        self.scene.lab.temp().join("files")
    }

    /// Where nginx stores what is sent to `/upload/`.
    pub(crate) fn uploads(&self) -> PathBuf {
        self.scene.lab.temp().join("upload")
    }

    /// Writes a file to be served; its path.
    pub(crate) fn write(&self, name: &str, content: &[u8]) -> String {
        let path = self.files().join(name);
        fs::write(&path, content).unwrap();
        path.display().to_string()
    }

    /// A new directory for a server's own files.
    pub(crate) fn directory(&self, pod: &Pod) -> PathBuf {
        let dir = self.scene.lab.temp().join(format!("server-{}", pod.name()));
        fs::create_dir(&dir).unwrap();
        dir
    }

    /// Deploys `service.space`: a captured pod with the server in it, and the service before it.
    pub(crate) fn deploy(
        &mut self,
        service: &str,
        space: &str,
        number: u8,
        start: impl FnOnce(&Site, &Pod, &str) -> Process,
    ) -> Pod {
        let pod = self.scene.caller(&format!("{service}.{space}"), Some(space));
        let process = start(self, &pod, space);
        self.scene.keep(&pod, 8080, process);
        self.scene.publish(&http_service(service, space, number).endpoint(&pod));
        pod
    }
}

/// Bytes in which every part tells where it was.
pub(crate) fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n / 251 + n).to_le_bytes()[0]).collect()
}
