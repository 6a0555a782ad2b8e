//! What is known of jobs from outside: how their runs ended, as far as that can be told.
//!
//! Responsible for counting by Kubernetes' rules from ends of processes alone (semantics, section
//! 6: failure counting, failure policy, per-index limit). Written apart from `core::workload::job`;
//! must not judge.

use super::Fault;
use super::facts::{Facts, News};
use crate::core::Core;
use crate::core::action::Action;
use crate::core::event::{Event, Exit};
use crate::core::id::{Kind, UnitKey};
use crate::core::report::Reason;
use crate::core::request::{Request, Target};
use crate::core::spec::{
    FailureAction, InstanceTemplate, JobSpec, RestartPolicy, UnitSpec, WorkloadSpec,
};
use crate::sim::machine::Machine;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A program that cannot be started counts as one that ended with this code.
const NOT_STARTED: i32 = 127;

/// What is known of one job's present run.
#[derive(Debug)]
pub(in super::super) struct Ledger {
    /// The spec in force.
    pub(super) spec: JobSpec,
    /// The restart policy of the run: of the template that it was made from.
    pub(super) policy: RestartPolicy,
    pub(super) succeeded: u32,
    /// Runs that ended well after they were asked to end: they may count or not.
    pub(super) perhaps_succeeded: u32,
    /// Runs that count as failed.
    pub(super) failed: u32,
    /// Ends that were not good, counted or not: with `on_failure` each is a restart in place.
    pub(super) bad_ends: u32,
    /// The number of failed runs cannot be told from outside any more: a run was asked to end (it
    /// depends on why whether it counts), an operator or a reboot took part, or the rules changed.
    pub(super) unsure: bool,
    /// Somebody asked for another run, so the counts begin anew at some time.
    pub(super) renewed: bool,
    /// Another run has begun; whether it is the one asked for shows in what it starts. The file
    /// may have changed twice in one turn.
    begun: bool,
    /// It was finished after the last turn, and how.
    pub(super) finished: Option<bool>,
    pub(super) done: BTreeSet<u32>,
    /// Failures of each index.
    failures: BTreeMap<u32, u32>,
    /// Indexes that are not to be tried again.
    pub(super) given_up: BTreeSet<u32>,
    /// A rule of the failure policy said that the job fails.
    pub(super) fail_job: bool,
    /// It had a deadline at some time.
    pub(super) deadline: bool,
    /// What its present run was made from.
    template: Option<Arc<InstanceTemplate>>,
}

impl Ledger {
    fn new(spec: &JobSpec, template: &Arc<InstanceTemplate>) -> Ledger {
        Ledger {
            spec: spec.clone(),
            policy: template.restart.policy,
            succeeded: 0,
            perhaps_succeeded: 0,
            failed: 0,
            bad_ends: 0,
            unsure: false,
            renewed: false,
            begun: false,
            finished: None,
            done: BTreeSet::new(),
            failures: BTreeMap::new(),
            given_up: BTreeSet::new(),
            fail_job: false,
            deadline: spec.active_deadline.is_some(),
            template: Some(Arc::clone(template)),
        }
    }

    /// A run failed by itself.
    fn fail(&mut self, exit: Exit, index: Option<u32>) {
        self.bad_ends += 1;
        if self.policy != RestartPolicy::Never {
            // It is started again in place, and is no failed run until it is given up.
            return;
        }
        let code = match exit {
            Exit::Code(code) => Some(code),
            Exit::Signal(signal) => Some(128 + signal),
            Exit::OomKilled => Some(128 + 9),
            Exit::Unknown => None,
        };
        let rule = self.spec.failure_policy.iter().find(|rule| {
            code.is_some_and(|code| code != 0 && rule.exit_codes.contains(&code) != rule.negate)
        });
        let action = rule.map_or(FailureAction::Count, |rule| rule.action);
        if action == FailureAction::Ignore {
            return;
        }
        self.failed += 1;
        self.fail_job |= action == FailureAction::FailJob;
        if let (Some(index), Some(limit)) = (index, self.spec.backoff_limit_per_index) {
            let failures = self.failures.entry(index).or_default();
            *failures += 1;
            if action == FailureAction::FailIndex || *failures > limit {
                self.given_up.insert(index);
            }
        }
    }

