//! What programs say of themselves, by systemd's protocol.

use crate::rig::{Rig, each_mode, sh, until};
use std::os::unix::net::UnixDatagram;
use std::process::Command as Program;
use wsup::core::event::Exit;
use wsup::core::id::InstanceId;
use wsup::runner::protocol::{Command, SpawnPlan};

/// A shell function that sends its argument; `None`, with the reason on stderr: it cannot be had.
fn say() -> Option<&'static str> {
    let there = Program::new("perl").args(["-MSocket", "-e", "1"]).output();
    if !there.as_ref().is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: no perl to send datagrams with: {there:?}");
        return None;
    }
    Some(
        "say() { perl -MSocket -e 'socket(S, PF_UNIX, SOCK_DGRAM, 0); \
         send(S, $ARGV[0], 0, sockaddr_un($ENV{NOTIFY_SOCKET})) or die $!; \
         sleep($ARGV[1])' \"$1\" \"${2:-0}\"; }; ",
    )
}

fn speaker(rig: &mut Rig, script: &str) -> InstanceId {
    let plan = rig.plan(sh(script));
    let id = rig.start(SpawnPlan { notify: true, ..plan });
    rig.spawned(id);
    id
}

#[test]
fn what_a_tree_says_is_told_and_what_others_say_is_not() {
    let Some(say) = say() else { return };
    each_mode(|rig| {
        // The senders live on until they were heard: who has gone cannot be told.
        let script = format!("{say} say READY=1 1000 & say 'STATUS=warms up\nX_OWN=1' 1000 & wait");
        let id = speaker(rig, &script);
        rig.told(id, "READY", "1");
        rig.told(id, "STATUS", "warms up");
        assert!(rig.all_told().iter().all(|(_, said)| !said.contains_key("X_OWN")));
        let outsider = UnixDatagram::unbound().unwrap();
        let socket = rig.dir().join("run/notify.sock");
        outsider.send_to(b"STATUS=a lie", &socket).unwrap();
        // Another start that may not speak has no variable, and is not heard.
        let words = format!("{say} NOTIFY_SOCKET={} say STATUS=x 1000 & wait", socket.display());
        let plan = rig.plan_named("b", sh(&words));
        let mute = rig.start(plan);
        rig.spawned(mute);
        let last = speaker(rig, &format!("{say} say STOPPING=1 1000 & wait"));
        rig.told(last, "STOPPING", "1");
        let texts = |rig: &Rig| {
            let all = rig.all_told().iter();
            all.filter_map(|(_, said)| said.get("STATUS").cloned()).collect::<Vec<_>>()
        };
        assert_eq!(texts(rig), ["warms up"]);
        for id in [id, mute, last] {
            rig.send(Command::KillTree { id });
            assert_eq!(rig.exit_of(id), Exit::Signal(9));
        }
        assert!(rig.no_child_left());
    });
}

#[test]
fn what_was_said_while_nobody_listened_is_not_lost() {
    let Some(say) = say() else { return };
    each_mode(|rig| {
        let script = format!(
            "{say} until test -e go; do sleep 0.02; done; say 'READY=1\nWATCHDOG=1' 1000 & \
             say STATUS=late 1000 & wait"
        );
        let id = speaker(rig, &script);
        rig.drop_connection();
        std::fs::write(rig.dir().join("go"), "").unwrap();
        until("it is in the welcome", || {
            rig.connect();
            let welcome = rig.welcome();
            let held = welcome.living.iter().find(|held| held.id == id).unwrap();
            let said = |name: &str| held.said.get(name).map(String::as_str);
            assert_eq!(said("WATCHDOG"), None, "an old sign of life is none");
            let both = said("READY") == Some("1") && said("STATUS") == Some("late");
            if !both {
                rig.drop_connection();
            }
            both
        });
        std::fs::remove_file(rig.dir().join("go")).unwrap();
        rig.send(Command::KillTree { id });
        rig.exit_of(id);
    });
}

#[test]
fn a_flood_of_words_delays_nobody() {
    let Some(_) = say() else { return };
    each_mode(|rig| {
        let script = "exec perl -MSocket -e 'socket(S, PF_UNIX, SOCK_DGRAM, 0); \
            my $to = sockaddr_un($ENV{NOTIFY_SOCKET}); \
            send(S, \"STATUS=\" . (\"x\" x 5000), 0, $to); \
            for my $i (1 .. 30000) { send(S, \"STATUS=$i\", 0, $to); } sleep 1000'";
        let id = speaker(rig, script);
        for _ in 0..20 {
            let other = rig.spawn_named("b", sh("exit 3"));
            assert_eq!(rig.exit_of(other), Exit::Code(3));
        }
        rig.told(id, "STATUS", "30000");
        let long = rig.all_told().iter().filter(|(_, said)| said["STATUS"].starts_with('x'));
        assert_eq!(long.count(), 0, "what is too long is not taken");
        rig.send(Command::KillTree { id });
        rig.exit_of(id);
    });
}

