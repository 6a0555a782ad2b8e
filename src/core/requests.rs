//! What operators ask for: checks whether it makes sense, changes specs and flags, and leaves
//! the rest to the controllers.
//!
//! Responsible for the meaning of every `wsup ctl` verb that changes something. Must not decide
//! how many instances run or in what order.

use super::action::{Action, Hook, Step};
use super::id::{Kind, Revision, UnitKey, UnitName};
use super::instance::{Input, State};
use super::managed::{Buried, Memory, Unit, paused_of, replicas_of, suspend_of};
use super::report::Reason;
use super::request::{Answer, Done, Refusal, Request, Target};
use super::spec::{Reload, UnitSpec, WorkloadSpec};
use super::time::Now;
use super::workload::{NewJob, Note, cronjob, history};
use super::{Core, signal};
use std::sync::Arc;

/// A deployment or statefulset has at most so many replicas: what one machine can bear, and far
/// below what would exhaust slots.
const REPLICAS_MAX: u32 = 100_000;

impl Core {
    pub(super) fn request(&mut self, now: Now, request: Request) -> Answer {
        match request {
            Request::Start(target) => self.start(now, &target),
            Request::Stop(target) => self.stop(now, &target),
            Request::Restart(target) => self.restart(now, &target),
            Request::Signal(target, signal) => self.signal(&target, signal),
            Request::Reload(target) => self.reload(now, &target),
            Request::Delete(target) => self.delete(now, &target),
            Request::Scale(key, replicas) => self.scale(&key, replicas),
            Request::Undo(key, to) => self.undo(now, &key, to),
            Request::Pause(key) => self.set_paused(&key, true),
            Request::ResumeRollout(key) => self.set_paused(&key, false),
            Request::RolloutRestart(key) => self.rollout_restart(now, &key),
            Request::Suspend(key) => self.set_suspend(&key, true),
            Request::Resume(key) => self.set_suspend(&key, false),
            Request::Trigger(key, name) => self.trigger(now, &key, name),
        }
    }

    fn unit_mut(&mut self, key: &UnitKey) -> Result<&mut Unit, Refusal> {
        match self.units.get_mut(key) {
            Some(unit) if !unit.kept.deleting => Ok(unit),
            Some(_) => Err(Refusal::Invalid(format!("{key} is being removed"))),
            None => Err(Refusal::NotFound(format!("{key} not found"))),
        }
    }

    /// The instances that a target means; of a cronjob, those of its jobs.
    fn slots_of(&self, target: &Target) -> Result<Vec<u64>, Refusal> {
        match target {
            Target::Instance(name) => match self.names.get(name.as_str()) {
                Some(slots) => Ok(slots.iter().copied().collect()),
                None => Err(Refusal::NotFound(format!("instance {name} not found"))),
            },
            Target::Unit(key) => match self.units.get(key) {
                Some(unit) => Ok(self.slots_of_unit(unit)),
                None => Err(Refusal::NotFound(format!("{key} not found"))),
            },
        }
    }

    pub(super) fn slots_of_unit(&self, unit: &Unit) -> Vec<u64> {
        let own = unit.instances.slots();
        let of_jobs = unit
            .jobs
            .iter()
            .filter_map(|job| self.units.get(job))
            .flat_map(|job| job.instances.slots());
        own.chain(of_jobs).collect()
    }

    fn touch(&mut self, key: &UnitKey) {
        self.dirty.insert(key.clone());
        if let Some(unit) = self.units.get(key) {
            self.dirty.extend(unit.jobs.iter().cloned());
        }
    }

    fn start(&mut self, now: Now, target: &Target) -> Answer {
        let slots = self.slots_of(target)?;
        if let Target::Unit(key) = target {
            let unit = self.unit_mut(key)?;
            let was = std::mem::replace(&mut unit.kept.overrides.stopped, false);
            for slot in slots {
                self.step(now, slot, Input::Release);
            }
            self.touch(key);
            return said(if was {
                format!("{key} started")
            } else {
                format!("{key} is not stopped")
            });
        }
        for slot in slots {
            self.step(now, slot, Input::Release);
        }
        said(format!("instance {target} started"))
    }

    fn stop(&mut self, now: Now, target: &Target) -> Answer {
        match target {
            Target::Unit(key) => {
                self.unit_mut(key)?.kept.overrides.stopped = true;
                self.touch(key);
                said(format!("{key} stopped"))
            }
            Target::Instance(name) => {
                for slot in self.slots_of(target)? {
                    let finite = self
                        .instances
                        .get(&slot)
                        .is_some_and(|i| matches!(i.unit.kind, Kind::Job | Kind::CronJob));
                    if finite {
                        return invalid(format!(
                            "{name} is a run of a job; stop or suspend the job, or delete the run"
                        ));
                    }
                    self.step(now, slot, Input::Hold);
                }
                said(format!("instance {name} stopped"))
            }
        }
    }

