//! Nothing is killed that was not asked to end first.
//!
//! Kubernetes semantics, section 10: the stop signal, the grace period, then SIGKILL.

use super::facts::Facts;
use super::{Invariant, Verdict};
use crate::sim::machine::{Command, Machine};

#[derive(Debug, Default)]
pub(super) struct Warned;

impl Invariant for Warned {
    fn before_command(&mut self, facts: &Facts, machine: &Machine, command: &Command) -> Verdict {
        // Where the daemon that sent the signal is gone, the signal may be lost with it.
        if let Command::Kill(id) = command
            && let Some(process) = machine.processes.get(id)
            && !process.gone
            && !process.warned
            && facts.warned_by_this.contains(id)
        {
            return Err(format!("{} was killed without being asked first", process.instance));
        }
        Ok(())
    }
}
