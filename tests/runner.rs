//! The real `wsup runner`, driven through its protocol: with cgroups, without, and without clone3.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test says what it expects"
)]

#[path = "runner/exec.rs"]
mod exec;
#[path = "runner/fdstore.rs"]
mod fdstore;
#[path = "runner/notify.rs"]
mod notify;
#[path = "runner/resources.rs"]
mod resources;
#[path = "support/rig.rs"]
mod rig;
#[path = "runner/sandbox.rs"]
mod sandbox;
#[path = "runner/sockets.rs"]
mod sockets;
#[path = "runner/trees.rs"]
mod trees;
#[path = "runner/watch.rs"]
mod watch;

use rig::{Rig, each_mode, is_root, sh};
use std::fs;
use std::time::{Duration, Instant};
use wsup::core::event::Exit;
use wsup::core::id::InstanceId;
use wsup::runner::protocol::{
    Bytes, Command, Credentials, LogPlan, Outcome, RlimitPlan, candidates,
};

const TERM: i32 = 15;
const KILL: i32 = 9;

#[test]
fn ends_are_told_apart() {
    each_mode(|rig| {
        let rows = [
            ("exit 0", Exit::Code(0)),
            ("exit 7", Exit::Code(7)),
            ("kill -TERM $$", Exit::Signal(15)),
            ("kill -KILL $$", Exit::Signal(9)),
            ("kill -40 $$", Exit::Signal(40)),
            // 128 + 9 by the program's own choice is a code.
            ("exit 137", Exit::Code(137)),
        ];
        for (script, expected) in rows {
            let id = rig.spawn(sh(script));
            assert_eq!(rig.exit_of(id), expected, "{script}");
        }
    });
}

#[test]
fn a_start_is_answered_once_however_often_it_is_asked_for() {
    each_mode(|rig| {
        let plan = rig.plan(sh("echo started; exec sleep 1000"));
        let id = plan.id;
        rig.send(Command::Spawn(Box::new(plan.clone())));
        let pid = rig.spawned(id);
        rig.send(Command::Spawn(Box::new(plan.clone())));
        rig.wait_for_line("started");
        rig.send(Command::KillTree { id });
        assert_eq!(rig.exit_of(id), Exit::Signal(KILL));
        // Still known until acknowledged.
        rig.send(Command::Spawn(Box::new(plan)));
        rig.send(Command::Terminate { id, signal: TERM });
        let other = rig.spawn(sh("exit 3"));
        assert_eq!(rig.exit_of(other), Exit::Code(3));
        assert_eq!(rig.log("a"), "started\n");
        assert!(!rig::lives(pid));
    });
}

#[test]
fn what_cannot_be_started_says_why() {
    each_mode(|rig| {
        let mut plan = rig.plan(sh("exit 0"));
        plan.argv = vec!["uvicorn-x".into()];
        plan.candidates = candidates("uvicorn-x", Some("/usr/bin:/bin"));
        assert_eq!(
            rig.failure(plan),
            "command not found: `uvicorn-x` (searched PATH /usr/bin:/bin)"
        );
        let mut plan = rig.plan(sh("exit 0"));
        plan.cwd = "/no/such".into();
        assert_eq!(
            rig.failure(plan),
            "cannot enter working directory `/no/such`: ENOENT (No such file or directory)"
        );
        let script = rig.file("script", "#!/no/such/interpreter\n", 0o755);
        let mut plan = rig.plan(sh("exit 0"));
        plan.argv = vec![script.clone().into()];
        plan.candidates = vec![script.clone().into()];
        assert!(rig.failure(plan).contains("the interpreter in its first line"));
        let plain = rig.file("plain", "exit 0\n", 0o644);
        let mut plan = rig.plan(sh("exit 0"));
        plan.argv = vec![plain.clone().into()];
        plan.candidates = vec![plain.clone().into()];
        assert!(rig.failure(plan).contains("Permission denied"));
        let mut plan = rig.plan(sh("exit 0"));
        plan.rlimits =
            vec![RlimitPlan { resource: "nofiles".into(), soft: Some(1), hard: Some(1) }];
        assert_eq!(rig.failure(plan), "cannot start a: no such resource limit: `nofiles`");
        let mut plan = rig.plan(sh("exit 0"));
        plan.cpu_affinity = Some(vec![8000]);
        assert_eq!(
            rig.failure(plan),
            "cannot start a: cpu_affinity [8000]: EINVAL (Invalid argument)"
        );
        assert!(rig.no_child_left());
    });
}

