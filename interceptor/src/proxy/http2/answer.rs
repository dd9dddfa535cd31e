//! The agent's own answers on a stream: as HTTP/1 has them, or as gRPC expects them.
//!
//! A gRPC client does not look at the status of HTTP where it finds its own: it gets `grpc-status` and `grpc-message` in a
//! response without messages (trailers only).

use bytes::Bytes;
use h2::Reason;
use h2::server::SendResponse;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, SERVER};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use super::frames::{GOAWAY, SETTINGS};
use crate::proxy::respond::Answer;

/// `RESOURCE_EXHAUSTED`, `INTERNAL`, `UNAVAILABLE`, `UNIMPLEMENTED` of gRPC's status codes.
const RESOURCE_EXHAUSTED: u16 = 8;
const UNIMPLEMENTED: u16 = 12;
const INTERNAL: u16 = 13;
const UNAVAILABLE: u16 = 14;

/// Whether a message is gRPC's.
pub(super) fn is_grpc(fields: &HeaderMap) -> bool {
    fields.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

/// The gRPC status that says the same as an answer of HTTP.
pub(super) fn grpc_code(answer: &Answer) -> u16 {
    match answer.status {
        400 => INTERNAL,
        431 => RESOURCE_EXHAUSTED,
        501 => UNIMPLEMENTED,
        _ => UNAVAILABLE,
    }
}

/// Sends an answer and ends the response. Gives back how many bytes it has.
///
/// # Errors
/// Where the stream is closed already.
pub(super) fn send(
    respond: &mut SendResponse<Bytes>,
    answer: &Answer,
    is_grpc: bool,
    connection: u64,
) -> Result<u64, h2::Error> {
    let mut head = Response::new(());
    if is_grpc {
        let fields = head.headers_mut();
        fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        fields.extend(trailers(answer));
        let len = super::pump::head_len(fields);
        respond.send_response(head, true)?;
        return Ok(len);
    }
    let body = Bytes::from(answer.body(connection));
    *head.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::BAD_GATEWAY);
    let fields = head.headers_mut();
    fields.insert(SERVER, HeaderValue::from_static("interceptor"));
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    fields.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    if answer.passes() {
        fields.insert(RETRY_AFTER, HeaderValue::from(1));
    }
    let len = super::pump::head_len(fields) + body.len() as u64;
    respond.send_response(head, false)?.send_data(body, true)?;
    Ok(len)
}

/// All that a server says to a client that it does not take: its SETTINGS, and a GOAWAY after which the client knows that
/// nothing of what it sent was looked at.
pub(in crate::proxy) fn goodbye(error: &str) -> Vec<u8> {
    let debug = format!("interceptor: {error}");
    // Never as long as a frame may be.
    let [_, high, middle, low] = u32::try_from(debug.len() + 8).unwrap_or_default().to_be_bytes();
    let mut bytes = vec![0, 0, 0, SETTINGS, 0, 0, 0, 0, 0, high, middle, low, GOAWAY, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    bytes.extend(u32::from(Reason::ENHANCE_YOUR_CALM).to_be_bytes());
    bytes.extend(debug.into_bytes());
    bytes
}

/// The trailers that end a gRPC response with this answer.
pub(super) fn trailers(answer: &Answer) -> HeaderMap {
    let mut fields = HeaderMap::with_capacity(3);
    fields.insert("grpc-status", HeaderValue::from(grpc_code(answer)));
    let message = percent_encoded(&format!("interceptor: {}", answer.error));
    if let Ok(message) = HeaderValue::try_from(message) {
        fields.insert("grpc-message", message);
    }
    fields.insert(SERVER, HeaderValue::from_static("interceptor"));
    fields
}

/// As gRPC wants its messages: visible ASCII without `%`, everything else byte by byte.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'%' | 0..b' ' | 0x7f.. => encoded.push_str(&format!("%{byte:02X}")),
            _ => encoded.push(char::from(byte)),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_encoded_as_grpc_wants_it() {
        assert_eq!(percent_encoded("50 % of\nbücher~"), "50 %25 of%0Ab%C3%BCcher~");
    }
}
