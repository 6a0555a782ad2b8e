//! A little world for the controllers' tests: instances as scripted, a clock that jumps.
//!
//! It applies intents the way the core does and calls again until nothing is intended. It is no
//! stand-in for the instance machine: whole units are run by the simulator.

use super::super::{
    Context, Identity, Intent, Mode, NewName, Note, Observed, Outcome, Phase, SetId,
};
use crate::core::report::Reason;
use crate::core::spec::*;
use crate::core::time::{Millis, Mono, Now, Wall};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// No settling takes more calls than this: each call that intends something changes something.
const CALLS_MAX: usize = 400;

pub(crate) const START: Now = Now { mono: Mono(10_000_000), wall: Wall(1_700_000_000_000) };

/// A template that differs from others by its text.
pub(crate) fn template(text: &str) -> Arc<InstanceTemplate> {
    let backoff = Backoff {
        initial: Millis::from_secs(1),
        factor_milli: 2000,
        max: Millis::from_secs(300),
        reset_after: Millis::from_secs(600),
    };
    let restart = RestartSpec { policy: RestartPolicy::Always, backoff, limit: None, vital: false };
    let command = vec!["/bin/server".to_owned(), text.to_owned()];
    Arc::new(InstanceTemplate::bare(command, restart))
}

/// An instance that runs and is ready, made in the order of slots.
pub(crate) fn instance(slot: u64, set: SetId) -> Observed {
    Observed {
        slot,
        name: format!("i-{slot}").into(),
        set,
        identity: Identity::Anonymous,
        phase: Phase::Running,
        ready_since: Some(START.mono.minus(Millis(5_000_000 - slot * 1000))),
        terminating: false,
        created: START.mono.minus(Millis(6_000_000 - slot * 1000)),
        restarts: 0,
        exit: None,
        ended: None,
        start_failure: None,
    }
}

/// The same, doing something else.
pub(crate) trait Change {
    fn unready(self) -> Self;
    fn pending(self) -> Self;
    fn going(self) -> Self;
    fn phase(self, phase: Phase) -> Self;
    fn cannot_start(self, why: &str) -> Self;
    fn ordinal(self, ordinal: u32) -> Self;
    fn node(self, node: &str) -> Self;
}

impl Change for Observed {
    fn unready(mut self) -> Self {
        self.ready_since = None;
        self
    }
    fn pending(mut self) -> Self {
        self.phase = Phase::Pending;
        self.unready()
    }
    fn going(mut self) -> Self {
        self.terminating = true;
        self
    }
    fn phase(mut self, phase: Phase) -> Self {
        self.phase = phase;
        self.unready()
    }
    fn cannot_start(mut self, why: &str) -> Self {
        self.start_failure = Some(why.to_owned());
        self.unready()
    }
    fn ordinal(mut self, ordinal: u32) -> Self {
        self.identity = Identity::Ordinal(ordinal);
        self.name = format!("db-{ordinal}").into();
        self
    }
    fn node(mut self, node: &str) -> Self {
        self.identity = Identity::Node { name: node.to_owned(), path: None };
        self.name = format!("agent-{node}").into();
        self
    }
}

/// A controller with its spec and state.
pub(crate) trait Controller {
    fn unit(&self) -> &'static str;
    fn step(&mut self, context: &Context<'_>, observed: &[Observed]) -> Outcome;
    fn template_of(&self, set: SetId) -> Option<&Arc<InstanceTemplate>>;
    fn data_removed(&mut self, _instance: &str) {}
}

/// How instances of a template behave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Behaviour {
    /// From creation to readiness; `None`: never.
    pub(crate) ready_after: Option<Millis>,
    /// From being asked to go to being gone.
    pub(crate) stop_takes: Millis,
}

pub(crate) const GOOD: Behaviour =
    Behaviour { ready_after: Some(Millis(1000)), stop_takes: Millis(500) };
pub(crate) const BROKEN: Behaviour = Behaviour { ready_after: None, stop_takes: Millis(500) };

