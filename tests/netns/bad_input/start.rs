//! Machines and rights that the agent cannot work with.

use interceptor_tests::bins;

use crate::stage::Scene;

#[test]
fn an_agent_without_rights_says_what_it_lacks() {
    let scene = Scene::worked_example("rights");
    let file = scene.lab.temp().join("interceptor.yaml");
    std::fs::write(&file, scene.config.to_text()).unwrap();
    let binary = bins::interceptor().unwrap();
    // Root in name only: it may read the file and make the socket, but load nothing.
    let limits = ["--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all"];
    let (binary, file) = (binary.display().to_string(), file.display().to_string());
    let run = [&limits[..], &[&binary, "run", "--config", &file]].concat();
    let output = scene.lab.on_node().output("setpriv", run).unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("root") || error.contains("CAP_BPF"), "{error}");
    assert!(!scene.config.admin_socket().exists(), "nothing is left behind");
    let check = [&limits[..], &[&binary, "check", "-o", "json"]].concat();
    let output = scene.lab.on_node().output("setpriv", check).unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("fail") && text.contains("CAP_BPF"), "{text}");
}

#[test]
fn a_file_or_a_cgroup_that_is_not_there_is_named() {
    let mut scene = Scene::worked_example("nofile");
    let binary = bins::interceptor().unwrap();
    let missing = scene.lab.temp().join("missing.yaml");
    let args = ["run".as_ref(), "--config".as_ref(), missing.as_os_str()];
    let output = scene.lab.on_node().output(&binary, args).unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("missing.yaml") && error.contains("No such file"), "{error}");
    // Without its cgroup the agent still takes what comes in; `status` says what is missing.
    let nowhere = scene.lab.pods_cgroup().join("nowhere");
    scene.config.set("capture", "cgroup", nowhere.display().to_string());
    let stage = scene.start();
    let hooks = stage.agent.status().unwrap()["hooks"].to_string();
    assert!(hooks.contains("nowhere"), "{hooks}");
}
