//! Finds the end of a chunked body (RFC 9112, section 7.1) without changing a byte of it.
//!
//! Incremental: fed whatever arrived, says how much of it belongs to the body. Strict where laxness lets two parties see
//! different bodies: only CRLF ends a line, sizes are plain hexadecimal with nothing but an extension behind them, data is followed by CRLF at
//! once, and trailer lines are fields: a party that expects no trailers must not find the next request in them.

use crate::proxy::classify::is_token;

/// Hexadecimal digits of a size that are believed: 2^60 bytes a chunk.
const MAX_SIZE_DIGITS: u8 = 15;
/// Bytes of all extensions of one chunk, and of the trailer section: bounds what a peer can make us carry as framing.
const MAX_LINE: usize = 16 * 1024;

/// A chunked body that does not follow its grammar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// No digit, too many, or something else where the size should be.
    #[error("invalid chunk size")]
    Size,
    /// A line of the framing ends in something other than CRLF, or holds a control byte.
    #[error("a chunk line does not end in CRLF, or holds a control byte")]
    LineEnd,
    /// Chunk data is not followed by CRLF.
    #[error("no CRLF after chunk data")]
    DataEnd,
    /// A line of the trailer section that is no field.
    #[error("a trailer line is no field")]
    Trailer,
    /// Extensions or trailers beyond the bound.
    #[error("chunk extensions or trailers larger than {MAX_LINE} bytes")]
    TooLong,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Size {
        digits: u8,
        value: u64,
    },
    /// Blanks behind a size.
    Blank {
        value: u64,
    },
    Extension {
        value: u64,
    },
    SizeLf {
        value: u64,
    },
    Data {
        left: u64,
    },
    DataCr,
    DataLf,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
    Done,
}

/// Walks a chunked body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunked {
    state: State,
    line: usize,
}

impl Default for Chunked {
    fn default() -> Self {
        Self { state: State::Size { digits: 0, value: 0 }, line: 0 }
    }
}

