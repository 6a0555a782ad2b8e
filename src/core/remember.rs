//! Giving what changed to the store.
//!
//! Responsible for when a record is written: as soon as what it holds differs from what was written
//! last, and never otherwise. The form of records belongs to `restore`, which reads them again.

use super::action::Action;
use super::managed::Unit;
use super::record::Record;
use super::workload::conditions::Condition;
use super::{Core, restore};
use std::collections::VecDeque;

impl Unit {
    /// Gives it to the store if it changed since it was last given.
    pub(super) fn store(&mut self, actions: &mut VecDeque<Action>) {
        let key = &self.kept.file.key;
        if !self.kept.memory.of_the_moment().eq(&self.status_stored) {
            let conditions: Vec<Condition> = self.kept.memory.of_the_moment().cloned().collect();
            self.status_stored = conditions.iter().cloned().collect();
            let value = restore::encode(&restore::StoredStatus { unit: key.clone(), conditions });
            let key = restore::status_record_key(key);
            actions.push_back(Action::Put(Record { key, value, durable: false }));
        }
        // Comparing is cheap, for templates are shared; writing text is not.
        if self.stored.as_ref() == Some(&self.kept) {
            return;
        }
        self.stored = Some(self.kept.clone());
        let key = restore::unit_record_key(key);
        let value = restore::encode_unit(self);
        actions.push_back(Action::Put(Record { key, value, durable: true }));
    }
}

impl Core {
    /// Gives all instances to the store that changed in this turn and were not given yet.
    pub(super) fn store_changed_instances(&mut self) {
        while let Some(slot) = self.changed.pop_first() {
            self.store_instance(slot);
        }
    }

    /// Gives an instance to the store.
    pub(super) fn store_instance(&mut self, slot: u64) {
        self.changed.remove(&slot);
        if let Some(instance) = self.instances.get(&slot) {
            let value = restore::encode(&**instance);
            let key = restore::instance_record_key(slot);
            self.actions.push_back(Action::Put(Record { key, value, durable: false }));
        }
    }
}
