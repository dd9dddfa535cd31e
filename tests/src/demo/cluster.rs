//! The demo's cluster: who runs where, under which address, and the agent's configuration that says the same.
//!
//! Spaces `default` and `azureuser` (derived from it); ClusterIPs 10.96.0.x for default's services, 10.96.1.x for
//! azureuser's. The ingress pod is outside all spaces and is not captured.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::{nginx, peers};
use crate::app::http::ROUTE_HEADER;
use crate::bins;
use crate::config::{Config, Service};
use crate::lab::{Lab, NODE_V4};
use crate::pod::Pod;
use crate::process::Process;

/// The suffix of all URLs (rule R1).
pub(crate) const SUFFIX: &str = "fedcba09.eus.azds.io";
/// How long any part of it may take to come up.
pub(crate) const LIMIT: Duration = Duration::from_secs(15);

/// The running cluster.
#[derive(Debug)]
pub(crate) struct Cluster {
    // First: processes end before what they run in.
    processes: Vec<Process>,
    pub(crate) service_a_azureuser: Pod,
    pub(crate) service_a_default: Pod,
    service_b_azureuser: Option<Pod>,
    pub(crate) service_b: Service,
    /// That of default, which speaks HTTP/2.
    service_d: Service,
    pub(crate) redis: Service,
    pub(crate) tls: peers::Tls,
    pub(crate) config: Config,
    pub(crate) lab: Lab,
}

impl Cluster {
    /// Starts everything except the agent.
    pub(crate) fn start() -> Result<Cluster> {
        let lab = Lab::new("demo")?;
        peers::require_programs(&lab)?;
        let mut processes = Vec::new();

        let service_b_default = lab.pod("serviceB-default")?;
        let service_b = http_service("serviceB", "default", 12).endpoint(&service_b_default);
        processes.push(app(&service_b_default, "serviceB.default", None, ROUTE_HEADER)?);

        let calls = service_b.first_address();
        let service_a_default = lab.pod("serviceA-default")?;
        let service_a_azureuser = lab.pod("serviceA-azureuser")?;
        processes.push(app(&service_a_default, "serviceA.default", calls, ROUTE_HEADER)?);
        processes.push(app(&service_a_azureuser, "serviceA.azureuser", calls, ROUTE_HEADER)?);

        let service_c = lab.pod("serviceC-default")?;
        processes.push(app(&service_c, "serviceC.default", calls, "traceparent")?);

        let mut service_d = Vec::new();
        for (space, third) in [("default", 0), ("azureuser", 1)] {
            let pod = lab.pod(&format!("serviceD-{space}"))?;
            processes.push(nginx::http2(&lab, &pod, &format!("serviceD.{space}"))?);
            let service = Service::new("serviceD", space).address(Ipv4Addr::new(10, 96, third, 16));
            service_d.push(service.port("grpc", 50051, 8080, None).endpoint(&pod));
        }

        let redis_pod = lab.pod("redis")?;
        processes.push(peers::redis(&redis_pod)?);
        let redis = Service::new("redis", "default")
            .address(Ipv4Addr::new(10, 96, 0, 20))
            .port("redis", 6379, 6379, None)
            .endpoint(&redis_pod);

        let tls_pod = lab.pod("vault")?;
        let (tls, server) = peers::tls(&lab, &tls_pod)?;
        processes.push(server);

        let ingress = lab.pod("ingress")?;
        processes.push(nginx::ingress(
            &lab,
            &ingress,
            &[
                (format!("azureuser.s.default.serviceA.{SUFFIX}"), service_a_azureuser.at(8080)),
                (format!("default.serviceA.{SUFFIX}"), service_a_default.at(8080)),
                (format!("azureuser.s.default.serviceC.{SUFFIX}"), service_c.at(8080)),
            ],
        )?);
        // As a service of type LoadBalancer would give it an address outside.
        lab.cluster_ip(&[NODE_V4.into()], 80, &[(ingress.v4.into(), 80)])?;

        let mut config = Config::new(&lab);
        config.space("default", None).space("azureuser", Some("default"));
        config.set("routing", "ingress_suffixes", vec![SUFFIX]);
        let service_a_default_service = http_service("serviceA", "default", 10).endpoint(&service_a_default);
        let service_a_azureuser_service = http_service("serviceA", "azureuser", 10).endpoint(&service_a_azureuser);
        let service_c_service = http_service("serviceC", "default", 14).endpoint(&service_c);
        let of_service_a = [&service_a_default_service, &service_a_azureuser_service];
        let others = [&service_b, &service_c_service, &redis, &tls.service];
        for service in of_service_a.into_iter().chain(others).chain(&service_d) {
            lab.expose(service)?;
            config.service(service);
        }
        config.workload(&service_a_azureuser, Some("azureuser"));
        config.workload(&service_a_default, Some("default"));
        config.workload(&service_b_default, Some("default"));
        config.workload(&service_c, Some("default"));
        Ok(Cluster {
            processes,
            service_a_azureuser,
            service_a_default,
            service_b_azureuser: None,
            service_b,
            service_d: service_d.swap_remove(0),
            redis,
            tls,
            config,
            lab,
        })
    }

