//! Deployments: crash, deletion, roll-out within its bounds, a broken version, undo.

use crate::support::{Daemon, pid_of, signal, texts};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

fn api(version: &str, more: &str) -> String {
    format!(
        r#"
kind = "deployment"
replicas = 4
min_ready = "100ms"
{more}
[process]
command = ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1000 & wait; done"]
env = {{ VERSION = "{version}" }}
[rollout]
max_surge = 1
max_unavailable = 1
"#
    )
}

const BROKEN: &str = r#"
kind = "deployment"
replicas = 4
min_ready = "2s"
[process]
command = ["sh", "-c", "exit 3"]
env = { VERSION = "broken" }
[rollout]
max_surge = 1
max_unavailable = 1
"#;

#[test]
fn a_crashed_instance_starts_in_place_and_a_deleted_one_gets_a_new_name() {
    let daemon = Daemon::start(&[("api", &api("1", ""))]);
    daemon.wait_ready("deployment/api", 4);
    let before = daemon.ps("api");
    for one in &before {
        signal(pid_of(one), "KILL");
    }
    daemon.wait("all are back in place", |daemon| {
        let now = daemon.ps("api");
        now.len() == 4 && now.iter().all(|one| one["ready"] == true && one["restarts"] == 1)
    });
    let after = daemon.ps("api");
    let names = |list: &[serde_json::Value]| -> BTreeSet<String> {
        texts(list, "name").into_iter().collect()
    };
    assert_eq!(names(&before), names(&after));
    assert!(after.iter().all(|one| one["signal"] == "SIGKILL"), "{after:?}");

    let victim = texts(&after, "name").remove(0);
    daemon.ctl_ok(&["delete", &victim]);
    daemon.wait("a new one is there", |daemon| {
        let now = texts(&daemon.ps("api"), "name");
        now.len() == 4 && !now.contains(&victim)
    });
    daemon.wait_ready("api", 4);
}

#[test]
fn a_rolling_update_stays_within_its_bounds() {
    let daemon = Daemon::start(&[("api", &api("1", ""))]);
    daemon.wait_ready("api", 4);
    daemon.wait("all are available", |daemon| daemon.get("deployment/api")["available"] == 4);
    let done = AtomicBool::new(false);
    let seen = std::thread::scope(|scope| {
        let poller = scope.spawn(|| {
            let mut seen = BTreeSet::new();
            while !done.load(Ordering::Relaxed) {
                let all = daemon.ps("api");
                let active = all.iter().filter(|one| one["state"] != "Stopping").count();
                let ready = all.iter().filter(|one| one["ready"] == true).count();
                seen.insert((ready, active));
            }
            seen
        });
        daemon.write_unit("api", &api("2", ""));
        daemon.ctl_ok(&["apply"]);
        daemon.ctl_ok(&["rollout", "status", "deployment/api"]);
        done.store(true, Ordering::Relaxed);
        poller.join().unwrap()
    });
    let (least, most) = seen.iter().fold((usize::MAX, 0), |(least, most), (ready, active)| {
        (least.min(*ready), most.max(*active))
    });
    assert!(least >= 3, "never fewer ready than replicas - max_unavailable: {seen:?}");
    assert!(most <= 5, "never more than replicas + max_surge: {seen:?}");
    assert!(seen.len() > 1, "the poller saw the roll-out: {seen:?}");
    let view = daemon.get("deployment/api");
    assert_eq!((&view["updated"], &view["revision"]), (&4.into(), &2.into()), "{view}");
}

#[test]
fn a_broken_version_leaves_the_old_one_serving_and_undo_brings_it_back() {
    let daemon = Daemon::start(&[("api", &api("1", ""))]);
    daemon.wait_ready("api", 4);
    let old: BTreeSet<String> = texts(&daemon.ps("api"), "name").into_iter().collect();
    daemon.write_unit("api", BROKEN);
    daemon.ctl_ok(&["apply"]);
    daemon.wait("the new version crashes again and again", |daemon| {
        daemon
            .ps("api")
            .iter()
            .any(|one| one["revision"] == 2 && one["restarts"].as_u64() > Some(1))
    });
    let serving =
        daemon.ps("api").iter().filter(|one| one["revision"] == 1 && one["ready"] == true).count();
    assert!(serving >= 3, "the old version serves: {:?}", daemon.ps("api"));
    daemon.ctl_ok(&["rollout", "undo", "deployment/api"]);
    daemon.wait("the former template is back", |daemon| {
        let now = daemon.ps("api");
        now.len() == 4 && now.iter().all(|one| one["ready"] == true && one["revision"] == 3)
    });
    let kept: BTreeSet<String> = texts(&daemon.ps("api"), "name").into_iter().collect();
    assert!(kept.intersection(&old).count() >= 3, "what served goes on serving");
    // The undo outlives the daemon although the file still holds the broken version.
    let history = daemon.ctl_ok(&["rollout", "history", "deployment/api"]);
    assert!(history.contains('3'), "{history}");
}

#[test]
fn scale_pause_and_resume_do_what_they_say() {
    let daemon = Daemon::start(&[("api", &api("1", ""))]);
    daemon.wait_ready("api", 4);
    daemon.ctl_ok(&["scale", "deployment/api", "--replicas", "6"]);
    daemon.wait_ready("api", 6);
    daemon.ctl_ok(&["rollout", "pause", "api"]);
    daemon.write_unit("api", &api("2", ""));
    daemon.ctl_ok(&["apply"]);
    daemon.ctl_ok(&["scale", "api", "--replicas", "5"]);
    daemon.wait_ready("api", 5);
    assert!(daemon.ps("api").iter().all(|one| one["revision"] == 1), "paused: no step is taken");
    daemon.ctl_ok(&["rollout", "resume", "api"]);
    daemon.ctl_ok(&["rollout", "status", "api", "--timeout", "60s"]);
    daemon.wait("all five are new", |daemon| {
        let now = daemon.ps("api");
        now.len() == 5 && now.iter().all(|one| one["revision"] == 2)
    });
    daemon.ctl_ok(&["stop", "api"]);
    daemon.wait("all are gone", |daemon| daemon.ps("api").is_empty());
    assert_eq!(daemon.ctl(&["wait", "api", "--for", "stopped", "--timeout", "30s"]).code, 0);
    daemon.ctl_ok(&["start", "api"]);
    daemon.wait_ready("api", 5);
}

#[test]
fn recreate_ends_all_old_ones_before_the_first_new_one_starts() {
    let text = |version: &str| {
        format!(
            r#"
kind = "deployment"
replicas = 2
[process]
command = ["sh", "-c", "trap 'echo end $VERSION >> @DIR@/scratch/trace; exit 0' TERM; echo start $VERSION >> @DIR@/scratch/trace; while :; do sleep 1000 & wait; done"]
env = {{ VERSION = "{version}" }}
[rollout]
strategy = "recreate"
"#
        )
    };
    let daemon = Daemon::start(&[("api", &text("1"))]);
    daemon.wait("both have begun", |daemon| daemon.read("scratch/trace").lines().count() == 2);
    daemon.write_unit("api", &text("2"));
    daemon.ctl_ok(&["apply"]);
    daemon.wait("both new ones have begun", |daemon| {
        daemon.read("scratch/trace").lines().count() == 6
    });
    let trace = daemon.read("scratch/trace");
    assert_eq!(
        trace.lines().collect::<Vec<_>>(),
        ["start 1", "start 1", "end 1", "end 1", "start 2", "start 2"]
    );
}
