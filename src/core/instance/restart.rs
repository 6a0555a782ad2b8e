//! Whether and when a process that ended is started again.
//!
//! Responsible for the back-off and the crash-loop limit. Must not read a clock or change an
//! instance: it gives a [`Verdict`].

use crate::core::event::Exit;
use crate::core::spec::{Backoff, RestartPolicy, RestartSpec};
use crate::core::time::{Millis, Mono};
use serde::{Deserialize, Serialize};

/// At most so many restarts are remembered for `[restart] limit`; the unit file allows no
/// greater `count`.
pub const LIMIT_COUNT_MAX: u32 = 1_000;

/// What an instance remembers of its restarts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Streak {
    /// The delay that the next restart will wait; `None`: the next is the first, at once.
    delay: Option<Millis>,
    /// When the program was last started again.
    last_restart: Option<Mono>,
    /// The restarts that `[restart] limit` still counts, oldest first.
    recent: Vec<Mono>,
}

/// What follows an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Start again at this instant, which may be now.
    Again(Mono),
    /// It is done: exit 0 and no restart wanted.
    Succeeded,
    /// It failed and no restart is wanted.
    Failed,
    /// It was restarted too often.
    GaveUp,
}

impl Streak {
    /// Decides what follows the end of the main program at `ended`.
    ///
    /// The delays are Kubernetes' (`kuberuntime_manager.go` `doBackOff`): the first restart is
    /// immediate, the next waits `initial`, each further one `factor` times as long up to `max`;
    /// a program that ended more than `reset_after` after its last restart begins anew.
    pub fn judge(&mut self, spec: &RestartSpec, exit: Exit, ended: Mono, now: Mono) -> Verdict {
        let again = match spec.policy {
            RestartPolicy::Always => true,
            RestartPolicy::OnFailure => !exit.is_success(),
            RestartPolicy::Never => false,
        };
        if !again {
            return if exit.is_success() { Verdict::Succeeded } else { Verdict::Failed };
        }
        if let Some(limit) = spec.limit {
            let since = now.minus(limit.within);
            self.recent.retain(|at| *at > since);
            if self.recent.len() >= limit.count.min(LIMIT_COUNT_MAX) as usize {
                return Verdict::GaveUp;
            }
        }
        Verdict::Again(self.next_start(&spec.backoff, ended).max(now))
    }

    fn next_start(&mut self, backoff: &Backoff, ended: Mono) -> Mono {
        let fresh = match self.last_restart {
            None => true,
            Some(last) => ended.since(last) > backoff.reset_after,
        };
        match self.delay {
            Some(delay) if !fresh => {
                self.delay = Some(delay.scaled(backoff.factor_milli).min(backoff.max));
                ended.plus(delay)
            }
            Some(_) | None => {
                self.delay = Some(backoff.initial.min(backoff.max));
                ended
            }
        }
    }

    /// The storm guard has let it begin only now.
    pub fn began(&mut self, at: Mono) {
        self.last_restart = Some(at);
    }

    /// Notes that the program is started again at `at`.
    pub fn restarted(&mut self, spec: &RestartSpec, at: Mono) {
        self.last_restart = Some(at);
        if spec.limit.is_some() {
            if self.recent.len() >= LIMIT_COUNT_MAX as usize {
                self.recent.remove(0);
            }
            self.recent.push(at);
        }
    }
}
