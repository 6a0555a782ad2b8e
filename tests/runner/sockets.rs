//! Listening sockets that are handed on (sd_listen_fds(3)).

use crate::rig::{Rig, each_mode, sh};
use nix::sys::socket as net;
use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::time::Duration;
use wsup::core::event::Exit;
use wsup::runner::protocol::{Command, Listen, SocketPlan, SpawnPlan};

/// An address that nobody has.
fn free(host: &str) -> Option<SocketAddr> {
    TcpListener::bind((host, 0)).ok()?.local_addr().ok()
}

fn socket(name: &str, listen: Listen) -> SocketPlan {
    SocketPlan { name: name.into(), listen, udp: false, reuse_port: false }
}

fn unix(rig: &Rig, name: &str, mode: Option<u32>) -> Listen {
    Listen::Unix { path: rig.dir().join(name).into(), mode, uid: None, gid: None }
}

fn with(rig: &mut Rig, script: &str, sockets: Vec<SocketPlan>) -> SpawnPlan {
    SpawnPlan { sockets, ..rig.plan(sh(script)) }
}

/// Whether a connection is taken into the queue.
fn connects(address: SocketAddr) -> bool {
    TcpStream::connect_timeout(&address, Duration::from_secs(5)).is_ok()
}

#[test]
fn a_program_gets_its_sockets_from_3_on_and_nothing_else() {
    each_mode(|rig| {
        let Some(four) = free("127.0.0.1") else { return };
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut sockets = vec![
            socket("http", Listen::Inet(four)),
            SocketPlan { udp: true, ..socket("dns", Listen::Inet(udp)) },
            socket("door", unix(rig, "door", Some(0o600))),
        ];
        match free("::1") {
            Some(six) => sockets.push(socket("six", Listen::Inet(six))),
            None => eprintln!("left out: no IPv6 here"),
        }
        let count = sockets.len();
        let names: Vec<&str> = sockets.iter().map(|one| one.name.as_str()).collect();
        let names = names.join(":");
        let script = "echo $LISTEN_FDS $LISTEN_FDNAMES; test $LISTEN_PID = $$ && echo mine; \
             ls -l /proc/$$/fd; grep -h flags /proc/$$/fdinfo/3";
        let plan = with(rig, script, sockets);
        let id = rig.start(plan);
        assert_eq!(rig.exit_of(id), Exit::Code(0), "{}", rig.log("a"));
        let log = rig.new_log();
        let lines: Vec<&str> = log.lines().collect();
        assert_eq!(lines[..2], [format!("{count} {names}").as_str(), "mine"], "{log}");
        let fds: Vec<(&str, &str)> = lines[2..]
            .iter()
            .filter_map(|line| line.split_once(" -> "))
            .map(|(left, to)| (left.rsplit(' ').next().unwrap(), to))
            .collect();
        for number in 3..3 + count {
            let is =
                |(fd, to): &&(&str, &str)| *fd == number.to_string() && to.starts_with("socket:");
            assert!(fds.iter().any(|one| is(&one)), "{number}: {log}");
        }
        let others = fds.iter().filter(|(fd, to)| {
            fd.parse::<usize>().is_ok_and(|fd| fd >= 3 + count) && !to.is_empty()
        });
        assert_eq!(others.count(), 0, "{log}");
        // O_NONBLOCK (04000) is not set.
        let flags = lines.iter().find_map(|line| line.strip_prefix("flags:")).unwrap().trim();
        assert_eq!(u32::from_str_radix(flags, 8).unwrap() & 0o4000, 0, "{flags}");
        let door = rig.dir().join("door");
        let mode = std::fs::metadata(&door).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(UnixStream::connect(&door).is_ok(), "held though nobody runs");
        assert!(connects(four));
        let unit = rig.plan(sh("exit 0")).unit;
        rig.send(Command::Sockets { unit, wanted: Vec::new() });
        let id = rig.spawn(sh("test -z \"$LISTEN_FDS$LISTEN_PID$LISTEN_FDNAMES\""));
        assert_eq!(rig.exit_of(id), Exit::Code(0), "nothing of it is left over");
        assert!(!connects(four) && !door.exists(), "closed when it is not wanted any more");
    });
}

