//! Conditions: typed, timestamped statements about a unit (Kubernetes `metav1.Condition`).
//!
//! Responsible for when a condition's two times move. Must not decide which conditions hold.

use crate::core::time::Wall;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use std::borrow::Cow;

/// A text of a condition. Nearly all are fixed, and those cost no memory of their own: a condition
/// is looked at with every event of its unit.
pub type Words = Cow<'static, str>;

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Truth {
    /// It holds.
    True,
    /// It does not.
    False,
    /// It cannot be said.
    Unknown,
}

impl Truth {
    /// The word in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Truth::True => "True",
            Truth::False => "False",
            Truth::Unknown => "Unknown",
        }
    }
}

/// One condition. `kind` and `reason` are Kubernetes' CamelCase words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// Such as `Available`.
    pub kind: Words,
    /// Whether it holds.
    pub status: Truth,
    /// Such as `MinimumReplicasAvailable`.
    pub reason: Words,
    /// A sentence.
    pub message: Words,
    /// When `status` last changed.
    pub last_transition: Wall,
    /// When any part of it was last written.
    pub last_update: Wall,
}

/// Conditions that say how the instances are at the moment. They come and go with every crash, so
/// they are remembered as instances are: in the store that is not synced, and that a reboot ends.
const OF_THE_MOMENT: &[&str] = &["Available", "ReplicaFailure"];

/// A unit's conditions, in the order in which they first appeared. Two that differ only in those of
/// the moment are equal.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Conditions(pub SmallVec<[Condition; 2]>);

impl PartialEq for Conditions {
    fn eq(&self, other: &Conditions) -> bool {
        self.0.iter().filter(|c| c.lasts()).eq(other.0.iter().filter(|c| c.lasts()))
    }
}

impl Eq for Conditions {}

impl Condition {
    fn lasts(&self) -> bool {
        !OF_THE_MOMENT.contains(&&*self.kind)
    }
}

impl Conditions {
    /// Those of the moment.
    pub fn of_the_moment(&self) -> impl Iterator<Item = &Condition> {
        self.0.iter().filter(|c| !c.lasts())
    }

    /// Puts back what [`Conditions::of_the_moment`] gave an earlier daemon.
    pub fn put_back(&mut self, conditions: Vec<Condition>) {
        self.0.retain(|c| c.lasts() || conditions.iter().any(|new| new.kind == c.kind));
        for condition in conditions {
            match self.0.iter_mut().find(|c| c.kind == condition.kind) {
                Some(old) => *old = condition,
                None => self.0.push(condition),
            }
        }
    }

    /// The condition of this type.
    pub fn get(&self, kind: &str) -> Option<&Condition> {
        self.0.iter().find(|c| c.kind == kind)
    }

    /// Whether the condition of this type is there and true.
    pub fn holds(&self, kind: &str) -> bool {
        self.get(kind).is_some_and(|c| c.status == Truth::True)
    }

    /// Writes a condition. Its update time becomes `now` if status or reason differ from before
    /// (Kubernetes `SetDeploymentCondition`); the transition time only if the status differs.
    /// Returns whether anything but the message changed.
    pub fn set(
        &mut self,
        kind: &'static str,
        status: Truth,
        reason: impl Into<Words>,
        message: impl Into<Words>,
        now: Wall,
    ) -> bool {
        let (reason, message) = (reason.into(), message.into());
        if let Some(old) = self.0.iter_mut().find(|c| c.kind == kind) {
            let changed = old.status != status || old.reason != reason;
            if old.status != status {
                old.last_transition = now;
            }
            if changed {
                old.last_update = now;
                old.status = status;
                old.reason = reason;
            }
            if old.message != message {
                old.message = message;
            }
            return changed;
        }
        self.0.push(Condition {
            kind: kind.into(),
            status,
            reason,
            message,
            last_transition: now,
            last_update: now,
        });
        true
    }

    /// Renews the update time of a condition without changing it.
    pub fn touch(&mut self, kind: &str, now: Wall) {
        if let Some(old) = self.0.iter_mut().find(|c| c.kind == kind) {
            old.last_update = now;
        }
    }

    /// Takes a condition away.
    pub fn remove(&mut self, kind: &str) {
        self.0.retain(|c| c.kind != kind);
    }
}

#[cfg(test)]
#[path = "conditions_tests.rs"]
mod tests;
