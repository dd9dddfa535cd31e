//! What a pod finds of the agent's own sockets: no metrics, no admin socket, no socket of takeovers.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};

use interceptor_tests::place::Place;

use crate::stage::Scene;

/// Connects to a unix socket; the exit status and the error's name tell what came of it.
const CONNECT: &str = "
import errno, socket, sys
s = socket.socket(socket.AF_UNIX, getattr(socket, sys.argv[2]))
try:
    s.connect(sys.argv[1])
    print('connected')
except OSError as e:
    print(errno.errorcode[e.errno])
";

fn connect(from: &Place, wrapper: &[&str], path: &str, kind: &str) -> String {
    let python = ["/usr/bin/python3", "-c", CONNECT, path, kind];
    let (program, args) = match wrapper {
        [program, args @ ..] => (*program, [args, &python].concat()),
        [] => ("/usr/bin/python3", python[1..].to_vec()),
    };
    from.run(program, args).unwrap().trim().to_owned()
}

#[test]
fn a_pod_finds_neither_metrics_nor_the_admin_socket_nor_that_of_takeovers() {
    let mut scene = Scene::worked_example("sockets");
    let pod = scene.caller("pod", Some("azureuser"));
    let mut stage = scene.start();
    // The metrics are on the node's loopback.
    for to in ["127.0.0.1:15020", "[::1]:15020", "10.244.0.1:15020", "192.0.2.1:15020"] {
        assert!(pod.connect(to.parse().unwrap()).is_err(), "{to}");
    }
    assert!(stage.scene.lab.on_node().connect("127.0.0.1:15020".parse().unwrap()).is_ok());
    let admin = stage.scene.config.admin_socket().clone();
    let directory = admin.parent().unwrap().to_owned();
    // As an operator might have it: anybody may pass, and what protects the sockets is their own mode.
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
    let sockets: Vec<String> = fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_type().unwrap().is_socket())
        .map(|entry| entry.path().display().to_string())
        .collect();
    assert!(sockets.len() >= 2, "admin and takeover: {sockets:?}");
    let user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    let hide = format!("mount -t tmpfs none {} && exec \"$@\"", directory.display());
    let container = ["unshare", "--mount", "--propagation=private", "sh", "-c", hide.as_str(), "sh"];
    for path in &sockets {
        let admin = *path == admin.display().to_string();
        let kind = if admin { "SOCK_STREAM" } else { "SOCK_SEQPACKET" };
        assert_eq!(connect(&pod, &user, path, kind), "EACCES", "{path} as another user");
        assert_eq!(connect(&pod, &container, path, kind), "ENOENT", "{path} from another mount namespace");
        // The laboratory's pods share the node's files: to root of the node it is open.
        assert_eq!(connect(&pod, &[], path, kind), "connected", "{path} as root of the node");
    }
    // No abstract socket, which belongs to a network namespace and has no mode.
    let pid = stage.agent.process().pid();
    let table = fs::read_to_string(format!("/proc/{pid}/net/unix")).unwrap();
    let own: Vec<&str> = table.lines().filter(|line| line.contains("@") && line.contains("interceptor")).collect();
    assert!(own.is_empty(), "{own:?}");
    stage.expect_running();
}
