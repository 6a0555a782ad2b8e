//! Hooks: what runs after the start and before the stop.

use crate::support::{Daemon, pid_of};

fn log_of(daemon: &Daemon, instance: &str) -> String {
    daemon.ctl_ok(&["logs", instance])
}

fn reasons(daemon: &Daemon, name: &str) -> Vec<String> {
    let all = daemon.events();
    let of = all.iter().filter(|event| event["name"] == name);
    of.filter_map(|event| event["reason"].as_str().map(str::to_owned)).collect()
}

/// Writes what happens to it into `scratch/story`.
const STORY: &str = "trap 'echo term >> @DIR@/scratch/story; exit 0' TERM; \
    echo main >> @DIR@/scratch/story; while :; do sleep 0.05; done";

#[test]
fn post_start_comes_before_ready_and_pre_stop_before_the_signal() {
    let unit = format!(
        "kind = \"statefulset\"\n[process]\ncommand = [\"sh\", \"-c\", \"{STORY}\"]\n[lifecycle]\n\
         post_start = [\"sh\", \"-c\", \"until test -e @DIR@/scratch/go; do sleep 0.02; done; echo \
         announced $(WSUP_INSTANCE); echo post >> @DIR@/scratch/story\"]\n\
         pre_stop = [\"sh\", \"-c\", \"echo drains; sleep 0.2; echo pre >> @DIR@/scratch/story\"]\n"
    );
    let daemon = Daemon::start(&[("db", &unit)]);
    daemon.wait("it runs", |d| d.read("scratch/story") == "main\n");
    assert_eq!(daemon.ps("db")[0]["ready"], false, "the hook has not returned");
    std::fs::write(daemon.path("scratch/go"), "").unwrap();
    daemon.wait_ready("db", 1);
    daemon.ctl_ok(&["stop", "db"]);
    daemon.wait("it is stopped", |d| d.ps("db").is_empty());
    assert_eq!(daemon.read("scratch/story"), "main\npost\npre\nterm\n");
    let log = daemon.read("log/db/db-0.log");
    assert!(log.contains("announced db-0\n") && log.contains("drains\n"), "{log}");
}

#[test]
fn a_post_start_that_fails_ends_the_process_and_it_is_tried_again() {
    let unit = "kind = \"statefulset\"\n[process]\ncommand = [\"sleep\", \"1000\"]\n[lifecycle]\n\
        post_start = [\"sh\", \"-c\", \"test -e @DIR@/scratch/ok || { echo not yet; exit 4; }\"]\n";
    let daemon = Daemon::start(&[("db", unit)]);
    daemon.wait("the hook has failed", |d| reasons(d, "db").iter().any(|r| r == "HookFailed"));
    let told = daemon.events();
    let failed = told.iter().find(|event| event["reason"] == "HookFailed").unwrap();
    assert!(failed["message"].as_str().unwrap().contains("exit code 4"), "{failed}");
    std::fs::write(daemon.path("scratch/ok"), "").unwrap();
    daemon.wait_ready("db", 1);
    assert!(daemon.ps("db")[0]["restarts"].as_u64() > Some(0));
    assert!(
        log_of(&daemon, "db-0").contains("not yet\n")
            || daemon.read("log/db/db-0.log").contains("not yet\n")
    );
}

#[test]
fn a_pre_stop_that_hangs_takes_no_more_than_the_grace_period() {
    let unit = "kind = \"statefulset\"\n[process]\ncommand = [\"sleep\", \"1000\"]\n\
        termination_grace_period = \"1s\"\n[lifecycle]\n\
        pre_stop = [\"sh\", \"-c\", \"echo @DIR@; trap '' TERM; while :; do sleep 1; done\"]\n";
    let daemon = Daemon::start(&[("db", unit)]);
    daemon.wait_ready("db", 1);
    daemon.ctl_ok(&["stop", "db"]);
    daemon.wait("it is stopped", |d| d.ps("db").is_empty());
    let left = daemon.survivors();
    let runner: Vec<u32> = left.into_iter().filter(|pid| !is_runner(*pid)).collect();
    assert!(runner.is_empty(), "nothing of it is left: {runner:?}");
}

fn is_runner(pid: u32) -> bool {
    std::fs::read(format!("/proc/{pid}/cmdline"))
        .is_ok_and(|line| line.split(|b| *b == 0).nth(1) == Some(b"runner"))
}

#[test]
fn a_hook_that_the_daemon_died_of_is_run_again() {
    let unit = format!(
        "kind = \"statefulset\"\n[process]\ncommand = [\"sh\", \"-c\", \"{STORY}\"]\n[lifecycle]\n\
         pre_stop = [\"sh\", \"-c\", \"echo pre >> @DIR@/scratch/story; test -e @DIR@/scratch/go || \
         sleep 1000\"]\n"
    );
    let mut daemon = Daemon::start(&[("db", &unit)]);
    daemon.wait_ready("db", 1);
    daemon.wait("it is up", |d| d.read("scratch/story") == "main\n");
    let pid = pid_of(&daemon.ps("db")[0]);
    daemon.ctl_ok(&["stop", "db"]);
    daemon.wait("the hook runs", |d| d.read("scratch/story") == "main\npre\n");
    daemon.kill();
    std::fs::write(daemon.path("scratch/go"), "").unwrap();
    daemon.launch();
    daemon.wait("it is stopped", |d| d.ps("db").is_empty());
    assert!(!crate::support::lives(pid));
    assert_eq!(daemon.read("scratch/story"), "main\npre\npre\nterm\n");
}

#[test]
fn reload_is_a_command_or_a_signal() {
    let command = "kind = \"statefulset\"\n[process]\ncommand = [\"sh\", \"-c\", \"trap 'echo again' \
        HUP; echo up; while :; do sleep 0.02; done\"]\n[lifecycle]\n\
        reload = [\"sh\", \"-c\", \"test ! -e @DIR@/scratch/bad && kill -HUP $(MAINPID)\"]\n";
    let signal = command.replace(
        "reload = [\"sh\", \"-c\", \"test ! -e @DIR@/scratch/bad && kill -HUP $(MAINPID)\"]",
        "reload = { signal = \"SIGHUP\" }",
    );
    let plain = "kind = \"deployment\"\n[process]\ncommand = [\"sleep\", \"1000\"]\n";
    let daemon = Daemon::start(&[("one", command), ("two", &signal), ("plain", plain)]);
    for unit in ["one", "two"] {
        let log = format!("log/{unit}/{unit}-0.log");
        daemon.wait("it is up", |d| d.read(&log) == "up\n");
        let pid = pid_of(&daemon.ps(unit)[0]);
        assert!(daemon.ctl_ok(&["reload", unit]).contains("reload"));
        daemon.wait("it has reloaded", |d| d.read(&log) == "up\nagain\n");
        daemon.wait("that is told", |d| reasons(d, unit).iter().any(|r| r == "InstanceReloaded"));
        assert_eq!(pid_of(&daemon.ps(unit)[0]), pid, "the process is the same");
    }
    std::fs::write(daemon.path("scratch/bad"), "").unwrap();
    daemon.ctl_ok(&["reload", "one-0"]);
    daemon.wait("its failure is told", |d| reasons(d, "one").iter().any(|r| r == "HookFailed"));
    assert_eq!(daemon.ps("one")[0]["ready"], true, "and nothing else");
    daemon.wait_ready("plain", 1);
    let refused = daemon.ctl(&["reload", "plain"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.err.contains("add `reload` to [lifecycle]"), "{refused:?}");
    assert_eq!(daemon.ctl(&["reload", "nobody"]).code, 3);
}