    /// A rule of the success policy is met for certain.
    pub(super) fn success_rule_met(&self) -> bool {
        let completions = self.spec.completions.unwrap_or(0);
        !self.done.is_empty()
            && self.spec.success_policy.iter().any(|rule| {
                let listed = |index: &u32| match &rule.indexes {
                    Some(ranges) => ranges.iter().any(|(a, b)| a <= index && index <= b),
                    None => *index < completions,
                };
                let met = self.done.iter().filter(|index| listed(index)).count();
                match (rule.count, &rule.indexes) {
                    (Some(needed), _) => met >= needed as usize,
                    (None, Some(ranges)) => {
                        let all: u32 = ranges.iter().map(|(a, b)| b - a + 1).sum();
                        all > 0 && met >= all as usize
                    }
                    (None, None) => false,
                }
            })
    }
}

/// All jobs.
#[derive(Debug, Default)]
pub(in super::super) struct Ledgers {
    jobs: BTreeMap<UnitKey, Ledger>,
}

impl Ledgers {
    pub(super) fn get(&self, key: &UnitKey) -> Option<&Ledger> {
        self.jobs.get(key)
    }

    pub(super) fn before_event(&mut self, meddled: &BTreeSet<UnitKey>, event: &Event) {
        match event {
            Event::Shutdown => self.jobs.values_mut().for_each(|job| job.unsure = true),
            Event::Request(request) => self.note_request(meddled, request),
            _ => {}
        }
    }

    fn note_request(&mut self, meddled: &BTreeSet<UnitKey>, request: &Request) {
        match request {
            Request::Start(_)
            | Request::Stop(_)
            | Request::Restart(_)
            | Request::Delete(_)
            | Request::Reload(_)
            | Request::Signal(..) => {}
            // These end no run without its being told of.
            Request::Scale(..)
            | Request::Undo(..)
            | Request::Pause(_)
            | Request::ResumeRollout(_)
            | Request::RolloutRestart(_)
            | Request::Suspend(_)
            | Request::Resume(_)
            | Request::Trigger(..) => return,
        }
        for key in meddled {
            if let Some(job) = self.jobs.get_mut(key) {
                job.unsure = true;
            }
        }
        if let Request::Restart(Target::Unit(key)) = request
            && let Some(job) = self.jobs.get_mut(key)
        {
            job.renewed = true;
        }
    }

    pub(super) fn fault(&mut self, fault: &Fault) {
        if let Fault::Rebooted = fault {
            self.jobs.values_mut().for_each(|job| job.unsure = true);
        }
    }

