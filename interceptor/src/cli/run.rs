//! `interceptor run`: sets up the log and hands over to the agent.

use std::path::PathBuf;

use super::args::RunArgs;
use crate::agent::{self, RunOptions};
use crate::telemetry;

pub(super) fn run(args: RunArgs, admin_socket: Option<PathBuf>) -> anyhow::Result<()> {
    telemetry::start(&args.log)?;
    agent::run(&RunOptions { config: args.config, admin_socket, ebpf_log: args.ebpf_log })
}
