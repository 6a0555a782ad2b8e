//! What a roll-out must know of an instance's past to tell a broken one from a late one.
//!
//! Responsible for remembering which instances were ever ready and which were made before the
//! newest revision was wished. Used by statefulsets and daemonsets. Must not decide.

use super::super::{Observed, Phase};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(in super::super) struct Seen {
    /// Which of the instances there are were ready at some time.
    ready: BTreeSet<u64>,
    /// The last instance that was made before the newest revision was wished.
    last_before_update: u64,
}

impl Seen {
    /// Looks at what there is.
    pub(in super::super) fn look(&mut self, observed: &[Observed]) {
        let there: BTreeSet<u64> = observed.iter().map(|one| one.slot).collect();
        self.ready.retain(|slot| there.contains(slot));
        self.ready.extend(observed.iter().filter(|one| one.ready()).map(|one| one.slot));
    }

    /// Another revision is wished from now.
    pub(in super::super) fn updated(&mut self, observed: &[Observed]) {
        self.last_before_update = observed.iter().map(|one| one.slot).max().unwrap_or(0);
    }

    /// It was not ready, never yet, when the newest revision was wished: that is a correction.
    pub(in super::super) fn failed_before_update(&self, one: &Observed) -> bool {
        !self.ready.contains(&one.slot) && one.slot <= self.last_before_update
    }

    /// It was made at an older revision though a newer one was wished already (so it came back
    /// from a stop in mid-roll-out), and has not had the time to show itself good or broken. To
    /// replace it as a broken one would let a stop finish the roll-out of a broken revision.
    pub(in super::super) fn late(&self, one: &Observed) -> bool {
        let fine_so_far = match one.phase {
            Phase::Pending | Phase::Running => one.restarts == 0,
            Phase::Succeeded | Phase::Failed | Phase::GaveUp => false,
        };
        fine_so_far && one.slot > self.last_before_update && !self.ready.contains(&one.slot)
    }
}