    /// Takes in what a turn brought. `facts` has it already.
    pub(super) fn turn(
        &mut self,
        facts: &Facts,
        machine: &Machine,
        effects: &[Action],
        news: &News,
    ) {
        // What was there is no more, though one of the same name may have come in the same turn.
        let gone = |action: &Action| match action {
            Action::UnitGone { unit } => Some(unit.clone()),
            _ => None,
        };
        let gone: BTreeSet<UnitKey> = effects.iter().filter_map(gone).collect();
        self.jobs.retain(|key, _| !gone.contains(key));
        if news.specs {
            let jobs = facts.units.iter().filter(|(key, _)| key.kind == Kind::Job);
            jobs.for_each(|(key, known)| self.refresh(key, &known.spec));
        }
        // What the file said between two changes of one turn is not seen, and may have begun a run.
        for unit in applied_twice(effects) {
            if let Some(job) = self.jobs.get_mut(unit) {
                job.renewed = true;
            }
        }
        // One that is unfit may be wished gone before it has ended, of which nothing is told.
        let unfit = news.unfit.iter().map(|(id, _)| id);
        for id in news.wished.iter().chain(unfit) {
            // Whether it counts depends on why it has to end.
            if let Some(place) = facts.places.get(&id.slot)
                && let Some(job) = self.jobs.get_mut(&place.unit)
            {
                job.unsure = true;
            }
        }
        for (id, exit) in &news.ends {
            let Some(process) = machine.processes.get(id) else { continue };
            let Some(job) = self.jobs.get_mut(&process.unit) else { continue };
            if gone.contains(&process.unit) {
                continue;
            }
            let asked = facts.ending.contains(id) || news.ending.contains(id);
            match exit {
                Exit::Code(0) if !process.main => {}
                Exit::Code(0) if asked => job.perhaps_succeeded += 1,
                Exit::Code(0) => {
                    job.succeeded += 1;
                    job.done.extend(process.index);
                }
                Exit::Code(_) | Exit::Signal(_) | Exit::OomKilled | Exit::Unknown if asked => {
                    job.unsure = true;
                }
                Exit::Code(_) | Exit::Signal(_) | Exit::OomKilled | Exit::Unknown => {
                    job.fail(*exit, process.index);
                }
            }
        }
        for id in &news.refusals {
            let Some(place) = facts.places.get(&id.slot) else { continue };
            let Some(job) = self.jobs.get_mut(&place.unit) else { continue };
            if gone.contains(&place.unit) {
                continue;
            }
            if facts.ending.contains(id) || news.ending.contains(id) {
                job.unsure = true;
            } else {
                job.fail(Exit::Code(NOT_STARTED), place.index);
            }
        }
        self.see(effects);
    }

    fn see(&mut self, effects: &[Action]) {
        for action in effects {
            match action {
                Action::Report(report) if report.reason == Reason::JobStarted => {
                    if let Some(job) = report.unit.as_ref().and_then(|key| self.jobs.get_mut(key))
                        && job.renewed
                        && let Some(template) = job.template.clone()
                    {
                        let anew = Ledger::new(&job.spec, &template);
                        *job = Ledger { renewed: true, begun: true, ..anew };
                    }
                }
                Action::Spawn(spawn) => {
                    if let Some(job) = self.jobs.get_mut(&spawn.unit)
                        && job.begun
                        && job.template.as_ref() == Some(&spawn.template)
                    {
                        (job.renewed, job.begun) = (false, false);
                    }
                }
                _ => {}
            }
        }
    }

    fn refresh(&mut self, key: &UnitKey, spec: &UnitSpec) {
        let WorkloadSpec::Job(new) = &spec.workload else { return };
        let job = self.jobs.entry(key.clone()).or_insert_with(|| Ledger::new(new, &spec.template));
        // The rules by which ends are counted are not to change; a file may yet say otherwise.
        let old = &job.spec;
        job.unsure |= old.failure_policy != new.failure_policy
            || old.backoff_limit != new.backoff_limit
            || old.backoff_limit_per_index != new.backoff_limit_per_index
            || old.indexed != new.indexed
            || old.completions != new.completions;
        job.deadline |= new.active_deadline.is_some();
        job.spec = new.clone();
        if job.template.as_ref() != Some(&spec.template) {
            // Another template means another run, once the present one has ended.
            job.renewed = true;
            job.unsure |= job.policy != spec.template.restart.policy;
            job.template = Some(Arc::clone(&spec.template));
        }
    }

    /// Notes how jobs stand after a turn.
    pub(super) fn turned(&mut self, core: &Core, news: &News) {
        for (key, job) in self.jobs.iter_mut().filter(|(key, _)| news.touched.contains(*key)) {
            job.finished = super::job_view(core, key).and_then(|(view, _)| view.finished);
        }
    }
}

/// The units whose files were found changed twice in one turn.
fn applied_twice(effects: &[Action]) -> impl Iterator<Item = &UnitKey> {
    let mut seen = BTreeSet::new();
    effects.iter().filter_map(move |action| match action {
        Action::Report(report) if report.reason == Reason::UnitApplied => {
            report.unit.as_ref().filter(|unit| !seen.insert(*unit))
        }
        _ => None,
    })
}
