//! Where commands print: stdout with or without colours, whose reader may go away at any time.
//!
//! Text that came from the network or the cluster passes [`clean`] first: it may hold terminal controls.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, Write};

/// Whoever read the output has gone; not an error of the command.
#[derive(Debug, thiserror::Error)]
#[error("the output was closed")]
pub(super) struct OutputClosed;

/// What text looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    Bold,
    Dim,
    Good,
    Warn,
    Bad,
}

impl Style {
    const fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Bold => "\x1b[1m",
            Self::Dim => "\x1b[2m",
            Self::Good => "\x1b[32m",
            Self::Warn => "\x1b[33m",
            Self::Bad => "\x1b[31m",
        }
    }
}

/// What a command prints on.
pub(super) struct Screen<'a> {
    out: &'a mut dyn Write,
    color: bool,
}

impl<'a> Screen<'a> {
    pub(super) fn new(out: &'a mut dyn Write, color: bool) -> Self {
        Self { out, color }
    }

    /// Prints a line.
    pub(super) fn line(&mut self, text: impl fmt::Display) -> anyhow::Result<()> {
        checked(writeln!(self.out, "{text}"))
    }

    /// Prints a line of JSON. What a terminal would act on stands in a string, where it can be written as an escape.
    pub(super) fn json(&mut self, line: impl AsRef<str>) -> anyhow::Result<()> {
        self.line(replaced(line.as_ref(), |c, text| {
            text.extend(c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")));
        }))
    }

    /// Prints bytes as they are.
    pub(super) fn raw(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        checked(self.out.write_all(bytes))
    }

    /// Shows what was printed so far.
    pub(super) fn flush(&mut self) -> anyhow::Result<()> {
        checked(self.out.flush())
    }

    /// Text in a style, if this screen has styles.
    pub(super) fn paint<'t>(&self, style: Style, text: &'t str) -> Cow<'t, str> {
        if !self.color || style == Style::Plain || text.is_empty() {
            return Cow::Borrowed(text);
        }
        Cow::Owned(format!("{}{text}\x1b[0m", style.code()))
    }
}

fn checked(written: io::Result<()>) -> anyhow::Result<()> {
    written.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => OutputClosed.into(),
        _ => anyhow::Error::new(error).context("writing the output"),
    })
}

/// Text without anything that a terminal would act on.
pub(super) fn clean(text: &str) -> Cow<'_, str> {
    replaced(text, |c, cleaned| cleaned.extend(c.escape_default()))
}

/// Whether a terminal acts on a character, or shows what follows in another order or not at all.
fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

fn replaced(text: &str, replace: impl Fn(char, &mut String)) -> Cow<'_, str> {
    if !text.contains(is_harmful) {
        return Cow::Borrowed(text);
    }
    let mut cleaned = String::with_capacity(text.len());
    for c in text.chars() {
        if is_harmful(c) {
            replace(c, &mut cleaned);
        } else {
            cleaned.push(c);
        }
    }
    Cow::Owned(cleaned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminal_controls_become_visible() {
        assert_eq!(clean("/a\u{1b}[2J\u{202e}\n"), "/a\\u{1b}[2J\\u{202e}\\n");
        assert!(matches!(clean("/ä?b=c"), Cow::Borrowed("/ä?b=c")));
        // CSI in one character, the Arabic letter mark, a tag.
        assert_eq!(clean("\u{9b}2J\u{61c}\u{e0041}"), "\\u{9b}2J\\u{61c}\\u{e0041}");
    }

    #[test]
    fn json_stays_what_it_was_and_holds_no_terminal_controls() {
        let value = "/\u{9b}2J\u{202e}\u{7f}\u{61c}\u{e0041}ä";
        let mut out = Vec::new();
        Screen::new(&mut out, false).json(serde_json::to_string(value).unwrap()).unwrap();
        let line = String::from_utf8(out).unwrap();
        assert_eq!(line, "\"/\\u009b2J\\u202e\\u007f\\u061c\\udb40\\udc41ä\"\n");
        assert_eq!(serde_json::from_str::<String>(&line).unwrap(), value);
    }

    #[test]
    fn styles_are_written_only_where_there_are_colours() {
        let mut out = Vec::new();
        assert_eq!(Screen::new(&mut out, false).paint(Style::Bad, "x"), "x");
        assert_eq!(Screen::new(&mut out, true).paint(Style::Bad, "x"), "\x1b[31mx\x1b[0m");
        assert_eq!(Screen::new(&mut out, true).paint(Style::Plain, "x"), "x");
    }

    #[test]
    fn a_closed_output_is_told_from_other_errors() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        assert!(Screen::new(&mut Closed, false).line("x").unwrap_err().is::<OutputClosed>());
    }
}
