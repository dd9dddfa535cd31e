//! A place in the tree that knows its path and where to complain: the only way in which readers see the file.
//!
//! Nothing here stops at an error. A reader that gets `None` has already been reported and goes on with its neighbours,
//! so that one run shows everything that is wrong. Scalars are read in [`scalar`](super::scalar).

use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;

use super::error::{Kind, Position, Report};
use super::path::{Path, quoted};
use super::schema;
use super::suggest::{closest, did_you_mean, elsewhere};
use super::yaml::{Node, Value};

/// One value of the file.
#[derive(Clone)]
pub(super) struct Cursor<'a> {
    pub(super) node: &'a Node<'a>,
    pub(super) path: Path,
    pub(super) report: &'a Report,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(node: &'a Node<'a>, path: Path, report: &'a Report) -> Self {
        Self { node, path, report }
    }

    /// Reports that this value is none of what its key takes.
    pub(super) fn refuse(&self, expected: &str, hint: Option<String>) {
        let message = format!("expected {expected}, found {}", self.found());
        self.error(Kind::Value, message, hint);
    }

    /// Reports something else about this value.
    pub(super) fn error(&self, kind: Kind, message: String, hint: Option<String>) {
        self.report.error(kind, self.node.at, &self.path, message, hint);
    }

    fn found(&self) -> String {
        match &self.node.value {
            _ if self.node.is_null() => "nothing".to_owned(),
            Value::Scalar { text, .. } => quoted(text),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a mapping".to_owned(),
        }
    }

    /// The items of a list. A key whose items are all commented out is an empty list, not a mistake.
    pub(super) fn items(&self) -> Vec<Cursor<'a>> {
        match &self.node.value {
            _ if self.node.is_null() => Vec::new(),
            Value::List(items) => {
                let item =
                    |(index, node): (usize, &'a Rc<Node<'a>>)| Self::new(node, self.path.index(index), self.report);
                items.iter().enumerate().map(item).collect()
            }
            _ => {
                self.refuse("a list", None);
                Vec::new()
            }
        }
    }

    /// Whether this is a list without items; false for what is no list.
    pub(super) fn is_empty_list(&self) -> bool {
        self.node.is_null() || matches!(&self.node.value, Value::List(items) if items.is_empty())
    }

    /// The entries of a mapping whose keys the user chooses; of duplicates the first.
    pub(super) fn entries(&self) -> Vec<Entry<'a>> {
        let Value::Map(entries) = &self.node.value else {
            self.refuse("a mapping", None);
            return Vec::new();
        };
        let mut first: HashMap<&str, usize> = HashMap::with_capacity(entries.len());
        let mut found = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            let Some(name) = key.text() else {
                let message = "a key must be text, not a list or a mapping".to_owned();
                self.report.error(Kind::Key, key.at, &self.path, message, None);
                continue;
            };
            let path = self.path.key(name);
            match first.get(name) {
                Some(line) => {
                    let message = format!("this key is there already, in line {line}");
                    self.report.error(Kind::Key, key.at, &path, message, None);
                }
                None => {
                    first.insert(name, key.at.line);
                    found.push(Entry { name, at: key.at, value: Self::new(value, path, self.report) });
                }
            }
        }
        found
    }

    /// The fields of a mapping whose keys the schema names.
    pub(super) fn fields(&self) -> Fields<'a> {
        let fields = self.entries().into_iter().map(|entry| (entry.name, (entry, Cell::new(false)))).collect();
        Fields { fields, pattern: self.path.pattern(), place: self.clone() }
    }
}

/// One entry of a mapping.
pub(super) struct Entry<'a> {
    /// Its key.
    pub(super) name: &'a str,
    /// Where the key is written.
    pub(super) at: Position,
    /// Its value.
    pub(super) value: Cursor<'a>,
}

/// The fields of a mapping; what no reader has asked for by the time of [`Fields::finish`] is an unknown key.
pub(super) struct Fields<'a> {
    fields: HashMap<&'a str, (Entry<'a>, Cell<bool>)>,
    pattern: String,
    /// The mapping itself.
    pub(super) place: Cursor<'a>,
}

impl<'a> Fields<'a> {
    /// The value of a key, if it is there.
    pub(super) fn get(&self, name: &str) -> Option<Cursor<'a>> {
        debug_assert!(schema::keys_of(&self.pattern).any(|key| key == name), "{}.{name} is not in KEYS", self.pattern);
        let (entry, asked) = self.fields.get(name)?;
        asked.set(true);
        Some(entry.value.clone())
    }

    /// The value of a key that must be there.
    pub(super) fn required(&self, name: &str) -> Option<Cursor<'a>> {
        let value = self.get(name);
        if value.is_none() {
            self.missing(&format!("the key {name:?} is missing"));
        }
        value
    }

    /// Reports that a key is not there, unless there is no mapping for it to be in, which has been reported.
    pub(super) fn missing(&self, message: &str) {
        if matches!(self.place.node.value, Value::Map(_)) {
            self.place.error(Kind::Key, message.to_owned(), None);
        }
    }

    /// Replaces `target`, which holds the default, by the value of a key that is there and can be read.
    pub(super) fn set<T>(&self, name: &str, target: &mut T, read: impl FnOnce(&Cursor<'a>) -> Option<T>) {
        if let Some(value) = self.get(name).and_then(|cursor| read(&cursor)) {
            *target = value;
        }
    }

    /// The fields of a mapping that may be left out.
    pub(super) fn section(&self, name: &str, read: impl FnOnce(&Fields<'a>)) {
        // A section whose keys are all commented out has its defaults.
        if let Some(cursor) = self.get(name).filter(|cursor| !cursor.node.is_null()) {
            let fields = cursor.fields();
            read(&fields);
            fields.finish();
        }
    }

    /// The items of a list that may be left out.
    pub(super) fn list<T>(&self, name: &str, read: impl FnMut(Cursor<'a>) -> T) -> Vec<T> {
        self.get(name).map(|cursor| cursor.items()).unwrap_or_default().into_iter().map(read).collect()
    }

    /// Reports every key that the schema does not have.
    pub(super) fn finish(&self) {
        for (entry, _) in self.fields.values().filter(|(_, asked)| !asked.get()) {
            let hint = self.hint(entry.name);
            let report = self.place.report;
            report.error(Kind::Key, entry.at, &entry.value.path, "unknown key".to_owned(), Some(hint));
        }
    }

    fn hint(&self, name: &str) -> String {
        if name == "<<" {
            return "merge keys are not YAML 1.2; repeat what is to be merged".to_owned();
        }
        let known: Vec<_> = schema::keys_of(&self.pattern).collect();
        if let Some(key) = closest(name, known.iter().copied()) {
            return did_you_mean(key);
        }
        elsewhere(name).unwrap_or_else(|| format!("known here: {}", known.join(", ")))
    }
}