#[test]
fn one_socket_serves_all_starts_and_only_what_changes_is_moved() {
    each_mode(|rig| {
        let (Some(one), Some(two), Some(three)) =
            (free("127.0.0.1"), free("127.0.0.2"), free("127.0.0.3"))
        else {
            return;
        };
        let sockets =
            |b: SocketAddr| vec![socket("a", Listen::Inet(one)), socket("b", Listen::Inet(b))];
        let unit = rig.plan(sh("exit 0")).unit;
        rig.send(Command::Sockets { unit: unit.clone(), wanted: sockets(two) });
        let inode = |rig: &mut Rig, b: SocketAddr| {
            let plan = with(rig, "readlink /proc/$$/fd/3 /proc/$$/fd/4", sockets(b));
            let id = rig.start(plan);
            assert_eq!(rig.exit_of(id), Exit::Code(0));
            let log = rig.new_log();
            let (first, second) = log.trim().split_once('\n').unwrap();
            (first.to_owned(), second.to_owned())
        };
        let before = inode(rig, two);
        // A connection that nobody takes waits, also while nobody runs and without a daemon.
        let mut waiting = TcpStream::connect(one).unwrap();
        rig.drop_connection();
        rig.connect();
        assert_eq!(inode(rig, two), before);
        let after = inode(rig, three);
        assert_eq!(after.0, before.0, "untouched");
        assert_ne!(after.1, before.1);
        assert!(!connects(two) && connects(three));
        waiting.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        let kind = waiting.read(&mut [0]).unwrap_err().kind();
        assert_eq!(kind, std::io::ErrorKind::WouldBlock, "it was not reset");
        rig.send(Command::Sockets { unit, wanted: Vec::new() });
    });
}

#[test]
fn an_address_that_is_taken_says_by_whom() {
    each_mode(|rig| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let plan = with(rig, "exit 0", vec![socket("http", Listen::Inet(address))]);
        let said = rig.failure(plan);
        let expected = format!("cannot listen on {address} (socket \"http\"): ");
        assert!(said.starts_with(&expected), "{said}");
        assert!(said.contains(&format!("by process {}", std::process::id())), "{said}");
        drop(listener);
        let plan = with(rig, "exit 0", vec![socket("http", Listen::Inet(address))]);
        let (id, unit) = (plan.id, plan.unit.clone());
        rig.start(plan);
        assert_eq!(rig.exit_of(id), Exit::Code(0), "it is tried again with the next start");
        // A file that is no socket is nobody's to remove; one that is left over is.
        let path = rig.file("plain", "precious", 0o644);
        let plan = with(rig, "exit 0", vec![socket("door", unix(rig, "plain", None))]);
        assert!(rig.failure(plan).contains("a file that is not a socket"));
        assert_eq!(std::fs::read_to_string(path).unwrap(), "precious");
        drop(std::os::unix::net::UnixListener::bind(rig.dir().join("stale")).unwrap());
        let plan = with(rig, "exit 0", vec![socket("door", unix(rig, "stale", None))]);
        let id = rig.start(plan);
        assert_eq!(rig.exit_of(id), Exit::Code(0));
        rig.send(Command::Sockets { unit, wanted: Vec::new() });
    });
}

#[test]
fn with_reuse_port_each_start_has_a_socket_of_its_own() {
    each_mode(|rig| {
        let Some(address) = free("127.0.0.1") else { return };
        let own = || SocketPlan { reuse_port: true, ..socket("http", Listen::Inet(address)) };
        let script = "readlink /proc/$$/fd/3; exec sleep 1000";
        let mut seen = std::collections::BTreeSet::new();
        let mut ids = Vec::new();
        for name in ["a", "b"] {
            let argv = sh(script);
            let plan = rig.plan_named(name, argv);
            let id = rig.start(SpawnPlan { sockets: vec![own()], ..plan });
            rig.spawned(id);
            crate::rig::until("it has said so", || rig.log(name).starts_with("socket:"));
            seen.insert(rig.log(name).lines().last().unwrap().to_owned());
            ids.push(id);
        }
        assert_eq!(seen.len(), 2);
        assert!(connects(address));
        for id in ids {
            rig.send(Command::KillTree { id });
            rig.exit_of(id);
        }
        assert!(!connects(address), "they were closed with their processes");
    });
}

#[test]
fn a_new_name_or_the_way_back_is_the_same_socket() {
    each_mode(|rig| {
        let (Some(one), Some(two)) = (free("127.0.0.1"), free("127.0.0.2")) else { return };
        let inode = |rig: &mut Rig, name: &str, sockets: Vec<SocketPlan>| {
            let argv = sh("readlink /proc/$$/fd/3; exec sleep 1000");
            let plan = rig.plan_named(name, argv);
            let before = rig.log(name).len();
            let id = rig.start(SpawnPlan { sockets, ..plan });
            rig.spawned(id);
            crate::rig::until("it has said so", || rig.log(name).len() > before);
            (id, rig.log(name)[before..].trim().to_owned())
        };
        let (first, before) = inode(rig, "a", vec![socket("http", Listen::Inet(one))]);
        let (second, renamed) = inode(rig, "b", vec![socket("web", Listen::Inet(one))]);
        assert_eq!(renamed, before);
        // Away, and back while instances still have the former one.
        let (third, other) = inode(rig, "c", vec![socket("web", Listen::Inet(two))]);
        assert_ne!(other, before);
        let (fourth, back) = inode(rig, "d", vec![socket("web", Listen::Inet(one))]);
        assert_eq!(back, before);
        let unit = rig.plan(sh("exit 0")).unit;
        rig.send(Command::Sockets { unit, wanted: Vec::new() });
        for id in [first, second, third, fourth] {
            rig.send(Command::KillTree { id });
            rig.exit_of(id);
        }
        assert!(!connects(one) && !connects(two), "closed with the last that had them");
    });
}

