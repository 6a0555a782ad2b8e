//! What controllers see of an instance.
//!
//! Responsible for which of its changes a controller may hear of: whatever is not here changes
//! without one. Must not change an instance.

use super::{Instance, State};
use crate::core::time::Mono;
use crate::core::workload::Observed;

/// How a running program stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    pub(super) ready_since: Option<Mono>,
    /// Its startup probe is not asked again for this process, whoever's daemon it is.
    started: bool,
}

impl Instance {
    /// How its program stands, while it runs. As long as that stays the same, its probes only
    /// went on counting.
    pub fn standing(&self) -> Option<Standing> {
        match self.state {
            State::Running { ready_since, ref probes, .. } => {
                let started = probes.as_ref().is_none_or(|probes| probes.started());
                Some(Standing { ready_since, started })
            }
            State::Pending { .. }
            | State::Starting { .. }
            | State::Init { .. }
            | State::PostStart { .. }
            | State::Stopping { .. }
            | State::Backoff { .. }
            | State::Queued { .. }
            | State::Succeeded
            | State::Failed { .. }
            | State::GaveUp => None,
        }
    }

    /// What a controller sees of it.
    pub fn observed(&self) -> Observed {
        Observed {
            slot: self.slot,
            name: self.name.clone(),
            set: self.set,
            identity: self.identity.clone(),
            phase: self.phase(),
            ready_since: self.ready_since(),
            terminating: self.leaving,
            created: self.created.mono,
            restarts: self.restarts,
            exit: self.last_end.map(|end| end.exit),
            ended: self.last_end.map(|end| end.at),
            start_failure: self.last_failure.clone(),
        }
    }

    /// Writes what a controller sees of it now over what one saw of it before. Returns whether
    /// that differs.
    pub fn show(&self, seen: &mut Observed) -> bool {
        let (exit, ended) = (self.last_end.map(|end| end.exit), self.last_end.map(|end| end.at));
        let (phase, ready_since) = (self.phase(), self.ready_since());
        let same = seen.phase == phase
            && seen.ready_since == ready_since
            && seen.terminating == self.leaving
            && seen.restarts == self.restarts
            && seen.exit == exit
            && seen.ended == ended
            && seen.start_failure == self.last_failure;
        seen.phase = phase;
        seen.ready_since = ready_since;
        seen.terminating = self.leaving;
        seen.restarts = self.restarts;
        seen.exit = exit;
        seen.ended = ended;
        if !same {
            seen.start_failure.clone_from(&self.last_failure);
        }
        !same
    }
}
