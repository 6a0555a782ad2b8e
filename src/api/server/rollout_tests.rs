//! A table of what `rollout status` says.

use super::*;
use crate::core::id::{Kind, UnitKey, UnitName};
use crate::core::table::{Rule, by};
use crate::core::time::Wall;
use crate::core::view::KindView;
use crate::core::workload::Counts;
use std::collections::BTreeMap;

/// Desired, current, updated, ready, available.
type Seen = (u32, u32, u32, u32, u32);

fn unit((desired, current, updated, ready, available): Seen) -> UnitView {
    UnitView {
        key: UnitKey::new(Kind::StatefulSet, UnitName::new("db").unwrap()),
        description: None,
        labels: BTreeMap::new(),
        generation: 1,
        revision: 2,
        counts: Counts { desired, current, ready, updated, available },
        conditions: Vec::new(),
        created_at: Wall(0),
        owner: None,
        invalid: None,
        stopped: false,
        paused: false,
        suspended: false,
        deleting: false,
        not_selected: false,
        rolled_out: false,
        stalled: false,
        overrides: Vec::new(),
        kind: KindView::Service,
    }
}

#[test]
fn what_is_said_of_a_roll_out() {
    let done = |seen| UnitView { rolled_out: true, ..unit(seen) };
    let paused = |view| UnitView { paused: true, ..view };
    let stopped = |view| UnitView { stopped: true, ..view };
    let elsewhere = |view| UnitView { not_selected: true, ..view };
    let stalled = |view| UnitView { stalled: true, ..view };
    // (rule, the unit, its partition, what is said: `+` done, `.` under way, `!` never)
    #[rustfmt::skip]
    let rows: Vec<(Rule, UnitView, Option<u32>, &str)> = vec![
        (by("kubectl/rollout_status.go DeploymentStatusViewer", "not all are new"), unit((4, 5, 2, 4, 4)), None, ".2 out of 4 new instances have been updated..."),
        (by("kubectl/rollout_status.go DeploymentStatusViewer", "old ones are still there"), unit((4, 5, 4, 4, 4)), None, ".1 old instances are pending termination..."),
        (by("kubectl/rollout_status.go DeploymentStatusViewer", "not all are available"), unit((4, 4, 4, 4, 3)), None, ".3 of 4 instances are available..."),
        (by("kubectl/rollout_status.go DeploymentStatusViewer", "done"), done((4, 4, 4, 4, 4)), None, "+statefulset/db successfully rolled out"),
        (by("kubectl/rollout_status.go DeploymentStatusViewer", "of none wanted, done"), done((0, 0, 0, 0, 0)), None, "+statefulset/db successfully rolled out"),
        (by("kubectl/rollout_status.go DeploymentStatusViewer", "stalled, which comes before all else"), stalled(unit((4, 5, 2, 4, 4))), None, "!statefulset/db exceeded its progress deadline"),
        (by("kubectl/rollout_status.go StatefulSetStatusViewer", "a partition: fewer are to be new"), unit((4, 4, 1, 4, 4)), Some(2), ".1 out of 2 new instances have been updated..."),
        (by("kubectl/rollout_status.go StatefulSetStatusViewer", "a partition: all of those are, not all are available"), unit((4, 4, 2, 3, 3)), Some(2), ".3 of 4 instances are available..."),
        (by("kubectl/rollout_status.go StatefulSetStatusViewer", "a partition: done"), done((4, 4, 2, 4, 4)), Some(2), "+partitioned roll out of statefulset/db complete: 2 new instances have been updated"),
        (by("kubectl/rollout_status.go StatefulSetStatusViewer", "a partition beyond all: nothing to wait for"), done((4, 4, 0, 4, 4)), Some(9), "+partitioned roll out of statefulset/db complete: 0 new instances have been updated"),
        (by("wsup", "paused: it says who may go on"), paused(unit((4, 4, 0, 4, 4))), None, ".0 out of 4 new instances have been updated... (paused: `rollout resume` goes on)"),
        (by("wsup", "paused when all was done"), paused(done((4, 4, 4, 4, 4))), None, "+statefulset/db successfully rolled out"),
        (by("wsup", "stopped: not done, though nothing is wanted"), stopped(unit((0, 0, 0, 0, 0))), None, ".it is stopped by an operator..."),
        (by("wsup", "stopped, with a partition"), stopped(unit((0, 0, 0, 0, 0))), Some(2), ".it is stopped by an operator..."),
        (by("wsup", "it does not run on this machine"), elsewhere(unit((0, 0, 0, 0, 0))), None, ".its `node_selector` does not match this machine..."),
    ];
    for (rule, unit, partition, expected) in rows {
        let said = match judge(&unit, partition) {
            Verdict::Met(said) => format!("+{said}"),
            Verdict::NotYet(said) => {
                let said = said.replace("Waiting for statefulset/db rollout to finish: ", "");
                format!(".{said}")
            }
            Verdict::Never(error) => format!("!{}", error.message),
        };
        assert_eq!(said, expected, "{rule}");
    }
}
