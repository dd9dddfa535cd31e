//! The manifests of deploy/kubernetes: they render, are what they seem, and grant what the code needs and nothing else.

use std::collections::BTreeSet;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use interceptor::config::Config;
use interceptor::kubernetes::permissions::{AGENT, MANAGER, Permission};
use interceptor_tests::manifests::{Grant, grants, of_kind, one, render};
use serde_json::{Value, json};

/// Every right that a service account has, as the code lists them.
pub(crate) fn granted(documents: &[Value], account: &str) -> Result<BTreeSet<Permission>> {
    let known = |grant: Grant| {
        let Grant { verb, group, resource, everywhere } = grant;
        let mut all = AGENT.iter().chain(MANAGER);
        let known = all.find(|one| (one.verb, one.group, one.resource) == (&*verb, &*group, &*resource));
        let known = known.with_context(|| format!("{account} may {verb} {resource} of {group:?}: for what?"))?;
        ensure!(known.everywhere == everywhere, "{verb} {resource}: everywhere is {everywhere}");
        Ok(*known)
    };
    grants(documents, account)?.into_iter().map(known).collect()
}

#[test]
fn the_roles_grant_what_the_code_asks_for_and_nothing_else() -> Result<()> {
    let documents = render("deploy/kubernetes")?;
    for (account, needed) in [("interceptor", AGENT), ("interceptor-ingress-manager", MANAGER)] {
        assert_eq!(granted(&documents, account)?, needed.iter().copied().collect(), "{account}");
    }
    let accounts: Vec<_> =
        of_kind(&documents, "ServiceAccount").iter().map(|one| one["metadata"]["name"].clone()).collect();
    assert_eq!(accounts, ["interceptor", "interceptor-ingress-manager"]);
    // The agent writes nothing, anywhere.
    assert!(AGENT.iter().all(|one| ["get", "list", "watch"].contains(&one.verb)));
    let agent = one(&documents, "DaemonSet", "interceptor")?;
    assert_eq!(agent["spec"]["template"]["spec"]["serviceAccountName"], "interceptor");
    let manager = one(&documents, "Deployment", "interceptor-ingress-manager")?;
    assert_eq!(manager["spec"]["template"]["spec"]["serviceAccountName"], "interceptor-ingress-manager");
    Ok(())
}

#[test]
fn the_directory_itself_is_the_base() -> Result<()> {
    assert_eq!(render("deploy/kubernetes")?, render("deploy/kubernetes/base")?);
    Ok(())
}

#[test]
fn the_agent_alone_is_privileged_and_sees_of_the_node_what_it_needs_and_the_manager_nothing() -> Result<()> {
    let documents = render("deploy/kubernetes")?;
    let agent = &one(&documents, "DaemonSet", "interceptor")?["spec"]["template"]["spec"];
    let container = &agent["containers"][0];
    assert_eq!(
        container["securityContext"],
        json!({ "privileged": true, "runAsUser": 0, "readOnlyRootFilesystem": true })
    );
    assert_eq!(
        (&agent["hostPID"], agent["hostNetwork"].is_null(), agent["hostIPC"].is_null()),
        (&json!(true), true, true)
    );
    let volumes = agent["volumes"].as_array().context("no volumes")?;
    let paths: BTreeSet<&str> = volumes.iter().filter_map(|volume| volume["hostPath"]["path"].as_str()).collect();
    assert_eq!(paths, BTreeSet::from(["/run/interceptor", "/sys/fs/bpf", "/sys/fs/cgroup"]));
    // Each capability that it keeps is named beside the setting that gives it all of them.
    let text = include_str!("../../deploy/kubernetes/base/agent.yaml");
    for capability in interceptor::privileges::AGENT {
        ensure!(text.contains(&capability.to_string()), "{capability} is not named");
    }
    let manager = &one(&documents, "Deployment", "interceptor-ingress-manager")?["spec"]["template"]["spec"];
    for host in ["hostPID", "hostNetwork", "hostIPC"] {
        ensure!(manager[host].is_null(), "{host}");
    }
    let volumes = manager["volumes"].as_array().cloned().unwrap_or_default();
    ensure!(volumes.iter().all(|volume| volume["hostPath"].is_null()), "{volumes:?}");
    assert_eq!(manager["securityContext"]["runAsNonRoot"], true);
    assert_eq!(manager["securityContext"]["seccompProfile"], json!({ "type": "RuntimeDefault" }));
    assert_eq!(
        manager["containers"][0]["securityContext"],
        json!({
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": { "drop": ["ALL"] }
        })
    );
    Ok(())
}

/// Whether a kubectl can render overlays: those before 1.21 take no patches written in place.
fn renders_overlays() -> Result<bool> {
    let output =
        Command::new("kubectl").args(["version", "--client", "-o", "json"]).output().context("running kubectl")?;
    let version: Value = serde_json::from_slice(&output.stdout).context("reading kubectl's version")?;
    let minor = version["clientVersion"]["minor"].as_str().unwrap_or_default().trim_end_matches('+');
    let minor: u32 = minor.parse().with_context(|| format!("no minor version in {version}"))?;
    Ok(minor >= 21)
}

