//! The daemon is killed and comes back; the runner is killed.

use super::support::{self, Daemon, lives, pid_of, signal};
use std::collections::BTreeSet;

const WEB: &str = r#"
kind = "deployment"
replicas = 2
[process]
command = ["sh", "-c", "while :; do sleep 1; done"]
"#;

/// Ends with 7 as soon as the test says so; a job, so that nothing starts it again.
const ONCE: &str = r#"
kind = "job"
[process]
command = ["sh", "-c", "until [ -e @DIR@/go ]; do sleep 0.1; done; echo last words; exit 7"]
[job]
backoff_limit = 0
"#;

#[test]
fn a_killed_daemon_finds_its_instances_and_the_ends_it_missed() {
    let mut daemon = Daemon::start(&[("web", WEB), ("once", ONCE)]);
    daemon.wait_ready("deployment/web", 2);
    daemon.wait("the job runs", |d| d.ps("job/once").iter().any(|one| one["pid"].is_u64()));
    let before = daemon.ps("deployment/web");
    let job = pid_of(&daemon.ps("job/once")[0]);
    daemon.kill();
    assert!(before.iter().all(|one| lives(pid_of(one))), "instances outlive the daemon");
    std::fs::write(daemon.path("go"), "").unwrap();
    wait_gone(job);
    daemon.launch();
    daemon.wait("the missed end is known", |d| d.get("job/once")["failed"] == 1);
    let once = daemon.ps("job/once");
    assert_eq!((&once[0]["exit_code"], &once[0]["state"]), (&7.into(), &"Failed".into()));
    assert!(
        daemon
            .read(&format!("log/once/{}.log", once[0]["name"].as_str().unwrap()))
            .ends_with("last words\n")
    );
    let after = daemon.ps("deployment/web");
    for field in ["name", "pid", "restarts", "started_at"] {
        let of = |all: &[serde_json::Value]| -> Vec<_> {
            all.iter().map(|one| one[field].clone()).collect()
        };
        assert_eq!(of(&before), of(&after), "{field} is the same");
    }
    assert!(daemon.events().iter().any(|event| event["reason"] == "DaemonAdopted"));
    assert_eq!(daemon.stop(), 0);
    assert!(daemon.survivors().is_empty(), "{:?}", daemon.survivors());
}

#[test]
fn many_kills_in_a_row_start_nothing_twice() {
    let count = "echo start >> @DIR@/starts; exec sleep 1000";
    let unit = format!(
        "kind = \"deployment\"\nreplicas = 3\n[process]\ncommand = [\"sh\", \"-c\", \"{count}\"]\n"
    );
    let mut daemon = Daemon::start(&[("web", &unit)]);
    for _ in 0..5 {
        daemon.kill();
        daemon.launch();
    }
    daemon.wait_ready("deployment/web", 3);
    assert_eq!(daemon.read("starts").lines().count(), 3);
}

#[test]
fn a_second_daemon_is_refused_and_names_the_first() {
    let daemon = Daemon::start(&[]);
    let said: support::Said = support::wsup()
        .arg("daemon")
        .args(["--units", "/nonexistent"])
        .arg("--state-dir")
        .arg(daemon.path("other-state"))
        .arg("--log-dir")
        .arg(daemon.path("other-log"))
        .arg("--runtime-dir")
        .arg(daemon.path("run"))
        .output()
        .unwrap()
        .into();
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains(&format!("process {}", daemon.pid())), "{said:?}");
    assert_eq!(daemon.ctl(&["ping"]).code, 0, "the first one still serves");
}

#[test]
fn a_damaged_store_is_set_aside_and_the_daemon_starts() {
    let mut daemon = Daemon::start(&[("web", WEB)]);
    daemon.wait_ready("deployment/web", 2);
    daemon.kill();
    std::fs::write(daemon.path("state/state.redb"), "this is no database").unwrap();
    daemon.launch();
    daemon.wait_ready("deployment/web", 2);
    assert!(daemon.path("state/state.damaged-1.redb").exists());
    assert!(daemon.daemon_log().contains("is damaged"), "{}", daemon.daemon_log());
    // What ran for the forgotten unit is not left beside what runs for the new one.
    daemon.wait("no stranger is left", |d| {
        let known = d.ps("deployment/web").len();
        d.survivors().iter().filter(|pid| parent_is_runner(d, **pid)).count() <= known
    });
}

#[test]
fn a_killed_runner_is_replaced_and_its_instances_are_started_again() {
    let daemon = Daemon::start(&[("web", WEB)]);
    daemon.wait_ready("deployment/web", 2);
    signal(runner(&daemon), "KILL");
    daemon.wait("both are started again", |d| {
        let all = d.ps("deployment/web");
        all.len() == 2 && all.iter().all(|one| one["ready"] == true && one["restarts"] == 1)
    });
    assert_ne!(daemon.ctl(&["ping"]).code, 4);
}

fn runner(daemon: &Daemon) -> u32 {
    let said = daemon.ctl_ok(&["version", "-o", "json"]);
    let facts: serde_json::Value = serde_json::from_str(&said).unwrap();
    u32::try_from(facts["daemon"]["runner_pid"].as_u64().expect("there is a runner")).unwrap()
}

fn parent_is_runner(daemon: &Daemon, pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let parent = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1));
    parent == Some(runner(daemon).to_string().as_str())
}

fn wait_gone(pid: u32) {
    let end = std::time::Instant::now() + support::DEADLINE;
    while lives(pid) {
        assert!(std::time::Instant::now() < end, "process {pid} does not end");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn the_daemon_may_be_ended_alone_or_with_everything() {
    let unit = "kind = \"deployment\"\nreplicas = 2\n[process]\ncommand = [\"sleep\", \"1000\"]\n";
    let mut daemon = Daemon::start(&[("api", unit)]);
    daemon.wait_ready("api", 2);
    let pids = |d: &Daemon| -> BTreeSet<u32> { d.ps("api").iter().map(pid_of).collect() };
    let before = pids(&daemon);
    let said = daemon.ctl_ok(&["shutdown", "--keep-running"]);
    assert_eq!(said, "the daemon ends, 2 instances run on\n");
    assert_eq!(daemon.await_exit(), 0);
    assert!(before.iter().all(|pid| lives(*pid)));
    // What happens meanwhile is known to the next one.
    let victim = *before.first().unwrap();
    signal(victim, "KILL");
    daemon.launch();
    daemon.wait("the other one is back", |d| {
        let now = pids(d);
        now.len() == 2 && !now.contains(&victim) && daemon_ready(d)
    });
    assert_eq!(pids(&daemon).intersection(&before).count(), 1, "one runs on as the same process");
    let living = pids(&daemon);
    let said = daemon.ctl_ok(&["shutdown"]);
    assert_eq!(said, "everything is stopped, then the daemon ends\n");
    assert_eq!(daemon.await_exit(), 0);
    assert!(living.iter().all(|pid| !lives(*pid)));
}

fn daemon_ready(daemon: &Daemon) -> bool {
    daemon.ps("api").iter().all(|one| one["ready"] == true)
}
