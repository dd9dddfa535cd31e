//! Step 7: HTTP/2 as gRPC speaks it without TLS: streams of one connection go to two spaces.

use anyhow::{Result, bail};
use serde_json::{Value, json};

use crate::demo::Stage;
use crate::demo::flows::is_request;

/// One curl with two requests on one connection, the second in azureuser's space.
pub(super) fn two_spaces_over_one_connection(stage: &mut Stage) -> Result<()> {
    let pod = &stage.cluster.service_a_default;
    let url = format!("http://{}/test.Test/Call", stage.cluster.service_d_address()?);
    let one =
        ["--http2-prior-knowledge", "-sS", "--max-time", "10", "-w", " HTTP/%{http_version} %{num_connects}\\n", &url];
    let args = [&one[..], &["--next", "-H", "azds-route-as: azureuser"], &one].concat();
    let shown =
        format!("[{}] curl --http2-prior-knowledge {url} --next -H 'azds-route-as: azureuser' {url}", pod.name());
    let output = pod.output("curl", args)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        bail!("{shown} ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    stage.story.sent(&shown);
    let lines: Vec<&str> = text.lines().collect();
    stage.story.received(&lines.join("; "), json!(lines));
    let expected = ["serviceD.default default HTTP/2 1", "serviceD.azureuser azureuser HTTP/2 0"];
    stage.story.check("each space's serviceD answered, over one connection", lines == expected, &text)?;
    let of = |record: &Value, space: &str| {
        is_request(record, "serviceA-default", "outbound") && record["protocol"] == "http2" && record["space"] == space
    };
    let flows = stage.seen.expect(
        &stage.agent,
        &[
            ("a stream to serviceD.default", &|record| of(record, "default")),
            ("a stream to serviceD.azureuser", &|record| of(record, "azureuser")),
        ],
    )?;
    stage.story.flows(flows);
    Ok(())
}
