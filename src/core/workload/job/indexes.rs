//! Sets of indexes of an indexed job, and their text form.
//!
//! Responsible for Kubernetes' notation (`pkg/controller/job/indexed_job_utils.go`,
//! `orderedIntervals`): ascending, commas between, three or more neighbours as `first-last`, two
//! neighbours with a comma. Must not know jobs.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write;

/// A set of indexes, held as intervals: indexes run lowest first, so even of a very large job
/// there are few. Kept as its text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Indexes {
    /// The first index of each interval, and its last. No two of them touch.
    intervals: BTreeMap<u32, u32>,
}

impl Indexes {
    /// Adds an index. Returns whether it was not there before.
    pub fn insert(&mut self, index: u32) -> bool {
        let before = self.intervals.range(..=index).next_back().map(|(a, b)| (*a, *b));
        if before.is_some_and(|(_, last)| last >= index) {
            return false;
        }
        let first = match before {
            Some((first, last)) if last.checked_add(1) == Some(index) => first,
            Some(_) | None => index,
        };
        let after = index.checked_add(1).and_then(|next| self.intervals.remove(&next));
        self.intervals.insert(first, after.unwrap_or(index));
        true
    }

    /// Takes out every index from `end` on.
    pub fn truncate(&mut self, end: u32) {
        self.intervals.split_off(&end);
        if let Some(mut last) = self.intervals.last_entry() {
            // The interval begins below `end`, so `end` is not 0.
            let cut = (*last.get()).min(end.saturating_sub(1));
            *last.get_mut() = cut;
        }
    }

    /// Whether the index is in the set.
    pub fn contains(&self, index: u32) -> bool {
        self.end_of(index).is_some()
    }

    /// The last index of the interval that holds this one, if one does.
    pub fn end_of(&self, index: u32) -> Option<u32> {
        let (_, last) = self.intervals.range(..=index).next_back()?;
        Some(*last).filter(|last| *last >= index)
    }

    /// How many there are below `end`.
    pub fn count_below(&self, end: u32) -> u32 {
        end.checked_sub(1).map_or(0, |last| self.count_within(0, last))
    }

    /// How many there are from `first` to `last`, both included.
    pub fn count_within(&self, first: u32, last: u32) -> u32 {
        self.intervals
            .iter()
            .map(|(a, b)| (*a.max(&first), *b.min(&last)))
            .filter(|(a, b)| a <= b)
            .fold(0, |sum: u32, (a, b)| sum.saturating_add((b - a).saturating_add(1)))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.intervals.is_empty()
    }

    /// The text form, such as `0,2,3,5-7`.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (first, last) in &self.intervals {
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
    /// The part that is no index and no range, or is not above the one before it.
    pub fn parse(text: &str) -> Result<Indexes, String> {
        let mut set = Indexes::default();
        let mut end: Option<u32> = None;
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let number = |word: &str| word.parse::<u32>().map_err(|_| part.to_owned());
            let (first, last) = (number(first)?, number(last)?);
            if first > last || end.is_some_and(|end| first <= end) {
                return Err(part.to_owned());
            }
            set.insert(first);
            if let Some(mut entry) = set.intervals.last_entry() {
                *entry.get_mut() = last;
            }
            end = Some(last);
        }
        Ok(set)
    }
}

impl FromIterator<u32> for Indexes {
    fn from_iter<T: IntoIterator<Item = u32>>(indexes: T) -> Self {
        let mut set = Indexes::default();
        for index in indexes {
            set.insert(index);
        }
        set
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
