//! When the parts of a condition move.

use super::*;
use crate::core::table::{Rule, by};

const BEFORE: Wall = Wall(1_000);
const NOW: Wall = Wall(2_000);

#[test]
fn writing_one() {
    use Truth::{False, True, Unknown};
    // (rule, status and reason and message before, the same as written, whether it counts as a
    // change, whether the transition time moves, whether the update time does)
    type Said = (Truth, &'static str, &'static str);
    type Row = (Rule, Option<Said>, Said, bool, bool, bool);
    #[rustfmt::skip]
    let rows: &[Row] = &[
        (by("deployment/util.go SetDeploymentCondition", "a new one begins now"), None, (True, "A", "a"), true, true, true),
        (by("deployment/util.go SetDeploymentCondition", "the same again moves nothing"), Some((True, "A", "a")), (True, "A", "a"), false, false, false),
        (by("deployment/util.go SetDeploymentCondition", "another reason is an update"), Some((True, "A", "a")), (True, "B", "a"), true, false, true),
        (by("deployment/util.go SetDeploymentCondition", "another status is a transition"), Some((True, "A", "a")), (False, "A", "a"), true, true, true),
        (by("deployment/util.go SetDeploymentCondition", "from unknown is one too"), Some((Unknown, "A", "a")), (True, "B", "a"), true, true, true),
        (by("deployment/util.go SetDeploymentCondition", "to unknown is one too"), Some((True, "A", "a")), (Unknown, "A", "a"), true, true, true),
        (by("wsup", "another message is written down but is no update"), Some((True, "A", "a")), (True, "A", "b"), false, false, false),
    ];
    for (rule, before, (status, reason, message), changed, moved, updated) in rows {
        let mut conditions = Conditions::default();
        if let Some((status, reason, message)) = before {
            conditions.set("X", *status, *reason, *message, BEFORE);
        }
        assert_eq!(conditions.set("X", *status, *reason, *message, NOW), *changed, "{rule}");
        let time = |moves: bool| if moves { NOW } else { BEFORE };
        let expected = Condition {
            kind: "X".into(),
            status: *status,
            reason: (*reason).into(),
            message: (*message).into(),
            last_transition: time(*moved),
            last_update: time(*updated),
        };
        assert_eq!(conditions.0[..], [expected], "{rule}");
    }
}

#[test]
fn several() {
    let mut conditions = Conditions::default();
    conditions.set("A", Truth::True, "r", "m", BEFORE);
    conditions.set("B", Truth::False, "r", "m", BEFORE);
    conditions.set("C", Truth::Unknown, "r", "m", BEFORE);
    // (rule, which, whether it holds)
    let rows = [
        (by("deployment/util.go GetDeploymentCondition", "one that is true holds"), "A", true),
        (by("deployment/util.go GetDeploymentCondition", "one that is false does not"), "B", false),
        (by("deployment/util.go GetDeploymentCondition", "nor one that is unknown"), "C", false),
        (by("deployment/util.go GetDeploymentCondition", "nor one that is not there"), "D", false),
    ];
    for (rule, kind, holds) in rows {
        assert_eq!(conditions.holds(kind), holds, "{rule}");
    }
    conditions.set("A", Truth::False, "s", "m", NOW);
    conditions.touch("B", NOW);
    conditions.touch("D", NOW);
    conditions.remove("C");
    conditions.remove("D");
    let left: Vec<(&str, Wall, Wall)> =
        conditions.0.iter().map(|c| (&*c.kind, c.last_transition, c.last_update)).collect();
    assert_eq!(left, [("A", NOW, NOW), ("B", BEFORE, NOW)], "in the order of first appearance");
}
