//! URLs come and go with spaces and copies, and what is somebody else's stays as it is.

use std::time::Instant;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::cluster::{Cluster, SUFFIX};

#[test]
fn r12_urls_come_and_go_with_spaces_and_copies() -> Result<()> {
    let mut cluster = Cluster::start()?;
    cluster.worked_example()?;
    let manager = cluster.manager("one")?;
    cluster.wait_hosts("dev", "azds-servicea", Some(&["*.s.dev.servicea", "dev.servicea"]))?;
    cluster.wait_hosts("dev", "azds-serviceb", Some(&["*.s.dev.serviceb", "dev.serviceb"]))?;
    cluster.wait_hosts("azureuser", "azds-servicea", Some(&["azureuser.s.dev.servicea"]))?;
    let object = cluster.get("ingress", "azureuser", "azds-servicea")?.unwrap_or_default();
    let path = &object["spec"]["rules"][0]["http"]["paths"][0];
    assert_eq!(path["backend"]["service"], json!({"name": "servicea", "port": {"number": 80}}));
    assert_eq!(object["spec"]["ingressClassName"], "nginx");

    // A new space without a copy finds its parent's, one with a copy has its own.
    let started = Instant::now();
    cluster.space("kate", Some("azureuser"))?;
    cluster.wait_hosts("azureuser", "azds-servicea", Some(&["azureuser.s.dev.servicea", "kate.s.dev.servicea"]))?;
    ensure!(started.elapsed().as_secs() < 10, "a URL took {:?}", started.elapsed());
    cluster.service("kate", "servicea", &[("http", 80)])?;
    cluster.wait_hosts("kate", "azds-servicea", Some(&["kate.s.dev.servicea"]))?;
    cluster.wait_hosts("azureuser", "azds-servicea", Some(&["azureuser.s.dev.servicea"]))?;

    let (kate, azureuser) = (cluster.name("kate"), cluster.name("azureuser"));
    cluster.kubectl(&["delete", "service", "servicea", "-n", &kate])?;
    cluster.wait_hosts("kate", "azds-servicea", None)?;
    cluster.wait_hosts("azureuser", "azds-servicea", Some(&["azureuser.s.dev.servicea", "kate.s.dev.servicea"]))?;
    cluster.kubectl(&["label", "namespace", &azureuser, "azds.io/space-"])?;
    cluster.wait_hosts("azureuser", "azds-servicea", None)?;
    // kate's parent is no space any more: a problem of kate's, and nobody else's.
    let problem = manager.wait_problem("SpaceAtFault")?;
    assert_eq!((&problem["kind"], &problem["name"]), (&json!("Namespace"), &json!(kate)));
    cluster.wait_hosts("dev", "azds-servicea", Some(&["*.s.dev.servicea", "dev.servicea"]))
}

#[test]
fn what_is_changed_by_hand_is_mended_and_what_is_added_stays() -> Result<()> {
    let mut cluster = Cluster::start()?;
    cluster.worked_example()?;
    let _manager = cluster.manager("one")?;
    cluster.wait_hosts("dev", "azds-serviceb", Some(&["*.s.dev.serviceb", "dev.serviceb"]))?;
    let dev = cluster.name("dev");
    cluster.kubectl(&["annotate", "ingress", "azds-serviceb", "-n", &dev, "team=x"])?;
    cluster.kubectl(&["delete", "ingress", "azds-serviceb", "-n", &dev])?;
    cluster.wait_hosts("dev", "azds-serviceb", Some(&["*.s.dev.serviceb", "dev.serviceb"]))?;
    cluster.kubectl(&["annotate", "ingress", "azds-serviceb", "-n", &dev, "team=y"])?;
    cluster.service("dev", "servicec", &[("http", 80)])?;
    cluster.wait_hosts("dev", "azds-servicec", Some(&["*.s.dev.servicec", "dev.servicec"]))?;
    let object = cluster.get("ingress", "dev", "azds-serviceb")?.unwrap_or_default();
    assert_eq!(object["metadata"]["annotations"]["team"], "y");
    Ok(())
}

