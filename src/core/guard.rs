//! The storm guard: how many restarts of the whole machine may begin in one second.
//!
//! Responsible for who of those that wait begins next, and when: vital units first, then whoever waits
//! longest. A program that dies with a hundred others because the database is away comes back with a
//! hundred others too; the guard spreads them over time, so that the database survives its return.
//! Must not know what an instance is: it is told who waits, and says who may begin.

use super::action::Action;
use super::instance::{Input, State};
use super::record::Record;
use super::report::{Field, Reason};
use super::restore::{GUARD_KEY, encode};
use super::time::{Millis, Mono, Now};
use super::timers::Timer;
use super::workload::Note;
use super::{Core, Instance};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Restarts in a second unless the configuration says otherwise: two hundred programs are back within
/// five seconds, and a database that has just come back is not asked for more than it serves at any
/// other time.
pub const RATE_DEFAULT: u32 = 50;
/// No greater limit can be set: no machine starts more, and deadlines are whole milliseconds.
pub const RATE_MAX: u32 = 10_000;

/// A restart within so long of the end is prompt.
pub const PROMPT: Millis = Millis::from_secs(1);

/// Of vital units at most so many are let through in a row while others wait: those wait for ever
/// otherwise, should vital programs crash as fast as the guard lets them begin.
pub const VITAL_IN_A_ROW: u32 = 9;

/// Microseconds in a second.
const SECOND: u64 = 1_000_000;
/// In microseconds: what was not used within this span of the past is lost. It is what may begin at
/// once after a pause, and what a daemon that wakes up late makes up for.
const CATCH_UP: u64 = SECOND / 10;
/// A storm is over when nobody was held back for so long.
const CALM: Millis = Millis::from_secs(10);

/// Which restarts the guard holds back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hold {
    /// Those that have waited already: for their back-off of [`PROMPT`] or more, or for what their
    /// unit depends on. What begins again at once begins at once, and is not counted.
    Waiting,
    /// All that are not an operator's wish.
    All,
}

/// What the configuration says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StormGuard {
    /// At most so many restarts begin in any one second, up to [`RATE_MAX`]; 0: there is no guard.
    pub restarts_per_second: u32,
    /// Which restarts that means.
    pub hold: Hold,
}

impl StormGuard {
    /// No guard.
    pub const OFF: StormGuard = StormGuard { restarts_per_second: 0, hold: Hold::Waiting };

    /// What an instance has to know; `None`: there is no guard.
    pub fn holds(self) -> Option<Hold> {
        (self.restarts_per_second > 0).then_some(self.hold)
    }
}

impl Default for StormGuard {
    fn default() -> StormGuard {
        StormGuard { restarts_per_second: RATE_DEFAULT, hold: Hold::Waiting }
    }
}

/// The place of an instance that waits to begin again: vital ones come first, then those that wait
/// longest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    ordinary: bool,
    since: Mono,
    slot: u64,
}

impl Place {
    /// The place that follows from an instance's state.
    pub(super) fn of(instance: &Instance) -> Option<Place> {
        let State::Queued { since, .. } = instance.state else { return None };
        let ordinary = !instance.template.restart.vital;
        Some(Place { ordinary, since, slot: instance.slot })
    }
}

/// A time in which restarts are held back.
#[derive(Clone, Copy, Debug)]
struct Storm {
    since: Mono,
    last: Mono,
    held: u64,
}

/// Who waits to begin again, and when the next one may.
#[derive(Clone, Debug)]
pub(super) struct Guard {
    config: StormGuard,
    queue: BTreeSet<Place>,
    /// Who has come to the queue since the last settle.
    fresh: BTreeSet<u64>,
    /// When the next one may begin, in microseconds of [`Mono`].
    free_at: u64,
    vital_in_a_row: u32,
    storm: Option<Storm>,
    /// The deadline that was last asked for.
    deadline: Option<Mono>,
}

impl Guard {
    pub(super) fn new(config: StormGuard) -> Guard {
        Guard {
            config,
            queue: BTreeSet::new(),
            fresh: BTreeSet::new(),
            free_at: 0,
            vital_in_a_row: 0,
            storm: None,
            deadline: None,
        }
    }

