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
