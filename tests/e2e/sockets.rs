//! Listening sockets: held open whatever comes and goes behind them.

use crate::support::Daemon;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// A server that takes the socket it is handed, answers each request with its version, and on TERM
/// finishes what it has and goes.
const SERVER: &str = r#"
import os, select, signal, socket
assert os.environ["LISTEN_PID"] == str(os.getpid()) and os.environ["LISTEN_FDNAMES"] == "http"
listener = socket.socket(fileno=3)
listener.setblocking(False)
woken, wake = os.pipe()
os.set_blocking(wake, False)
signal.set_wakeup_fd(wake)
signal.signal(signal.SIGTERM, lambda *_: None)
print("up", flush=True)
while True:
    ready, _, _ = select.select([listener, woken], [], [])
    if woken in ready:
        break
    try:
        connection, _ = listener.accept()
    except BlockingIOError:
        continue
    connection.setblocking(True)
    connection.recv(4096)
    body = os.environ["VERSION"].encode()
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(body), body))
    connection.close()
"#;

fn python() -> bool {
    let there = Command::new("python3").arg("--version").output();
    let there = there.is_ok_and(|output| output.status.success());
    if !there {
        eprintln!("skipped: no python3 to serve with");
    }
    there
}

fn unit(address: SocketAddr, version: u32) -> String {
    format!(
        "kind = \"deployment\"\nreplicas = 2\n[process]\ncommand = [\"python3\", \"@DIR@/server.py\"]\n\
         env = {{ VERSION = \"{version}\" }}\n[[sockets]]\nname = \"http\"\nlisten = \"{address}\"\n\
         [probes.readiness]\nhttp = \"http://{address}/\"\nperiod = \"1s\"\n"
    )
}

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// One request; the body of its answer.
fn ask(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.contains("200 OK") => Ok(body.to_owned()),
        _ => Err(std::io::Error::other(format!("answered {answer:?}"))),
    }
}

#[test]
fn no_request_is_refused_while_everything_behind_the_socket_changes() {
    if !python() {
        return;
    }
    let address = free();
    let mut daemon = Daemon::start(&[]);
    std::fs::write(daemon.path("server.py"), SERVER).unwrap();
    daemon.write_unit("web", &unit(address, 1));
    daemon.wait_ready("web", 2);
    let (done, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let (stop, count) = (Arc::clone(&done), Arc::clone(&sent));
    let client = std::thread::spawn(move || {
        let mut failures = Vec::new();
        while !stop.load(Ordering::SeqCst) {
            if let Err(error) = ask(address) {
                failures.push(error.to_string());
            }
            count.fetch_add(1, Ordering::SeqCst);
        }
        failures
    });
    let served = |d: &Daemon, more: usize| {
        let until = sent.load(Ordering::SeqCst) + more;
        d.wait("requests are answered", |_| sent.load(Ordering::SeqCst) >= until);
    };
    for one in daemon.ps("web") {
        daemon.ctl_ok(&["restart", one["name"].as_str().unwrap()]);
        served(&daemon, 20);
    }
    daemon.write_unit("web", &unit(address, 2));
    daemon.wait("the second version answers", |_| ask(address).is_ok_and(|body| body == "2"));
    daemon.ctl_ok(&["rollout", "status", "web", "--timeout", "60s"]);
    served(&daemon, 20);
    daemon.kill();
    served(&daemon, 20);
    daemon.launch();
    daemon.write_unit("web", &unit(address, 3));
    daemon.wait("the third version answers", |_| ask(address).is_ok_and(|body| body == "3"));
    daemon.ctl_ok(&["rollout", "status", "web", "--timeout", "60s"]);
    served(&daemon, 20);
    // Another name is another unit, which takes the socket over.
    std::fs::rename(daemon.path("units/web.toml"), daemon.path("units/site.toml")).unwrap();
    daemon.ctl_ok(&["apply"]);
    daemon.wait_ready("site", 2);
    daemon.wait("the former unit is gone", |d| d.get("web").is_null());
    served(&daemon, 20);
    let trouble = daemon.events().into_iter().find(|event| event["reason"] == "InstanceTrouble");
    assert_eq!(trouble, None);
    done.store(true, Ordering::SeqCst);
    let failures = client.join().unwrap();
    assert!(
        failures.is_empty(),
        "{} of {}: {failures:?}",
        failures.len(),
        sent.load(Ordering::SeqCst)
    );
    // With its unit the socket goes.
    std::fs::remove_file(daemon.path("units/site.toml")).unwrap();
    daemon.wait("the unit is gone", |d| d.get("site").is_null());
    daemon.wait("nobody listens any more", |_| TcpStream::connect(address).is_err());
}

#[test]
fn an_address_that_is_taken_is_named_and_tried_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let unit = format!(
        "kind = \"deployment\"\n[process]\ncommand = [\"sleep\", \"1000\"]\n[[sockets]]\nname = \
         \"http\"\nlisten = \"{address}\"\n[restart]\nbackoff = {{ initial = \"1s\", max = \"1s\" }}\n"
    );
    let daemon = Daemon::start(&[("web", &unit)]);
    let told = |d: &Daemon| {
        let all = d.events();
        let mut texts = all.iter().filter_map(|event| event["message"].as_str());
        texts.any(|text| {
            text.contains(&format!("cannot listen on {address}"))
                && text.contains(&format!("by process {}", std::process::id()))
        })
    };
    daemon.wait("it says who has it", told);
    drop(listener);
    daemon.wait_ready("web", 1);
    assert!(TcpStream::connect(address).is_ok());
    // Another address: the running instance is left alone.
    let pid = daemon.ps("web")[0]["pid"].clone();
    let other = free();
    daemon.write_unit("web", &unit.replace(&address.to_string(), &other.to_string()));
    daemon.wait("the socket has moved", |_| TcpStream::connect(other).is_ok());
    assert_eq!(daemon.ps("web")[0]["pid"], pid);
}

