//! The tree of a file: nodes that know where they are written.
//!
//! [`load`](super::load) builds it, cursors walk it, the cross checks find the place of a path in it. Types are the
//! readers' business: a scalar stays the text that was written, since a space may be called `1e3` or `0x10`.

use std::borrow::Cow;
use std::rc::Rc;

use super::error::Position;
use super::path::{Path, Step};

/// A value and where it begins.
#[derive(Debug)]
pub(super) struct Node<'t> {
    pub(super) at: Position,
    pub(super) value: Value<'t>,
    /// Nodes below and including this one, aliases expanded.
    pub(super) size: usize,
    /// Levels below and including this one, aliases expanded.
    pub(super) height: usize,
}

/// What a node holds. Children are shared because an alias is its anchor's node once more.
#[derive(Debug)]
pub(super) enum Value<'t> {
    /// Text as written; `plain` when it was not in quotes, so that it may also be a number, a boolean or nothing.
    Scalar { text: Cow<'t, str>, plain: bool },
    /// A list.
    List(Vec<Rc<Node<'t>>>),
    /// A mapping: keys and values in the order of the text, duplicates included.
    Map(Vec<(Rc<Node<'t>>, Rc<Node<'t>>)>),
}

impl<'t> Node<'t> {
    /// Whether this is YAML's null, written or left out.
    pub(super) fn is_null(&self) -> bool {
        match &self.value {
            Value::Scalar { text, plain: true } => {
                matches!(&**text, "" | "~" | "null" | "Null" | "NULL")
            }
            _ => false,
        }
    }

    /// The text of a scalar.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// Where `path` begins, or the deepest part of it that the text has.
    pub(super) fn position(&self, path: &Path) -> Position {
        self.walk(path).0.at
    }

    /// Whether the text has `path`.
    pub(super) fn has(&self, path: &Path) -> bool {
        self.walk(path).1 == path.steps().len()
    }

    /// The deepest node on the way to `path`, and how many steps lead there.
    fn walk(&self, path: &Path) -> (&Self, usize) {
        let mut node = self;
        for (taken, step) in path.steps().iter().enumerate() {
            let next = match (step, &node.value) {
                (Step::Index(index), Value::List(items)) => items.get(*index),
                (Step::Key(key), Value::Map(entries)) => {
                    entries.iter().find(|(name, _)| name.text() == Some(key)).map(|(_, value)| value)
                }
                _ => None,
            };
            let Some(next) = next else { return (node, taken) };
            node = next;
        }
        (node, path.steps().len())
    }
}
