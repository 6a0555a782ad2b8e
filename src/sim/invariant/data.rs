//! A data directory is never removed below a process that uses it, and nothing is started in one
//! that is being removed.
//!
//! Kubernetes semantics, section 4, storage: a replica that comes back waits for stale storage to
//! go, and storage goes only when its replica is gone.

use super::facts::Facts;
use super::{Fault, Invariant, Turn, Verdict};
use crate::core::action::Action;
use crate::sim::machine::Machine;
use std::collections::BTreeSet;

#[derive(Debug, Default)]
pub(super) struct Data {
    /// Directories that are being removed, by their instances' names.
    going: BTreeSet<String>,
}

impl Invariant for Data {
    fn committed(&mut self, _: &Facts, turn: &Turn<'_>) -> Verdict {
        for action in turn.effects {
            if let Action::Spawn(spawn) = action
                && let Some(dir) = &spawn.data_dir
                && self.going.contains(&dir.instance)
            {
                return Err(format!("{} starts while its data is being removed", spawn.instance));
            }
        }
        Ok(())
    }

    fn fault(&mut self, _: &Facts, machine: &Machine, fault: &Fault) -> Verdict {
        match fault {
            Fault::DataGoing(dir) => {
                self.going.insert(dir.instance.clone());
            }
            Fault::DataGone(dir) => {
                self.going.remove(&dir.instance);
                if let Some(process) = machine.alive().find(|p| p.data.as_ref() == Some(dir)) {
                    let name = &process.instance;
                    return Err(format!("the data of {name} was removed while it lives"));
                }
            }
            // The shell's removals die with it; the core must ask again.
            Fault::DaemonDied => self.going.clear(),
            Fault::Rebooted | Fault::DaemonStarted | Fault::ClockStepped { .. } => {}
        }
        Ok(())
    }
}
