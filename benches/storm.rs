//! The storm guard: two hundred units and the one database that they all depend on.
//!
//! A plain program: `cargo bench --bench storm`. A real daemon runs a database (this program again) and
//! 200 units (this program again), each of which connects to it when it starts, and dies when there is
//! none or when it goes. The database is stopped for a minute and started again. That is done twice:
//! with units that know nothing of each other, so that theirs die and back off for the whole minute,
//! and with units that say `depends_on`, so that they wait and could all begin at once.
//!
//! Each program writes down itself when it begins; of that the graph of starts is made. Exits with 1
//! if not all recover, or if in any one second more begin than the guard's limit.
//! `STORM_OUTAGE` sets for how many seconds the database is away.

// A program that measures may speak, and may end where what it measures is broken.
#![allow(clippy::print_stdout, clippy::expect_used, clippy::panic)]

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How many units depend on the database.
const UNITS: usize = 200;
/// The guard's limit.
const LIMIT: usize = 20;
/// For how many seconds the database is away.
const OUTAGE: u64 = 60;
/// All have recovered long before: the longest back-off, and all of them one after the other.
const PATIENCE: Duration = Duration::from_secs(300);
/// The graph has so many columns at most.
const WIDE: usize = 150;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--database", socket] => database(Path::new(socket)),
        ["--client", socket, starts] => client(Path::new(socket), Path::new(starts)),
        _ => show(),
    }
}

/// Takes connections and keeps them until it is gone.
fn database(socket: &Path) -> ExitCode {
    // That of a database that was killed.
    let _ = fs::remove_file(socket);
    let listener = UnixListener::bind(socket).expect("a socket");
    let kept: Vec<UnixStream> = listener.incoming().flatten().collect();
    drop(kept);
    ExitCode::FAILURE
}

/// Writes down that it begins, and lives as long as its connection.
fn client(socket: &Path, starts: &Path) -> ExitCode {
    let mut file = OpenOptions::new().append(true).create(true).open(starts).expect("a file");
    // One write of one line: those of others come before or after it.
    file.write_all(format!("{}\n", now()).as_bytes()).expect("written");
    drop(file);
    if let Ok(mut stream) = UnixStream::connect(socket) {
        let _ = stream.read(&mut [0; 1]);
    }
    ExitCode::FAILURE
}

/// Milliseconds.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock that is set");
    u64::try_from(since.as_millis()).expect("this century")
}

