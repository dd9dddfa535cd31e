//! Query strings of the admin API: `key=value&…` with percent encoding.
//!
//! The CLI writes them, the admin socket reads them. Reading is total: what is no valid encoding is an error, never a guess.

/// A query string that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the query string is not valid: {0:?} is not percent-encoded UTF-8")]
pub struct QueryError(String);

/// Takes a query string apart, in its order.
///
/// # Errors
/// Where the percent encoding of a key or value is broken.
pub fn pairs(query: &str) -> Result<Vec<(String, String)>, QueryError> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).map(|(k, v)| Ok((decode(k)?, decode(v)?))).collect()
}

/// Adds a pair to a query string.
pub fn push(query: &mut String, key: &str, value: &str) {
    if !query.is_empty() {
        query.push('&');
    }
    encode(query, key);
    query.push('=');
    encode(query, value);
}

fn encode(out: &mut String, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
}

fn decode(text: &str) -> Result<String, QueryError> {
    let broken = || QueryError(text.chars().take(64).collect());
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || rest.next().and_then(|b| char::from(b).to_digit(16));
                let (Some(high), Some(low)) = (digit(), digit()) else { return Err(broken()) };
                u8::try_from(high << 4 | low).map_err(|_| broken())?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).map_err(|_| broken())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let mut query = String::new();
        push(&mut query, "service", "serviceB.default");
        push(&mut query, "workload", "a b&c=ä%");
        assert_eq!(query, "service=serviceB.default&workload=a%20b%26c%3D%C3%A4%25");
        let expected = [("service", "serviceB.default"), ("workload", "a b&c=ä%")];
        assert_eq!(pairs(&query).unwrap(), expected.map(|(k, v)| (k.to_owned(), v.to_owned())));
    }

    #[test]
    fn a_key_without_value_and_empty_pairs_are_read() {
        assert_eq!(pairs("follow&&last=3").unwrap().len(), 2);
        assert_eq!(pairs("").unwrap(), []);
        assert_eq!(pairs("a=b+c").unwrap()[0].1, "b c");
    }

    #[test]
    fn broken_encodings_are_refused() {
        for query in ["a=%", "a=%4", "a=%zz", "%ff=1"] {
            assert!(pairs(query).is_err(), "{query}");
        }
    }
}
