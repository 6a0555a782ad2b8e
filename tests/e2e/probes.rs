//! Probes that ask: by a program, over HTTP, by a connection.

use crate::support::{Daemon, pid_of};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

fn event(daemon: &Daemon, reason: &str, part: &str) -> bool {
    let holds = |e: &serde_json::Value| {
        e["reason"] == reason && e["message"].as_str().is_some_and(|text| text.contains(part))
    };
    daemon.events().iter().any(holds)
}

fn ready(daemon: &Daemon, target: &str) -> usize {
    daemon.ps(target).iter().filter(|one| one["ready"] == true).count()
}

/// An HTTP server that answers 200 as long as it is well, else 503. Gives its port, the switch, and how
/// often it was asked.
fn server() -> (u16, Arc<AtomicBool>, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (well, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let (switch, count) = (Arc::clone(&well), Arc::clone(&asked));
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let _request = stream.read(&mut [0; 2048]);
            count.fetch_add(1, Ordering::SeqCst);
            let status = if switch.load(Ordering::SeqCst) { "200 OK" } else { "503 Busy" };
            let _sent = write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 4\r\n\r\nwarm");
        }
    });
    (port, well, asked)
}

#[test]
fn readiness_by_a_program_comes_and_goes() {
    let unit = "kind = \"deployment\"\n[process]\ncommand = [\"sleep\", \"1000\"]\n\
        env = { FLAG = \"@DIR@/scratch/ok\" }\n[probes.readiness]\n\
        exec = [\"sh\", \"-c\", \"test -e $FLAG || { echo no flag; exit 2; }\"]\n\
        period = \"1s\"\nfailure_threshold = 1\n";
    let daemon = Daemon::start(&[("api", unit)]);
    daemon.wait("the probe has failed", |d| event(d, "ProbeFailed", "exit code 2: no flag"));
    assert_eq!(ready(&daemon, "api"), 0);
    let instance = daemon.ps("api")[0]["name"].as_str().unwrap().to_owned();
    let described = daemon.ctl_ok(&["describe", &instance]);
    assert!(described.contains("no flag"), "{described}");
    fs::write(daemon.path("scratch/ok"), "").unwrap();
    daemon.wait_ready("api", 1);
    fs::remove_file(daemon.path("scratch/ok")).unwrap();
    daemon.wait("it is not ready any more", |d| ready(d, "api") == 0);
    assert_eq!(daemon.event_instances("InstanceUnready", "api").len(), 1);
    assert_eq!(daemon.ps("api")[0]["restarts"], 0, "readiness ends nobody");
}

#[test]
fn a_roll_out_waits_for_readiness_over_http() {
    let (port, well, _) = server();
    let unit = |version: &str, port: u16| {
        format!(
            "kind = \"deployment\"\nreplicas = 2\n[process]\ncommand = [\"sleep\", \"1000\"]\n\
             env = {{ VERSION = \"{version}\", PORT_HTTP = \"{port}\" }}\n[probes.readiness]\n\
             http = \"http://127.0.0.1:$(PORT_HTTP)/ready\"\nperiod = \"1s\"\n"
        )
    };
    well.store(true, Ordering::SeqCst);
    let daemon = Daemon::start(&[("api", &unit("1", port))]);
    daemon.wait_ready("api", 2);
    let first: Vec<String> = daemon.ps("api").iter().map(name).collect();
    // The new version listens nowhere.
    let nowhere = TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = nowhere.local_addr().unwrap().port();
    drop(nowhere);
    daemon.write_unit("api", &unit("2", closed));
    daemon.wait("a new one is asked", |d| event(d, "ProbeFailed", "refused"));
    let still = |d: &Daemon| d.ps("api").iter().filter(|one| first.contains(&name(one))).count();
    assert_eq!(still(&daemon), 2, "no ready one is given up for one that is not");
    daemon.write_unit("api", &unit("3", port));
    daemon.wait("the third version has taken over", |d| still(d) == 0 && ready(d, "api") == 2);
}

fn name(one: &serde_json::Value) -> String {
    one["name"].as_str().unwrap().to_owned()
}

#[test]
fn liveness_ends_what_does_not_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let unit = format!(
        "kind = \"statefulset\"\n[process]\ncommand = [\"sleep\", \"1000\"]\n[probes.liveness]\n\
         tcp = \"127.0.0.1:{port}\"\nperiod = \"1s\"\nfailure_threshold = 2\n"
    );
    let daemon = Daemon::start(&[("db", &unit)]);
    daemon.wait_ready("db", 1);
    let before = pid_of(&daemon.ps("db")[0]);
    drop(listener);
    daemon.wait("it was ended and started again", |d| {
        d.ps("db").first().is_some_and(|one| one["restarts"].as_u64() > Some(0))
    });
    daemon.wait("another process runs", |d| {
        d.ps("db")[0]["pid"].as_u64().is_some_and(|pid| pid != u64::from(before))
    });
    assert!(event(&daemon, "ProbeFailed", "refused"), "{:?}", daemon.events());
}

