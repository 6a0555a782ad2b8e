//! A cronjob starts every slot that is due exactly once: none is doubled, and none is lost but to a
//! later slot, the starting deadline, or a job that still runs where only one may.
//!
//! Kubernetes semantics, section 7, one sync (steps 3 to 7), with the decisions of section 14. When
//! slots are says [`Slots`], which is written apart from `core::schedule`.
//!
//! Where an operator or a clock leaves open what is right, it is silent, and only there:
//! - while suspended, stopped, on its way out or not for this node, nothing is due; a start is a fault;
//! - in a turn in which an operator concerned himself with the cronjob or one of its jobs, which
//!   may begin or end a run after the slot was looked at, nothing need start;
//! - from a step of the wall clock until the core was told of it, and from a daemon's start until
//!   it has read the unit files, nothing need start;
//! - after the clock was put back so far that the last slot lies more than three hours ahead, slots
//!   are counted from when the core looked, which is not seen from outside: until the next start
//!   it is only checked that a start is on the schedule;
//! - with jitter a start may come up to that much later; a deadline that ends within is open.

use super::facts::{Facts, Known};
use super::oracle::Slots;
use super::{Fault, Invariant, Turn, Verdict};
use crate::core::action::Action;
use crate::core::event::Event;
use crate::core::id::{Kind, UnitKey};
use crate::core::report::{Field, Reason, Report};
use crate::core::spec::{ConcurrencyPolicy, CronJobSpec, WorkloadSpec};
use crate::core::time::Wall;
use crate::core::view::KindView;
use crate::sim::machine::Machine;
use std::collections::BTreeMap;

/// The last slot may lie so far ahead of the clock before the clock counts as having been wrong.
const CLOCK_BACK_MAX: i64 = 3 * 3_600_000;

/// What is known of a cronjob from outside.
#[derive(Debug)]
struct Plan {
    spec: CronJobSpec,
    created: Wall,
    slots: Option<Slots>,
    /// Slots after this one are to be started; `None`: it cannot be told from outside.
    after: Option<i64>,
    /// The first of them.
    next: Option<i64>,
    /// A slot that running jobs are being removed for: its deadline does not count any more.
    replacing: Option<i64>,
}

#[derive(Debug, Default)]
pub(super) struct Cron {
    plans: BTreeMap<UnitKey, Plan>,
    /// So many steps of the clock the core was not told of yet.
    untold: u32,
    /// The daemon has not read the unit files yet.
    unread: bool,
}

impl Plan {
    fn new(spec: &CronJobSpec, created: Wall) -> Plan {
        let mut plan = Plan {
            spec: spec.clone(),
            created,
            slots: Slots::read(spec),
            after: Some(created.0),
            next: None,
            replacing: None,
        };
        plan.look_ahead();
        plan
    }

    fn change(&mut self, spec: &CronJobSpec) {
        if self.spec != *spec {
            self.spec = spec.clone();
            self.slots = Slots::read(spec);
            self.look_ahead();
        }
    }

    fn look_ahead(&mut self) {
        self.next = match (&self.slots, self.after) {
            (Some(slots), Some(after)) => slots.first_after(after, after),
            (None, _) | (_, None) => None,
        };
    }

    fn passed(&mut self, slot: i64) {
        (self.after, self.replacing) = (Some(slot), None);
        self.look_ahead();
    }

    fn jitter(&self) -> i64 {
        i64::try_from(self.spec.jitter.0).unwrap_or(i64::MAX)
    }

    /// The latest slot that is due for certain.
    fn due(&self, now: i64) -> Option<i64> {
        let until = now - self.jitter();
        let (slots, after) = (self.slots.as_ref()?, self.after?);
        self.next.filter(|next| *next <= until)?;
        slots.latest(after, until, after)
    }

    fn past_deadline(&self, slot: i64, at: i64) -> bool {
        let deadline = self.spec.starting_deadline.map(|d| i64::try_from(d.0).unwrap_or(i64::MAX));
        deadline.is_some_and(|d| slot.saturating_add(d) < at)
    }

    /// Its deadline has passed for certain.
    fn late(&self, slot: i64, now: i64) -> bool {
        self.past_deadline(slot, now - self.jitter())
    }

    fn starts(&self, key: &UnitKey, slot: i64, now: i64) -> Verdict {
        if slot > now {
            return Err(format!("{key} starts the slot {slot} before its time, {now}"));
        }
        let Some(slots) = &self.slots else { return Ok(()) };
        let Some(after) = self.after else {
            let on_it = slots.is_anchored() || slots.is_slot(slot, 0);
            return if on_it { Ok(()) } else { Err(format!("{key} has no slot {slot}")) };
        };
        if slot <= after {
            return Err(format!("{key} starts the slot {slot} again, after {after}"));
        }
        if !slots.is_slot(slot, after) {
            return Err(format!("{key} has no slot {slot} after {after}"));
        }
        let later = slots.first_after(slot, after).filter(|later| *later <= now - self.jitter());
        if let Some(later) = later {
            return Err(format!("{key} starts the slot {slot}, and {later} is due"));
        }
        if self.late(slot, now) && self.replacing.is_none_or(|replacing| replacing > slot) {
            return Err(format!("{key} starts the slot {slot} after its deadline, at {now}"));
        }
        Ok(())
    }
}

impl Cron {
    fn refresh(&mut self, facts: &Facts) {
        self.plans.retain(|key, _| facts.units.contains_key(key));
        for (key, known) in facts.units.iter().filter(|(key, _)| key.kind == Kind::CronJob) {
            let WorkloadSpec::CronJob(spec) = &known.spec.workload else { continue };
            match self.plans.get_mut(key) {
                Some(plan) if plan.created == known.created => plan.change(spec),
                Some(_) | None => {
                    self.plans.insert(key.clone(), Plan::new(spec, known.created));
                }
            }
        }
    }

