//! How long a message's body is (RFC 9112, section 6), and how much of what arrived belongs to it.
//!
//! The one place that judges Content-Length and Transfer-Encoding. What the RFC calls ambiguous is refused.

use super::chunked::{ChunkError, Chunked};

/// How the end of a body is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Framing {
    /// So many bytes are left.
    Length(u64),
    /// Chunks.
    Chunked(Chunked),
    /// Until the peer ends its direction.
    UntilClose,
}

/// What a head says of the body's length.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct LengthFields {
    content_length: Option<u64>,
    chunked: bool,
    transfer_encoding: bool,
}

/// Length fields that cannot be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LengthError {
    /// Not a plain number.
    #[error("invalid Content-Length")]
    ContentLength,
    /// Several that differ.
    #[error("several Content-Length fields that differ")]
    Differing,
    /// Both at once: one party believes the one, the next the other.
    #[error("both Content-Length and Transfer-Encoding")]
    Both,
    /// Not exactly `chunked`.
    #[error("Transfer-Encoding other than chunked")]
    TransferEncoding,
    /// HTTP/1.0 has no Transfer-Encoding.
    #[error("Transfer-Encoding in an HTTP/1.0 message")]
    Http10,
}

impl LengthFields {
    /// Takes note of a Content-Length field. Fields that repeat a number agree, whichever of them is believed. A list
    /// would have to be replaced by its number (RFC 9110, section 8.6), and we change nothing: refused.
    ///
    /// # Errors
    /// Where it is no number or contradicts an earlier one.
    pub fn content_length(&mut self, value: &[u8]) -> Result<(), LengthError> {
        let number = decimal(value.trim_ascii()).ok_or(LengthError::ContentLength)?;
        if self.content_length.is_some_and(|earlier| earlier != number) {
            return Err(LengthError::Differing);
        }
        self.content_length = Some(number);
        Ok(())
    }

    /// Takes note of a Transfer-Encoding field.
    ///
    /// # Errors
    /// Where it is anything but one `chunked`.
    pub fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), LengthError> {
        if self.transfer_encoding || !value.trim_ascii().eq_ignore_ascii_case(b"chunked") {
            return Err(LengthError::TransferEncoding);
        }
        (self.transfer_encoding, self.chunked) = (true, true);
        Ok(())
    }

    /// The framing of a request's body.
    ///
    /// # Errors
    /// Where the fields contradict each other or the version.
    pub fn request(self, http10: bool) -> Result<Framing, LengthError> {
        self.consistent(http10)?;
        if self.chunked {
            return Ok(Framing::Chunked(Chunked::default()));
        }
        Ok(Framing::Length(self.content_length.unwrap_or(0)))
    }

    /// The framing of a response's body, for a response that may have one.
    ///
    /// # Errors
    /// Where the fields contradict each other or the version.
    pub fn response(self, http10: bool) -> Result<Framing, LengthError> {
        self.consistent(http10)?;
        if self.chunked {
            return Ok(Framing::Chunked(Chunked::default()));
        }
        Ok(self.content_length.map_or(Framing::UntilClose, Framing::Length))
    }

    fn consistent(self, http10: bool) -> Result<(), LengthError> {
        match (self.transfer_encoding, self.content_length) {
            (true, Some(_)) => Err(LengthError::Both),
            (true, None) if http10 => Err(LengthError::Http10),
            _ => Ok(()),
        }
    }
}

/// Lengths that are believed: a peer that counts in signed 64 bits must see the same number.
const MAX_LENGTH: u64 = u64::MAX >> 1;

/// Digits only: no sign, no space, no hexadecimal, no list, no overflow.
fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let add = |number: u64, digit: &u8| number.checked_mul(10)?.checked_add(u64::from(digit - b'0'));
    digits.iter().try_fold(0_u64, add).filter(|number| *number <= MAX_LENGTH)
}

impl Framing {
    /// A message without a body.
    pub const NONE: Self = Self::Length(0);

