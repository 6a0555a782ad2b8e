//! A unit's instances as controllers see them, and what controllers count of them.
//!
//! Responsible for keeping both up to date when one instance changes, so that a controller need not
//! look at all instances to learn of one (client-go's `Indexer`: a store with indexes). Everything
//! here follows from the list alone. Must not decide.

use super::few::Few;
use super::replicaset::Tally;
use super::{Observed, Phase, SetId};
use crate::core::time::{Millis, Mono};
use smallvec::SmallVec;
use std::ops::Deref;

/// All instances of one unit. Reads as the slice of them, in the order in which they were made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observations {
    /// By slot.
    list: SmallVec<[Observed; 1]>,
    /// By set: as many as the unit has revisions with instances, which are few.
    groups: SmallVec<[(SetId, Group); 1]>,
    /// Slots of those that were not asked to go.
    staying: Few<u64>,
    /// Of these, those that have ended for good.
    ended: Few<u64>,
    /// Slots of the active ones whose last start could not be made.
    failing: Few<u64>,
}

/// The instances of one set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Group {
    /// All.
    present: u32,
    /// Neither ended nor going.
    active: u32,
    /// Not ended, though perhaps going.
    unfinished: u32,
    /// The active ones that are ready, by the time since when.
    ready: Few<(Mono, u64)>,
}

/// Counts by set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tallies(SmallVec<[(SetId, Tally); 2]>);

impl Tallies {
    /// Of one set; of one that has no instance, all are 0.
    pub fn of(&self, set: SetId) -> Tally {
        let of_set = self.0.iter().find(|(id, _)| *id == set);
        of_set.map(|(_, tally)| *tally).unwrap_or_default()
    }

    /// Of all sets that have instances, by set.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (SetId, Tally)> {
        self.0.iter().copied()
    }
}

/// What decides where an instance is counted.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Standing {
    active: bool,
    staying: bool,
    finished: bool,
    failing: bool,
    ready_since: Option<Mono>,
}

impl Standing {
    fn of(one: &Observed) -> Standing {
        let finished = match one.phase {
            Phase::Succeeded | Phase::Failed => true,
            Phase::Pending | Phase::Running | Phase::GaveUp => false,
        };
        let active = one.active();
        let ready_since = one.ready_since.filter(|_| active);
        let failing = active && one.start_failure.is_some();
        Standing { active, staying: !one.terminating, finished, failing, ready_since }
    }
}

impl Deref for Observations {
    type Target = [Observed];

    fn deref(&self) -> &[Observed] {
        &self.list
    }
}

impl FromIterator<Observed> for Observations {
    fn from_iter<I: IntoIterator<Item = Observed>>(all: I) -> Observations {
        let mut observations = Observations::default();
        for one in all {
            observations.insert(one);
        }
        observations
    }
}

impl Observations {
    /// The slots of all, in the order in which they were made.
    pub fn slots(&self) -> impl Iterator<Item = u64> {
        self.list.iter().map(|one| one.slot)
    }

    /// The instance of this slot.
    pub fn find(&self, slot: u64) -> Option<&Observed> {
        self.list.get(self.place(slot).ok()?)
    }

    fn place(&self, slot: u64) -> Result<usize, usize> {
        // Nearly always it is one of few, or the youngest.
        match self.list.last() {
            Some(last) if last.slot < slot => Err(self.list.len()),
            Some(_) | None => self.list.binary_search_by_key(&slot, |one| one.slot),
        }
    }

    /// Adds an instance. One of the same slot is replaced.
    pub fn insert(&mut self, one: Observed) {
        self.remove(one.slot);
        let (set, slot, standing) = (one.set, one.slot, Standing::of(&one));
        let place = match self.place(slot) {
            Ok(place) | Err(place) => place,
        };
        self.list.insert(place, one);
        self.join(set);
        self.count(set, slot, standing);
    }

    /// Takes an instance away.
    pub fn remove(&mut self, slot: u64) {
        let Ok(place) = self.place(slot) else { return };
        let one = self.list.remove(place);
        self.discount(one.set, slot, Standing::of(&one));
        if let Ok(place) = self.place_of_group(one.set)
            && let Some((_, group)) = self.groups.get_mut(place)
        {
            group.present -= 1;
            if group.present == 0 {
                self.groups.remove(place);
            }
        }
    }

    fn place_of_group(&self, set: SetId) -> Result<usize, usize> {
        self.groups.binary_search_by_key(&set, |(id, _)| *id)
    }

