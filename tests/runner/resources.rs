//! `[resources]`: limits in force where the kernel's controllers are there, one warning where not.

use crate::rig::{Rig, each_owner, sh};
use std::fs;
use std::path::Path;
use wsup::core::event::Exit;
use wsup::core::spec::Resources;
use wsup::runner::protocol::{Command, SpawnPlan, TreeMode};

/// Why a controller cannot be had in this rig; `None`: it can.
fn missing(rig: &Rig, controller: &str) -> Option<String> {
    let path = match rig.welcome().mode {
        TreeMode::Cgroup { path } => path,
        TreeMode::ProcessGroups { reason } => return Some(reason),
    };
    let file = Path::new(&path).parent().unwrap().join("cgroup.controllers");
    let all = fs::read_to_string(&file).unwrap_or_default();
    if all.split_whitespace().any(|name| name == controller) {
        return None;
    }
    Some(format!("no {controller} controller in {}", file.display()))
}

/// Whether a controller is there; says so if not.
fn has(rig: &Rig, controller: &str) -> bool {
    let reason = missing(rig, controller);
    if let Some(reason) = &reason {
        eprintln!("skipped: {reason}");
    }
    reason.is_none()
}

/// A program that prints files of its own cgroup.
fn files(rig: &mut Rig, names: &str) -> SpawnPlan {
    let mut plan = rig.plan(sh(&format!(
        "cd \"$DIR/$(sed -n 's/^0:://p' /proc/self/cgroup | sed 's|.*/||')\" && cat {names}"
    )));
    if let TreeMode::Cgroup { path } = rig.welcome().mode {
        plan.envp.push(format!("DIR={path}").into());
    }
    plan
}

#[test]
fn limits_are_in_force_before_the_program_starts() {
    each_owner(|rig| {
        if !["memory", "cpu", "pids"].iter().all(|name| has(rig, name)) {
            return;
        }
        let mut plan =
            files(rig, "memory.max memory.high memory.oom.group cpu.max cpu.weight pids.max");
        plan.resources = Resources {
            memory: Some(64 << 20),
            memory_high: Some(32 << 20),
            cpu_milli: Some(250),
            cpu_weight: Some(42),
            pids: Some(77),
            ..Resources::default()
        };
        let id = rig.start(plan);
        assert_eq!(rig.exit_of(id), Exit::Code(0), "{}", rig.new_log());
        let expected = "67108864\n33554432\n1\n25000 100000\n42\n77\n";
        assert_eq!(rig.new_log(), expected);
        assert_eq!(rig.missing, []);
        // One without limits beside it.
        let plan = files(rig, "memory.max pids.max");
        let id = rig.start(plan);
        assert_eq!(rig.exit_of(id), Exit::Code(0));
        assert_eq!(rig.new_log(), "max\nmax\n");
    });
}

#[test]
fn what_cannot_be_enforced_is_warned_of_once_and_the_program_runs() {
    each_owner(|rig| {
        let Some(reason) = missing(rig, "memory") else {
            eprintln!("skipped: the memory controller is there");
            return;
        };
        eprintln!("{reason}");
        for _ in 0..3 {
            let mut plan = rig.plan(sh("echo runs"));
            plan.resources =
                Resources { memory: Some(1 << 30), memory_high: Some(1 << 29), ..plan.resources };
            let id = rig.start(plan);
            assert_eq!(rig.exit_of(id), Exit::Code(0));
        }
        let mut plan = rig.plan(sh("echo runs"));
        plan.resources.cpu_milli = Some(500);
        let id = rig.start(plan);
        assert_eq!(rig.exit_of(id), Exit::Code(0));
        assert_eq!(rig.log("a"), "runs\n".repeat(4));
        // A warning is not numbered and may come behind the end that it belongs to.
        rig.until_missing(2);
        let about: Vec<_> = rig.missing.iter().map(|(about, _)| about.as_str()).collect();
        assert_eq!(about, ["memory", "cpu"], "{:?}", rig.missing);
        let text = &rig.missing[0].1;
        let keys = "`memory`, `memory_high` of [resources] not enforced: ";
        assert!(text.starts_with(keys) && text.len() > keys.len() + 10, "{text}");
    });
}

#[test]
fn an_end_for_want_of_memory_is_told_as_such() {
    each_owner(|rig| {
        if !has(rig, "memory") {
            return;
        }
        for (script, expected) in [
            // The main process itself, and a child of it: all of the instance goes.
            ("exec dd if=/dev/zero of=/dev/null bs=100M count=1", Exit::OomKilled),
            (
                "(dd if=/dev/zero of=/dev/null bs=100M count=1; echo no) & wait; sleep 100",
                Exit::OomKilled,
            ),
            ("kill -KILL $$", Exit::Signal(9)),
            ("exit 137", Exit::Code(137)),
        ] {
            let mut plan = rig.plan(sh(script));
            plan.resources =
                Resources { memory: Some(32 << 20), memory_swap: Some(0), ..Resources::default() };
            let id = rig.start(plan);
            assert_eq!(rig.exit_of(id), expected, "{script}");
        }
        assert_eq!(rig.log("a"), "");
    });
}

#[test]
fn the_limit_on_processes_holds() {
    each_owner(|rig| {
        if !has(rig, "pids") {
            return;
        }
        let mut plan = rig.plan(sh(
            "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 1000 & done 2> /dev/null; echo in",
        ));
        plan.resources.pids = Some(5);
        let id = rig.start(plan);
        assert_ne!(rig.exit_of(id), Exit::Code(0), "fork must fail");
        assert!(!rig.new_log().contains("in"), "{}", rig.new_log());
    });
}

#[test]
fn a_limit_on_cpu_throttles() {
    each_owner(|rig| {
        if !has(rig, "cpu") {
            return;
        }
        let mut plan = files(rig, "cpu.stat");
        let script = plan.argv[2].to_text();
        plan.argv[2] = format!("n=0; while [ $n -lt 3000 ]; do n=$((n+1)); done; {script}").into();
        plan.resources.cpu_milli = Some(200);
        let id = rig.start(plan);
        assert_eq!(rig.exit_of(id), Exit::Code(0));
        let log = rig.new_log();
        let throttled = log.lines().find_map(|line| line.strip_prefix("nr_throttled "));
        assert!(throttled.is_some_and(|n| n.parse::<u32>().unwrap() > 0), "{log}");
    });
}

#[test]
fn a_value_that_the_kernel_refuses_is_named() {
    each_owner(|rig| {
        if !has(rig, "cpu") {
            return;
        }
        let mut plan = rig.plan(sh("echo no"));
        plan.resources.cpu_weight = Some(20_000);
        let text = rig.failure(plan);
        assert!(text.starts_with("cannot start a: resources: cpu.weight 20000: E"), "{text}");
        // Nothing of it is left, and the next start works.
        let id = rig.spawn(sh("exit 0"));
        assert_eq!(rig.exit_of(id), Exit::Code(0));
        rig.send(Command::Ack { upto: u64::MAX });
    });
}
