//! Cronjobs: each slot once, policies, histories, a trigger by hand.

use crate::support::{Daemon, texts, wsup};
use serde_json::Value;

fn cron(body: &str, command: &str) -> String {
    format!(
        r#"
kind = "cronjob"
[process]
command = ["sh", "-c", '''{command}''']
[cron]
schedule = "@every 1s"
{body}
"#
    )
}

fn triggered(daemon: &Daemon) -> Vec<Value> {
    daemon.events().into_iter().filter(|event| event["reason"] == "CronTriggered").collect()
}

#[test]
fn each_second_has_its_job_and_the_histories_are_kept_short() {
    let daemon = Daemon::start(&[("tick", &cron("", "true"))]);
    daemon.wait("five slots were started", |d| triggered(d).len() >= 5);
    let slots = texts(&triggered(&daemon), "scheduled");
    let seconds: Vec<i64> = slots
        .iter()
        .map(|slot| slot.parse::<jiff::Timestamp>().expect("RFC 3339").as_second())
        .collect();
    assert!(seconds.windows(2).all(|pair| pair[1] - pair[0] == 1), "{slots:?}");
    daemon.ctl_ok(&["suspend", "cronjob/tick"]);
    daemon.wait("three complete jobs are left", |d| {
        let jobs = d.ctl(&["get", "jobs", "-o", "json"]).out;
        let jobs: Vec<Value> = serde_json::from_str(&jobs).unwrap_or_default();
        jobs.len() == 3 && jobs.iter().all(|job| job["succeeded"] == 1)
    });
    let view = daemon.get("cronjob/tick");
    assert!(view["next_schedule"].is_null(), "{view}");
    assert!(view["last_schedule"].is_string(), "{view}");
}

#[test]
fn forbid_waits_and_replace_replaces() {
    let endless = "trap 'exit 0' TERM; while :; do sleep 1000 & wait; done";
    let daemon = Daemon::start(&[
        ("forbid", &cron("concurrency_policy = \"forbid\"", endless)),
        ("replace", &cron("concurrency_policy = \"replace\"", endless)),
    ]);
    let of = |daemon: &Daemon, reason: &str, name: &str| {
        daemon.events().iter().filter(|e| e["reason"] == reason && e["name"] == name).count()
    };
    daemon.wait("slots were skipped", |d| of(d, "CronSkipped", "forbid") >= 2);
    assert_eq!(of(&daemon, "CronTriggered", "forbid"), 1);
    daemon.wait("jobs were replaced", |d| of(d, "CronReplaced", "replace") >= 2);
    daemon.wait("one job of it is active", |d| {
        d.get("cronjob/replace")["active"].as_array().is_some_and(|active| active.len() == 1)
    });
}

#[test]
fn a_trigger_makes_a_job_now_also_while_suspended() {
    let daemon = Daemon::start(&[("backup", &cron("suspend = true", "echo done"))]);
    let said = daemon.ctl_ok(&["trigger", "cronjob/backup", "--name", "by-hand"]);
    assert!(said.contains("by-hand"), "{said}");
    daemon.ctl_ok(&["wait", "job/by-hand", "--for", "complete", "--timeout", "60s"]);
    assert!(triggered(&daemon).is_empty(), "suspended: no slot was started");
    daemon.wait("its line is in the log", |d| d.ctl(&["logs", "job/by-hand"]).out.contains("done"));
}

#[test]
fn cron_next_is_right_over_the_clock_change_under_both_rules() {
    let next = |rule: &str| {
        let output = wsup()
            .args(["cron", "next", "30 2 * * *", "--time-zone", "Europe/Berlin"])
            .args(["--from", "2026-03-28T00:00:00Z", "-n", "3", "--clock-change", rule])
            .args(["-o", "json"])
            .output()
            .unwrap();
        serde_json::from_slice::<Vec<String>>(&output.stdout).unwrap()
    };
    assert_eq!(
        next("once"),
        ["2026-03-28T02:30:00+01:00", "2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"]
    );
    assert_eq!(
        next("kubernetes"),
        ["2026-03-28T02:30:00+01:00", "2026-03-30T02:30:00+02:00", "2026-03-31T02:30:00+02:00"]
    );
}
