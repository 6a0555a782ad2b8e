//! What a made-up process does.
//!
//! Responsible for choosing the behaviour that applies to a start and for counting starts. Must
//! not know time or the core's state.

use super::script::{Attempt, Behaviour, Ready, Stop, Whose};
use crate::core::action::{Spawn, Step};
use crate::core::event::Exit;
use crate::core::id::{Kind, UnitKey};
use crate::core::signal;
use crate::core::spec::{ProbeHandler, ProbeSpec, UnitSpec};
use crate::core::time::Millis;
use crate::sim::machine::Temper;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How long a run of a job takes if no behaviour says otherwise.
const RUN: Millis = Millis(1_000);

/// All behaviours, and how many starts each has seen.
#[derive(Clone, Debug)]
pub(super) struct Behaviours {
    list: Vec<Behaviour>,
    starts: BTreeMap<(usize, String), usize>,
}

impl Behaviours {
    pub(super) fn new(list: Vec<Behaviour>) -> Behaviours {
        Behaviours { list, starts: BTreeMap::new() }
    }

    /// Lets a unit wait for its programs' word if the script says when they are ready and the
    /// unit itself does not ask: as if it had a readiness probe of the kind `notify`.
    pub(super) fn gate(&self, unit: &mut UnitSpec) {
        if unit.template.watchdog.is_some() {
            // Liveness probes succeed, and a watchdog is fed.
            Arc::make_mut(&mut unit.template).watchdog = None;
        }
        let name = unit.key.name.as_str();
        let of_unit = |whose: &Whose| match &whose.instance {
            Some(instance) => instance.strip_prefix(name).is_some_and(|rest| rest.starts_with('-')),
            None => {
                whose.unit.as_deref() == Some(name)
                    && whose.kind.is_none_or(|kind| kind == unit.key.kind)
            }
        };
        let slow = |behaviour: &Behaviour| {
            behaviour.ready != Ready::default() && of_unit(&behaviour.whose)
        };
        if unit.template.readiness.is_none() && self.list.iter().any(slow) {
            Arc::make_mut(&mut unit.template).readiness = Some(Box::new(ProbeSpec {
                handler: ProbeHandler::Notify,
                initial_delay: Millis::ZERO,
                period: Millis::from_secs(10),
                timeout: Millis::from_secs(1),
                success_threshold: 1,
                failure_threshold: 3,
            }));
        }
    }

    /// What the process of this start will be like. `owner`: the cronjob that made its job.
    pub(super) fn temper(&mut self, spawn: &Spawn, owner: Option<&UnitKey>) -> Temper {
        let number = match spawn.step {
            // Behaviours are about the program; what comes before it succeeds at once.
            Step::Init(_) => {
                return temper(
                    Attempt::Ends(Millis::ZERO, Exit::Code(0)),
                    Ready::default(),
                    Stop::default(),
                );
            }
            // Run beside a program, never started as one.
            Step::Hook(_) | Step::Probe(_) => None,
            Step::Main => self.choose(spawn, owner),
        };
        let usual = match spawn.unit.kind {
            Kind::Job | Kind::CronJob => Attempt::Ends(RUN, Exit::Code(0)),
            Kind::Deployment | Kind::StatefulSet | Kind::DaemonSet => Attempt::RunsOn,
        };
        let Some((number, behaviour)) = number.and_then(|n| Some((n, self.list.get(n)?))) else {
            return temper(usual, Ready::default(), Stop::default());
        };
        let seen = self.starts.entry((number, counted_by(spawn))).or_default();
        let attempt = behaviour.attempts.get(*seen).or(behaviour.attempts.last());
        *seen += 1;
        temper(attempt.copied().unwrap_or(usual), behaviour.ready, behaviour.stop)
    }

    /// The most particular behaviour; of several that are as particular, the last.
    fn choose(&self, spawn: &Spawn, owner: Option<&UnitKey>) -> Option<usize> {
        let fitting = self.list.iter().enumerate().filter(|(_, b)| fits(&b.whose, spawn, owner));
        fitting
            .max_by_key(|(_, b)| {
                let of_job = b.whose.unit.as_deref() == Some(spawn.unit.name.as_str());
                (b.whose.instance.is_some(), of_job, b.whose.revision.is_some())
            })
            .map(|(number, _)| number)
    }
}

fn fits(whose: &Whose, spawn: &Spawn, owner: Option<&UnitKey>) -> bool {
    let is = |key: &UnitKey| {
        whose.unit.as_deref().is_none_or(|name| name == key.name.as_str())
            && whose.kind.is_none_or(|kind| kind == key.kind)
    };
    let of_unit = is(&spawn.unit) || owner.is_some_and(is);
    let of_instance = whose.instance.as_ref().is_none_or(|name| *name == spawn.instance);
    let revision = || variable(spawn, "WSUP_REVISION").and_then(|text| text.parse().ok());
    let of_revision = whose.revision.is_none_or(|wanted| revision() == Some(wanted));
    of_unit && of_instance && of_revision
}

/// Starts are counted by what is tried again: a job or one of its indexes, whose tries are
/// instances of their own; otherwise the instance.
fn counted_by(spawn: &Spawn) -> String {
    match spawn.unit.kind {
        Kind::Job | Kind::CronJob => match variable(spawn, "WSUP_ORDINAL") {
            Some(index) => format!("{}#{index}", spawn.unit),
            None => spawn.unit.to_string(),
        },
        Kind::Deployment | Kind::StatefulSet | Kind::DaemonSet => spawn.instance.clone(),
    }
}

fn variable<'s>(spawn: &'s Spawn, name: &str) -> Option<&'s str> {
    spawn.vars.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
}

fn temper(attempt: Attempt, ready: Ready, stop: Stop) -> Temper {
    Temper {
        ends: match attempt {
            Attempt::RunsOn => None,
            Attempt::Ends(after, exit) => Some((after.0, exit)),
        },
        ready_in: match ready {
            Ready::After(span) => Some(span.0),
            Ready::Never => None,
        },
        stops_in: match stop {
            Stop::After(span) => Some((span.0, Exit::Signal(signal::TERM))),
            Stop::Never => None,
        },
        leaves: None,
        kill_takes: 0,
    }
}

/// Whether a signal ends a program that has made no arrangement for it (signal(7)).
pub(super) fn ends_a_program(number: i32) -> bool {
    !matches!(
        signal::name(number),
        Some(
            "SIGCHLD"
                | "SIGCONT"
                | "SIGURG"
                | "SIGWINCH"
                | "SIGSTOP"
                | "SIGTSTP"
                | "SIGTTIN"
                | "SIGTTOU"
        )
    )
}
