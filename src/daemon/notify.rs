//! What programs say of themselves (sd_notify(3)).
//!
//! Responsible for what each of it means to the core. Must not decide what follows.

use super::run::Daemon;
use crate::core::event::Event;
use crate::core::id::InstanceId;
use crate::core::instance::probe::Answer;
use std::collections::BTreeMap;

impl Daemon {
    /// Takes what a start has said.
    pub(super) fn told(&mut self, id: InstanceId, said: &BTreeMap<String, String>) {
        let said = |name: &str| said.get(name).map(String::as_str);
        if said("READY") == Some("1") {
            for kind in self.core.ready_probes(id) {
                let (answer, message) = (Answer::Success, "READY=1".to_owned());
                self.tell(Event::ProbeTold { id, kind, answer, message });
            }
        }
        match said("WATCHDOG") {
            Some("1") => self.tell(Event::WatchdogFed { id, trigger: false }),
            Some("trigger") => self.tell(Event::WatchdogFed { id, trigger: true }),
            Some(_) | None => {}
        }
        if let Some(text) = said("STATUS") {
            self.tell(Event::StatusTold { id, text: text.to_owned() });
        }
    }
}
