//! Makes requests: valid ones, borderline ones and broken ones, the same in every run.

/// A small xorshift generator.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 8).unwrap_or_default() % bound
    }

    fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }
}

const METHODS: [&str; 9] = ["GET", "GET", "POST", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"];
const ODD_METHODS: [&str; 5] = ["get", "M-SEARCH", "TRACE", "FOO_BAR", "X!Y"];
const TARGETS: [&str; 8] = ["/", "/a", "/a?b=c", "/a/../b", "/%61%2f", "//x", "http://a/x", "/a?http://b/"];
const ODD_TARGETS: [&str; 5] = ["*", "/a#b", "/\u{fc}", "/a\\b|{}", "HTTP://a"];
const FIELDS: [&str; 16] = [
    "Accept: */*",
    "Cookie: a=b; c=\"d\"",
    "X-Empty:",
    "x-blank:  \t ",
    "X-Spaces: \t a  b \t",
    "X-Obs: \u{fc}\u{e4}",
    "X_Under: y",
    "!#$%&'*+-.^`|~: y",
    "Connection: keep-alive",
    "Connection: x, Upgrade",
    "Upgrade: websocket",
    "Expect: 100-continue",
    "TE: trailers",
    "Trailer: T",
    "Transfer_Encoding: chunked",
    "X-Colon: a: b: c",
];
const HOSTS: [&str; 3] = ["Host: a", "host: a.example:80", "Host: [::1]:80"];
const ODD_HOSTS: [&str; 6] = ["HOST:\ta\t", "Host:", "", "Host: a b", "Host: a\r\nHost: a", "Host: A."];
const LENGTHS: [&str; 3] = ["{}", " {} ", "00{}"];
const ODD_LENGTHS: [&str; 6] = ["{}\t", "{}\r\nContent-Length: {}", "{}, {}", "+{}", "0x{}", "-{}"];
const ENCODINGS: [&str; 4] = ["chunked", "Chunked", " CHUNKED ", "chunked\r\nConnection: close"];
const ODD_ENCODINGS: [&str; 6] =
    ["chunked\t", "identity", "gzip, chunked", "chunked, ", "\"chunked\"", "chunked\r\nTransfer-Encoding: chunked"];
const SIZE_ENDS: [&str; 9] = ["", "", "", ";a", ";a=b", " ;a=\"b;c\"", " ", "\t", ";"];
const TRAILERS: [&str; 6] = ["", "", "", "T: x\r\n", "T: x\r\nU:\r\n", "Content-Length: 5\r\n"];

/// One connection's worth: a few requests, of which some are bent. Each carries its number in a field.
pub(crate) fn case(random: &mut Random) -> Vec<u8> {
    let mut bytes = Vec::new();
    for number in 0..=random.below(3) {
        bytes.extend(request(random, number));
    }
    if random.one_in(3) {
        bend(random, &mut bytes);
    }
    bytes
}

fn request(random: &mut Random, number: usize) -> Vec<u8> {
    let method = if random.one_in(12) { random.pick(&ODD_METHODS) } else { random.pick(&METHODS) };
    let target = if random.one_in(12) { random.pick(&ODD_TARGETS) } else { random.pick(&TARGETS) };
    let version = if random.one_in(12) { "1.0" } else { "1.1" };
    let mut lines = vec![format!("X-Tag: {number}")];
    let host = if random.one_in(12) { random.pick(&ODD_HOSTS) } else { random.pick(&HOSTS) };
    lines.extend((!host.is_empty()).then(|| host.to_owned()));
    for _ in 0..random.below(3) {
        lines.push(random.pick(&FIELDS).to_owned());
    }
    let mut body = String::new();
    match random.below(4) {
        0 => {
            body = "b".repeat(random.below(20));
            let length = if random.one_in(12) { random.pick(&ODD_LENGTHS) } else { random.pick(&LENGTHS) };
            lines.push(format!("Content-Length: {length}").replace("{}", &body.len().to_string()));
        }
        1 | 2 => {
            let encoding = if random.one_in(12) { random.pick(&ODD_ENCODINGS) } else { random.pick(&ENCODINGS) };
            lines.push(format!("Transfer-Encoding: {encoding}"));
            body = chunks(random);
            if random.one_in(20) {
                lines.push(format!("Content-Length: {}", body.len()));
            }
        }
        _ => {}
    }
    // Any order: what matters may come first or last.
    for at in (1..lines.len()).rev() {
        lines.swap(at, random.below(at + 1));
    }
    let before = if random.one_in(20) { "\r\n" } else { "" };
    let mut text = format!("{before}{method} {target} HTTP/{version}\r\n{}\r\n\r\n", lines.join("\r\n")).into_bytes();
    text.extend_from_slice(body.as_bytes());
    text
}

fn chunks(random: &mut Random) -> String {
    let mut text = String::new();
    for _ in 0..random.below(4) {
        let data = "c".repeat(random.below(18) + 1);
        let size = match random.below(6) {
            0 => format!("{:X}", data.len()),
            1 => format!("{:04x}", data.len()),
            _ => format!("{:x}", data.len()),
        };
        text.push_str(&format!("{size}{}\r\n{data}\r\n", random.pick(&SIZE_ENDS)));
    }
    text.push_str(&format!(
        "{}{}\r\n{}\r\n",
        random.pick(&["0", "0", "000"]),
        random.pick(&SIZE_ENDS),
        random.pick(&TRAILERS)
    ));
    text
}

/// Changes a byte or a few, with a liking for those that grammars turn on.
fn bend(random: &mut Random, bytes: &mut Vec<u8>) {
    const SPECIAL: &[u8] = b"\r\n\0\t \x0b\x0c:;,0159afx+-\"#/\x7f\x80\xff";
    for _ in 0..=random.below(2) {
        let at = random.below(bytes.len());
        let byte = SPECIAL[random.below(SPECIAL.len())];
        match random.below(4) {
            0 => bytes.insert(at, byte),
            1 => bytes[at] = byte,
            2 => drop(bytes.remove(at)),
            _ => {
                let line = bytes[at..].iter().take(40).copied().take_while(|b| *b != b'\n').collect::<Vec<_>>();
                bytes.splice(at..at, line);
            }
        }
    }
}