#[test]
fn the_runs_of_a_cronjob_share_its_sockets() {
    let address = free();
    let unit = format!(
        "kind = \"cronjob\"\n[cron]\nschedule = \"0 0 1 1 *\"\n[job]\nbackoff_limit = 0\n[process]\n\
         command = [\"sh\", \"-c\", \"readlink /proc/$$$$/fd/3; until test -e @DIR@/scratch/go; do sleep \
         0.02; done\"]\n[[sockets]]\nname = \"http\"\nlisten = \"{address}\"\n"
    );
    let daemon = Daemon::start(&[("batch", &unit)]);
    assert!(TcpStream::connect(address).is_ok(), "between runs too");
    for name in ["one", "two"] {
        daemon.ctl_ok(&["trigger", "cronjob/batch", "--name", name]);
    }
    let socket = |job: &str| daemon.ctl(&["logs", job]).out.trim().to_owned();
    daemon.wait("both run", |_| ["one", "two"].iter().all(|job| socket(job).contains("socket:")));
    assert_eq!(socket("one"), socket("two"));
    std::fs::write(daemon.path("scratch/go"), "").unwrap();
    daemon.ctl_ok(&["wait", "job/one", "--for", "complete", "--timeout", "60s"]);
    daemon.ctl_ok(&["trigger", "cronjob/batch", "--name", "three"]);
    daemon.ctl_ok(&["wait", "job/three", "--for", "complete", "--timeout", "60s"]);
    assert_eq!(socket("three"), socket("one"), "those that have ended hold nothing back");
    std::fs::remove_file(daemon.path("units/batch.toml")).unwrap();
    daemon.wait("nobody listens any more", |_| TcpStream::connect(address).is_err());
}

#[test]
fn a_unit_without_instances_says_that_its_address_is_taken() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let unit = format!(
        "kind = \"deployment\"\nreplicas = 0\n[process]\ncommand = [\"true\"]\n[[sockets]]\nname = \
         \"http\"\nlisten = \"{address}\"\n"
    );
    let daemon = Daemon::start(&[("web", &unit)]);
    daemon.wait("it is told", |d| d.events().iter().any(|e| e["reason"] == "InstanceTrouble"));
    let told = daemon.events().into_iter().find(|e| e["reason"] == "InstanceTrouble").unwrap();
    assert_eq!((&told["name"], &told["instance"]), (&"web".into(), &serde_json::Value::Null));
}

#[test]
fn each_instance_has_a_port_of_its_own() {
    let first = free().port();
    let unit = |last: u16| {
        format!(
            "kind = \"deployment\"\nreplicas = 3\n[process]\ncommand = [\"sh\", \"-c\", \"echo $PORT \
             $PORT_HTTP_1 $1; exec sleep 1000\", \"x\", \"$(PORT_HTTP_1)\"]\n[[ports]]\nname = \
             \"http-1\"\nrange = \"{first}-{last}\"\n"
        )
    };
    // Somebody else has the first of them.
    let Ok(foreign) = TcpListener::bind(("127.0.0.1", first)) else { return };
    let mut daemon = Daemon::start(&[("web", &unit(first + 50))]);
    daemon.wait_ready("web", 3);
    let ports = |d: &Daemon| {
        let mut all: Vec<(String, u64)> = d
            .ps("web")
            .iter()
            .map(|one| {
                let name = one["name"].as_str().unwrap().to_owned();
                (name, one["ports"]["http-1"].as_u64().unwrap())
            })
            .collect();
        all.sort();
        all
    };
    let before = ports(&daemon);
    let numbers: std::collections::BTreeSet<u64> = before.iter().map(|(_, port)| *port).collect();
    assert_eq!(numbers.len(), 3, "{before:?}");
    assert!(!numbers.contains(&u64::from(first)), "{before:?}");
    for (name, port) in &before {
        assert_eq!(daemon.read(&format!("log/web/{name}.log")), format!("{port} {port} {port}\n"));
    }
    let name = &before[0].0;
    assert!(daemon.ctl_ok(&["describe", name]).contains(&format!("http-1 {}", before[0].1)));
    daemon.kill();
    daemon.launch();
    daemon.wait_ready("web", 3);
    daemon.ctl_ok(&["restart", name]);
    daemon.wait("it runs again", |d| {
        d.ps("web").iter().all(|one| one["ready"] == true)
            && d.read(&format!("log/web/{name}.log")).lines().count() == 2
    });
    assert_eq!(ports(&daemon), before, "they keep them");
    drop(foreign);
}
