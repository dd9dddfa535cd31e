//! The stable words of the record's closed sets: metrics label by them, filters are written with them, tables print them.
//!
//! They are the JSON names, which a test holds together with serde's. Nothing here allocates.

use super::{ErrorSide, Protocol, ProtocolFrom, TargetKind, Verdict};
use crate::route::Direction;

macro_rules! words {
    ($($type:ident { $($variant:ident => $word:literal),* $(,)? })*) => {$(
        impl $type {
            /// Every value.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The name that JSON, metrics and tables use.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }

            /// The value of that name.
            pub fn from_word(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.as_str() == word)
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }
    )*};
}

words! {
    Direction { Outbound => "outbound", Inbound => "inbound" }
    Verdict { Forwarded => "forwarded", Redirected => "redirected", Refused => "refused", Error => "error" }
    Protocol { Http1 => "http1", Http2 => "http2", Tls => "tls", Opaque => "opaque", Unknown => "unknown" }
    ProtocolFrom {
        ClientBytes => "client_bytes", ServerFirst => "server_first", Declared => "declared", Deadline => "deadline",
        Nothing => "nothing",
    }
    TargetKind { Original => "original", Application => "application", Endpoint => "endpoint" }
    ErrorSide { Downstream => "downstream", Upstream => "upstream", Agent => "agent" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_the_json_names() {
        fn same<T: serde::Serialize + Copy>(all: &[T], word: impl Fn(T) -> &'static str) {
            for value in all {
                assert_eq!(serde_json::to_string(value).unwrap(), format!("{:?}", word(*value)));
            }
        }
        same(Direction::ALL, Direction::as_str);
        same(Verdict::ALL, Verdict::as_str);
        same(Protocol::ALL, Protocol::as_str);
        same(ProtocolFrom::ALL, ProtocolFrom::as_str);
        same(TargetKind::ALL, TargetKind::as_str);
        same(ErrorSide::ALL, ErrorSide::as_str);
    }

    #[test]
    fn a_word_leads_back_to_its_value() {
        assert_eq!(Verdict::from_word("redirected"), Some(Verdict::Redirected));
        assert_eq!(Verdict::from_word("Redirected"), None);
    }
}
