//! The Kubernetes source with everything around it: `interceptor run --kubernetes` against the test API server, pods in the
//! kubelet's cgroups, labels instead of a routing file.
//!
//! What a kubelet, kube-proxy and the controllers would do, the [`Cluster`] of this file does: objects and the node's
//! ClusterIPs always say the same.

mod bad_input;
mod in_cluster;
mod labels;
mod lives;
mod outage;
mod rights;
mod scale;

use std::fs;
use std::net::{IpAddr, TcpListener};
use std::path::PathBuf;

use interceptor_tests::apiserver::ApiServer;
use interceptor_tests::apiserver::resource::Resource;
use interceptor_tests::kubelet::{Class, Driver, Kubelet};
use interceptor_tests::{Agent, Pod, Service, wait};
use serde_json::{Value, json};

use crate::stage::{LIMIT, Scene, http_service};

/// This node's name in the cluster.
const NODE: &str = "node-1";

/// A cluster of one node.
struct Cluster {
    // First: it ends before what it runs in.
    agent: Option<Agent>,
    server: ApiServer,
    scene: Scene,
    kubelet: Kubelet,
    pods: u8,
}

/// What `status` says of the watch of a resource.
fn watch<'s>(status: &'s Value, resource: &str) -> &'s Value {
    let watches = status["source"]["watches"].as_array().unwrap();
    watches.iter().find(|watch| watch["resource"] == resource).unwrap_or(&Value::Null)
}

/// The agent's `/metrics`.
fn ask_metrics(cluster: &Cluster) -> String {
    let node = cluster.scene.lab.on_node();
    let response = crate::stage::Client::new(node, "127.0.0.1:15020".parse().unwrap()).raw("/metrics", &["Host: x"]);
    String::from_utf8(response.body).unwrap()
}

fn resource(group: &str, plural: &str) -> &'static Resource {
    Resource::named(group, plural).unwrap()
}

impl Cluster {
    /// A node and an API server, no agent yet.
    fn new(name: &str) -> Cluster {
        let cluster = Cluster::with(name, ApiServer::serve);
        cluster.server.write_kubeconfig(&cluster.scene.lab.temp().join("kubeconfig")).unwrap();
        cluster
    }

    /// The same with a server of another kind, and no kubeconfig.
    fn with(name: &str, serve: impl FnOnce(TcpListener) -> anyhow::Result<ApiServer>) -> Cluster {
        let mut scene = Scene::new(name, &[]);
        scene.config.unset("capture", "cgroup");
        scene.config.set("metrics", "address", "127.0.0.1:15020");
        let listener = scene.lab.on_node().listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let server = serve(listener).unwrap_or_else(|error| panic!("{error:#}"));
        let kubelet = Kubelet::new(scene.lab.cgroup(), Driver::Systemd);
        Cluster { agent: None, server, scene, kubelet, pods: 0 }
    }

    /// Runs the agent, and does not wait.
    fn start_unready(&mut self) {
        let lab = &self.scene.lab;
        let root = lab.cgroup().to_str().unwrap().to_owned();
        let kubeconfig = lab.temp().join("kubeconfig").to_str().unwrap().to_owned();
        let args = ["--kubernetes", "--kubeconfig", &kubeconfig, "--node-name", NODE, "--cgroup-root", &root];
        self.agent = Some(Agent::start_unready_at(lab, lab.on_node(), &self.scene.config, &args).unwrap());
    }

    /// Runs the agent and waits until it is ready.
    fn start(&mut self) {
        self.start_unready();
        self.agent_mut().wait_ready().unwrap_or_else(|error| panic!("{error:#}"));
    }

    fn agent(&self) -> &Agent {
        self.agent.as_ref().unwrap()
    }

    fn agent_mut(&mut self) -> &mut Agent {
        self.agent.as_mut().unwrap()
    }

    fn apply(&self, object: &Value) {
        self.server.apply(object).unwrap_or_else(|error| panic!("{error:#}: {object}"));
    }

