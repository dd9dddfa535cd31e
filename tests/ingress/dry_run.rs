//! `interceptor ingress-manager --dry-run`: what would be applied, as YAML that kubectl takes.

use std::process::{Command, Output};

use anyhow::{Context as _, Result, ensure};
use interceptor_tests::bins;
use interceptor_tests::manifests::repository;

use crate::cluster::Cluster;

fn dry_run(cluster: &Cluster, more: &[&str]) -> Result<Output> {
    let mut command = Command::new(bins::interceptor()?);
    command.arg("ingress-manager").arg("--config").arg(cluster.config()?).arg("--dry-run").args(more);
    command.env_remove("KUBECONFIG").output().context("running the dry run")
}

#[test]
fn a_dry_run_prints_what_the_manager_then_applies_and_writes_nothing() -> Result<()> {
    let mut cluster = Cluster::start()?;
    cluster.worked_example()?;
    let kubeconfig = cluster.kubeconfig.display().to_string();
    let output = dry_run(&cluster, &["--kubeconfig", &kubeconfig])?;
    let yaml = String::from_utf8(output.stdout)?;
    ensure!(output.status.success(), "{yaml}{}", String::from_utf8_lossy(&output.stderr));
    let dev = cluster.name("dev");
    for line in
        ["kind: Ingress", "name: azds-servicea", &format!("host: '*.s.{dev}.servicea.eus.azds.io'"), "number: 80"]
    {
        ensure!(yaml.replace('"', "'").contains(line), "no {line:?} in\n{yaml}");
    }
    ensure!(cluster.get("ingress", "dev", "azds-servicea")?.is_none(), "the dry run wrote");
    // kubectl reads it as it is: three objects, by their own names.
    let path = std::env::temp_dir().join(format!("{dev}.yaml"));
    std::fs::write(&path, &yaml)?;
    let read = cluster.kubectl(&[
        "apply",
        "--dry-run=server",
        "--server-side",
        "--validate=false",
        "-f",
        &path.display().to_string(),
    ]);
    std::fs::remove_file(&path)?;
    let read = read?;
    ensure!(read.lines().count() == 3, "{read}");
    // And it is what the manager makes.
    let _manager = cluster.manager("one")?;
    cluster.wait_hosts("dev", "azds-serviceb", Some(&["*.s.dev.serviceb", "dev.serviceb"]))
}

#[test]
fn a_dry_run_reads_objects_from_files_and_says_what_it_cannot_do() -> Result<()> {
    let cluster = Cluster::start_own()?;
    let recordings = repository("tests/recordings/kubernetes");
    let file = |name: &str| recordings.join(name).display().to_string();
    let annotated = std::env::temp_dir().join(format!("{}-namespaces.json", cluster.name("dev")));
    let namespaces = std::fs::read_to_string(file("list-namespaces.json"))?;
    let marked = namespaces.replacen(
        "\"name\": \"dev\",",
        "\"name\": \"dev\", \"annotations\": {\"azds.io/ingress\": \"true\"},",
        1,
    );
    ensure!(marked != namespaces, "the recording has no namespace dev");
    std::fs::write(&annotated, marked)?;
    let (services, ingresses) = (file("list-services.json"), file("list-ingresses.json"));
    let namespaces = annotated.display().to_string();
    let args = ["--objects", &namespaces, "--objects", &services, "--objects", &ingresses];
    let output = dry_run(&cluster, &args)?;
    std::fs::remove_file(&annotated)?;
    let yaml = String::from_utf8(output.stdout)?;
    let has = |line: &str| ensure_line(&yaml, line);
    has(
        "# service dev/grpcb: none of its TCP ports (grpc 50051, metrics 9090) is called http; say which one is meant by the annotation azds.io/ingress-port",
    )?;
    for host in ["azureuser.s.dev.servicea", "kate.s.dev.servicea", "dev.serviceb"] {
        has(&format!("host: {host}.eus.azds.io"))?;
    }
    ensure!(!yaml.contains("azds-db"), "a database was exposed:\n{yaml}");
    ensure!(output.status.code() == Some(1), "{:?}", output.status);
    Ok(())
}

fn ensure_line(text: &str, line: &str) -> Result<()> {
    ensure!(text.lines().any(|found| found.trim().trim_start_matches("- ") == line), "no line {line:?} in\n{text}");
    Ok(())
}

#[test]
fn a_dry_run_that_cannot_be_made_says_why_and_what_to_do() -> Result<()> {
    let cluster = Cluster::start_own()?;
    for (args, word) in [
        (vec!["--kubeconfig", "/nonexistent"], "/nonexistent"),
        (vec!["--objects", "/nonexistent"], "reading the objects in /nonexistent"),
        (vec![], "--kubeconfig"),
    ] {
        let output = dry_run(&cluster, &args)?;
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.code() == Some(1) && stderr.contains(word), "{args:?}: {stderr}");
    }
    Ok(())
}

#[test]
fn a_server_whose_authority_nobody_names_is_told_with_what_to_do() -> Result<()> {
    let cluster = Cluster::start_own()?;
    let path = std::env::temp_dir().join(format!("{}-kubeconfig", cluster.name("dev")));
    let text = "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
        clusters: [{name: k, cluster: {server: \"https://127.0.0.1:1\"}}]\nusers: [{name: u, user: {token: t}}]\n\
        contexts: [{name: c, context: {cluster: k, user: u}}]\n";
    std::fs::write(&path, text)?;
    let mut command = Command::new(bins::interceptor()?);
    command
        .arg("ingress-manager")
        .arg("--config")
        .arg(cluster.config()?)
        .arg("--dry-run")
        .arg("--kubeconfig")
        .arg(&path);
    // As in the image: the machine has no certificates of its own.
    command.env("SSL_CERT_FILE", "/dev/null").env("SSL_CERT_DIR", "/nonexistent");
    let output = command.output().context("running the dry run")?;
    std::fs::remove_file(&path)?;
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    for words in ["https://127.0.0.1:1", "names no certificate authority", "certificate-authority-data"] {
        ensure!(stderr.contains(words), "no {words:?} in {stderr}");
    }
    ensure!(output.status.code() == Some(1), "{:?}", output.status);
    Ok(())
}