#[test]
fn a_program_starts_exactly_as_planned() {
    each_mode(|rig| {
        // The signals are not the shell's own: it blocks some by itself while it waits.
        let mut plan = rig.plan(sh(
            "umask; ulimit -c; ulimit -n; ulimit -Hn; pwd; cat /proc/self/oom_score_adj; env -0 | \
             tr '\\0' '|'; echo; readlink /proc/$$/fd/0;  \
             grep -E 'SigBlk|SigIgn|SigCgt|Cpus_allowed_list' /proc/self/status; \
             cut -d' ' -f19 /proc/$$/stat; cut -d' ' -f5,6 /proc/$$/stat; echo $$",
        ));
        plan.umask = Some(0o027);
        plan.nice = Some(5);
        plan.oom_score_adj = Some(321);
        plan.cpu_affinity = Some(vec![0]);
        let cwd = rig.dir().canonicalize().unwrap();
        plan.cwd = cwd.clone().into();
        plan.envp = vec!["PATH=/usr/bin:/bin".into(), "A=b c".into()];
        plan.rlimits = vec![
            RlimitPlan { resource: "core".into(), soft: Some(0), hard: None },
            RlimitPlan { resource: "nofile".into(), soft: Some(77), hard: Some(99) },
        ];
        let id = rig.start(plan);
        assert_eq!(rig.exit_of(id), Exit::Code(0), "{}", rig.log("a"));
        let log = rig.log("a");
        let lines: Vec<&str> = log.lines().collect();
        assert_eq!(lines[..6], ["0027", "0", "77", "99", cwd.to_str().unwrap(), "321"], "{log}");
        let env: Vec<&str> = lines[6].trim_end_matches('|').split('|').collect();
        for (name, value) in env.iter().map(|e| e.split_once('=').unwrap()) {
            // The shell adds PWD and the like by itself.
            match name {
                "A" => assert_eq!(value, "b c"),
                "PATH" => assert_eq!(value, "/usr/bin:/bin"),
                name => assert!(["PWD", "OLDPWD", "SHLVL", "_"].contains(&name), "{name}"),
            }
        }
        assert_eq!(lines[7], "/dev/null");
        assert_eq!(lines[8], "SigBlk:\t0000000000000000");
        assert_eq!(lines[9], "SigIgn:\t0000000000000000");
        assert_eq!(lines[11], "Cpus_allowed_list:\t0");
        assert_eq!(lines[12], "5");
        assert_eq!(lines[13], format!("{0} {0}", lines[14]), "leads its group and session");
    });
}

#[test]
fn a_program_has_no_signal_ignored_or_blocked_whatever_the_runner_began_with() {
    // Not the shell's own: it blocks signals by itself while it waits.
    let status = "grep -E 'SigBlk|SigIgn' /proc/self/status | cut -f2 | sort -u";
    let switch = "env --ignore-signal --block-signal";
    for with_cgroup in [true, false] {
        let mut rig = match Rig::wrapped(switch, nix::unistd::geteuid().as_raw(), with_cgroup) {
            Ok(rig) => rig,
            Err(reason) => {
                eprintln!("skipped: {reason}");
                continue;
            }
        };
        let own = fs::read_to_string(format!("/proc/{}/status", rig.runner_pid())).unwrap();
        let ignored = own.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap().trim();
        assert_ne!(u64::from_str_radix(ignored, 16).unwrap() & 0x7fff_fffe_0000_0000, 0, "{own}");
        let id = rig.spawn(sh(status));
        assert_eq!(rig.exit_of(id), Exit::Code(0));
        assert_eq!(rig.log("a"), "0000000000000000\n");
    }
}

#[test]
fn a_program_inherits_its_own_three_descriptors_only() {
    each_mode(|rig| {
        // Starts before it, so that the runner has pipes and pidfds to leak.
        let other = rig.spawn_named("b", sh("exec sleep 1000"));
        rig.spawned(other);
        let id = rig.spawn(vec!["/bin/ls".into(), "/proc/self/fd".into()]);
        assert_eq!(rig.exit_of(id), Exit::Code(0));
        // 3 is the directory that ls reads.
        assert_eq!(rig.log("a"), "0\n1\n2\n3\n");
    });
}

#[test]
fn the_limit_on_files_is_the_one_the_runner_was_started_with() {
    each_mode(|rig| {
        let id = rig.spawn(sh("ulimit -Sn; ulimit -Hn"));
        assert_eq!(rig.exit_of(id), Exit::Code(0));
        let (soft, hard) =
            nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).unwrap();
        assert_eq!(rig.log("a"), format!("{soft}\n{hard}\n"));
    });
}

#[test]
fn a_program_runs_as_the_user_it_should() {
    each_mode(|rig| {
        let mut plan = rig.plan(sh("id -u; id -g; id -G; grep CapEff /proc/self/status"));
        plan.credentials = Some(Credentials { uid: 12345, gid: 23456, groups: vec![34567, 45678] });
        if is_root() {
            let id = rig.start(plan);
            assert_eq!(rig.exit_of(id), Exit::Code(0));
            assert_eq!(
                rig.log("a"),
                "12345\n23456\n23456 34567 45678\nCapEff:\t0000000000000000\n"
            );
            let mut plan = rig.plan(sh("exit 0"));
            let closed = rig.dir().join("closed");
            fs::create_dir(&closed).unwrap();
            fs::set_permissions(&closed, std::os::unix::fs::PermissionsExt::from_mode(0o700))
                .unwrap();
            plan.cwd = closed.clone().into();
            plan.credentials = Some(Credentials { uid: 12345, gid: 12345, groups: vec![] });
            assert_eq!(
                rig.failure(plan),
                format!(
                    "cannot enter working directory `{}` as user 12345: EACCES (Permission denied)",
                    closed.display()
                )
            );
        } else {
            assert_eq!(
                rig.failure(plan),
                "cannot start a: setgroups: EPERM (Operation not permitted) (only root may start \
                 programs as somebody else)"
            );
        }
    });
}

