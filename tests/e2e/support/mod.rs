//! A daemon of its own for each test: temporary folders, the real binary, real processes.
//!
//! Waits are for conditions with a deadline. What a test leaves behind is ended, by pid, and only
//! if it carries this test's folder in its environment or command line.

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// How long a condition may take. Generous: the machine may be busy with other tests.
pub const DEADLINE: Duration = Duration::from_secs(60);
/// How often a condition is looked at.
const GLANCE: Duration = Duration::from_millis(20);

/// The binary under test.
pub fn wsup() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wsup"));
    command.env_remove("WSUP_CONTROL").env_remove("NOTIFY_SOCKET").env("NO_COLOR", "1");
    command
}

fn wsup_in(within: &[String]) -> Command {
    let Some((first, rest)) = within.split_first() else { return wsup() };
    let mut command = Command::new(first);
    command.args(rest).arg(env!("CARGO_BIN_EXE_wsup"));
    command.env_remove("WSUP_CONTROL").env_remove("NOTIFY_SOCKET").env("NO_COLOR", "1");
    command
}

/// What a finished command said.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Said {
        Said {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// A daemon with its own folders.
pub struct Daemon {
    dir: tempfile::TempDir,
    child: Option<Child>,
    flags: Vec<String>,
    /// Words that run the daemon, such as a wrapper's.
    within: Vec<String>,
}

impl Daemon {
    /// Starts a daemon on these units (file name without `.toml`, text) and waits until it
    /// answers. `@DIR@` in a text stands for the test's own folder.
    pub fn start(units: &[(&str, &str)]) -> Daemon {
        Daemon::start_with(units, &[])
    }

    /// The same with further flags.
    pub fn start_with(units: &[(&str, &str)], flags: &[&str]) -> Daemon {
        Daemon::made(units, flags, &[])
    }

    /// The same with so few descriptors for the daemon and each of its runners.
    pub fn start_limited(units: &[(&str, &str)], files: u32) -> Daemon {
        let limit = format!("ulimit -n {files}; exec \"$0\" \"$@\"");
        Daemon::made(units, &[], &["sh", "-c", &limit])
    }

    /// The same, run by these words. `pid` is then the wrapper's.
    pub fn start_in(within: &[&str], units: &[(&str, &str)]) -> Daemon {
        Daemon::made(units, &[], within)
    }

    fn made(units: &[(&str, &str)], flags: &[&str], within: &[&str]) -> Daemon {
        let dir = tempfile::Builder::new().prefix("wsup-e2e-").tempdir().expect("a folder");
        let mut daemon = Daemon {
            dir,
            child: None,
            flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
            within: within.iter().map(|word| (*word).to_owned()).collect(),
        };
        fs::create_dir_all(daemon.path("units")).expect("units folder");
        fs::create_dir_all(daemon.path("scratch")).expect("work folder");
        for (name, text) in units {
            daemon.write_unit(name, text);
        }
        daemon.launch();
        daemon
    }

    /// Starts the daemon again after it was killed or stopped.
    pub fn launch(&mut self) {
        assert!(self.child.is_none(), "the daemon runs already");
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.path("daemon.stderr"))
            .expect("a log");
        let child = wsup_in(&self.within)
            .arg("daemon")
            .arg("--units")
            .arg(self.path("units"))
            .arg("--state-dir")
            .arg(self.path("state"))
            .arg("--runtime-dir")
            .arg(self.path("run"))
            .arg("--log-dir")
            .arg(self.path("log"))
            .args(&self.flags)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .expect("the daemon starts");
        self.child = Some(child);
        self.wait("the daemon answers", |daemon| daemon.ctl(&["ping"]).code == 0);
    }

    /// A path in the test's folder.
    pub fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    /// Writes (or replaces) a unit file, at once and whole.
    pub fn write_unit(&self, name: &str, text: &str) {
        let text = text.replace("@DIR@", &self.dir.path().display().to_string());
        let hidden = self.path(&format!("units/.{name}.new"));
        fs::write(&hidden, text).expect("unit written");
        fs::rename(hidden, self.path(&format!("units/{name}.toml"))).expect("unit in place");
    }

    /// Reads a file in the test's folder; empty if it is not there.
    pub fn read(&self, below: &str) -> String {
        fs::read_to_string(self.path(below)).unwrap_or_default()
    }

    /// Runs `wsup ctl` with these words.
    pub fn ctl(&self, words: &[&str]) -> Said {
        wsup()
            .args(["ctl", "--socket"])
            .arg(self.path("run/wsup.sock"))
            .args(words)
            .stdin(Stdio::null())
            .output()
            .expect("ctl runs")
            .into()
    }

    /// The same; it must succeed. Gives its standard output.
    #[track_caller]
    pub fn ctl_ok(&self, words: &[&str]) -> String {
        let said = self.ctl(words);
        assert_eq!(said.code, 0, "ctl {words:?} failed: {said:?}\n{}", self.daemon_log());
        said.out
    }

    /// `ctl ps TARGET -o json`; empty if there is no such target.
    pub fn ps(&self, target: &str) -> Vec<Value> {
        let said = self.ctl(&["ps", target, "-o", "json"]);
        if said.code != 0 {
            return Vec::new();
        }
        serde_json::from_str(&said.out).expect("ps prints a JSON array")
    }

    /// The one element of `ctl get KIND/NAME -o json`; null if it is not there.
    pub fn get(&self, target: &str) -> Value {
        let said = self.ctl(&["get", target, "-o", "json"]);
        if said.code != 0 {
            return Value::Null;
        }
        let all: Value = serde_json::from_str(&said.out).expect("get prints JSON");
        all.get(0).cloned().unwrap_or(Value::Null)
    }

    /// All events so far, oldest first.
    pub fn events(&self) -> Vec<Value> {
        self.ctl(&["events", "-o", "json"])
            .out
            .lines()
            .map(|line| serde_json::from_str(line).expect("an event a line"))
            .collect()
    }

    /// The instances of events with this reason, in order.
    pub fn event_instances(&self, reason: &str, unit: &str) -> Vec<String> {
        self.events()
            .iter()
            .filter(|event| event["reason"] == reason && event["name"] == unit)
            .filter_map(|event| event["instance"].as_str().map(str::to_owned))
            .collect()
    }

    /// Waits until the condition holds.
    #[track_caller]
    pub fn wait(&self, what: &str, condition: impl Fn(&Daemon) -> bool) {
        let end = Instant::now() + DEADLINE;
        while !condition(self) {
            assert!(
                Instant::now() < end,
                "waited in vain until {what}\n{}\n{}",
                self.ctl(&["ps"]).out,
                self.daemon_log()
            );
            std::thread::sleep(GLANCE);
        }
    }

    /// Waits until so many instances are ready and no other exists.
    #[track_caller]
    pub fn wait_ready(&self, target: &str, count: usize) {
        self.wait(&format!("{target} has {count} ready"), |daemon| {
            let all = daemon.ps(target);
            all.len() == count && all.iter().all(|one| one["ready"] == true)
        });
    }

    /// What the daemon wrote.
    pub fn daemon_log(&self) -> String {
        self.read("daemon.stderr")
    }

    /// The daemon's own process.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the daemon runs").id()
    }

    /// Kills the daemon with SIGKILL, and waits until it is gone.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("the daemon runs");
        child.kill().expect("killed");
        child.wait().expect("gone");
    }

    /// Asks the daemon to end, and waits until it has. Gives its exit code.
    #[track_caller]
    pub fn stop(&mut self) -> i32 {
        let child = self.child.take().expect("the daemon runs");
        signal(child.id(), "TERM");
        self.await_end(child)
    }

    /// Waits for an end that was asked for in another way. Gives the exit code.
    #[track_caller]
    pub fn await_exit(&mut self) -> i32 {
        let child = self.child.take().expect("the daemon runs");
        self.await_end(child)
    }

    #[track_caller]
    fn await_end(&self, mut child: Child) -> i32 {
        let end = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = child.try_wait().expect("a child") {
                return status.code().unwrap_or(-1);
            }
            assert!(Instant::now() < end, "the daemon does not end\n{}", self.daemon_log());
            std::thread::sleep(GLANCE);
        }
    }

    /// Processes that carry this test's folder, the daemon itself left out.
    pub fn survivors(&self) -> Vec<u32> {
        let own = self.child.as_ref().map(Child::id);
        processes_of(self.dir.path()).into_iter().filter(|pid| Some(*pid) != own).collect()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            signal(child.id(), "TERM");
            let end = Instant::now() + Duration::from_secs(20);
            while child.try_wait().is_ok_and(|status| status.is_none()) && Instant::now() < end {
                std::thread::sleep(GLANCE);
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        end_all(self.dir.path());
    }
}