    fn restart(&mut self, now: Now, target: &Target) -> Answer {
        match target {
            Target::Unit(key) => {
                let slots = self.slots_of(target)?;
                let unit = self.unit_mut(key)?;
                if key.kind == Kind::CronJob {
                    return invalid(format!("{key} has nothing to restart; use `trigger {key}`"));
                }
                unit.kept.overrides.stopped = false;
                match key.kind {
                    Kind::CronJob => {}
                    Kind::Job => unit.kept.rerun = true,
                    Kind::Deployment | Kind::StatefulSet | Kind::DaemonSet => {
                        for slot in slots {
                            self.step(now, slot, Input::Restart);
                        }
                    }
                }
                self.touch(key);
                said(format!("{key} restarted"))
            }
            Target::Instance(name) => {
                for slot in self.slots_of(target)? {
                    let done = self.instances.get(&slot).is_some_and(|i| match i.state {
                        State::Succeeded | State::Failed { .. } => true,
                        State::Pending { .. }
                        | State::Starting { .. }
                        | State::Init { .. }
                        | State::PostStart { .. }
                        | State::Running { .. }
                        | State::Stopping { .. }
                        | State::Backoff { .. }
                        | State::Queued { .. }
                        | State::GaveUp => false,
                    });
                    if done {
                        return invalid(format!(
                            "{name} has ended for good; restart its job instead"
                        ));
                    }
                    self.step(now, slot, Input::Restart);
                }
                said(format!("instance {name} restarted"))
            }
        }
    }

    fn signal(&mut self, target: &Target, number: i32) -> Answer {
        let mut sent = 0;
        for slot in self.slots_of(target)? {
            if let Some(instance) = self.instances.get(&slot)
                && instance.pid().is_some()
            {
                self.actions.push_back(Action::Signal { id: instance.id(), signal: number });
                sent += 1;
            }
        }
        if sent == 0 {
            return invalid(format!("{target} has no running process"));
        }
        let name = signal::name(number).map_or_else(|| format!("signal {number}"), str::to_owned);
        let what = if sent == 1 { "process" } else { "processes" };
        said(format!("{name} sent to {sent} {what} of {target}"))
    }

    fn reload(&mut self, now: Now, target: &Target) -> Answer {
        let (mut asked, mut without) = (0, false);
        for slot in self.slots_of(target)? {
            let Some(instance) = self.instances.get(&slot) else { continue };
            let runs = matches!(instance.state, State::PostStart { .. } | State::Running { .. });
            let how = instance.template.lifecycle.reload.clone();
            let (id, unit, name) = (instance.id(), instance.unit.clone(), instance.name.clone());
            match how.filter(|_| runs) {
                None => without |= runs,
                Some(Reload::Signal(signal)) => {
                    self.actions.push_back(Action::Signal { id, signal });
                    let note = Note::normal(Reason::InstanceReloaded, "reloaded");
                    self.report(now, Some(&unit), Some(&name), note);
                    asked += 1;
                }
                Some(Reload::Command(_)) => {
                    self.ask_for(slot, Step::Hook(Hook::Reload), Action::Hook);
                    asked += 1;
                }
            }
        }
        match (asked, without) {
            (0, true) => invalid(format!(
                "{target} says nothing of how to reload: add `reload` to [lifecycle], or use \
                 `signal` or `rollout restart`"
            )),
            (0, false) => invalid(format!("{target} has no running process")),
            (1, _) => said(format!("1 instance of {target} reloads")),
            (n, _) => said(format!("{n} instances of {target} reload")),
        }
    }

    fn delete(&mut self, now: Now, target: &Target) -> Answer {
        match target {
            Target::Unit(key) => {
                let unit = self.unit_mut(key)?;
                let file = UnitSpec::clone(&unit.kept.file);
                let owned = unit.kept.owner.is_some();
                unit.successor = None;
                if !owned {
                    self.bury(Buried { file, finished: false, complete: false });
                }
                self.delete_unit(key);
                said(format!("{key} deleted"))
            }
            Target::Instance(name) => {
                for slot in self.slots_of(target)? {
                    self.count_first(now, slot);
                    self.step(now, slot, Input::Leave);
                }
                said(format!("instance {name} deleted"))
            }
        }
    }

    /// A run that has just ended is counted before an operator removes its record.
    fn count_first(&mut self, now: Now, slot: u64) {
        if let Some(unit) = self.instances.get(&slot).map(|instance| instance.unit.clone())
            && self.dirty.contains(&unit)
        {
            self.settle_unit(now, &unit);
        }
    }

    fn scale(&mut self, key: &UnitKey, replicas: u32) -> Answer {
        let unit = self.unit_mut(key)?;
        let Some(before) = replicas_of(&unit.spec) else {
            return invalid(format!(
                "a {} cannot be scaled; only deployments and statefulsets have replicas",
                key.kind
            ));
        };
        if replicas > REPLICAS_MAX {
            return invalid(format!("{replicas} replicas are too many; at most {REPLICAS_MAX}"));
        }
        let same_as_file = replicas_of(&unit.kept.file) == Some(replicas);
        unit.kept.overrides.replicas = (!same_as_file).then_some(replicas);
        unit.refresh();
        self.touch(key);
        said(format!("{key} scaled from {before} to {replicas}"))
    }

