//! Stored templates and their numbers: what `rollout history` lists and `rollout undo` goes back to.
//!
//! Responsible for numbering and renumbering, for the text of earlier numbers, and for which
//! stored templates may go. Used as it is by statefulsets and daemonsets (Kubernetes
//! `pkg/controller/history/controller_history.go`); a ReplicaSet holds one [`Stored`] each. Must
//! not know instances: the callers say which templates are in use.

use super::{HistoryEntry, Intent, Note, Outcome, SetId, template_hash};
use crate::core::encoded::Encoded;
use crate::core::id::Revision;
use crate::core::report::Reason;
use crate::core::spec::InstanceTemplate;
use crate::core::time::Wall;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The longest text of earlier numbers (Kubernetes `maxRevHistoryLengthInChars`).
pub const EARLIER_MAX: usize = 2000;

/// A template with its number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// Its lasting identity.
    pub id: SetId,
    /// Its number now; grows when its template is used again.
    pub revision: Revision,
    /// The template.
    pub template: Encoded<InstanceTemplate>,
    /// The text in instances' names, unique within the unit.
    pub hash: SmolStr,
    /// The numbers it had before, oldest first, as a comma list.
    #[serde(default)]
    pub earlier: String,
    /// When it was first used.
    pub created: Wall,
}

impl Stored {
    /// Gives it the number `to` if that is greater, and keeps the former one as text (Kubernetes
    /// `deployment_util.go SetNewReplicaSetAnnotations`). Returns whether it did.
    pub fn raise(&mut self, to: Revision) -> bool {
        if to <= self.revision {
            return false;
        }
        let former = self.revision.to_string();
        let mut kept: Vec<&str> = self.earlier.split(',').filter(|t| !t.is_empty()).collect();
        let mut length: usize = kept.iter().map(|t| t.len() + 1).sum::<usize>() + former.len();
        while length > EARLIER_MAX && !kept.is_empty() {
            length = length.saturating_sub(kept.remove(0).len() + 1);
        }
        kept.push(&former);
        self.earlier = kept.join(",");
        self.revision = to;
        true
    }

    /// As shown to people.
    pub fn entry(&self, instances: u32) -> HistoryEntry {
        HistoryEntry {
            revision: self.revision,
            set: self.id,
            template: Arc::clone(&self.template),
            created: self.created,
            instances,
            earlier: self.earlier.clone(),
        }
    }
}

/// Makes a stored template, with a hash that none of `others` has (Kubernetes bumps
/// `status.collisionCount` until the name is free).
pub fn store(
    id: SetId,
    revision: Revision,
    template: &Arc<InstanceTemplate>,
    created: Wall,
    collisions: &mut u32,
    others: &[&str],
) -> Stored {
    let mut hash = template_hash(template, *collisions);
    while others.contains(&hash.as_str()) {
        *collisions = collisions.wrapping_add(1);
        hash = template_hash(template, *collisions);
    }
    let template = Arc::clone(template).into();
    Stored { id, revision, template, hash: hash.into(), earlier: String::new(), created }
}

/// The controller revisions of one statefulset or daemonset.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Revisions {
    /// In the order of first use.
    list: Vec<Stored>,
    /// The last identity given out.
    last_id: SetId,
    /// How often a hash was taken.
    collisions: u32,
    /// How many instances run of each, as last seen.
    in_use: BTreeMap<SetId, u32>,
}

/// What [`Revisions::adopt`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Adopted {
    /// The template's identity.
    pub id: SetId,
    /// It was not the newest before: a roll-out begins.
    pub changed: bool,
}

impl Revisions {
    /// Makes `template` the newest: as it is if it is so already, by a new number if it is an
    /// older one, else as a new one (Kubernetes `stateful_set_control.go getStatefulSetRevisions`,
    /// `daemon/update.go constructHistory`).
    pub fn adopt(&mut self, template: &Arc<InstanceTemplate>, now: Wall) -> Adopted {
        let newest = self.newest();
        if let Some(known) = self.list.iter_mut().find(|s| same(&s.template, template)) {
            let changed = known.revision < newest && known.raise(newest.saturating_add(1));
            return Adopted { id: known.id, changed };
        }
        self.last_id = self.last_id.saturating_add(1);
        let hashes: Vec<&str> = self.list.iter().map(|s| s.hash.as_str()).collect();
        let mut collisions = self.collisions;
        let number = newest.saturating_add(1);
        let stored = store(self.last_id, number, template, now, &mut collisions, &hashes);
        self.collisions = collisions;
        self.list.push(stored);
        Adopted { id: self.last_id, changed: true }
    }

    /// The greatest number; 0 if there is none.
    pub fn newest(&self) -> Revision {
        self.list.iter().map(|s| s.revision).max().unwrap_or(0)
    }

    /// The identity with the greatest number.
    pub fn newest_id(&self) -> Option<SetId> {
        self.list.iter().max_by_key(|s| s.revision).map(|s| s.id)
    }

