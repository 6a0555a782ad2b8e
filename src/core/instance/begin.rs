//! How a run of an instance begins: at once, when what it depends on is there, when the storm guard
//! lets it, or because an operator wishes it.
//!
//! Responsible for the ways to a start; what follows from one is in `health`. Must not decide whether
//! a program that ended is started again: that is `restart`'s.

use super::restart::Streak;
use super::{Effect, Instance, Program, State, Waiting};
use crate::core::guard::{Hold, PROMPT};
use crate::core::time::Now;

impl Instance {
    pub(super) fn begin(&mut self, now: Now, effects: &mut Vec<Effect>) {
        match self.state {
            State::Pending { .. } if !self.leaving && !self.held => {
                let program = self.next_program();
                match self.last_end {
                    None => self.launch(program, effects),
                    // It has waited for what it depends on, or for a daemon.
                    Some(_) => self.launch_again(now, program, false, effects),
                }
            }
            // What it depends on has gone meanwhile.
            State::Queued { program, .. } if self.gated => self.launch(program, effects),
            State::Pending { .. }
            | State::Starting { .. }
            | State::Init { .. }
            | State::PostStart { .. }
            | State::Running { .. }
            | State::Stopping { .. }
            | State::Backoff { .. }
            | State::Queued { .. }
            | State::Succeeded
            | State::Failed { .. }
            | State::GaveUp => {}
        }
    }

    pub(super) fn next_program(&self) -> Program {
        if self.initialised || self.template.init.is_empty() {
            Program::Main
        } else {
            Program::Init(0)
        }
    }

    /// Begins a run, or waits until one may.
    pub(super) fn launch(&mut self, program: Program, effects: &mut Vec<Effect>) {
        if !self.gated {
            return self.spawn(program, effects);
        }
        let why = Waiting::Dependencies;
        if self.state != (State::Pending { why }) {
            self.state = State::Pending { why };
            effects.push(Effect::Waits);
        }
    }

    /// Begins a run of a program that has run before: when the storm guard lets it. `prompt`: right
    /// after its end.
    fn launch_again(
        &mut self,
        now: Now,
        program: Program,
        prompt: bool,
        effects: &mut Vec<Effect>,
    ) {
        let held = match self.guard {
            None => false,
            Some(Hold::Waiting) => !prompt,
            Some(Hold::All) => true,
        };
        if held && !self.gated {
            self.state = State::Queued { since: now.mono, program };
        } else {
            self.launch(program, effects);
        }
    }

    pub(super) fn admitted(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if let State::Queued { program, .. } = self.state {
            self.streak.began(now.mono);
            self.launch(program, effects);
        }
    }

    pub(super) fn spawn(&mut self, program: Program, effects: &mut Vec<Effect>) {
        self.generation = self.generation.saturating_add(1);
        (self.early, self.says, self.reloading) = (Vec::new(), None, false);
        self.state = State::Starting { program };
        effects.push(Effect::Spawn(program));
    }

    pub(super) fn start_again(&mut self, now: Now, program: Program, effects: &mut Vec<Effect>) {
        self.streak.restarted(&self.template.restart, now.mono);
        self.restarts = self.restarts.saturating_add(1);
        let prompt = self.last_end.is_some_and(|end| now.mono.since(end.at) < PROMPT);
        self.launch_again(now, program, prompt, effects);
    }

    pub(super) fn release(&mut self, effects: &mut Vec<Effect>) {
        self.held = false;
        match self.state {
            // An end of GaveUp, Backoff or Queued by an operator: begin anew, at once.
            State::GaveUp
            | State::Backoff { .. }
            | State::Queued { .. }
            | State::Pending { .. } => {
                self.streak = Streak::default();
                self.state = State::Pending { why: Waiting::New };
                if !self.leaving {
                    self.launch(self.next_program(), effects);
                }
            }
            // While it stops, the end of that finds `held` unset and starts it again.
            State::Stopping { .. }
            | State::Starting { .. }
            | State::Init { .. }
            | State::PostStart { .. }
            | State::Running { .. }
            | State::Succeeded
            | State::Failed { .. } => {}
        }
    }
}
