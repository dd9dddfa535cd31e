//! The source on top: no batch before everything is known, one change at once, a burst together.

use std::sync::Arc;
use std::time::{Duration, Instant};

use interceptor::metrics::Metrics;
use interceptor::source::kubernetes::{Batch, Source};
use interceptor::status::StatusBoard;
use interceptor_tests::apiserver::{ApiServer, Fault};
use serde_json::{Value, json};
use tokio::task::LocalSet;
use tokio::time::timeout;

use crate::server::{LIMIT, client, namespace, pace, resource};

fn slice(number: usize, ready: bool) -> Value {
    json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
           "metadata": {"name": format!("a{number}-1"), "namespace": "dev",
                        "labels": {"kubernetes.io/service-name": format!("a{number}")}},
           "endpoints": [{"addresses": [format!("10.1.{}.{}", number / 250, number % 250)], "conditions": {"ready": ready}}],
           "ports": [{"name": "http", "port": 8080}]})
}

fn service(number: usize) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": format!("a{number}"), "namespace": "dev"},
           "spec": {"ports": [{"name": "http", "port": 80}]}})
}

async fn source(server: &ApiServer, node: &str) -> Source {
    let (status, metrics) = (StatusBoard::new("kubernetes", "test"), Metrics::new());
    Source::start(&client(server).await, node, &pace(), Arc::new(status), Arc::new(metrics))
}

async fn next(source: &mut Source) -> Batch {
    timeout(LIMIT, source.next()).await.unwrap()
}

#[tokio::test]
async fn nothing_is_told_before_everything_is_known() {
    LocalSet::new()
        .run_until(async {
            for missing in ["namespaces", "services", "endpointslices", "pods"] {
                let server = ApiServer::start().unwrap();
                server.apply(&namespace("dev")).unwrap();
                server.apply(&service(1)).unwrap();
                server.fail("list", missing, Fault::Status(403));
                let mut source = source(&server, "n1").await;
                let early = timeout(Duration::from_millis(300), source.next()).await;
                assert!(early.is_err(), "without {missing}: {early:?}");
                server.heal();
                let batch = next(&mut source).await;
                assert_eq!((batch.spaces.len(), batch.services.len()), (1, 1), "{missing}");
            }
        })
        .await;
}

#[tokio::test]
async fn a_cluster_with_nothing_for_us_is_known_too() {
    LocalSet::new()
        .run_until(async {
            let server = ApiServer::start().unwrap();
            let mut source = source(&server, "n1").await;
            assert!(next(&mut source).await.is_empty());
            // What concerns no space makes no batch.
            server
                .apply(
                    &json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x", "namespace": "default"},
                                 "spec": {"ports": [{"port": 80}]}}),
                )
                .unwrap();
            assert!(timeout(Duration::from_millis(200), source.next()).await.is_err());
            server.apply(&namespace("dev")).unwrap();
            assert_eq!(next(&mut source).await.spaces.len(), 1);
        })
        .await;
}

#[tokio::test]
async fn only_pods_of_this_node_are_asked_for() {
    LocalSet::new()
        .run_until(async {
            let server = ApiServer::start().unwrap();
            server.apply(&namespace("dev")).unwrap();
            for node in ["n1", "n2"] {
                server
                    .apply(&json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": node, "namespace": "dev"},
                                   "spec": {"nodeName": node}, "status": {"phase": "Running", "podIPs": [{"ip": "10.1.0.1"}]}}))
                    .unwrap();
            }
            let mut source = source(&server, "n1").await;
            let names: Vec<String> = next(&mut source).await.workloads.into_iter().map(|one| one.name).collect();
            assert_eq!(names, ["dev/n1"]);
            let all = server.calls();
            let verbs: Vec<_> = all.iter().map(|call| (call.verb.as_str(), call.resource.as_str())).collect();
            assert!(verbs.iter().all(|(verb, _)| ["list", "watch"].contains(verb)), "{verbs:?}");
            server.delete(resource("", "pods"), "dev", "n1").unwrap();
            assert_eq!(next(&mut source).await.workloads_gone, ["dev/n1"]);
        })
        .await;
}

#[tokio::test]
async fn one_change_comes_at_once_and_a_burst_together() {
    LocalSet::new()
        .run_until(async {
            let server = ApiServer::start().unwrap();
            server.apply(&namespace("dev")).unwrap();
            for number in 0..1000 {
                server.apply(&service(number)).unwrap();
                server.apply(&slice(number, true)).unwrap();
            }
            let mut source = source(&server, "n1").await;
            assert_eq!(next(&mut source).await.services.len(), 1000);
            source.in_force(Duration::from_micros(100));

            let mut waits = Vec::new();
            for number in 0..20 {
                tokio::time::sleep(Duration::from_millis(20)).await;
                let begin = Instant::now();
                server.apply(&slice(number, false)).unwrap();
                assert_eq!(next(&mut source).await.services.len(), 1);
                waits.push(begin.elapsed());
                source.in_force(Duration::from_micros(100));
            }
            waits.sort();
            // Far below a window for bursts, far above what a busy machine adds.
            assert!(waits[10] < Duration::from_millis(50), "one change alone waits {:?}", waits[10]);

            for number in 0..1000 {
                server.apply(&slice(number, number % 2 == 0)).unwrap();
            }
            let (mut batches, mut services) = (0, 0);
            // Half of them: the others are what they were.
            while services < 500 {
                let batch = next(&mut source).await;
                (batches, services) = (batches + 1, services + batch.services.len());
                source.in_force(Duration::from_millis(5));
            }
            println!("one change after {:?} (median); 1000 changes in {batches} batches", waits[10]);
            assert!(batches < 100, "{batches} batches");
        })
        .await;
}
