//! What the core remembers over the end of the daemon, and how it takes it up again.
//!
//! Responsible for the form of records and for judging, from the records and from what the runner
//! holds, what became of each instance while no daemon was there. Must not do I/O: the shell
//! brings all of it as [`Found`].

use super::Core;
use super::action::{Action, Hook, Step};
use super::event::{Exit, Found};
use super::guard::Place;
use super::id::{InstanceId, Kind, UnitKey};
use super::instance::restart::Streak;
use super::instance::stop::Rung;
use super::instance::{End, Input, Instance, State, Waiting};
use super::managed::{Buried, Memory, Overrides, Remembered, Unit};
use super::record::Record;
use super::report::Reason;
use super::spec::UnitSpec;
use super::time::{Now, Wall};
use super::timers::Timer;
use super::workload::conditions::Condition;
use super::workload::{Identity, Note, SetId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};
use smol_str::SmolStr;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Most records are no longer than so many bytes: room that is made at once need not grow. Not more,
/// for up to here the C library's allocator gives the memory that was used last, which is in the
/// processor's caches.
const RECORD_USUAL: usize = 1 << 10;
const META_KEY: &str = "meta";
/// When the storm guard lets the next one begin.
pub(super) const GUARD_KEY: &str = "guard";
const UNIT_PREFIX: &str = "unit/";
const STATUS_PREFIX: &str = "status/";
const INSTANCE_PREFIX: &str = "instance/";
const TOMBSTONE_PREFIX: &str = "tombstone/";

/// What is remembered of the core itself.
#[derive(Debug, Serialize, Deserialize)]
struct Meta {
    /// Counts the daemon's lives.
    epoch: u32,
}

/// What is remembered of how a unit's instances are at the moment.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StoredStatus {
    pub(super) unit: UnitKey,
    pub(super) conditions: Vec<Condition>,
}

/// What is remembered of an instance, as [`Instance`] writes it. Its template is found by its unit and
/// set.
#[derive(Debug, Deserialize)]
struct StoredInstance {
    slot: u64,
    name: SmolStr,
    unit: UnitKey,
    set: SetId,
    identity: Identity,
    created: Now,
    generation: u32,
    restarts: u32,
    streak: Streak,
    last_end: Option<End>,
    last_failure: Option<String>,
    initialised: bool,
    leaving: bool,
    held: bool,
    #[serde(default)]
    ports: Vec<u16>,
    state: State,
}

impl StoredInstance {
    fn into_instance(self, template: Arc<super::spec::InstanceTemplate>) -> Instance {
        Instance {
            slot: self.slot,
            name: self.name,
            unit: self.unit,
            set: self.set,
            template,
            identity: self.identity,
            created: self.created,
            generation: self.generation,
            restarts: self.restarts,
            streak: self.streak,
            last_end: self.last_end,
            last_failure: self.last_failure,
            initialised: self.initialised,
            leaving: self.leaving,
            held: self.held,
            state: self.state,
            ports: self.ports,
            gated: false,
            guard: None,
            early: Vec::new(),
            says: None,
            reloading: false,
        }
    }
}

impl Core {
    /// Takes up what an earlier daemon left. To be called once, before any event. A record that
    /// cannot be read is reported and left alone: it costs that one thing.
    pub fn restore(&mut self, now: Now, found: Found) {
        if let Some(record) = found.records.iter().find(|record| record.key == GUARD_KEY)
            && let Some(free_at) = self.decode(now, record)
        {
            self.guard.resume(free_at);
        }
        self.restore_epoch(&found.records);
        for record in found.records.iter().filter(|r| r.key.starts_with(UNIT_PREFIX)) {
            self.restore_unit(now, record);
        }
        for record in found.records.iter().filter(|r| r.key.starts_with(STATUS_PREFIX)) {
            self.restore_status(now, record);
        }
        for record in found.records.iter().filter(|r| r.key.starts_with(TOMBSTONE_PREFIX)) {
            if let Some(buried) = self.decode::<Buried>(now, record) {
                self.tombstones.insert(buried.file.key.clone(), buried);
            }
        }
        self.link_jobs();
        self.index_all();
        for record in found.records.iter().filter(|r| r.key.starts_with(INSTANCE_PREFIX)) {
            self.restore_instance(now, record);
        }
        let adopted = self.judge_instances(now, &found);
        self.gate_all(now);
        self.report(now, None, None, Note::normal(Reason::DaemonStarted, "started"));
        if adopted > 0 {
            let what = if adopted == 1 { "instance" } else { "instances" };
            let note =
                Note::normal(Reason::DaemonAdopted, format!("found {adopted} {what} running"))
                    .with_int("instances", i64::try_from(adopted).unwrap_or(i64::MAX));
            self.report(now, None, None, note);
        }
        self.dirty.extend(self.units.keys().cloned());
        let daemonsets: Vec<UnitSpec> = self
            .units
            .values()
            .filter(|unit| unit.kept.file.kind() == Kind::DaemonSet)
            .map(|unit| UnitSpec::clone(&unit.kept.file))
            .collect();
        for spec in daemonsets {
            self.watch_nodes(&spec);
        }
    }