pub(crate) struct World<C> {
    pub(crate) controller: C,
    pub(crate) template: Arc<InstanceTemplate>,
    pub(crate) mode: Mode,
    pub(crate) now: Now,
    pub(crate) observed: Vec<Observed>,
    pub(crate) notes: Vec<Note>,
    /// `+name`, `-name`, `!name` (data removed), in order.
    pub(crate) log: Vec<String>,
    pub(crate) gone: bool,
    /// By the second word of the command.
    pub(crate) behaviours: BTreeMap<String, Behaviour>,
    /// The text of each set's template.
    texts: BTreeMap<SetId, String>,
    /// When a terminating instance is gone.
    ends: BTreeMap<u64, Mono>,
    recheck: Option<Mono>,
    next_slot: u64,
    /// Called after every applied step and every event.
    pub(crate) watch: Option<fn(&World<C>)>,
    /// Data that is being removed until the test says so.
    pub(crate) hold_data: bool,
    pub(crate) held_data: BTreeSet<String>,
}

impl<C: Controller> World<C> {
    pub(crate) fn new(controller: C, text: &str) -> World<C> {
        World {
            controller,
            template: template(text),
            mode: Mode::Run,
            now: START,
            observed: Vec::new(),
            notes: Vec::new(),
            log: Vec::new(),
            gone: false,
            behaviours: BTreeMap::new(),
            texts: BTreeMap::new(),
            ends: BTreeMap::new(),
            recheck: None,
            next_slot: 1,
            watch: None,
            hold_data: false,
            held_data: BTreeSet::new(),
        }
    }

    /// From now on another template is wished.
    pub(crate) fn apply(&mut self, text: &str) {
        self.template = template(text);
        self.settle();
    }

    fn behaviour(&self, set: SetId) -> Behaviour {
        self.texts.get(&set).and_then(|t| self.behaviours.get(t)).copied().unwrap_or(GOOD)
    }

    fn watch(&self) {
        if let Some(watch) = self.watch {
            watch(self);
        }
    }

    /// Calls until nothing is intended.
    pub(crate) fn settle(&mut self) {
        for _ in 0..CALLS_MAX {
            let context = Context {
                name: self.controller.unit(),
                template: &Arc::clone(&self.template),
                mode: self.mode,
                now: self.now,
            };
            let outcome = self.controller.step(&context, &self.observed);
            self.recheck = outcome.recheck;
            self.gone = outcome.gone;
            if outcome.intents.is_empty() {
                return;
            }
            for intent in outcome.intents {
                self.act(intent);
            }
            self.watch();
        }
        panic!(
            "no end of intents; the last: {:?}",
            self.log.iter().rev().take(20).collect::<Vec<_>>()
        );
    }

    fn act(&mut self, intent: Intent) {
        match intent {
            Intent::Create { set, name, identity } => {
                let slot = self.next_slot;
                self.next_slot += 1;
                let name = match name {
                    NewName::Fixed(name) => name,
                    NewName::Random(prefix) => format!("{prefix}-{slot:05}"),
                };
                assert!(
                    self.observed.iter().all(|one| one.name != name),
                    "two instances named {name}"
                );
                let made_from = self.controller.template_of(set).expect("a known set");
                self.texts.insert(set, made_from.process.command[1].clone());
                self.log.push(format!("+{name}"));
                self.observed.push(Observed {
                    name: name.into(),
                    identity,
                    created: self.now.mono,
                    ..instance(0, set).pending()
                });
                self.observed.last_mut().unwrap().slot = slot;
            }
            Intent::Delete { slot } | Intent::Forget { slot } => self.remove(slot),
            Intent::RemoveData { instance } => {
                self.log.push(format!("!{instance}"));
                assert!(self.observed.iter().all(|one| one.name != instance));
                if self.hold_data {
                    self.held_data.insert(instance);
                } else {
                    self.controller.data_removed(&instance);
                }
            }
            Intent::Tell(note) => self.notes.push(note),
            Intent::CreateJob(_) | Intent::DeleteJob { .. } | Intent::RemoveUnit => {
                panic!("not of this kind")
            }
        }
    }