    fn undo(&mut self, now: Now, key: &UnitKey, to: Option<Revision>) -> Answer {
        let unit = self.unit_mut(key)?;
        let Some(paused) = paused_of(&unit.spec) else {
            return invalid(format!("a {} has no revisions to go back to", key.kind));
        };
        if paused {
            // kubectl rollback.go refuses it too.
            return invalid(format!("{key} is paused; `rollout resume {key}` first"));
        }
        let template = history::undo_template(&unit.kept.memory.history(), to)
            .map_err(|why| Refusal::Invalid(format!("{key}: {why}")))?;
        if *template == *unit.spec.template {
            return said(format!("{key} has that template already; nothing to undo"));
        }
        let same_as_file = *template == *unit.kept.file.template;
        unit.kept.overrides.restarted_at = None;
        unit.kept.overrides.template = (!same_as_file).then(|| Arc::clone(&template));
        unit.refresh();
        self.touch(key);
        let from =
            to.map_or_else(|| "the previous revision".to_owned(), |n| format!("revision {n}"));
        let mut note = Note::normal(Reason::RolloutUndone, format!("back to {from}"));
        if let Some(to) = to {
            note = note.with_int("revision", i64::try_from(to).unwrap_or(i64::MAX));
        }
        self.report(now, Some(key), None, note);
        said(format!("{key} rolled back to {from}"))
    }

    fn set_paused(&mut self, key: &UnitKey, paused: bool) -> Answer {
        let unit = self.unit_mut(key)?;
        let word = if paused { "paused" } else { "resumed" };
        match paused_of(&unit.spec) {
            None => return invalid(format!("a {} has no roll-out to be {word}", key.kind)),
            Some(now) if now == paused => {
                return said(format!("{key} is {word} already"));
            }
            Some(_) => {}
        }
        let same_as_file = paused_of(&unit.kept.file) == Some(paused);
        unit.kept.overrides.paused = (!same_as_file).then_some(paused);
        unit.refresh();
        self.touch(key);
        said(format!("{key} {word}"))
    }

    fn rollout_restart(&mut self, now: Now, key: &UnitKey) -> Answer {
        let unit = self.unit_mut(key)?;
        match paused_of(&unit.spec) {
            None => return invalid(format!("a {} has no roll-out; use `restart {key}`", key.kind)),
            Some(true) => {
                return invalid(format!("{key} is paused; `rollout resume {key}` first"));
            }
            Some(false) => {}
        }
        unit.kept.overrides.restarted_at = Some(now.wall.0);
        unit.refresh();
        self.touch(key);
        said(format!("{key} restarted, step by step"))
    }

    fn set_suspend(&mut self, key: &UnitKey, suspend: bool) -> Answer {
        let unit = self.unit_mut(key)?;
        let word = if suspend { "suspended" } else { "resumed" };
        match suspend_of(&unit.spec) {
            None => {
                let verb = if suspend { "stop" } else { "start" };
                return invalid(format!(
                    "only jobs and cronjobs are {word}; use `{verb} {key}` for a {}",
                    key.kind
                ));
            }
            Some(now) if now == suspend => return said(format!("{key} is {word} already")),
            Some(_) => {}
        }
        let same_as_file = suspend_of(&unit.kept.file) == Some(suspend);
        unit.kept.overrides.suspend = (!same_as_file).then_some(suspend);
        unit.refresh();
        self.touch(key);
        said(format!("{key} {word}"))
    }

    fn trigger(&mut self, now: Now, key: &UnitKey, name: Option<String>) -> Answer {
        let unit = self.unit_mut(key)?;
        let (WorkloadSpec::CronJob(spec), Memory::CronJob(_)) =
            (&unit.spec.workload, &unit.kept.memory)
        else {
            return invalid(format!("{key} is not a cronjob; only those are triggered"));
        };
        let (job, template) = (spec.job.clone(), Arc::clone(&unit.spec.template));
        let name = match name {
            Some(name) => name,
            None => self.fresh_name(&cronjob::manual_prefix(key.name.as_str())),
        };
        if let Err(why) = UnitName::new(&name) {
            return invalid(format!("`{name}` cannot name a job: {why}"));
        }
        let new = NewJob { name: name.clone(), spec: job, template, scheduled: None };
        if !self.create_job(now, key, new) {
            return invalid(format!("job/{name} is there already; choose another name"));
        }
        self.report(
            now,
            Some(key),
            None,
            Note::normal(Reason::JobCreated, format!("job {name} made by hand"))
                .with("job", super::text(name.clone())),
        );
        self.touch(key);
        Ok(Done { messages: vec![format!("job/{name} created")], created: Some(name) })
    }
}

fn said(message: String) -> Answer {
    Ok(Done { messages: vec![message], created: None })
}

fn invalid(message: String) -> Answer {
    Err(Refusal::Invalid(message))
}
