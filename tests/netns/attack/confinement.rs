//! The agent has what docs/security.md says, thread by thread, and nothing else; and that is enough for all it does.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;

use interceptor_tests::Agent;
use nix::sys::signal::Signal;
use serde_json::json;

use crate::stage::{LIMIT, Scene, Stage, ask, routes, vip};

/// The capabilities of the agent (include/uapi/linux/capability.h).
const NET_BIND_SERVICE: u64 = 1 << 10;
const NET_ADMIN: u64 = 1 << 12;
const SYS_PTRACE: u64 = 1 << 19;
const SYS_ADMIN: u64 = 1 << 21;
const PERFMON: u64 = 1 << 38;
const BPF: u64 = 1 << 39;
const AGENT: u64 = NET_BIND_SERVICE | NET_ADMIN | SYS_PTRACE | SYS_ADMIN | PERFMON | BPF;

/// The fields of one thread's /proc/PID/task/TID/status.
type Fields = BTreeMap<String, String>;

fn threads(pid: u32) -> Vec<Fields> {
    let read = |task: fs::DirEntry| {
        let text = fs::read_to_string(task.path().join("status")).ok()?;
        let fields = text.lines().filter_map(|line| line.split_once(':'));
        Some(fields.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect())
    };
    fs::read_dir(format!("/proc/{pid}/task")).unwrap().filter_map(|task| read(task.unwrap())).collect()
}

fn set(thread: &Fields, name: &str) -> u64 {
    u64::from_str_radix(&thread[name], 16).unwrap()
}

fn check(thread: &Fields, kept: u64, filters: &str) {
    for name in ["CapPrm", "CapEff"] {
        assert_eq!(set(thread, name), kept, "{name} of {thread:?}");
    }
    for name in ["CapInh", "CapAmb"] {
        assert_eq!(set(thread, name), 0, "{name} of {thread:?}");
    }
    assert_eq!(set(thread, "CapBnd"), AGENT, "{thread:?}");
    assert_eq!((thread["NoNewPrivs"].as_str(), thread["Seccomp"].as_str()), ("1", "2"), "{thread:?}");
    // Kernels from 5.9 count them.
    assert_eq!(thread.get("Seccomp_filters").map_or(filters, String::as_str), filters, "{thread:?}");
}

/// Two filters lie over all of the process, a third one over workers.
fn check_all(stage: &mut Stage) {
    let pid = stage.agent.process().pid();
    let (mut workers, mut others) = (0, 0);
    for thread in threads(pid) {
        if thread["Name"].starts_with("worker-") {
            check(&thread, SYS_ADMIN, "3");
            workers += 1;
        } else {
            check(&thread, AGENT, "2");
            others += 1;
        }
    }
    assert_eq!(workers, stage.agent.status().unwrap()["workers"].as_u64().unwrap());
    assert!(others >= 3, "control, heartbeat and takeover: {others}");
}

#[test]
fn each_thread_has_the_documented_rights_and_no_others_also_after_a_takeover() {
    let mut scene = Scene::worked_example("rightsleft");
    let caller = scene.caller("caller", Some("azureuser"));
    scene.deploy("serviceB", "default", 12);
    let mut stage = scene.start();
    check_all(&mut stage);
    let limits = fs::read_to_string(format!("/proc/{}/limits", stage.agent.process().pid())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{core}");
    // `status` says the same.
    let told = stage.agent.status().unwrap()["privileges"].clone();
    assert_eq!(told["no_new_privileges"], true);
    let named = |name: &str| {
        let all = told["threads"].as_array().unwrap();
        all.iter().find(|thread| thread["name"] == name).unwrap_or_else(|| panic!("no {name} in {told}"))
    };
    assert_eq!(named("worker-0")["capabilities"], json!(["CAP_SYS_ADMIN"]));
    let control = named("interceptor")["capabilities"].to_string();
    for name in ["BPF", "NET_ADMIN", "NET_BIND_SERVICE", "PERFMON", "SYS_ADMIN", "SYS_PTRACE"] {
        assert!(control.contains(&format!("\"CAP_{name}\"")), "{control}");
    }
    let text = stage.agent.text(&["status"]).unwrap();
    assert!(text.lines().any(|line| line.contains("worker-0") && line.contains(": CAP_SYS_ADMIN; ")), "{text}");
    // It takes over by what it has left, and captures a pod that comes later.
    let mut before = stage.agent.succeed(&stage.scene.lab, &stage.scene.config).unwrap();
    before.process().wait(LIMIT).unwrap();
    check_all(&mut stage);
    let late = stage.scene.caller("late", Some("azureuser"));
    stage.reload();
    for pod in [&caller, &late] {
        assert_eq!(routes(&ask(pod, vip(12), "/", &["Host: serviceB"])).len(), 1, "{}", pod.name());
    }
}

#[test]
fn an_agent_that_is_given_no_more_than_it_keeps_does_all_of_its_work() {
    let mut scene = Scene::worked_example("rightsgiven");
    let caller = scene.caller("caller", Some("azureuser"));
    scene.deploy("serviceB", "default", 12);
    scene.deploy("serviceB", "azureuser", 13);
    // Ports below 1024 are not used here. Before 5.11 maps are charged to a limit that has to be lifted.
    let given = "--bounding-set=-all,+cap_12,+cap_19,+cap_21,+cap_24,+cap_38,+cap_39";
    let mut agent = Agent::start_unready_by(&scene.lab, &["setpriv", given], &scene.config, &[]).unwrap();
    agent.wait_ready().unwrap_or_else(|error| panic!("{error:#}"));
    for thread in threads(agent.process().pid()) {
        let is_worker = thread["Name"].starts_with("worker-");
        let kept = if is_worker { SYS_ADMIN } else { AGENT & !NET_BIND_SERVICE };
        assert_eq!((set(&thread, "CapPrm"), set(&thread, "CapEff")), (kept, kept), "{thread:?}");
    }
    let mut stage = Stage { agent, scene };
    assert_eq!(ask(&caller, vip(12), "/", &["Host: serviceB"])["name"], "serviceB.azureuser");
    let late = stage.scene.caller("late", None);
    stage.reload();
    let named = ["Host: serviceB", "azds-route-as: azureuser"];
    assert_eq!(ask(&late, vip(12), "/", &named)["name"], "serviceB.azureuser");
    stage.expect_running();
}

#[test]
fn an_agent_that_crashes_leaves_nothing_of_what_it_held() {
    let scene = Scene::worked_example("core");
    let node = scene.lab.on_node();
    // Cores are allowed, and would lie there.
    let allowed = format!("cd {} && ulimit -c unlimited", scene.lab.temp().display());
    let run = format!("{allowed} && exec \"$0\" \"$@\"");
    let mut agent = Agent::start_unready_by(&scene.lab, &["sh", "-c", &run], &scene.config, &[]).unwrap();
    agent.wait_ready().unwrap_or_else(|error| panic!("{error:#}"));
    agent.process().signal(Signal::SIGABRT).unwrap();
    let status = agent.process().wait(LIMIT).unwrap();
    assert_eq!((status.signal(), status.core_dumped()), (Some(6), false));
    // The opposite: anything else is dumped, unless this machine has another place for it, or none.
    let other = node.output("sh", ["-c", &format!("{allowed} && kill -ABRT $$")]).unwrap().status;
    assert_eq!(other.signal(), Some(6));
    if fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap().trim() == "core" {
        assert!(other.core_dumped());
    }
}