    fn restore_epoch(&mut self, records: &[Record]) {
        let last = records
            .iter()
            .find(|record| record.key == META_KEY)
            .and_then(|record| serde_json::from_slice::<Meta>(&record.value).ok())
            .map_or(0, |meta| meta.epoch);
        // Also above every slot in sight, should the durable store have been lost.
        let seen = records
            .iter()
            .filter_map(|record| record.key.strip_prefix(INSTANCE_PREFIX)?.parse::<u64>().ok())
            .map(|slot| u32::try_from(slot >> 32).unwrap_or(u32::MAX))
            .max()
            .unwrap_or(0);
        self.epoch = last.max(seen).wrapping_add(1).max(1);
        let value = encode(&Meta { epoch: self.epoch });
        let record = Record { key: META_KEY.to_owned(), value, durable: true };
        self.actions.push_back(Action::Put(record));
    }

    fn decode<T: serde::de::DeserializeOwned>(&mut self, now: Now, record: &Record) -> Option<T> {
        match serde_json::from_slice(&record.value) {
            Ok(value) => Some(value),
            Err(error) => {
                let message = format!("stored record `{}` cannot be read: {error}", record.key);
                self.report(now, None, None, Note::warning(Reason::StateDamaged, message));
                None
            }
        }
    }

    fn restore_unit(&mut self, now: Now, record: &Record) {
        let Some(kept) = self.decode::<Remembered>(now, record) else { return };
        let mut unit = Unit::from_kept(kept);
        unit.stored = Some(unit.kept.clone());
        self.units.insert(unit.kept.file.key.clone(), Box::new(unit));
    }

    fn restore_status(&mut self, now: Now, record: &Record) {
        let Some(status) = self.decode::<StoredStatus>(now, record) else { return };
        match self.units.get_mut(&status.unit) {
            Some(unit) => {
                unit.status_stored = status.conditions.iter().cloned().collect();
                unit.kept.memory.put_back(status.conditions);
            }
            None => {
                self.actions.push_back(Action::Drop { key: record.key.clone(), durable: false });
            }
        }
    }

    fn link_jobs(&mut self) {
        let owned: Vec<(UnitKey, UnitKey)> = self
            .units
            .iter()
            .filter_map(|(key, unit)| Some((unit.kept.owner.clone()?, key.clone())))
            .collect();
        for (owner, job) in owned {
            match self.units.get_mut(&owner) {
                Some(cron) => {
                    cron.jobs.insert(job);
                }
                // The cronjob is gone; its job goes too.
                None => self.delete_unit(&job),
            }
        }
    }

    fn restore_instance(&mut self, now: Now, record: &Record) {
        let Some(stored) = self.decode::<StoredInstance>(now, record) else { return };
        let (key, slot) = (stored.unit.clone(), stored.slot);
        let Some(unit) = self.units.get_mut(&key) else {
            self.actions.push_back(Action::Drop { key: record.key.clone(), durable: false });
            return;
        };
        let template = unit.kept.memory.template_of(stored.set).unwrap_or(&unit.spec.template);
        let mut instance = stored.into_instance(Arc::clone(template));
        instance.adopted(now.mono);
        instance.gated = unit.waits;
        instance.guard = self.guard.config().holds();
        // Until it is known whether what it depends on is there, it waits for that.
        if instance.gated && matches!(instance.state, State::Queued { .. }) {
            instance.state = State::Pending { why: Waiting::Dependencies };
        }
        self.guard.shift(slot, None, Place::of(&instance));
        self.ports.restore(&instance);
        unit.instances.insert(instance.observed());
        self.names.entry(instance.name.clone()).or_default().insert(slot);
        self.timers.shift(Timer::Instance(slot), None, instance.deadline());
        self.instances.insert(slot, Box::new(instance));
    }

    /// Compares what is remembered with what the runner holds. Returns how many processes live.
    fn judge_instances(&mut self, now: Now, found: &Found) -> usize {
        let held: BTreeMap<_, u32> = found.living.iter().map(|l| (l.id, l.pid)).collect();
        let refused: BTreeSet<InstanceId> = found.refused.iter().copied().collect();
        let mut adopted = 0;
        let slots: Vec<u64> = self.instances.keys().copied().collect();
        for slot in slots {
            let Some(instance) = self.instances.get(&slot) else { continue };
            let pid = held.get(&instance.id()).copied();
            let starting = matches!(instance.state, State::Starting { .. });
            match pid {
                Some(pid) => {
                    adopted += usize::from(instance.has_process());
                    self.adopt(now, slot, pid);
                }
                None if !instance.has_process() || refused.contains(&instance.id()) => {}
                // Its start was never asked for, or asked of a runner that is gone: nothing of
                // it lives, and nothing says that it ever did.
                None if starting => self.begin_again(now, slot),
                // The runner that held it is gone, and with it all knowledge of how it ended.
                None => self.step(now, slot, Input::Exited { exit: Exit::Unknown, at: now.mono }),
            }
        }
        for id in held.keys() {
            let known =
                self.instances.get(&id.slot).is_some_and(|i| i.id() == *id && i.has_process());
            if !known {
                self.actions.push_back(Action::KillTree { id: *id });
            }
        }
        adopted
    }