    fn hear(&mut self, batch: &[(Event, Option<u64>)]) {
        for (event, _) in batch {
            match event {
                Event::ClockStepped => self.untold = self.untold.saturating_sub(1),
                Event::Units(_) => self.unread = false,
                _ => {}
            }
        }
    }

    /// A start that the core tells of.
    fn started(&mut self, facts: &Facts, turn: &Turn<'_>, report: &Report) -> Verdict {
        let Some(key) = &report.unit else { return Ok(()) };
        let Some(Field::Time(slot)) = report.fields.get("scheduled") else { return Ok(()) };
        let (Some(plan), Some(known)) = (self.plans.get_mut(key), facts.units.get(key)) else {
            return Ok(());
        };
        if plan.spec.suspend || !known.on || facts.shutdown {
            return Err(format!("{key} starts the slot {} and is not to run", slot.0));
        }
        plan.starts(key, slot.0, turn.clock.now().wall.0)?;
        plan.passed(slot.0);
        let alone = match plan.spec.concurrency_policy {
            ConcurrencyPolicy::Allow => false,
            ConcurrencyPolicy::Forbid | ConcurrencyPolicy::Replace => true,
        };
        if alone && !facts.meddled.contains(key) {
            let active = active(turn, key);
            let name = match report.fields.get("job") {
                Some(Field::Text(name)) => name.as_str(),
                Some(_) | None => "",
            };
            if let Some(other) = active.iter().find(|other| *other != name) {
                return Err(format!("{key} starts {name} while {other} runs"));
            }
        }
        Ok(())
    }

    /// A job is removed for a slot, which may be due sooner than can be told from outside.
    fn replaces(&mut self, report: &Report) {
        let plan = report.unit.as_ref().and_then(|key| self.plans.get_mut(key));
        if let (Some(plan), Some(Field::Time(slot))) = (plan, report.fields.get("scheduled")) {
            plan.replacing = Some(slot.0);
        }
    }

    /// What is due and was not started.
    fn owed(&mut self, facts: &Facts, turn: &Turn<'_>) -> Verdict {
        let now = turn.clock.now().wall.0;
        for (key, plan) in &mut self.plans {
            let Some(slot) = plan.due(now) else { continue };
            let Some(Known { on: true, .. }) = facts.units.get(key) else { continue };
            if plan.spec.suspend {
                continue;
            }
            let open = self.untold > 0 || self.unread || facts.meddled.contains(key);
            if !open && !facts.shutdown && has_job_of(facts, turn, key, slot) {
                // Made in a time that the clock went through twice: adopted, whatever else runs and
                // however late that is.
                plan.passed(slot);
                continue;
            }
            if plan.late(slot, now) {
                continue;
            }
            let busy = plan.spec.concurrency_policy != ConcurrencyPolicy::Allow
                && !active(turn, key).is_empty();
            if busy {
                if plan.spec.concurrency_policy == ConcurrencyPolicy::Replace {
                    plan.replacing = Some(slot);
                }
                continue;
            }
            if open || plan.past_deadline(slot, now) || facts.shutdown {
                continue;
            }
            return Err(format!("{key} has lost the slot {slot}: it is {now}"));
        }
        Ok(())
    }
}

impl Invariant for Cron {
    fn committed(&mut self, facts: &Facts, turn: &Turn<'_>) -> Verdict {
        self.hear(turn.batch);
        for action in turn.effects {
            if let Action::UnitGone { unit } = action {
                self.plans.remove(unit);
            }
        }
        if turn.news.specs {
            self.refresh(facts);
        }
        if self.plans.is_empty() {
            return Ok(());
        }
        for action in turn.effects {
            let Action::Report(report) = action else { continue };
            match report.reason {
                Reason::CronTriggered => self.started(facts, turn, report)?,
                Reason::CronReplaced => self.replaces(report),
                _ => {}
            }
        }
        self.owed(facts, turn)
    }

    fn fault(&mut self, _: &Facts, _: &Machine, fault: &Fault) -> Verdict {
        match fault {
            Fault::ClockStepped { by, wall } => {
                self.untold += 1;
                for plan in self.plans.values_mut() {
                    if *by < 0 && plan.after.is_none_or(|after| after > wall + CLOCK_BACK_MAX) {
                        plan.after = None;
                        plan.look_ahead();
                    }
                }
            }
            // A new daemon reads the clock when it starts.
            Fault::DaemonStarted => (self.untold, self.unread) = (0, true),
            Fault::Rebooted | Fault::DaemonDied | Fault::DataGoing(_) | Fault::DataGone(_) => {}
        }
        Ok(())
    }
}

/// The cronjob's jobs that are not finished.
fn active(turn: &Turn<'_>, key: &UnitKey) -> Vec<String> {
    match turn.core.unit(key).map(|unit| unit.kind) {
        Some(KindView::CronJob(view)) => view.active,
        Some(KindView::Service | KindView::Job(_)) | None => Vec::new(),
    }
}

/// A job of the cronjob stands for this slot.
fn has_job_of(facts: &Facts, turn: &Turn<'_>, key: &UnitKey, slot: i64) -> bool {
    let own = facts.units.iter().filter(|(_, known)| known.owner.as_ref() == Some(key));
    own.filter_map(|(job, _)| super::job_view(turn.core, job))
        .any(|(view, _)| view.scheduled == Some(Wall(slot)))
}
