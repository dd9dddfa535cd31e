//! Where in a file something is: `services[2].ports[0].port`.
//!
//! Cursors extend it on their way down, the cross checks build it to name a place again. Its text is what a person
//! reads, so a key that holds anything unusual is quoted and escaped.

use std::fmt;

/// One step down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Into the value of a mapping's key.
    Key(String),
    /// Into a list's item, from 0.
    Index(usize),
}

/// The steps from the document's root.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Path(Vec<Step>);

impl Path {
    /// The path of a mapping's key.
    pub(super) fn key(&self, key: &str) -> Self {
        self.step(Step::Key(key.to_owned()))
    }

    /// The path of a list's item.
    pub(super) fn index(&self, index: usize) -> Self {
        self.step(Step::Index(index))
    }

    fn step(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }

    pub(super) fn steps(&self) -> &[Step] {
        &self.0
    }

    /// The path as the schema's table has it: without the numbers of items (`services[].ports[].port`).
    pub(super) fn pattern(&self) -> String {
        self.text(|_| String::new())
    }

    fn text(&self, number: impl Fn(usize) -> String) -> String {
        let mut text = String::new();
        for step in &self.0 {
            match step {
                Step::Index(index) => text.extend(["[", &number(*index), "]"]),
                Step::Key(key) if is_plain(key) => {
                    if !text.is_empty() {
                        text.push('.');
                    }
                    text.push_str(key);
                }
                Step::Key(key) => text.push_str(&format!("[{}]", quoted(key))),
            }
        }
        text
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text(|index| index.to_string()))
    }
}

fn is_plain(key: &str) -> bool {
    !key.is_empty() && key.len() <= MAX_QUOTED && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
}

/// Text of the file as a message shows it: in quotes, escaped (it may hold terminal controls) and not too long.
pub(super) fn quoted(text: &str) -> String {
    match text.char_indices().nth(MAX_QUOTED) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

/// Characters of foreign text that a message repeats: any name of the schema fits, a pasted file does not.
const MAX_QUOTED: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_reads_like_an_expression_and_its_pattern_has_no_numbers() {
        let path = Path::default().key("services").index(2).key("ports").index(0).key("port");
        assert_eq!(path.to_string(), "services[2].ports[0].port");
        assert_eq!(path.pattern(), "services[].ports[].port");
        assert_eq!(Path::default().to_string(), "");
    }

    #[test]
    fn foreign_text_is_escaped_and_cut() {
        assert_eq!(Path::default().key("a").key("x\u{1b}[2J.y").to_string(), r#"a["x\u{1b}[2J.y"]"#);
        assert_eq!(quoted(&"ä".repeat(100)), format!("\"{}\"…", "ä".repeat(64)));
    }
}
