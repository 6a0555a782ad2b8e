//! Unit files that come, change, break and go while the daemon runs.

use crate::support::{Daemon, pid_of};
use std::fs;

const GOOD: &str = r#"
kind = "deployment"
[process]
command = ["sleep", "1000"]
"#;

#[test]
fn a_bad_file_harms_only_itself_and_is_shown() {
    let daemon = Daemon::start(&[
        ("good", GOOD),
        ("bad", "kind = \"deployment\"\nreplcas = 2\n[process]\ncommand = [\"true\"]\n"),
        ("worse", "kind = \"replicaset\"\n[process]\ncommand = [\"true\"]\n"),
        ("broken", "kind = [\n"),
    ]);
    daemon.wait_ready("good", 1);
    let said = daemon.ctl(&["apply"]);
    assert_eq!(said.code, 1, "{said:?}");
    let all = format!("{}{}", said.out, said.err);
    assert!(all.contains("did you mean `replicas`"), "{all}");
    assert!(all.contains("deployment") && all.contains("replicaset"), "{all}");
    let shown = daemon.ctl_ok(&["ps"]);
    assert!(shown.contains("bad"), "{shown}");
}

#[test]
fn the_last_good_version_runs_on_and_changes_are_noticed_by_themselves() {
    let daemon = Daemon::start(&[("api", GOOD)]);
    daemon.wait_ready("api", 1);
    let pid = pid_of(&daemon.ps("api")[0]);

    daemon.write_unit("api", "kind = \"deployment\"\nnonsense = 1\n");
    daemon.wait("the mistake is noticed", |d| {
        d.events().iter().any(|event| event["reason"] == "UnitInvalid")
    });
    assert_eq!(pid_of(&daemon.ps("api")[0]), pid);

    daemon.write_unit("api", &format!("replicas = 2\n{GOOD}"));
    daemon.wait_ready("api", 2);
    assert!(daemon.ps("api").iter().any(|one| pid_of(one) == pid), "what did not change runs on");

    daemon.write_unit("web", GOOD);
    daemon.wait_ready("web", 1);
    fs::remove_file(daemon.path("units/web.toml")).unwrap();
    daemon.wait("web is gone", |d| d.get("deployment/web").is_null());

    fs::create_dir(daemon.path("units/api.toml.d")).unwrap();
    fs::write(daemon.path("units/api.toml.d/10-more.toml"), "replicas = 3\n").unwrap();
    daemon.wait_ready("api", 3);
}

#[test]
fn what_would_change_is_shown_before_it_does() {
    let daemon = Daemon::start(&[("api", GOOD)]);
    daemon.wait_ready("api", 1);
    daemon.ctl_ok(&["stop", "api"]);
    let plan = daemon.ctl(&["apply", "--dry-run"]);
    assert_eq!(plan.code, 0, "{plan:?}");
    assert_eq!(daemon.ctl(&["diff"]).code, 0);
}

#[test]
fn logs_of_all_units_come_after_their_instances_names() {
    let said =
        |word: &str| format!("kind = \"job\"\n[process]\ncommand = [\"echo\", \"{word}\"]\n");
    let daemon = Daemon::start(&[("one", &said("first")), ("two", &said("second"))]);
    daemon.ctl_ok(&["wait", "--all", "--for", "complete", "--timeout", "60s"]);
    let lines = daemon.ctl_ok(&["logs", "--all"]);
    let mut lines: Vec<&str> = lines.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].starts_with("one-") && lines[0].ends_with("| first"), "{lines:?}");
    assert!(lines[1].starts_with("two-") && lines[1].ends_with("| second"), "{lines:?}");
}

#[test]
fn exit_codes_are_the_contracts() {
    let daemon = Daemon::start(&[("api", GOOD)]);
    daemon.wait_ready("api", 1);
    assert_eq!(daemon.ctl(&["ping"]).code, 0);
    assert_eq!(daemon.ctl(&["scale", "api"]).code, 2, "a flag is missing");
    assert_eq!(daemon.ctl(&["describe", "nothing"]).code, 3);
    assert_eq!(daemon.ctl(&["suspend", "api"]).code, 1);
    assert_eq!(daemon.ctl(&["wait", "api", "--for", "stopped", "--timeout", "100ms"]).code, 5);
    let nobody = crate::support::wsup()
        .args(["ctl", "--socket"])
        .arg(daemon.path("nothing.sock"))
        .arg("ping")
        .output()
        .unwrap();
    assert_eq!(nobody.status.code(), Some(4));
}
