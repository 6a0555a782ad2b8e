//! A daemonset never has two processes on a node unless it may surge, and never more than two that
//! are to stay; a roll-out never takes more nodes out of service than `max_unavailable`, and with
//! surge takes none and gives at most `max_surge` nodes a second process.
//!
//! Kubernetes semantics, section 5: per slot, rolling without surge and with it. Old processes that
//! are not available are replaced outside the budget, so only those that surely are protect it.
//! Judged in turns in which no operator concerned himself with the unit.

use super::facts::{Facts, Known, Place};
use super::{Invariant, Turn, Verdict, count};
use crate::core::id::{InstanceId, Kind, UnitKey};
use crate::core::spec::{DaemonSetSpec, DaemonStrategy, WorkloadSpec};
use crate::sim::machine::Process;
use std::collections::BTreeMap;

#[derive(Debug, Default)]
pub(super) struct DaemonBudget;

/// One process on a node.
struct Held<'a> {
    process: &'a Process,
    place: &'a Place,
}

/// One daemonset in one turn.
struct Set<'a> {
    key: &'a UnitKey,
    known: &'a Known,
    spec: &'a DaemonSetSpec,
    facts: &'a Facts,
    turn: &'a Turn<'a>,
    /// The nodes that are, with the processes on them that are there in the core's eyes.
    nodes: BTreeMap<&'a str, Vec<Held<'a>>>,
    /// Nodes that get a new instance in this turn.
    made: Vec<&'a str>,
}

impl Invariant for DaemonBudget {
    fn committed(&mut self, facts: &Facts, turn: &Turn<'_>) -> Verdict {
        let touched = turn.news.touched.iter().filter(|key| key.kind == Kind::DaemonSet);
        for key in touched.filter(|key| !facts.meddled.contains(*key)) {
            let (Some(known), Some(nodes)) = (facts.units.get(key), facts.nodes.get(key)) else {
                continue;
            };
            let WorkloadSpec::DaemonSet(spec) = &known.spec.workload else { continue };
            if !known.on || facts.shutdown {
                continue;
            }
            let mut nodes: BTreeMap<&str, Vec<Held<'_>>> =
                nodes.iter().map(|node| (node.as_str(), Vec::new())).collect();
            for process in facts.believed_of(turn.machine, key) {
                let Some(place) = facts.places.get(&process.id.slot) else { continue };
                let node = place.node.as_deref().unwrap_or_default();
                if let Some(held) = nodes.get_mut(node) {
                    held.push(Held { process, place });
                }
            }
            let made = turn.news.created.iter().filter_map(|slot| facts.places.get(slot));
            let made = made
                .filter(|place| place.unit == *key)
                .filter_map(|place| place.node.as_deref())
                .collect();
            Set { key, known, spec, facts, turn, nodes, made }.check()?;
        }
        Ok(())
    }
}

