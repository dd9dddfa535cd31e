//! Steps 3, 4 and 5: copies that come and go, and a space that does not exist.

use anyhow::{Context as _, Result};
use serde_json::json;

use super::{AZUREUSER_HOST, DEFAULT_HOST};
use crate::demo::Stage;
use crate::demo::flows::is_request;

/// azureuser deploys a serviceB.
pub(super) fn deploy(stage: &mut Stage) -> Result<()> {
    let pod = stage.cluster.deploy_service_b().context("deploying serviceB in azureuser")?;
    stage.agent.reload(&stage.cluster.config)?;
    let address = pod.v4;
    stage
        .story
        .sent(&format!("serviceB deployed in azureuser as the pod {} ({address}), configuration reloaded", pod.name()));
    call_and_expect(stage, "serviceB.azureuser", "azureuser")
}

/// azureuser removes it again.
pub(super) fn remove(stage: &mut Stage) -> Result<()> {
    stage.cluster.undeploy_service_b().context("removing serviceB from azureuser")?;
    stage.agent.reload(&stage.cluster.config)?;
    stage.cluster.remove_service_b_pod()?;
    stage.story.sent("serviceB removed from azureuser, configuration reloaded, its pod ended");
    call_and_expect(stage, "serviceB.default", "default")
}

fn call_and_expect(stage: &mut Stage, service_b: &str, space: &str) -> Result<()> {
    let call = stage.cluster.visit(AZUREUSER_HOST, "/call", &[])?;
    let answer = stage.tell(call);
    stage.check_answer(&answer, "serviceA.azureuser", &["azureuser"])?;
    stage.check_answer(&answer["upstream"], service_b, &["azureuser"])?;
    let flows = stage.seen.expect(
        &stage.agent,
        &[(&format!("the request from serviceA.azureuser to {service_b}"), &|record| {
            is_request(record, "serviceA-azureuser", "outbound") && record["target"]["space"] == space
        })],
    )?;
    stage.story.flows(flows);
    let running = stage.agent.process().expect_running();
    let seen = json!(running.as_ref().err().map(ToString::to_string));
    stage.story.check("nothing was restarted: the interceptor is the process of step 1", running.is_ok(), &seen)
}

/// A header that names no space we know is none of our business.
pub(super) fn unknown_space(stage: &mut Stage) -> Result<()> {
    let call = stage.cluster.visit(DEFAULT_HOST, "/call", &["azds-route-as: nobody"])?;
    let answer = stage.tell(call);
    stage.check_answer(&answer, "serviceA.default", &["nobody"])?;
    stage.check_answer(&answer["upstream"], "serviceB.default", &["nobody"])?;
    let flows = stage.seen.expect(
        &stage.agent,
        &[("the request from serviceA.default to serviceB, answered 200", &|record| {
            is_request(record, "serviceA-default", "outbound")
                && record["route_header"]["value"] == "nobody"
                && record["status"] == 200
        })],
    )?;
    stage.story.flows(flows);
    Ok(())
}
