//! What a message is, written a second time from RFC 9112: by splitting whole texts, as slow and plain as can be.
//!
//! The targets compare the product's incremental code with it. It knows a message only as a whole; what is not whole
//! yet is [`Verdict::Incomplete`], also where the product can tell already that it will be refused.

/// What a head's bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// No empty line yet.
    Incomplete,
    /// Not to be passed on.
    Refused,
    /// A head of that length, the empty line included, and what follows it.
    Head(usize, Facts),
}

/// What a head says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// How the body ends.
    pub body: Body,
    /// Method or status.
    pub word: Vec<u8>,
    /// The Host field.
    pub host: Option<Vec<u8>>,
}

/// How a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// After so many bytes.
    Length(u64),
    /// With its last chunk and the trailers.
    Chunked,
    /// With the connection.
    UntilClose,
}

/// What a chunked body's bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chunks {
    /// Its end has not come.
    Incomplete,
    /// Not to be passed on.
    Refused,
    /// A body of so many bytes.
    Body(usize),
}

const MAX_FIELDS: usize = 128;

/// The request head at the front of `bytes`.
pub fn request(bytes: &[u8]) -> Verdict {
    let Some((len, lines)) = head_lines(bytes) else { return Verdict::Incomplete };
    let facts = lines.and_then(|lines| {
        let (start, fields) = lines.split_first()?;
        let words: Vec<&[u8]> = start.split(|byte| *byte == b' ').collect();
        let [method, target, version] = words.as_slice() else { return None };
        let target_ok = !target.is_empty() && target.iter().all(|byte| *byte > b' ' && *byte != 0x7f);
        if !is_token(method) || !target_ok || std::str::from_utf8(target).is_err() {
            return None;
        }
        let fields = Fields::read(fields)?;
        let body = fields.body(is_http10(version)?)?.unwrap_or(Body::Length(0));
        if fields.hosts.len() > 1 || (*method == b"CONNECT" && body != Body::Length(0)) {
            return None;
        }
        Some(Facts { body, word: method.to_vec(), host: fields.hosts.first().cloned() })
    });
    facts.map_or(Verdict::Refused, |facts| Verdict::Head(len, facts))
}

/// The response head at the front of `bytes`; `to_head` where it answers HEAD.
pub fn response(bytes: &[u8], to_head: bool) -> Verdict {
    let Some((len, lines)) = head_lines(bytes) else { return Verdict::Incomplete };
    let facts = lines.and_then(|lines| {
        let (start, fields) = lines.split_first()?;
        let mut words = start.splitn(3, |byte| *byte == b' ');
        let (version, status) = (words.next()?, words.next()?);
        let reason = words.next().unwrap_or_default();
        let digits = status.len() == 3 && status.iter().all(u8::is_ascii_digit) && status.first() != Some(&b'0');
        if !digits || !is_text(reason) {
            return None;
        }
        let body = Fields::read(fields)?.body(is_http10(version)?)?.unwrap_or(Body::UntilClose);
        let bodiless = to_head || status.first() == Some(&b'1') || status == b"204" || status == b"304";
        let body = if bodiless { Body::Length(0) } else { body };
        Some(Facts { body, word: status.to_vec(), host: None })
    });
    facts.map_or(Verdict::Refused, |facts| Verdict::Head(len, facts))
}

/// The chunked body at the front of `bytes`. Knows no bound on extensions and trailers.
pub fn chunked(bytes: &[u8]) -> Chunks {
    let mut at = 0;
    loop {
        let Some(line) = line_at(bytes, at) else { return Chunks::Incomplete };
        let Some(size) = line.and_then(chunk_size) else { return Chunks::Refused };
        at += line.map_or(0, <[u8]>::len) + 2;
        if size == 0 {
            break;
        }
        let rest = bytes.get(at..).unwrap_or_default();
        let Some(data) = usize::try_from(size).ok().filter(|size| *size <= rest.len()) else {
            return Chunks::Incomplete;
        };
        match rest.get(data..).unwrap_or_default() {
            [b'\r', b'\n', ..] => at += data + 2,
            [] | [b'\r'] => return Chunks::Incomplete,
            _ => return Chunks::Refused,
        }
    }
    loop {
        let Some(line) = line_at(bytes, at) else { return Chunks::Incomplete };
        let Some(line) = line else { return Chunks::Refused };
        at += line.len() + 2;
        if line.is_empty() {
            return Chunks::Body(at);
        }
        let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
        if name.len() == line.len() || !is_token(name) || !is_text(line) {
            return Chunks::Refused;
        }
    }
}

