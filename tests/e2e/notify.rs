//! Programs that speak systemd's protocol: READY, STATUS, WATCHDOG, EXTEND_TIMEOUT_USEC, STOPPING,
//! RELOADING, MAINPID.

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

fn told(daemon: &Daemon, instance: &str, reason: &str, part: &str) -> bool {
    let holds = |event: &serde_json::Value| {
        event["instance"] == instance
            && event["reason"] == reason
            && event["message"].as_str().is_some_and(|text| text.contains(part))
    };
    daemon.events().iter().any(holds)
}

/// A program that says `first` at once and `last` when it is asked to end, but ends only when
/// `scratch/end-NAME` is there; `None`, with the reason on stderr: it cannot be had.
fn stubborn(name: &str, first: &str, last: &str, more: &str) -> Option<String> {
    speaker()?;
    Some(format!(
        "kind = \"statefulset\"\n[process]\ncommand = [\"perl\", \"-MSocket\", \"-e\", '''\n\
         socket(S, PF_UNIX, SOCK_DGRAM, 0);\n\
         sub say {{ send(S, $_[0], 0, sockaddr_un($ENV{{NOTIFY_SOCKET}})) or die $! if $_[0] }}\n\
         $SIG{{TERM}} = sub {{ say(\"{last}\") }};\n\
         say(\"{first}\");\n\
         select undef, undef, undef, 0.02 until -e \"@DIR@/scratch/end-{name}\"''']\n{more}"
    ))
}

#[test]
fn who_asks_for_more_time_to_start_gets_it() {
    let probe = "[probes.startup]\nnotify = true\nperiod = \"1s\"\nfailure_threshold = 3\n";
    let Some(asks) = stubborn("asks", "EXTEND_TIMEOUT_USEC=600000000", "", probe) else { return };
    let Some(other) = stubborn("other", "STATUS=works", "", probe) else { return };
    let mut daemon = Daemon::start(&[("asks", &asks), ("other", &other)]);
    daemon.wait("the other one took too long", |d| {
        told(d, "other-0", "ProbeFailed", "did not say within 3s that it has started")
    });
    assert_eq!(daemon.ps("asks")[0]["restarts"], 0, "{:?}", daemon.events());
    // A new daemon knows of it.
    daemon.kill();
    daemon.launch();
    let before = daemon.event_instances("InstanceStarted", "other").len();
    daemon.wait("the other one is started again, or waits for it", |d| {
        d.event_instances("InstanceStarted", "other").len() > before
            || d.ps("other")[0]["state"] == "Backoff"
    });
    assert_eq!(daemon.ps("asks")[0]["restarts"], 0, "{:?}", daemon.events());
}

#[test]
fn who_asks_for_more_time_to_end_gets_it() {
    let more = "termination_grace_period = \"2s\"\n[probes.readiness]\nnotify = true\n";
    let extend = "EXTEND_TIMEOUT_USEC=600000000";
    let Some(asks) = stubborn("asks", "READY=1", extend, more) else { return };
    let Some(other) = stubborn("other", "READY=1", "", more) else { return };
    let daemon = Daemon::start(&[("asks", &asks), ("other", &other)]);
    daemon.wait_ready("asks", 1);
    daemon.wait_ready("other", 1);
    daemon.ctl_ok(&["stop", "asks", "other"]);
    daemon.wait("the other one is killed", |d| told(d, "other-0", "InstanceKilled", "2s"));
    daemon.wait("the other one is gone", |d| d.ps("other").is_empty());
    assert_eq!(daemon.ps("asks")[0]["state"], "Stopping");
    std::fs::write(daemon.path("scratch/end-asks"), "").unwrap();
    daemon.wait("it has ended", |d| d.ps("asks").is_empty());
    assert!(!told(&daemon, "asks-0", "InstanceKilled", ""), "{:?}", daemon.events());
}

#[test]
fn a_program_says_that_it_ends_or_reloads() {
    let Some(unit) = unit("[probes.readiness]\nnotify = true\n") else { return };
    let mut daemon = Daemon::start(&[("db", &unit)]);
    daemon.wait("it runs", |d| d.ps("db").first().is_some_and(|one| one["state"] == "Running"));
    say(&daemon, "READY=1");
    daemon.wait_ready("db", 1);
    say(&daemon, "RELOADING=1\nMONOTONIC_USEC=1\n");
    let reason = |d: &Daemon| d.ps("db")[0]["reason"].as_str().unwrap_or_default().to_owned();
    daemon.wait("it reloads", |d| reason(d).contains("RELOADING=1"));
    assert_eq!(daemon.ps("db")[0]["state"], "Ready", "and does its work");
    daemon.kill();
    daemon.launch();
    daemon.wait("it still reloads", |d| reason(d).contains("RELOADING=1"));
    say(&daemon, "READY=1");
    daemon.wait("it has reloaded", |d| reason(d).is_empty());
    assert!(told(&daemon, "db-0", "InstanceReloaded", "READY=1"));
    let before = pid_of(&daemon.ps("db")[0]);
    say(&daemon, "STOPPING=1");
    daemon.wait("it ends", |d| d.ps("db")[0]["state"] == "Stopping");
    assert!(daemon.ctl_ok(&["describe", "db-0"]).contains("STOPPING=1"));
    daemon.kill();
    daemon.launch();
    let one = daemon.ps("db").remove(0);
    assert_eq!((&one["state"], &one["ready"]), (&"Stopping".into(), &false.into()));
    assert_eq!(pid_of(&one), before, "nobody has asked it to");
    daemon.ctl_ok(&["signal", "db-0", "SIGKILL"]);
    daemon.wait("another process runs", |d| {
        d.ps("db")[0]["pid"].as_u64().is_some_and(|pid| pid != u64::from(before))
    });
    assert_eq!(daemon.ps("db")[0]["restarts"], 1);
}