/// A tree in which everything ignores TERM: a child, one in a session of its own, and one that
/// was orphaned at once and has a session of its own. Each says its number when its trap is set.
const STUBBORN: &str = r#"
trap '' TERM
say() { echo "$1" >> pids; }
sh -c 'trap "" TERM; echo $$ >> pids; sleep 1000 & wait; sleep 1000' &
setsid sh -c 'trap "" TERM; echo $$ >> pids; while :; do sleep 1000; done' &
(setsid sh -c 'trap "" TERM; (setsid sh -c "trap \"\" TERM; echo \$\$ >> pids; sleep 1000") &
  echo $$ >> pids; exec sleep 1000' &) &
echo $$ >> pids
while [ "$(wc -l < pids)" -lt 5 ]; do :; done
echo up
"#;

fn stubborn_tree(rig: &mut Rig, then: &str) -> (InstanceId, Vec<i32>) {
    let _old = fs::remove_file(rig.dir().join("pids"));
    let mut plan = rig.plan(sh(&format!("{STUBBORN}{then}")));
    plan.cwd = rig.dir().to_path_buf().into();
    let id = rig.start(plan);
    rig.spawned(id);
    rig.wait_for_line("up");
    let pids: Vec<i32> = fs::read_to_string(rig.dir().join("pids"))
        .unwrap()
        .lines()
        .map(|line| line.parse().unwrap())
        .collect();
    assert_eq!(pids.len(), 5);
    (id, pids)
}

#[test]
fn a_stubborn_tree_is_gone_when_its_end_is_told() {
    each_mode(|rig| {
        for (then, kill, expected) in [
            ("sleep 1000 & wait; wait; wait", true, Exit::Signal(KILL)),
            ("exit 4", false, Exit::Code(4)),
            ("kill -SEGV $$", false, Exit::Signal(11)),
        ] {
            let (id, pids) = stubborn_tree(rig, then);
            if kill {
                rig.send(Command::KillTree { id });
            }
            assert_eq!(rig.exit_of(id), expected);
            let alive: Vec<i32> = pids.into_iter().filter(|pid| rig::lives(*pid)).collect();
            assert_eq!(alive, [] as [i32; 0], "after `{then}`");
        }
        assert!(rig.no_child_left());
    });
}

#[test]
fn what_hides_whose_it_is_does_not_survive_either() {
    each_mode(|rig| {
        let hide = |name: &str| {
            format!(
                "(env -i /usr/bin/setsid /bin/sh -c 'trap \"\" TERM; (/usr/bin/setsid /bin/sh -c \
                 \"echo \\$\\$ > {name}; while :; do /bin/sleep 1000; done\") & \
                 while :; do /bin/sleep 1000; done' > /dev/null 2>&1 &) & \
                 while [ ! -s {name} ]; do sleep 0.01; done; "
            )
        };
        let pid_of = |rig: &mut Rig, name: &str| -> i32 {
            let path = rig.dir().join(name);
            let read = || fs::read_to_string(&path).unwrap_or_default();
            rig::until("the hidden process", || read().ends_with('\n'));
            read().trim().parse().unwrap()
        };
        // Alone, it goes with its start.
        let id = rig.spawn(sh(&format!("{} exit 6", hide("one"))));
        let hidden = pid_of(rig, "one");
        assert_eq!(rig.exit_of(id), Exit::Code(6));
        assert!(!rig::lives(hidden));
        // Beside others it goes at the latest with them.
        let other = rig.spawn_named("b", sh("exec sleep 1000"));
        let id = rig.spawn(sh(&format!("{} exec sleep 1000", hide("two"))));
        let hidden = pid_of(rig, "two");
        rig.send(Command::KillTree { id });
        assert_eq!(rig.exit_of(id), Exit::Signal(KILL));
        rig.send(Command::KillTree { id: other });
        assert_eq!(rig.exit_of(other), Exit::Signal(KILL));
        rig.ack_all();
        rig.send(Command::Shutdown);
        rig.wait_until_gone();
        assert!(!rig::lives(hidden));
    });
}

#[test]
fn what_forks_all_the_time_is_killed_too() {
    each_mode(|rig| {
        let id = rig.spawn(sh("f() { while :; do (:) & (sleep 0.01) & wait $!; done; }; \
                               f & f & setsid sh -c 'while :; do (:) & :; done' & echo up; exit 0"));
        assert_eq!(rig.exit_of(id), Exit::Code(0));
        assert!(rig.no_child_left());
    });
}

#[test]
fn leftovers_get_the_signal_and_the_time_that_the_main_process_got() {
    each_mode(|rig| {
        // The main process ends at TERM at once; one leftover says that it got TERM and ends a
        // little later, by itself: it must not have been killed, and its words must be in the log.
        let id = rig.spawn(sh(
            "setsid sh -c 'exec 2>/dev/null; trap \"echo asked; sleep 0.1; echo bye; exit\" TERM; \
                                 echo ready; while :; do sleep 0.05; done' & \
                               trap 'exit 0' TERM; wait; wait",
        ));
        rig.wait_for_line("ready");
        rig.send(Command::Terminate { id, signal: TERM });
        assert_eq!(rig.exit_of(id), Exit::Code(0));
        assert_eq!(rig.log("a"), "ready\nasked\nbye\n");

        // A leftover that ignores TERM lives until KillTree, and only then the end is told.
        let id = rig.spawn(sh("setsid sh -c 'trap \"\" TERM; echo up; while :; do sleep 1000; \
                               done' & trap 'echo going; exit 5' TERM; wait; wait"));
        rig.wait_for_line("up");
        rig.send(Command::Terminate { id, signal: TERM });
        rig.wait_for_line("going");
        // Everything of another start that begins later is told in between.
        let other = rig.spawn_named("b", sh("exit 0"));
        assert_eq!(rig.exit_of(other), Exit::Code(0));
        assert!(!rig.has_ended(id));
        rig.send(Command::KillTree { id });
        assert_eq!(rig.exit_of(id), Exit::Code(5));
        assert!(rig.no_child_left());
    });
}

#[test]
fn a_signal_goes_to_the_main_process_only() {
    each_mode(|rig| {
        let id = rig.spawn(sh("sh -c 'trap \"echo wrong\" HUP; while :; do sleep 0.02; done' & \
                               trap 'echo got; exit 0' HUP; echo ready; while :; do wait; done"));
        rig.wait_for_line("ready");
        rig.send(Command::Signal { id, signal: 1 });
        assert_eq!(rig.exit_of(id), Exit::Code(0));
        assert_eq!(rig.log("a"), "ready\ngot\n");
    });
}

#[test]
fn a_new_daemon_finds_everything() {
    each_mode(|rig| {
        let living = rig.spawn_named("lives", sh("exec sleep 1000"));
        let pid = rig.spawned(living);
        let ended = rig.spawn_named("ends", sh("read x < /dev/null; exit 9"));
        rig.wait_exit_unacked(ended);
        let meanwhile =
            rig.spawn_named("soon", sh("while [ ! -e go ]; do sleep 0.01; done; exit 8"));
        rig.spawned(meanwhile);
        let runner = rig.runner_pid();
        rig.drop_connection();
        fs::write(rig.dir().join("go"), "").unwrap();
        rig.connect();
        assert_eq!(rig.runner_pid(), runner, "the same runner");
        let welcome = rig.welcome();
        let held: Vec<(&str, u32)> =
            welcome.living.iter().map(|h| (h.instance.as_str(), h.pid)).collect();
        assert_eq!(held.len(), 3, "{held:?}");
        assert!(held.contains(&("lives", pid as u32)), "{held:?}");
        assert!(welcome.living.iter().any(|h| h.id == ended && h.ended));
        assert!(welcome.pending >= 1);
        assert_eq!(rig.exit_of(ended), Exit::Code(9));
        assert_eq!(rig.exit_of(meanwhile), Exit::Code(8));
        rig.ack_all();
        rig.drop_connection();
        rig.connect();
        let welcome = rig.welcome();
        assert_eq!((welcome.living.len(), welcome.pending), (1, 0), "{welcome:?}");
        assert!(rig::lives(pid));
        rig.send(Command::KillTree { id: living });
        assert_eq!(rig.exit_of(living), Exit::Signal(KILL));
    });
}

#[test]
fn nothing_of_a_killed_runner_lives_beside_its_successor() {
    each_mode(|rig| {
        let (_, pids) = stubborn_tree(rig, "while :; do sleep 1000; done");
        let killed = nix::unistd::Pid::from_raw(rig.runner_pid() as i32);
        nix::sys::signal::kill(killed, nix::sys::signal::SIGKILL).unwrap();
        rig.wait_until_gone();
        assert!(pids.iter().all(|pid| rig::lives(*pid)), "they live on without it");
        rig.connect();
        assert_eq!(rig.welcome().living, []);
        let alive: Vec<i32> = pids.into_iter().filter(|pid| rig::lives(*pid)).collect();
        assert_eq!(alive, [] as [i32; 0]);
    });
}

#[test]
fn nonsense_on_the_socket_harms_nobody() {
    use std::io::{Read, Write};
    each_mode(|rig| {
        let id = rig.spawn(sh("exec sleep 1000"));
        rig.spawned(id);
        for nonsense in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"\x02\0\0\0{}", b"\xff\xff\xff\x7f"] {
            let path = rig.dir().join("run/runner.sock");
            let mut stranger = wsup::os::socket::connect(&path).unwrap();
            stranger.write_all(nonsense).unwrap();
            // It hangs up.
            assert!(!matches!(stranger.read(&mut [0; 100]), Ok(1..)));
        }
        // A stranger that never says Hello commands nothing.
        let mut stranger = wsup::os::socket::connect(&rig.dir().join("run/runner.sock")).unwrap();
        let kill = wsup::runner::protocol::encode(&Command::KillTree { id }).unwrap();
        stranger.write_all(&kill).unwrap();
        let other = rig.spawn_named("b", sh("exit 0"));
        assert_eq!(rig.exit_of(other), Exit::Code(0));
        assert!(!rig.has_ended(id));
        rig.send(Command::KillTree { id });
        assert_eq!(rig.exit_of(id), Exit::Signal(KILL));
    });
}

