//! `demo --keep`: the cluster stays up, and the terminal says what to try with it.

use std::io;
use std::thread;

use anyhow::{Context as _, Result};

use super::Stage;
use super::steps::{AZUREUSER_HOST, DEFAULT_HOST};
use crate::lab::NODE_V4;

/// Prints commands and waits for Enter; Ctrl-C ends the process elsewhere.
pub(super) fn wait(stage: &mut Stage) -> Result<()> {
    stage.ensure_agent()?;
    for line in commands(stage)? {
        stage.story.say(&line);
    }
    let mut line = String::new();
    if io::stdin().read_line(&mut line).context("waiting for Enter")? == 0 {
        // No terminal to press Enter on: only a signal ends it.
        loop {
            thread::park();
        }
    }
    Ok(())
}

fn commands(stage: &Stage) -> Result<Vec<String>> {
    let outside = stage.cluster.lab.outside().netns().pid();
    let curl = |host: &str, more: &str| {
        format!("  nsenter -t {outside} -n curl -s --resolve {host}:80:{NODE_V4} {more}http://{host}/call")
    };
    let cli = format!("{} --admin-socket {}", stage.agent.binary().display(), stage.agent.socket().display());
    let pod = &stage.cluster.service_a_azureuser;
    let redis = stage.cluster.redis.first_address().context("Redis has no address")?;
    Ok(vec![
        "\nIt all keeps running. As root, in another terminal:".to_owned(),
        curl(AZUREUSER_HOST, ""),
        curl(DEFAULT_HOST, ""),
        curl(DEFAULT_HOST, "-H 'azds-route-as: azureuser' "),
        format!("  {cli} flows -f"),
        format!("  {cli} status"),
        format!("  {cli} routes"),
        format!("  {cli} explain --workload {} --url http://serviceB/ --header 'azds-route-as: azureuser'", pod.name()),
        format!(
            "  sh -c 'echo $$ > {}/cgroup.procs; exec nsenter -t {} -n redis-cli -h {} info server'",
            pod.cgroup().display(),
            pod.netns().pid(),
            redis.ip()
        ),
        "Enter or Ctrl-C ends and removes everything.".to_owned(),
    ])
}