fn show() -> ExitCode {
    let outage = std::env::var("STORM_OUTAGE").ok().and_then(|text| text.parse().ok());
    let outage = Duration::from_secs(outage.unwrap_or(OUTAGE));
    let mut good = true;
    for (name, depends_on) in [
        ("units that die and back off", ""),
        ("units that wait for the database (depends_on)", "depends_on = [\"db\"]\n"),
    ] {
        println!("{name}: {UNITS} units, at most {LIMIT} restarts a second, outage of {outage:?}");
        let mut storm = Storm::begin(depends_on);
        storm.wait("all run", |storm| storm.connected() == UNITS);
        let gone = now();
        storm.ctl(&["stop", "statefulset/db"]);
        std::thread::sleep(outage);
        let back = now();
        storm.ctl(&["start", "statefulset/db"]);
        storm.wait("all have recovered", |storm| storm.connected() == UNITS);
        let recovered = now();
        let starts = storm.starts();
        let starts: Vec<u64> = starts.into_iter().filter(|at| *at >= gone).collect();
        let told = storm.ctl(&["events"]);
        let told = told.lines().filter(|line| line.contains("RestartsHeld"));
        let most = most_in_a_second(&starts);
        graph(&starts, gone, back);
        println!(
            "{} starts; all {UNITS} ready {:.1} s after the database was started; \
             at most {most} starts in any second (limit: {LIMIT}); `ctl events` told {} time(s) that \
             restarts are held back\n",
            starts.len(),
            (recovered - back) as f64 / 1_000.0,
            told.count(),
        );
        good &= most <= LIMIT && starts.len() >= UNITS;
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The most starts within a second, wherever that second begins. In order of time.
fn most_in_a_second(starts: &[u64]) -> usize {
    let within = |(first, at): (usize, &u64)| {
        starts.iter().skip(first).take_while(|then| **then < at + 1_000).count()
    };
    starts.iter().enumerate().map(within).max().unwrap_or(0)
}

/// Starts in each second since the database went.
fn graph(starts: &[u64], gone: u64, back: u64) {
    let second = |at: u64| usize::try_from((at - gone) / 1_000).expect("few seconds");
    let columns = starts.iter().map(|at| second(*at) + 1).max().unwrap_or(0).min(WIDE);
    let mut counts = vec![0; columns];
    for at in starts {
        if let Some(count) = counts.get_mut(second(*at)) {
            *count += 1;
        }
    }
    let bar = |level: usize| -> String {
        let mark = |count: &usize| if *count >= level { '#' } else { ' ' };
        counts.iter().map(mark).collect::<String>().trim_end().to_owned()
    };
    println!("starts in each second");
    println!("{LIMIT:4} +{}", "-".repeat(columns));
    for level in (2..=LIMIT).rev().step_by(2) {
        println!("{level:4} |{}", bar(level));
    }
    println!("   1 |{}", bar(1));
    let axis: String = (0..columns).map(|n| if n % 10 == 0 { '+' } else { '-' }).collect();
    println!("     +{axis}");
    println!("      {}^ the database is started", " ".repeat(second(back)));
}

/// A daemon with a database and its clients.
struct Storm {
    dir: tempfile::TempDir,
    daemon: Child,
}

impl Storm {
    fn begin(depends_on: &str) -> Storm {
        let dir = tempfile::Builder::new().prefix("wsup-storm-").tempdir().expect("a folder");
        let path = |below: &str| dir.path().join(below);
        fs::create_dir_all(path("units")).expect("a folder");
        let config = format!("[storm_guard]\nrestarts_per_second = {LIMIT}\nhold = \"all\"\n");
        fs::write(path("wsup.toml"), config).expect("written");
        let own = std::env::current_exe().expect("this program");
        let (own, socket) = (own.display(), path("db.sock"));
        let (socket, starts) = (socket.display(), path("starts"));
        let db = format!(
            "kind = \"statefulset\"\n[process]\ncommand = ['{own}', '--database', '{socket}']\n\
             [probes.readiness]\nunix = \"{socket}\"\nperiod = \"1s\"\n"
        );
        fs::write(path("units/db.toml"), db).expect("written");
        let client = format!(
            "kind = \"deployment\"\n{depends_on}[process]\n\
             command = ['{own}', '--client', '{socket}', '{}']\n",
            starts.display()
        );
        for number in 0..UNITS {
            let file = path(&format!("units/app-{number:03}.toml"));
            fs::write(file, &client).expect("written");
        }
        let log = File::create(path("daemon.log")).expect("a log");
        let daemon = Command::new(env!("CARGO_BIN_EXE_wsup"))
            .arg("daemon")
            .args([&PathBuf::from("--config"), &path("wsup.toml")])
            .args([&PathBuf::from("--units"), &path("units")])
            .args([&PathBuf::from("--state-dir"), &path("state")])
            .args([&PathBuf::from("--runtime-dir"), &path("run")])
            .args([&PathBuf::from("--log-dir"), &path("log")])
            .env("RUST_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .expect("the daemon starts");
        Storm { dir, daemon }
    }

    fn try_ctl(&self, words: &[&str]) -> Option<String> {
        let output = Command::new(env!("CARGO_BIN_EXE_wsup"))
            .args(["ctl", "--socket"])
            .arg(self.dir.path().join("run/wsup.sock"))
            .args(words)
            .stdin(Stdio::null())
            .output()
            .expect("ctl runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        output.status.success().then_some(text)
    }

    fn ctl(&self, words: &[&str]) -> String {
        self.try_ctl(words).unwrap_or_else(|| panic!("ctl {words:?} failed"))
    }

    /// How many clients run while the database does.
    fn connected(&self) -> usize {
        let Some(text) = self.try_ctl(&["ps", "--all", "-o", "json"]) else { return 0 };
        let all: Vec<serde_json::Value> = serde_json::from_str(&text).expect("JSON");
        let ready = || all.iter().filter(|one| one["ready"] == true);
        if !ready().any(|one| one["unit"] == "db") {
            return 0;
        }
        ready().count() - 1
    }

    /// When programs began, in order.
    fn starts(&self) -> Vec<u64> {
        let text = fs::read_to_string(self.dir.path().join("starts")).expect("some began");
        let mut all: Vec<u64> = text.lines().filter_map(|line| line.parse().ok()).collect();
        all.sort_unstable();
        all
    }

    fn wait(&mut self, what: &str, holds: impl Fn(&Storm) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !holds(self) {
            assert!(Instant::now() < end, "waited in vain until {what}");
            assert!(self.daemon.try_wait().expect("a child").is_none(), "the daemon ended");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// Ends it, with everything that it holds, also where something went wrong.
impl Drop for Storm {
    fn drop(&mut self) {
        let pid = i32::try_from(self.daemon.id()).expect("a process number");
        let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        let end = Instant::now() + PATIENCE;
        while self.daemon.try_wait().is_ok_and(|status| status.is_none()) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