    fn remove(&mut self, slot: u64) {
        let at = self.observed.iter().position(|one| one.slot == slot).expect("a known slot");
        assert!(!self.observed[at].terminating, "asked twice: {}", self.observed[at].name);
        self.log.push(format!("-{}", self.observed[at].name));
        if self.observed[at].phase == Phase::Running {
            self.observed[at].terminating = true;
            let takes = self.behaviour(self.observed[at].set).stop_takes;
            self.ends.insert(slot, self.now.mono.plus(takes));
        } else {
            self.observed.remove(at);
        }
    }

    /// An operator deletes an instance.
    pub(crate) fn delete(&mut self, name: &str) {
        let slot = self.named(name).slot;
        self.remove(slot);
        self.settle();
    }

    pub(crate) fn named(&mut self, name: &str) -> &mut Observed {
        let mut named = self.observed.iter_mut().filter(|one| one.name == name);
        named.next().unwrap_or_else(|| panic!("no {name}"))
    }

    /// When the next thing happens by itself.
    fn next_event(&self) -> Option<Mono> {
        let starts =
            self.observed.iter().filter(|one| !one.terminating).filter_map(|one| match one.phase {
                Phase::Pending => Some(one.created.plus(Millis(100))),
                Phase::Running if one.ready_since.is_none() && one.restarts == 0 => {
                    self.behaviour(one.set).ready_after.map(|after| one.created.plus(after))
                }
                Phase::Running | Phase::Succeeded | Phase::Failed | Phase::GaveUp => None,
            });
        let recheck = self.recheck.filter(|at| *at > self.now.mono);
        starts.chain(self.ends.values().copied()).chain(recheck).min()
    }

    /// Time passes; things happen one after the other.
    pub(crate) fn pass(&mut self, span: Millis) {
        let until = self.now.mono.plus(span);
        self.settle();
        while let Some(at) = self.next_event().filter(|at| *at <= until) {
            self.now = self.now.plus(at.since(self.now.mono));
            let now = self.now.mono;
            let behaviours: Vec<Behaviour> =
                self.observed.iter().map(|one| self.behaviour(one.set)).collect();
            for (one, behaviour) in self.observed.iter_mut().zip(behaviours) {
                if one.terminating {
                    continue;
                }
                let age = now.since(one.created);
                if one.phase == Phase::Pending && age >= Millis(100) {
                    one.phase = Phase::Running;
                }
                let waits =
                    one.phase == Phase::Running && one.ready_since.is_none() && one.restarts == 0;
                if waits && behaviour.ready_after.is_some_and(|after| age >= after) {
                    one.ready_since = Some(now);
                }
            }
            let ended: Vec<u64> =
                self.ends.iter().filter(|(_, at)| **at <= now).map(|(slot, _)| *slot).collect();
            self.observed.retain(|one| !ended.contains(&one.slot));
            self.ends.retain(|slot, _| !ended.contains(slot));
            self.settle();
            self.watch();
        }
        self.now = self.now.plus(until.since(self.now.mono));
        self.settle();
    }

    pub(crate) fn pass_secs(&mut self, secs: u64) {
        self.pass(Millis::from_secs(secs));
    }

    /// How many of this template are neither ended nor going.
    pub(crate) fn active_of(&self, text: &str) -> usize {
        let of = |one: &&Observed| self.texts.get(&one.set).is_some_and(|t| t == text);
        self.observed.iter().filter(|one| one.active()).filter(of).count()
    }

    pub(crate) fn active(&self) -> usize {
        self.observed.iter().filter(|one| one.active()).count()
    }

    pub(crate) fn ready(&self) -> usize {
        self.observed.iter().filter(|one| one.active() && one.ready()).count()
    }

    /// The log since the last call.
    pub(crate) fn take_log(&mut self) -> Vec<String> {
        std::mem::take(&mut self.log)
    }

    /// How often something was told.
    pub(crate) fn told(&self, reason: Reason) -> usize {
        self.notes.iter().filter(|note| note.reason == reason).count()
    }
}