#[test]
fn the_last_will_is_done_within_two_seconds() {
    each_mode(|rig| {
        let (_, mut pids) = stubborn_tree(rig, "while :; do sleep 1000; done");
        rig.send(Command::SetLastWill { stop_all: true });
        // The answer to a later command shows that it has arrived.
        let id = rig.spawn_named("b", sh("exit 0"));
        assert_eq!(rig.exit_of(id), Exit::Code(0));
        let begun = Instant::now();
        rig.drop_connection();
        rig.wait_until_gone();
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        pids.retain(|pid| rig::lives(*pid));
        assert_eq!(pids, [] as [i32; 0]);
    });
}

#[test]
fn a_runner_with_nothing_to_do_goes() {
    each_mode(|rig| {
        let id = rig.spawn(sh("exit 0"));
        assert_eq!(rig.exit_of(id), Exit::Code(0));
        rig.ack_all();
        rig.drop_connection();
        rig.wait_until_gone();
        // The next one is another, and is told to go.
        rig.connect();
        rig.send(Command::Shutdown);
        rig.wait_until_gone();
    });
}

#[test]
fn no_line_is_lost_or_cut_by_rotation() {
    const LINES: usize = 20_000;
    each_mode(|rig| {
        let mut plan = rig.plan(sh(&format!(
            "i=0; while [ $i -lt {LINES} ]; do echo \"line $i of the flood\"; i=$((i+1)); done"
        )));
        plan.log = LogPlan::File {
            path: rig.log_path("a").into(),
            max_size: 10_000,
            max_files: 1000,
            compress: false,
        };
        let id = rig.start(plan);
        assert_eq!(rig.exit_of(id), Exit::Code(0));
        let mut expected = 0;
        for number in (0..1000).rev() {
            let path = wsup::runner::logs::segment_path(&rig.log_path("a"), number);
            let Ok(text) = fs::read_to_string(&path) else { continue };
            assert!(text.len() <= 10_000 && text.ends_with('\n'), "{}", path.display());
            for line in text.lines() {
                assert_eq!(line, format!("line {expected} of the flood"));
                expected += 1;
            }
        }
        assert_eq!(expected, LINES);
    });
}

