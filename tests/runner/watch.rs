//! Lines of output that a probe waits for.

use crate::rig::{each_mode, sh, until};
use std::collections::BTreeMap;
use std::fs;
use wsup::core::event::Exit;
use wsup::runner::protocol::{Command, LogPlan, SpawnPlan};

fn awaited(wanted: &[(&str, &str)]) -> BTreeMap<String, String> {
    wanted.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
}

#[test]
fn the_first_line_that_matches_is_told_and_all_output_is_in_the_log() {
    each_mode(|rig| {
        // A flood before and after it, which is moved unseen as soon as nothing is awaited; the line
        // comes in two pieces, and that of the other expression on the other stream.
        let flood = "seq -f 'line %.0f of the flood, which is no short one' 1 20000";
        let script = format!(
            "{flood}; printf 'it is rea'; sleep 0.1; echo 'dy on port 80'; echo 'it is ready twice'; \
             {flood}; echo 'warm now' >&2; while [ ! -e go ]; do sleep 0.01; done; exit 3"
        );
        let mut plan = rig.plan(sh(&script));
        if let LogPlan::File { max_size, .. } = &mut plan.log {
            *max_size = 10 << 20;
        }
        let awaited = awaited(&[("startup", r"ready on port \d+$"), ("readiness", "^warm")]);
        let id = rig.start(SpawnPlan { awaited, ..plan });
        rig.told(id, "FOUND:startup", "it is ready on port 80");
        rig.told(id, "FOUND:readiness", "warm now");
        // A daemon that comes later is told as well.
        rig.drop_connection();
        rig.connect();
        let living = rig.welcome().living;
        let said = living.iter().find(|held| held.id == id).map(|held| held.said.clone()).unwrap();
        assert_eq!(said["FOUND:startup"], "it is ready on port 80");
        fs::write(rig.dir().join("go"), "").unwrap();
        assert_eq!(rig.exit_of(id), Exit::Code(3));
        let log = rig.log("a");
        assert_eq!(log.lines().filter(|line| line.starts_with("line ")).count(), 40_000);
        assert!(log.contains("\nit is ready on port 80\nit is ready twice\n"));
    });
}

#[test]
fn what_cannot_be_searched_is_not_started() {
    each_mode(|rig| {
        let plan = rig.plan(sh("exit 0"));
        let said = rig.failure(SpawnPlan { awaited: awaited(&[("startup", "(")]), ..plan });
        assert!(said.contains("`(` cannot be searched for"), "{said}");
        let mut plan = rig.plan_named("b", sh("exit 0"));
        plan.log = LogPlan::None;
        let said = rig.failure(SpawnPlan { awaited: awaited(&[("startup", "x")]), ..plan });
        assert!(said.contains("needs output that is kept"), "{said}");
        assert!(rig.no_child_left());
    });
}

#[test]
fn one_that_is_never_written_keeps_nobody_from_ending() {
    each_mode(|rig| {
        let plan = rig.plan(sh("echo something else; : > wrote; sleep 1000"));
        let id = rig.start(SpawnPlan { awaited: awaited(&[("startup", "ready")]), ..plan });
        let wrote = rig.dir().join("wrote");
        until("it has written", || wrote.exists());
        rig.send(Command::KillTree { id });
        assert_eq!(rig.exit_of(id), Exit::Signal(9));
        assert!(rig.all_told().iter().all(|(_, said)| said.is_empty()));
        assert_eq!(rig.log("a"), "something else\n");
    });
}
