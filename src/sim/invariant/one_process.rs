//! At most one process lives in one place: of one instance, and of one identity of a statefulset
//! (its whole tree must be gone before the next is started), and of one index of a job.
//!
//! Kubernetes semantics, section 4: "at most one replica per ordinal, ever"; section 6, duplicate
//! indexes, in wsup's stricter form.

use super::facts::Facts;
use super::{Invariant, Verdict};
use crate::core::id::Kind;
use crate::sim::machine::{Machine, Process};

#[derive(Debug, Default)]
pub(super) struct OneProcess;

impl Invariant for OneProcess {
    fn started(&mut self, _: &Facts, machine: &Machine, new: &Process) -> Verdict {
        for other in machine.alive().filter(|p| p.id != new.id) {
            if other.id.slot == new.id.slot {
                return Err(format!(
                    "{} has two processes: {} and {}",
                    new.instance, other.id, new.id
                ));
            }
            if other.unit != new.unit {
                continue;
            }
            let same = match new.unit.kind {
                Kind::StatefulSet => other.instance == new.instance,
                Kind::Job => new.index.is_some() && other.index == new.index,
                Kind::Deployment | Kind::DaemonSet | Kind::CronJob => false,
            };
            if same {
                return Err(format!("two of {} live: {} and {}", new.instance, other.id, new.id));
            }
        }
        Ok(())
    }
}
