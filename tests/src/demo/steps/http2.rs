//! Step 7: HTTP/2 as gRPC speaks it without TLS: streams of one connection go to two spaces.
//!
//! The frames are written here: Debian's curl cannot use a connection of prior knowledge twice, not even without us.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use crate::demo::Stage;
use crate::demo::flows::is_request;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
/// The frame ends its stream, and the head.
const WHOLE: u8 = 1 | 4;

/// Two requests on one connection, the second in azureuser's space.
pub(super) fn two_spaces_over_one_connection(stage: &mut Stage) -> Result<()> {
    let pod = &stage.cluster.service_a_default;
    let to = stage.cluster.service_d_address()?;
    stage.story.sent(&format!("[{}] two streams on one connection to {to}, the second with azds-route-as", pod.name()));
    let bodies = ask(pod.connect(to)?).with_context(|| format!("speaking HTTP/2 with {to}"))?;
    stage.story.received(&bodies.join("; "), json!(bodies));
    let expected = ["serviceD.default default", "serviceD.azureuser azureuser"];
    stage.story.check("each space's serviceD answered, over one connection", bodies == expected, &bodies.join("; "))?;
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

/// The bodies of the answers to both requests.
fn ask(mut stream: TcpStream) -> Result<[String; 2]> {
    stream.set_read_timeout(Some(Duration::from_secs(10))).context("setting a read timeout")?;
    // `:method GET`, `:scheme http` and `:path /` of HPACK's static table.
    let plain = [0x82, 0x86, 0x84];
    let routed = [&plain[..], &[0, 13], b"azds-route-as", &[9], b"azureuser"].concat();
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    for (kind, flags, id, payload) in
        [(SETTINGS, 0, 0, &[][..]), (HEADERS, WHOLE, 1, &plain), (HEADERS, WHOLE, 3, &routed)]
    {
        let length = u8::try_from(payload.len()).context("a frame that is too long")?;
        bytes.extend_from_slice(&[0, 0, length, kind, flags, 0, 0, 0, id]);
        bytes.extend_from_slice(payload);
    }
    stream.write_all(&bytes).context("sending")?;
    let (mut bodies, mut ended) = ([String::new(), String::new()], 0);
    while ended < bodies.len() {
        let mut head = [0; 9];
        stream.read_exact(&mut head).context("reading a frame")?;
        let [a, b, c, kind, flags, _, _, _, id] = head;
        let mut payload = vec![0; usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c)];
        stream.read_exact(&mut payload).context("reading a frame's payload")?;
        let body = match id {
            1 => &mut bodies[0],
            3 => &mut bodies[1],
            _ => continue,
        };
        match kind {
            DATA => body.push_str(&String::from_utf8_lossy(&payload)),
            HEADERS => {}
            kind => bail!("a frame of type {kind} on stream {id}"),
        }
        ended += usize::from(flags & 1);
    }
    Ok(bodies)
}
