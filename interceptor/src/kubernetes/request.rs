//! One request to the API server: a page of a list, or the lines of a watch; each within a deadline and bounds.
//!
//! [`watch`](super::watch) calls it. kube's own `Api` has no deadlines, copies every answer once more and logs what it
//! cannot parse; its request builder and client are used.

use std::error::Error;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::{Request, Response};
use kube::Client;
use kube::api::{ListParams, WatchParams};
use kube::client::Body;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::error::{Asked, WatchError};

/// A page, or an event, that is larger is refused: etcd holds nothing of which a page could be so large.
const MAX_PAGE: usize = 256 << 20;
const MAX_LINE: usize = 16 << 20;
/// Of an answer that is an error, so much is read.
const MAX_STATUS: usize = 64 << 10;

/// Which objects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// A field selector (`spec.nodeName=node-1`).
    pub fields: Option<String>,
    /// A label selector.
    pub labels: Option<String>,
}

/// A page of a list.
#[derive(Deserialize)]
#[serde(bound = "T: DeserializeOwned")]
pub(super) struct Page<T> {
    pub(super) metadata: ListMeta,
    /// A server writes null where there is none.
    #[serde(default)]
    pub(super) items: Option<Vec<T>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListMeta {
    #[serde(default)]
    pub(super) resource_version: String,
    #[serde(default, rename = "continue")]
    pub(super) next: String,
}

/// What a refusal's body says.
#[derive(Deserialize, Default)]
pub(super) struct Status {
    #[serde(default)]
    pub(super) code: u16,
    #[serde(default)]
    pub(super) message: String,
}

/// Asks for one page.
pub(super) async fn page<T: DeserializeOwned>(
    client: &Client,
    asked: Asked,
    (path, selection): (&str, &Selection),
    next: Option<String>,
    (limit, deadline): (u32, Duration),
) -> Result<Page<T>, WatchError> {
    let params = ListParams {
        field_selector: selection.fields.clone(),
        label_selector: selection.labels.clone(),
        limit: Some(limit),
        continue_token: next,
        ..ListParams::default()
    };
    let request = kube::core::Request::new(path).list(&params).map_err(|error| unreachable(asked, &error))?;
    let whole = async {
        let response = answer(client, asked, request).await?;
        let bytes = collect(asked, response.into_body(), MAX_PAGE).await?;
        serde_json::from_slice(&bytes).map_err(|error| garbage(asked, &error))
    };
    timeout(deadline, whole).await.unwrap_or(Err(WatchError::Silent { asked, after: deadline }))
}

/// Begins a watch after a version.
pub(super) async fn watch(
    client: &Client,
    asked: Asked,
    (path, selection): (&str, &Selection),
    version: &str,
    (length, deadline): (Duration, Duration),
) -> Result<Lines, WatchError> {
    let params = WatchParams {
        field_selector: selection.fields.clone(),
        label_selector: selection.labels.clone(),
        timeout: Some(u32::try_from(length.as_secs()).unwrap_or(u32::MAX)),
        bookmarks: true,
        send_initial_events: false,
    };
    let request = kube::core::Request::new(path).watch(&params, version).map_err(|error| unreachable(asked, &error))?;
    let response = timeout(deadline, answer(client, asked, request)).await;
    let response = response.unwrap_or(Err(WatchError::Silent { asked, after: deadline }))?;
    // The server ends it after `length`; one that does not is gone.
    let idle = length + deadline;
    Ok(Lines { asked, body: response.into_body(), buffer: BytesMut::new(), searched: 0, idle })
}

async fn answer(client: &Client, asked: Asked, request: Request<Vec<u8>>) -> Result<Response<Body>, WatchError> {
    let response = client.send(request.map(Body::from)).await.map_err(|error| unreachable(asked, &error))?;
    if response.status().is_success() {
        return Ok(response);
    }
    let code = response.status().as_u16();
    let retry_after = response.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
    // What cannot be read any more says less than the status.
    let body = collect(asked, response.into_body(), MAX_STATUS).await.unwrap_or_default();
    let said: Status = serde_json::from_slice(&body).unwrap_or_default();
    let message = if said.message.is_empty() { "without a reason".to_owned() } else { said.message };
    Err(WatchError::Refused { asked, code, message, retry_after: retry_after.map(Duration::from_secs) })
}

async fn collect(asked: Asked, mut body: Body, limit: usize) -> Result<Bytes, WatchError> {
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| unreachable(asked, &error))?;
        if let Ok(data) = frame.into_data() {
            if whole.len() + data.len() > limit {
                return Err(garbage(asked, &format!("it is longer than {limit} bytes")));
            }
            whole.extend_from_slice(&data);
        }
    }
    Ok(whole.freeze())
}

/// The lines of a watch's answer.
pub(super) struct Lines {
    asked: Asked,
    body: Body,
    buffer: BytesMut,
    /// So much of the buffer holds no line's end.
    searched: usize,
    idle: Duration,
}

impl Lines {
    /// The next line; `None` at the end. Keeps what it has when it is dropped.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, WatchError> {
        loop {
            let unseen = self.buffer.get(self.searched..).unwrap_or_default();
            if let Some(at) = unseen.iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(self.searched + at + 1);
                self.searched = 0;
                return Ok(Some(line.freeze()));
            }
            self.searched = self.buffer.len();
            if self.searched > MAX_LINE {
                return Err(garbage(self.asked, &format!("a line is longer than {MAX_LINE} bytes")));
            }
            let frame = timeout(self.idle, self.body.frame()).await;
            let frame = frame.map_err(|_| WatchError::Silent { asked: self.asked, after: self.idle })?;
            match frame {
                // Half a line at the end is of a connection that was cut: it comes again.
                None => return Ok(None),
                Some(Err(error)) => return Err(unreachable(self.asked, &error)),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
            }
        }
    }
}

/// An error with its causes, each once.
fn unreachable(asked: Asked, error: &dyn Error) -> WatchError {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !message.contains(&text) {
            message = format!("{message}: {text}");
        }
        cause = error.source();
    }
    WatchError::Unreachable { asked, message }
}

pub(super) fn garbage(asked: Asked, why: &dyn ToString) -> WatchError {
    WatchError::Garbage { asked, message: why.to_string() }
}