    /// Whether the body has ended.
    pub fn is_done(&self) -> bool {
        match self {
            Self::Length(left) => *left == 0,
            Self::Chunked(chunked) => chunked.is_done(),
            Self::UntilClose => false,
        }
    }

    /// How many bytes at the front of `bytes` belong to the body.
    ///
    /// # Errors
    /// Where a chunked body breaks its grammar.
    pub fn take(&mut self, bytes: &[u8]) -> Result<usize, ChunkError> {
        match self {
            Self::Length(left) => {
                let here = u64::try_from(bytes.len()).unwrap_or(u64::MAX).min(*left);
                *left -= here;
                Ok(usize::try_from(here).unwrap_or(bytes.len()))
            }
            Self::Chunked(chunked) => chunked.take(bytes),
            Self::UntilClose => Ok(bytes.len()),
        }
    }

    /// How many of the next bytes belong to the body whatever they are, so that nobody has to look at them.
    pub fn unseen(&self) -> u64 {
        match self {
            Self::Length(left) => *left,
            Self::Chunked(_) => 0,
            Self::UntilClose => u64::MAX,
        }
    }

    /// So many of them have passed.
    pub fn pass(&mut self, count: u64) {
        if let Self::Length(left) = self {
            *left = left.saturating_sub(count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(lengths: &[&str], encodings: &[&str]) -> Result<LengthFields, LengthError> {
        let mut fields = LengthFields::default();
        lengths.iter().try_for_each(|value| fields.content_length(value.as_bytes()))?;
        encodings.iter().try_for_each(|value| fields.transfer_encoding(value.as_bytes()))?;
        Ok(fields)
    }

    #[test]
    fn lengths_that_are_clear_are_believed() {
        assert_eq!(fields(&[], &[]).unwrap().request(false), Ok(Framing::NONE));
        assert_eq!(fields(&[], &[]).unwrap().response(false), Ok(Framing::UntilClose));
        assert_eq!(fields(&["5"], &[]).unwrap().request(true), Ok(Framing::Length(5)));
        assert_eq!(fields(&[" 5 ", "5"], &[]).unwrap().response(false), Ok(Framing::Length(5)));
        assert!(matches!(fields(&[], &["Chunked "]).unwrap().request(false), Ok(Framing::Chunked(_))));
    }

    #[test]
    fn lengths_that_are_not_are_refused() {
        let overflow = ["9223372036854775808", "18446744073709551616", "99999999999999999999999"];
        let others = ["", "+5", "-1", "0x5", "5 5", "5,", "5, 5", "5,6", "5;", "5.0", "1e1", "５"];
        for value in others.into_iter().chain(overflow) {
            assert_eq!(fields(&[value], &[]), Err(LengthError::ContentLength), "{value:?}");
        }
        assert_eq!(fields(&["5", "6"], &[]), Err(LengthError::Differing));
        for value in [
            "",
            "gzip",
            "gzip, chunked",
            "chunked, chunked",
            "identity",
            "xchunked",
            "chunked;q=1",
            "\x0bchunked",
            "chunked,",
            ",chunked",
            "\"chunked\"",
            "chunked identity",
            "chun ked",
            "chunked\0",
            "ch\u{fc}nked",
        ] {
            assert_eq!(fields(&[], &[value]), Err(LengthError::TransferEncoding), "{value:?}");
        }
        assert_eq!(fields(&[], &["chunked", "chunked"]), Err(LengthError::TransferEncoding));
        assert_eq!(fields(&["5"], &["chunked"]).unwrap().request(false), Err(LengthError::Both));
        assert_eq!(fields(&[], &["chunked"]).unwrap().request(true), Err(LengthError::Http10));
    }

    #[test]
    fn a_length_takes_no_byte_of_the_next_message() {
        let mut framing = Framing::Length(5);
        assert_eq!(framing.take(b"abc"), Ok(3));
        assert!(!framing.is_done());
        assert_eq!(framing.take(b"defgh"), Ok(2));
        assert!(framing.is_done());
        assert_eq!(framing.take(b"x"), Ok(0));
    }
}
