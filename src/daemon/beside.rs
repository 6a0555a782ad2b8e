//! Hooks and probes: what is run beside an instance.
//!
//! Responsible for beginning them and for each having its one answer: a hook `HookDone`, a probe
//! `ProbeDone`, which the core drops if the start that it is about has ended meanwhile. Must not count
//! answers or decide what follows from one.

use super::execute::Hands;
use super::input::Input;
use super::plan::Question;
use super::probe;
use crate::core::action::{Hook, Spawn, Step};
use crate::core::event::Event;
use crate::core::id::InstanceId;
use crate::core::instance::probe::{Answer, Kind};
use crate::core::time::Millis;
use crate::runner::protocol::{Command, ExecEnd, ExecPlan};
use std::collections::BTreeMap;
use std::time::Duration;

/// What a program is run for.
#[derive(Clone, Copy, Debug)]
enum Purpose {
    Hook(Hook),
    Probe(Kind, Millis),
}

/// The programs under way: each instance has at most one hook and three probes at a time.
#[derive(Debug, Default)]
pub(super) struct Beside {
    last: u64,
    under_way: BTreeMap<u64, (InstanceId, Purpose)>,
}

impl Beside {
    fn begin(&mut self, id: InstanceId, purpose: Purpose) -> u64 {
        self.last += 1;
        self.under_way.insert(self.last, (id, purpose));
        self.last
    }

    /// Those whose answer will not come: their runner is lost, and their instances with it.
    pub(super) fn forget(&mut self, lost: impl Fn(InstanceId) -> bool) {
        self.under_way.retain(|_, (id, _)| !lost(*id));
    }

    /// One has ended. `None`: its time was over before.
    pub(super) fn done(&mut self, number: u64, end: ExecEnd, text: &str) -> Option<Event> {
        let (id, purpose) = self.under_way.remove(&number)?;
        Some(match purpose {
            Purpose::Hook(hook) => {
                let failure = match end {
                    ExecEnd::Exited(exit) if exit.is_success() => None,
                    ExecEnd::Exited(exit) => Some(exit.to_string()),
                    ExecEnd::Failed(message) => Some(message),
                };
                Event::HookDone { id, hook, failure }
            }
            Purpose::Probe(kind, _) => {
                // kubelet prober `exec.go`: what ran and did not exit 0 is a failure; what could not
                // be run says nothing about the program.
                let (answer, message) = match end {
                    ExecEnd::Exited(exit) if exit.is_success() => (Answer::Success, String::new()),
                    ExecEnd::Exited(exit) => (Answer::Failure, with_text(exit.to_string(), text)),
                    ExecEnd::Failed(message) => (Answer::Error, message),
                };
                Event::ProbeDone { id, kind, answer, message }
            }
        })
    }
}

impl Hands {
    /// Runs a hook.
    pub(super) fn run_hook(&mut self, spawn: &Spawn) -> Option<Event> {
        let Step::Hook(hook) = spawn.step else { return None };
        let id = spawn.id;
        let planned = self.planner.plan(spawn);
        let sent = planned.and_then(|plan| {
            let number = self.beside.begin(id, Purpose::Hook(hook));
            let sent = self.runners.exec(ExecPlan { number, capture: false, plan });
            self.sent(number, sent)
        });
        sent.err().map(|message| Event::HookDone { id, hook, failure: Some(message) })
    }

    /// Asks a probe's question.
    pub(super) fn ask(&mut self, spawn: &Spawn) -> Option<Event> {
        let Step::Probe(kind) = spawn.step else { return None };
        let id = spawn.id;
        let timeout = kind.spec(&spawn.template)?.timeout;
        let asked = self.planner.question(spawn, kind).and_then(|question| match question {
            Question::Exec(plan) => {
                let number = self.beside.begin(id, Purpose::Probe(kind, timeout));
                let sent = self.runners.exec(ExecPlan { number, capture: true, plan: *plan });
                self.sent(number, sent)?;
                self.inputs.send_after(duration(timeout), Input::ProbeLate(number));
                Ok(())
            }
            Question::Connect(target) => {
                let inputs = self.inputs.clone();
                tokio::spawn(async move {
                    let (answer, message) = probe::ask(&target, timeout).await;
                    inputs.send(Input::Done(Event::ProbeDone { id, kind, answer, message }));
                });
                Ok(())
            }
        });
        let message = asked.err()?;
        Some(Event::ProbeDone { id, kind, answer: Answer::Error, message })
    }

    /// What could not be sent is not under way.
    fn sent(&mut self, number: u64, sent: Result<(), String>) -> Result<(), String> {
        if sent.is_err() {
            self.beside.under_way.remove(&number);
        }
        sent
    }

    /// The time of a probe by exec is over: it is killed, and counts as failed (kubelet
    /// `ExecProbeTimeout`).
    pub(super) fn probe_late(&mut self, number: u64) -> Option<Event> {
        let (id, purpose) = self.beside.under_way.remove(&number)?;
        self.runners.command(id, Command::KillExec { number });
        self.runners.flush();
        match purpose {
            Purpose::Hook(_) => None,
            Purpose::Probe(kind, timeout) => {
                let message = probe::late(timeout);
                Some(Event::ProbeDone { id, kind, answer: Answer::Failure, message })
            }
        }
    }
}

/// A span of time as the system's.
pub(super) fn duration(millis: Millis) -> Duration {
    Duration::from_millis(millis.0)
}

/// The first line of what it wrote explains most.
fn with_text(how: String, text: &str) -> String {
    match text.lines().map(str::trim).find(|line| !line.is_empty()) {
        Some(line) => format!("{how}: {}", probe::shown(line)),
        None => how,
    }
}
