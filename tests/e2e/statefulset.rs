//! Statefulsets: identity, order, data.

use crate::support::{Daemon, pid_of, signal, texts};

/// Counts its starts in its data directory and shows the number.
fn db(replicas: u32, version: &str) -> String {
    format!(
        r#"
kind = "statefulset"
replicas = {replicas}
[process]
command = ["sh", "-c", '''
n=$(cat "$WSUP_DATA_DIR/starts" 2>/dev/null || echo 0)
echo $((n + 1)) > "$WSUP_DATA_DIR/starts"
trap 'exit 0' TERM
while :; do sleep 1000 & wait; done
''']
env = {{ VERSION = "{version}" }}
"#
    )
}

fn starts(daemon: &Daemon, instance: &str) -> String {
    daemon.read(&format!("state/data/db/{instance}/starts")).trim().to_owned()
}

#[test]
fn it_starts_upwards_updates_downwards_and_scales_down_from_the_top() {
    let daemon = Daemon::start(&[("db", &db(3, "1"))]);
    daemon.wait_ready("statefulset/db", 3);
    assert_eq!(daemon.event_instances("InstanceStarted", "db"), ["db-0", "db-1", "db-2"]);
    let all = daemon.ps("db");
    assert_eq!(texts(&all, "name"), ["db-0", "db-1", "db-2"]);
    assert_eq!(all[2]["ordinal"], 2);
    assert_eq!(all[2]["data_dir"], daemon.path("state/data/db/db-2").display().to_string());

    daemon.write_unit("db", &db(3, "2"));
    daemon.ctl_ok(&["apply"]);
    daemon.ctl_ok(&["rollout", "status", "statefulset/db"]);
    let started = daemon.event_instances("InstanceStarted", "db");
    assert_eq!(started[3..], ["db-2", "db-1", "db-0"]);
    assert!(daemon.ps("db").iter().all(|one| one["revision"] == 2));

    daemon.ctl_ok(&["scale", "sts/db", "--replicas", "1"]);
    daemon.wait_ready("db", 1);
    let stopped = daemon.event_instances("InstanceDeleted", "db");
    assert_eq!(stopped[stopped.len() - 2..], ["db-2", "db-1"]);
    assert_eq!(texts(&daemon.ps("db"), "name"), ["db-0"]);
}

#[test]
fn data_stays_over_scaling_over_a_crash_and_over_a_restart_of_the_daemon() {
    let mut daemon = Daemon::start(&[("db", &db(2, "1"))]);
    daemon.wait_ready("db", 2);
    daemon.wait("both have counted", |d| starts(d, "db-0") == "1" && starts(d, "db-1") == "1");

    signal(pid_of(&daemon.ps("db")[0]), "KILL");
    daemon.wait("db-0 is back on its data", |d| starts(d, "db-0") == "2");
    daemon.wait_ready("db", 2);
    assert_eq!(daemon.ps("db-0")[0]["restarts"], 1);

    daemon.ctl_ok(&["scale", "db", "--replicas", "1"]);
    daemon.wait_ready("db", 1);
    daemon.ctl_ok(&["scale", "db", "--replicas", "2"]);
    daemon.wait("db-1 is back on its data", |d| starts(d, "db-1") == "2");
    daemon.wait_ready("db", 2);

    assert_eq!(daemon.stop(), 0);
    assert_eq!(daemon.survivors(), Vec::<u32>::new());
    daemon.launch();
    daemon.wait_ready("db", 2);
    daemon.wait("both count on", |d| starts(d, "db-0") == "3" && starts(d, "db-1") == "3");
}

#[test]
fn data_goes_only_where_retention_says_so() {
    let text = format!(
        "{}\n[statefulset]\nretention = {{ when_scaled = \"delete\", when_deleted = \"retain\" }}\n",
        db(2, "1")
    );
    let daemon = Daemon::start(&[("db", &text)]);
    daemon.wait_ready("db", 2);
    daemon.wait("both have counted", |d| starts(d, "db-0") == "1" && starts(d, "db-1") == "1");
    daemon.ctl_ok(&["scale", "db", "--replicas", "1"]);
    daemon.wait("db-1's data is gone", |d| !d.path("state/data/db/db-1").exists());
    assert_eq!(starts(&daemon, "db-0"), "1");
    daemon.ctl_ok(&["delete", "statefulset/db"]);
    daemon.wait("the unit is gone", |d| d.get("statefulset/db").is_null());
    assert_eq!(starts(&daemon, "db-0"), "1");
}

#[test]
fn a_partition_holds_back_the_lower_ordinals() {
    let with = |version: &str| format!("{}\n[rollout]\npartition = 1\n", db(2, version));
    let daemon = Daemon::start(&[("db", &with("1"))]);
    daemon.wait_ready("db", 2);
    daemon.write_unit("db", &with("2"));
    daemon.ctl_ok(&["apply"]);
    daemon.wait("db-1 is new", |d| d.ps("db-1").iter().any(|one| one["revision"] == 2));
    daemon.wait_ready("db", 2);
    daemon.ctl_ok(&["delete", "db-0"]);
    daemon.wait("db-0 is back", |d| {
        d.event_instances("InstanceStarted", "db").iter().filter(|name| *name == "db-0").count()
            == 2
    });
    daemon.wait_ready("db", 2);
    assert_eq!(daemon.ps("db-0")[0]["revision"], 1, "below the partition it stays as it was");
}
