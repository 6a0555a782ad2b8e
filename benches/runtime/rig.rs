//! What the rows measure with: the payload, the bare loop, a daemon of its own, and their clocks.

use nix::fcntl::{FcntlArg, OFlag, fcntl, open};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{Pid, mkfifo};
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A measurement that takes longer has failed.
const DEADLINE: Duration = Duration::from_secs(180);

/// Nanoseconds of the monotonic clock, which the payload reads too.
pub(super) fn now() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("a clock");
    now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64
}

/// Folder, payload and bare loop.
pub(super) struct Rig {
    dir: tempfile::TempDir,
    fifo: File,
    /// Counts the daemons.
    daemons: usize,
}

/// What a payload says when it begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Note {
    pub(super) pid: i32,
    /// Nanoseconds.
    pub(super) at: u64,
}

impl Rig {
    /// Compiles the two programs. Needs `cc`, as Rust itself does.
    pub(super) fn new() -> Rig {
        let dir = tempfile::Builder::new().prefix("wsup-bench-").tempdir().expect("a folder");
        for (name, source) in
            [("payload", include_str!("payload.c")), ("bare", include_str!("bare.c"))]
        {
            let file = dir.path().join(format!("{name}.c"));
            fs::write(&file, source).expect("written");
            let status = Command::new("cc")
                .args(["-O2", "-static", "-w", "-o"])
                .arg(dir.path().join(name))
                .arg(&file)
                .status()
                .expect("cc is there");
            assert!(status.success(), "{name}.c compiles");
        }
        let path = dir.path().join("fifo");
        mkfifo(&path, Mode::S_IRWXU).expect("a fifo");
        // Opened for both, so that it never ends.
        let fifo = open(&path, OFlag::O_RDWR | OFlag::O_NONBLOCK, Mode::empty()).expect("a fifo");
        let _larger = fcntl(&fifo, FcntlArg::F_SETPIPE_SZ(1 << 20));
        Rig { dir, fifo: File::from(fifo), daemons: 0 }
    }

    pub(super) fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    /// The notes of the next so many payloads.
    pub(super) fn notes(&mut self, count: usize) -> Vec<Note> {
        let end = Instant::now() + DEADLINE;
        let mut bytes = Vec::new();
        let mut chunk = vec![0; 64 << 10];
        while bytes.len() < count * 16 {
            assert!(Instant::now() < end, "only {} of {count} have begun", bytes.len() / 16);
            let mut ready = [PollFd::new(self.fifo.as_fd(), PollFlags::POLLIN)];
            poll(&mut ready, PollTimeout::from(1_000_u16)).expect("poll");
            if let Ok(more) = self.fifo.read(&mut chunk) {
                bytes.extend_from_slice(&chunk[..more]);
            }
        }
        bytes
            .chunks_exact(16)
            .map(|note| Note {
                pid: u64::from_le_bytes(note[..8].try_into().expect("8 bytes")) as i32,
                at: u64::from_le_bytes(note[8..].try_into().expect("8 bytes")),
            })
            .collect()
    }

    /// Starts the bare loop.
    pub(super) fn bare(&self, count: usize) -> Run {
        let child = Command::new(self.path("bare"))
            .arg(count.to_string())
            .arg(self.path("payload"))
            .arg(self.path("fifo"))
            .stdin(Stdio::null())
            .spawn()
            .expect("the bare loop starts");
        Run { child, dir: None }
    }

    /// The text of a unit that runs the payload.
    pub(super) fn unit(&self, head: &str) -> String {
        format!(
            "{head}\n[process]\ncommand = ['{}', '{}']\n[restart]\n\
             backoff = {{ initial = \"0s\" }}\n",
            self.path("payload").display(),
            self.path("fifo").display()
        )
    }