#[test]
fn startup_holds_the_others_back_and_a_probe_that_hangs_costs_nothing_else() {
    let (port, well, asked) = server();
    let unit = format!(
        "kind = \"deployment\"\n[process]\ncommand = [\"sleep\", \"1000\"]\n\
         [probes.startup]\nexec = [\"sh\", \"-c\", \"test -e @DIR@/scratch/up || sleep 1000\"]\n\
         period = \"1s\"\ntimeout = \"1s\"\nfailure_threshold = 1000\n\
         [probes.readiness]\nhttp = \"http://127.0.0.1:{port}/\"\nperiod = \"1s\"\n"
    );
    let other = "kind = \"deployment\"\n[process]\ncommand = [\"sleep\", \"1000\"]\n\
        [probes.readiness]\nexec = [\"true\"]\nperiod = \"1s\"\n";
    let daemon = Daemon::start(&[("slow", &unit), ("other", other)]);
    daemon.wait("the startup probe is late", |d| event(d, "ProbeFailed", "no answer within 1s"));
    daemon.wait_ready("other", 1);
    assert_eq!(asked.load(Ordering::SeqCst), 0, "readiness is not asked before");
    well.store(true, Ordering::SeqCst);
    fs::write(daemon.path("scratch/up"), "").unwrap();
    daemon.wait_ready("slow", 1);
    assert!(asked.load(Ordering::SeqCst) > 0);
}

#[test]
fn a_new_daemon_goes_on_asking() {
    let (port, well, _) = server();
    let unit = format!(
        "kind = \"deployment\"\n[process]\ncommand = [\"sleep\", \"1000\"]\n[probes.readiness]\n\
         http = \"http://127.0.0.1:{port}/\"\nperiod = \"1s\"\nfailure_threshold = 1\n"
    );
    let mut daemon = Daemon::start(&[("api", &unit)]);
    daemon.wait("it was asked", |d| event(d, "ProbeFailed", "503"));
    let before = daemon.ps("api")[0]["pid"].clone();
    daemon.kill();
    daemon.launch();
    assert_eq!(ready(&daemon, "api"), 0);
    well.store(true, Ordering::SeqCst);
    daemon.wait_ready("api", 1);
    daemon.kill();
    daemon.launch();
    daemon.wait_ready("api", 1);
    assert_eq!(daemon.ps("api")[0]["pid"], before, "it is the same process all the time");
    well.store(false, Ordering::SeqCst);
    daemon.wait("it is not ready any more", |d| ready(d, "api") == 0);
}

#[test]
fn a_probe_over_https_believes_any_certificate() {
    let made = Command::new("openssl").arg("version").output();
    if !made.as_ref().is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: no openssl to serve https with: {made:?}");
        return;
    }
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let unit = format!(
        "kind = \"statefulset\"\n[[init]]\ncommand = [\"openssl\", \"req\", \"-x509\", \"-nodes\", \"-newkey\", \
         \"rsa:2048\", \"-subj\", \"/CN=elsewhere.example\", \"-days\", \"1\", \"-keyout\", \
         \"@DIR@/scratch/key.pem\", \"-out\", \"@DIR@/scratch/cert.pem\"]\n\
         [process]\ncommand = [\"openssl\", \"s_server\", \"-quiet\", \"-www\", \"-accept\", \"127.0.0.1:{port}\", \
         \"-key\", \"@DIR@/scratch/key.pem\", \"-cert\", \"@DIR@/scratch/cert.pem\"]\n\
         [probes.readiness]\nhttp = \"https://127.0.0.1:{port}/\"\nperiod = \"1s\"\ntimeout = \"10s\"\n"
    );
    let daemon = Daemon::start(&[("web", &unit)]);
    daemon.wait_ready("web", 1);
}

#[test]
fn a_line_of_output_tells_that_a_program_is_ready() {
    let unit = "kind = \"deployment\"\n[process]\n\
        command = [\"sh\", \"-c\", \"echo begins; while [ ! -e $DIR/go ]; do sleep 0.01; done; \
        echo listening on port $PORT_NUMBER; exec sleep 1000\"]\n\
        env = { DIR = \"@DIR@/scratch\", PORT_NUMBER = \"80\" }\n\
        [probes.startup]\nlog = \"^begins$\"\n\
        [probes.readiness]\nlog = 'listening on port $(PORT_NUMBER)$'\n";
    let mut daemon = Daemon::start(&[("api", unit)]);
    daemon.wait("it runs", |d| event(d, "InstanceStarted", "started as process"));
    // A daemon that comes later hears of it too.
    let log = |d: &Daemon| d.ctl_ok(&["logs", "api"]).contains("begins");
    daemon.wait("it has begun", log);
    assert_eq!(ready(&daemon, "api"), 0);
    daemon.kill();
    fs::write(daemon.path("scratch/go"), "").unwrap();
    daemon.launch();
    daemon.wait_ready("api", 1);
    let pid = pid_of(&daemon.ps("api")[0]);

    // One that never comes: the start is given up, and why is told.
    let never = "kind = \"job\"\n[process]\ncommand = [\"sh\", \"-c\", \"echo something else; exec sleep 1000\"]\n\
        [restart]\npolicy = \"never\"\n[job]\nbackoff_limit = 0\n\
        [probes.startup]\nlog = \"ready\"\nperiod = \"1s\"\nfailure_threshold = 1\n";
    daemon.write_unit("late", never);
    daemon.wait("the start has taken too long", |d| {
        event(d, "ProbeFailed", "did not say within 1s that it has started")
    });
    assert_eq!(pid_of(&daemon.ps("api")[0]), pid);
    assert_eq!(daemon.stop(), 0);
}
