//! What `rollout status` says of a roll-out: done, under way, or stalled.
//!
//! Responsible for kubectl's words and order of questions (`polymorphichelpers/
//! rollout_status.go`). Must not ask the core: it judges what it is shown.

use super::follow::Verdict;
use crate::api::types::{ApiError, ErrorCode};
use crate::core::view::UnitView;

/// Judges a deployment, statefulset or daemonset. `partition`: how many of a statefulset's
/// instances keep the template they have; it counts instances, whatever their ordinals.
pub(super) fn judge(unit: &UnitView, partition: Option<u32>) -> Verdict {
    let (key, c) = (&unit.key, &unit.counts);
    let waiting = |rest: String| {
        let held = if unit.paused { " (paused: `rollout resume` goes on)" } else { "" };
        Verdict::NotYet(format!("Waiting for {key} rollout to finish: {rest}...{held}"))
    };
    if unit.stalled {
        return Verdict::Never(
            ApiError::new(ErrorCode::Failed, format!("{key} exceeded its progress deadline"))
                .help(format!("`wsup ctl describe {key}` says why; `rollout undo` goes back")),
        );
    }
    if unit.stopped {
        return waiting("it is stopped by an operator".to_owned());
    }
    if unit.not_selected {
        return waiting("its `node_selector` does not match this machine".to_owned());
    }
    if unit.rolled_out {
        return Verdict::Met(match partition {
            Some(_) => format!(
                "partitioned roll out of {key} complete: {} new instances have been updated",
                c.updated
            ),
            None => format!("{key} successfully rolled out"),
        });
    }
    let wanted = c.desired.saturating_sub(partition.unwrap_or(0));
    if c.updated < wanted {
        return waiting(format!("{} out of {wanted} new instances have been updated", c.updated));
    }
    if partition.is_none() && c.current > c.updated {
        return waiting(format!("{} old instances are pending termination", c.current - c.updated));
    }
    waiting(format!("{} of {} instances are available", c.available, c.desired))
}

#[cfg(test)]
#[path = "rollout_tests.rs"]
mod tests;
