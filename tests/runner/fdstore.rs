//! Descriptors that programs give the runner to keep (`FDSTORE=1` of sd_notify(3)).

use crate::rig::{Rig, each_mode, sh};
use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg};
use std::fs::File;
use std::io::IoSlice;
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;
use std::process::Command as Program;
use wsup::core::event::Exit;
use wsup::core::id::InstanceId;
use wsup::runner::protocol::{Command, Keeper, Listen, SocketPlan, SpawnPlan};

/// Python's words for sending; `None`, with the reason on stderr: it cannot be had.
fn python() -> Option<&'static str> {
    let words = "import socket; socket.send_fds; import os; os.memfd_create";
    let there = Program::new("python3").args(["-c", words]).output();
    if !there.as_ref().is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: no python3 to send descriptors with: {there:?}");
        return None;
    }
    Some(
        "import os, socket, time\n\
         s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n\
         s.connect(os.environ['NOTIFY_SOCKET'])\n\
         def give(text, *fds):\n\
         \x20   socket.send_fds(s, [text], fds) if fds else s.send(text)\n",
    )
}

fn run(rig: &mut Rig, script: &str) -> InstanceId {
    let words = vec!["/usr/bin/env".into(), "python3".into(), "-c".into(), script.into()];
    let plan = rig.plan(words);
    rig.start(SpawnPlan { notify: true, ..plan })
}

fn kill(rig: &mut Rig, id: InstanceId) {
    rig.send(Command::KillTree { id });
    assert_eq!(rig.exit_of(id), Exit::Signal(9));
}

/// What the next start is handed.
fn handed(rig: &mut Rig, sockets: Vec<SocketPlan>) -> String {
    // What has hung up by now is known by the time that another start has come and gone.
    let other = rig.spawn_named("b", sh("exit 0"));
    rig.exit_of(other);
    let script = "test -z \"$LISTEN_FDS\" && echo nothing || echo $LISTEN_FDS $LISTEN_FDNAMES; \
        for fd in 3 4; do test -f /proc/self/fd/$fd && cat /proc/self/fd/$fd; done; true";
    let plan = rig.plan(sh(script));
    let id = rig.start(SpawnPlan { notify: true, sockets, ..plan });
    assert_eq!(rig.exit_of(id), Exit::Code(0), "{}", rig.log("a"));
    rig.new_log().trim().replace('\n', " ")
}

#[test]
fn what_a_program_gives_comes_back_with_its_next_start() {
    let Some(python) = python() else { return };
    each_mode(|rig| {
        let script = format!(
            "{python}state = os.memfd_create('state')\nos.write(state, b'kept')\n\
             hang, end = os.pipe()\nstay, end2 = os.pipe()\n\
             give(b'FDSTORE=1\\nFDNAME=state', state)\n\
             give(b'FDSTORE=1\\nFDNAME=again', os.dup(state))\n\
             give(b'FDSTORE=1\\nFDNAME=hangs', hang)\n\
             give(b'FDSTORE=1\\nFDNAME=stays\\nFDPOLL=0', stay)\n\
             give(b'FDSTORE=1\\nFDNAME=a:b', os.memfd_create('x'))\n\
             give(b'STATUS=given', os.memfd_create('y'))\ntime.sleep(1000)\n"
        );
        let id = run(rig, &script);
        rig.told(id, "STATUS", "given");
        rig.told(id, "FDSTORE", "4");
        // Nobody else gets them, and a daemon that comes later knows of them.
        let plan = rig.plan_named("b", sh("test -z \"$LISTEN_FDS\""));
        let other = rig.start(SpawnPlan { notify: true, ..plan });
        assert_eq!(rig.exit_of(other), Exit::Code(0));
        rig.drop_connection();
        rig.connect();
        let unit = rig.plan(sh("exit 0")).unit;
        let keeper = Keeper { unit, instance: "a".to_owned() };
        assert_eq!(rig.welcome().keepers, std::slice::from_ref(&keeper));
        kill(rig, id);
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let listen = Listen::Inet(port);
        let socket = SocketPlan { name: "http".into(), listen, udp: false, reuse_port: false };
        let got = handed(rig, vec![socket]);
        assert_eq!(got, "4 http:state:stays:stored kept", "the sockets come first");
        assert_eq!(handed(rig, Vec::new()), "3 state:stays:stored kept", "again and again");
        let script = format!(
            "{python}give(b'FDSTOREREMOVE=1\\nFDNAME=stays')\n\
             give(b'FDSTOREREMOVE=1')\ntime.sleep(1000)\n"
        );
        let id = run(rig, &script);
        rig.told(id, "FDSTORE", "2");
        kill(rig, id);
        assert_eq!(handed(rig, Vec::new()), "2 state:stored kept");
        rig.send(Command::DropStored(keeper));
        assert_eq!(handed(rig, Vec::new()), "nothing");
        rig.drop_connection();
        rig.connect();
        assert!(rig.welcome().keepers.is_empty());
    });
}

