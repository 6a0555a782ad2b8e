//! The one table of unit files: every key, its shape, its default and the kinds that have it.
//!
//! The checker, the suggestions, the defaults and the JSON Schema all read this table, so that they
//! cannot disagree. Defaults and ranges are Kubernetes' (`pkg/apis/{apps,batch,core}/v1/defaults.go`
//! and `.../validation/validation.go`) unless the row says otherwise.
//!
//! Here are the types of its rows and how one is found; the rows are in `table`.

mod table;

use super::complaint::Complaint;
use crate::core::id::Kind;

pub(super) use table::{DEPENDENCY, GLOB, LIMIT, RELOAD, UNIT};

/// What a key's value looks like.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shape {
    /// Any text without NUL.
    Text,
    /// Text that must not be empty and passes a check; the second field names it in messages.
    Word(fn(&str) -> Result<(), Complaint>, &'static str),
    /// A user or group: name or number.
    Owner,
    /// true or false.
    Bool,
    /// A whole number of a range.
    Int(i64, i64),
    /// A number above 0, at most so many.
    Positive(f64),
    /// A factor of at least 1.
    Factor,
    /// A duration of at least so many milliseconds.
    Duration(u64),
    /// The same, or "never".
    DurationOrNever(u64),
    /// Bytes, at least so many.
    Size(u64),
    /// A count, or a percentage of at most so many per cent.
    Amount(u32),
    /// One of some words.
    OneOf(&'static [&'static str]),
    /// A command: words, or one string that is split.
    Command,
    /// A command, or `{ signal = ... }`.
    CommandOrSignal,
    /// Texts, each of which passes a check.
    Texts(fn(&str) -> Result<(), Complaint>, &'static str),
    /// Users or groups.
    Owners,
    /// Whole numbers of a range.
    Ints(i64, i64),
    /// Names and texts; the checks are for the name and for the text.
    Map(fn(&str) -> Result<(), Complaint>, fn(&str) -> Result<(), Complaint>),
    /// Resource limits by name.
    Limits,
    /// Names of units, or tables of these keys.
    Dependencies,
    /// What a daemonset calls a node.
    Nodes,
    /// A table of these keys.
    Table(&'static [Key]),
    /// Tables of these keys, `[[...]]`.
    Tables(&'static [Key]),
}

/// A value that stands for a key that is not there.
#[derive(Clone, Copy, Debug)]
pub(super) enum Lit {
    Int(i64),
    Num(f64),
    Bool(bool),
    Text(&'static str),
}

/// Which kinds have a key, as bits in the order of [`Kind::ALL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kinds(u8);

pub(super) const DEPLOYMENT: Kinds = Kinds(1);
pub(super) const STATEFULSET: Kinds = Kinds(2);
pub(super) const DAEMONSET: Kinds = Kinds(4);
pub(super) const CRONJOB: Kinds = Kinds(16);
pub(super) const SCALED: Kinds = Kinds(1 | 2);
pub(super) const SERVICES: Kinds = Kinds(1 | 2 | 4);
pub(super) const JOBS: Kinds = Kinds(8 | 16);
pub(super) const ALL: Kinds = Kinds(31);

impl Kinds {
    /// Whether a kind is among them.
    pub(super) fn has(self, kind: Kind) -> bool {
        Kind::ALL.iter().position(|k| *k == kind).is_some_and(|at| self.0 >> at & 1 == 1)
    }

    /// The kinds, in table order.
    pub(super) fn list(self) -> Vec<Kind> {
        Kind::ALL.into_iter().filter(|kind| self.has(*kind)).collect()
    }
}

/// One key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) kinds: Kinds,
    pub(super) shape: Shape,
    pub(super) default: Option<Lit>,
    pub(super) required: bool,
    /// One line for people, in the schema and in editors.
    pub(super) about: &'static str,
}

pub(super) const fn key(
    name: &'static str,
    kinds: Kinds,
    shape: Shape,
    about: &'static str,
) -> Key {
    Key { name, kinds, shape, default: None, required: false, about }
}

impl Key {
    pub(super) const fn or(mut self, default: Lit) -> Key {
        self.default = Some(default);
        self
    }
    pub(super) const fn or_text(self, default: &'static str) -> Key {
        self.or(Lit::Text(default))
    }
    pub(super) const fn or_int(self, default: i64) -> Key {
        self.or(Lit::Int(default))
    }
    pub(super) const fn or_bool(self, default: bool) -> Key {
        self.or(Lit::Bool(default))
    }
    pub(super) const fn must(mut self) -> Key {
        self.required = true;
        self
    }
}

/// The row of a key for a kind; where the kind is not known, any row of that name.
pub(super) fn find(keys: &'static [Key], kind: Option<Kind>, name: &str) -> Option<&'static Key> {
    keys.iter().find(|key| key.name == name && kind.is_none_or(|kind| key.kinds.has(kind)))
}

/// Whether one row holds for all kinds that have the key.
pub(super) fn is_single(keys: &'static [Key], name: &str) -> bool {
    keys.iter().filter(|key| key.name == name).count() == 1
}

/// Kubernetes' int32: the most of anything that is counted.
pub(super) const INT32_MAX: i64 = 2_147_483_647;
