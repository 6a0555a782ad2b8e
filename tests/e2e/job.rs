//! Jobs: counted exactly, and finished jobs stay finished.

use crate::support::Daemon;
use serde_json::Value;
use std::fs;

fn condition<'a>(view: &'a Value, kind: &str) -> &'a Value {
    view["conditions"]
        .as_array()
        .and_then(|all| all.iter().find(|one| one["type"] == kind))
        .unwrap_or(&Value::Null)
}

#[test]
fn two_failures_and_a_success_are_counted_and_it_never_runs_again() {
    let text = r#"
kind = "job"
[process]
command = ["sh", "-c", "echo x >> @DIR@/scratch/runs; test $(wc -l < @DIR@/scratch/runs) -ge 3"]
[restart]
backoff = { initial = "100ms" }
"#;
    let mut daemon = Daemon::start(&[("migrate", text)]);
    daemon.ctl_ok(&["wait", "job/migrate", "--for", "complete", "--timeout", "60s"]);
    let view = daemon.get("job/migrate");
    assert_eq!((&view["succeeded"], &view["failed"]), (&1.into(), &2.into()), "{view}");
    assert_eq!(condition(&view, "Complete")["status"], "True", "{view}");
    assert_eq!(daemon.stop(), 0);
    daemon.launch();
    daemon.kill();
    daemon.launch();
    daemon.ctl_ok(&["apply"]);
    let again = daemon.get("job/migrate");
    assert_eq!((&again["succeeded"], &again["failed"]), (&1.into(), &2.into()), "{again}");
    assert_eq!(again["completed_at"], view["completed_at"]);
    assert_eq!(daemon.read("scratch/runs").lines().count(), 3);
}

#[test]
fn past_its_limit_a_job_is_failed() {
    let text = r#"
kind = "job"
[process]
command = ["sh", "-c", "echo x >> @DIR@/scratch/runs; exit 7"]
[restart]
backoff = { initial = "50ms" }
[job]
backoff_limit = 2
"#;
    let daemon = Daemon::start(&[("broken", text)]);
    daemon.wait("it is failed", |d| condition(&d.get("job/broken"), "Failed")["status"] == "True");
    let view = daemon.get("job/broken");
    assert_eq!(condition(&view, "Failed")["reason"], "BackoffLimitExceeded", "{view}");
    assert_eq!(view["failed"], 3, "{view}");
    assert_eq!(daemon.read("scratch/runs").lines().count(), 3);
    assert_eq!(
        daemon.ctl(&["wait", "job/broken", "--for", "complete", "--timeout", "30s"]).code,
        1
    );
}

#[test]
fn an_indexed_job_runs_each_index_once_two_at_a_time() {
    let text = r#"
kind = "job"
[process]
command = ["sh", "-c", '''
echo "$JOB_COMPLETION_INDEX" >> @DIR@/scratch/indexes
touch @DIR@/scratch/run.$JOB_COMPLETION_INDEX
ls @DIR@/scratch | grep -c '^run\.' >> @DIR@/scratch/width
while [ ! -e @DIR@/scratch/go ]; do sleep 0.02; done
sleep 0.1
rm @DIR@/scratch/run.$JOB_COMPLETION_INDEX
''']
[job]
completions = 6
parallelism = 2
completion_mode = "indexed"
"#;
    let daemon = Daemon::start(&[("shard", text)]);
    daemon.wait("two run", |d| {
        d.ps("shard").iter().filter(|one| one["state"] == "Ready").count() == 2
    });
    fs::write(daemon.path("scratch/go"), "").unwrap();
    daemon.ctl_ok(&["wait", "shard", "--for", "complete", "--timeout", "60s"]);
    let mut indexes: Vec<String> =
        daemon.read("scratch/indexes").lines().map(str::to_owned).collect();
    indexes.sort();
    assert_eq!(indexes, ["0", "1", "2", "3", "4", "5"]);
    let widths = daemon.read("scratch/width");
    assert!(widths.lines().all(|n| n == "1" || n == "2"), "two at a time: {widths}");
    assert!(widths.lines().any(|n| n == "2"), "{widths}");
    let view = daemon.get("job/shard");
    assert_eq!((&view["succeeded"], &view["failed"]), (&6.into(), &0.into()));
}

#[test]
fn on_failure_restarts_in_place_and_suspend_holds() {
    let text = r#"
kind = "job"
[process]
command = ["sh", "-c", "echo x >> @DIR@/scratch/runs; test $(wc -l < @DIR@/scratch/runs) -ge 2"]
[restart]
policy = "on_failure"
backoff = { initial = "50ms" }
[job]
suspend = true
"#;
    let daemon = Daemon::start(&[("once", text)]);
    daemon.wait("it is suspended", |d| {
        condition(&d.get("job/once"), "Suspended")["status"] == "True"
    });
    assert!(daemon.ps("once").is_empty());
    daemon.ctl_ok(&["resume", "job/once"]);
    daemon.ctl_ok(&["wait", "once", "--for", "complete", "--timeout", "60s"]);
    let all = daemon.ps("once");
    assert_eq!(all.len(), 1, "the same instance: {all:?}");
    assert_eq!((&all[0]["state"], &all[0]["restarts"]), (&"Succeeded".into(), &1.into()));
}

#[test]
fn a_deadline_fails_it_and_a_time_to_live_removes_it() {
    let text = r#"
kind = "job"
[process]
command = ["sleep", "1000"]
[job]
active_deadline = "1s"
ttl_after_finished = "1s"
"#;
    let daemon = Daemon::start(&[("slow", text)]);
    daemon.wait("the deadline is told", |d| {
        d.events()
            .iter()
            .any(|e| e["reason"] == "JobFailed" && e.to_string().contains("DeadlineExceeded"))
    });
    daemon.wait("it is gone", |d| d.get("job/slow").is_null());
    daemon.wait("nothing of it runs", |d| d.ps("slow").is_empty());
}