#[test]
fn the_last_words_are_in_the_log() {
    each_mode(|rig| {
        let script = "printf 'first\\nwithout end' ; printf 'err\\n' >&2; kill -KILL $$";
        for round in 0..50 {
            let id = rig.spawn(sh(script));
            assert_eq!(rig.exit_of(id), Exit::Signal(KILL));
            let log = rig.log("a");
            assert_eq!(log.matches("without end").count(), round + 1);
            assert_eq!(log.matches("err\n").count(), round + 1);
        }
    });
}

#[test]
fn a_log_tells_streams_and_runs_apart() {
    use wsup::runner::logs::read::Origin;
    use wsup::runner::logs::select::{Query, Run, open};
    each_mode(|rig| {
        for word in ["old", "new"] {
            let mut init = rig.plan(sh(&format!("echo {word} init")));
            init.new_run = true;
            let id = rig.start(init);
            assert_eq!(rig.exit_of(id), Exit::Code(0));
            let mut main = rig.plan(sh(&format!("echo {word} main >&2; printf '{word} end'")));
            main.new_run = false;
            let id = rig.start(main);
            assert_eq!(rig.exit_of(id), Exit::Code(0));
        }
        let path = rig.log_path("a");
        let read = |run| {
            let lines =
                open(&path, &Query { run, ..Query::default() }).unwrap().read_all().unwrap();
            let text = |l: &wsup::runner::logs::read::Line| String::from_utf8(l.text.clone());
            let mut all: Vec<(String, Origin)> =
                lines.iter().map(|l| (text(l).unwrap(), l.origin)).collect();
            // Which of two pipes was written to first cannot be known.
            all.sort_by(|a, b| a.0.cmp(&b.0));
            all
        };
        let run = |word: &str| {
            vec![
                (format!("{word} end"), Origin::Stdout),
                (format!("{word} init"), Origin::Stdout),
                (format!("{word} main"), Origin::Stderr),
            ]
        };
        assert_eq!(read(Run::Previous), run("old"));
        assert_eq!(read(Run::Last), run("new"));
    });
}

#[test]
fn a_full_disk_neither_blocks_nor_ends_a_program() {
    use nix::mount::{MntFlags, MsFlags, mount, umount2};
    each_mode(|rig| {
        let disk = rig.dir().join("log");
        fs::create_dir(&disk).unwrap();
        let size = Some("size=128k");
        if let Err(error) = mount(Some("tmpfs"), &disk, Some("tmpfs"), MsFlags::empty(), size) {
            eprintln!("skipped: no small file system can be mounted: {error}");
            return;
        }
        let filler = disk.join("filler");
        fs::write(&filler, vec![0; 64 << 10]).unwrap();
        let id = rig.spawn(sh(
            "i=10000; while [ $i -lt 20000 ]; do echo \"line $i\"; i=$((i+1)); done; : > wrote; \
             while [ ! -e go ]; do sleep 0.01; done; echo back; exit 3",
        ));
        let wrote = rig.dir().join("wrote");
        rig::until("the program to go on", || wrote.exists());
        fs::remove_file(&filler).unwrap();
        fs::write(rig.dir().join("go"), "").unwrap();
        let exit = rig.exit_of(id);
        let log = rig.log("a");
        let lines = log_lines(&rig.log_path("a"));
        umount2(&disk, MntFlags::MNT_DETACH).unwrap();
        assert_eq!(exit, Exit::Code(3));
        assert!(log.ends_with("\nback\n"), "{}", &log[log.len().saturating_sub(200)..]);
        let mut kept = 0;
        for line in log.lines().filter(|line| *line != "back") {
            assert_eq!(line.len(), "line 10000".len(), "{line}");
            kept += line.len() + 1;
        }
        let mut missing = 0;
        for rest in lines.iter().filter_map(|line| line.strip_prefix("[wsup: ")) {
            missing += rest.split(' ').next().unwrap().parse::<usize>().unwrap();
            assert!(rest.ends_with("bytes of output are missing here: No space left on device]"));
        }
        assert!(missing > 0 && kept > 0);
        assert_eq!(kept + missing, 10_000 * "line 10000\n".len());
        let told: Vec<&String> =
            rig.warnings().iter().filter(|said| said.contains("No space left")).collect();
        assert!(told[0].contains("output cannot be written to "), "{told:?}");
        assert!(told[1].contains(" bytes of output are missing from "), "{told:?}");
        assert!(told[1].ends_with("there is room again"), "{told:?}");
    });
}

