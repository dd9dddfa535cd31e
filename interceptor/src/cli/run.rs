//! `interceptor run`: sets up the log, gives up what the agent does not need and hands over to it.

use std::path::PathBuf;

use anyhow::Context as _;

use super::Environment;
use super::args::RunArgs;
use crate::agent::{self, ClusterOptions, RunOptions};
use crate::kubernetes::Access;
use crate::privileges;
use crate::telemetry;

pub(super) fn run(args: RunArgs, admin_socket: Option<PathBuf>, environment: &Environment) -> anyhow::Result<()> {
    let confined = privileges::confine_process(privileges::AGENT);
    let log = telemetry::start(&args.log)?;
    confined.tell();
    let cluster = args.kubernetes.then(|| cluster(&args, environment)).transpose()?;
    let RunArgs { config, cgroup_root, ebpf_log, takeover, .. } = args;
    agent::run(&RunOptions {
        config,
        cluster,
        admin_socket,
        cgroup_root,
        ebpf_log,
        takeover,
        log: log.counts().clone(),
    })
}

fn cluster(args: &RunArgs, environment: &Environment) -> anyhow::Result<ClusterOptions> {
    let node = args.node_name.clone().or_else(|| environment.node_name.clone());
    let node = node.context(
        "this node's name is not known: give --node-name, or set NODE_NAME from the downward API (spec.nodeName)",
    )?;
    let kubeconfig = args.kubeconfig.clone().map_or_else(|| environment.kubeconfig.clone(), |path| vec![path]);
    let user_agent = concat!("interceptor/", env!("CARGO_PKG_VERSION")).to_owned();
    Ok(ClusterOptions { access: Access { kubeconfig, user_agent }, node })
}
