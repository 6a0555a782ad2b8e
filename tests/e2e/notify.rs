//! Programs that speak systemd's protocol: READY, STATUS, WATCHDOG.

use crate::support::{Daemon, pid_of};
use std::process::Command;

/// A program that sends what stands in `scratch/say`, again whenever that changes, and then removes
/// it; `None`, with the reason on stderr: it cannot be had.
fn speaker() -> Option<&'static str> {
    let there = Command::new("perl").args(["-MSocket", "-e", "1"]).output();
    if !there.as_ref().is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: no perl to send datagrams with: {there:?}");
        return None;
    }
    Some(
        "exec perl -MSocket -e '$f = shift; $| = 1; print \"limit $ENV{WATCHDOG_USEC}\\n\"; \
         socket(S, PF_UNIX, SOCK_DGRAM, 0); while (1) { if (open(F, $f)) { local $/; $_ = <F>; \
         close F; unlink $f; send(S, $_, 0, sockaddr_un($ENV{NOTIFY_SOCKET})) or die $!; } \
         select undef, undef, undef, 0.02 }' @DIR@/scratch/say",
    )
}

fn say(daemon: &Daemon, text: &str) {
    let (hidden, path) = (daemon.path("scratch/say.new"), daemon.path("scratch/say"));
    std::fs::write(&hidden, text).unwrap();
    std::fs::rename(hidden, &path).unwrap();
    daemon.wait("it was said", |_| !path.exists());
}

fn unit(more: &str) -> Option<String> {
    let program = speaker()?;
    Some(format!(
        "kind = \"statefulset\"\n[process]\ncommand = [\"sh\", \"-c\", '''{program}''']\n{more}"
    ))
}

#[test]
fn a_program_says_when_it_is_ready_and_how_it_is() {
    let Some(unit) = unit("[probes.readiness]\nnotify = true\n") else { return };
    let mut daemon = Daemon::start(&[("db", &unit)]);
    daemon.wait("it runs", |d| d.ps("db").first().is_some_and(|one| one["state"] == "Running"));
    let why = daemon.ps("db")[0]["reason"].as_str().unwrap().to_owned();
    assert!(why.contains("readiness probe has not succeeded yet"), "{why}");
    say(&daemon, "STATUS=recovers\u{1b}[31m 42 %\n");
    daemon.wait("its word is shown", |d| d.ps("db")[0]["says"] == "recovers[31m 42 %");
    assert!(daemon.ctl_ok(&["describe", "db-0"]).contains("recovers[31m 42 %"));
    let before = pid_of(&daemon.ps("db")[0]);
    // Said while no daemon is there.
    daemon.kill();
    say(&daemon, "READY=1\nSTATUS=well");
    daemon.launch();
    daemon.wait_ready("db", 1);
    daemon.wait("its word is shown", |d| d.ps("db")[0]["says"] == "well");
    assert_eq!(pid_of(&daemon.ps("db")[0]), before);
    // The next process has to say so by itself.
    daemon.ctl_ok(&["restart", "db-0"]);
    daemon.wait("another process runs", |d| {
        d.ps("db").first().is_some_and(|one| {
            one["state"] == "Running" && one["pid"].as_u64() != Some(u64::from(before))
        })
    });
    assert!(daemon.ps("db")[0].get("says").is_none());
    say(&daemon, "READY=1");
    daemon.wait_ready("db", 1);
}

#[test]
fn a_watchdog_ends_what_gives_no_sign_of_life() {
    let Some(unit) = unit("[probes.liveness]\nwatchdog = \"2s\"\n") else { return };
    let daemon = Daemon::start(&[("db", &unit)]);
    daemon.wait_ready("db", 1);
    daemon.wait("it was told its time", |d| d.read("log/db/db-0.log") == "limit 2000000\n");
    say(&daemon, "WATCHDOG=1");
    daemon.wait("it was ended and started again", |d| {
        d.ps("db").first().is_some_and(|one| one["restarts"].as_u64() > Some(0))
    });
    let told = |part: &str| {
        let all = daemon.events();
        let found = all.iter().any(|event| {
            event["reason"] == "ProbeFailed" && event["message"].as_str().unwrap().contains(part)
        });
        assert!(found, "{part}: {all:?}");
    };
    told("no sign of life (WATCHDOG=1) for 2s");
    say(&daemon, "WATCHDOG=trigger");
    daemon.wait("it was ended at once", |d| {
        let all = d.events();
        all.iter().any(|event| event["message"].as_str().unwrap().contains("WATCHDOG=trigger"))
    });
}
