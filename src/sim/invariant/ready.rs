//! An instance with probes or a `post_start` hook is shown ready only after the hook has succeeded
//! and enough successes of its startup and readiness probes in a row were told for this very start;
//! it ceases to be ready only after enough failures in a row, and does then.
//!
//! Kubernetes semantics, section 9 ("before the first verdict ... readiness = failure", "count equal
//! results in a row") and section 11 (not running until `postStart` has returned).

use super::facts::{Facts, Place};
use super::tally::Tally;
use super::{Invariant, Turn, Verdict};
use crate::core::id::InstanceId;
use crate::core::instance::probe::Kind;
use crate::core::view::{InstanceState, InstanceView};

#[derive(Debug, Default)]
pub(super) struct Ready;

impl Invariant for Ready {
    fn committed(&mut self, facts: &Facts, turn: &Turn<'_>) -> Verdict {
        for key in &turn.news.touched {
            let has = |place: &Place| {
                let template = &place.template;
                template.startup.is_some()
                    || template.readiness.is_some()
                    || template.lifecycle.post_start.is_some()
            };
            if !facts.places.values().any(|place| place.unit == *key && has(place)) {
                continue;
            }
            for view in turn.core.instances_of(key) {
                let Some(place) = facts.places.get(&view.slot) else { continue };
                let id = InstanceId { slot: view.slot, generation: place.generation };
                if let Some(tally) = facts.tallies.get(id) {
                    shown(&view, tally)?;
                }
            }
        }
        for id in &turn.news.unready {
            let Some(tally) = facts.tallies.get(*id) else { continue };
            let Some(spec) = Kind::Readiness.spec(&tally.template) else {
                return Err(format!("{id} is not ready any more and has no readiness probe"));
            };
            let bad = tally.of(Kind::Readiness).bad;
            if bad < spec.failure_threshold {
                return Err(format!("{id} is not ready any more after {bad} failures in a row"));
            }
        }
        Ok(())
    }
}

fn shown(view: &InstanceView, tally: &Tally) -> Verdict {
    let template = &tally.template;
    let name = &view.name;
    let announced = template.lifecycle.post_start.is_none() || tally.announced;
    let readiness = tally.of(Kind::Readiness);
    let spec = template.readiness.as_deref();
    if view.ready {
        if !announced {
            return Err(format!("{name} is ready before its post_start hook has succeeded"));
        }
        if !tally.started() {
            return Err(format!("{name} is ready before a success of its startup probe"));
        }
        if spec.is_some() && !readiness.reached {
            return Err(format!("{name} is ready before its readiness probe has succeeded"));
        }
        if spec.is_some_and(|spec| readiness.bad >= spec.failure_threshold) {
            return Err(format!("{name} is ready after {} failures in a row", readiness.bad));
        }
        return Ok(());
    }
    let well = spec.is_none_or(|spec| readiness.good >= spec.success_threshold);
    // What a program said before its start was known is not remembered; it is told again.
    let said = template.startup.as_deref().is_some_and(|spec| spec.handler.is_pushed());
    let started = if said { tally.of(Kind::Startup).good > 0 } else { tally.started() };
    if view.state == InstanceState::Running && announced && started && well {
        return Err(format!("{name} has all it needs to be ready and is not"));
    }
    Ok(())
}