    fn adopt(&mut self, now: Now, slot: u64, pid: u32) {
        let Some(instance) = self.instances.get(&slot) else { return };
        match instance.state {
            State::Starting { .. } | State::Stopping { .. } => {
                self.step(now, slot, Input::Spawned { pid });
            }
            // Hooks run at least once: nobody knows how far this one came.
            State::PostStart { .. } => {
                self.ask_for(slot, Step::Hook(Hook::PostStart), Action::Hook);
            }
            State::Init { .. } | State::Running { .. } => {}
            State::Pending { .. }
            | State::Backoff { .. }
            | State::Queued { .. }
            | State::Succeeded
            | State::Failed { .. }
            | State::GaveUp => return,
        }
        let Some(instance) = self.instances.get(&slot) else { return };
        // The last daemon may have ended between remembering the wish and sending it; a second
        // request to end is harmless.
        match instance.state {
            State::Stopping { rung: Rung::Asked { kills: 0, .. }, .. } => {
                let signal = instance.template.process.stop_signal;
                self.actions.push_back(Action::Terminate { id: instance.id(), signal });
            }
            State::Stopping { rung: Rung::Hook { .. }, .. } => {
                self.ask_for(slot, Step::Hook(Hook::PreStop), Action::Hook);
            }
            // It ends by itself; nobody has asked it to.
            State::Stopping { rung: Rung::Own { .. } | Rung::Asked { .. }, .. }
            | State::Pending { .. }
            | State::Starting { .. }
            | State::Init { .. }
            | State::PostStart { .. }
            | State::Running { .. }
            | State::Backoff { .. }
            | State::Queued { .. }
            | State::Succeeded
            | State::Failed { .. }
            | State::GaveUp => {}
        }
    }

    fn begin_again(&mut self, now: Now, slot: u64) {
        let Some(instance) = self.instances.get_mut(&slot) else { return };
        // `step` looks at it again.
        instance.state = State::Pending { why: Waiting::New };
        let input = if instance.leaving { Input::Leave } else { Input::Begin };
        self.step(now, slot, input);
    }
}

/// The key of a unit's record.
pub(super) fn unit_record_key(key: &UnitKey) -> String {
    format!("{UNIT_PREFIX}{key}")
}

/// The key of the record of what is said of a unit's instances at the moment.
pub(super) fn status_record_key(key: &UnitKey) -> String {
    format!("{STATUS_PREFIX}{key}")
}

/// The key of an instance's record.
pub(super) fn instance_record_key(slot: u64) -> String {
    format!("{INSTANCE_PREFIX}{slot}")
}

/// The key of the record of a unit that is gone while its file is still there.
pub(super) fn tombstone_record_key(key: &UnitKey) -> String {
    format!("{TOMBSTONE_PREFIX}{key}")
}

/// A record's value. The types that are stored have text keys and plain numbers only, so that
/// this cannot fail; should it ever, the record reads as damaged rather than as something else.
pub(super) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    encode_into(Vec::with_capacity(RECORD_USUAL), value)
}

fn encode_into<T: Serialize>(mut text: Vec<u8>, value: &T) -> Vec<u8> {
    match serde_json::to_writer(&mut text, value) {
        Ok(()) => text,
        Err(_) => Vec::new(),
    }
}

/// A unit's record, as [`encode`] would write what is kept of it. Most of it is the spec of its
/// file, which hardly ever changes: that part's text is made once.
pub(super) fn encode_unit(unit: &mut Unit) -> Vec<u8> {
    #[derive(Serialize)]
    struct Written<'a> {
        file: &'a RawValue,
        overrides: &'a Overrides,
        memory: &'a Memory,
        generation: u64,
        created: Wall,
        #[serde(skip_serializing_if = "Option::is_none")]
        owner: &'a Option<UnitKey>,
        #[serde(skip_serializing_if = "Option::is_none")]
        scheduled: Option<Wall>,
        deleting: bool,
        rerun: bool,
    }
    let Unit { kept, text, .. } = unit;
    let Remembered {
        file,
        overrides,
        memory,
        generation,
        created,
        owner,
        scheduled,
        deleting,
        rerun,
    } = &*kept;
    if text.as_ref().is_none_or(|(of, _)| !Arc::ptr_eq(of, file)) {
        *text = to_raw_value(&**file).ok().map(|raw| (Arc::clone(file), raw));
    }
    let Some((_, file)) = text else { return encode(kept) };
    let room = Vec::with_capacity(file.get().len() + RECORD_USUAL);
    encode_into(
        room,
        &Written {
            file,
            overrides,
            memory,
            generation: *generation,
            created: *created,
            owner,
            scheduled: *scheduled,
            deleting: *deleting,
            rerun: *rerun,
        },
    )
}

/// The same as a tree of values.
pub(super) fn to_value<T: Serialize>(value: &T) -> Value {
    serde_json::to_value(value).unwrap_or(Value::Null)
}
