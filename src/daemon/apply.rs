//! Reading the unit files on behalf of somebody: an operator, a signal, a noticed change.
//!
//! Responsible for turning a reading into an event and into words. The core decides what changes.

use super::run::Daemon;
use super::units::Reading;
use crate::api::door::ApplyOutcome;
use crate::core::event::Event;
use crate::core::view::{Change, ChangeKind};

impl Daemon {
    /// `ctl apply` and `ctl diff`.
    pub(super) fn apply_asked(&mut self, dry_run: bool) -> Result<ApplyOutcome, String> {
        let known = self.known();
        let reading = self.units.read(true, &known)?;
        self.watch_units();
        let changes = self.core.plan(&reading.read);
        let valid = reading.read.valid.len();
        let changed = changes
            .iter()
            .filter(|change| matches!(change.kind, ChangeKind::Create | ChangeKind::Update))
            .count();
        let outcome = ApplyOutcome {
            changes,
            unchanged: valid.saturating_sub(changed),
            diagnostics: reading.diagnostics,
            messages: reading.warnings,
        };
        if !dry_run {
            self.tell(Event::Units(reading.read));
        }
        Ok(outcome)
    }

    /// SIGHUP (`explicit`), or something in the directories has changed.
    pub(super) fn apply_noticed(&mut self, explicit: bool) {
        let known = self.known();
        let reading = self.units.read(explicit, &known);
        self.watch_units();
        match reading {
            Ok(reading) => {
                if reading.changed || explicit {
                    self.apply(reading);
                }
            }
            Err(error) => tracing::warn!("unit files are not applied: {error}"),
        }
    }

    fn apply(&mut self, reading: Reading) {
        for diagnostic in reading.diagnostics.iter().chain(&reading.warnings) {
            tracing::warn!("{}", diagnostic.trim_end());
        }
        for change in self.core.plan(&reading.read) {
            tracing::debug!("{}", words(&change));
        }
        self.tell(Event::Units(reading.read));
    }
}

fn words(change: &Change) -> String {
    let what = match change.kind {
        ChangeKind::Create => "is new",
        ChangeKind::Update => "has changed",
        ChangeKind::Remove => "is gone",
        ChangeKind::Invalid => "is invalid",
    };
    format!("{} {what}", change.key)
}
