//! `interceptor run`: sets up the log and hands over to the agent.

use std::path::PathBuf;

use super::args::RunArgs;
use crate::agent::{self, RunOptions};
use crate::telemetry;

pub(super) fn run(args: RunArgs, admin_socket: Option<PathBuf>) -> anyhow::Result<()> {
    telemetry::start(&args.log)?;
    let RunArgs { config, cgroup_root, ebpf_log, .. } = args;
    agent::run(&RunOptions { config, admin_socket, cgroup_root, ebpf_log })
}
