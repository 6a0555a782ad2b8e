//! From what the unit files say to units: create, update, remove; and what that would change.
//!
//! Responsible for the meaning of "apply": a bad file keeps the last good version running, a file
//! that went away removes its unit, live changes stay until the file's own value changes. Must
//! not read files.

use super::Core;
use super::action::Action;
use super::event::UnitsRead;
use super::id::{Kind, UnitKey};
use super::managed::{Buried, Unit};
use super::record::Record;
use super::report::Reason;
use super::restore;
use super::spec::{Nodes, SocketSpec, UnitSpec, WorkloadSpec};
use super::time::Now;
use super::view::{Change, ChangeKind, FieldChange};
use super::workload::Note;
use serde_json::Value;
use std::collections::BTreeSet;

/// What one spec means for the unit of its identity.
enum Fate {
    Create,
    Update,
    Same,
    /// Removed by hand, or finished long ago, and its file is as it was then.
    StaysAway,
    /// The name belongs to a job of this cronjob.
    Taken(UnitKey),
}

impl Core {
    pub(super) fn apply(&mut self, now: Now, read: UnitsRead) {
        let known: BTreeSet<UnitKey> = read.valid.iter().map(|spec| spec.key.clone()).collect();
        let vanished: Vec<UnitKey> = self
            .units
            .iter()
            .filter(|(key, unit)| {
                unit.kept.owner.is_none() && !known.contains(key) && !read.invalid.contains_key(key)
            })
            .map(|(key, _)| key.clone())
            .collect();
        for key in vanished {
            if let Some(unit) = self.units.get_mut(&key) {
                unit.successor = None;
            }
            self.delete_unit(&key);
        }
        // After those that go: a unit of another name takes over their sockets.
        for spec in read.valid {
            self.apply_one(now, spec, read.explicit);
        }
        let forgotten: Vec<UnitKey> = self
            .tombstones
            .keys()
            .filter(|key| !known.contains(key) && !read.invalid.contains_key(key))
            .cloned()
            .collect();
        for key in forgotten {
            self.drop_tombstone(now, &key);
        }
        self.note_invalid(now, &read.invalid);
    }

    fn fate_of(&self, spec: &UnitSpec, explicit: bool) -> Fate {
        if let Some(buried) = self.tombstones.get(&spec.key)
            && (!explicit || buried.finished)
            && buried.file == *spec
        {
            return Fate::StaysAway;
        }
        match self.units.get(&spec.key) {
            None => Fate::Create,
            Some(unit) => match &unit.kept.owner {
                Some(owner) => Fate::Taken(owner.clone()),
                None if unit.kept.deleting => Fate::Create,
                None if *unit.kept.file == *spec => Fate::Same,
                None => Fate::Update,
            },
        }
    }

    fn apply_one(&mut self, now: Now, spec: UnitSpec, explicit: bool) {
        let key = spec.key.clone();
        let fate = self.fate_of(&spec, explicit);
        if !matches!(fate, Fate::StaysAway) {
            self.drop_tombstone(now, &key);
        }
        match fate {
            Fate::StaysAway => {}
            Fate::Taken(owner) => {
                let message = format!("the name is taken by a job of {owner}; choose another one");
                self.report(now, Some(&key), None, Note::warning(Reason::UnitInvalid, message));
            }
            Fate::Create => match self.units.get_mut(&key) {
                Some(leaving) => {
                    leaving.invalid = None;
                    leaving.successor = Some(Box::new(spec));
                }
                None => self.add_unit(now, spec),
            },
            Fate::Same => {
                if let Some(unit) = self.units.get_mut(&key)
                    && unit.invalid.take().is_some()
                {
                    self.dirty.insert(key);
                }
            }
            Fate::Update => self.update_unit(now, spec),
        }
    }

    pub(super) fn add_unit(&mut self, now: Now, spec: UnitSpec) {
        let key = spec.key.clone();
        self.watch_nodes(&spec);
        self.units.insert(key.clone(), Box::new(Unit::new(spec, now.wall)));
        self.index_dependencies(now, &key);
        self.offer_sockets(&key, &[]);
        self.report(now, Some(&key), None, Note::normal(Reason::UnitApplied, "created"));
        self.dirty.insert(key);
    }

    fn update_unit(&mut self, now: Now, spec: UnitSpec) {
        let key = spec.key.clone();
        let Some(unit) = self.units.get_mut(&key) else { return };
        let nodes_changed = nodes_of(&unit.kept.file) != nodes_of(&spec);
        if nodes_changed {
            unit.nodes = None;
        }
        unit.invalid = None;
        let sockets = unit.spec.sockets.clone();
        unit.apply(spec.clone());
        self.index_dependencies(now, &key);
        self.offer_sockets(&key, &sockets);
        if nodes_changed {
            self.watch_nodes(&spec);
        }
        self.report(now, Some(&key), None, Note::normal(Reason::UnitApplied, "changed"));
        self.dirty.insert(key);
    }

    /// Has the unit's sockets opened as soon as it is applied, and moved as soon as they change.
    fn offer_sockets(&mut self, key: &UnitKey, before: &[SocketSpec]) {
        let Some(unit) = self.units.get(key) else { return };
        if unit.spec.sockets != before {
            let sockets = unit.spec.sockets.clone().into();
            self.actions.push_back(Action::Sockets { unit: key.clone(), sockets });
        }
    }

