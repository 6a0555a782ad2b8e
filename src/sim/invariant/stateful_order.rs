//! A statefulset under ordered management makes an instance only when all below it are there and
//! available, and removes from the highest, one at a time; under either management a roll-out
//! replaces from the highest, never below the partition, and never makes more than
//! `max_unavailable` unavailable.
//!
//! Kubernetes semantics, section 4, one sync: steps 3 (wanted, ascending), 4 (condemned,
//! descending) and 5 (update), with `max_unavailable` in the form of kubernetes/kubernetes #137666.
//!
//! What is judged is what a controller begins in a turn in which no operator concerned himself with
//! the unit: an instance's first start, and a wish that a process end. "Available" is taken
//! generously where availability is asked for and strictly where it is to be protected, since the
//! core knows of starts and ends only what it was told.

use super::facts::{Facts, Known};
use super::{Invariant, Turn, Verdict, count};
use crate::core::id::{Kind, UnitKey};
use crate::core::spec::{ManagementPolicy, StatefulSetSpec, StatefulStrategy, WorkloadSpec};
use crate::sim::machine::Process;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Default)]
pub(super) struct StatefulOrder;

/// One statefulset in one turn.
struct Set<'a> {
    key: &'a UnitKey,
    known: &'a Known,
    spec: &'a StatefulSetSpec,
    facts: &'a Facts,
    turn: &'a Turn<'a>,
    /// Its processes that are there in the core's eyes.
    processes: Vec<&'a Process>,
    /// Ordinals whose instance is wished gone from this turn on, with their processes.
    going: BTreeMap<u32, &'a Process>,
    /// Ordinals that are started for the first time.
    made: BTreeSet<u32>,
}

impl Invariant for StatefulOrder {
    fn committed(&mut self, facts: &Facts, turn: &Turn<'_>) -> Verdict {
        let touched = turn.news.touched.iter().filter(|key| key.kind == Kind::StatefulSet);
        for key in touched.filter(|key| !facts.meddled.contains(*key)) {
            let Some(known) = facts.units.get(key) else { continue };
            let WorkloadSpec::StatefulSet(spec) = &known.spec.workload else { continue };
            let processes: Vec<&Process> = facts.believed_of(turn.machine, key).collect();
            let wished = |p: &&&Process| turn.news.wished.contains(&p.id);
            let going = processes.iter().filter(wished).filter_map(|p| Some((p.index?, *p)));
            let made = turn.news.created.iter().filter_map(|slot| facts.places.get(slot));
            let made = made.filter(|place| place.unit == *key).filter_map(|place| place.index);
            let (going, made) = (going.collect(), made.collect());
            Set { key, known, spec, facts, turn, processes, going, made }.check()?;
        }
        Ok(())
    }
}

