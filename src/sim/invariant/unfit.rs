//! A process is ended for a probe only after as many failures in a row as its threshold says, told
//! for this very start since the last success, and is ended then; for a startup probe that waits for the
//! program's own word when the time for that is over; for a `post_start` hook only when that has failed or
//! has had its time.
//!
//! Kubernetes semantics, section 9 (liveness and startup verdict "failure": kill) and section 11 (a
//! failed `postStart` kills the program).

use super::facts::Facts;
use super::tally::Tally;
use super::{Invariant, Turn, Verdict};
use crate::core::id::InstanceId;
use crate::core::instance::probe::Kind;

/// A `post_start` hook has so long: ten minutes, in milliseconds.
const POST_START_MAX: u64 = 600_000;

#[derive(Debug, Default)]
pub(super) struct Unfit;

impl Invariant for Unfit {
    fn committed(&mut self, facts: &Facts, turn: &Turn<'_>) -> Verdict {
        for (id, why) in &turn.news.unfit {
            for_a_reason(facts, turn, *id, why)?;
        }
        for (id, tally) in facts.tallies.iter() {
            let is_over = || {
                let place = facts.places.get(&id.slot);
                turn.is_ending(facts, id)
                    || facts.known_ends.contains(id)
                    || place.is_none_or(|place| place.generation != id.generation)
                    || turn.news.is_gone(id.slot)
            };
            for kind in [Kind::Startup, Kind::Liveness] {
                let count = tally.of(kind);
                let limit = kind.spec(&tally.template).map(|spec| spec.failure_threshold);
                if count.fresh && limit.is_some_and(|limit| count.bad >= limit) && !is_over() {
                    let (word, bad) = (kind.as_str(), count.bad);
                    return Err(format!("{id} lives on after {bad} failures of its {word} probe"));
                }
            }
            let unannounced = tally.post_start.failed && !tally.announced;
            if unannounced && !is_over() {
                return Err(format!("{id} lives on after its post_start hook failed"));
            }
        }
        Ok(())
    }
}

/// Whether a program that is not asked whether it has started has been silent for too long.
fn is_late(tally: &Tally, at: u64) -> bool {
    let Some(spec) = Kind::Startup.spec(&tally.template) else { return false };
    let limit = spec.initial_delay.0 + spec.period.0 * u64::from(spec.failure_threshold);
    let since = tally.known_since.filter(|_| spec.handler.is_pushed());
    since.is_some_and(|since| at.saturating_sub(since) >= limit)
}

fn for_a_reason(facts: &Facts, turn: &Turn<'_>, id: InstanceId, why: &str) -> Verdict {
    let Some(tally) = facts.tallies.get(id) else {
        return Err(format!("{id} has neither probes nor hooks: {why}"));
    };
    for kind in [Kind::Startup, Kind::Liveness] {
        if why.starts_with(&format!("its {} probe failed", kind.as_str())) {
            let bad = tally.of(kind).bad;
            let limit = kind.spec(&tally.template).map(|spec| spec.failure_threshold);
            let silent = kind == Kind::Startup && is_late(tally, turn.at());
            if limit.is_none_or(|limit| bad < limit) && !silent {
                return Err(format!("{id} is ended after {bad} failures in a row: {why}"));
            }
            return Ok(());
        }
    }
    if !why.starts_with("its post_start hook failed") {
        return Err(format!("{id} is ended for no reason that there is: {why}"));
    }
    let late =
        tally.known_since.is_some_and(|since| turn.at().saturating_sub(since) >= POST_START_MAX);
    if tally.announced || !(tally.post_start.failed || late) {
        return Err(format!("{id} is ended though its hook has not failed: {why}"));
    }
    Ok(())
}