    /// Deploys serviceB in azureuser: a pod, its service, both in the configuration (which the caller reloads).
    pub(crate) fn deploy_service_b(&mut self) -> Result<Pod> {
        let pod = self.lab.pod("serviceB-azureuser")?;
        self.processes.push(app(&pod, "serviceB.azureuser", None, ROUTE_HEADER)?);
        let service = http_service("serviceB", "azureuser", 12).endpoint(&pod);
        self.lab.expose(&service)?;
        self.config.service(&service).workload(&pod, Some("azureuser"));
        self.service_b_azureuser = Some(pod.clone());
        Ok(pod)
    }

    /// Removes azureuser's serviceB from the configuration and the node; the caller reloads, then ends the pod.
    pub(crate) fn undeploy_service_b(&mut self) -> Result<()> {
        self.config.remove_service("azureuser", "serviceB").remove_workload("serviceB-azureuser");
        self.lab.unexpose(&http_service("serviceB", "azureuser", 12))
    }

    /// Ends the pod of azureuser's serviceB, after the agent has been told.
    pub(crate) fn remove_service_b_pod(&mut self) -> Result<()> {
        self.service_b_azureuser.take().map_or(Ok(()), |pod| pod.remove())
    }

    /// Where serviceD of default is called.
    pub(crate) fn service_d_address(&self) -> Result<SocketAddr> {
        self.service_d.first_address().context("serviceD has no address")
    }

    /// Where serviceB of default is called.
    pub(crate) fn service_b_address(&self) -> Result<SocketAddr> {
        self.service_b.first_address().context("serviceB has no address")
    }
}

/// An HTTP service of both families on port 80, whose pods listen on 8080.
fn http_service(name: &str, space: &str, host: u8) -> Service {
    let third = u8::from(space != "default");
    let v6 = Ipv6Addr::new(0xfd00, 0x96, 0, 0, 0, 0, third.into(), host.into());
    Service::new(name, space)
        .address(Ipv4Addr::new(10, 96, third, host))
        .address(IpAddr::from(v6))
        .port("http", 80, 8080, None)
}

/// Starts an application on port 8080 that calls `http://serviceB/` at `calls` and copies the header `forward` to it.
fn app(pod: &Pod, name: &str, calls: Option<SocketAddr>, forward: &str) -> Result<Process> {
    let mut args = vec!["http", "--name", name, "--listen", "[::]:8080"];
    let resolve = calls.map(|address| address.to_string());
    if let Some(resolve) = &resolve {
        args.extend(["--call", "http://serviceB/", "--resolve", resolve, "--forward", forward]);
    }
    let mut process = pod.spawn(bins::pod()?, args)?;
    pod.wait_listening(8080, LIMIT).or_else(|error| process.expect_running().and(Err(error)))?;
    Ok(process)
}
