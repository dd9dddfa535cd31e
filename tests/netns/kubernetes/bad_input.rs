//! Labels that make no tree: each is told in `status`, `/metrics` and the log, and everything else goes on.

use serde_json::{Value, json};

use super::Cluster;
use crate::stage::{ask, vip};

#[test]
fn spaces_that_cannot_be_used_are_told_and_the_others_go_on() {
    let mut cluster = Cluster::new("badspaces");
    cluster.space("dev", None);
    cluster.space("azureuser", Some("dev"));
    cluster.deploy("serviceb", "dev", 12, &[]);
    cluster.deploy("serviceb", "azureuser", 13, &[]);
    let caller = cluster.pod("caller", "azureuser");
    for (name, parent) in [
        ("selfish", "selfish"),
        ("orphan", "nowhere"),
        ("ring-a", "ring-b"),
        ("ring-b", "ring-a"),
        ("level-2", "azureuser"),
        ("level-3", "level-2"),
        ("level-4", "level-3"),
    ] {
        cluster.space(name, Some(parent));
    }
    cluster.namespace("half", &json!({"azds.io/parent-space": "dev"}));
    cluster.namespace("odd", &json!({"azds.io/space": "yes"}));
    cluster.start();
    let status = cluster.wait_captured(3);
    let warnings: Vec<&str> =
        status["source"]["warnings"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    for expected in [
        "space selfish: it derives from itself (selfish → selfish)",
        "space orphan: its parent \"nowhere\" does not exist",
        "space ring-a: it derives from itself",
        "space ring-b: it derives from itself",
        "space level-4: it is more than 3 derived levels below its root",
        "namespace half has the label azds.io/parent-space, but is no space",
        "namespace odd: the label azds.io/space is \"yes\"",
    ] {
        assert!(warnings.iter().any(|warning| warning.contains(expected)), "no {expected} in {warnings:#?}");
        assert!(
            cluster.agent().log_tail(400).contains(&expected.replace('"', "\\\""))
                || cluster.agent().log_tail(400).contains(expected),
            "{expected} is not in the log"
        );
    }
    assert_eq!(warnings.len(), 7, "{warnings:#?}");
    let call = |path: &str| ask(&caller, vip(12), path, &["Host: serviceb"])["name"].clone();
    assert_eq!(call("/good"), "serviceb.azureuser");

    // The parent goes: what derives from it is at fault, its pods stay on their direct way; it comes back, and so do they.
    cluster.namespace("dev", &json!({}));
    cluster.wait_status("the fault", |status| {
        status["source"]["warnings"].to_string().contains("space azureuser: its parent")
    });
    assert_eq!(call("/orphaned"), "serviceb.dev");
    cluster.space("dev", None);
    cluster.wait_status("the mend", |status| status["source"]["warnings"].as_array().unwrap().len() == 7);
    assert_eq!(call("/mended"), "serviceb.azureuser");
    cluster.agent_mut().process().expect_running().unwrap();
}