    /// A namespace with these labels.
    fn namespace(&self, name: &str, labels: &Value) {
        self.apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}));
    }

    /// A namespace that is a space.
    fn space(&self, name: &str, parent: Option<&str>) {
        let mut labels = json!({"azds.io/space": "true"});
        if let Some(parent) = parent {
            labels["azds.io/parent-space"] = json!(parent);
        }
        self.namespace(name, &labels);
    }

    /// A running pod of this node: first its sandbox, then what the kubelet says of it.
    fn pod(&mut self, name: &str, namespace: &str) -> Pod {
        self.pod_in_phase(name, namespace, "Running").0
    }

    /// The cgroup directory of another container of a pod.
    fn container(&self, uid: &str, id: &str) -> PathBuf {
        let dir = self.kubelet.container(uid, Class::Burstable, id);
        fs::create_dir_all(&dir).unwrap();
        dir
    }

    /// The kubelet says of a pod that it is in this phase now.
    fn set_phase(&self, name: &str, namespace: &str, phase: &str) {
        let change = |pod: &mut Value| pod["status"]["phase"] = json!(phase);
        self.server.change(resource("", "pods"), namespace, name, change).unwrap();
    }

    /// A pod of this node in a phase, and its UID.
    fn pod_in_phase(&mut self, name: &str, namespace: &str, phase: &str) -> (Pod, String) {
        let uid = self.next_uid();
        let place = self.kubelet.container(&uid, Class::Burstable, "7e1f0a");
        let pod = self.scene.lab.pod_at(&format!("{name}.{namespace}"), &place).unwrap();
        let ips: Vec<Value> = pod.addresses().iter().map(|ip| json!({"ip": ip.to_string()})).collect();
        let object = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace},
            "spec": {"nodeName": NODE, "containers": [{"name": "app", "image": "none"}]}});
        self.apply(&object);
        // A server gives UIDs itself; the kubelet's directory bears it.
        self.server.set_uid(resource("", "pods"), namespace, name, &uid).unwrap();
        self.server
            .change(resource("", "pods"), namespace, name, |pod| {
                pod["status"] = json!({"phase": phase, "podIP": ips[0]["ip"], "podIPs": ips});
            })
            .unwrap();
        (pod, uid)
    }

    /// A UID that no pod has yet.
    fn next_uid(&mut self) -> String {
        self.pods += 1;
        format!("7d1f0c3e-5d61-4be8-9f5e-0a6c1d2e3f{:02x}", self.pods)
    }

    /// `service.space` before these pods: the object, its slices (one a family), and its ClusterIPs.
    fn publish(&self, service: &Service, name: &str, space: &str, addresses: [IpAddr; 2], pods: &[&Pod]) {
        self.scene.lab.expose(service).unwrap();
        self.apply(&json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": space},
            "spec": {"clusterIP": addresses[0].to_string(), "clusterIPs": [addresses[0].to_string(), addresses[1].to_string()],
                     "ports": [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}]}}));
        for (family, index) in [("IPv4", 0), ("IPv6", 1)] {
            let ready = json!({"ready": true, "serving": true, "terminating": false});
            let endpoint = |pod: &&Pod| json!({"addresses": [pod.addresses()[index].to_string()], "conditions": ready});
            let endpoints: Vec<Value> = pods.iter().map(endpoint).collect();
            self.apply(&json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                "metadata": {"name": format!("{name}-{}", family.to_lowercase()), "namespace": space,
                             "labels": {"kubernetes.io/service-name": name}},
                "addressType": family, "endpoints": endpoints,
                "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}]}));
        }
    }

    /// Deploys `service.space`: a pod with the HTTP application, and the service before it.
    fn deploy(&mut self, service: &str, space: &str, number: u8, calls: &[&str]) -> Pod {
        let pod = self.pod(&format!("{service}-0"), space);
        let name = format!("{service}.{space}");
        let app = ["http", "--name", &name, "--listen", "[::]:8080"];
        self.scene.run(&pod, 8080, &[&app[..], calls].concat());
        let addresses = [crate::stage::cluster_ip(number), crate::stage::cluster_ip_v6(number)];
        self.publish(&http_service(service, space, number).endpoint(&pod), service, space, addresses, &[&pod]);
        pod
    }

    /// Waits until `holds` does of the agent's status.
    #[track_caller]
    fn wait_status(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let status = wait::until(LIMIT, what, || {
            let status = self.agent().status()?;
            anyhow::ensure!(holds(&status), "status is {status}");
            Ok(status)
        });
        status.unwrap_or_else(|error| panic!("{error:#}\n{}", self.agent().log_tail(40)))
    }

    /// Waits until so many of this node's pods are captured.
    #[track_caller]
    fn wait_captured(&self, count: usize) -> Value {
        self.wait_status("pods to be captured", |status| status["workloads"]["captured"] == count)
    }
}