#[test]
fn a_log_file_that_may_not_grow_is_rotated_and_ends_nobody() {
    each_mode(|rig| {
        // The runner's own limit, which it must survive (SIGXFSZ).
        let pid = nix::unistd::Pid::from_raw(rig.runner_pid() as i32);
        set_fsize(pid, 20_000);
        let id = rig.spawn(sh("i=0; while [ $i -lt 3000 ]; do echo \"line $i\"; i=$((i+1)); done"));
        assert_eq!(rig.exit_of(id), Exit::Code(0));
        let lines = log_lines(&rig.log_path("a"));
        assert!(lines.iter().enumerate().all(|(i, line)| *line == format!("line {i}")));
        assert_eq!(lines.len(), 3000);
        assert!(rig.log("a").len() <= 20_000);
    });
}

/// Limits the size of files that another process of ours writes.
fn set_fsize(pid: nix::unistd::Pid, bytes: u64) {
    let status = std::process::Command::new("prlimit")
        .args([format!("--pid={pid}"), format!("--fsize={bytes}:")])
        .status();
    assert!(status.expect("prlimit").success());
}

/// All lines of a log, as its reader puts them together.
fn log_lines(path: &std::path::Path) -> Vec<String> {
    use wsup::runner::logs::select::{Query, open};
    let lines = open(path, &Query::default()).unwrap().read_all().unwrap();
    lines.iter().map(|line| String::from_utf8_lossy(&line.text).into_owned()).collect()
}

#[test]
fn a_flood_from_both_outputs_is_told_apart_line_by_line() {
    use wsup::runner::logs::read::Origin;
    use wsup::runner::logs::select::{Query, open};
    const LINES: usize = 30_000;
    each_mode(|rig| {
        // Blocks of 64 KiB, which end anywhere in a line, and far more than a file takes.
        let flood = |word: &str, to: &str| {
            format!(
                "seq -f '{word} %.0f of a flood of lines' {LINES} | dd obs=64k status=none {to} &"
            )
        };
        let script = format!("{}\n{}\nwait", flood("out", ""), flood("err", ">&2"));
        let mut plan = rig.plan(sh(&script));
        plan.log = LogPlan::File {
            path: rig.log_path("a").into(),
            max_size: 300_000,
            max_files: 1000,
            compress: false,
        };
        let id = rig.start(plan);
        assert_eq!(rig.exit_of(id), Exit::Code(0));
        let lines = open(&rig.log_path("a"), &Query::default()).unwrap().read_all().unwrap();
        for (word, origin) in [("out", Origin::Stdout), ("err", Origin::Stderr)] {
            let mut count = 0;
            for line in lines.iter().filter(|line| line.origin == origin) {
                count += 1;
                let text = String::from_utf8_lossy(&line.text);
                assert_eq!(text, format!("{word} {count} of a flood of lines"));
            }
            assert_eq!(count, LINES, "{word}");
        }
        assert_eq!(lines.len(), 2 * LINES);
        // Nor are lines mixed in the files, which people look at as well.
        for number in 0..1000 {
            let path = wsup::runner::logs::segment_path(&rig.log_path("a"), number);
            let Ok(text) = fs::read_to_string(&path) else { continue };
            assert!(text.len() <= 300_000 && text.ends_with('\n'), "{}", path.display());
            let good = |l: &str| l.starts_with("out ") || l.starts_with("err ");
            assert!(text.lines().all(|l| good(l) && l.ends_with(" of a flood of lines")));
        }
    });
}

