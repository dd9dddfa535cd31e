//! Pods come and go all the time: how long one waits until it is captured, and that nothing is left of those that went.

use std::fs;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use interceptor_tests::kubelet::{Class, Driver, Kubelet};
use interceptor_tests::pod::addresses;
use interceptor_tests::{Service, wait};

use super::{Node, remove, uid};
use crate::stage::{cluster_ip, vip};

/// Pods in all, one of which stays, and how many are made at a time.
const PODS: u8 = 101;
const AT_A_TIME: usize = 4;
/// What the 99th of 100 may take from the moment when the pod's network is up.
const BOUND: Duration = Duration::from_millis(300);

/// The ClusterIP that no pod has a route to: a connection succeeds only if the agent takes it.
const NOWHERE: u8 = 99;

#[test]
fn a_hundred_pods_that_come_and_go_are_captured_within_300_ms() {
    let mut node = Node::new("churn");
    node.config().service(&Service::new("nowhere", "default").address(cluster_ip(NOWHERE)).port("any", 80, 80, None));
    for number in 3..3 + PODS {
        node.workload(&format!("pod{number}"), &uid(number), number);
    }
    let kubelet = node.kubelet(Driver::Systemd);
    fs::create_dir_all(kubelet.tree()).unwrap();
    node.start();
    // One that is there all the time, and on whose account nothing may change.
    let first = node.lab().pod_at("first", &kubelet.container(&uid(3), Class::Burstable, "a0")).unwrap();
    node.is_captured(&first, "pod3", "/before");
    let before = descriptors(&mut node);

    let times: Mutex<Vec<Duration>> = Mutex::default();
    thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                // As many as there are: each thread takes the next number by making the next pod.
                for _ in 0..usize::from(PODS - 1) / AT_A_TIME {
                    let took = one(&node, &kubelet);
                    times.lock().unwrap().push(took);
                }
            });
        }
    });
    let mut times = times.into_inner().unwrap();
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() * percent).div_ceil(100) - 1];
    println!(
        "{} pods, {AT_A_TIME} at a time, from the network being up to captured: p50 {:?}, p90 {:?}, p99 {:?}, max {:?}",
        times.len(),
        at(50),
        at(90),
        at(99),
        at(100)
    );
    assert!(at(99) <= BOUND, "{times:?}");

    node.is_captured(&first, "pod3", "/after");
    wait::until(Duration::from_secs(10), "the agent to let go of the pods", || {
        let now = descriptors(&mut node);
        anyhow::ensure!(now <= before, "{now} descriptors, {before} before");
        Ok(())
    })
    .unwrap();
    let status = node.agent().status().unwrap();
    assert_eq!(status["workloads"]["captured"], 1, "{status}");
}

/// Makes a pod, waits until it is captured, and removes it.
fn one(node: &Node, kubelet: &Kubelet) -> Duration {
    static NEXT: Mutex<u8> = Mutex::new(4);
    let (pod, dir) = {
        // The laboratory numbers pods in the order in which they are made, and the configuration knows their addresses.
        let mut next = NEXT.lock().unwrap();
        let number = *next;
        *next += 1;
        let class = if number.is_multiple_of(2) { Class::Burstable } else { Class::BestEffort };
        let dir = kubelet.container(&uid(number), class, "a0");
        let pod = node.lab().pod_at(&format!("pod{number}"), &dir).unwrap();
        assert_eq!(pod.v4, addresses(number).0);
        let route = format!("route add unreachable {}/32", cluster_ip(NOWHERE));
        assert!(pod.output("ip", route.split(' ')).unwrap().status.success());
        (pod, kubelet.pod(&uid(number), class))
    };
    let begin = Instant::now();
    // What is not redirected fails at once. It could not be told by the application's answer: the first packet on a link
    // that has just come up is often lost, and sent again after a second.
    let captured = wait::until(Duration::from_secs(10), "a connection to be taken", || pod.connect(vip(NOWHERE)));
    let took = begin.elapsed();
    captured.unwrap_or_else(|error| panic!("{error:#}\n{}", node.agent().log_tail(40)));
    remove(&pod, &dir);
    took
}

fn descriptors(node: &mut Node) -> usize {
    let pid = node.agent.as_mut().unwrap().process().pid();
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}
