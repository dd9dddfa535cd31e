//! Steps 1, 2 and 7: the worked example of the mission, the same for default, and its explanation.

use anyhow::Result;
use serde_json::{Value, json};

use super::{AZUREUSER_HOST, DEFAULT_HOST};
use crate::demo::Stage;
use crate::demo::flows::{chain, is_request};

/// A caller outside asks for azureuser's serviceA.
pub(super) fn azureuser(stage: &mut Stage) -> Result<()> {
    let call = stage.cluster.visit(AZUREUSER_HOST, "/call", &[])?;
    let answer = stage.tell(call);
    stage.check_answer(&answer, "serviceA.azureuser", &["azureuser"])?;
    stage.check_answer(&answer["upstream"], "serviceB.default", &["azureuser"])?;
    let flows = stage.seen.expect(
        &stage.agent,
        &[
            ("the request from the ingress to serviceA.azureuser", &|record| {
                is_request(record, "serviceA-azureuser", "inbound") && record["space"] == "azureuser"
            }),
            ("the request from serviceA.azureuser to serviceB", &|record| {
                is_request(record, "serviceA-azureuser", "outbound") && record["service"] == "serviceB.default"
            }),
        ],
    )?;
    let outbound = flows.iter().find(|record| is_request(record, "serviceA-azureuser", "outbound")).cloned();
    stage.story.flows(flows);
    let record = outbound.unwrap_or(Value::Null);
    let claim = "the flow to serviceB has space azureuser, from the header";
    let from_header = record["space"] == "azureuser" && record["space_from"] == "header";
    stage.story.check(claim, from_header, &record)?;
    stage.story.check("it tried azureuser, then default", chain(&record) == ["azureuser", "default"], &record)?;
    stage.story.check("its target is in default", record["target"]["space"] == "default", &record)
}

/// A caller outside asks for default's serviceA.
pub(super) fn default(stage: &mut Stage) -> Result<()> {
    let call = stage.cluster.visit(DEFAULT_HOST, "/call", &[])?;
    let answer = stage.tell(call);
    stage.check_answer(&answer, "serviceA.default", &["default"])?;
    stage.check_answer(&answer["upstream"], "serviceB.default", &["default"])?;
    let flows = stage.seen.expect(
        &stage.agent,
        &[
            ("the request from the ingress to serviceA.default", &|record| {
                is_request(record, "serviceA-default", "inbound") && record["space"] == "default"
            }),
            ("the request from serviceA.default to serviceB", &|record| {
                is_request(record, "serviceA-default", "outbound") && record["target"]["space"] == "default"
            }),
        ],
    )?;
    // Requests only: the record of a connection of step 1 may come late.
    let of_azureuser = |record: &&Value| record["kind"] == "request" && record["workload"] == "serviceA-azureuser";
    let elsewhere = flows.iter().find(of_azureuser).cloned();
    stage.story.flows(flows);
    let seen = elsewhere.clone().unwrap_or(Value::Null);
    stage.story.check("azureuser's copies saw nothing of it", elsewhere.is_none(), &seen)
}

/// The CLI explains the decision of step 1 without sending anything.
pub(super) fn explain(stage: &mut Stage) -> Result<()> {
    let args = [
        "explain",
        "--workload",
        "serviceA-azureuser",
        "--url",
        "http://serviceB/",
        "--header",
        "azds-route-as: azureuser",
    ];
    stage.story.sent(
        "interceptor explain --workload serviceA-azureuser --url http://serviceB/ --header 'azds-route-as: azureuser'",
    );
    let text = stage.agent.text(&args)?;
    let structured = stage.agent.json(&[args.as_slice(), &["-o", "json"]].concat())?;
    stage.story.received(&text, json!({ "text": text, "json": structured }));
    for part in ["azureuser", "default", "serviceB"] {
        stage.story.check(&format!("the explanation names {part}"), text.contains(part), &text)?;
    }
    Ok(())
}
