//! What the tests of this tier share: a node with spaces, services and applications, and clients that speak for a pod.
//!
//! A [`Scene`] is laid out first; [`Scene::start`] runs the agent on it. Every service has both families, port 80 and
//! applications on 8080. Sockets are made inside the pods, so that the hooks see them as the pods' own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use interceptor_tests::http::{Connection, Message};
use interceptor_tests::place::Place;
use interceptor_tests::{Agent, Config, Lab, Pod, Process, Service, bins, wait};
use serde_json::Value;

/// What normally takes milliseconds may take this long on a busy machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(10);
/// The ingress suffix of rule R1.
pub(crate) const SUFFIX: &str = "fedcba09.eus.azds.io";

/// A node before its agent runs.
pub(crate) struct Scene {
    // First: programs end before what they run in.
    processes: Vec<Process>,
    pub(crate) config: Config,
    pub(crate) lab: Lab,
}

/// A node with a running agent.
pub(crate) struct Stage {
    // First: it ends before what it runs in.
    pub(crate) agent: Agent,
    pub(crate) scene: Scene,
}

impl Scene {
    /// A node with these spaces (name, parent), nothing deployed. `name` tells it from others in listings.
    pub(crate) fn new(name: &str, spaces: &[(&str, Option<&str>)]) -> Scene {
        let lab = Lab::new(name).unwrap_or_else(|error| panic!("{error:#}"));
        let mut config = Config::new(&lab);
        config.set("routing", "ingress_suffixes", vec![SUFFIX]);
        for (space, parent) in spaces {
            config.space(space, *parent);
        }
        Scene { processes: Vec::new(), config, lab }
    }

    /// The spaces of the worked example: `azureuser` derives from `default`; `shop` is a tree of its own.
    pub(crate) fn worked_example(name: &str) -> Scene {
        Scene::new(name, &[("default", None), ("azureuser", Some("default")), ("shop", None)])
    }

    /// A pod in which `pod ARGS` listens on `port`; neither captured nor behind a service.
    pub(crate) fn program(&mut self, name: &str, port: u16, args: &[&str]) -> Pod {
        let pod = self.lab.pod(name).unwrap();
        self.run(&pod, port, args);
        pod
    }

    /// Runs `pod ARGS` in a pod and waits until it listens on `port`.
    pub(crate) fn run(&mut self, pod: &Pod, port: u16, args: &[&str]) {
        let process = pod.spawn(bins::pod().unwrap(), args).unwrap();
        self.keep(pod, port, process);
    }

    /// Keeps a program running until the end, once it listens on `port` of its pod.
    pub(crate) fn keep(&mut self, pod: &Pod, port: u16, process: Process) {
        pod.wait_listening(port, LIMIT).unwrap_or_else(|error| panic!("{error:#}; stderr: {}", process.stderr()));
        self.processes.push(process);
    }

    /// A pod with the HTTP application on port 8080 that calls itself by the pod's name.
    pub(crate) fn app(&mut self, name: &str) -> Pod {
        self.program(name, 8080, &["http", "--name", name, "--listen", "[::]:8080"])
    }

    /// A captured pod of a space with nothing in it: a place to call from.
    pub(crate) fn caller(&mut self, name: &str, space: Option<&str>) -> Pod {
        let pod = self.lab.pod(name).unwrap();
        self.config.workload(&pod, space);
        pod
    }

    /// Deploys `service.space`: an application of that name in a captured pod, and the service before it.
    pub(crate) fn deploy(&mut self, service: &str, space: &str, number: u8) -> Pod {
        let pod = self.app(&format!("{service}.{space}"));
        self.config.workload(&pod, Some(space));
        self.publish(&http_service(service, space, number).endpoint(&pod));
        pod
    }

    /// Tells the configuration and the node of a service.
    pub(crate) fn publish(&mut self, service: &Service) {
        self.lab.expose(service).unwrap();
        self.config.service(service);
    }

    /// Runs the agent.
    pub(crate) fn start(self) -> Stage {
        let agent = Agent::start(&self.lab, &self.config).unwrap_or_else(|error| panic!("{error:#}"));
        Stage { agent, scene: self }
    }
}

impl Stage {
    /// The configuration as it stands goes into force.
    pub(crate) fn reload(&self) {
        self.agent.reload(&self.scene.config).unwrap_or_else(|error| panic!("{error:#}"));
    }

    /// What the hooks have counted for this direction and reason.
    pub(crate) fn kernel(&self, direction: &str, reason: &str) -> u64 {
        let status = self.agent.status().unwrap();
        let counts = status["kernel"].as_array().unwrap();
        let same = |count: &&Value| count["direction"] == direction && count["reason"] == reason;
        counts.iter().find(same).unwrap_or_else(|| panic!("no {reason} in {status}"))["connections"].as_u64().unwrap()
    }

