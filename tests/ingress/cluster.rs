//! One cluster a test: its API server, kubectl, namespaces of its own, and the managers that run against it.

use std::env;
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use interceptor_tests::apiserver::ApiServer;
use interceptor_tests::{bins, wait};
use serde_json::{Value, json};

/// For anything to happen on a machine that is busy.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);
pub(crate) const SUFFIX: &str = "eus.azds.io";

/// A cluster; its namespaces are deleted when it is dropped.
pub(crate) struct Cluster {
    pub(crate) kubeconfig: PathBuf,
    server: Option<ApiServer>,
    directory: PathBuf,
    /// What the names of this test's namespaces begin with.
    prefix: String,
    namespaces: Vec<String>,
}

static NEXT: AtomicUsize = AtomicUsize::new(0);

impl Cluster {
    /// The real cluster, where one is named; a test API server otherwise.
    pub(crate) fn start() -> Result<Self> {
        match env::var_os("INTERCEPTOR_TEST_KUBECONFIG") {
            Some(path) => Self::new(Some(path.into())),
            None => Self::new(None),
        }
    }

    /// A test API server, for what a real one cannot be made to do.
    pub(crate) fn start_own() -> Result<Self> {
        Self::new(None)
    }

    fn new(kubeconfig: Option<PathBuf>) -> Result<Self> {
        let prefix = format!("ic{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let directory = env::temp_dir().join(format!("interceptor-{prefix}"));
        fs::create_dir_all(&directory).with_context(|| format!("making {}", directory.display()))?;
        let (kubeconfig, server) = match kubeconfig {
            Some(path) => (path, None),
            None => {
                let server = ApiServer::start()?;
                let path = directory.join("kubeconfig");
                server.write_kubeconfig(&path)?;
                (path, Some(server))
            }
        };
        let mut cluster = Self { kubeconfig, server, directory, prefix, namespaces: Vec::new() };
        // The managers' Lease lies there.
        cluster.namespace("system", &json!({}), &json!({}))?;
        Ok(cluster)
    }

    /// The test API server.
    pub(crate) fn server(&self) -> Result<&ApiServer> {
        self.server.as_ref().context("this test needs the test API server: start_own starts it")
    }

    /// The test API server, to end it and let it go on.
    pub(crate) fn server_mut(&mut self) -> Result<&mut ApiServer> {
        self.server.as_mut().context("this test needs the test API server: start_own starts it")
    }

    /// The whole name of one of this test's namespaces.
    pub(crate) fn name(&self, short: &str) -> String {
        format!("{}-{short}", self.prefix)
    }

    /// Makes a namespace, or changes its labels and annotations.
    pub(crate) fn namespace(&mut self, short: &str, labels: &Value, annotations: &Value) -> Result<()> {
        let name = self.name(short);
        let meta = json!({"name": name, "labels": labels, "annotations": annotations});
        self.apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": meta}))?;
        self.namespaces.push(name);
        Ok(())
    }

    /// Makes a space.
    pub(crate) fn space(&mut self, short: &str, parent: Option<&str>) -> Result<()> {
        let mut labels = json!({"azds.io/space": "true"});
        if let Some(parent) = parent {
            labels["azds.io/parent-space"] = self.name(parent).into();
        }
        let annotations = if parent.is_none() { json!({"azds.io/ingress": "true"}) } else { json!({}) };
        self.namespace(short, &labels, &annotations)
    }

    /// Makes a service with these ports.
    pub(crate) fn service(&self, space: &str, name: &str, ports: &[(&str, u16)]) -> Result<()> {
        let port = |(name, port): &(&str, u16)| json!({"name": name, "port": port, "protocol": "TCP"});
        let ports: Vec<Value> = ports.iter().map(port).collect();
        let spec = json!({"selector": {"app": name}, "ports": ports});
        let meta = json!({"namespace": self.name(space), "name": name});
        self.apply(&json!({"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec}))
    }

    /// dev ← azureuser; servicea in both, serviceb in dev.
    pub(crate) fn worked_example(&mut self) -> Result<()> {
        self.space("dev", None)?;
        self.space("azureuser", Some("dev"))?;
        for (space, service) in [("dev", "servicea"), ("dev", "serviceb"), ("azureuser", "servicea")] {
            self.service(space, service, &[("http", 80)])?;
        }
        Ok(())
    }

    /// `kubectl apply --server-side`.
    pub(crate) fn apply(&self, object: &Value) -> Result<()> {
        // The API server judges; the test one has no schema for kubectl to judge by.
        let args = ["apply", "--server-side", "--force-conflicts", "--validate=false", "-f", "-"];
        self.kubectl_with(&args, &object.to_string()).map(drop)
    }

    /// Runs kubectl.
    pub(crate) fn kubectl(&self, args: &[&str]) -> Result<String> {
        self.kubectl_with(args, "")
    }

    fn kubectl_with(&self, args: &[&str], input: &str) -> Result<String> {
        let mut command = Command::new("kubectl");
        command.arg("--kubeconfig").arg(&self.kubeconfig).args(["--request-timeout=20s"]).args(args);
        // Nothing of this machine's own kubectl, and no cache of another server on the same port.
        command.env("HOME", &self.directory).env_remove("KUBECONFIG");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().context("starting kubectl (`cargo xtask setup` installs it)")?;
        child.stdin.take().context("kubectl has no stdin")?.write_all(input.as_bytes())?;
        let output = child.wait_with_output()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        ensure!(output.status.success(), "kubectl {args:?}: {}", text(&output.stderr));
        Ok(text(&output.stdout))
    }

    /// One object as JSON; `None` where there is none.
    pub(crate) fn get(&self, kind: &str, space: &str, name: &str) -> Result<Option<Value>> {
        let namespace = self.name(space);
        let text = self.kubectl(&["get", kind, name, "-n", &namespace, "-o", "json", "--ignore-not-found"])?;
        if text.trim().is_empty() { Ok(None) } else { Ok(Some(serde_json::from_str(&text)?)) }
    }

    /// The hosts of an Ingress, without the suffix and the prefix of this test's names; `None` where there is none.
    pub(crate) fn hosts(&self, space: &str, name: &str) -> Result<Option<Vec<String>>> {
        let Some(object) = self.get("ingress", space, name)? else { return Ok(None) };
        let rules = object["spec"]["rules"].as_array().cloned().unwrap_or_default();
        let host = |rule: &Value| rule["host"].as_str().unwrap_or_default().to_owned();
        let short = |host: String| host.replace(&format!(".{SUFFIX}"), "").replace(&format!("{}-", self.prefix), "");
        Ok(Some(rules.iter().map(host).map(short).collect()))
    }

    /// Waits until an Ingress has exactly these hosts.
    pub(crate) fn wait_hosts(&self, space: &str, name: &str, expected: Option<&[&str]>) -> Result<()> {
        let expected = expected.map(|hosts| hosts.iter().map(|host| (*host).to_owned()).collect::<Vec<_>>());
        wait::until(LIMIT, &format!("the hosts of {space}/{name} to be {expected:?}"), || {
            let found = self.hosts(space, name)?;
            if found == expected { Ok(()) } else { bail!("they are {found:?}") }
        })
    }

    /// Waits for an Event with that reason about an object, and returns its text.
    pub(crate) fn wait_event(&self, space: &str, name: &str, reason: &str) -> Result<String> {
        let namespace = self.name(space);
        wait::until(LIMIT, &format!("an event {reason} about {space}/{name}"), || {
            let text = self.kubectl(&["get", "events.events.k8s.io", "-n", &namespace, "-o", "json"])?;
            let list: Value = serde_json::from_str(&text)?;
            let items = list["items"].as_array().cloned().unwrap_or_default();
            let is_it = |event: &&Value| event["reason"] == reason && event["regarding"]["name"] == name;
            let found = items.iter().find(is_it).context("there is none")?;
            Ok(found["note"].as_str().unwrap_or_default().to_owned())
        })
    }

    /// Writes a configuration for managers and dry runs.
    pub(crate) fn config(&self) -> Result<PathBuf> {
        let path = self.directory.join("interceptor.yaml");
        let text = format!("routing: {{ingress_suffixes: [{SUFFIX}]}}\ningress: {{class: nginx}}\n");
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        Ok(path)
    }

    /// Starts a manager and waits until it has seen the cluster.
    pub(crate) fn manager(&self, identity: &str) -> Result<Manager> {
        let manager = Manager::start(self, identity)?;
        wait::until(LIMIT, "the manager to be ready", || manager.ask("/readyz").map(drop))
            .with_context(|| manager.log())?;
        Ok(manager)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.server.is_none() {
            for name in &self.namespaces {
                self.kubectl(&["delete", "namespace", name, "--wait=false"]).ok();
            }
        }
        fs::remove_dir_all(&self.directory).ok();
    }
}

/// A running ingress manager; killed when it is dropped, and by the kernel when the test is.
pub(crate) struct Manager {
    child: Child,
    log: PathBuf,
}

impl Manager {
    /// Starts one without waiting for anything.
    pub(crate) fn start(cluster: &Cluster, identity: &str) -> Result<Self> {
        let log = cluster.directory.join(format!("{identity}.log"));
        let file = fs::File::create(&log).with_context(|| format!("making {}", log.display()))?;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(bins::interceptor()?).arg("ingress-manager");
        command.arg("--config").arg(cluster.config()?).arg("--kubeconfig").arg(&cluster.kubeconfig);
        command.args(["--identity", identity, "--listen", "127.0.0.1:0", "--namespace", &cluster.name("system")]);
        command.args(["--log", "debug"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
        let child = command.spawn().context("starting the manager")?;
        Ok(Self { child, log })
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// What its endpoint answers.
    pub(crate) fn ask(&self, path: &str) -> Result<String> {
        let log = self.log();
        let address = log.split("address=").nth(1).and_then(|rest| rest.split_whitespace().next());
        let url = format!("http://{}{path}", address.context("it has not said where it listens")?);
        let output = Command::new("curl").args(["-sS", "--fail-with-body", "-m", "5", &url]).output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(output.status.success(), "{url}: {text}{}", String::from_utf8_lossy(&output.stderr));
        Ok(text)
    }

    /// Its status.
    pub(crate) fn status(&self) -> Result<Value> {
        Ok(serde_json::from_str(&self.ask("/status")?)?)
    }

    /// Waits until it leads, or no longer does.
    pub(crate) fn wait_leading(&self, leads: bool, limit: Duration) -> Result<()> {
        wait::until(limit, &format!("leading to be {leads}"), || {
            let status = self.status()?;
            if status["leading"] == leads { Ok(()) } else { bail!("{status}") }
        })
        .with_context(|| self.log())
    }

    /// Waits until its status has a problem with that reason.
    pub(crate) fn wait_problem(&self, reason: &str) -> Result<Value> {
        wait::until(LIMIT, &format!("a problem {reason}"), || {
            let status = self.status()?;
            let problems = status["problems"].as_array().cloned().unwrap_or_default();
            problems.into_iter().find(|problem| problem["reason"] == reason).with_context(|| status.to_string())
        })
        .with_context(|| self.log())
    }

    /// Ends it with a signal and waits.
    pub(crate) fn end(mut self, signal: &str) -> Result<()> {
        let pid = self.child.id().to_string();
        ensure!(Command::new("kill").args([signal, &pid]).status()?.success(), "kill {signal} {pid} failed");
        wait::until(LIMIT, "the manager to end", || self.child.try_wait()?.context("it still runs").map(drop))
            .with_context(|| self.log())
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
