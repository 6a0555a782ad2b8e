//! Conditions: typed, timestamped statements about a unit (Kubernetes `metav1.Condition`).
//!
//! Responsible for when a condition's two times move. Must not decide which conditions hold.

use crate::core::time::Wall;
use serde::{Deserialize, Serialize};

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
    pub kind: String,
    /// Whether it holds.
    pub status: Truth,
    /// Such as `MinimumReplicasAvailable`.
    pub reason: String,
    /// A sentence.
    pub message: String,
    /// When `status` last changed.
    pub last_transition: Wall,
    /// When any part of it was last written.
    pub last_update: Wall,
}

/// A unit's conditions, in the order in which they first appeared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Conditions(pub Vec<Condition>);

impl Conditions {
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
        kind: &str,
        status: Truth,
        reason: &str,
        message: &str,
        now: Wall,
    ) -> bool {
        if let Some(old) = self.0.iter_mut().find(|c| c.kind == kind) {
            let changed = old.status != status || old.reason != reason;
            if old.status != status {
                old.last_transition = now;
            }
            if changed {
                old.last_update = now;
                old.status = status;
                reason.clone_into(&mut old.reason);
            }
            if old.message != message {
                message.clone_into(&mut old.message);
            }
            return changed;
        }
        self.0.push(Condition {
            kind: kind.to_owned(),
            status,
            reason: reason.to_owned(),
            message: message.to_owned(),
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
