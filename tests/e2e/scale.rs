//! More instances than one runner has descriptors for.

use crate::support::{Daemon, lives, pid_of, processes_of, texts};
use std::collections::BTreeSet;

/// With so many descriptors a runner holds three starts: 2,216 are for itself, four for each.
const FILES: u32 = 2_216 + 3 * 4;

const MANY: &str = "kind = \"deployment\"\nreplicas = 8\n[process]\n\
     command = [\"sh\", \"-c\", \"ulimit -n; exec sleep 1000\"]\nenv = { IN = \"@DIR@\" }\n";

fn runners(daemon: &Daemon) -> usize {
    let version = daemon.ctl_ok(&["version", "-o", "json"]);
    let version: serde_json::Value = serde_json::from_str(&version).expect("JSON");
    version["daemon"]["runners"].as_u64().expect("a number") as usize
}

#[test]
fn a_full_runner_gets_another_beside_it() {
    let mut daemon = Daemon::start_limited(&[("many", MANY)], FILES);
    daemon.wait_ready("many", 8);
    assert_eq!(runners(&daemon), 3, "{}", daemon.daemon_log());
    let before: BTreeSet<u32> = daemon.ps("many").iter().map(pid_of).collect();
    for name in texts(&daemon.ps("many"), "name") {
        let log = daemon.read(&format!("log/many/{name}.log"));
        assert_eq!(log, format!("{FILES}\n"), "a program has the limit that the daemon had");
    }

    // The next daemon finds all of them.
    daemon.kill();
    daemon.launch();
    daemon.wait_ready("many", 8);
    let after: BTreeSet<u32> = daemon.ps("many").iter().map(pid_of).collect();
    assert_eq!(before, after);
    assert_eq!(runners(&daemon), 3);

    // What ends makes room, wherever it was.
    for _ in 0..2 {
        let names = texts(&daemon.ps("many"), "name");
        let words: Vec<&str> = names.iter().map(String::as_str).collect();
        for name in words {
            daemon.ctl_ok(&["delete", name]);
        }
        daemon.wait_ready("many", 8);
    }
    assert!(runners(&daemon) <= 6, "as many as were needed while old and new ones lived");

    assert_eq!(daemon.stop(), 0);
    assert!(before.iter().all(|pid| !lives(*pid)));
    daemon.wait("all runners are gone", |daemon| processes_of(&daemon.path("run")).is_empty());
}