#[test]
fn a_program_that_replaces_itself_is_followed() {
    if speaker().is_none() {
        return;
    }
    // As nginx and haproxy do it: the old process starts the new one, names it, and ends.
    let unit = "kind = \"statefulset\"\n[process]\ncommand = [\"perl\", \"-MSocket\", \"-e\", '''\n\
        $dir = \"@DIR@/scratch\"; sub until_is { select undef, undef, undef, 0.02 until -e \"$dir/$_[0]\" }\n\
        until_is(\"upgrade\"); unlink \"$dir/upgrade\";\n\
        $new = fork; if (!$new) { until_is(\"end\"); unlink \"$dir/end\"; exit 7 }\n\
        socket(S, PF_UNIX, SOCK_DGRAM, 0);\n\
        send(S, \"MAINPID=$new\", 0, sockaddr_un($ENV{NOTIFY_SOCKET})) or die $!;\n\
        until_is(\"leave\"); unlink \"$dir/leave\"''']\n[probes.liveness]\nwatchdog = \"1h\"\n";
    let mut daemon = Daemon::start(&[("web", unit)]);
    daemon.wait_ready("web", 1);
    let touch = |daemon: &Daemon, name: &str| {
        std::fs::write(daemon.path(&format!("scratch/{name}")), "").unwrap();
    };
    let old = pid_of(&daemon.ps("web")[0]);
    touch(&daemon, "upgrade");
    daemon.wait("the new process is followed", |d| pid_of(&d.ps("web")[0]) != old);
    let new = pid_of(&daemon.ps("web")[0]);
    touch(&daemon, "leave");
    daemon.wait("the old process has ended", |d| !d.path("scratch/leave").exists());
    daemon.kill();
    daemon.launch();
    daemon.wait("it is found again", |d| pid_of(&d.ps("web")[0]) == new);
    assert_eq!(daemon.ps("web")[0]["restarts"], 0);
    assert!(told(&daemon, "web-0", "InstanceMainPid", &new.to_string()));
    touch(&daemon, "end");
    daemon.wait("its end is the instance's", |d| d.ps("web")[0]["exit_code"] == 7);
    daemon.wait_ready("web", 1);
    assert_eq!(daemon.ps("web")[0]["restarts"], 1);
}

/// Gives a descriptor to keep when it has got none, and else writes what it has got.
#[test]
fn descriptors_that_are_kept_outlive_process_and_daemon_and_end_with_the_instance() {
    let words = "import socket; socket.send_fds; import os; os.memfd_create";
    let there = Command::new("python3").args(["-c", words]).output();
    if !there.as_ref().is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: no python3 to send descriptors with: {there:?}");
        return;
    }
    let unit = "kind = \"statefulset\"\n[process]\ncommand = [\"python3\", \"-u\", \"-c\", '''\n\
        import os, socket, time\n\
        if os.environ.get(\"LISTEN_FDNAMES\") == \"state\":\n\
        \x20   print(\"got\", os.pread(3, 100, 0).decode())\n\
        else:\n\
        \x20   state = os.memfd_create(\"state\"); os.write(state, b\"what was\")\n\
        \x20   s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n\
        \x20   text = [b\"FDSTORE=1\\nFDNAME=state\\nSTATUS=given\"]\n\
        \x20   s.connect(os.environ[\"NOTIFY_SOCKET\"]); socket.send_fds(s, text, [state])\n\
        \x20   print(\"gave\")\n\
        time.sleep(1000)''']\n[probes.liveness]\nwatchdog = \"1h\"\n";
    let mut daemon = Daemon::start(&[("db", unit)]);
    let log = |d: &Daemon| d.read("log/db/db-0.log");
    daemon.wait("it was taken", |d| d.ps("db").first().is_some_and(|one| one["says"] == "given"));
    daemon.kill();
    daemon.launch();
    daemon.ctl_ok(&["signal", "db-0", "SIGKILL"]);
    daemon.wait("it came back", |d| log(d) == "gave\ngot what was\n");
    daemon.ctl_ok(&["restart", "db-0"]);
    daemon.wait("it came back", |d| log(d).matches("got what was").count() == 2);
    // Another instance of the same name begins with nothing.
    daemon.ctl_ok(&["scale", "db", "--replicas", "0"]);
    daemon.wait("it is gone", |d| d.ps("db").is_empty());
    daemon.ctl_ok(&["scale", "db", "--replicas", "1"]);
    daemon.wait("it has got nothing", |d| log(d).matches("gave").count() == 2);
    assert_eq!(log(&daemon).matches("got").count(), 2);
}