#[test]
fn only_so_many_are_kept() {
    let Some(python) = python() else { return };
    each_mode(|rig| {
        let script = format!(
            "{python}for n in range(40): give(b'FDSTORE=1', os.memfd_create('x'))\n\
             give(b'STATUS=given')\ntime.sleep(1000)\n"
        );
        let id = run(rig, &script);
        rig.told(id, "STATUS", "given");
        rig.told(id, "FDSTORE", "32");
        let told = |warning: &&String| warning.contains("descriptors are not kept: at most 32");
        assert_eq!(rig.warnings().iter().filter(told).count(), 1, "{:?}", rig.warnings());
        kill(rig, id);
        let unit = rig.plan(sh("exit 0")).unit;
        rig.send(Command::DropStored(Keeper { unit, instance: "a".to_owned() }));
        assert_eq!(handed(rig, Vec::new()), "nothing");
    });
}

#[test]
fn what_strangers_send_and_what_is_too_much_stays_nowhere() {
    let Some(python) = python() else { return };
    each_mode(|rig| {
        let script = format!(
            "{python}many = [os.open('/dev/null', os.O_RDONLY) for _ in range(100)]\n\
             give(b'STATUS=begun')\n\
             while not os.path.exists('go'): time.sleep(0.01)\n\
             give(b'FDSTORE=1\\nSTATUS=given', *many)\ngive(b'STATUS=not kept', *many)\ntime.sleep(1000)\n"
        );
        let id = run(rig, &script);
        rig.told(id, "STATUS", "begun");
        let open = |rig: &Rig| {
            std::fs::read_dir(format!("/proc/{}/fd", rig.runner_pid())).unwrap().count()
        };
        let before = open(rig);
        // We are of no start. As many as a datagram can have, again and again.
        let files: Vec<File> = (0..253).map(|_| File::open("/dev/null").unwrap()).collect();
        let numbers: Vec<i32> = files.iter().map(AsRawFd::as_raw_fd).collect();
        let own = UnixDatagram::unbound().unwrap();
        let socket = UnixAddr::new(&rig.dir().join("run/notify.sock")).unwrap();
        for _ in 0..20 {
            let text = [IoSlice::new(b"FDSTORE=1\nBARRIER=1")];
            let beside = [ControlMessage::ScmRights(&numbers)];
            sendmsg(own.as_raw_fd(), &text, &beside, MsgFlags::empty(), Some(&socket)).unwrap();
        }
        std::fs::write(rig.dir().join("go"), "").unwrap();
        rig.told(id, "FDSTORE", "32");
        rig.told(id, "STATUS", "not kept");
        assert_eq!(open(rig), before + 32, "its own share, and nothing else");
        kill(rig, id);
        std::fs::remove_file(rig.dir().join("go")).unwrap();
    });
}