#[test]
fn what_one_unit_lets_go_another_takes_over_and_what_it_wants_it_keeps() {
    each_mode(|rig| {
        let Some(address) = free("127.0.0.1") else { return };
        let sockets = || vec![socket("http", Listen::Inet(address))];
        let key = |name: &str| {
            let name = wsup::core::id::UnitName::new(name).unwrap();
            wsup::core::id::UnitKey::new(wsup::core::id::Kind::Deployment, name)
        };
        let plan = with(rig, "readlink /proc/$$/fd/3; exec sleep 1000", sockets());
        let first = rig.start(SpawnPlan { unit: key("old"), ..plan });
        rig.spawned(first);
        crate::rig::until("it has said so", || rig.log("a").starts_with("socket:"));
        let before = rig.new_log();
        let mut waiting = TcpStream::connect(address).unwrap();
        let plan = with(rig, "exit 0", sockets());
        let said = rig.failure(SpawnPlan { unit: key("new"), ..plan });
        assert!(said.ends_with("(socket \"http\"): deployment/old does"), "{said}");
        // Its instances have it still, and end only after the other has taken it over.
        rig.send(Command::Sockets { unit: key("old"), wanted: Vec::new() });
        rig.send(Command::Sockets { unit: key("new"), wanted: sockets() });
        rig.send(Command::KillTree { id: first });
        rig.exit_of(first);
        let plan = with(rig, "readlink /proc/$$/fd/3", sockets());
        // The start of a job that the unit made.
        let id = rig.start(SpawnPlan { unit: key("run"), listener: Some(key("new")), ..plan });
        assert_eq!(rig.exit_of(id), Exit::Code(0));
        assert_eq!(rig.new_log(), before);
        waiting.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        let kind = waiting.read(&mut [0]).unwrap_err().kind();
        assert_eq!(kind, std::io::ErrorKind::WouldBlock, "it was not reset");
        let plan = with(rig, "exit 0", sockets());
        let said = rig.failure(SpawnPlan { unit: key("old"), ..plan });
        assert!(said.ends_with("deployment/new does"), "{said}");
        rig.send(Command::Sockets { unit: key("new"), wanted: Vec::new() });
        crate::rig::until("it is closed", || !connects(address));
    });
}

#[test]
fn a_queue_that_is_full_delays_nobody() {
    each_mode(|rig| {
        let door = unix(rig, "door", None);
        let plan = with(rig, "exit 0", vec![socket("door", door.clone())]);
        let (id, unit) = (rig.start(plan), rig.plan(sh("exit 0")).unit);
        assert_eq!(rig.exit_of(id), Exit::Code(0));
        let path = rig.dir().join("door");
        let mut waiting = Vec::new();
        loop {
            let made = net::socket(
                net::AddressFamily::Unix,
                net::SockType::Stream,
                net::SockFlag::SOCK_NONBLOCK,
                None,
            )
            .unwrap();
            let address = net::UnixAddr::new(&path).unwrap();
            match net::connect(std::os::fd::AsRawFd::as_raw_fd(&made), &address) {
                Ok(()) => waiting.push(made),
                Err(_) => break,
            }
        }
        // Somebody else's unit wants the same place: refused at once, and so is the way to close it.
        let other = wsup::core::id::UnitName::new("other").unwrap();
        let other = wsup::core::id::UnitKey::new(wsup::core::id::Kind::Deployment, other);
        let plan = with(rig, "exit 0", vec![socket("door", door)]);
        let said = rig.failure(SpawnPlan { unit: other, ..plan });
        assert!(said.contains("cannot listen on unix:"), "{said}");
        rig.send(Command::Sockets { unit, wanted: Vec::new() });
        let id = rig.spawn(sh("exit 5"));
        assert_eq!(rig.exit_of(id), Exit::Code(5));
        assert!(!path.exists());
        drop(waiting);
    });
}

#[test]
fn a_link_that_is_put_in_a_sockets_place_is_not_followed() {
    each_mode(|rig| {
        let mut plan = with(rig, "exit 0", vec![socket("door", unix(rig, "door", Some(0o666)))]);
        let id = rig.start(plan.clone());
        assert_eq!(rig.exit_of(id), Exit::Code(0));
        let (door, secret) = (rig.dir().join("door"), rig.dir().join("secret"));
        std::fs::write(&secret, "x").unwrap();
        std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
        // Whoever owns the directory can do that.
        std::fs::remove_file(&door).unwrap();
        std::os::unix::fs::symlink(&secret, &door).unwrap();
        plan.id.generation += 1;
        let said = rig.failure(plan.clone());
        assert!(said.contains("a file that is not a socket"), "{said}");
        let mode = std::fs::metadata(&secret).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        // Once it is gone the socket is made anew.
        std::fs::remove_file(&door).unwrap();
        plan.id.generation += 1;
        let id = rig.start(plan);
        assert_eq!(rig.exit_of(id), Exit::Code(0));
        assert!(UnixStream::connect(&door).is_ok());
        std::fs::remove_file(&secret).unwrap();
    });
}
