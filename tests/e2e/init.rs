//! `wsup daemon` as the first process of a container.

use crate::support::{Daemon, lives, pid_of, signal};
use std::fs;
use std::process::{Command, Stdio};

/// How a process becomes the first one of a PID namespace here; `None`, with the reason on stderr:
/// it cannot.
fn container() -> Option<Vec<&'static str>> {
    let root = nix::unistd::geteuid().is_root();
    let users: &[&str] = if root { &[] } else { &["--user", "--map-root-user"] };
    let words: Vec<_> =
        ["unshare", "--pid", "--fork", "--mount-proc"].iter().chain(users).copied().collect();
    let tried = Command::new(words[0]).args(&words[1..]).arg("true").output();
    if tried.as_ref().is_ok_and(|output| output.status.success()) {
        return Some(words);
    }
    eprintln!("skipped: no PID namespace can be made by unshare(1) here: {tried:?}");
    None
}

/// The children of a process, by their numbers outside of the container.
fn children(pid: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

fn is_daemon(pid: u32) -> bool {
    fs::read(format!("/proc/{pid}/cmdline"))
        .is_ok_and(|line| line.split(|b| *b == 0).nth(1) == Some(b"daemon"))
}

/// The daemon proper, below process 1.
fn daemon_below(first: u32) -> Option<u32> {
    children(first).into_iter().find(|pid| is_daemon(*pid))
}

const SLEEPER: &str = "kind = \"deployment\"\n[process]\n\
    command = ['sh', '-c', '(setsid sleep 0.05 &); (sleep 0.05 &); sleep 1000 & wait']\n";

#[test]
fn process_1_reaps_for_everybody_restarts_a_crashed_daemon_and_stops_in_order() {
    let Some(words) = container() else { return };
    let mut daemon = Daemon::start_in(&words, &[("sleeper", SLEEPER)]);
    daemon.wait_ready("sleeper", 1);
    let before = daemon.ps("sleeper")[0].clone();
    let first = children(daemon.pid())[0];
    let head = daemon_below(first).expect("the daemon is a child of process 1");

    // Somebody else's orphans, as `docker exec` leaves them behind.
    for _ in 0..5 {
        let entered = Command::new("nsenter")
            .args(["--target", &first.to_string(), "--pid", "--mount"])
            .args(["sh", "-c", "(sh -c 'sleep 0.02; exit 3' &); (setsid sleep 0.01 &); exit 0"])
            .stdin(Stdio::null())
            .status();
        if !entered.as_ref().is_ok_and(std::process::ExitStatus::success) {
            eprintln!("left out: nsenter(1) cannot be used here: {entered:?}");
            break;
        }
    }
    daemon.wait("every orphan is reaped", |_| {
        children(first).iter().all(|pid| lives(*pid)) && children(first).len() <= 2
    });

    // A crash of the daemon is no end of the container.
    signal(head, "KILL");
    daemon.wait("another daemon answers", |d| {
        daemon_below(first).is_some_and(|pid| pid != head) && d.ctl(&["ping"]).code == 0
    });
    let after = daemon.ps("sleeper")[0].clone();
    for field in ["name", "pid", "started_at", "restarts"] {
        assert_eq!(before[field], after[field], "{field}");
    }
    assert!(pid_of(&after) > 1);

    // A signal to process 1 is one to the daemon.
    signal(first, "TERM");
    assert_eq!(daemon.await_exit(), 0);
    assert!(!lives(first));
    assert_eq!(daemon.survivors(), Vec::<u32>::new());
    assert!(daemon.daemon_log().contains("DaemonStopping"), "{}", daemon.daemon_log());
}

#[test]
fn process_1_ends_with_the_daemons_own_code() {
    let Some(words) = container() else { return };
    let status = Command::new(words[0])
        .args(&words[1..])
        .arg(env!("CARGO_BIN_EXE_wsup"))
        .args(["daemon", "--config", "/no/such/file"])
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(2));
}