    /// The stored template of that identity.
    pub fn get(&self, id: SetId) -> Option<&Stored> {
        self.list.iter().find(|s| s.id == id)
    }

    /// Whether this identity has this template. The newest one has another while a pause holds a
    /// changed template back: then nothing is of the template that is wished.
    pub fn holds(&self, id: SetId, template: &Arc<InstanceTemplate>) -> bool {
        self.get(id).is_some_and(|stored| same(&stored.template, template))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Notes how many instances run of each, for [`Revisions::history`].
    pub fn count(&mut self, sets: impl Iterator<Item = SetId>) {
        self.in_use.clear();
        for set in sets {
            *self.in_use.entry(set).or_default() += 1;
        }
    }

    /// Past and present templates, by number.
    pub fn history(&self) -> Vec<HistoryEntry> {
        let mut entries: Vec<HistoryEntry> = self
            .list
            .iter()
            .map(|s| s.entry(self.in_use.get(&s.id).copied().unwrap_or(0)))
            .collect();
        entries.sort_by_key(|e| e.revision);
        entries
    }

    /// Statefulset: of those not in `live`, all but the `limit` newest go (Kubernetes
    /// `stateful_set_control.go truncateHistory`). `u32::MAX`: all stay.
    pub fn truncate_unused(&mut self, limit: u32, live: &[SetId]) {
        let unused = self.list.iter().filter(|s| !live.contains(&s.id)).count();
        let surplus = unused.saturating_sub(limit as usize);
        self.remove_oldest(surplus, live);
    }

    /// Daemonset: of the old ones, in use or not, `limit` are to stay; ones in use stay in any
    /// case (Kubernetes `daemon/update.go cleanupHistory`). `u32::MAX`: all stay.
    pub fn truncate_old(&mut self, limit: u32, live: &[SetId]) {
        let old = self.list.len().saturating_sub(1);
        let surplus = old.saturating_sub(limit as usize);
        self.remove_oldest(surplus, live);
    }

    fn remove_oldest(&mut self, count: usize, live: &[SetId]) {
        let newest = self.newest_id();
        let mut unused: Vec<(Revision, SetId)> = self
            .list
            .iter()
            .filter(|s| !live.contains(&s.id) && Some(s.id) != newest)
            .map(|s| (s.revision, s.id))
            .collect();
        unused.sort_unstable();
        unused.truncate(count);
        self.list.retain(|s| !unused.iter().any(|(_, id)| *id == s.id));
    }
}

/// Whether two templates are one revision. The pointers are compared first: most calls are about
/// a template that has not changed.
pub fn same(a: &Arc<InstanceTemplate>, b: &Arc<InstanceTemplate>) -> bool {
    Arc::ptr_eq(a, b) || a == b
}

/// The template that an undo goes back to: that of revision `to`, or without a number that of
/// the revision before the latest (Kubernetes `kubectl polymorphichelpers/rollback.go`).
///
/// # Errors
/// A sentence for people: there is nothing to go back to, or no revision of that number; then
/// with the numbers there are.
pub fn undo_template(
    history: &[HistoryEntry],
    to: Option<Revision>,
) -> Result<Arc<InstanceTemplate>, String> {
    let mut known: Vec<&HistoryEntry> = history.iter().collect();
    known.sort_by_key(|e| e.revision);
    let found = match to {
        Some(number) => known.iter().find(|e| e.revision == number),
        None => known.len().checked_sub(2).and_then(|at| known.get(at)),
    };
    if let Some(entry) = found {
        return Ok(Arc::clone(&entry.template));
    }
    let numbers: Vec<String> = known.iter().map(|e| e.revision.to_string()).collect();
    let numbers = if numbers.is_empty() { "none".to_owned() } else { numbers.join(", ") };
    Err(match to {
        Some(number) => format!("there is no revision {number}; known revisions: {numbers}"),
        None => format!("there is no earlier revision to go back to; known revisions: {numbers}"),
    })
}

/// Whether nothing is to be done. Only then may stored templates go: what is about to be made is
/// not yet seen to be using one.
pub fn at_rest(outcome: &Outcome) -> bool {
    outcome.intents.iter().all(|intent| matches!(intent, Intent::Tell(_)))
}

/// Tells that a roll-out began.
pub fn started(revision: Revision) -> Note {
    Note::normal(Reason::RolloutStarted, format!("rolling out revision {revision}"))
        .with_int("revision", number(revision))
}

/// Tells that a roll-out is done.
pub fn complete(revision: Revision) -> Note {
    Note::normal(Reason::RolloutComplete, format!("revision {revision} is rolled out"))
        .with_int("revision", number(revision))
}

/// A revision as a number of an event's field.
pub fn number(revision: Revision) -> i64 {
    i64::try_from(revision).unwrap_or(i64::MAX)
}

#[cfg(test)]
#[path = "history_tests.rs"]
mod tests;
