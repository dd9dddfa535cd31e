//! Targets `request_head` and `response_head`: the readers of heads agree with the model, at every split.

use interceptor::config::Routing;
use interceptor::headers::Reader;
use interceptor::proxy::http1::framing::Framing;
use interceptor::proxy::http1::head::{self, HeadError, RequestHead, RequestKind};

use crate::model::{self, Body, Verdict};

/// Prefixes of a head that are tried. The fuzzer moves them by changing the length.
const PREFIXES: usize = 24;

/// A request head: the bytes are the head and what follows it.
pub fn request_head(bytes: &[u8]) {
    let reader = Reader::new(&Routing::default());
    let read = |bytes: &[u8]| head::request(bytes, &reader);
    let result = read(bytes);
    match (&result, model::request(bytes)) {
        (Ok(Some(head)), Verdict::Head(len, facts)) => {
            assert_eq!((head.len, body(&head.framing)), (len, Some(facts.body)));
            check_ranges(bytes, head);
            assert_eq!(bytes.get(head.method.clone()), Some(facts.word.as_slice()));
            if !bytes.get(head.target.clone()).unwrap_or_default().windows(3).any(|part| part == b"://") {
                let host = head.host.clone().map(|range| bytes.get(range).unwrap_or_default());
                assert_eq!(host, facts.host.as_deref());
            }
            let mut longer = bytes.get(..len).unwrap_or_default().to_vec();
            longer.extend_from_slice(b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
            assert_eq!(read(&longer), result, "what follows a head changes it");
        }
        (result, verdict) => agrees(result, &verdict),
    }
    at_prefixes(bytes, &result, read);
}

/// A response head: the first byte says which kind of request it answers.
pub fn response_head(bytes: &[u8]) {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    let kind = match kind % 4 {
        0 => RequestKind::Ordinary,
        1 => RequestKind::Head,
        2 => RequestKind::Connect,
        _ => RequestKind::Upgrade,
    };
    let read = |bytes: &[u8]| head::response(bytes, kind);
    let result = read(bytes);
    match (&result, model::response(bytes, kind == RequestKind::Head)) {
        (Ok(Some(head)), Verdict::Head(len, facts)) => {
            assert_eq!((head.len, body(&head.framing)), (len, Some(facts.body)));
            assert_eq!(head.status.to_string().as_bytes(), facts.word);
            assert!(head.framing != Framing::UntilClose || !head.keep_alive);
            check_line_ends(bytes.get(..len).unwrap_or_default());
            assert_eq!(read(bytes.get(..len).unwrap_or_default()), result, "what follows a head changes it");
        }
        (result, verdict) => agrees(result, &verdict),
    }
    at_prefixes(bytes, &result, read);
}

/// An incomplete head may be refused early; everything else must be the same.
fn agrees<T: std::fmt::Debug>(result: &Result<Option<T>, HeadError>, verdict: &Verdict) {
    let same = match verdict {
        Verdict::Incomplete => matches!(result, Ok(None) | Err(_)),
        Verdict::Refused => result.is_err(),
        Verdict::Head(..) => false,
    };
    assert!(same, "{result:?} where the model says {verdict:?}");
}

/// However a head arrives, the verdict is the same: unknown until it is whole, and what was refused stays refused.
fn at_prefixes<T: PartialEq + std::fmt::Debug>(
    bytes: &[u8],
    whole: &Result<Option<T>, HeadError>,
    read: impl Fn(&[u8]) -> Result<Option<T>, HeadError>,
) {
    let step = bytes.len() / PREFIXES + 1;
    for len in (0..bytes.len()).rev().step_by(step) {
        let part = read(bytes.get(..len).unwrap_or_default());
        let same = match (&part, whole) {
            (Ok(Some(part)), Ok(Some(whole))) => part == whole,
            (Ok(None), _) => true,
            (Err(_), Err(_)) => true,
            _ => false,
        };
        assert!(same, "{part:?} of the first {len} bytes, {whole:?} of all");
    }
}

fn check_ranges(bytes: &[u8], head: &RequestHead) {
    let text = bytes.get(..head.len).unwrap_or_default();
    assert_eq!(text.len(), head.len);
    check_line_ends(text);
    assert_eq!(text.get(head.insert_at..), Some(b"\r\n".as_slice()));
    assert!(text.get(..head.insert_at).is_some_and(|before| before.ends_with(b"\r\n")));
    let route = head.found.route.as_ref().map(|(_, range)| range);
    for range in [Some(&head.method), Some(&head.target), head.host.as_ref(), route].into_iter().flatten() {
        let part = text.get(range.clone());
        assert!(part.is_some_and(|part| !part.contains(&b'\n') && !part.contains(&b'\r')), "{range:?}");
    }
}

fn check_line_ends(head: &[u8]) {
    let lone = head.windows(2).any(|pair| (pair[1] == b'\n') != (pair[0] == b'\r'));
    assert!(!lone && head.first() != Some(&b'\n'), "a bare CR or LF was accepted");
}

/// The framing at a body's beginning, as the model has it.
pub(crate) fn body(framing: &Framing) -> Option<Body> {
    match framing {
        Framing::Length(length) => Some(Body::Length(*length)),
        Framing::Chunked(_) if !framing.is_done() => Some(Body::Chunked),
        Framing::Chunked(_) => None,
        Framing::UntilClose => Some(Body::UntilClose),
    }
}
