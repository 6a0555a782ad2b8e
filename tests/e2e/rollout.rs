//! `wsup ctl rollout`, every verb, as an operator or a script uses it.

use crate::support::{Daemon, texts};
use serde_json::Value;

fn unit(kind: &str, version: &str, more: &str) -> String {
    format!(
        r#"
kind = "{kind}"
[process]
command = ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1000 & wait; done"]
env = {{ VERSION = "{version}" }}
{more}
"#
    )
}

fn api(version: &str) -> String {
    unit("deployment", version, "[rollout]\nprogress_deadline = \"2s\"").replacen(
        "[process]",
        "replicas = 2\n[process]",
        1,
    )
}

/// A version that cannot be started at all.
fn broken() -> String {
    api("broken").replace(r#""sh", "-c""#, r#""./no-such-program", "-c""#)
}

fn condition(view: &Value, kind: &str) -> Option<(String, String, String)> {
    let all = view["conditions"].as_array().unwrap();
    let one = all.iter().find(|condition| condition["type"] == kind)?;
    let text = |field: &str| one[field].as_str().unwrap().to_owned();
    Some((text("status"), text("reason"), text("message")))
}

#[test]
fn status_waits_and_exits_1_on_a_stalled_roll_out_until_it_is_undone() {
    let daemon = Daemon::start(&[("api", &api("1"))]);
    let done = daemon.ctl(&["rollout", "status", "api", "--timeout", "60s"]);
    assert_eq!((done.code, done.out.contains("successfully rolled out")), (0, true), "{done:?}");

    daemon.write_unit("api", &broken());
    daemon.ctl_ok(&["apply"]);
    // It waits for the whole deadline, then says so; no time limit is given.
    let stalled = daemon.ctl(&["rollout", "status", "deployment/api"]);
    assert_eq!(stalled.code, 1, "{stalled:?}");
    assert!(stalled.err.contains("deployment/api exceeded its progress deadline"), "{stalled:?}");
    assert!(stalled.err.contains("rollout undo"), "the remedy: {stalled:?}");
    assert!(stalled.out.contains("Waiting for deployment/api rollout to finish"), "{stalled:?}");

    let view = daemon.get("deployment/api");
    let progressing = condition(&view, "Progressing").unwrap();
    assert_eq!(
        (progressing.0.as_str(), progressing.1.as_str()),
        ("False", "ProgressDeadlineExceeded")
    );
    let failure = condition(&view, "ReplicaFailure").unwrap();
    assert_eq!((failure.0.as_str(), failure.1.as_str()), ("True", "FailedCreate"));
    assert!(failure.2.contains("no-such-program"), "says why: {failure:?}");
    assert_eq!(view["available"], 2, "the old version serves");

    daemon.ctl_ok(&["rollout", "undo", "api"]);
    let done = daemon.ctl(&["rollout", "status", "api", "--timeout", "60s"]);
    assert_eq!(done.code, 0, "{done:?}");
    let view = daemon.get("deployment/api");
    assert_eq!(condition(&view, "Progressing").unwrap().1, "NewReplicaSetAvailable");
    assert_eq!(condition(&view, "ReplicaFailure"), None);
    assert_eq!(view["revision"], 3);
}

#[test]
fn history_shows_a_template_and_its_difference_and_undo_goes_to_a_number() {
    let daemon = Daemon::start(&[("api", &api("one"))]);
    daemon.ctl_ok(&["rollout", "status", "api"]);
    for version in ["two", "three"] {
        daemon.write_unit("api", &api(version));
        daemon.ctl_ok(&["apply"]);
        daemon.ctl_ok(&["rollout", "status", "api"]);
    }
    let second = daemon.ctl_ok(&["rollout", "history", "api", "--revision", "2"]);
    assert!(second.starts_with("revision 2, 0 instances\n"), "{second}");
    assert!(second.contains("  Command:"), "the template: {second}");
    assert!(second.contains("process.env.VERSION: \"one\" -> \"two\""), "{second}");
    let first = daemon.ctl_ok(&["rollout", "history", "api", "--revision", "1"]);
    assert!(first.contains("no earlier revision is known"), "{first}");
    let absent = daemon.ctl(&["rollout", "history", "api", "--revision", "8"]);
    assert_eq!(absent.code, 3, "{absent:?}");

    daemon.ctl_ok(&["rollout", "undo", "api", "--to-revision", "1"]);
    daemon.ctl_ok(&["rollout", "status", "api"]);
    let list = daemon.ctl_ok(&["rollout", "history", "api", "-o", "json"]);
    let list: Vec<Value> = serde_json::from_str(&list).unwrap();
    let shown: Vec<(u64, &str, u64)> = list
        .iter()
        .map(|one| {
            let number = |field: &str| one[field].as_u64().unwrap();
            (number("revision"), one["earlier"].as_str().unwrap(), number("instances"))
        })
        .collect();
    assert_eq!(shown, [(2, "", 0), (3, "", 0), (4, "1", 2)]);
    let refused = daemon.ctl(&["rollout", "undo", "api", "--to-revision", "1"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.err.contains("known revisions: 2, 3, 4"), "{refused:?}");
}

#[test]
fn paused_edits_are_one_revision_and_a_restart_replaces_all() {
    for kind in ["deployment", "statefulset", "daemonset"] {
        let daemon = Daemon::start(&[("x", &unit(kind, "1", ""))]);
        daemon.ctl_ok(&["rollout", "status", "x"]);
        daemon.ctl_ok(&["rollout", "pause", "x"]);
        for version in ["2", "3"] {
            daemon.write_unit("x", &unit(kind, version, ""));
            daemon.ctl_ok(&["apply"]);
        }
        let held = daemon.ctl(&["rollout", "status", "x", "--watch=false"]);
        assert!(held.out.contains("(paused: `rollout resume` goes on)"), "{kind}: {held:?}");
        let refused = daemon.ctl(&["rollout", "undo", "x"]);
        assert_eq!(refused.code, 1, "{kind}: {refused:?}");
        assert!(refused.err.contains("is paused; `rollout resume"), "{kind}: {refused:?}");
        daemon.ctl_ok(&["rollout", "resume", "x"]);
        daemon.ctl_ok(&["rollout", "status", "x"]);
        assert_eq!(daemon.get(&format!("{kind}/x"))["revision"], 2, "{kind}");

        let before = texts(&daemon.ps("x"), "started_at");
        daemon.ctl_ok(&["rollout", "restart", "x"]);
        daemon.ctl_ok(&["rollout", "status", "x"]);
        // One that is still stopping is no part of the roll-out any more.
        daemon.wait("only the new ones are there", |daemon| {
            daemon.ps("x").iter().all(|one| one["revision"] == 3)
        });
        let after = daemon.ps("x");
        assert_ne!(texts(&after, "started_at"), before, "{kind}");
    }
}

#[test]
fn a_partition_counts_instances_whatever_their_ordinals() {
    let db = |version: &str| {
        let more = "[rollout]\npartition = 2\n[statefulset]\nstart_ordinal = 5";
        unit("statefulset", version, more).replacen("[process]", "replicas = 3\n[process]", 1)
    };
    let daemon = Daemon::start(&[("db", &db("1"))]);
    daemon.wait_ready("db", 3);
    daemon.write_unit("db", &db("2"));
    daemon.ctl_ok(&["apply"]);
    let said = daemon.ctl_ok(&["rollout", "status", "db", "--timeout", "60s"]);
    let end = "partitioned roll out of statefulset/db complete: 1 new instances have been updated";
    assert!(said.contains(end), "{said}");
    let revisions: Vec<u64> =
        daemon.ps("db").iter().map(|one| one["revision"].as_u64().unwrap()).collect();
    assert_eq!(revisions, [1, 1, 2]);
}
