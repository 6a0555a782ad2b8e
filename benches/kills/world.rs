//! A folder, the unit files in it, and the daemon that dies again and again.
//!
//! Responsible for starting and killing it and for knowing when it was there. Leaves nothing behind.

use super::notes::now;
use super::watch::processes;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// Everything settles and ends long before.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
/// Between two questions whether the daemon is there.
const GLANCE: Duration = Duration::from_millis(5);

/// Programs that talk all the time.
pub(crate) const TALKERS: usize = 20;
/// Members of the statefulset.
pub(crate) const MEMBERS: usize = 3;
/// Replicas of the deployment that is rolled out all the time.
pub(crate) const SERVERS: usize = 3;
/// Programs that crash.
pub(crate) const CRASHERS: usize = 3;

/// A time in which the daemon answered: from its first answer to its death, in milliseconds.
pub(crate) type Span = (u64, u64);

#[derive(Debug)]
pub(crate) struct World {
    /// None: it is to be kept.
    temp: Option<tempfile::TempDir>,
    dir: PathBuf,
    life: Mutex<Life>,
}

#[derive(Debug, Default)]
struct Life {
    daemon: Option<Child>,
    launched: Option<Instant>,
    /// When the present one answered first.
    up: Option<u64>,
    spans: Vec<Span>,
    faults: Vec<String>,
}

/// What an operator needs: the folder and the way to the control socket.
#[derive(Clone, Debug)]
pub(crate) struct Operator {
    pub(crate) dir: PathBuf,
}

pub(crate) fn dir_of(world: &World) -> &Path {
    &world.dir
}

impl World {
    /// The units that stay as they are, and a daemon.
    pub(crate) fn begin() -> World {
        let temp = tempfile::Builder::new().prefix("wsup-kills-").tempdir().expect("a folder");
        let dir = temp.path().to_owned();
        for below in ["units", "locks"] {
            fs::create_dir_all(dir.join(below)).expect("a folder");
        }
        let world = World { temp: Some(temp), dir, life: Mutex::default() };
        let operator = world.operator();
        // Many small files: each program begins a new one every few seconds, and none is removed.
        let log = "[log]\nmax_size = \"16KiB\"\nmax_files = 5000\n";
        // Units of their own: of one with many instances not all logs outlive its end.
        for number in 0..TALKERS {
            operator.unit(&format!("talk{number}"), "", "deployment", "talker", log);
        }
        operator.unit("cpu", "", "daemonset", "talker", "[daemonset]\nnodes = \"cpus\"\n");
        let backoff =
            "[restart]\nbackoff = { initial = \"200ms\", factor = 1.0, max = \"200ms\" }\n";
        let replicas = format!("replicas = {CRASHERS}\n");
        operator.unit("crash", &replicas, "deployment", "crasher", backoff);
        let cron = "[cron]\nschedule = \"@every 1s\"\n[job]\nbackoff_limit = 0\n";
        operator.unit("tick", "", "cronjob", "job", cron);
        operator.servers(0);
        operator.members(0);
        world.launch();
        world.answer();
        world
    }

    /// Who, and how trees are held, for people.
    pub(crate) fn about(&self) -> String {
        let said = self.operator().ctl(&["version", "-o", "json"]).unwrap_or_default();
        let facts: serde_json::Value = serde_json::from_str(&said).unwrap_or_default();
        let held = facts.pointer("/daemon/runner_mode").unwrap_or(&serde_json::Value::Null);
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        format!("as user {}, {cores} processors, trees held by: {held}", nix::unistd::geteuid())
    }

    pub(crate) fn operator(&self) -> Operator {
        Operator { dir: self.dir.clone() }
    }

