//! What was probably meant: the nearest known word, or the place where a key belongs.
//!
//! The readers and the cross checks ask for hints; a hint never changes how a file is read.

use super::path::quoted;
use super::schema::{KEYS, Key};

/// Candidates that are compared. A typo in a file with more names gets no suggestion, rather than quadratic work.
const MAX_CANDIDATES: usize = 1000;

/// The candidate that is one or a few typing errors away from `word`.
pub(super) fn closest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // A third of the word may be wrong: `prot` is `port`, but `tcp` is not `http`.
    let tolerated = (word.chars().count() / 3).clamp(1, 3);
    candidates
        .take(MAX_CANDIDATES)
        .filter(|candidate| candidate.len().abs_diff(word.len()) <= 2 * tolerated && *candidate != word)
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= tolerated)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Typing errors between two words. Case and word separators count nothing: Kubernetes writes `targetPort`.
fn distance(a: &str, b: &str) -> usize {
    let plain = |word: &str| word.to_lowercase().replace(['-', '_'], "");
    strsim::osa_distance(&plain(a), &plain(b))
}

/// The hint that names a candidate.
pub(super) fn did_you_mean(candidate: &str) -> String {
    format!("did you mean {}?", quoted(candidate))
}

/// For a key that exists, but in another mapping.
pub(super) fn elsewhere(name: &str) -> Option<String> {
    let (parent, _) = KEYS.iter().map(Key::split).find(|(_, key)| *key == name)?;
    Some(match parent {
        "" => "it belongs to the top of the file".to_owned(),
        parent => format!("it belongs into `{parent}`"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_errors_and_other_spellings_are_understood_but_other_words_are_not() {
        let keys = ["port", "target_port", "app_protocol", "name"];
        for (word, meant) in [
            ("prot", Some("port")),
            ("targetPort", Some("target_port")),
            ("target_prt", Some("target_port")),
            ("app-protocol", Some("app_protocol")),
            ("Name", Some("name")),
            ("tcp", None),
            ("protocol", None),
            ("", None),
        ] {
            assert_eq!(closest(word, keys.into_iter()), meant, "{word}");
        }
    }

    #[test]
    fn a_key_of_another_mapping_is_told_its_place() {
        assert_eq!(elsewhere("workers").as_deref(), Some("it belongs into `proxy`"));
        assert_eq!(elsewhere("routing").as_deref(), Some("it belongs to the top of the file"));
        assert_eq!(elsewhere("nonsense"), None);
    }
}
