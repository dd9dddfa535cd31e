//! Asks the agent over its admin socket: one connection, one request.
//!
//! Every command has its own short runtime; an agent that is not there, not ours or not well is told in a sentence each.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::runtime::Runtime;
use tokio::time::timeout;

use crate::admin::ErrorBody;

/// For the agent to begin to answer.
const DEADLINE: Duration = Duration::from_secs(10);
/// The longest line: a record is a few KiB.
const MAX_LINE: usize = 1 << 20;

/// Talks to the agent behind a socket.
#[derive(Debug)]
pub(super) struct Client {
    path: PathBuf,
}

/// Why the agent gave no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    #[error("cannot reach the agent at {}: {source}; {}", .path.display(), hint(.source))]
    Unreachable { path: PathBuf, source: io::Error },
    #[error("the agent at {} does not answer; is it hanging? Its log may say", .path.display())]
    Silent { path: PathBuf },
    #[error("{} does not talk like an agent: {source}", .path.display())]
    Protocol { path: PathBuf, source: hyper::Error },
    #[error("{error}; {hint}")]
    Refused { error: String, hint: String },
    #[error("the agent's answer is not understood: {0}; are agent and CLI of the same version?")]
    NotUnderstood(#[from] serde_json::Error),
    #[error("the agent's answer has a line of more than {MAX_LINE} bytes")]
    LongLine,
    #[error("starting the runtime: {0}")]
    Runtime(io::Error),
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "is it running as another user? The socket is for its owner (root) only",
        _ => "is it running? `interceptor run --config FILE` starts it, --admin-socket names another socket",
    }
}

impl Client {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// All lines of a list.
    pub(super) fn lines(&self, path: &str) -> Result<Vec<String>, ClientError> {
        runtime()?.block_on(async {
            let mut lines = self.get(path).await?;
            let mut all = Vec::new();
            while let Some(line) = lines.next().await? {
                all.push(line);
            }
            Ok(all)
        })
    }

    /// All values of a list.
    pub(super) fn values<T: DeserializeOwned>(lines: &[String]) -> Result<Vec<T>, ClientError> {
        lines.iter().map(|line| Ok(serde_json::from_str(line)?)).collect()
    }

    /// The line that answers a question.
    pub(super) fn ask<T: Serialize>(&self, path: &str, question: &T) -> Result<String, ClientError> {
        let body = serde_json::to_vec(question)?;
        runtime()?.block_on(async {
            let mut lines = self.send(Method::POST, path, body.into()).await?;
            Ok(lines.next().await?.unwrap_or_default())
        })
    }

    /// The lines of an answer, as they come.
    pub(super) async fn get(&self, path: &str) -> Result<Lines, ClientError> {
        self.send(Method::GET, path, Bytes::new()).await
    }

    async fn send(&self, method: Method, path: &str, body: Bytes) -> Result<Lines, ClientError> {
        let answered = timeout(DEADLINE, self.exchange(method, path, body)).await;
        let response = answered.map_err(|_| ClientError::Silent { path: self.path.clone() })??;
        let ok = response.status().is_success();
        let status = response.status();
        let mut lines = Lines { body: response.into_body(), buffer: BytesMut::new(), path: self.path.clone() };
        if ok {
            return Ok(lines);
        }
        let line = lines.next().await?.unwrap_or_default();
        Err(match serde_json::from_str(&line) {
            Ok(ErrorBody { error, hint }) => ClientError::Refused { error, hint },
            Err(_) => ClientError::Refused {
                error: format!("the agent answers {status}"),
                hint: "its log may say why".to_owned(),
            },
        })
    }

    async fn exchange(&self, method: Method, path: &str, body: Bytes) -> Result<Response<Incoming>, ClientError> {
        let unreachable = |source| ClientError::Unreachable { path: self.path.clone(), source };
        let protocol = |source| ClientError::Protocol { path: self.path.clone(), source };
        let stream = UnixStream::connect(&self.path).await.map_err(unreachable)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(protocol)?;
        // Ends with the runtime; what goes wrong on it shows in the answer.
        drop(tokio::spawn(connection));
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = path.parse().unwrap_or_default();
        request.headers_mut().insert(hyper::header::HOST, hyper::header::HeaderValue::from_static("interceptor"));
        sender.send_request(request).await.map_err(protocol)
    }
}

/// A runtime for one command.
pub(super) fn runtime() -> Result<Runtime, ClientError> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ClientError::Runtime)
}

/// The lines of an answer.
#[derive(Debug)]
pub(super) struct Lines {
    body: Incoming,
    buffer: BytesMut,
    path: PathBuf,
}

impl Lines {
    /// The next line without its end; `None` at the end. Nothing is lost when the future is dropped.
    pub(super) async fn next(&mut self) -> Result<Option<String>, ClientError> {
        loop {
            if let Some(line) = self.buffered() {
                return Ok(Some(line));
            }
            if self.buffer.len() > MAX_LINE {
                return Err(ClientError::LongLine);
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
                Some(Err(source)) => return Err(ClientError::Protocol { path: self.path.clone(), source }),
                None if self.buffer.is_empty() => return Ok(None),
                None => return Ok(Some(text(&self.buffer.split()))),
            }
        }
    }

    /// The next line, if all of it is here.
    pub(super) fn buffered(&mut self) -> Option<String> {
        let end = self.buffer.iter().position(|byte| *byte == b'\n')?;
        let line = self.buffer.split_to(end + 1);
        Some(text(line.strip_suffix(b"\n").unwrap_or(&line)))
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
