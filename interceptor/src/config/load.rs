//! From text to a tree of nodes, within bounds.
//!
//! [`parse`](super::parse) calls [`load`] once per file. The tree is built from the parser's *events* and not by saphyr's
//! own loader: that one stops at the first duplicate key, guesses types, and bounds neither nesting nor size.

use std::collections::HashMap;
use std::rc::Rc;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Tag};

use super::error::Position;
use super::yaml::{Node, Value};

/// Bytes of a file. A few thousand services take one megabyte; more is a file given by mistake.
pub(super) const MAX_BYTES: usize = 8 << 20;
/// Levels of nesting. The schema has six; the bound keeps the work of every walk small.
pub(super) const MAX_DEPTH: usize = 16;
/// Nodes, with every alias counted as what it stands for: a few nested ones could stand for billions.
pub(super) const MAX_NODES: usize = 500_000;

/// Why a text is no document.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) at: Position,
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

/// Reads the one document of `text`.
pub(super) fn load(text: &str) -> Result<Rc<Node<'_>>, Fault> {
    if text.len() > MAX_BYTES {
        return Err(fault(Position::START, format!("larger than {} MiB", MAX_BYTES >> 20)));
    }
    // Editors on other systems put a byte order mark there; it is no part of the first key.
    let mut parser = Parser::new_from_str(text.strip_prefix('\u{feff}').unwrap_or(text));
    let mut loader = Loader::default();
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| syntax(&error))?;
        loader.event(event, position(&span.start))?;
    }
    match loader.root {
        Some(root) if !root.is_null() => Ok(root),
        _ => Err(Fault {
            hint: Some("`interceptor config example` prints a file to start from".to_owned()),
            ..fault(Position::START, "the file is empty".to_owned())
        }),
    }
}

/// A list or mapping whose end has not come yet; the keys and values of a mapping alternate.
struct Open<'t> {
    at: Position,
    anchor: usize,
    is_map: bool,
    children: Vec<Rc<Node<'t>>>,
}

#[derive(Default)]
struct Loader<'t> {
    root: Option<Rc<Node<'t>>>,
    open: Vec<Open<'t>>,
    anchors: HashMap<usize, Rc<Node<'t>>>,
    nodes: usize,
}

impl<'t> Loader<'t> {
    fn event(&mut self, event: Event<'t>, at: Position) -> Result<(), Fault> {
        match event {
            Event::DocumentStart(_) if self.root.is_some() => {
                return Err(fault(at, "a second document begins here, only one is allowed".to_owned()));
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) | Event::DocumentEnd => {}
            Event::Scalar(text, style, anchor, tag) => {
                refuse_tag(tag.as_deref(), at)?;
                let plain = style == ScalarStyle::Plain;
                self.add(Node { at, value: Value::Scalar { text, plain }, size: 1, height: 1 }, anchor)?;
            }
            Event::SequenceStart(anchor, tag) => self.begin(at, anchor, tag.as_deref(), false)?,
            Event::MappingStart(anchor, tag) => self.begin(at, anchor, tag.as_deref(), true)?,
            Event::SequenceEnd | Event::MappingEnd => self.end()?,
            Event::Alias(anchor) => match self.anchors.get(&anchor) {
                Some(node) => self.place(Rc::clone(node), at)?,
                None => {
                    return Err(fault(at, "this alias stands for something that contains it".to_owned()));
                }
            },
        }
        Ok(())
    }

    fn begin(&mut self, at: Position, anchor: usize, tag: Option<&Tag>, is_map: bool) -> Result<(), Fault> {
        refuse_tag(tag, at)?;
        if self.open.len() >= MAX_DEPTH {
            return Err(fault(at, format!("nested deeper than {MAX_DEPTH} levels")));
        }
        self.open.push(Open { at, anchor, is_map, children: Vec::new() });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Fault> {
        let Some(Open { at, anchor, is_map, children }) = self.open.pop() else { return Ok(()) };
        let size = children.iter().fold(1, |sum, child| sum + child.size);
        let height = 1 + children.iter().map(|child| child.height).max().unwrap_or(0);
        let value = if is_map { Value::Map(pairs(children)) } else { Value::List(children) };
        // The children have been counted when they were placed.
        self.nodes -= size - 1;
        self.add(Node { at, value, size, height }, anchor)
    }

    fn add(&mut self, node: Node<'t>, anchor: usize) -> Result<(), Fault> {
        let (at, node) = (node.at, Rc::new(node));
        if anchor > 0 {
            self.anchors.insert(anchor, Rc::clone(&node));
        }
        self.place(node, at)
    }

    fn place(&mut self, node: Rc<Node<'t>>, at: Position) -> Result<(), Fault> {
        self.nodes += node.size;
        if self.nodes > MAX_NODES {
            return Err(fault(at, format!("more than {MAX_NODES} values, aliases expanded")));
        }
        if self.open.len() + node.height > MAX_DEPTH + 1 {
            return Err(fault(at, format!("nested deeper than {MAX_DEPTH} levels, aliases expanded")));
        }
        match self.open.last_mut() {
            Some(open) => open.children.push(node),
            None => self.root = Some(node),
        }
        Ok(())
    }
}

fn pairs<'t>(children: Vec<Rc<Node<'t>>>) -> Vec<(Rc<Node<'t>>, Rc<Node<'t>>)> {
    let mut pairs = Vec::with_capacity(children.len() / 2);
    let mut children = children.into_iter();
    while let (Some(key), Some(value)) = (children.next(), children.next()) {
        pairs.push((key, value));
    }
    pairs
}

/// A tag asks for a type of its own; no key of this file has one, and to ignore it would be to misread the file.
fn refuse_tag(tag: Option<&Tag>, at: Position) -> Result<(), Fault> {
    match tag {
        Some(_) => Err(fault(at, "YAML tags (`!name`) are not supported".to_owned())),
        None => Ok(()),
    }
}

fn syntax(error: &ScanError) -> Fault {
    fault(position(error.marker()), format!("not valid YAML: {}", error.info()))
}

fn fault(at: Position, message: String) -> Fault {
    Fault { at, message, hint: None }
}

/// saphyr counts lines from 1 and columns from 0.
fn position(marker: &Marker) -> Position {
    Position { line: marker.line().max(1), column: marker.col() + 1 }
}
