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

/// Section 6: `fail_job` stops everything, and what was stopped has failed too.
#[test]
fn fail_job_fails_at_once() {
    let text = r#"
kind = "job"
[process]
command = ["sh", "-c", '''
echo x >> @DIR@/scratch/runs
if mkdir @DIR@/scratch/first; then
    while [ $(wc -l < @DIR@/scratch/runs) -lt 2 ]; do sleep 0.02; done
    exit 42
fi
exec sleep 1000
''']
[restart]
backoff = { initial = "50ms" }
[job]
completions = 5
parallelism = 2
[[job.failure_policy]]
action = "fail_job"
exit_codes = { in = [42] }
"#;
    let daemon = Daemon::start(&[("poisoned", text)]);
    let failed = |d: &Daemon| condition(&d.get("job/poisoned"), "Failed").clone();
    daemon.wait("it is failed", |d| failed(d)["status"] == "True");
    assert_eq!(failed(&daemon)["reason"], "PodFailurePolicy");
    let message = failed(&daemon)["message"].to_string();
    assert!(message.contains("exit code 42, matching rule 0"), "{message}");
    let view = daemon.get("job/poisoned");
    assert_eq!((&view["succeeded"], &view["failed"]), (&0.into(), &2.into()), "{view}");
    assert_eq!(daemon.read("scratch/runs").lines().count(), 2, "nothing was tried again");
    let all = daemon.ps("poisoned");
    assert!(all.iter().all(|one| one["pid"].is_null()), "{all:?}");
    assert_eq!(daemon.ctl(&["wait", "poisoned", "--for", "complete", "--timeout", "30s"]).code, 1);
}

#[test]
fn ignored_failures_are_not_counted_and_the_first_rule_that_matches_decides() {
    let ignoring = r#"
kind = "job"
[process]
command = ["sh", "-c", '''
echo x >> @DIR@/scratch/runs
test $(wc -l < @DIR@/scratch/runs) -ge 4 || exit 17
''']
[restart]
backoff = { initial = "20ms" }
[job]
backoff_limit = 0
[[job.failure_policy]]
action = "ignore"
exit_codes = { in = [17] }
[[job.failure_policy]]
action = "fail_job"
exit_codes = { not_in = [1] }
"#;
    // A rule of no concern, a failure that counts, then one that the last rule is about: a death
    // by SIGKILL is exit code 128 + 9, as in a shell.
    let killed = r#"
kind = "job"
[process]
command = ["sh", "-c", "mkdir @DIR@/scratch/once && exit 1; kill -KILL $$$$"]
[restart]
backoff = { initial = "20ms" }
[[job.failure_policy]]
action = "ignore"
exit_codes = { not_in = [1, 137] }
[[job.failure_policy]]
action = "fail_job"
exit_codes = { in = [137] }
"#;
    let daemon = Daemon::start(&[("ignoring", ignoring), ("killed", killed)]);
    daemon.ctl_ok(&["wait", "job/ignoring", "--for", "complete", "--timeout", "60s"]);
    let view = daemon.get("job/ignoring");
    assert_eq!((&view["succeeded"], &view["failed"]), (&1.into(), &0.into()), "{view}");
    assert_eq!(daemon.read("scratch/runs").lines().count(), 4);
    daemon.wait("the other is failed", |d| {
        condition(&d.get("job/killed"), "Failed")["reason"] == "PodFailurePolicy"
    });
    assert_eq!(daemon.get("job/killed")["failed"], 2);
}

/// An indexed job of which some indexes fail: the text of its command, its `[job]`, and what each
/// index is to have done.
fn indexed(command: &str, job: &str) -> String {
    format!(
        r#"
kind = "job"
[process]
command = ["sh", "-c", '''
echo x >> @DIR@/scratch/$WSUP_UNIT.$JOB_COMPLETION_INDEX
{command}
''']
[restart]
backoff = {{ initial = "20ms" }}
[job]
completion_mode = "indexed"
{job}
"#
    )
}

/// How often each index was run.
fn runs(daemon: &Daemon, unit: &str, completions: u32) -> Vec<usize> {
    (0..completions).map(|n| daemon.read(&format!("scratch/{unit}.{n}")).lines().count()).collect()
}

#[test]
fn an_index_past_its_limit_fails_alone_and_the_others_succeed() {
    let limit = indexed(
        "test $JOB_COMPLETION_INDEX != 1",
        "completions = 3\nparallelism = 2\nbackoff_limit_per_index = 1",
    );
    let at_once = indexed(
        "test $JOB_COMPLETION_INDEX != 1 || exit 9",
        "completions = 3\nbackoff_limit_per_index = 5\n\
         [[job.failure_policy]]\naction = \"fail_index\"\nexit_codes = { in = [9] }",
    );
    let most = indexed(
        "test $JOB_COMPLETION_INDEX -ge 2",
        "completions = 4\nbackoff_limit_per_index = 0\nmax_failed_indexes = 1",
    );
    let daemon = Daemon::start(&[("limit", &limit), ("at-once", &at_once), ("most", &most)]);
    // The unit, why it failed, runs that succeeded and failed, and how often each index was run.
    let rows: [(&str, &str, [u32; 2], &[usize]); 3] = [
        ("limit", "FailedIndexes", [2, 2], &[1, 2, 1]),
        ("at-once", "FailedIndexes", [2, 1], &[1, 1, 1]),
        ("most", "MaxFailedIndexesExceeded", [0, 2], &[1, 1, 0, 0]),
    ];
    for (name, reason, [succeeded, failed], each) in rows {
        let target = format!("job/{name}");
        daemon.wait(&format!("{name} is failed"), |d| {
            condition(&d.get(&target), "Failed")["status"] == "True"
        });
        let view = daemon.get(&target);
        assert_eq!(condition(&view, "Failed")["reason"], reason, "{name}: {view}");
        assert_eq!(view["succeeded"], succeeded, "{name}: {view}");
        assert_eq!(view["failed"], failed, "{name}: {view}");
        assert_eq!(runs(&daemon, name, each.len().try_into().unwrap()), each, "{name}");
    }
}

/// Section 6: the job is complete early, the rest is stopped and is no failure.
#[test]
fn a_success_policy_completes_early_and_stops_the_rest() {
    let job = indexed(
        "while [ $(ls @DIR@/scratch | grep -c ^early) -lt 4 ]; do sleep 0.02; done\n\
         test $JOB_COMPLETION_INDEX = 1 || exec sleep 1000",
        "completions = 6\nparallelism = 4\n\
         [[job.success_policy]]\nindexes = \"0-2\"\ncount = 1",
    );
    let daemon = Daemon::start(&[("early", &job)]);
    daemon.ctl_ok(&["wait", "job/early", "--for", "complete", "--timeout", "60s"]);
    let view = daemon.get("job/early");
    assert_eq!(condition(&view, "Complete")["reason"], "SuccessPolicy", "{view}");
    assert_eq!(condition(&view, "SuccessCriteriaMet")["status"], "True", "{view}");
    assert_eq!((&view["succeeded"], &view["failed"]), (&1.into(), &0.into()), "{view}");
    assert_eq!(runs(&daemon, "early", 6)[..4], [1, 1, 1, 1]);
    let all = daemon.ps("early");
    assert!(all.iter().all(|one| one["pid"].is_null()), "complete only when all are gone: {all:?}");
    assert_eq!(daemon.read("scratch/early.5"), "", "the last index was not begun");
}