#[test]
fn the_next_pod_of_an_agent_finds_the_one_before_and_has_time_to_take_over() -> Result<()> {
    let documents = render("deploy/kubernetes")?;
    let agent = &one(&documents, "DaemonSet", "interceptor")?["spec"];
    let rolling = &agent["updateStrategy"]["rollingUpdate"];
    assert_eq!((&rolling["maxSurge"], &rolling["maxUnavailable"]), (&Value::from(1), &Value::from(0)));
    let pod = &agent["template"]["spec"];
    let args = pod["containers"][0]["args"].as_array().context("no arguments")?;
    assert!(args.contains(&Value::from("--takeover")), "{args:?}");
    // Two pods of one node cannot share what is a pod's own: not the socket's directory, not a port of the node.
    let run = pod["volumes"].as_array().into_iter().flatten().find(|volume| volume["name"] == "run");
    assert_eq!(run.context("there is no volume run")?["hostPath"]["path"], "/run/interceptor");
    assert!(Config::default().admin.socket.starts_with("/run/interceptor"));
    assert!(pod["hostNetwork"].is_null() && pod["containers"][0]["ports"][0]["hostPort"].is_null());
    let grace = pod["terminationGracePeriodSeconds"].as_u64().context("no grace period")?;
    assert!(grace > Config::default().proxy.drain_timeout.as_secs());
    Ok(())
}

#[test]
fn overlays_change_what_they_say_and_keep_the_rest() -> Result<()> {
    if !renders_overlays()? {
        println!("left out: overlays need kubectl 1.21 or newer (docs/install.md)");
        return Ok(());
    }
    let base = render("deploy/kubernetes")?;
    let kind = render("deploy/kubernetes/overlays/kind")?;
    assert_eq!(one(&kind, "Deployment", "interceptor-ingress-manager")?["spec"]["replicas"], 1);
    let prod = render("deploy/kubernetes/overlays/prod")?;
    let rolling = &one(&prod, "DaemonSet", "interceptor")?["spec"]["updateStrategy"]["rollingUpdate"];
    assert_eq!((&rolling["maxSurge"], &rolling["maxUnavailable"]), (&Value::from("10%"), &Value::from(0)));
    for (name, documents) in [("kind", &kind), ("prod", &prod)] {
        for document in &base {
            let (kind, meta) = (document["kind"].as_str().unwrap_or_default(), &document["metadata"]["name"]);
            // Its name holds its digest.
            if kind != "ConfigMap" {
                one(documents, kind, meta.as_str().unwrap_or_default()).with_context(|| name.to_owned())?;
            }
        }
    }
    Ok(())
}

#[test]
fn every_configuration_that_is_shipped_is_valid_and_has_its_consumers() -> Result<()> {
    let mut directories = vec!["deploy/kubernetes"];
    if renders_overlays()? {
        directories.extend(["deploy/kubernetes/overlays/kind", "deploy/kubernetes/overlays/prod"]);
    }
    for directory in directories {
        let documents = render(directory)?;
        let maps = of_kind(&documents, "ConfigMap");
        let [map] = maps.as_slice() else { bail!("{directory}: {} ConfigMaps", maps.len()) };
        let text = map["data"]["interceptor.yaml"].as_str().context("no interceptor.yaml")?;
        let parsed = Config::parse(text, directory)?;
        ensure!(
            parsed.warnings.is_empty() && !parsed.config.routing.ingress_suffixes.is_empty(),
            "{directory}: {text}"
        );
        let metrics = parsed.config.metrics.address.context("metrics are off: the probes would fail")?;
        ensure!(metrics.ip().is_unspecified(), "{directory}: the kubelet cannot reach {metrics}");
        for kind in ["DaemonSet", "Deployment"] {
            for workload in of_kind(&documents, kind) {
                let pod = &workload["spec"]["template"]["spec"];
                let volumes = pod["volumes"].as_array().cloned().unwrap_or_default();
                ensure!(
                    volumes.iter().any(|volume| volume["configMap"]["name"] == map["metadata"]["name"]),
                    "{directory}: {kind}"
                );
                let image = pod["containers"][0]["image"].as_str().unwrap_or_default();
                ensure!(image.ends_with(concat!("interceptor:", env!("CARGO_PKG_VERSION"))), "{directory}: {image}");
                let port = &pod["containers"][0]["ports"][0]["containerPort"];
                ensure!(kind == "Deployment" || *port == metrics.port(), "{directory}: probes ask port {port}");
            }
        }
    }
    Ok(())
}

/// The API's types leave out what they do not know: what is lost on the way through them is misspelt.
#[test]
fn every_field_of_the_manifests_is_one_that_the_api_has() -> Result<()> {
    use k8s_openapi::api::{apps, core, networking, rbac, scheduling};

    fn through<T: serde::de::DeserializeOwned + serde::Serialize>(document: &Value) -> Result<Value> {
        Ok(serde_json::to_value(serde_json::from_value::<T>(document.clone())?)?)
    }
    for document in render("deploy/kubernetes")? {
        let kind = document["kind"].as_str().unwrap_or_default();
        let read = match kind {
            "Namespace" => through::<core::v1::Namespace>(&document),
            "ServiceAccount" => through::<core::v1::ServiceAccount>(&document),
            "ConfigMap" => through::<core::v1::ConfigMap>(&document),
            "DaemonSet" => through::<apps::v1::DaemonSet>(&document),
            "Deployment" => through::<apps::v1::Deployment>(&document),
            "NetworkPolicy" => through::<networking::v1::NetworkPolicy>(&document),
            "PriorityClass" => through::<scheduling::v1::PriorityClass>(&document),
            "ClusterRole" => through::<rbac::v1::ClusterRole>(&document),
            "ClusterRoleBinding" => through::<rbac::v1::ClusterRoleBinding>(&document),
            "Role" => through::<rbac::v1::Role>(&document),
            "RoleBinding" => through::<rbac::v1::RoleBinding>(&document),
            other => bail!("a {other}: add its type here"),
        };
        assert_eq!(read.with_context(|| kind.to_owned())?, document, "{kind}");
    }
    Ok(())
}
