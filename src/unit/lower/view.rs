//! Reads values of a tree that the walk has checked, with the table's defaults where a key is not
//! there.
//!
//! Responsible for no complaint: a value that is not what its row says reads as nothing, because
//! the walk has already said so.

use super::super::keys::{self, Key, Lit, Shape};
use super::super::tree::{Node, Place, Table, Value};
use super::super::walk::join;
use super::super::{amount, duration, size, words};
use crate::core::id::Kind;
use crate::core::spec::Amount;
use crate::core::time::Millis;
use std::collections::BTreeMap;

/// A table, its rows, and where it stands.
#[derive(Clone, Debug)]
pub(super) struct View<'t> {
    kind: Kind,
    keys: &'static [Key],
    table: Option<&'t Table>,
    at: Place,
    path: String,
}

impl<'t> View<'t> {
    /// The top of a unit.
    pub(super) fn root(kind: Kind, table: &'t Table) -> Self {
        let at = Place { file: 0, span: 0..0 };
        View { kind, keys: keys::UNIT, table: Some(table), at, path: String::new() }
    }

    /// A table within, there or not.
    pub(super) fn sub(&self, name: &str) -> View<'t> {
        let node = self.node(name);
        let keys = match keys::find(self.keys, Some(self.kind), name).map(|key| key.shape) {
            Some(Shape::Table(keys) | Shape::Tables(keys)) => keys,
            Some(_) | None => &[],
        };
        View {
            kind: self.kind,
            keys,
            table: node.and_then(Node::as_table),
            at: node.map_or_else(|| self.at.clone(), |node| node.at.clone()),
            path: self.path(name),
        }
    }

    /// The tables of an array of tables.
    pub(super) fn subs(&self, name: &str) -> Vec<View<'t>> {
        let sub = self.sub(name);
        let items = self.node(name).map(Node::items).unwrap_or_default();
        items
            .iter()
            .enumerate()
            .map(|(at, item)| View {
                table: item.as_table(),
                at: item.at.clone(),
                path: format!("{}[{at}]", sub.path),
                ..sub.clone()
            })
            .collect()
    }

    /// The dotted path of a key of this table.
    pub(super) fn path(&self, name: &str) -> String {
        join(&self.path, name)
    }

    /// The kind of the unit.
    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether the table is there at all.
    pub(super) fn exists(&self) -> bool {
        self.table.is_some()
    }

    /// Where the table begins.
    pub(super) fn at(&self) -> &Place {
        &self.at
    }

    /// The value as it is written, if the kind has the key.
    pub(super) fn node(&self, name: &str) -> Option<&'t Node> {
        keys::find(self.keys, Some(self.kind), name)?;
        self.table?.get(name)
    }

    /// Whether the key is written.
    pub(super) fn has(&self, name: &str) -> bool {
        self.node(name).is_some()
    }

    /// Where a key's value stands, or else its table.
    pub(super) fn place(&self, name: &str) -> Place {
        self.node(name).map_or_else(|| self.at.clone(), |node| node.at.clone())
    }

    fn value(&self, name: &str) -> Option<Value> {
        if let Some(node) = self.node(name) {
            return Some(node.value.clone());
        }
        let default = keys::find(self.keys, Some(self.kind), name)?.default?;
        Some(match default {
            Lit::Int(number) => Value::Int(number),
            Lit::Num(number) => Value::Float(number),
            Lit::Bool(flag) => Value::Bool(flag),
            Lit::Text(text) => Value::Text(text.to_owned()),
        })
    }

    /// A text.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        if let Some(Value::Text(text)) = self.value(name) { Some(text) } else { None }
    }

    /// A whole number, if `T` holds it.
    pub(super) fn int<T: TryFrom<i64>>(&self, name: &str) -> Option<T> {
        if let Some(Value::Int(number)) = self.value(name) {
            T::try_from(number).ok()
        } else {
            None
        }
    }

    /// A count of Kubernetes' int32, whose largest value stands for "no limit".
    pub(super) fn count(&self, name: &str) -> Option<u32> {
        let number = self.int::<i64>(name)?;
        if number >= keys::INT32_MAX { Some(u32::MAX) } else { u32::try_from(number).ok() }
    }

    /// A number in thousandths, rounded.
    pub(super) fn milli(&self, name: &str) -> Option<u64> {
        let number = match self.value(name)? {
            Value::Int(number) => number as f64,
            Value::Float(number) => number,
            Value::Text(_)
            | Value::HugeInt
            | Value::Bool(_)
            | Value::Datetime
            | Value::List(_)
            | Value::Table(_) => return None,
        };
        // Both rows that are read so are bounded far below 2^53 / 1000.
        (number.is_finite() && number >= 0.0).then(|| (number * 1_000.0).round() as u64)
    }

    /// A flag; false if it is not one.
    pub(super) fn flag(&self, name: &str) -> bool {
        matches!(self.value(name), Some(Value::Bool(true)))
    }

    /// A duration.
    pub(super) fn millis(&self, name: &str) -> Option<Millis> {
        duration::parse(&self.text(name)?).ok()
    }

    /// A size in bytes.
    pub(super) fn size(&self, name: &str) -> Option<u64> {
        match self.value(name)? {
            Value::Int(number) => u64::try_from(number).ok(),
            Value::Text(text) => size::parse(&text).ok(),
            Value::HugeInt
            | Value::Float(_)
            | Value::Bool(_)
            | Value::Datetime
            | Value::List(_)
            | Value::Table(_) => None,
        }
    }

    /// A count or percentage.
    pub(super) fn amount(&self, name: &str) -> Option<Amount> {
        amount::read(&self.value(name)?, u32::MAX).ok()
    }

    /// The words of a command.
    pub(super) fn command(&self, name: &str) -> Option<Vec<String>> {
        match self.node(name)?.as_text() {
            Some(text) => words::split(text).ok(),
            None => self.texts(name),
        }
    }

    /// Texts; numbers among them as they are written (users and groups).
    pub(super) fn texts(&self, name: &str) -> Option<Vec<String>> {
        let Value::List(items) = &self.node(name)?.value else { return None };
        Some(items.iter().filter_map(scalar_text).collect())
    }

    /// Whole numbers.
    pub(super) fn ints<T: TryFrom<i64>>(&self, name: &str) -> Option<Vec<T>> {
        let Value::List(items) = &self.node(name)?.value else { return None };
        Some(items.iter().filter_map(|item| T::try_from(item.as_int()?).ok()).collect())
    }

    /// Names and texts.
    pub(super) fn map(&self, name: &str) -> BTreeMap<String, String> {
        let table = self.node(name).and_then(Node::as_table);
        let entries = table.map(|table| table.entries.as_slice()).unwrap_or_default();
        entries
            .iter()
            .filter_map(|entry| Some((entry.key.clone(), entry.node.as_text()?.to_owned())))
            .collect()
    }

    /// A user or group, by name or number.
    pub(super) fn owner(&self, name: &str) -> Option<String> {
        self.node(name).and_then(scalar_text)
    }
}

fn scalar_text(node: &Node) -> Option<String> {
    match &node.value {
        Value::Text(text) => Some(text.clone()),
        Value::Int(number) => Some(number.to_string()),
        Value::HugeInt
        | Value::Float(_)
        | Value::Bool(_)
        | Value::Datetime
        | Value::List(_)
        | Value::Table(_) => None,
    }
}
