//! Target `chunked`: the walker over chunked bodies agrees with the model, however the body is split.

use interceptor::proxy::http1::chunked::{ChunkError, Chunked};

use crate::model::{self, Chunks};

/// Below this the product's bound on extensions and trailers, which the model does not know, cannot matter.
const UNBOUNDED: usize = 16 * 1024;

/// Two bytes say where to split, the rest is the body and what follows it.
pub fn chunked(bytes: &[u8]) {
    let [high, low, bytes @ ..] = bytes else { return };
    if bytes.len() > UNBOUNDED {
        return;
    }
    let whole = walk(bytes, bytes.len().max(1));
    match (whole, model::chunked(bytes)) {
        (Ok((taken, true)), Chunks::Body(len)) => assert_eq!(taken, len),
        (Ok((taken, false)), Chunks::Incomplete) => assert_eq!(taken, bytes.len()),
        // What is broken can be known before the line ends.
        (Err(_), Chunks::Refused | Chunks::Incomplete) => {}
        (whole, model) => assert!(false_with(whole, model)),
    }
    let piece = usize::from(u16::from_be_bytes([*high, *low])) % bytes.len().max(1) + 1;
    for piece in [1, 2, piece] {
        assert_eq!(walk(bytes, piece), whole, "in pieces of {piece}");
    }
}

/// Says both, where an assertion on their equality cannot.
fn false_with(whole: Result<(usize, bool), ChunkError>, model: Chunks) -> bool {
    assert_eq!(format!("{whole:?}"), format!("{model:?}"));
    false
}

/// Feeds it piece by piece: how many bytes belong to the body, and whether its end came.
fn walk(bytes: &[u8], piece: usize) -> Result<(usize, bool), ChunkError> {
    let mut chunked = Chunked::default();
    let mut taken = 0;
    for part in bytes.chunks(piece) {
        let count = chunked.take(part)?;
        taken += count;
        assert!(count == part.len() || chunked.is_done(), "bytes were left behind inside the body");
        if chunked.is_done() {
            break;
        }
    }
    Ok((taken, chunked.is_done()))
}
