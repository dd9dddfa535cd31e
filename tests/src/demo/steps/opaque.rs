//! Step 6: what is not HTTP passes byte for byte, from a captured pod to services of a space tree.

use std::fs::{self, File};
use std::net::SocketAddr;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use crate::config::Service;
use crate::demo::Stage;
use crate::demo::peers::{TLS_NAME, TLS_TEXT};

/// Redis set and get, small and large; TLS with the server's own certificate verified.
pub(super) fn redis_and_tls(stage: &mut Stage) -> Result<()> {
    let address = address(&stage.cluster.redis)?;
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    let base = ["-h", host.as_str(), "-p", port.as_str()];
    let set = run(stage, "redis-cli", &[&base, ["set", "space", "azureuser"].as_slice()].concat(), None)?;
    stage.story.check("Redis took the value", set.trim() == "OK", &set)?;
    let get = run(stage, "redis-cli", &[&base, ["get", "space"].as_slice()].concat(), None)?;
    stage.story.check("Redis gave it back", get.trim() == "azureuser", &get)?;

    let text: String = (0..200_000_u32).map(|n| format!("{n:x},")).collect();
    let file = stage.cluster.lab.temp().join("blob");
    fs::write(&file, &text).with_context(|| format!("writing {}", file.display()))?;
    let input = File::open(&file).with_context(|| format!("opening {}", file.display()))?;
    let set = run(stage, "redis-cli", &[&base, ["-x", "set", "blob"].as_slice()].concat(), Some(input))?;
    stage.story.check(&format!("Redis took {} bytes", text.len()), set.trim() == "OK", &set)?;
    let get = run(stage, "redis-cli", &[&base, ["get", "blob"].as_slice()].concat(), None)?;
    let length = get.len();
    stage.story.check("they came back the same", get.trim_end() == text, &format_args!("{length} bytes"))?;

    let address = self::address(&stage.cluster.tls.service)?;
    let resolve = format!("{TLS_NAME}:443:{}", address.ip());
    let certificate = stage.cluster.tls.certificate.display().to_string();
    let url = format!("https://{TLS_NAME}/");
    let args = ["-sS", "--max-time", "10", "--cacert", &certificate, "--resolve", &resolve, &url];
    let body = run(stage, "curl", &args, None)?;
    stage.story.check("TLS was verified with the server's own certificate, end to end", body == TLS_TEXT, &body)?;

    let of = |record: &Value, protocol: &str, service: &str| {
        record["kind"] == "connection" && record["protocol"] == protocol && record["service"] == service
    };
    let flows = stage.seen.expect(
        &stage.agent,
        &[
            ("an opaque connection to Redis", &|record| of(record, "opaque", "redis.default")),
            ("a TLS connection to vault", &|record| of(record, "tls", "vault.default")),
        ],
    )?;
    stage.story.flows(flows);
    Ok(())
}

/// Runs a client in azureuser's pod, narrates it, and gives its stdout.
fn run(stage: &mut Stage, program: &str, args: &[&str], input: Option<File>) -> Result<String> {
    let pod = &stage.cluster.service_a_azureuser;
    let shown = format!("[{}] {program} {}", pod.name(), args.join(" "));
    let mut command = pod.command(program, args)?;
    if let Some(input) = input {
        command.stdin(input);
    }
    let output = command.output().with_context(|| format!("running {shown}"))?;
    if !output.status.success() {
        bail!("{shown} ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    let text = String::from_utf8(output.stdout).with_context(|| format!("reading the output of {shown}"))?;
    stage.story.sent(&shown);
    let short = if text.len() > 100 { format!("({} bytes)", text.len()) } else { text.trim().to_owned() };
    stage.story.received(&short, json!(short));
    Ok(text)
}

fn address(service: &Service) -> Result<SocketAddr> {
    service.first_address().context("a service of the demo has no address")
}
