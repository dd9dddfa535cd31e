//! Step 4: serviceC knows nothing of spaces. Its own code copies W3C's `traceparent`, as tracing libraries do, and nothing
//! else; it runs in default alone, and azureuser has a serviceB.

use anyhow::Result;
use serde_json::Value;

use super::SERVICE_C_HOST;
use crate::demo::Stage;
use crate::demo::flows::is_request;

const TRACEPARENT: &str = "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// With a trace id the space is found again, without one it is lost.
pub(super) fn traceparent(stage: &mut Stage) -> Result<()> {
    for (headers, service_b, seen, from) in [
        (&[TRACEPARENT][..], "serviceB.azureuser", "azureuser", "trace"),
        (&[], "serviceB.default", "default", "caller"),
    ] {
        let call = stage.cluster.visit(SERVICE_C_HOST, "/call", headers)?;
        let answer = stage.tell(call);
        stage.check_answer(&answer, "serviceC.default", &["azureuser"])?;
        stage.check_answer(&answer["upstream"], service_b, &[seen])?;
        let sent = |record: &Value| is_request(record, "serviceC-default", "outbound") && record["space_from"] == from;
        let flows = stage.seen.expect(
            &stage.agent,
            &[(&format!("the request from serviceC to {service_b}, its space from {from}"), &sent)],
        )?;
        stage.story.flows(flows);
    }
    Ok(())
}
