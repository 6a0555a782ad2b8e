//! How an instance is brought to its end: the hook, the signal, the grace period, SIGKILL.
//!
//! Responsible for the ladder of `pkg/kubelet/kuberuntime/kuberuntime_container.go`
//! (`killContainer`, `executePreStopHook`) and for what follows when nothing lives any more. Must
//! not decide whether an instance is to end.

use super::restart::Streak;
use super::{Effect, Instance, Program, State, Waiting};
use crate::core::action::Hook;
use crate::core::event::Exit;
use crate::core::report::{Reason, Severity};
use crate::core::time::{Millis, Mono, Now, Wall};
use crate::core::workload::Note;
use serde::{Deserialize, Serialize};

/// How long SIGKILL may take before people are told that something does not die, and SIGKILL is
/// sent again. Doubles each time, up to [`KILL_RETRY_MAX`].
pub const KILL_RETRY: Millis = Millis::from_secs(10);
/// The longest pause between two SIGKILLs to a tree that does not die.
pub const KILL_RETRY_MAX: Millis = Millis::from_secs(600);
/// However long a `pre_stop` hook took, the program has so much time after the stop signal
/// (`minimumGracePeriodInSeconds`).
pub const GRACE_AFTER_HOOK: Millis = Millis::from_secs(2);

/// How far the ladder has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rung {
    /// The `pre_stop` hook runs. It counts against the grace period and is given up at its end.
    Hook {
        /// Since when.
        since: Mono,
        /// When it is given up.
        until: Mono,
    },
    /// It ends by itself, as it says (`STOPPING=1`): nobody has asked it to.
    Own {
        /// When SIGKILL is due.
        kill_at: Mono,
    },
    /// The stop signal was sent.
    Asked {
        /// When SIGKILL is due (again).
        kill_at: Mono,
        /// How often SIGKILL was sent.
        kills: u32,
    },
}

impl Rung {
    /// When the next rung is due; `extended`: how long the program has asked to be waited for.
    pub fn due(self, extended: Option<Mono>) -> Mono {
        let (due, may_wait) = match self {
            Rung::Hook { until, .. } => (until, true),
            Rung::Own { kill_at } => (kill_at, true),
            Rung::Asked { kill_at, kills } => (kill_at, kills == 0),
        };
        extended.filter(|_| may_wait).map_or(due, |extended| due.max(extended))
    }
}

/// What follows when nothing lives any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Then {
    /// What was wished: it goes, rests or begins anew.
    Wish,
    /// What the restart policy says of its end: a probe or a hook found it unfit.
    Judge,
}

impl Instance {
    /// Begins to stop because somebody wishes it: for good, for a while, or to start again, as
    /// the flags say in the end.
    pub(super) fn stop(&mut self, now: Now, effects: &mut Vec<Effect>) {
        match &mut self.state {
            State::Starting { .. }
            | State::Init { .. }
            | State::PostStart { .. }
            | State::Running { .. } => self.begin_to_stop(now, Then::Wish, "", effects),
            // It has only said so, and ends for another reason than this wish.
            State::Stopping { rung: Rung::Own { .. }, .. } => {
                self.begin_to_stop(now, Then::Wish, "", effects);
            }
            // The wish counts for more than what would have followed.
            State::Stopping { then, .. } => *then = Then::Wish,
            State::Pending { .. }
            | State::Backoff { .. }
            | State::Queued { .. }
            | State::Succeeded
            | State::Failed { .. }
            | State::GaveUp => {
                if self.leaving {
                    effects.push(Effect::Gone);
                } else if self.held
                    && matches!(
                        self.state,
                        State::Pending { .. }
                            | State::Backoff { .. }
                            | State::Queued { .. }
                            | State::GaveUp
                    )
                {
                    self.rest();
                }
            }
        }
    }

