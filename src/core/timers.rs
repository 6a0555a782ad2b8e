//! Deadlines, at most one for each instance and unit.
//!
//! Responsible for the order of deadlines. A deadline is a value that follows from a state: it is
//! replaced when the state changes, so none is ever late or left over.

use super::id::UnitKey;
use super::time::Mono;
use std::collections::{BTreeMap, BTreeSet};

/// Whose deadline.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// An instance's: back-off, SIGKILL.
    Instance(u64),
    /// A unit's: whatever its controller waits for.
    Unit(UnitKey),
}

/// All deadlines.
#[derive(Clone, Debug, Default)]
pub(super) struct Timers {
    by_time: BTreeSet<(Mono, Timer)>,
    by_owner: BTreeMap<Timer, Mono>,
}

impl Timers {
    /// Sets, moves or (with `None`) takes away a deadline.
    pub(super) fn set(&mut self, timer: Timer, at: Option<Mono>) {
        let old = match at {
            Some(at) => self.by_owner.insert(timer.clone(), at),
            None => self.by_owner.remove(&timer),
        };
        if old == at {
            return;
        }
        if let Some(old) = old {
            self.by_time.remove(&(old, timer.clone()));
        }
        if let Some(at) = at {
            self.by_time.insert((at, timer));
        }
    }

    /// The earliest deadline.
    pub(super) fn next(&self) -> Option<Mono> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Takes out a deadline that has come.
    pub(super) fn pop_due(&mut self, now: Mono) -> Option<Timer> {
        if self.next()? > now {
            return None;
        }
        let (_, timer) = self.by_time.pop_first()?;
        self.by_owner.remove(&timer);
        Some(timer)
    }
}