impl Set<'_> {
    fn check(&self) -> Verdict {
        let total = count(self.nodes.len());
        let (surge, unavailable) = match self.spec.strategy {
            DaemonStrategy::OnDelete => (0, 0),
            DaemonStrategy::RollingUpdate { max_surge, max_unavailable } => {
                (max_surge.ceil_of(total), max_unavailable.ceil_of(total))
            }
        };
        // What was made while it might surge, and waited for what the unit depends on, begins later.
        self.room(surge > 0 || self.facts.waiters.contains(self.key))?;
        match self.spec.strategy {
            DaemonStrategy::OnDelete => Ok(()),
            // An old instance that waits goes outside the budget, and is not seen here.
            _ if self.facts.waiters.contains(self.key) => Ok(()),
            DaemonStrategy::RollingUpdate { .. } if surge > 0 => self.surging(surge),
            DaemonStrategy::RollingUpdate { .. } => self.replacing(unavailable.max(1)),
        }
    }

    /// A new instance has its node to itself, or shares it with one old one.
    fn room(&self, surges: bool) -> Verdict {
        for node in &self.made {
            let Some(held) = self.nodes.get(node) else { continue };
            let staying = held.iter().filter(|h| !self.is_ending(&h.process.id)).count();
            let twice = self.made.iter().filter(|other| *other == node).count() > 1;
            if twice || staying > 1 || (!surges && !held.is_empty()) {
                return Err(format!(
                    "{} makes another on {node}, where {} are",
                    self.key,
                    held.len()
                ));
            }
        }
        Ok(())
    }

    /// Without surge: of the nodes that are served, only so many may be taken out of service that
    /// no more than the budget are without.
    fn replacing(&self, budget: u32) -> Verdict {
        let (mut taken, mut without) = (0, 0);
        for (node, held) in &self.nodes {
            let instances = self.instances_on(node);
            if let [only] = held.as_slice()
                && instances.len() == 1
                && self.is_wished_gone(&only.process.id)
                && self.surely_available(only)
            {
                if !self.is_old(only) {
                    let name = &only.place.instance;
                    return Err(format!("{name} is new already and is replaced"));
                }
                taken += 1;
                continue;
            }
            // An old one that is not available counts for nothing: it goes outside the budget. It
            // may have no process: in back-off, or not started yet.
            let old = instances.iter().any(|place| self.is_of_old(place));
            without += u32::from(!old && !held.iter().any(|h| self.perhaps_available(h)));
        }
        if taken > 0 && self.spec.paused {
            return Err(format!("{} replaces while paused", self.key));
        }
        if taken > 0 && taken + without > budget {
            return Err(format!(
                "{} takes {taken} nodes out of service while {without} are, {budget} allowed",
                self.key
            ));
        }
        Ok(())
    }

    /// With surge: an old one that works goes only when a new one beside it does, and only so
    /// many nodes are given a second one. Of two old ones the younger goes in any case, whichever
    /// works (`daemon_controller.go` `podsShouldBeOnNode` keeps the oldest of each).
    fn surging(&self, budget: u32) -> Verdict {
        let (mut given, mut waiting) = (0, 0);
        for (node, held) in &self.nodes {
            for old in held.iter().filter(|h| self.is_wished_gone(&h.process.id)) {
                let id = old.process.id;
                let served = held.iter().any(|h| {
                    h.process.id != id
                        && self.perhaps_available(h)
                        && !self.is_ending(&h.process.id)
                });
                let several =
                    self.instances_on(node).iter().filter(|p| self.is_of_old(p)).count() > 1;
                if self.surely_available(old) && !served && !several {
                    return Err(format!(
                        "{} goes before another serves {node}",
                        old.place.instance
                    ));
                }
            }
            let worked = held.iter().any(|h| {
                self.is_old(h) && self.surely_available(h) && !self.is_ending(&h.process.id)
            });
            if self.made.contains(node) {
                given += u32::from(worked);
            } else if worked {
                // The new one beside it is surely not available yet.
                waiting += u32::from(held.iter().any(|h| {
                    !self.is_old(h) && !self.perhaps_available(h) && !self.is_ending(&h.process.id)
                }));
            }
        }
        if given > 0 && self.spec.paused {
            return Err(format!("{} surges while paused", self.key));
        }
        if given > 0 && given + waiting > budget {
            return Err(format!(
                "{} gives {given} more nodes a second one while {waiting} wait, {budget} allowed",
                self.key
            ));
        }
        Ok(())
    }

    fn is_ending(&self, id: &InstanceId) -> bool {
        self.turn.is_ending(self.facts, id)
    }

    fn is_wished_gone(&self, id: &InstanceId) -> bool {
        self.turn.news.wished.contains(id)
    }

    fn perhaps_available(&self, held: &Held<'_>) -> bool {
        self.facts.perhaps_available(held.process, self.spec.min_ready, self.turn.at())
    }

    fn surely_available(&self, held: &Held<'_>) -> bool {
        self.facts.surely_available(held.process, self.spec.min_ready, self.turn.at())
    }

    fn is_old(&self, held: &Held<'_>) -> bool {
        self.is_of_old(held.place)
    }

    fn is_of_old(&self, place: &Place) -> bool {
        place.template != self.known.spec.template
    }

    /// The instances of a node, whether they have a process or not.
    fn instances_on(&self, node: &str) -> Vec<&Place> {
        let on_node =
            |place: &&Place| place.unit == *self.key && place.node.as_deref() == Some(node);
        self.facts.places.values().filter(on_node).collect()
    }
}
