//! YAML as a tree whose nodes know where they stand, and what can be wrong with it. A scalar stays the
//! text that was written: what it means is the business of whoever reads it ([`read`]).
//!
//! One tree between the parser and serde, instead of the parser itself: the structs of the settings
//! are then read by little code each, which every call has to load and to step over.

mod read;

use std::collections::BTreeMap;

use granit_parser::{Event, Parser, ScalarStyle, ScanError, Span, Tag};

pub(super) use read::{Spanned, read};

/// How deep nodes may lie in each other.
const DEEPEST: usize = 64;
/// The most nodes, those of aliases counted as often as they stand for something: a short file must
/// not become an endless one.
const MOST_NODES: usize = 100_000;

/// Where something stands, from 1 on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Location {
    /// The line.
    pub(super) line: u64,
    /// The column, in characters.
    pub(super) column: u64,
}

impl Location {
    /// Where a text begins.
    pub(super) const START: Self = Self { line: 1, column: 1 };

    fn of(marker: &granit_parser::Marker) -> Self {
        Self { line: marker.line().max(1) as u64, column: marker.col() as u64 + 1 }
    }
}

/// What two entries of a mapping with the same key are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Twice {
    /// A mistake.
    Refused,
    /// The first counts for nothing, as clients of Kubernetes read it.
    LastCounts,
}

/// A node and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Node {
    at: Location,
    value: Value,
}

#[derive(Debug, Clone)]
enum Value {
    /// `plain`: without quotes, so that it may be something else than a text.
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Node>),
    Mapping(Vec<(Node, Node)>),
}

/// What is wrong, and where.
#[derive(Debug)]
pub(super) struct Error {
    /// What.
    pub(super) cause: Cause,
    /// Where; `None`: in what is read just now.
    at: Option<Location>,
}

/// What can be wrong.
#[derive(Debug)]
pub(super) enum Cause {
    /// It is no YAML that we take.
    Syntax(String),
    /// A second document.
    SecondDocument,
    /// Too deep, or too much.
    TooLarge,
    /// A key that stands there already.
    Twice(String),
    /// A field that there is not; those that there are.
    Field(String, &'static [&'static str]),
    /// A kind that there is not; those that there are.
    Kind(String, &'static [&'static str]),
    /// A field that must be there.
    Missing(&'static str),
    /// Two keys where one names the kind.
    TwoKinds,
    /// Something else is expected.
    Expected(String),
    /// A value against its rule, in its words.
    Value(String),
}

impl Error {
    fn new(at: Location, cause: Cause) -> Self {
        Self { cause, at: Some(at) }
    }

    /// Where.
    pub(super) fn at(&self) -> Location {
        self.at.unwrap_or(Location::START)
    }
}

impl From<ScanError> for Error {
    fn from(error: ScanError) -> Self {
        Self::new(Location::of(error.marker()), Cause::Syntax(error.info()))
    }
}

/// A list or a mapping that is not whole yet.
struct Open {
    at: Location,
    anchor: usize,
    is_list: bool,
    nodes: Vec<Node>,
}

/// Builds the tree.
struct Builder {
    twice: Twice,
    open: Vec<Open>,
    anchors: BTreeMap<usize, Node>,
    nodes: usize,
    root: Option<Node>,
}

impl Node {
    /// Parses a text of one document.
    pub(super) fn parse(text: &str, twice: Twice) -> Result<Self, Error> {
        let text = text.trim_start_matches('\u{feff}');
        let mut builder = Builder { twice, open: Vec::new(), anchors: BTreeMap::new(), nodes: 0, root: None };
        let mut parser = Parser::new_from_str(text);
        while let Some(event) = parser.next_event() {
            let (event, span) = event?;
            builder.take(event, &span)?;
        }
        let nothing = || Self { at: Location::START, value: Value::nothing() };
        Ok(builder.root.unwrap_or_else(nothing))
    }

    /// As many as are in it, itself counted.
    fn count(&self) -> usize {
        1 + match &self.value {
            Value::Scalar { .. } => 0,
            Value::List(nodes) => nodes.iter().map(Self::count).sum(),
            Value::Mapping(entries) => entries.iter().map(|(key, node)| key.count() + node.count()).sum(),
        }
    }

    /// How deep nodes lie in it.
    fn depth(&self) -> usize {
        let deepest = match &self.value {
            Value::Scalar { .. } => None,
            Value::List(nodes) => nodes.iter().map(Self::depth).max(),
            Value::Mapping(entries) => entries.iter().map(|(key, node)| key.depth().max(node.depth())).max(),
        };
        deepest.map_or(0, |deepest| deepest + 1)
    }

    /// The text of a key; nothing we read has a list or a mapping for a key.
    fn in_words(&self) -> &str {
        match &self.value {
            Value::Scalar { text, .. } => text,
            Value::List(_) | Value::Mapping(_) => "",
        }
    }

    fn is_plain(&self, word: &str) -> bool {
        matches!(&self.value, Value::Scalar { text, plain: true } if text == word)
    }
}

