//! Of several managers one writes, and another goes on when it ends or dies.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::cluster::{Cluster, LIMIT};

#[test]
fn one_of_two_managers_writes_and_the_other_goes_on_where_it_ended() -> Result<()> {
    let mut cluster = Cluster::start()?;
    cluster.worked_example()?;
    let first = cluster.manager("first")?;
    first.wait_leading(true, LIMIT)?;
    let second = cluster.manager("second")?;
    cluster.wait_hosts("dev", "azds-servicea", Some(&["*.s.dev.servicea", "dev.servicea"]))?;
    second.wait_leading(false, LIMIT)?;
    assert!(second.ask("/metrics")?.contains(r#"interceptor_ingress_writes_total{verb="apply",result="ok"} 0"#));
    // It gives the lease up: nobody waits for it to run out.
    let ended = Instant::now();
    first.end("-TERM")?;
    second.wait_leading(true, Duration::from_secs(10))?;
    assert!(ended.elapsed() < Duration::from_secs(10), "{:?}", ended.elapsed());
    cluster.service("azureuser", "serviceb", &[("http", 80)])?;
    cluster.wait_hosts("azureuser", "azds-serviceb", Some(&["azureuser.s.dev.serviceb"]))?;
    let lease = cluster.get("lease", "system", "interceptor-ingress-manager")?.unwrap_or_default();
    assert_eq!(lease["spec"]["holderIdentity"], "second");
    Ok(())
}

#[test]
fn a_manager_that_dies_is_replaced_when_its_lease_has_run_out_and_not_before() -> Result<()> {
    let mut cluster = Cluster::start()?;
    cluster.worked_example()?;
    let first = cluster.manager("first")?;
    first.wait_leading(true, LIMIT)?;
    let second = cluster.manager("second")?;
    let died = Instant::now();
    first.end("-KILL")?;
    second.wait_leading(true, Duration::from_secs(40))?;
    // A renewal was at most two seconds old.
    let took = died.elapsed();
    assert!(took > Duration::from_secs(11), "it took over after {took:?}");
    Ok(())
}
