//! Answers: JSON, lines of JSON, text, and errors that say what to do.

use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde::{Deserialize, Serialize};

use super::body::Body;

const JSON: &str = "application/json";
const LINES: &str = "application/x-ndjson";

/// The body of every error.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ErrorBody {
    /// What is wrong.
    pub(crate) error: String,
    /// What to do about it.
    pub(crate) hint: String,
}

/// One value, on one line.
pub(super) fn json<T: Serialize>(value: &T) -> Response<Body> {
    lines_of(JSON, std::slice::from_ref(value))
}

/// A list, one value a line.
pub(super) fn lines<T: Serialize>(values: &[T]) -> Response<Body> {
    lines_of(LINES, values)
}

/// Flow records.
pub(super) fn records(body: Body) -> Response<Body> {
    response(StatusCode::OK, LINES, body)
}

/// Plain text.
pub(crate) fn text(status: StatusCode, content_type: &'static str, text: String) -> Response<Body> {
    response(status, content_type, Body::Whole(text.into()))
}

/// An error.
pub(crate) fn error(status: StatusCode, error: impl Into<String>, hint: impl Into<String>) -> Response<Body> {
    let mut response = json(&ErrorBody { error: error.into(), hint: hint.into() });
    *response.status_mut() = status;
    response
}

/// The error for a method that a path does not have.
pub(crate) fn wrong_method(path: &str, allowed: &'static str) -> Response<Body> {
    let what = format!("{path} takes {allowed} only");
    let mut response = error(StatusCode::METHOD_NOT_ALLOWED, what, format!("send it as {allowed}"));
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

fn lines_of<T: Serialize>(content_type: &'static str, values: &[T]) -> Response<Body> {
    let mut body = Vec::new();
    for value in values {
        if let Err(failed) = serde_json::to_writer(&mut body, value) {
            // Our own types always can be written; if one cannot, say so rather than send half of it.
            tracing::error!(error = %failed, "an admin answer could not be written");
            let text = Body::Whole("{\"error\":\"the answer could not be written\",\"hint\":\"report this\"}\n".into());
            return response(StatusCode::INTERNAL_SERVER_ERROR, JSON, text);
        }
        body.push(b'\n');
    }
    response(StatusCode::OK, content_type, Body::Whole(body.into()))
}

fn response(status: StatusCode, content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
