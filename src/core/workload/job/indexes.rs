//! Sets of indexes of an indexed job, and their text form.
//!
//! Responsible for Kubernetes' notation (`pkg/controller/job/indexed_job_utils.go`,
//! `orderedIntervals`): ascending, commas between, three or more neighbours as `first-last`, two
//! neighbours with a comma. Must not know jobs.

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt::Write;

/// A set of indexes. Kept as its text, which stays short for large jobs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Indexes(BTreeSet<u32>);

impl Indexes {
    /// Adds an index. Returns whether it was not there before.
    pub fn insert(&mut self, index: u32) -> bool {
        self.0.insert(index)
    }

    /// Whether the index is in the set.
    pub fn contains(&self, index: u32) -> bool {
        self.0.contains(&index)
    }

    /// How many there are below `end`.
    pub fn count_below(&self, end: u32) -> u32 {
        u32::try_from(self.0.range(..end).count()).unwrap_or(u32::MAX)
    }

    /// How many there are from `first` to `last`, both included.
    pub fn count_within(&self, first: u32, last: u32) -> u32 {
        if first > last {
            return 0;
        }
        u32::try_from(self.0.range(first..=last).count()).unwrap_or(u32::MAX)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The text form, such as `0,2,3,5-7`.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let mut rest = self.0.iter().copied().peekable();
        while let Some(first) = rest.next() {
            let mut last = first;
            while let Some(next) = rest.next_if(|next| Some(*next) == last.checked_add(1)) {
                last = next;
            }
            if !text.is_empty() {
                text.push(',');
            }
            // Writing to a String cannot fail.
            let _ = match last - first {
                0 => write!(text, "{first}"),
                1 => write!(text, "{first},{last}"),
                _ => write!(text, "{first}-{last}"),
            };
        }
        text
    }

    /// Reads the text form.
    ///
    /// # Errors
    /// The part that is no index and no range.
    pub fn parse(text: &str) -> Result<Indexes, String> {
        let mut set = BTreeSet::new();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let number = |word: &str| word.parse::<u32>().map_err(|_| part.to_owned());
            set.extend(number(first)?..=number(last)?);
        }
        Ok(Indexes(set))
    }
}

impl FromIterator<u32> for Indexes {
    fn from_iter<T: IntoIterator<Item = u32>>(indexes: T) -> Self {
        Indexes(indexes.into_iter().collect())
    }
}

impl From<Indexes> for String {
    fn from(indexes: Indexes) -> String {
        indexes.text()
    }
}

impl TryFrom<String> for Indexes {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        Indexes::parse(&text)
    }
}