    fn life(&self) -> MutexGuard<'_, Life> {
        self.life.lock().expect("nobody panics with it")
    }

    pub(crate) fn launch(&self) {
        let path = |below: &str| self.dir.join(below);
        let log = OpenOptions::new().create(true).append(true).open(path("daemon.log"));
        let log = log.expect("a log");
        let daemon = Command::new(env!("CARGO_BIN_EXE_wsup"))
            .arg("daemon")
            .args([&PathBuf::from("--units"), &path("units")])
            .args([&PathBuf::from("--state-dir"), &path("state")])
            .args([&PathBuf::from("--runtime-dir"), &path("run")])
            .args([&PathBuf::from("--log-dir"), &path("log")])
            .env("RUST_LOG", "info")
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .expect("the daemon starts");
        let mut life = self.life();
        (life.daemon, life.launched, life.up) = (Some(daemon), Some(Instant::now()), None);
    }

    /// Lets the daemon live for so long, counted from its launch.
    pub(crate) fn live(&self, span: Duration) {
        let end = self.life().launched.expect("it was launched") + span;
        while Instant::now() < end && !self.asks() {
            std::thread::sleep(GLANCE);
        }
        std::thread::sleep(end.saturating_duration_since(Instant::now()));
    }

    /// Waits until the daemon answers.
    pub(crate) fn answer(&self) {
        let end = Instant::now() + PATIENCE;
        while !self.asks() {
            assert!(Instant::now() < end, "the daemon does not answer");
            std::thread::sleep(GLANCE);
        }
    }

    /// Whether the daemon answers; notes when it did first.
    fn asks(&self) -> bool {
        let answers = self.operator().ping();
        let mut life = self.life();
        if answers && life.up.is_none() {
            life.up = Some(now());
        }
        answers
    }

    /// Kills the daemon with SIGKILL.
    pub(crate) fn kill(&self) {
        let mut life = self.life();
        let mut daemon = life.daemon.take().expect("it was launched");
        if let Some(status) = daemon.try_wait().expect("a child") {
            let fault = format!("the daemon ended by itself, {status}: {}", self.last_words());
            life.faults.push(fault);
        }
        daemon.kill().expect("killed");
        let at = now();
        daemon.wait().expect("gone");
        let up = life.up.take();
        life.spans.extend(up.map(|up| (up, at)));
    }

    fn last_words(&self) -> String {
        let text = fs::read_to_string(self.dir.join("daemon.log")).unwrap_or_default();
        text.lines().last().unwrap_or_default().to_owned()
    }

    /// Asks the daemon to stop everything and waits until it has.
    pub(crate) fn stop(&self) -> Option<ExitStatus> {
        let mut daemon = self.life().daemon.take()?;
        let pid = i32::try_from(daemon.id()).expect("a process number");
        let _gone = kill(Pid::from_raw(pid), Signal::SIGTERM);
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if let Some(status) = daemon.try_wait().expect("a child") {
                let mut life = self.life();
                let up = life.up.take();
                life.spans.extend(up.map(|up| (up, now())));
                return Some(status);
            }
            std::thread::sleep(GLANCE);
        }
        let _gone = daemon.kill().and_then(|()| daemon.wait().map(drop));
        None
    }

    /// When it was there, and what went wrong with itself.
    pub(crate) fn past(&self) -> (Vec<Span>, Vec<String>) {
        let life = self.life();
        let present = life.up.map(|up| (up, now()));
        let spans = life.spans.iter().copied().chain(present).collect();
        (spans, life.faults.clone())
    }

    /// Has the folder outlive us.
    pub(crate) fn keep(&mut self) -> &Path {
        if let Some(temp) = self.temp.take() {
            let _kept = temp.keep();
        }
        &self.dir
    }
}

/// Ends everything, also where something went wrong.
impl Drop for World {
    fn drop(&mut self) {
        let _status = self.stop();
        for (pid, _) in processes(&self.dir) {
            if let Ok(pid) = i32::try_from(pid) {
                let _gone = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
    }
}

impl Operator {
    /// Writes a unit's file, whole and at once.
    pub(crate) fn unit(&self, name: &str, head: &str, kind: &str, words: &str, tail: &str) {
        let own = std::env::current_exe().expect("this program");
        let (own, dir) = (own.display(), self.dir.display());
        let mut words = words.split(' ');
        let role = words.next().unwrap_or_default();
        // A job's words say for how long it runs and how it ends.
        let rest: Vec<&str> = match (kind, words.collect::<Vec<_>>()) {
            ("cronjob", _) => vec!["50:0"],
            (_, rest) => rest,
        };
        let rest: String = rest.iter().map(|word| format!(", '{word}'")).collect();
        let text = format!(
            "kind = \"{kind}\"\n{head}[process]\n\
             command = ['{own}', '--play', '{role}', '{dir}'{rest}]\n{tail}"
        );
        let hidden = self.dir.join(format!("units/.{name}.new"));
        fs::write(&hidden, text).expect("written");
        fs::rename(hidden, self.dir.join(format!("units/{name}.toml"))).expect("in place");
    }

    /// The deployment that is rolled out all the time.
    pub(crate) fn servers(&self, version: u64) {
        let head = format!("replicas = {SERVERS}\n");
        self.unit("web", &head, "deployment", &format!("server {version}"), "");
    }

    /// The statefulset.
    pub(crate) fn members(&self, version: u64) {
        let words = format!("member {version} $(WSUP_INSTANCE)");
        let log = "[log]\nmax_size = \"16KiB\"\nmax_files = 5000\n";
        self.unit("db", &format!("replicas = {MEMBERS}\n"), "statefulset", &words, log);
    }

    /// What `ctl` with these words prints; none if it fails, such as for want of a daemon.
    pub(crate) fn ctl(&self, words: &[&str]) -> Option<String> {
        let output = Command::new(env!("CARGO_BIN_EXE_wsup"))
            .args(["ctl", "--socket"])
            .arg(self.dir.join("run/wsup.sock"))
            .args(words)
            .stdin(Stdio::null())
            .output()
            .expect("ctl runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        output.status.success().then_some(text)
    }

    /// What `ctl` with these words and `-o json` prints as an array.
    pub(crate) fn list(&self, words: &[&str]) -> Option<Vec<serde_json::Value>> {
        let text = self.ctl(&[words, &["-o", "json"]].concat())?;
        Some(serde_json::from_str(&text).expect("JSON"))
    }

    /// Whether the daemon answers. Without a process of its own, since it is asked often.
    pub(crate) fn ping(&self) -> bool {
        let ask = || -> std::io::Result<bool> {
            let mut stream = UnixStream::connect(self.dir.join("run/wsup.sock"))?;
            stream.set_read_timeout(Some(Duration::from_secs(1)))?;
            stream
                .write_all(b"GET /v1/ping HTTP/1.1\r\nHost: wsup\r\nConnection: close\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer.starts_with("HTTP/1.1 200"))
        };
        ask().unwrap_or(false)
    }
}
