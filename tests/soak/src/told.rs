//! What a client tells of one request or session: a line of JSON each, judged by the driver.
//!
//! A client checks all that it can by itself (bytes, ids, headers); whether the copy that answered is the right one, and
//! whether a failure is one that was announced, only the driver knows.

use serde::{Deserialize, Serialize};

/// A request, or a session that is not HTTP.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Told {
    /// The kind of client.
    pub(crate) kind: String,
    /// Unique in the soak.
    pub(crate) id: u64,
    /// The space that it named, in a header or in its host.
    pub(crate) space: Option<String>,
    /// Not idempotent: a server must have executed it once, and never twice.
    pub(crate) once: bool,
    /// When the connection that it used began to be made, and when it was there.
    pub(crate) connecting: u64,
    pub(crate) connected: u64,
    /// When it began, when it was known who answers, and when it ended.
    pub(crate) began: u64,
    pub(crate) routed: u64,
    pub(crate) ended: u64,
    /// How long it took; of a session, until the first answer.
    pub(crate) micros: u64,
    pub(crate) outcome: Outcome,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Outcome {
    /// Every byte is right.
    Answered {
        /// Who answered.
        copy: String,
        /// The route header that the application saw and the client had not sent.
        added: Option<String>,
    },
    /// There was no whole answer.
    Failed(String),
    /// The answer is not that of this request.
    Wrong(String),
}

/// An error in the few words that failures are counted by.
pub(crate) fn cause(error: &anyhow::Error) -> String {
    use std::io::ErrorKind;
    let io = error.chain().find_map(|one| one.downcast_ref::<std::io::Error>());
    let h2 = || error.chain().find_map(|one| one.downcast_ref::<h2::Error>());
    let kind = io.map(std::io::Error::kind).or_else(|| h2()?.get_io().map(std::io::Error::kind));
    match kind {
        Some(ErrorKind::ConnectionRefused) => "refused".to_owned(),
        Some(ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => RESET.to_owned(),
        Some(ErrorKind::WouldBlock | ErrorKind::TimedOut) => "no answer in time".to_owned(),
        Some(ErrorKind::PermissionDenied) => "not permitted".to_owned(),
        _ => format!("{error:#}"),
    }
}

/// The cause of what was reset.
pub(crate) const RESET: &str = "reset";