/// The line of a file, once it is there.
fn line(rig: &Rig, name: &str) -> String {
    let path = rig.dir().join(name);
    let read = || std::fs::read_to_string(&path).unwrap_or_default();
    until(&format!("file {name}"), || read().ends_with('\n'));
    read().trim().to_owned()
}

fn touch(rig: &Rig, name: &str) {
    std::fs::write(rig.dir().join(name), "").unwrap();
}

fn clear(rig: &Rig, names: &[&str]) {
    for name in names {
        let _gone = std::fs::remove_file(rig.dir().join(name));
    }
}

/// A program that names its child as its main process, and ends with 3 when `leave` is there. The
/// child says which signal it got, and ends with 7 when `end` is there.
fn replaced(say: &str) -> String {
    format!(
        "{say} sh -c 'trap \"echo usr1 > heard\" USR1; : > set; until test -e end; do sleep 0.02; done; \
         exit 7' & child=$!; until test -e set; do sleep 0.02; done; \
         say MAINPID=$child 1000 & echo $child > child; \
         until test -e leave; do sleep 0.02; done; exit 3"
    )
}

const FILES: &[&str] = &["child", "heard", "leave", "end", "set"];

#[test]
fn a_named_main_process_is_followed_to_its_end() {
    let Some(say) = say() else { return };
    each_mode(|rig| {
        let id = speaker(rig, &replaced(say));
        let child = line(rig, "child");
        rig.told(id, "MAINPID", &child);
        touch(rig, "leave");
        // What the first one leaves is not the end: signals go to the other, and a new daemon knows.
        rig.send(Command::Signal { id, signal: nix::libc::SIGUSR1 });
        assert_eq!(line(rig, "heard"), "usr1");
        rig.drop_connection();
        rig.connect();
        let living = rig.welcome().living;
        assert_eq!(living[0].pid.to_string(), child);
        assert!(!living[0].ended);
        touch(rig, "end");
        assert_eq!(rig.exit_of(id), Exit::Code(7), "its status, and not the first one's");
        assert!(rig.no_child_left());
        clear(rig, FILES);
    });
}

#[test]
fn a_named_main_process_ends_before_the_one_that_started_it() {
    let Some(say) = say() else { return };
    each_mode(|rig| {
        let id = speaker(rig, &replaced(say));
        rig.told(id, "MAINPID", &line(rig, "child"));
        touch(rig, "end");
        // Its parent, a shell, takes the status late.
        assert_eq!(rig.exit_of(id), Exit::Code(7));
        assert!(rig.no_child_left(), "the first one is a leftover like any other");
        clear(rig, FILES);
        // The same when it is asked to end.
        let id = speaker(rig, &replaced(say));
        rig.told(id, "MAINPID", &line(rig, "child"));
        rig.send(Command::Terminate { id, signal: nix::libc::SIGTERM });
        assert_eq!(rig.exit_of(id), Exit::Signal(nix::libc::SIGTERM));
        assert!(rig.no_child_left());
        clear(rig, FILES);
        let id = speaker(rig, &replaced(say));
        rig.told(id, "MAINPID", &line(rig, "child"));
        rig.send(Command::KillTree { id });
        assert_eq!(rig.exit_of(id), Exit::Signal(nix::libc::SIGKILL));
        assert!(rig.no_child_left());
        clear(rig, FILES);
    });
}

#[test]
fn a_name_that_is_said_with_the_last_breath_counts() {
    let Some(_) = say() else { return };
    each_mode(|rig| {
        // What a daemon of the old kind does, with two words more.
        let script = "exec perl -MSocket -e 'my $p = fork; if (!$p) { \
            select undef, undef, undef, 0.02 until -e \"end\"; exit 5 } \
            socket(S, PF_UNIX, SOCK_DGRAM, 0); \
            send(S, \"MAINPID=$p\", 0, sockaddr_un($ENV{NOTIFY_SOCKET})); exit 0'";
        let id = speaker(rig, script);
        touch(rig, "end");
        assert_eq!(rig.exit_of(id), Exit::Code(5));
        assert!(rig.no_child_left());
        clear(rig, FILES);
    });
}

#[test]
fn only_a_process_of_the_same_tree_can_be_named() {
    let Some(say) = say() else { return };
    each_mode(|rig| {
        let other = rig.spawn_named("b", sh("exec sleep 1000"));
        let stranger = rig.spawned(other);
        for name in [stranger.to_string(), std::process::id().to_string(), "1".into(), "x".into()] {
            let known = rig.warnings().len();
            let script = format!("{say} say 'MAINPID={name}\nSTATUS=said' 1000 & wait");
            let id = speaker(rig, &script);
            rig.told(id, "STATUS", "said");
            let all = rig.warnings()[known..].join("\n");
            assert!(all.contains(&format!("MAINPID={name}: ")), "{all}");
            assert!(rig.all_told().iter().all(|(_, said)| !said.contains_key("MAINPID")));
            rig.send(Command::KillTree { id });
            assert_eq!(rig.exit_of(id), Exit::Signal(9));
        }
        rig.send(Command::KillTree { id: other });
        rig.exit_of(other);
        assert!(rig.no_child_left());
    });
}