impl Chunked {
    /// Whether the body has ended.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// How many bytes at the front of `bytes` belong to the body. Less than all of them only when it has ended.
    ///
    /// # Errors
    /// Where the grammar is broken; the bytes must not be passed on then.
    pub fn take(&mut self, bytes: &[u8]) -> Result<usize, ChunkError> {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            if let State::Data { left } = self.state {
                let here = u64::try_from(bytes.len() - at).unwrap_or(u64::MAX).min(left);
                at += usize::try_from(here).unwrap_or(usize::MAX);
                self.state = if here == left { State::DataCr } else { State::Data { left: left - here } };
                continue;
            }
            if self.is_done() {
                break;
            }
            self.state = self.step(byte)?;
            at += 1;
        }
        Ok(at)
    }

    fn step(&mut self, byte: u8) -> Result<State, ChunkError> {
        Ok(match (self.state, byte) {
            (State::Size { digits, value }, _) => return self.size(digits, value, byte),
            (State::Blank { value } | State::Extension { value }, b'\r') => State::SizeLf { value },
            (State::Blank { value }, b' ' | b'\t') => {
                self.line_byte(byte)?;
                State::Blank { value }
            }
            (State::Blank { value }, b';') => State::Extension { value },
            (State::Blank { .. }, _) => return Err(ChunkError::Size),
            (State::Extension { value }, _) => {
                self.line_byte(byte)?;
                State::Extension { value }
            }
            (State::SizeLf { value: 0 }, b'\n') => {
                self.line = 0;
                State::TrailerStart
            }
            (State::SizeLf { value }, b'\n') => State::Data { left: value },
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => {
                self.line = 0;
                State::Size { digits: 0, value: 0 }
            }
            (State::DataCr | State::DataLf, _) => return Err(ChunkError::DataEnd),
            (State::TrailerStart, b'\r') => State::EndLf,
            (State::TrailerValue, b'\r') => State::TrailerLf,
            (State::TrailerName, b':') | (State::TrailerValue, _) => {
                self.line_byte(byte)?;
                State::TrailerValue
            }
            (State::TrailerStart | State::TrailerName, _) if is_token(byte) => {
                self.line_byte(byte)?;
                State::TrailerName
            }
            (State::TrailerStart | State::TrailerName, _) => return Err(ChunkError::Trailer),
            (State::TrailerLf, b'\n') => State::TrailerStart,
            (State::EndLf, b'\n') => State::Done,
            (State::SizeLf { .. } | State::TrailerLf | State::EndLf, _) => return Err(ChunkError::LineEnd),
            (state @ (State::Data { .. } | State::Done), _) => state,
        })
    }

    fn size(&self, digits: u8, value: u64, byte: u8) -> Result<State, ChunkError> {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            _ if digits == 0 => return Err(ChunkError::Size),
            b'\r' => return Ok(State::SizeLf { value }),
            b';' => return Ok(State::Extension { value }),
            // BWS before an extension is allowed (RFC 9112, section 7.1.1); some servers pad sizes with it.
            b' ' | b'\t' => return Ok(State::Blank { value }),
            _ => return Err(ChunkError::Size),
        };
        if digits == MAX_SIZE_DIGITS {
            return Err(ChunkError::Size);
        }
        Ok(State::Size { digits: digits + 1, value: value << 4 | u64::from(digit) })
    }

    fn line_byte(&mut self, byte: u8) -> Result<(), ChunkError> {
        if byte.is_ascii_control() && byte != b'\t' {
            return Err(ChunkError::LineEnd);
        }
        self.line += 1;
        if self.line > MAX_LINE { Err(ChunkError::TooLong) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_ends_where_it_ends_however_it_is_split() {
        for body in [
            "0\r\n\r\n",
            "5\r\nhello\r\n0\r\n\r\n",
            "5;name=\"v;x\"\r\nhello\r\n6 ;a\r\n world\r\n00\r\nTrailer: x\r\nOther: y\r\n\r\n",
            "5 \t\r\nhello\r\n0 ; x\r\n\r\n",
            "a\r\n0123456789\r\nB\r\n0123456789a\r\n0\r\n\r\n",
        ] {
            let with_rest = format!("{body}GET / HTTP/1.1\r\n");
            let bytes = with_rest.as_bytes();
            for first in 0..=bytes.len() {
                let mut chunked = Chunked::default();
                let mut taken = chunked.take(&bytes[..first]).unwrap();
                if taken == first {
                    taken += chunked.take(&bytes[first..]).unwrap();
                }
                assert_eq!((taken, chunked.is_done()), (body.len(), true), "{body:?} split at {first}");
            }
            let mut chunked = Chunked::default();
            assert_eq!(chunked.take(&bytes[..body.len() - 1]), Ok(body.len() - 1));
            assert!(!chunked.is_done());
        }
    }

    #[test]
    fn broken_framing_is_refused() {
        for (body, error) in [
            ("\r\n", ChunkError::Size),
            (";x\r\n", ChunkError::Size),
            ("-1\r\n", ChunkError::Size),
            ("+1\r\n", ChunkError::Size),
            ("0x5\r\nhello\r\n", ChunkError::Size),
            ("5_\r\nhello\r\n", ChunkError::Size),
            ("fffffffffffffffff\r\n", ChunkError::Size),
            ("5\nhello\r\n", ChunkError::Size),
            ("5 6\r\nhello\r\n", ChunkError::Size),
            ("5 \nhello\r\n", ChunkError::Size),
            ("0000000000000005\r\nhello\r\n", ChunkError::Size),
            ("5\0\r\nhello\r\n", ChunkError::Size),
            ("5;\0\r\nhello\r\n", ChunkError::LineEnd),
            ("5;\x7f\r\nhello\r\n", ChunkError::LineEnd),
            ("0\r\nT: \x0b\r\n\r\n", ChunkError::LineEnd),
            ("5\rhello\r\n", ChunkError::LineEnd),
            ("5;a\nhello\r\n", ChunkError::LineEnd),
            ("5\r\nhelloX\r\n", ChunkError::DataEnd),
            ("5\r\nhello\n0\r\n", ChunkError::DataEnd),
            ("5\r\nhello\rX", ChunkError::DataEnd),
            ("0\r\nTrailer: x\n\r\n", ChunkError::LineEnd),
            ("0\r\n\rX", ChunkError::LineEnd),
            ("0\r\nT: x\ry\r\n\r\n", ChunkError::LineEnd),
            ("0\r\n\n", ChunkError::Trailer),
            ("0\r\nGET / HTTP/1.1\r\n\r\n", ChunkError::Trailer),
            ("0\r\nTrailer\r\n\r\n", ChunkError::Trailer),
            ("0\r\nTrailer : x\r\n\r\n", ChunkError::Trailer),
            ("0\r\nTrailer: x\r\n folded\r\n\r\n", ChunkError::Trailer),
            ("0\r\n: x\r\n\r\n", ChunkError::Trailer),
        ] {
            let mut chunked = Chunked::default();
            assert_eq!(chunked.take(body.as_bytes()), Err(error), "{body:?}");
        }
    }

    #[test]
    fn extensions_and_trailers_are_bounded() {
        let long = "x".repeat(MAX_LINE + 1);
        let many = "T: x\r\n".repeat(MAX_LINE / 4 + 1);
        let bodies = [format!("5;{long}"), format!("5{}", " ".repeat(MAX_LINE + 2)), format!("0\r\nT: {long}")];
        for body in bodies.into_iter().chain([format!("0\r\n{long}"), format!("0\r\n{many}")]) {
            assert_eq!(Chunked::default().take(body.as_bytes()), Err(ChunkError::TooLong));
        }
    }
}