    pub(super) fn watch_nodes(&mut self, spec: &UnitSpec) {
        if let Some(nodes) = nodes_of(spec) {
            let nodes = Some(nodes.clone());
            self.actions.push_back(Action::WatchNodes { unit: spec.key.clone(), nodes });
        }
    }

    /// Notes that a unit goes although its file is still there.
    pub(super) fn bury(&mut self, buried: Buried) {
        let key = buried.file.key.clone();
        let value = restore::encode(&buried);
        let record = Record { key: restore::tombstone_record_key(&key), value, durable: true };
        self.actions.push_back(Action::Put(record));
        self.tombstones.insert(key, buried);
    }

    fn drop_tombstone(&mut self, now: Now, key: &UnitKey) {
        if self.tombstones.remove(key).is_some() {
            // That it was complete is forgotten too.
            self.gate_dependents(now, key);
            let key = restore::tombstone_record_key(key);
            self.actions.push_back(Action::Drop { key, durable: true });
        }
    }

    fn note_invalid(&mut self, now: Now, invalid: &std::collections::BTreeMap<UnitKey, String>) {
        let before = std::mem::take(&mut self.invalid);
        for (key, message) in invalid {
            let known = match self.units.get_mut(key) {
                Some(unit) => unit.invalid.replace(message.clone()),
                None => {
                    self.invalid.insert(key.clone(), message.clone());
                    before.get(key).cloned()
                }
            };
            if known.as_ref() != Some(message) {
                let note = Note::warning(Reason::UnitInvalid, message.clone());
                self.report(now, Some(key), None, note);
            }
        }
        self.version = self.version.saturating_add(1);
    }

    /// What applying these files would change. Changes nothing.
    pub fn plan(&self, read: &UnitsRead) -> Vec<Change> {
        let mut changes = Vec::new();
        let known: BTreeSet<&UnitKey> = read.valid.iter().map(|spec| &spec.key).collect();
        for spec in &read.valid {
            let old = self.units.get(&spec.key).filter(|unit| !unit.kept.deleting);
            match self.fate_of(spec, read.explicit) {
                Fate::Same | Fate::StaysAway => {}
                Fate::Create => changes.push(change(&spec.key, ChangeKind::Create)),
                Fate::Taken(owner) => changes.push(Change {
                    message: Some(format!("the name is taken by a job of {owner}")),
                    ..change(&spec.key, ChangeKind::Invalid)
                }),
                Fate::Update => {
                    let Some(old) = old else { continue };
                    let mut after = old.clone();
                    after.apply(spec.clone());
                    changes.push(Change {
                        rollout: after.spec.template != old.spec.template,
                        fields: differences(&old.kept.file, spec),
                        ..change(&spec.key, ChangeKind::Update)
                    });
                }
            }
        }
        for (key, unit) in &self.units {
            let vanished = !known.contains(key) && !read.invalid.contains_key(key);
            if vanished && unit.kept.owner.is_none() && !unit.kept.deleting {
                changes.push(change(key, ChangeKind::Remove));
            }
        }
        for (key, message) in &read.invalid {
            changes.push(Change {
                message: Some(message.clone()),
                ..change(key, ChangeKind::Invalid)
            });
        }
        changes.sort_by(|a, b| a.key.cmp(&b.key));
        changes
    }
}

fn change(key: &UnitKey, kind: ChangeKind) -> Change {
    Change { key: key.clone(), kind, rollout: false, fields: Vec::new(), message: None }
}

fn nodes_of(spec: &UnitSpec) -> Option<&Nodes> {
    match &spec.workload {
        WorkloadSpec::DaemonSet(d) => Some(&d.nodes),
        WorkloadSpec::Deployment(_)
        | WorkloadSpec::StatefulSet(_)
        | WorkloadSpec::Job(_)
        | WorkloadSpec::CronJob(_) => None,
    }
}

/// The values that differ between two specs, by dotted path.
fn differences(old: &UnitSpec, new: &UnitSpec) -> Vec<FieldChange> {
    let flat = |spec: &UnitSpec| -> Value { restore::to_value(spec) };
    let mut changes = Vec::new();
    compare("", &flat(old), &flat(new), &mut changes);
    changes
}

fn compare(path: &str, old: &Value, new: &Value, changes: &mut Vec<FieldChange>) {
    if old == new {
        return;
    }
    if let (Value::Object(a), Value::Object(b)) = (old, new) {
        let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
        for key in keys {
            let below = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            compare(
                &below,
                a.get(key).unwrap_or(&Value::Null),
                b.get(key).unwrap_or(&Value::Null),
                changes,
            );
        }
        return;
    }
    let show = |value: &Value| (!value.is_null()).then(|| value.to_string());
    changes.push(FieldChange { path: as_written(path), old: show(old), new: show(new) });
}

/// The path as a user writes it: without the two levels that only the specs have.
fn as_written(path: &str) -> String {
    let path = path.strip_prefix("template.").unwrap_or(path);
    for kind in Kind::ALL {
        if let Some(rest) = path.strip_prefix(&format!("workload.{kind}.")) {
            return rest.to_owned();
        }
    }
    path.to_owned()
}
