//! What a program says of its own course: that it takes longer, ends, reloads, or goes on in another
//! process (`EXTEND_TIMEOUT_USEC=`, `STOPPING=1`, `RELOADING=1`, `MAINPID=` of sd_notify(3)).
//!
//! Responsible for what each of it does to an instance, by systemd's rules (systemd.service(5),
//! `TimeoutStartSec=`, `TimeoutStopSec=`). Must not know how words arrive, or whether the sender may:
//! the runner hears the instance's own tree only.
//!
//! A new daemon is told again what still holds, so each of it may be said twice.

use super::stop::{Rung, Then};
use super::{Effect, Instance, State};
use crate::core::event::Announcement;
use crate::core::report::Reason;
use crate::core::time::{Mono, Now};
use crate::core::workload::Note;

impl Instance {
    /// The program says what becomes of it. Of an init step, which has no course, nothing is taken.
    pub(super) fn announced(&mut self, now: Now, word: Announcement, effects: &mut Vec<Effect>) {
        match word {
            Announcement::Extend(until) => self.extend(until),
            Announcement::MainPid(pid) => self.main_is(pid, effects),
            Announcement::Stopping => self.ends_by_itself(now, effects),
            Announcement::Reloading(reloading) => self.reloads(reloading, effects),
        }
    }

    /// Its start, or its end, whichever is under way, may take until then. Never less than without:
    /// the last word counts, but no limit is made shorter by one.
    fn extend(&mut self, until: Mono) {
        match &mut self.state {
            State::Running { probes: Some(probes), .. } => probes.extend(until),
            State::Stopping { extended, .. } => *extended = Some(until),
            State::Pending { .. }
            | State::Starting { .. }
            | State::Init { .. }
            | State::PostStart { .. }
            | State::Running { probes: None, .. }
            | State::Queued { .. }
            | State::Backoff { .. }
            | State::Succeeded
            | State::Failed { .. }
            | State::GaveUp => {}
        }
    }

    fn main_is(&mut self, main: u32, effects: &mut Vec<Effect>) {
        match &mut self.state {
            State::PostStart { pid, .. }
            | State::Running { pid, .. }
            | State::Stopping { pid: Some(pid), .. }
                if *pid != main =>
            {
                let message = format!("its main process is {main} now, after {pid}");
                let note = Note::normal(Reason::InstanceMainPid, message).with_int("pid", main);
                *pid = main;
                effects.push(Effect::Tell(note));
            }
            State::PostStart { .. }
            | State::Running { .. }
            | State::Stopping { .. }
            | State::Pending { .. }
            | State::Starting { .. }
            | State::Init { .. }
            | State::Queued { .. }
            | State::Backoff { .. }
            | State::Succeeded
            | State::Failed { .. }
            | State::GaveUp => {}
        }
    }

    /// As if it had been sent the stop signal, but for that signal and the hook before it
    /// (systemd `service_enter_stop_by_notify`): it is not ready any more, and killed if it does not
    /// end in time. What follows is what the restart policy says of its end.
    fn ends_by_itself(&mut self, now: Now, effects: &mut Vec<Effect>) {
        match self.state {
            State::PostStart { pid, .. } | State::Running { pid, .. } => {
                let grace = self.template.process.termination_grace_period;
                let rung = Rung::Own { kill_at: now.mono.plus(grace) };
                self.state =
                    State::Stopping { pid: Some(pid), rung, then: Then::Judge, extended: None };
                let told = format!("it says that it ends (STOPPING=1), killed after {grace}");
                effects.push(Effect::Tell(Note::normal(Reason::InstanceStopping, told)));
            }
            State::Pending { .. }
            | State::Starting { .. }
            | State::Init { .. }
            | State::Stopping { .. }
            | State::Queued { .. }
            | State::Backoff { .. }
            | State::Succeeded
            | State::Failed { .. }
            | State::GaveUp => {}
        }
    }

    fn reloads(&mut self, reloading: bool, effects: &mut Vec<Effect>) {
        if std::mem::replace(&mut self.reloading, reloading) && !reloading {
            let message = "reloaded, as it says (READY=1 after RELOADING=1)";
            effects.push(Effect::Tell(Note::normal(Reason::InstanceReloaded, message)));
        }
    }
}
