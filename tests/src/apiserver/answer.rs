//! What the test API server answers with: statuses, as a real server words them, and bodies.

use bytes::Bytes;
use http_body_util::channel::{Channel, Sender};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::{Value, json};

/// The body of an answer; its error is a connection that ends in the middle.
pub(crate) type Body = UnsyncBoxBody<Bytes, Broken>;

/// The connection is to end here.
#[derive(Debug, thiserror::Error)]
#[error("the connection is cut, as the test asked")]
pub(crate) struct Broken;

/// A request that is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: u16,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

impl Refusal {
    pub(crate) fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Refusal {
        Refusal { code, reason, message: message.into() }
    }

    /// The usual reason of a status code.
    pub(crate) fn of(code: u16, message: impl Into<String>) -> Refusal {
        let reason = match code {
            400 => "BadRequest",
            401 => "Unauthorized",
            403 => "Forbidden",
            404 => "NotFound",
            409 => "Conflict",
            410 => "Expired",
            415 => "UnsupportedMediaType",
            422 => "Invalid",
            429 => "TooManyRequests",
            503 => "ServiceUnavailable",
            504 => "Timeout",
            _ => "InternalError",
        };
        Refusal::new(code, reason, message)
    }

    /// The `Status` object.
    pub(crate) fn status(&self) -> Value {
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
               "message": self.message, "reason": self.reason, "code": self.code})
    }

    pub(crate) fn response(&self) -> Response<Body> {
        let mut response = json_response(self.code, &self.status());
        if self.code == 429 {
            response.headers_mut().insert("retry-after", HeaderValue::from_static("1"));
        }
        response
    }
}

pub(crate) fn json_response(code: u16, value: &Value) -> Response<Body> {
    bytes_response(code, serde_json::to_vec(value).unwrap_or_default().into())
}

pub(crate) fn bytes_response(code: u16, bytes: Bytes) -> Response<Body> {
    respond(code, Full::new(bytes).map_err(|never| match never {}).boxed_unsync())
}

/// An answer that is written piece by piece.
pub(crate) fn stream_response() -> (Sender<Bytes, Broken>, Response<Body>) {
    let (sender, body) = Channel::new(64);
    (sender, respond(200, body.boxed_unsync()))
}

fn respond(code: u16, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