    fn group(&self, set: SetId) -> Option<&Group> {
        self.groups.get(self.place_of_group(set).ok()?).map(|(_, group)| group)
    }

    fn group_mut(&mut self, set: SetId) -> Option<&mut Group> {
        let place = self.place_of_group(set).ok()?;
        self.groups.get_mut(place).map(|(_, group)| group)
    }

    /// One more of this set.
    fn join(&mut self, set: SetId) {
        match self.place_of_group(set) {
            Ok(place) => {
                if let Some((_, group)) = self.groups.get_mut(place) {
                    group.present += 1;
                }
            }
            Err(place) => {
                self.groups.insert(place, (set, Group { present: 1, ..Group::default() }));
            }
        }
    }

    /// Looks at one instance again: `look` writes what changes in the life of an instance, so
    /// neither slot nor set. Returns whether anything did.
    pub fn update(&mut self, slot: u64, look: impl FnOnce(&mut Observed) -> bool) -> bool {
        let Ok(place) = self.place(slot) else { return false };
        let Some(one) = self.list.get_mut(place) else { return false };
        let before = Standing::of(one);
        let changed = look(one);
        let (set, after) = (one.set, Standing::of(one));
        if before != after {
            self.discount(set, slot, before);
            self.count(set, slot, after);
        }
        changed
    }

    fn count(&mut self, set: SetId, slot: u64, standing: Standing) {
        if standing.staying {
            self.staying.insert(slot);
            if standing.finished {
                self.ended.insert(slot);
            }
        }
        if standing.failing {
            self.failing.insert(slot);
        }
        let Some(group) = self.group_mut(set) else { return };
        group.active += u32::from(standing.active);
        group.unfinished += u32::from(!standing.finished);
        if let Some(since) = standing.ready_since {
            group.ready.insert((since, slot));
        }
    }

    fn discount(&mut self, set: SetId, slot: u64, standing: Standing) {
        if standing.staying {
            self.staying.remove(&slot);
            self.ended.remove(&slot);
        }
        if standing.failing {
            self.failing.remove(&slot);
        }
        let Some(group) = self.group_mut(set) else { return };
        group.active -= u32::from(standing.active);
        group.unfinished -= u32::from(!standing.finished);
        if let Some(since) = standing.ready_since {
            group.ready.remove(&(since, slot));
        }
    }

    /// Counts by set.
    pub fn tallies(&self, min_ready: Millis, now: Mono) -> Tallies {
        let tally = |group: &Group| {
            let ready = u32::try_from(group.ready.len()).unwrap_or(u32::MAX);
            // Without `min_ready` even one that is ready since a reading of another boot is.
            let fresh =
                if min_ready == Millis::ZERO { 0 } else { group.fresh(min_ready, now).count() };
            Tally {
                active: group.active,
                ready,
                available: ready.saturating_sub(u32::try_from(fresh).unwrap_or(u32::MAX)),
                present: group.present,
            }
        };
        Tallies(self.groups.iter().map(|(set, group)| (*set, tally(group))).collect())
    }

    /// When the next of those that are active and ready will be available, if one is not yet.
    pub fn next_available(&self, min_ready: Millis, now: Mono) -> Option<Mono> {
        let of_each =
            self.groups.iter().filter_map(|(_, group)| group.fresh(min_ready, now).last());
        of_each.min().map(|since| since.plus(min_ready))
    }

    /// Those that were not asked to go.
    pub fn staying(&self) -> impl Iterator<Item = &Observed> {
        self.staying.iter().filter_map(|slot| self.find(*slot))
    }

    /// Those that have ended for good and were not asked to go.
    pub fn ended(&self) -> impl Iterator<Item = &Observed> {
        self.ended.iter().filter_map(|slot| self.find(*slot))
    }

    /// Those that are active and whose last start could not be made.
    pub fn failing(&self) -> impl Iterator<Item = &Observed> {
        self.failing.iter().filter_map(|slot| self.find(*slot))
    }

    /// How many of this set are neither ended nor going.
    pub fn active_of(&self, set: SetId) -> u32 {
        self.group(set).map_or(0, |group| group.active)
    }

    /// The sets of which there is anything.
    pub fn sets(&self) -> impl Iterator<Item = SetId> {
        self.groups.iter().map(|(set, _)| *set)
    }