    pub(super) fn config(&self) -> StormGuard {
        self.config
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Goes on where an earlier daemon was: when the next one may begin, as it was remembered.
    pub(super) fn resume(&mut self, free_at: u64) {
        self.free_at = free_at;
    }

    /// Moves an instance from the place that it had to the one that it has.
    pub(super) fn shift(&mut self, slot: u64, old: Option<Place>, new: Option<Place>) {
        if old == new {
            return;
        }
        if let Some(old) = old {
            self.queue.remove(&old);
            self.fresh.remove(&slot);
        }
        if let Some(new) = new {
            self.queue.insert(new);
            self.fresh.insert(slot);
        }
    }

    /// Lets the next one begin, when [`Guard::is_open`]. `entropy`: any number, another one each time.
    ///
    /// Of `n` a second each has a share of `1 / n` of it. Between two there are 9/8 to 11/8 of a share,
    /// so that they fall into step with nothing, less what may be caught up with. Of `k` within one
    /// second the first and the last are then at least `(k - 1) * 9/8 / n - CATCH_UP` apart, and as
    /// that is less than a second, `k` is `n` at most.
    fn admit(&mut self, now: Mono, entropy: u64) -> Option<u64> {
        let now = micros(now);
        let place = self.next()?;
        self.queue.remove(&place);
        self.fresh.remove(&place.slot);
        self.vital_in_a_row =
            if place.ordinary { 0 } else { self.vital_in_a_row.saturating_add(1) };
        let share = SECOND.div_ceil(u64::from(self.config.restarts_per_second.max(1)));
        let gap = (share * 9).div_ceil(8) + entropy % (share / 4 + 1);
        self.free_at = self.free_at.max(now.saturating_sub(CATCH_UP)).saturating_add(gap);
        Some(place.slot)
    }

    /// Whether somebody waits and it is time for the next one.
    fn is_open(&self, now: Mono) -> bool {
        // Without a guard some may wait all the same: an earlier daemon had one.
        let off = self.config.holds().is_none();
        !self.queue.is_empty() && (off || self.free_at <= micros(now))
    }

    fn next(&self) -> Option<Place> {
        let first = *self.queue.first()?;
        if first.ordinary || self.vital_in_a_row < VITAL_IN_A_ROW {
            return Some(first);
        }
        let ordinary = Place { ordinary: true, since: Mono(0), slot: 0 };
        Some(self.queue.range(ordinary..).next().copied().unwrap_or(first))
    }

    /// When somebody is to look at it again.
    fn due(&self) -> Option<Mono> {
        if self.queue.is_empty() {
            return self.storm.map(|storm| storm.last.plus(CALM));
        }
        Some(Mono(self.free_at.div_ceil(1_000)))
    }

    /// Some were held back, or nobody is any more: what is to be told of that.
    fn weather(&mut self, now: Mono, held: u64) -> Option<Note> {
        let rate = self.config.restarts_per_second;
        if held > 0 {
            let waiting = i64::try_from(self.queue.len()).unwrap_or(i64::MAX);
            let new = self.storm.is_none();
            let storm = self.storm.get_or_insert(Storm { since: now, last: now, held: 0 });
            storm.last = now;
            storm.held = storm.held.saturating_add(held);
            let message = format!(
                "the storm guard holds restarts back: {waiting} wait, at most {rate} begin in a second"
            );
            return new.then(|| {
                Note::warning(Reason::RestartsHeld, message)
                    .with_int("waiting", waiting)
                    .with_int("restarts_per_second", i64::from(rate))
            });
        }
        if !self.queue.is_empty() {
            // The last one has waited until now.
            self.storm.iter_mut().for_each(|storm| storm.last = now);
            return None;
        }
        let storm = self.storm.filter(|storm| storm.last.plus(CALM) <= now)?;
        self.storm = None;
        let span = storm.last.since(storm.since);
        let message = format!("the storm guard held back {} restarts in {span}", storm.held);
        let held = i64::try_from(storm.held).unwrap_or(i64::MAX);
        Some(
            Note::normal(Reason::RestartsReleased, message)
                .with_int("held", held)
                .with("span", Field::Text(span.to_string())),
        )
    }
}

fn micros(at: Mono) -> u64 {
    at.0.saturating_mul(1_000)
}

impl Core {
    /// What holds restarts back.
    pub fn storm_guard(&self) -> StormGuard {
        self.guard.config()
    }

    /// Lets begin whoever may. To be called when everything else is settled: who is to go or to wait
    /// for something else is out of the queue then, and all vital ones that came in this turn are in
    /// it. Returns whether somebody began.
    pub(super) fn release_held(&mut self, now: Now) -> bool {
        let mut began = false;
        while self.guard.is_open(now.mono) {
            let entropy = self.draw();
            let Some(slot) = self.guard.admit(now.mono, entropy) else { break };
            self.step(now, slot, Input::Admitted);
            began = true;
        }
        if began {
            // With the starts themselves, so that no daemon forgets what another one has let begin.
            let (key, value) = (GUARD_KEY.to_owned(), encode(&self.guard.free_at));
            self.actions.push_back(Action::Put(Record { key, value, durable: false }));
        }
        began
    }

    /// Tells who is held back since this turn, and sees to it that the guard is looked at in time.
    pub(super) fn tell_held(&mut self, now: Now) {
        if self.guard.queue.is_empty() && self.guard.storm.is_none() {
            return;
        }
        let fresh = std::mem::take(&mut self.guard.fresh);
        for slot in &fresh {
            let Some(instance) = self.instances.get(slot) else { continue };
            let (unit, name) = (instance.unit.clone(), instance.name.clone());
            let note = Note::normal(Reason::InstanceWaiting, self.why_held());
            self.report(now, Some(&unit), Some(&name), note);
        }
        let held = u64::try_from(fresh.len()).unwrap_or(u64::MAX);
        if let Some(note) = self.guard.weather(now.mono, held) {
            self.report(now, None, None, note);
        }
        let due = self.guard.due();
        let old = std::mem::replace(&mut self.guard.deadline, due);
        self.timers.shift(Timer::Guard, old, due);
    }

    /// The guard's deadline has come; settling does the rest.
    pub(super) fn guard_due(&mut self) {
        self.guard.deadline = None;
    }

    /// Why an instance that is held back waits, for people.
    pub(super) fn why_held(&self) -> String {
        format!(
            "held back by the storm guard: {} wait, at most {} restarts begin in a second",
            self.guard.waiting(),
            self.guard.config.restarts_per_second
        )
    }
}

/// Checks that whoever waits to begin again is in the queue, and nobody else, and that somebody will
/// look at it.
///
/// # Errors
/// What does not agree.
pub(super) fn agrees(core: &Core) -> Result<(), String> {
    let places = || core.instances.values().filter_map(|one| Some((Place::of(one)?, one)));
    for (place, instance) in places() {
        if !core.guard.queue.contains(&place) {
            return Err(format!("{} waits in no queue", instance.name));
        }
        if instance.gated {
            return Err(format!("{} waits for the guard and may not begin", instance.name));
        }
    }
    if places().count() != core.guard.queue.len() {
        return Err("the storm guard's queue has one that does not wait".to_owned());
    }
    if core.guard.deadline != core.guard.due() {
        return Err("nobody will look at the storm guard's queue in time".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests;
