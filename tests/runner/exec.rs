//! Programs that are run beside a start: hooks and probes.

use crate::rig::{self, Rig, each_mode, sh, until};
use std::fs;
use wsup::core::event::Exit;
use wsup::core::id::InstanceId;
use wsup::runner::protocol::{Bytes, Command, ExecEnd, SpawnPlan};

const KILL: i32 = 9;

/// A plan for a program beside this start.
fn beside(rig: &mut Rig, id: InstanceId, argv: Vec<Bytes>) -> SpawnPlan {
    SpawnPlan { id, ..rig.plan(argv) }
}

fn sleeper(rig: &mut Rig) -> (InstanceId, i32) {
    let id = rig.spawn(sh("echo up; exec sleep 1000"));
    let pid = rig.spawned(id);
    rig.wait_for_line("up");
    (id, pid)
}

fn ended(code: i32) -> ExecEnd {
    ExecEnd::Exited(Exit::Code(code))
}

#[test]
fn what_a_probe_writes_comes_with_its_answer() {
    each_mode(|rig| {
        let (id, _) = sleeper(rig);
        let plan = beside(rig, id, sh("echo out; echo err >&2; exit 3"));
        rig.exec(1, true, plan);
        assert_eq!(rig.exec_end(1), (ended(3), "out\nerr\n".to_owned()));
        // More than anybody wants to know, and more than a pipe holds.
        let plan = beside(rig, id, sh("head -c 300000 /dev/zero | tr '\\0' x"));
        rig.exec(2, true, plan);
        let (end, text) = rig.exec_end(2);
        assert_eq!((end, text.len()), (ended(0), 1024));
        let plan = beside(rig, id, vec!["/no/such".into()]);
        rig.exec(3, true, SpawnPlan { candidates: vec!["/no/such".into()], ..plan });
        let (end, _) = rig.exec_end(3);
        assert!(matches!(&end, ExecEnd::Failed(why) if why.contains("/no/such")), "{end:?}");
        assert_eq!(rig.log("a"), "up\n", "nothing of it is in the log");
        rig.send(Command::KillTree { id });
        assert_eq!(rig.exit_of(id), Exit::Signal(KILL));
        assert!(rig.no_child_left());
    });
}

#[test]
fn what_a_hook_writes_is_in_the_log_of_its_start() {
    each_mode(|rig| {
        let (id, _) = sleeper(rig);
        let plan = beside(rig, id, sh("echo from the hook; echo trouble >&2"));
        rig.exec(1, false, plan);
        assert_eq!(rig.exec_end(1), (ended(0), String::new()));
        rig.wait_for_line("from the hook");
        rig.wait_for_line("trouble");
        rig.send(Command::KillTree { id });
        rig.exit_of(id);
    });
}

#[test]
fn it_lives_in_the_tree_of_its_start_and_goes_with_it() {
    each_mode(|rig| {
        let (id, pid) = sleeper(rig);
        let script = "trap '' TERM; echo $$ > beside; sleep 1000 & wait; while :; do sleep 1; done";
        let plan = beside(rig, id, sh(script));
        rig.exec(1, true, plan);
        let path = rig.dir().join("beside");
        let number = || fs::read_to_string(&path).unwrap_or_default().trim().parse().unwrap_or(0);
        until("it runs", || number() > 0);
        let hook: i32 = number();
        let cgroup = |pid: i32| fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
        assert_eq!(cgroup(hook), cgroup(pid));
        // The main process ends by itself: what runs beside it is killed, and only then is the
        // start's end told.
        rig.send(Command::Signal { id, signal: KILL });
        assert_eq!(rig.exit_of(id), Exit::Signal(KILL));
        assert!(!rig::lives(hook));
        assert_eq!(rig.exec_end(1).0, ExecEnd::Exited(Exit::Signal(KILL)));
        assert!(rig.no_child_left());
        fs::remove_file(&path).unwrap();
        // It comes too late: there is nothing to be beside.
        let plan = beside(rig, id, sh("exit 0"));
        rig.exec(2, true, plan);
        assert!(matches!(rig.exec_end(2).0, ExecEnd::Failed(why) if why.contains("not run")));
    });
}

#[test]
fn one_that_takes_too_long_is_killed_alone() {
    each_mode(|rig| {
        let (id, pid) = sleeper(rig);
        let plan = beside(rig, id, sh("echo waits; sleep 1000 & wait"));
        rig.exec(1, true, plan);
        // Asked for twice by mistake: it is the same one.
        let again = beside(rig, id, sh("exit 7"));
        rig.exec(1, true, again);
        rig.send(Command::KillExec { number: 1 });
        assert_eq!(rig.exec_end(1).0, ExecEnd::Exited(Exit::Signal(KILL)));
        rig.send(Command::KillExec { number: 1 });
        rig.send(Command::KillExec { number: 99 });
        let plan = beside(rig, id, sh("exit 0"));
        rig.exec(2, true, plan);
        assert_eq!(rig.exec_end(2).0, ended(0));
        assert!(!rig.exec_has_ended(1), "it has one answer");
        assert!(rig::lives(pid));
        rig.send(Command::KillTree { id });
        rig.exit_of(id);
        assert!(rig.no_child_left());
    });
}

#[test]
fn without_the_daemon_that_asked_they_are_killed() {
    each_mode(|rig| {
        let (id, pid) = sleeper(rig);
        let plan = beside(rig, id, sh("echo $$ > beside; sleep 1000"));
        rig.exec(1, true, plan);
        let path = rig.dir().join("beside");
        let number = || fs::read_to_string(&path).unwrap_or_default().trim().parse().unwrap_or(0);
        until("it runs", || number() > 0);
        let former = number();
        rig.drop_connection();
        rig.connect();
        // The same number means another one to another daemon, also while the former is ending.
        let plan = beside(rig, id, sh("exit 5"));
        rig.exec(1, true, plan);
        assert_eq!(rig.exec_end(1).0, ended(5));
        until("the former is gone", || !rig::lives(former));
        assert!(rig::lives(pid), "its start lives on");
        fs::remove_file(&path).unwrap();
        rig.send(Command::KillTree { id });
        rig.exit_of(id);
    });
}