    /// Starts a daemon on these units, in a folder of its own. That of an earlier one stays until
    /// the end: on ext4, making a file right after many were removed is slow (it looks for an
    /// inode that was not in use five seconds ago).
    pub(super) fn daemon(&mut self, units: &[(String, String)]) -> Run {
        self.daemons += 1;
        let own = self.path(&self.daemons.to_string());
        fs::create_dir_all(own.join("units")).expect("a folder");
        for (name, text) in units {
            fs::write(own.join("units").join(format!("{name}.toml")), text).expect("written");
        }
        let log = File::create(own.join("daemon.log")).expect("a log");
        let child = Command::new(env!("CARGO_BIN_EXE_wsup"))
            .arg("daemon")
            .arg("--units")
            .arg(own.join("units"))
            .arg("--state-dir")
            .arg(own.join("state"))
            .arg("--runtime-dir")
            .arg(own.join("run"))
            .arg("--log-dir")
            .arg(own.join("log"))
            .env("RUST_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .expect("the daemon starts");
        Run { child, dir: Some(own) }
    }
}

/// A supervisor that runs.
pub(super) struct Run {
    child: Child,
    /// A daemon's folder.
    dir: Option<PathBuf>,
}

impl Run {
    /// Asks it to end and waits until it has, with everything that it holds. Seconds.
    pub(super) fn stop(mut self) -> f64 {
        let begin = Instant::now();
        terminate(self.child.id() as i32, Signal::SIGTERM);
        let end = begin + DEADLINE;
        while self.child.try_wait().expect("a child").is_none() {
            assert!(Instant::now() < end, "it does not end");
            std::thread::sleep(Duration::from_micros(200));
        }
        begin.elapsed().as_secs_f64()
    }

    /// A path in the daemon's folder.
    pub(super) fn path(&self, below: &str) -> PathBuf {
        self.dir.as_ref().expect("a daemon").join(below)
    }

    /// Runs `wsup ctl` and gives its standard output and how many seconds it took.
    pub(super) fn ctl(&self, words: &[&str]) -> (String, f64) {
        let begin = Instant::now();
        let output = Command::new(env!("CARGO_BIN_EXE_wsup"))
            .args(["ctl", "--socket"])
            .arg(self.path("run/wsup.sock"))
            .args(words)
            .stdin(Stdio::null())
            .output()
            .expect("ctl runs");
        let took = begin.elapsed().as_secs_f64();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        (String::from_utf8_lossy(&output.stdout).into_owned(), took)
    }

    /// Waits until `ctl` with these words prints something of which this holds.
    pub(super) fn until(&self, words: &[&str], holds: impl Fn(&str) -> bool) {
        let end = Instant::now() + DEADLINE;
        while !holds(&self.ctl(words).0) {
            assert!(Instant::now() < end, "waited in vain for {words:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The daemon and its runners, by number.
    pub(super) fn own(&self) -> Vec<i32> {
        let mut found = vec![self.child.id() as i32];
        if self.dir.is_none() {
            return found;
        }
        let needle = self.path("run").display().to_string();
        for entry in fs::read_dir("/proc").expect("/proc").flatten() {
            let words = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let words = String::from_utf8_lossy(&words).replace('\0', " ");
            let pid = entry.file_name().to_string_lossy().parse().unwrap_or(0);
            if pid > 0 && words.contains(" runner ") && words.contains(&needle) {
                found.push(pid);
            }
        }
        found
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            terminate(self.child.id() as i32, Signal::SIGTERM);
            let _ended = self.child.wait();
        }
    }
}

/// Sends a signal to one process of ours.
pub(super) fn terminate(pid: i32, signal: Signal) {
    assert!(pid > 1, "not a process of ours");
    let _gone = kill(Pid::from_raw(pid), signal);
}

/// The proportional share of memory of these processes, in KiB.
pub(super) fn memory(pids: &[i32]) -> u64 {
    pids.iter().map(|pid| field(Path::new(&format!("/proc/{pid}/smaps_rollup")), "Pss:")).sum()
}

/// How often these processes were switched to because something woke them, and the nanoseconds of
/// processor time that they took.
pub(super) fn wakes(pids: &[i32]) -> (u64, u64) {
    let (mut switches, mut nanos) = (0, 0);
    for pid in pids {
        for task in fs::read_dir(format!("/proc/{pid}/task")).expect("threads").flatten() {
            switches += field(&task.path().join("status"), "voluntary_ctxt_switches:");
            let stat = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            nanos += stat.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0);
        }
    }
    (switches, nanos)
}

fn field(path: &Path, name: &str) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines()
        .find_map(|line| line.strip_prefix(name))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|word| word.parse().ok())
        .unwrap_or(0)
}

/// Raises our own limit of descriptors as far as it goes, for what we start.
pub(super) fn raise_files() {
    let (_, hard) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE)
        .expect("a limit");
    let _raised =
        nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE, hard, hard);
}
