//! Trees that do everything to survive, for every kind of owner.

use crate::rig::{self, Rig, each_owner, sh};
use std::collections::BTreeSet;
use std::fs;
use wsup::core::event::Exit;
use wsup::core::id::InstanceId;
use wsup::runner::protocol::Command;

/// Everything ignores TERM. Workers fork their successor and end, again and again, in the session
/// and in sessions of their own, so that a look at the tree is stale at once; a double-forked one
/// and one that hides whose it is wait beside them. Bounded: no more than about a dozen live at
/// once. Each generation of workers writes its number, so that it can be seen that they go on.
const BOMB: &str = r#"
trap '' TERM
cat > respawn <<'END'
trap '' TERM
echo $$ >> pids
n=$1
if [ $n -gt 0 ]; then
  if [ $((n % 2)) = 0 ]; then setsid sh respawn $((n - 1)) & else sh respawn $((n - 1)) & fi
fi
exit 0
END
for i in 1 2 3 4; do sh respawn 5000 & done
(setsid sh -c 'trap "" TERM; echo $$ >> pids; while :; do sleep 1000; done' &)
env -i PATH=$PATH setsid sh -c 'trap "" TERM; echo $$ >> pids; while :; do sleep 1000; done' &
while [ "$(wc -l < pids)" -lt 40 ]; do sleep 0.01; done
echo up
"#;

fn bomb(rig: &mut Rig, then: &str) -> InstanceId {
    let _old = fs::remove_file(rig.dir().join("pids"));
    let plan = rig.plan(sh(&format!("{BOMB}{then}")));
    let id = rig.start(plan);
    rig.spawned(id);
    rig.wait_for_line("up");
    id
}

fn survivors(rig: &Rig) -> BTreeSet<i32> {
    let text = fs::read_to_string(rig.dir().join("pids")).unwrap();
    text.lines().filter_map(|line| line.parse().ok()).filter(|pid| ours(rig, *pid)).collect()
}

/// Whether the process lives and is of this test: numbers come round again.
fn ours(rig: &Rig, pid: i32) -> bool {
    rig::lives(pid)
        && fs::read_link(format!("/proc/{pid}/cwd"))
            .is_ok_and(|cwd| cwd == rig.dir().canonicalize().unwrap())
}

#[test]
fn a_tree_that_forks_in_a_loop_and_ignores_term_is_gone_after_every_kind_of_end() {
    each_owner(|rig| {
        // A stop: TERM, which nothing heeds, then the kill.
        let id = bomb(rig, "while :; do sleep 1000; done");
        rig.send(Command::Terminate { id, signal: 15 });
        rig.send(Command::KillTree { id });
        assert_eq!(rig.exit_of(id), Exit::Signal(9));
        assert_eq!(survivors(rig), BTreeSet::new(), "after a stop");
        // The main process crashes, or just ends.
        for (then, expected) in [("kill -SEGV $$", Exit::Signal(11)), ("exit 3", Exit::Code(3))] {
            let id = bomb(rig, then);
            assert_eq!(rig.exit_of(id), expected);
            assert_eq!(survivors(rig), BTreeSet::new(), "after `{then}`");
        }
        // The main process is killed from outside.
        let id = bomb(rig, "while :; do sleep 1000; done");
        let main = rig.spawned(id);
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(main), nix::sys::signal::SIGKILL)
            .unwrap();
        assert_eq!(rig.exit_of(id), Exit::Signal(9));
        assert_eq!(survivors(rig), BTreeSet::new(), "after its main process was killed");
        assert!(rig.no_child_left());
        // The last will: what happens when `wsup dev` is killed.
        bomb(rig, "while :; do sleep 1000; done");
        rig.send(Command::SetLastWill { stop_all: true });
        let other = rig.spawn_named("b", sh("exit 0"));
        assert_eq!(rig.exit_of(other), Exit::Code(0));
        rig.drop_connection();
        rig.wait_until_gone();
        assert_eq!(survivors(rig), BTreeSet::new(), "after the last will");
        rig.connect();
    });
}