impl Set<'_> {
    fn check(&self) -> Verdict {
        let ordered = self.spec.management_policy == ManagementPolicy::OrderedReady;
        if self.facts.shutdown {
            // Kinds end one after the other, and whose turn it is cannot be seen from outside.
            return Ok(());
        }
        if !self.known.on {
            return if ordered {
                self.descending_from_the_highest(self.going.keys().copied())
            } else {
                Ok(())
            };
        }
        if ordered {
            // What was made while its policy was another one, and waited for what the unit depends
            // on, begins when that is there.
            if !self.facts.waiters.contains(self.key) {
                self.creation()?;
            }
            let condemned = self.going.keys().copied().filter(|o| !self.in_range(*o));
            self.descending_from_the_highest(condemned)?;
            self.nothing_before_all_are_up()?;
        }
        self.update()
    }

    fn in_range(&self, ordinal: u32) -> bool {
        ordinal.checked_sub(self.spec.start_ordinal).is_some_and(|index| index < self.spec.replicas)
    }

    fn range(&self) -> impl Iterator<Item = u32> {
        let start = self.spec.start_ordinal;
        start..start.saturating_add(self.spec.replicas)
    }

    fn perhaps_available(&self, ordinal: u32) -> bool {
        self.processes.iter().any(|p| {
            p.index == Some(ordinal)
                && self.facts.perhaps_available(p, self.spec.min_ready, self.turn.at())
        })
    }

    fn surely_available(&self, process: &Process) -> bool {
        self.facts.surely_available(process, self.spec.min_ready, self.turn.at())
    }

    /// Step 3: an instance is made when all below it are available.
    fn creation(&self) -> Verdict {
        for made in &self.made {
            for below in self.range().take_while(|ordinal| ordinal < made) {
                if !self.perhaps_available(below) || self.made.contains(&below) {
                    return Err(format!("{}-{made} is made before {below} is up", self.key));
                }
            }
        }
        Ok(())
    }

    /// Step 4, and a stop: none goes while a higher one is there that has to go first.
    fn descending_from_the_highest(&self, going: impl Iterator<Item = u32>) -> Verdict {
        for ordinal in going {
            let on = self.known.on;
            let higher = self
                .processes
                .iter()
                .filter_map(|p| p.index)
                .find(|other| *other > ordinal && !(on && self.in_range(*other)));
            if let Some(higher) = higher {
                return Err(format!("{}-{ordinal} goes before {higher} is gone", self.key));
            }
        }
        Ok(())
    }

    /// Scaling down and updating wait until all that are wanted are up; only an instance that is
    /// not available itself may be replaced before.
    fn nothing_before_all_are_up(&self) -> Verdict {
        for (ordinal, process) in &self.going {
            if self.in_range(*ordinal) && !self.surely_available(process) {
                continue;
            }
            let missing = self.range().find(|other| !self.perhaps_available(*other));
            if let Some(missing) = missing.filter(|missing| missing != ordinal) {
                return Err(format!("{}-{ordinal} goes while {missing} is not up", self.key));
            }
        }
        Ok(())
    }

    /// Step 5.
    fn update(&self) -> Verdict {
        let replaced: Vec<(u32, &Process)> = self
            .going
            .iter()
            .filter(|(ordinal, process)| self.in_range(**ordinal) && self.surely_available(process))
            .map(|(ordinal, process)| (*ordinal, *process))
            .collect();
        let Some((lowest, _)) = replaced.first() else { return Ok(()) };
        let StatefulStrategy::RollingUpdate { partition, max_unavailable } = self.spec.strategy
        else {
            return Err(format!("{}-{lowest} is replaced by itself, `on_delete`", self.key));
        };
        if self.spec.paused {
            return Err(format!("{}-{lowest} is replaced while paused", self.key));
        }
        if lowest.saturating_sub(self.spec.start_ordinal) < partition {
            return Err(format!("{}-{lowest} is replaced below partition {partition}", self.key));
        }
        for (ordinal, process) in &replaced {
            if !self.is_old(process) {
                return Err(format!("{}-{ordinal} is new already and is replaced", self.key));
            }
        }
        let higher = self.processes.iter().find(|p| {
            p.index.is_some_and(|o| o > *lowest && self.in_range(o))
                && self.is_old(p)
                && self.surely_available(p)
                && !self.turn.is_ending(self.facts, &p.id)
        });
        if let Some(higher) = higher {
            return Err(format!("{}-{lowest} is replaced before {}", self.key, higher.instance));
        }
        let up = self.range().filter(|o| self.perhaps_available(*o) && !self.going.contains_key(o));
        let unavailable = self.spec.replicas.saturating_sub(count(up.count()));
        let limit = max_unavailable.floor_of(self.spec.replicas).max(1);
        if unavailable > limit {
            return Err(format!(
                "{} replaces {} that work: {unavailable} are unavailable, {limit} allowed",
                self.key,
                replaced.len()
            ));
        }
        Ok(())
    }

    fn is_old(&self, process: &Process) -> bool {
        let place = self.facts.places.get(&process.id.slot);
        place.is_some_and(|place| place.template != self.known.spec.template)
    }
}
