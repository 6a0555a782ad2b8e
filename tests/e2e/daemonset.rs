//! Daemonsets: one instance per node, followed as nodes come and go.

use crate::support::{Daemon, texts};
use std::fs;

const AGENT: &str = r#"
kind = "daemonset"
[process]
command = ["sh", "-c", "echo $WSUP_NODE $WSUP_NODE_PATH; trap 'exit 0' TERM; while :; do sleep 1000 & wait; done"]
[daemonset]
nodes = { glob = "@DIR@/scratch/gpu[0-9]*" }
"#;

#[test]
fn a_glob_gains_and_loses_instances_as_paths_come_and_go() {
    let daemon = Daemon::start(&[("agent", AGENT)]);
    assert_eq!(daemon.get("daemonset/agent")["desired"], 0);
    for round in 0..2 {
        for n in 0..3 {
            fs::write(daemon.path(&format!("scratch/gpu{n}")), "").unwrap();
        }
        fs::write(daemon.path("scratch/other"), "").unwrap();
        daemon.wait_ready("agent", 3);
        let all = daemon.ps("agent");
        assert_eq!(texts(&all, "node"), ["gpu0", "gpu1", "gpu2"]);
        assert_eq!(texts(&all, "name"), ["agent-gpu0", "agent-gpu1", "agent-gpu2"]);
        fs::remove_file(daemon.path("scratch/gpu1")).unwrap();
        daemon.wait("gpu1's is gone", |d| texts(&d.ps("agent"), "node") == ["gpu0", "gpu2"]);
        fs::remove_file(daemon.path("scratch/gpu0")).unwrap();
        fs::remove_file(daemon.path("scratch/gpu2")).unwrap();
        daemon.wait(&format!("all are gone in round {round}"), |d| d.ps("agent").is_empty());
    }
}

#[test]
fn a_folder_that_comes_later_is_followed_too() {
    let text = AGENT.replace("scratch/gpu[0-9]*", "scratch/*/late/gpu?");
    let daemon = Daemon::start(&[("agent", &text)]);
    fs::create_dir_all(daemon.path("scratch/a/late")).unwrap();
    fs::write(daemon.path("scratch/a/late/gpu7"), "").unwrap();
    daemon.wait_ready("agent", 1);
    fs::remove_dir_all(daemon.path("scratch/a")).unwrap();
    daemon.wait("it is gone", |d| d.ps("agent").is_empty());
}

#[test]
fn a_machine_has_one_instance_and_a_selector_must_match() {
    let unit = |selector: &str| {
        format!(
            r#"
kind = "daemonset"
node_selector = {{ rack = "{selector}" }}
[process]
command = ["sleep", "1000"]
"#
        )
    };
    let daemon = Daemon::start_with(
        &[("here", &unit("r1")), ("elsewhere", &unit("r2"))],
        &["--node-name", "node-a", "--node-label", "rack=r1"],
    );
    daemon.wait_ready("here", 1);
    assert_eq!(texts(&daemon.ps("here"), "name"), ["here-node-a"]);
    assert!(daemon.ps("elsewhere").is_empty());
}

#[test]
fn cpus_are_nodes() {
    let text = r#"
kind = "daemonset"
[process]
command = ["sleep", "1000"]
[daemonset]
nodes = "cpus"
"#;
    let daemon = Daemon::start(&[("percpu", text)]);
    let cpus = fs::read_to_string("/proc/cpuinfo")
        .unwrap()
        .lines()
        .filter(|line| line.starts_with("processor"))
        .count();
    daemon.wait_ready("percpu", cpus);
}
