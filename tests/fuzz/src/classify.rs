//! Target `classify`: a verdict once given stays, however the bytes arrive.

use interceptor::proxy::classify::{Class, classify as read};

/// The first byte chooses the limit, the rest is what the client sends.
pub fn classify(bytes: &[u8]) {
    let Some((limit, bytes)) = bytes.split_first() else { return };
    let limit = [16, 64, 1024, 65_536][usize::from(limit % 4)];
    let bytes = bytes.get(..2048).unwrap_or(bytes);
    let whole = read(bytes, limit);
    for len in (0..bytes.len()).step_by(bytes.len() / 48 + 1) {
        let part = read(bytes.get(..len).unwrap_or_default(), limit);
        assert!(part == Class::Unknown || part == whole, "{part:?} of the first {len} bytes, {whole:?} of all");
        assert!(len < limit || part != Class::Unknown, "nothing decided after {len} bytes");
    }
    if whole == Class::Http1 {
        let line = bytes.strip_prefix(b"\r\n").unwrap_or(bytes);
        let mut words = line.split(|byte| *byte == b' ');
        let (method, target, version) = (words.next(), words.next(), words.next());
        assert!(method.is_some_and(|word| !word.is_empty()) && target.is_some_and(|word| !word.is_empty()));
        assert!(version.is_some_and(|word| word.starts_with(b"HTTP/1.")), "HTTP/1 without its version");
    }
}