/// The line that begins there, without its CRLF. Inner `None` where it ends otherwise.
fn line_at(bytes: &[u8], at: usize) -> Option<Option<&[u8]>> {
    let rest = bytes.get(at..)?;
    let end = rest.iter().position(|byte| *byte == b'\n')?;
    let line = rest.get(..end).and_then(|line| line.strip_suffix(b"\r"));
    Some(line.filter(|line| !line.contains(&b'\r')))
}

fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = line.iter().position(|byte| !byte.is_ascii_hexdigit()).unwrap_or(line.len());
    let (digits, rest) = line.split_at(digits);
    let rest = trim(rest);
    if digits.len() > 15 || !is_text(line) || !(rest.is_empty() || rest.starts_with(b";")) {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// The length of a head and its lines; the lines are `None` where one holds a bare CR or LF. Empty lines before the
/// first are skipped.
fn head_lines(bytes: &[u8]) -> Option<(usize, Option<Vec<&[u8]>>)> {
    let blank = bytes.chunks(2).take_while(|pair| *pair == b"\r\n").count() * 2;
    let rest = bytes.get(blank..)?;
    let end = rest.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = rest.get(..end)?;
    let mut lines = Vec::new();
    for line in head.split(|byte| *byte == b'\n') {
        lines.push(line);
    }
    let last = lines.pop()?;
    let mut whole: Option<Vec<&[u8]>> = lines.into_iter().map(|line| line.strip_suffix(b"\r")).collect();
    if let Some(lines) = &mut whole {
        lines.push(last);
    }
    let whole = whole.filter(|lines| lines.iter().all(|line| !line.contains(&b'\r')));
    Some((blank + end + 4, whole))
}

#[derive(Default)]
struct Fields {
    lengths: Vec<Vec<u8>>,
    encodings: Vec<Vec<u8>>,
    hosts: Vec<Vec<u8>>,
}

impl Fields {
    fn read(lines: &[&[u8]]) -> Option<Self> {
        let mut fields = Self::default();
        for line in lines {
            let colon = line.iter().position(|byte| *byte == b':')?;
            let (name, value) = (line.get(..colon)?, trim(line.get(colon + 1..)?));
            if !is_token(name) || !is_text(value) {
                return None;
            }
            match name.to_ascii_lowercase().as_slice() {
                b"content-length" => fields.lengths.push(value.to_vec()),
                b"transfer-encoding" => fields.encodings.push(value.to_ascii_lowercase()),
                b"host" => fields.hosts.push(value.to_vec()),
                _ => {}
            }
        }
        (lines.len() <= MAX_FIELDS).then_some(fields)
    }

    /// Inner `None` where no field speaks of a body.
    fn body(&self, http10: bool) -> Option<Option<Body>> {
        let mut length = None;
        for text in &self.lengths {
            let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
            let number: i64 = std::str::from_utf8(text).ok().filter(|_| digits)?.parse().ok()?;
            if length.is_some_and(|earlier| earlier != number) {
                return None;
            }
            length = Some(number);
        }
        match (self.encodings.as_slice(), length) {
            ([], None) => Some(None),
            ([], Some(number)) => Some(Some(Body::Length(number.unsigned_abs()))),
            ([one], None) if one == b"chunked" && !http10 => Some(Some(Body::Chunked)),
            _ => None,
        }
    }
}

fn is_http10(version: &[u8]) -> Option<bool> {
    match version {
        b"HTTP/1.1" => Some(false),
        b"HTTP/1.0" => Some(true),
        _ => None,
    }
}

fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

fn is_text(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f))
}

fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}
