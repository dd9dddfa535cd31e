//! What is changed of a request's head: lines that are added, a member that is merged, or all carriers of a space taken
//! off. Everything else goes out with its bytes as they came.

use super::head::RequestHead;
use super::message::{Edit, Edits};
use crate::flow::{Note, Notes};
use crate::headers::{Found, Injection, Reader, Stripped};

/// The edits that add a space to the head at the front of `bytes`; `found` is what its fields say.
pub(super) fn inject(
    reader: &Reader,
    head: &RequestHead,
    bytes: &[u8],
    found: &Found<&[u8]>,
    space: &str,
    notes: &mut Notes,
) -> Edits {
    let (mut lines, mut member) = (Vec::new(), Vec::new());
    for injection in reader.injections(space, found.baggage.as_ref()) {
        match injection {
            Injection::Header(name) => append(&mut lines, &[name, ": ", space, "\r\n"]),
            Injection::Baggage(key) => append(&mut lines, &["baggage: ", key, "=", space, "\r\n"]),
            Injection::Member(key) => append(&mut member, &[",", key, "=", space]),
            Injection::NoRoom => notes.add(Note::BaggageFull),
        }
    }
    let end_of_baggage = found.baggage.as_ref().map(|baggage| end_of(bytes, baggage.last));
    let edit =
        |at: usize, text: Vec<u8>| (!text.is_empty()).then(|| Edit { at, skip: 0, text: text.into_boxed_slice() });
    [edit(end_of_baggage.unwrap_or(head.insert_at), member), edit(head.insert_at, lines)]
}

/// The edit that takes every carrier of a space off the head at the front of `bytes`, and adds `space` if there is one.
pub(super) fn strip(
    reader: &Reader,
    head: &RequestHead,
    bytes: &[u8],
    found: &Found<&[u8]>,
    space: Option<&str>,
    notes: &mut Notes,
) -> Edits {
    let whole = bytes.get(..head.insert_at).unwrap_or_default();
    let mut kept = Vec::with_capacity(head.len + 64);
    // A checked head: each line ends in CRLF, and none goes on in the next.
    for (index, line) in whole.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let colon = line.iter().position(|byte| *byte == b':').filter(|_| index > 0);
        let field = colon.and_then(|colon| Some((line.get(..colon)?, line.get(colon + 1..)?)));
        match field.map(|(name, value)| (name, reader.strip(name, value.trim_ascii()))) {
            Some((_, Stripped::Dropped)) => {}
            Some((name, Stripped::Value(value))) => {
                [name, b": ", value.as_slice(), b"\r\n"].iter().for_each(|part| kept.extend_from_slice(part));
            }
            Some((_, Stripped::Kept)) | None => kept.extend_from_slice(line),
        }
    }
    let space = space.unwrap_or_default();
    for injection in reader.injections(space, found.baggage.as_ref()).filter(|_| !space.is_empty()) {
        match injection {
            Injection::Header(name) => append(&mut kept, &[name, ": ", space, "\r\n"]),
            // What is left of the baggage may be nothing: a field of its own is as good as a member that is merged.
            Injection::Baggage(key) | Injection::Member(key) => {
                append(&mut kept, &["baggage: ", key, "=", space, "\r\n"]);
            }
            Injection::NoRoom => notes.add(Note::BaggageFull),
        }
    }
    kept.extend_from_slice(b"\r\n");
    [Some(Edit { at: 0, skip: head.len, text: kept.into_boxed_slice() }), None]
}

fn append(to: &mut Vec<u8>, parts: &[&str]) {
    to.reserve(parts.iter().map(|part| part.len()).sum());
    parts.iter().for_each(|part| to.extend_from_slice(part.as_bytes()));
}

/// Where a part of `bytes` ends in it.
fn end_of(bytes: &[u8], part: &[u8]) -> usize {
    (part.as_ptr() as usize).saturating_sub(bytes.as_ptr() as usize) + part.len()
}
