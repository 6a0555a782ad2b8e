//! Deadlines, at most one for each instance and unit, and one of the storm guard.
//!
//! Responsible for the order of deadlines. A deadline is a value that follows from a state: it is
//! moved when the state changes, so none is ever late or left over. What it was before, the state
//! before says; there is no second list to look it up in.

use super::id::UnitKey;
use super::time::Mono;
use std::collections::BTreeSet;

/// Whose deadline.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// An instance's: back-off, SIGKILL.
    Instance(u64),
    /// A unit's: whatever its controller waits for.
    Unit(UnitKey),
    /// The storm guard's: the next one may begin, or the storm is over.
    Guard,
}

/// All deadlines.
#[derive(Clone, Debug, Default)]
pub(super) struct Timers(BTreeSet<(Mono, Timer)>);

impl Timers {
    /// Moves a deadline from what it was to what it is; `None`: there was or is none.
    pub(super) fn shift(&mut self, timer: Timer, old: Option<Mono>, new: Option<Mono>) {
        match (old, new) {
            (None, None) => {}
            (Some(old), Some(new)) if old == new => {
                self.0.insert((new, timer));
            }
            (Some(old), Some(new)) => {
                let was = (old, timer);
                self.0.remove(&was);
                self.0.insert((new, was.1));
            }
            (Some(old), None) => {
                self.0.remove(&(old, timer));
            }
            (None, Some(new)) => {
                self.0.insert((new, timer));
            }
        }
    }

    /// The earliest deadline.
    pub(super) fn next(&self) -> Option<Mono> {
        self.0.first().map(|(at, _)| *at)
    }

    /// Takes out a deadline that has come.
    pub(super) fn pop_due(&mut self, now: Mono) -> Option<Timer> {
        if self.next()? > now {
            return None;
        }
        self.0.pop_first().map(|(_, timer)| timer)
    }
}
