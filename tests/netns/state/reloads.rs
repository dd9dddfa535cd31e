//! The configuration changes a hundred times a second under load: no request fails, each is answered by a copy that was right
//! at some time, what was written last is in force soon, and neither memory nor the log grows with it.

use std::fs;
use std::sync::Mutex;
use std::thread::sleep;
use std::time::{Duration, Instant};

use interceptor_tests::{Agent, Pod};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::Over;
use crate::stage::{Client, Scene, Stage, ask, http_service, vip};

const PERIOD: Duration = Duration::from_millis(10);
/// Three of them: copies that are right in one are not in the next.
const PHASE: Duration = Duration::from_millis(2500);
/// How long what was written may take to be in force; more than the promise, as the machine is busy.
const IN_FORCE: Duration = Duration::from_secs(1);
const HEADER: &str = "azds-route-as: azureuser";
/// How much the agent may grow meanwhile, KiB.
const GROWTH: u64 = 24 * 1024;
/// Lines that a second may add to the log.
const LINES_A_SECOND: usize = 3;

/// A request: when it began and ended, and who answered.
type Answer = (Instant, Instant, String);

fn name(answer: &Value) -> String {
    answer["name"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
}

fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse().unwrap()
}

#[test]
fn a_configuration_that_changes_a_hundred_times_a_second_costs_no_request_and_no_wrong_answer() {
    let mut scene = Scene::worked_example("storm");
    scene.deploy("peer", "default", 10);
    let caller = scene.caller("caller", Some("default"));
    let copies: Vec<Pod> = (0..7).map(|number| scene.app(&format!("copy-{number}"))).collect();
    let texts: Vec<String> = copies
        .iter()
        .map(|copy| scene.config.clone().service(&http_service("peer", "azureuser", 11).endpoint(copy)).to_text())
        .collect();
    let agent = Agent::start_deployed(&scene.lab, &scene.config).unwrap_or_else(|error| panic!("{error:#}"));
    let mut stage = Stage { agent, scene };
    let pid = stage.agent.process().pid();
    stage.agent.write_config(&texts[0]).unwrap();
    while name(&ask(&caller, vip(10), "/first", &[HEADER])) != "copy-0" {
        sleep(PERIOD);
    }
    let (memory, lines) = (resident(pid), stage.agent.log_tail(usize::MAX).lines().count());
    let (over, answers): (_, Mutex<Vec<Answer>>) = (Over::default(), Mutex::default());
    let mut written: Vec<(Instant, usize)> = vec![(Instant::now(), 0)];
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut client = Client::new(&caller, vip(10));
            while !over.is() {
                let begin = Instant::now();
                let answer = name(&client.get("/kept", &[HEADER]));
                answers.lock().unwrap().push((begin, Instant::now(), answer));
            }
        });
        scope.spawn(|| {
            while !over.is() {
                let begin = Instant::now();
                let answer = name(&ask(&caller, vip(10), "/fresh", &[HEADER]));
                answers.lock().unwrap().push((begin, Instant::now(), answer));
            }
        });
        let end = over.at_the_end();
        let begin = Instant::now();
        for turn in 0.. {
            let phase = begin.elapsed().as_millis() / PHASE.as_millis();
            let Some(phase) = usize::try_from(phase).ok().filter(|phase| *phase < 3) else { break };
            let copy = phase * 2 + turn % 2;
            written.push((Instant::now(), copy));
            stage.agent.write_config(&texts[copy]).unwrap();
            if phase == 2 {
                kill(Pid::from_raw(pid.cast_signed()), Signal::SIGHUP).unwrap();
            }
            sleep((begin + PERIOD * (u32::try_from(turn).unwrap() + 1)).saturating_duration_since(Instant::now()));
        }
        written.push((Instant::now(), 6));
        stage.agent.write_config(&texts[6]).unwrap();
        sleep(IN_FORCE + Duration::from_millis(500));
        drop(end);
    });
    let answers = answers.into_inner().unwrap();
    let writes = written.len();
    for (begin, end, who) in &answers {
        // What was written in this time, and what had been written last before it.
        let since = written.iter().rposition(|(at, _)| *at + IN_FORCE <= *begin).unwrap_or(0);
        let right =
            written[since..].iter().take_while(|(at, _)| at <= end).any(|(_, copy)| *who == format!("copy-{copy}"));
        assert!(right, "{who} answered, which was replaced long ago");
    }
    let last = written[writes - 1].0;
    let took = answers.iter().find(|(_, _, who)| who == "copy-6").map(|(_, end, _)| end.duration_since(last));
    let took = took.expect("the last configuration came into force");
    let (grown, log) = (resident(pid).saturating_sub(memory), stage.agent.log_tail(usize::MAX));
    let added = log.lines().count() - lines;
    println!(
        "{writes} configurations in {:?}, {} requests; the last one in force after {took:?}; {grown} KiB, {added} lines",
        last.duration_since(written[0].0),
        answers.len()
    );
    assert!(writes > 300, "{writes} configurations are no storm");
    assert!(took <= IN_FORCE, "{took:?}");
    assert!(grown <= GROWTH, "{grown} KiB");
    assert!(added <= LINES_A_SECOND * 10, "{added} lines:\n{log}");
    let version = stage.agent.snapshot_version().unwrap();
    assert!(version > 10, "{version} came into force");
    stage.expect_running();
}