impl Value {
    fn nothing() -> Self {
        Self::Scalar { text: String::new(), plain: true }
    }
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: &Span) -> Result<(), Error> {
        let at = Location::of(&span.start);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let is_text = is_text(tag.as_deref(), at)?;
                let plain = style == ScalarStyle::Plain && !is_text;
                let value = Value::Scalar { text: text.into_owned(), plain };
                self.put(Node { at, value }, anchor)
            }
            Event::SequenceStart(_, anchor, tag) => self.begin(at, anchor, true, tag.as_deref()),
            Event::MappingStart(_, anchor, tag) => self.begin(at, anchor, false, tag.as_deref()),
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Alias(anchor) => {
                let unknown = || Error::new(at, Cause::Syntax("an alias of itself".to_owned()));
                let node = self.anchors.get(&anchor).ok_or_else(unknown)?;
                let (count, depth) = (node.count(), node.depth());
                self.nodes = self.nodes.saturating_add(count);
                // Security: before it is copied, as aliases of aliases grow without end.
                if self.nodes > MOST_NODES || self.open.len() + depth > DEEPEST {
                    return Err(Error::new(at, Cause::TooLarge));
                }
                let node = node.clone();
                self.put(node, 0)
            }
            _ => Ok(()),
        }
    }

    fn begin(&mut self, at: Location, anchor: usize, is_list: bool, tag: Option<&Tag>) -> Result<(), Error> {
        is_text(tag, at)?;
        // Security: what reads the tree goes down by calls of its own.
        if self.open.len() >= DEEPEST {
            return Err(Error::new(at, Cause::TooLarge));
        }
        self.open.push(Open { at, anchor, is_list, nodes: Vec::new() });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Error> {
        let Some(Open { at, anchor, is_list, nodes }) = self.open.pop() else { return Ok(()) };
        let value = if is_list { Value::List(nodes) } else { Value::Mapping(self.entries(nodes)?) };
        self.put(Node { at, value }, anchor)
    }

    /// Puts a whole node to where it belongs.
    fn put(&mut self, node: Node, anchor: usize) -> Result<(), Error> {
        self.nodes += 1;
        if self.nodes > MOST_NODES {
            return Err(Error::new(node.at, Cause::TooLarge));
        }
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut() {
            Some(open) => open.nodes.push(node),
            None if self.root.is_some() => return Err(Error::new(node.at, Cause::SecondDocument)),
            None => self.root = Some(node),
        }
        Ok(())
    }

    /// Keys and values in turn, as a mapping.
    fn entries(&self, nodes: Vec<Node>) -> Result<Vec<(Node, Node)>, Error> {
        let mut mapping = Mapping::default();
        let mut merged = Vec::new();
        let mut nodes = nodes.into_iter();
        while let (Some(key), Some(value)) = (nodes.next(), nodes.next()) {
            if key.is_plain("<<") {
                merged.push(value);
                continue;
            }
            match mapping.place_of(&key) {
                Some(_) if self.twice == Twice::Refused => {
                    return Err(Error::new(key.at, Cause::Twice(key.in_words().to_owned())));
                }
                Some(place) => *place = value,
                None => mapping.push(key, value),
            }
        }
        merged.into_iter().try_for_each(|value| mapping.merge(value))?;
        Ok(mapping.entries)
    }
}

/// A mapping that grows.
#[derive(Default)]
struct Mapping {
    entries: Vec<(Node, Node)>,
    /// Where each key is: a file may have very many.
    places: BTreeMap<String, usize>,
}

impl Mapping {
    /// The value of a key that is there already.
    fn place_of(&mut self, key: &Node) -> Option<&mut Node> {
        let place = *self.places.get(key.in_words())?;
        self.entries.get_mut(place).map(|(_, value)| value)
    }

    fn push(&mut self, key: Node, value: Node) {
        self.places.insert(key.in_words().to_owned(), self.entries.len());
        self.entries.push((key, value));
    }

    /// `<<: *defaults`: entries for the keys that do not stand there themselves.
    fn merge(&mut self, from: Node) -> Result<(), Error> {
        match from.value {
            Value::Mapping(others) => {
                for (key, value) in others {
                    if self.place_of(&key).is_none() {
                        self.push(key, value);
                    }
                }
                Ok(())
            }
            Value::List(mappings) => mappings.into_iter().try_for_each(|mapping| self.merge(mapping)),
            Value::Scalar { .. } => Err(Error::new(from.at, Cause::Expected("a mapping".to_owned()))),
        }
    }
}

/// Whether a tag says that a scalar is a text, whatever it looks like. Those of YAML's own types say
/// no more than we see; any other one would mean something that we do not know.
fn is_text(tag: Option<&Tag>, at: Location) -> Result<bool, Error> {
    let Some(tag) = tag else { return Ok(false) };
    match tag.core_suffix() {
        Some("str") => Ok(true),
        Some("null" | "bool" | "int" | "float" | "seq" | "map") => Ok(false),
        _ => {
            let cause = format!("the tag `{}` means nothing here", tag.original());
            Err(Error::new(at, Cause::Syntax(cause)))
        }
    }
}

#[cfg(test)]
mod tests;
