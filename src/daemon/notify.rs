//! What programs say of themselves (sd_notify(3)).
//!
//! Responsible for what each of it means to the core. Must not decide what follows.

use super::run::Daemon;
use crate::core::event::{Announcement, Event};
use crate::core::id::InstanceId;
use crate::core::instance::probe::{Answer, Kind};
use crate::core::time::Mono;
use crate::runner::protocol::{EXTEND_UNTIL, FOUND};
use std::collections::BTreeMap;

impl Daemon {
    /// Takes what a start has said.
    pub(super) fn told(&mut self, id: InstanceId, said: &BTreeMap<String, String>) {
        // First who speaks and how long that may take: the rest may end it.
        for word in announcements(said) {
            self.tell(Event::Announced { id, word });
        }
        let said = |name: &str| said.get(name).map(String::as_str);
        if said("READY") == Some("1") {
            for kind in self.core.ready_probes(id) {
                let (answer, message) = (Answer::Success, "READY=1".to_owned());
                self.tell(Event::ProbeTold { id, kind, answer, message });
            }
        }
        for kind in [Kind::Startup, Kind::Readiness] {
            if let Some(line) = said(&format!("{FOUND}{}", kind.as_str())) {
                let message = format!("it has written: {line}");
                self.tell(Event::ProbeTold { id, kind, answer: Answer::Success, message });
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
        if said("STOPPING") == Some("1") {
            self.tell(Event::Announced { id, word: Announcement::Stopping });
        }
    }
}

/// All that it has said of its course, but for its end.
fn announcements(said: &BTreeMap<String, String>) -> Vec<Announcement> {
    let number = |name: &str| said.get(name)?.parse::<u64>().ok();
    let main = number("MAINPID").and_then(|pid| u32::try_from(pid).ok());
    let reloading = said.get("RELOADING").map(|value| value == "1");
    [
        main.map(Announcement::MainPid),
        number(EXTEND_UNTIL).map(|until| Announcement::Extend(Mono(until))),
        reloading.map(Announcement::Reloading),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_announcements() {
        type Row = (&'static [(&'static str, &'static str)], &'static [Announcement]);
        let rows: &[Row] = &[
            (&[("READY", "1"), ("STATUS", "well")], &[]),
            (&[("MAINPID", "7")], &[Announcement::MainPid(7)]),
            (&[("MAINPID", "x"), (EXTEND_UNTIL, "")], &[]),
            (&[("RELOADING", "1")], &[Announcement::Reloading(true)]),
            (
                &[(EXTEND_UNTIL, "5000"), ("RELOADING", "0"), ("MAINPID", "7")],
                &[
                    Announcement::MainPid(7),
                    Announcement::Extend(Mono(5_000)),
                    Announcement::Reloading(false),
                ],
            ),
        ];
        for (said, want) in rows {
            let map = said.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            assert_eq!(announcements(&map), *want, "{said:?}");
        }
    }
}
