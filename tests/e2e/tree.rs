//! Nothing of an instance survives it: trees that daemonise, leave the session and ignore TERM.

use crate::support::{Daemon, lives, signal};
use std::collections::BTreeSet;

/// Three children: one in a session of its own, one orphaned by a double fork, one that ignores
/// TERM; then the main process itself ignores TERM. In command lines `$$$$` is a shell's `$$`, as in
/// Kubernetes.
const STUBBORN: &str = r#"
kind = "deployment"
[process]
command = ["sh", "-c", '''
trap '' TERM
setsid sh -c "echo \$\$ >> @DIR@/scratch/pids; while :; do sleep 1000; done" &
(sh -c "echo \$\$ >> @DIR@/scratch/pids; while :; do sleep 1000; done" &)
(setsid sh -c "(setsid sh -c 'echo \$\$ >> @DIR@/scratch/pids; while :; do sleep 1000; done' &)")
sh -c "echo \$\$ >> @DIR@/scratch/pids; while :; do sleep 1000; done" &
echo $$$$ >> @DIR@/scratch/pids
while :; do sleep 1000 & wait; done
''']
termination_grace_period = "300ms"
[restart]
backoff = { initial = "50ms" }
"#;

fn pids(daemon: &Daemon) -> BTreeSet<u32> {
    daemon.read("scratch/pids").lines().filter_map(|line| line.parse().ok()).collect()
}

fn up(daemon: &Daemon, generation: usize) -> BTreeSet<u32> {
    daemon.wait("the whole tree is up", |d| pids(d).len() == generation * 5);
    pids(daemon)
}

fn all_gone(pids: &BTreeSet<u32>) -> bool {
    pids.iter().all(|pid| !lives(*pid))
}

#[test]
fn the_whole_tree_is_gone_after_restart_crash_stop_and_the_daemons_end() {
    let mut daemon = Daemon::start(&[("stubborn", STUBBORN)]);
    let first = up(&daemon, 1);

    daemon.ctl_ok(&["restart", "deployment/stubborn"]);
    let both = up(&daemon, 2);
    assert!(all_gone(&first), "no generation overlaps with the next");

    let second: BTreeSet<u32> = both.difference(&first).copied().collect();
    let main = daemon.ps("stubborn")[0]["pid"].as_u64().unwrap();
    signal(u32::try_from(main).unwrap(), "KILL");
    let three = up(&daemon, 3);
    assert!(all_gone(&second), "a crash of the main process takes all with it");

    daemon.ctl_ok(&["stop", "stubborn"]);
    daemon.ctl_ok(&["wait", "stubborn", "--for", "stopped", "--timeout", "60s"]);
    assert!(all_gone(&three));

    daemon.ctl_ok(&["start", "stubborn"]);
    let four = up(&daemon, 4);
    assert_eq!(daemon.stop(), 0);
    assert!(all_gone(&four));
    assert_eq!(daemon.survivors(), Vec::<u32>::new());
}

/// Everything ignores TERM, and workers are replaced by their own children again and again, in
/// sessions of their own: whoever looks at the tree sees one that is gone already. Bounded.
const BOMB: &str = r#"
kind = "deployment"
[process]
command = ["sh", "@DIR@/scratch/bomb.sh"]
termination_grace_period = "300ms"
[restart]
backoff = { initial = "50ms" }
"#;

const BOMB_SCRIPT: &str = r#"
trap '' TERM
if [ -n "$1" ]; then
  echo x >> @DIR@/scratch/bombs
  [ "$1" -gt 0 ] && setsid sh @DIR@/scratch/bomb.sh $(($1 - 1)) &
  exit 0
fi
for i in 1 2 3; do sh @DIR@/scratch/bomb.sh 5000 & done
while :; do sleep 1000 & wait; done
"#;

/// Living processes of the bomb.
fn bombs(daemon: &Daemon) -> Vec<u32> {
    let of_script = |pid: &u32| {
        std::fs::read(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|line| String::from_utf8_lossy(&line).contains("bomb.sh"))
    };
    daemon.survivors().into_iter().filter(of_script).filter(|pid| lives(*pid)).collect()
}

#[test]
fn a_tree_that_forks_in_a_loop_is_gone_after_restart_crash_stop_and_the_daemons_end() {
    let mut daemon = Daemon::start(&[]);
    let script = BOMB_SCRIPT.replace("@DIR@", &daemon.path("").display().to_string());
    std::fs::write(daemon.path("scratch/bomb.sh"), script).unwrap();
    daemon.write_unit("bomb", BOMB);
    daemon.ctl_ok(&["apply"]);
    // All generations write into one file: it must grow after each of them begins.
    let grows = |daemon: &Daemon| {
        let _old = std::fs::remove_file(daemon.path("scratch/bombs"));
        daemon.wait("it forks", |d| d.read("scratch/bombs").len() > 40);
    };
    grows(&daemon);
    daemon.ctl_ok(&["restart", "bomb"]);
    daemon.wait("it was restarted", |d| d.ps("bomb")[0]["restarts"] == 1);
    grows(&daemon);
    let main = daemon.ps("bomb")[0]["pid"].as_u64().unwrap();
    signal(u32::try_from(main).unwrap(), "KILL");
    daemon.wait("it was started again", |d| {
        let one = &d.ps("bomb")[0];
        one["ready"] == true && one["pid"].as_u64() != Some(main)
    });
    grows(&daemon);
    daemon.ctl_ok(&["stop", "bomb"]);
    daemon.ctl_ok(&["wait", "bomb", "--for", "stopped", "--timeout", "60s"]);
    assert_eq!(bombs(&daemon), Vec::<u32>::new(), "after stop");

    daemon.ctl_ok(&["start", "bomb"]);
    grows(&daemon);
    assert_eq!(daemon.stop(), 0);
    assert_eq!(bombs(&daemon), Vec::<u32>::new(), "after the daemon's end");
    assert_eq!(daemon.survivors(), Vec::<u32>::new());
}
