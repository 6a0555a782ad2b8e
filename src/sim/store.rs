//! The daemon's store as far as the core can tell: records by key.
//!
//! Responsible for what is there after the daemon or the machine went. Must not look inside.

use crate::core::record::Record;
use std::collections::BTreeMap;

/// Records by key, in two parts.
#[derive(Clone, Debug, Default)]
pub(super) struct Store {
    durable: BTreeMap<String, Vec<u8>>,
    volatile: BTreeMap<String, Vec<u8>>,
}

impl Store {
    pub(super) fn put(&mut self, record: Record) {
        let part = if record.durable { &mut self.durable } else { &mut self.volatile };
        part.insert(record.key, record.value);
    }

    pub(super) fn remove(&mut self, key: &str, durable: bool) {
        let part = if durable { &mut self.durable } else { &mut self.volatile };
        part.remove(key);
    }

    /// The machine starts anew.
    pub(super) fn reboot(&mut self) {
        self.volatile.clear();
    }

    /// Everything, as a new daemon reads it.
    pub(super) fn records(&self) -> Vec<Record> {
        let of = |part: &BTreeMap<String, Vec<u8>>, durable| {
            part.iter()
                .map(|(key, value)| Record { key: key.clone(), value: value.clone(), durable })
                .collect::<Vec<_>>()
        };
        let mut all = of(&self.durable, true);
        all.extend(of(&self.volatile, false));
        all
    }
}
