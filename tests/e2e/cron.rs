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

/// The instant of an RFC 3339 text, in milliseconds.
fn millis(text: &Value) -> i64 {
    text.as_str()
        .and_then(|t| t.parse::<jiff::Timestamp>().ok())
        .expect("RFC 3339")
        .as_millisecond()
}

#[test]
fn jitter_spreads_starts_by_name_and_stays_the_same() {
    const YEARLY: &str = "2100-01-01T00:00:00Z";
    let yearly = "
kind = \"cronjob\"
[process]
command = [\"true\"]
[cron]
schedule = \"@yearly\"
time_zone = \"UTC\"
jitter = \"1h\"
";
    let daemon = Daemon::start(&[
        ("one", yearly),
        ("other", yearly),
        ("tick", &cron("jitter = \"900ms\"", "true")),
    ]);
    let next = |daemon: &Daemon, name: &str| {
        millis(&daemon.get(&format!("cronjob/{name}"))["next_schedule"])
    };
    let of_year = |daemon: &Daemon, name: &str| {
        let at = jiff::Timestamp::from_millisecond(next(daemon, name)).unwrap();
        assert!(at < YEARLY.parse().unwrap());
        let year = at.to_zoned(jiff::tz::TimeZone::UTC).year();
        let slot: jiff::Timestamp = format!("{year}-01-01T00:00:00Z").parse().unwrap();
        at.as_millisecond() - slot.as_millisecond()
    };
    let delays = ["one", "other"].map(|name| of_year(&daemon, name));
    assert!(delays.iter().all(|delay| (0..=3_600_000).contains(delay)), "{delays:?}");
    assert_ne!(delays[0], delays[1], "two names start at two times");

    // Each second's slot is started late by the delay of the name, no slot twice and none lost.
    let delay = next(&daemon, "tick").rem_euclid(1_000);
    assert!(delay <= 900, "{delay}");
    daemon.wait("four slots were started", |d| triggered(d).len() >= 4);
    let started = triggered(&daemon);
    for event in &started {
        assert!(millis(&event["time"]) >= millis(&event["scheduled"]) + delay, "{event}");
    }
    let slots: Vec<i64> = started.iter().map(|event| millis(&event["scheduled"])).collect();
    assert!(slots.windows(2).all(|pair| pair[1] - pair[0] == 1_000), "{slots:?}");

    let mut daemon = daemon;
    daemon.kill();
    daemon.launch();
    assert_eq!(["one", "other"].map(|name| of_year(&daemon, name)), delays, "over a restart too");
}

/// A cronjob's jobs have the policies of a job.
#[test]
fn a_job_of_a_cronjob_fails_by_its_failure_policy() {
    let unit = r#"
kind = "cronjob"
[process]
command = ["sh", "-c", "exit 42"]
[job]
backoff_limit = 5
[[job.failure_policy]]
action = "fail_job"
exit_codes = { in = [42] }
[cron]
schedule = "@yearly"
"#;
    let daemon = Daemon::start(&[("backup", unit)]);
    daemon.ctl_ok(&["trigger", "cronjob/backup", "--name", "by-hand"]);
    let failed = |d: &Daemon| {
        d.events().into_iter().find(|e| e["reason"] == "JobFailed" && e["name"] == "by-hand")
    };
    daemon.wait("its job is failed", |d| failed(d).is_some());
    let event = failed(&daemon).unwrap();
    assert_eq!((&event["cause"], &event["failed"]), (&"PodFailurePolicy".into(), &1.into()));
}