    /// The sets of which something has not ended, though it may be going.
    pub fn unfinished_sets(&self) -> impl Iterator<Item = SetId> {
        self.groups.iter().filter(|(_, group)| group.unfinished > 0).map(|(set, _)| *set)
    }
}

impl Group {
    /// Since when those are ready that are not so long enough, the latest first.
    fn fresh(&self, min_ready: Millis, now: Mono) -> impl Iterator<Item = Mono> {
        let by_age = self.ready.iter().rev().map(|(since, _)| *since);
        by_age.take_while(move |since| since.plus(min_ready) > now)
    }
}

#[cfg(test)]
mod tests {
    use super::super::replicaset::fake::{Change, START, instance};
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// One instance in any state.
    fn any_instance() -> impl Strategy<Value = Observed> {
        let phases =
            [Phase::Pending, Phase::Running, Phase::Succeeded, Phase::Failed, Phase::GaveUp];
        let phase = proptest::sample::select(phases.to_vec());
        let since = proptest::option::of(0u64..6);
        let failure = proptest::option::of(Just("no such file".to_owned()));
        (0u64..6, 1u32..4, phase, since, any::<bool>(), failure).prop_map(
            |(slot, set, phase, since, terminating, start_failure)| Observed {
                start_failure,
                ready_since: since.map(Mono),
                terminating,
                ..instance(slot, set).phase(phase)
            },
        )
    }

    /// What is kept up to date one by one is what is counted from the start.
    fn agrees(kept: &Observations) -> Result<(), TestCaseError> {
        let anew: Observations = kept.iter().cloned().collect();
        prop_assert_eq!(kept, &anew);
        for (min_ready, now) in [(0, 3), (2, 4), (9, 4)] {
            let (min_ready, now) = (Millis(min_ready), Mono(now));
            for (set, tally) in kept.tallies(min_ready, now).iter() {
                let of = || kept.iter().filter(move |one| one.set == set);
                let active = || of().filter(|one| one.active());
                prop_assert_eq!(tally.present as usize, of().count());
                prop_assert_eq!(tally.active as usize, active().count());
                prop_assert_eq!(kept.active_of(set), tally.active);
                prop_assert_eq!(tally.ready as usize, active().filter(|one| one.ready()).count());
                let available = active().filter(|one| one.available(min_ready, now)).count();
                prop_assert_eq!(tally.available as usize, available);
            }
            let active = kept.iter().filter(|one| one.active());
            let next = active.filter_map(|one| one.available_at(min_ready, now)).min();
            prop_assert_eq!(kept.next_available(min_ready, now), next);
        }
        let ends = |one: &Observed| matches!(one.phase, Phase::Succeeded | Phase::Failed);
        let staying: Vec<&Observed> = kept.iter().filter(|one| !one.terminating).collect();
        prop_assert_eq!(kept.staying().collect::<Vec<_>>(), staying.clone());
        let ended: Vec<&Observed> = staying.into_iter().filter(|one| ends(one)).collect();
        prop_assert_eq!(kept.ended().collect::<Vec<_>>(), ended);
        let failing = kept.iter().filter(|one| one.active() && one.start_failure.is_some());
        prop_assert_eq!(kept.failing().collect::<Vec<_>>(), failing.collect::<Vec<_>>());
        let unfinished: BTreeSet<SetId> =
            kept.iter().filter(|one| !ends(one)).map(|one| one.set).collect();
        prop_assert_eq!(kept.unfinished_sets().collect::<BTreeSet<_>>(), unfinished);
        Ok(())
    }

    proptest! {
        #[test]
        fn indexes_follow_from_the_list(
            steps in proptest::collection::vec((any_instance(), 0u8..3), 1..40),
        ) {
            let mut kept = Observations::default();
            for (one, what) in steps {
                match what {
                    0 => kept.insert(one),
                    1 => kept.remove(one.slot),
                    _ => {
                        kept.update(one.slot, |old| {
                            *old = Observed { set: old.set, ..one };
                            true
                        });
                    }
                }
                agrees(&kept)?;
            }
        }
    }

    #[test]
    fn an_unknown_slot_is_no_change() {
        let mut kept: Observations = [instance(1, 1)].into_iter().collect();
        kept.remove(2);
        assert!(!kept.update(2, |_| true));
        assert_eq!(kept.tallies(Millis::ZERO, START.mono).iter().len(), 1);
        assert!(kept.update(1, |one| {
            one.terminating = true;
            true
        }));
        assert_eq!((kept.active_of(1), kept.staying().count()), (0, 0));
    }
}