/// Ends all processes that carry this folder. The runner goes last, so that it reaps the others.
pub fn end_all(dir: &Path) {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        let pids = processes_of(dir);
        if pids.is_empty() || Instant::now() > end {
            return;
        }
        for pid in pids {
            signal(pid, "KILL");
        }
        std::thread::sleep(GLANCE);
    }
}

/// Living processes whose environment or command line names this folder.
pub fn processes_of(dir: &Path) -> Vec<u32> {
    let needle = dir.display().to_string();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").expect("/proc").flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        if pid == std::process::id() {
            continue;
        }
        let holds = |file: &str| {
            fs::read(entry.path().join(file))
                .is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(&needle))
        };
        if holds("environ") || holds("cmdline") {
            found.push(pid);
        }
    }
    found
}

/// Sends a signal to one process.
pub fn signal(pid: u32, name: &str) {
    assert!(pid > 1, "not a process of ours");
    let _ =
        Command::new("kill").args(["-s", name, &pid.to_string()]).stderr(Stdio::null()).status();
}

/// Whether a process lives: it is no zombie, and not about to become one without any memory.
pub fn lives(pid: u32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    let Some((_, rest)) = stat.rsplit_once(')') else { return false };
    let fields: Vec<&str> = rest.split_whitespace().collect();
    // Fields 3 and 23 of proc_pid_stat(5): the state, and the size of its memory.
    !matches!(fields[0], "Z" | "X") && fields[20] != "0"
}

/// The values of one field, in order.
pub fn texts(elements: &[Value], field: &str) -> Vec<String> {
    elements.iter().filter_map(|one| one[field].as_str().map(str::to_owned)).collect()
}

/// The process of an element of `ps`.
pub fn pid_of(element: &Value) -> u32 {
    element["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()).expect("a pid")
}
