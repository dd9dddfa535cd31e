//! The flow records that a step of the demo caused, asked from the agent through its CLI.
//!
//! Records appear when a request or connection ends, which may be after the client has its answer: so they are waited
//! for. Only field names of the documented record are used.

use std::collections::HashSet;
use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::Value;

use crate::agent::Agent;
use crate::wait;

/// A description of a record, and how to recognise it.
pub(crate) type Wanted<'a> = (&'a str, &'a dyn Fn(&Value) -> bool);

/// The records that earlier steps have caused.
#[derive(Debug, Default)]
pub(crate) struct Seen(HashSet<String>);

impl Seen {
    /// Waits until, among the records that are new, every one of `wanted` is found.
    /// Gives all new ones, and remembers them.
    pub(crate) fn expect(&mut self, agent: &Agent, wanted: &[Wanted<'_>]) -> Result<Vec<Value>> {
        let found = wait::until(LIMIT, "the flow records of this step", || {
            let mut all = agent.flows(&[])?;
            all.retain(|record| !self.0.contains(&key(record)));
            for (what, matches) in wanted {
                if !all.iter().any(matches) {
                    let have: Vec<String> = all.iter().map(|record| format!("  {record}")).collect();
                    bail!("no record of {what}; the new ones are:\n{}", have.join("\n"));
                }
            }
            Ok(all)
        })?;
        self.0.extend(found.iter().map(key));
        Ok(found)
    }
}

/// Whether a record is of a request of that workload in that direction.
pub(crate) fn is_request(record: &Value, workload: &str, direction: &str) -> bool {
    record["kind"] == "request" && record["workload"] == workload && record["direction"] == direction
}

/// The spaces that were tried, in order.
pub(crate) fn chain(record: &Value) -> Vec<&str> {
    let tried = record["chain"].as_array().map(Vec::as_slice).unwrap_or_default();
    tried.iter().filter_map(|step| step["space"].as_str()).collect()
}

/// One line for people; the full record is in the JSON output.
pub(crate) fn short(record: &Value) -> String {
    let text = |value: &Value| match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let field = |name: &str| text(&record[name]);
    let mut line = format!("{:<8} {} {} {}", field("direction"), field("workload"), field("protocol"), field("kind"));
    if record["kind"] == "request" {
        line.push_str(&format!(" {} {} {}", field("method"), field("path"), field("status")));
    }
    let to = match &record["service"] {
        Value::Null => field("original_destination"),
        service => text(service),
    };
    line.push_str(&format!(" to {to}"));
    if !record["space"].is_null() {
        line.push_str(&format!(", space {} (from {})", field("space"), field("space_from")));
    }
    if let chain @ [_, ..] = chain(record).as_slice() {
        line.push_str(&format!(", tried {}", chain.join(", ")));
    }
    let target = &record["target"];
    if !target.is_null() {
        line.push_str(&format!(
            " → {}.{} {}",
            text(&target["service"]),
            text(&target["space"]),
            text(&target["address"])
        ));
    }
    line.push_str(&format!(" [{}: {}]", field("verdict"), field("reason")));
    line
}

fn key(record: &Value) -> String {
    format!("{}/{}", record["kind"], record["id"])
}

const LIMIT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_record_fits_one_line_that_says_where_and_why() {
        let record = json!({
            "kind": "request", "id": 1, "workload": "serviceA-azureuser", "direction": "outbound", "protocol": "http1",
            "method": "GET", "path": "/", "status": 200, "service": "serviceB.default", "space": "azureuser",
            "space_from": "header", "chain": [{"space": "azureuser", "outcome": "no_service"}, {"space": "default"}],
            "target": {"address": "10.96.0.12:80", "space": "default", "service": "serviceB", "kind": "original"},
            "verdict": "routed", "reason": "fallback"
        });
        assert_eq!(
            short(&record),
            "outbound serviceA-azureuser http1 request GET / 200 to serviceB.default, space azureuser (from header), \
             tried azureuser, default → serviceB.default 10.96.0.12:80 [routed: fallback]"
        );
    }
}
