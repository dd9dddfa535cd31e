//! What a person reads about the file: the commented example, and the reference that is generated from the table of keys.
//!
//! `interceptor config example` prints the first; the second is docs/config.md, which a test compares with this. Neither
//! is read when a file is parsed.

use super::schema::{KEYS, Presence};

/// The commented file that `interceptor config example` prints: every key, with the worked example of the README.
pub const EXAMPLE: &str = include_str!("example.yaml");

const INTRODUCTION: &str = "\
# The configuration file

<!-- Generated from interceptor/src/config/schema.rs and example.yaml; write it anew with
     UPDATE_DOCS=1 cargo test -p interceptor config::reference -->

`interceptor run --config FILE` reads one YAML file. `interceptor config example` prints the example below, `interceptor
config check FILE` says everything that is wrong with a file, each with line, column and key.

All top-level keys may be left out. A file with an error is refused as a whole, and the last good one stays in force. A
fault of the space tree (an unknown parent, a cycle, more than 3 derived levels) is a warning: the spaces concerned cannot
be used, everything else works.

Durations are a whole number and `ms`, `s`, `m` or `h`. Names are 1 to 253 letters, digits, `-`, `_` and `.`, with a letter
or digit at both ends. Addresses are those of pods and services: loopback, multicast and unspecified ones are refused, and
IPv4 written as `::ffff:10.0.0.1` is IPv4. Anchors and aliases work; merge keys and tags do not.

## Keys

| Key | Value | When left out | Meaning |
|---|---|---|---|
";

/// docs/config.md.
pub fn reference_markdown() -> String {
    let mut text = INTRODUCTION.to_owned();
    for key in KEYS {
        let presence = match key.presence {
            Presence::Required => "required".to_owned(),
            Presence::Optional(words) => words.to_owned(),
            Presence::Default(yaml) => format!("`{yaml}`"),
        };
        text.push_str(&format!("| `{}` | {} | {presence} | {} |\n", key.path, key.kind, key.meaning));
    }
    text.push_str(&format!("\n## Example\n\n```yaml\n{EXAMPLE}```\n"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docs_config_md_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/config.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, reference_markdown()).unwrap();
        }
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            written == reference_markdown(),
            "docs/config.md is out of date; run: UPDATE_DOCS=1 cargo test -p interceptor config::reference"
        );
    }
}
