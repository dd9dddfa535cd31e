//! Step 8: the interceptor dies, and nobody's traffic does.

use std::time::Instant;

use anyhow::Result;
use serde_json::json;

use super::AZUREUSER_HOST;
use crate::demo::Stage;
use crate::demo::calls::call;

/// kill -9, then the same calls at once.
pub(super) fn kill9(stage: &mut Stage) -> Result<()> {
    let pid = stage.agent.process().pid();
    let status = stage.agent.kill9()?;
    let killed = Instant::now();
    stage.story.sent(&format!("kill -9 {pid}"));
    stage.story.received(&format!("the interceptor ended: {status}"), json!(status.to_string()));

    let address = stage.cluster.service_b_address()?;
    let from = &stage.cluster.service_a_azureuser;
    let client = from.v4.to_string();
    let call = call(from, "serviceB", address, "/", &["azds-route-as: azureuser"])?;
    let elapsed = killed.elapsed();
    let answer = stage.tell(call);
    stage.check_answer(&answer, "serviceB.default", &["azureuser"])?;
    let direct = answer["peer"].as_str().is_some_and(|peer| peer.starts_with(&format!("{client}:")));
    stage.story.check(&format!("it saw the pod as its peer ({client})"), direct, &answer["peer"])?;
    stage.story.say(&format!("    (answered {:.0} ms after the kill)", elapsed.as_secs_f64() * 1000.0));

    let call = stage.cluster.visit(AZUREUSER_HOST, "/call", &[])?;
    let answer = stage.tell(call);
    stage.check_answer(&answer, "serviceA.azureuser", &[])?;
    stage.check_answer(&answer["upstream"], "serviceB.default", &[])
}
