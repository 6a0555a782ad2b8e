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