    /// Begins to stop a process. `why` stands before what is told.
    pub(super) fn begin_to_stop(
        &mut self,
        now: Now,
        then: Then,
        why: &str,
        effects: &mut Vec<Effect>,
    ) {
        let grace = self.template.process.termination_grace_period;
        let has_hook = self.template.lifecycle.pre_stop.is_some() && grace > Millis::ZERO;
        // Before a program that has not begun yet, and before an init step, there is no hook.
        let hook = has_hook
            && match self.state {
                State::PostStart { .. } | State::Running { .. } => true,
                State::Pending { .. }
                | State::Starting { .. }
                | State::Init { .. }
                | State::Stopping { .. }
                | State::Backoff { .. }
                | State::Queued { .. }
                | State::Succeeded
                | State::Failed { .. }
                | State::GaveUp => false,
            };
        let pid = self.pid();
        let until = now.mono.plus(grace);
        let rung = if hook {
            Rung::Hook { since: now.mono, until }
        } else {
            Rung::Asked { kill_at: until, kills: 0 }
        };
        self.state = State::Stopping { pid, rung, then, extended: None };
        let told = format!("{why}asked to end, killed after {grace}");
        effects.push(Effect::Tell(Note::normal(Reason::InstanceStopping, told)));
        effects.push(if hook {
            Effect::Hook(Hook::PreStop)
        } else {
            Effect::Terminate(self.template.process.stop_signal)
        });
    }

    /// The `pre_stop` hook has returned or is given up; `failure`: how it failed. Its failure is
    /// only told, and the signal follows in any case.
    pub(super) fn pre_stop_done(
        &mut self,
        now: Now,
        failure: Option<&str>,
        effects: &mut Vec<Effect>,
    ) {
        let State::Stopping { rung, .. } = &mut self.state else { return };
        let Rung::Hook { since, .. } = *rung else { return };
        // Whole seconds are taken off, as Kubernetes does it.
        let took = Millis(now.mono.since(since).0 / 1_000 * 1_000);
        let grace = self.template.process.termination_grace_period;
        let left = Millis(grace.0.saturating_sub(took.0)).max(GRACE_AFTER_HOOK);
        *rung = Rung::Asked { kill_at: now.mono.plus(left), kills: 0 };
        if let Some(failure) = failure {
            let message = format!("pre_stop hook: {failure}");
            effects.push(Effect::Tell(Note::warning(Reason::HookFailed, message)));
        }
        effects.push(Effect::Terminate(self.template.process.stop_signal));
    }

    /// The time of a rung is over.
    pub(super) fn next_rung(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let State::Stopping { rung, extended, .. } = &mut self.state else { return };
        if rung.due(*extended) > now.mono {
            return;
        }
        let grace = self.template.process.termination_grace_period;
        let longer = match extended.take() {
            Some(_) => " and the time that it has asked for",
            None => "",
        };
        if let Rung::Own { kill_at } = *rung {
            *rung = Rung::Asked { kill_at, kills: 0 };
        }
        let Rung::Asked { kill_at, kills } = rung else {
            let failure = format!("did not end within the grace period of {grace}, given up");
            return self.pre_stop_done(now, Some(&failure), effects);
        };
        let pause = Millis(KILL_RETRY.0 << (*kills).min(10)).min(KILL_RETRY_MAX);
        let message = if *kills == 0 {
            format!("did not end within {grace}{longer}, killed")
        } else {
            "still there after SIGKILL: it hangs in the kernel; killed again".to_owned()
        };
        *kills = kills.saturating_add(1);
        *kill_at = now.mono.plus(pause);
        effects.push(Effect::Kill);
        effects.push(Effect::Tell(Note::warning(Reason::InstanceKilled, message)));
    }

    /// Nothing of it lives any more, after it was asked to end. `exit`: how and when it ended,
    /// unless its start failed.
    pub(super) fn stopped(
        &mut self,
        now: Now,
        then: Then,
        exit: Option<(Exit, Mono, Wall)>,
        effects: &mut Vec<Effect>,
    ) {
        let wished = self.leaving || self.held;
        if let (Then::Judge, Some((exit, at, wall)), false) = (then, exit, wished) {
            return self.program_ended(now, Program::Main, exit, at, wall, effects);
        }
        if let Some((exit, ..)) = exit {
            // However it ends, it was asked to: nobody need worry.
            let note = super::exit_note(exit, None);
            effects.push(Effect::Tell(Note { severity: Severity::Normal, ..note }));
        }
        if self.leaving {
            effects.push(Effect::Gone);
        } else if self.held {
            self.rest();
        } else {
            self.streak = Streak::default();
            self.initialised = false;
            self.restarts = self.restarts.saturating_add(1);
            self.streak.restarted(&self.template.restart, now.mono);
            let program = self.next_program();
            self.launch(program, effects);
        }
    }

    /// Waits for an operator.
    fn rest(&mut self) {
        self.state = State::Pending { why: Waiting::Held };
        self.streak = Streak::default();
        self.initialised = false;
    }
}