fn foreign(cluster: &Cluster, name: &str, host: &str) -> Value {
    let backend = json!({"service": {"name": "other", "port": {"number": 1}}});
    let rule = json!({"host": host, "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}});
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
        "metadata": {"namespace": cluster.name("dev"), "name": name},
        "spec": {"ingressClassName": "nginx", "rules": [rule]},
    })
}

#[test]
fn other_peoples_objects_and_hosts_are_left_to_them_and_told() -> Result<()> {
    let mut cluster = Cluster::start()?;
    cluster.worked_example()?;
    let taken = format!("{}.serviceb.{SUFFIX}", cluster.name("dev"));
    cluster.apply(&foreign(&cluster, "azds-servicea", "mine.example"))?;
    cluster.apply(&foreign(&cluster, "theirs", &taken))?;
    let before = [cluster.get("ingress", "dev", "azds-servicea")?, cluster.get("ingress", "dev", "theirs")?];
    let manager = cluster.manager("one")?;
    cluster.wait_hosts("dev", "azds-serviceb", Some(&["*.s.dev.serviceb"]))?;
    cluster.wait_hosts("azureuser", "azds-servicea", Some(&["azureuser.s.dev.servicea"]))?;
    let note = cluster.wait_event("dev", "azds-servicea", "NameTaken")?;
    assert!(note.contains("app.kubernetes.io/managed-by"), "{note}");
    let note = cluster.wait_event("dev", "serviceb", "HostTaken")?;
    assert!(note.contains("/theirs") && note.contains(&taken), "{note}");
    manager.wait_problem("NameTaken")?;
    assert!(manager.ask("/metrics")?.contains(r#"interceptor_ingress_problems{reason="HostTaken"} 1"#));
    let after = [cluster.get("ingress", "dev", "azds-servicea")?, cluster.get("ingress", "dev", "theirs")?];
    assert_eq!(before, after);
    // It goes, and ours comes.
    cluster.kubectl(&["delete", "ingress", "azds-servicea", "theirs", "-n", &cluster.name("dev")])?;
    cluster.wait_hosts("dev", "azds-servicea", Some(&["*.s.dev.servicea", "dev.servicea"]))?;
    cluster.wait_hosts("dev", "azds-serviceb", Some(&["*.s.dev.serviceb", "dev.serviceb"]))
}

#[test]
fn a_field_that_somebody_else_manages_is_a_conflict_and_not_a_fight() -> Result<()> {
    let mut cluster = Cluster::start()?;
    cluster.worked_example()?;
    let manager = cluster.manager("one")?;
    cluster.wait_hosts("dev", "azds-servicea", Some(&["*.s.dev.servicea", "dev.servicea"]))?;
    // Somebody takes the rules over, by force, and the label stays.
    cluster.apply(&foreign(&cluster, "azds-servicea", "mine.example"))?;
    let note = cluster.wait_event("dev", "azds-servicea", "FieldConflict")?;
    assert!(note.contains("somebody else manages a field"), "{note}");
    cluster.wait_hosts("dev", "azds-servicea", Some(&["mine.example"]))?;
    manager.wait_problem("FieldConflict")?;
    cluster.service("dev", "servicec", &[("http", 80)])?;
    cluster.wait_hosts("dev", "azds-servicec", Some(&["*.s.dev.servicec", "dev.servicec"]))
}

#[test]
fn a_port_that_cannot_be_told_is_an_event_of_the_service() -> Result<()> {
    let mut cluster = Cluster::start()?;
    cluster.worked_example()?;
    cluster.service("dev", "grpcb", &[("grpc", 50051), ("metrics", 9090)])?;
    let _manager = cluster.manager("one")?;
    let note = cluster.wait_event("dev", "grpcb", "NoPort")?;
    assert!(note.contains("azds.io/ingress-port") && note.contains("grpc 50051"), "{note}");
    cluster.kubectl(&["annotate", "service", "grpcb", "-n", &cluster.name("dev"), "azds.io/ingress-port=grpc"])?;
    cluster.wait_hosts("dev", "azds-grpcb", Some(&["*.s.dev.grpcb", "dev.grpcb"]))
}
