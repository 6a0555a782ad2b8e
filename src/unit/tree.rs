//! A parsed file as an owned tree in which every key and value knows its place.
//!
//! Responsible for turning TOML into [`Node`]s and for merging drop-ins over a unit. Must not know
//! which keys exist: that is `keys`.

use std::ops::Range;
use toml::de::{DeTable, DeValue};

/// A stretch of one of the files that a unit is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// 0 is the unit's own file, n its nth drop-in.
    pub(crate) file: usize,
    /// Byte offsets into that file.
    pub(crate) span: Range<usize>,
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) at: Place,
}

/// What a value is.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Text(String),
    Int(i64),
    /// An integer that 64 bits do not hold.
    HugeInt,
    Float(f64),
    Bool(bool),
    Datetime,
    List(Vec<Node>),
    Table(Table),
}

impl Value {
    /// The type's name, with its article, for messages.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Value::Text(_) => "a string",
            Value::Int(_) | Value::HugeInt => "a whole number",
            Value::Float(_) => "a decimal number",
            Value::Bool(_) => "a boolean",
            Value::Datetime => "a date",
            Value::List(_) => "an array",
            Value::Table(_) => "a table",
        }
    }
}

impl Node {
    /// The text, if it is one.
    pub(crate) fn as_text(&self) -> Option<&str> {
        if let Value::Text(text) = &self.value { Some(text) } else { None }
    }

    /// The integer, if it is one.
    pub(crate) fn as_int(&self) -> Option<i64> {
        if let Value::Int(number) = self.value { Some(number) } else { None }
    }

    /// The boolean, if it is one.
    pub(crate) fn as_bool(&self) -> Option<bool> {
        if let Value::Bool(flag) = self.value { Some(flag) } else { None }
    }

    /// The number, whole or decimal.
    pub(crate) fn as_number(&self) -> Option<f64> {
        match self.value {
            Value::Int(number) => Some(number as f64),
            Value::Float(number) => Some(number),
            Value::Text(_)
            | Value::HugeInt
            | Value::Bool(_)
            | Value::Datetime
            | Value::List(_)
            | Value::Table(_) => None,
        }
    }

    /// The elements; none if it is not an array.
    pub(crate) fn items(&self) -> &[Node] {
        if let Value::List(items) = &self.value { items } else { &[] }
    }

    /// The table, if it is one.
    pub(crate) fn as_table(&self) -> Option<&Table> {
        if let Value::Table(table) = &self.value { Some(table) } else { None }
    }
}

/// One `key = value`.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_at: Place,
    pub(crate) node: Node,
}

/// Entries in the order in which they stand.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    pub(crate) entries: Vec<Entry>,
}

impl Table {
    /// The entry of a key.
    pub(crate) fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    /// The value of a key.
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.node)
    }

    /// Lays `over` over this: tables are merged key by key, everything else is replaced whole.
    pub(crate) fn merge(&mut self, over: Table) {
        for new in over.entries {
            let Some(old) = self.entries.iter_mut().find(|entry| entry.key == new.key) else {
                self.entries.push(new);
                continue;
            };
            match (&mut old.node.value, new.node.value) {
                (Value::Table(below), Value::Table(above)) => below.merge(above),
                (slot, value) => {
                    *slot = value;
                    old.key_at = new.key_at;
                    old.node.at = new.node.at;
                }
            }
        }
    }
}

/// A complaint of the TOML parser.
pub(crate) struct SyntaxError {
    pub(crate) message: String,
    pub(crate) at: Place,
}

/// The parser gives up at a line that is no `key = value`; so often the rest is tried again without
/// such lines. Who has more broken lines than this does not want to see them all.
const ATTEMPTS_MAX: usize = 32;
/// A text with more errors than this is no unit file with a slip in it, but a log or a table that
/// has got a wrong name: nothing in it is looked for any further.
const ERRORS_MAX: usize = 1000;

/// Parses a file. What is well-formed survives beside the errors, also behind a line at which the
/// parser gives up, so that kind and name are known of nearly every file.
pub(crate) fn parse(text: &str, file: usize) -> (Table, Vec<SyntaxError>) {
    let (first, mut errors) = attempt(text, file);
    if errors.is_empty() {
        return (first, errors);
    }
    let hopeless = errors.len() > ERRORS_MAX;
    if hopeless {
        errors.sort_by_key(|error| error.at.span.start);
        errors.truncate(ERRORS_MAX);
    }
    let mut rest = text.as_bytes().to_vec();
    let mut table = Table::default();
    let mut fresh: Vec<usize> = errors.iter().map(|error| error.at.span.start).collect();
    for _ in 0..if hopeless { 0 } else { ATTEMPTS_MAX } {
        let mut blanked = false;
        for at in &fresh {
            blanked |= blank_line(&mut rest, *at);
        }
        let Some(remaining) = std::str::from_utf8(&rest).ok().filter(|_| blanked) else { break };
        let (next, more) = attempt(remaining, file);
        table = next;
        fresh = more.iter().map(|error| error.at.span.start).collect();
        errors.extend(more);
        if fresh.is_empty() {
            break;
        }
    }
    // Where the parser guessed a value on a broken line (`kind = deployment`), the guess helps.
    table.merge(first);
    // One line, one complaint: the parser's second is nearly always a consequence of its first.
    let ends: Vec<usize> = text.match_indices('\n').map(|(at, _)| at).collect();
    let line = |error: &SyntaxError| ends.partition_point(|end| *end < error.at.span.start);
    errors.sort_by_key(|error| (error.at.span.start, !error.message.contains("string")));
    errors.dedup_by_key(|error| line(error));
    (table, errors)
}

/// Replaces the line at an offset by blanks, so that all other offsets stay. False: it was blank.
fn blank_line(bytes: &mut [u8], at: usize) -> bool {
    let at = at.min(bytes.len());
    let start = bytes.iter().take(at).rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let mut any = false;
    for byte in bytes.iter_mut().skip(start).take_while(|byte| **byte != b'\n') {
        any |= !byte.is_ascii_whitespace();
        *byte = b' ';
    }
    any
}

fn attempt(text: &str, file: usize) -> (Table, Vec<SyntaxError>) {
    let (table, errors) = DeTable::parse_recoverable(text);
    let errors = errors
        .into_iter()
        .map(|error| SyntaxError {
            message: error.message().to_owned(),
            at: Place { file, span: error.span().unwrap_or(0..0) },
        })
        .collect();
    (from_table(table.get_ref(), file), errors)
}

fn from_table(table: &DeTable<'_>, file: usize) -> Table {
    let mut entries: Vec<Entry> = table
        .iter()
        .map(|(key, value)| Entry {
            key: key.get_ref().to_string(),
            key_at: Place { file, span: key.span() },
            node: from_value(value.get_ref(), Place { file, span: value.span() }),
        })
        .collect();
    entries.sort_by_key(|entry| entry.key_at.span.start);
    Table { entries }
}

fn from_value(value: &DeValue<'_>, at: Place) -> Node {
    let file = at.file;
    let value = match value {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(number) => {
            i64::from_str_radix(number.as_str(), number.radix()).map_or(Value::HugeInt, Value::Int)
        }
        DeValue::Float(number) => Value::Float(number.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(flag) => Value::Bool(*flag),
        DeValue::Datetime(_) => Value::Datetime,
        DeValue::Array(items) => Value::List(
            items
                .iter()
                .map(|item| from_value(item.get_ref(), Place { file, span: item.span() }))
                .collect(),
        ),
        DeValue::Table(table) => Value::Table(from_table(table, file)),
    };
    Node { value, at }
}