#[test]
fn rotated_files_are_compressed_and_read_as_before() {
    const LINES: usize = 20_000;
    each_mode(|rig| {
        let path = rig.log_path("a");
        let mut plan =
            rig.plan(sh(&format!("seq -f 'line %.0f of the flood' {LINES}; sleep 1000")));
        plan.log = LogPlan::File {
            path: path.clone().into(),
            max_size: 50_000,
            max_files: 1000,
            compress: true,
        };
        let id = rig.start(plan.clone());
        let plain = |number| wsup::runner::logs::segment_path(&path, number);
        let packed = |number| wsup::runner::logs::packed_path(&path, number);
        let count = LINES * "line 10000 of the flood\n".len() / 50_000;
        rig::until("the files to be compressed", || {
            packed(count as u32 / 2).exists() && (1..200).all(|number| !plain(number).exists())
        });
        let lines = log_lines(&path);
        assert!(
            lines.iter().enumerate().all(|(i, l)| *l == format!("line {} of the flood", i + 1))
        );
        assert_eq!(lines.len(), LINES);
        let unpacked = std::process::Command::new("zcat").arg(packed(2)).output().unwrap().stdout;
        let expected: Vec<u8> =
            unpacked.split_inclusive(|b| *b == b'\n').flatten().copied().collect();
        assert!(unpacked.starts_with(b"line ") && unpacked.len() <= 50_000 && !expected.is_empty());
        assert!(!path.with_extension("log.gz.new").exists());
        rig.send(Command::KillTree { id });
        assert_eq!(rig.exit_of(id), Exit::Signal(KILL));
        // What a killed runner has left half-made is done by the next.
        let text = "left behind\n".repeat(100);
        fs::write(plain(5000 - 1), "").unwrap();
        fs::remove_file(plain(5000 - 1)).unwrap();
        fs::remove_file(packed(1)).unwrap();
        fs::write(plain(1), &text).unwrap();
        fs::write(path.with_extension("log.gz.new"), "half").unwrap();
        plan.id.generation += 1;
        plan.argv = sh("exit 0");
        let id = rig.start(plan);
        assert_eq!(rig.exit_of(id), Exit::Code(0));
        rig::until("the file to be compressed", || packed(1).exists() && !plain(1).exists());
        assert!(rig.no_child_left());
    });
}

#[test]
fn output_goes_into_the_journal_line_by_line() {
    use std::os::unix::net::UnixDatagram;
    each_mode(|rig| {
        let mut plan = rig.plan(sh("true"));
        plan.log = LogPlan::Journald;
        let said = rig.failure(plan.clone());
        assert!(
            said.starts_with("cannot start a: output: the journal cannot be reached at "),
            "{said}"
        );
        assert!(said.contains("No such file or directory"), "{said}");
        let journal = UnixDatagram::bind(rig.dir().join("journal.sock")).unwrap();
        journal.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let long = 70_000;
        plan.id.generation += 1;
        plan.argv = sh(&format!(
            "echo hello; echo oops >&2; head -c {long} /dev/zero | tr '\\0' x; echo; \
             i=0; while [ $i -lt 2000 ]; do echo \"line $i\"; i=$((i+1)); done; printf 'no end'"
        ));
        let id = rig.start(plan);
        let mut messages: Vec<String> = Vec::new();
        while messages.last().is_none_or(|last| last != "no end") {
            let entry = entry(&journal);
            let field = |name: &str| {
                let lines = entry.lines().find_map(|l| l.strip_prefix(&format!("{name}=")));
                lines.unwrap_or_else(|| panic!("{name} in {entry}")).to_owned()
            };
            assert_eq!(field("SYSLOG_IDENTIFIER"), "unit");
            assert_eq!((field("WSUP_UNIT"), field("WSUP_INSTANCE")), ("unit".into(), "a".into()));
            let level = if field("MESSAGE") == "oops" { ("3", "stderr") } else { ("6", "stdout") };
            assert_eq!((field("PRIORITY"), field("WSUP_STREAM")), (level.0.into(), level.1.into()));
            messages.push(field("MESSAGE"));
        }
        assert_eq!(rig.exit_of(id), Exit::Code(0));
        // The order of two pipes is not known.
        let oops = messages.iter().position(|m| m == "oops").unwrap();
        messages.remove(oops);
        assert_eq!(messages.remove(0), "hello");
        let at = messages.iter().position(|m| m == "line 0").unwrap();
        assert_eq!(messages.drain(..at).collect::<String>(), "x".repeat(long));
        assert!((0..2000).all(|i| messages[i] == format!("line {i}")));
        assert_eq!(messages.len(), 2001);
    });
}

