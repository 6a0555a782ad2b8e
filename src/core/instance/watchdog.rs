//! The watchdog: a program that must give a sign of life again and again (systemd.service(5),
//! `WatchdogSec=`; `WATCHDOG=1` of sd_notify(3)).
//!
//! Responsible for when its time is over. Must not know how signs arrive. A sign is not remembered over
//! the end of the daemon: a new one gives the program its whole time again.

use super::health::probe_failed;
use super::probe::Kind;
use super::stop::Then;
use super::{Effect, Instance, State};
use crate::core::time::{Millis, Mono, Now};
use serde::{Deserialize, Serialize};

/// A watchdog.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Watchdog {
    limit: Millis,
    /// `None`: the program has not started yet, by its startup probe.
    due: Option<Mono>,
}

impl Watchdog {
    /// One that runs, or waits until [`Watchdog::begin`].
    pub(super) fn new(limit: Millis, runs_since: Option<Mono>) -> Watchdog {
        Watchdog { limit, due: runs_since.map(|since| since.plus(limit)) }
    }

    /// The program has started.
    pub(super) fn begin(&mut self, now: Mono) {
        self.due = Some(now.plus(self.limit));
    }

    /// A sign of life, or another reason to give the program its whole time.
    pub(super) fn renew(&mut self, now: Mono) {
        if self.due.is_some() {
            self.begin(now);
        }
    }

    /// When its time is over.
    pub(super) fn due(&self) -> Option<Mono> {
        self.due
    }
}

impl Instance {
    /// The program gave a sign of life. `trigger`: it says itself that it is not well
    /// (`WATCHDOG=trigger`).
    pub(super) fn fed(&mut self, now: Now, trigger: bool, effects: &mut Vec<Effect>) {
        let State::Running { probes: Some(probes), .. } = &mut self.state else { return };
        let Some(watchdog) = &mut probes.watchdog else { return };
        if trigger {
            self.bark(now, "the program says that it is not well (WATCHDOG=trigger)", effects);
        } else {
            watchdog.renew(now.mono);
        }
    }

    /// Ends the process if its time is over. Returns whether it is.
    pub(super) fn watch(&mut self, now: Now, effects: &mut Vec<Effect>) -> bool {
        let State::Running { probes: Some(probes), .. } = &self.state else { return false };
        let Some(watchdog) = &probes.watchdog else { return false };
        if watchdog.due.is_none_or(|due| due > now.mono) {
            return false;
        }
        let message = format!("no sign of life (WATCHDOG=1) for {}", watchdog.limit);
        self.bark(now, &message, effects);
        true
    }

    fn bark(&mut self, now: Now, message: &str, effects: &mut Vec<Effect>) {
        effects.push(probe_failed(Kind::Liveness, message));
        self.begin_to_stop(now, Then::Judge, "its watchdog: ", effects);
    }

    /// A new daemon holds it.
    pub(in crate::core) fn adopted(&mut self, now: Mono) {
        let State::Running { probes: Some(probes), .. } = &mut self.state else { return };
        probes.count_anew();
        probes.give_time_to_be_heard(now);
        if let Some(watchdog) = &mut probes.watchdog {
            watchdog.renew(now);
        }
    }
}