    /// All flow records that are kept and match.
    pub(crate) fn flows(&self, filters: &[&str]) -> Vec<Value> {
        let filters = [&["--last", "100000"], filters].concat();
        self.agent.flows(&filters).unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// Waits until `matches` holds for exactly `count` records (they appear when what they tell of has ended).
    pub(crate) fn wait_flows(&self, count: usize, matches: impl Fn(&Value) -> bool) -> Vec<Value> {
        let found = wait::until(LIMIT, "flow records", || {
            let all = self.flows(&[]);
            let found: Vec<Value> = all.iter().filter(|record| matches(record)).cloned().collect();
            if found.len() == count {
                return Ok(found);
            }
            let all: Vec<String> = all.iter().map(ToString::to_string).collect();
            anyhow::bail!("{} instead of {count} match among:\n{}", found.len(), all.join("\n"))
        });
        found.unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// The record of the one request for `path`.
    pub(crate) fn request(&self, path: &str) -> Value {
        self.wait_flows(1, |record| record["path"] == path).remove(0)
    }

    /// Fails with the agent's log if it has ended.
    pub(crate) fn expect_running(&mut self) {
        if let Err(error) = self.agent.process().expect_running() {
            panic!("{error:#}");
        }
    }
}

/// A service of both families on port 80 before applications on 8080. Its ClusterIPs end in `number`, which is unique.
pub(crate) fn http_service(name: &str, space: &str, number: u8) -> Service {
    bare_service(name, space, number).port("http", 80, 8080, None)
}

/// A service without ports.
pub(crate) fn bare_service(name: &str, space: &str, number: u8) -> Service {
    Service::new(name, space).address(cluster_ip(number)).address(cluster_ip_v6(number))
}

/// The IPv4 ClusterIP of that number.
pub(crate) fn cluster_ip(number: u8) -> IpAddr {
    Ipv4Addr::new(10, 96, 0, number).into()
}

/// The IPv6 ClusterIP of that number.
pub(crate) fn cluster_ip_v6(number: u8) -> IpAddr {
    Ipv6Addr::new(0xfd00, 0x96, 0, 0, 0, 0, 0, number.into()).into()
}

/// Port 80 of the IPv4 ClusterIP of that number.
pub(crate) fn vip(number: u8) -> SocketAddr {
    (cluster_ip(number), 80).into()
}

/// Port 80 of the IPv6 ClusterIP of that number.
pub(crate) fn vip_v6(number: u8) -> SocketAddr {
    (cluster_ip_v6(number), 80).into()
}

/// A connection made in a place, whose reads and writes end with an error instead of never.
pub(crate) fn dial(from: &Place, to: SocketAddr) -> TcpStream {
    let stream = from.connect(to).unwrap_or_else(|error| panic!("{error:#}"));
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.set_write_timeout(Some(LIMIT)).unwrap();
    stream
}

/// An HTTP client on one connection.
pub(crate) struct Client(pub(crate) Connection<TcpStream>);

impl Client {
    /// Connects from a place.
    pub(crate) fn new(from: &Place, to: SocketAddr) -> Client {
        Client(Connection::new(dial(from, to)))
    }

    /// A GET with these header lines; the answer may have any status.
    pub(crate) fn raw(&mut self, path: &str, headers: &[&str]) -> Message {
        self.0.send(get(path, headers).as_bytes()).unwrap();
        self.response(path)
    }

    /// The next answer.
    pub(crate) fn response(&mut self, path: &str) -> Message {
        self.0.response("GET").unwrap_or_else(|error| panic!("GET {path}: {error:#}"))
    }

    /// A GET that must be answered by an application of ours; its JSON.
    pub(crate) fn get(&mut self, path: &str, headers: &[&str]) -> Value {
        let response = self.raw(path, headers);
        json(&response)
    }
}

/// One request on a connection of its own.
pub(crate) fn ask(from: &Place, to: SocketAddr, path: &str, headers: &[&str]) -> Value {
    Client::new(from, to).get(path, headers)
}

/// A request's bytes.
pub(crate) fn get(path: &str, headers: &[&str]) -> String {
    let lines: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
    format!("GET {path} HTTP/1.1\r\n{lines}\r\n")
}

/// The JSON of an application's answer, which must be a 200.
pub(crate) fn json(response: &Message) -> Value {
    let text = String::from_utf8_lossy(&response.body);
    assert_eq!(response.status().unwrap(), 200, "{}: {text}", response.start);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The headers that an application saw, in order, as `Name: value`.
pub(crate) fn headers(answer: &Value) -> Vec<String> {
    let pairs = answer["headers"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    pairs.iter().map(|pair| format!("{}: {}", text(&pair[0]), text(&pair[1]))).collect()
}

/// What an application saw of the headers that carry a space.
pub(crate) fn routes(answer: &Value) -> Vec<String> {
    headers(answer).into_iter().filter(|line| line.to_ascii_lowercase().contains("-route-as:")).collect()
}

/// An address in an application's answer.
pub(crate) fn address(value: &Value) -> SocketAddr {
    value.as_str().unwrap().parse().unwrap()
}

/// The spaces that were tried and what was found there, as `space=outcome`.
pub(crate) fn chain(record: &Value) -> Vec<String> {
    let steps = record["chain"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    steps.iter().map(|step| format!("{}={}", text(&step["space"]), text(&step["outcome"]))).collect()
}
