//! What else is worth knowing of a request: a small set of stable words in its record.
//!
//! `proxy` sets them, the JSON lists them, metrics count them. None of them changes a verdict.

use serde::ser::{Serialize, SerializeSeq as _, Serializer};

/// Something worth knowing of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Note {
    /// Two of `routing.route_headers` say different things; the first of the configured order counts.
    DifferingHeaders,
    /// What carried a space was removed (`routing.strip_from_outside`).
    HeaderStripped,
    /// The member was not merged into the request's baggage, which would have become too large.
    BaggageFull,
    /// Requests of different spaces came with its trace id.
    AmbiguousTrace,
    /// Requests of different spaces, or of none, were in the workload when it went out.
    AmbiguousFlight,
    /// The thread that sent it could belong to requests of different spaces.
    AmbiguousThread,
    /// There was no room for its trace id: what it causes may not find its space again.
    NotRemembered,
    /// The endpoint that was chosen first could not be reached: it went to another one of the same copy.
    AnotherEndpoint,
}

impl Note {
    /// Every note, in the order of the list.
    pub const ALL: [Self; 8] = [
        Self::DifferingHeaders,
        Self::HeaderStripped,
        Self::BaggageFull,
        Self::AmbiguousTrace,
        Self::AmbiguousFlight,
        Self::AmbiguousThread,
        Self::NotRemembered,
        Self::AnotherEndpoint,
    ];

    /// The word that JSON, metrics and tables use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DifferingHeaders => "differing_headers",
            Self::HeaderStripped => "header_stripped",
            Self::BaggageFull => "baggage_full",
            Self::AmbiguousTrace => "ambiguous_trace",
            Self::AmbiguousFlight => "ambiguous_flight",
            Self::AmbiguousThread => "ambiguous_thread",
            Self::NotRemembered => "not_remembered",
            Self::AnotherEndpoint => "another_endpoint",
        }
    }
}

/// The notes of one request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Notes(u8);

impl Notes {
    /// Adds one.
    pub fn add(&mut self, note: Note) {
        self.0 |= 1 << note as u8;
    }

    /// Adds one if that is so.
    pub fn add_if(&mut self, holds: bool, note: Note) {
        if holds {
            self.add(note);
        }
    }

    /// Each once, in order.
    pub fn iter(self) -> impl Iterator<Item = Note> {
        Note::ALL.into_iter().filter(move |note| self.0 & (1 << *note as u8) != 0)
    }
}

impl Serialize for Notes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        for note in self.iter() {
            list.serialize_element(note.as_str())?;
        }
        list.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_a_list_of_words_each_once() {
        let mut notes = Notes::default();
        assert_eq!(serde_json::to_string(&notes).unwrap(), "[]");
        Note::ALL.into_iter().rev().for_each(|note| notes.add(note));
        notes.add(Note::BaggageFull);
        notes.add_if(false, Note::BaggageFull);
        assert_eq!(notes.iter().collect::<Vec<_>>(), Note::ALL);
        let mut one = Notes::default();
        one.add_if(true, Note::NotRemembered);
        assert_eq!(serde_json::to_string(&one).unwrap(), "[\"not_remembered\"]");
    }
}