/// The next entry that was sent to a journal, also one that came as a memory file.
fn entry(journal: &std::os::unix::net::UnixDatagram) -> String {
    use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
    use std::os::fd::AsRawFd;
    let mut buffer = vec![0; 1 << 20];
    let mut space = nix::cmsg_space!([i32; 1]);
    let mut bytes = [std::io::IoSliceMut::new(&mut buffer)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(journal.as_raw_fd(), &mut bytes, Some(&mut space), flags).unwrap();
    let len = message.bytes;
    let file = message.cmsgs().unwrap().find_map(|part| match part {
        ControlMessageOwned::ScmRights(fds) => fds.first().copied(),
        _ => None,
    });
    match file {
        Some(fd) => {
            let text = fs::read(format!("/proc/self/fd/{fd}")).unwrap();
            nix::unistd::close(fd).unwrap();
            String::from_utf8(text).unwrap()
        }
        None => String::from_utf8(buffer[..len].to_vec()).unwrap(),
    }
}

#[test]
fn a_journal_that_reads_nothing_delays_nobody_and_loses_nothing() {
    use std::os::unix::net::UnixDatagram;
    each_mode(|rig| {
        let journal = UnixDatagram::bind(rig.dir().join("journal.sock")).unwrap();
        journal.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut plan = rig.plan(sh("seq 50000; exec sleep 1000"));
        plan.log = LogPlan::Journald;
        let stuck = rig.start(plan);
        rig.spawned(stuck);
        let mut plan = rig.plan(sh("echo last words"));
        plan.log = LogPlan::Journald;
        let short = rig.start(plan);
        assert_eq!(rig.exit_of(short), Exit::Code(0), "its end is told all the same");
        let id = rig.spawn_named("b", sh("exit 0"));
        assert_eq!(rig.exit_of(id), Exit::Code(0));
        let mut expected = 1;
        let mut last = 0;
        while expected <= 50_000 || last == 0 {
            let entry = entry(&journal);
            let message = entry.lines().find_map(|line| line.strip_prefix("MESSAGE=")).unwrap();
            if message == "last words" {
                last += 1;
            } else {
                assert_eq!(message, expected.to_string());
                expected += 1;
            }
        }
        rig.send(Command::KillTree { id: stuck });
        assert_eq!(rig.exit_of(stuck), Exit::Signal(KILL));
    });
}

#[test]
fn many_starts_leak_nothing() {
    each_mode(|rig| {
        let id = rig.spawn(sh("exit 0"));
        rig.exit_of(id);
        let before = rig.runner_fds();
        for round in 0..500 {
            let plan = if round % 10 == 0 {
                let mut plan = rig.plan(sh("exit 0"));
                plan.candidates = vec![Bytes::from("/no/such")];
                plan
            } else {
                rig.plan(vec!["/bin/true".into()])
            };
            rig.send(Command::Spawn(Box::new(plan)));
        }
        let mut ends = 0;
        while ends < 500 {
            if rig.next_outcome().is_last() {
                ends += 1;
            }
        }
        rig.ack_all();
        assert_eq!(rig.runner_fds(), before);
        assert!(rig.no_child_left());
    });
}

#[test]
fn a_flood_delays_nobody() {
    each_mode(|rig| {
        let mut plan = rig.plan(sh("exec yes flood"));
        plan.log = LogPlan::File {
            path: rig.log_path("a").into(),
            max_size: 100_000,
            max_files: 2,
            compress: false,
        };
        let flood = rig.start(plan);
        rig.spawned(flood);
        let begun = Instant::now();
        for _ in 0..20 {
            let id = rig.spawn_named("b", sh("exit 0"));
            assert_eq!(rig.exit_of(id), Exit::Code(0));
        }
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        rig.send(Command::KillTree { id: flood });
        assert_eq!(rig.exit_of(flood), Exit::Signal(KILL));
    });
}

#[test]
fn a_foreign_writer_cannot_keep_an_end_from_being_told() {
    each_mode(|rig| {
        // The test itself keeps the program's stdout open, as a process outside the tree would.
        let id = rig.spawn(sh("echo out; echo $$; exec sleep 1000"));
        let pid = rig.spawned(id);
        rig.wait_for_line("out");
        let _kept = fs::OpenOptions::new().write(true).open(format!("/proc/{pid}/fd/1")).unwrap();
        rig.send(Command::KillTree { id });
        assert_eq!(rig.exit_of(id), Exit::Signal(KILL));
    });
}

#[test]
fn signals_of_a_terminal_do_not_end_a_runner() {
    each_mode(|rig| {
        let id = rig.spawn(sh("exec sleep 1000"));
        let pid = nix::unistd::Pid::from_raw(rig.runner_pid() as i32);
        for signal in [1, 2, 3, 15] {
            let signal = nix::sys::signal::Signal::try_from(signal).unwrap();
            nix::sys::signal::kill(pid, signal).unwrap();
        }
        rig.send(Command::KillTree { id });
        assert_eq!(rig.exit_of(id), Exit::Signal(KILL));
        assert_eq!(nix::unistd::getsid(Some(pid)).unwrap(), pid, "a session of its own");
    });
}

#[test]
fn a_runner_keeps_nothing_of_its_parent_open() {
    use nix::fcntl::{FcntlArg, FdFlag, fcntl};
    use std::io::Read;
    let dir = tempfile::tempdir().unwrap();
    let (mut until_closed, inherited) = std::io::pipe().unwrap();
    fcntl(&inherited, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
    let begun = Instant::now();
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_wsup"))
        .args(["runner", "--runtime-dir"])
        .arg(dir.path())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(inherited);
    let mut said = String::new();
    child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(said, "ready\n");
    assert_eq!(until_closed.read(&mut [0]).unwrap(), 0);
    assert!(child.wait().unwrap().success());
    // Unvisited, it would go by itself after 15 seconds, and close everything.
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    rig::dismiss(dir.path());
}

#[test]
fn outcomes_are_numbered_without_gaps() {
    each_mode(|rig| {
        for _ in 0..5 {
            rig.spawn(sh("exit 0"));
        }
        let mut seen = Vec::new();
        for _ in 0..10 {
            let outcome = rig.next_outcome();
            assert!(matches!(outcome, Outcome::Spawned { .. } | Outcome::Exited { .. }));
            seen.push(rig.last_seq());
        }
        assert_eq!(seen, (1..=10).collect::<Vec<u64>>());
    });
}
