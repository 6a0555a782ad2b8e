//! Finds the runner of a runtime directory, or starts it.
//!
//! Responsible for the way from a directory to a runner that has said welcome. Must not wait
//! longer than it is told, and never polls: a starting runner says on a pipe that it listens.

use super::client::{Link, wait_readable};
use super::protocol::SOCKET_NAME;
use super::sys;
use crate::os::socket;
use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What a starting runner writes to its stdout once its socket can be connected to.
pub(crate) const READY: &str = "ready\n";

/// How long a start may take by default. A predecessor that is carrying out its last will needs
/// up to two seconds, a busy machine more.
pub const START_PATIENCE: Duration = Duration::from_secs(15);

/// Attempts at meeting a runner that goes away just while it is found.
const ATTEMPTS: u32 = 5;

/// Where and how.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The runtime directory; made (0700) if missing. Its runner listens at `runner.sock` in it.
    pub runtime_dir: PathBuf,
    /// The program to start as `PROGRAM runner --runtime-dir DIR`; `None`: this very one.
    pub program: Option<PathBuf>,
    /// Makes a new runner use process groups even where it could use cgroups.
    pub no_cgroup: bool,
    /// Makes a new runner start programs the plain way even where clone3 works.
    pub no_clone3: bool,
    /// Where the journal listens, if a new runner is not to use the usual place.
    pub journal: Option<PathBuf>,
    /// How long finding or starting may take.
    pub patience: Duration,
}

impl Launch {
    /// The usual way for a runtime directory.
    pub fn new(runtime_dir: impl Into<PathBuf>) -> Self {
        Launch {
            runtime_dir: runtime_dir.into(),
            program: None,
            no_cgroup: false,
            no_clone3: false,
            journal: None,
            patience: START_PATIENCE,
        }
    }
}

/// Makes sure that we are told of our children's ends: a parent may have had SIGCHLD ignored, which
/// is inherited. To be called before anything waits for a child.
pub fn hear_of_children() {
    sys::default_signal(nix::libc::SIGCHLD);
}

/// Connects to the runner of a runtime directory and greets it; starts one if there is none.
///
/// # Errors
/// With the reason for people: the directory, the program, or the runner's own first words.
pub fn find_or_start(launch: &Launch) -> io::Result<Link> {
    let launch = &Launch {
        // The runner starts in `/`, so it must not be told a relative path.
        runtime_dir: std::path::absolute(&launch.runtime_dir)?,
        ..launch.clone()
    };
    make_dir(&launch.runtime_dir)?;
    let deadline = Instant::now() + launch.patience;
    let mut last = io::Error::from(io::ErrorKind::TimedOut);
    for _ in 0..ATTEMPTS {
        let left = deadline.saturating_duration_since(Instant::now());
        match find(&launch.runtime_dir, left) {
            Ok(Some(link)) => return Ok(link),
            Ok(None) => start(launch, left)?,
            // It was there and left before it could answer: its successor is to be started.
            Err(error) if is_farewell(&error) => last = error,
            Err(error) => return Err(explain("cannot talk to the runner", &error)),
        }
        if Instant::now() >= deadline {
            break;
        }
    }
    Err(explain("cannot reach the runner", &last))
}

/// Connects to the runner of a runtime directory and greets it; `None` if none listens.
///
/// # Errors
/// As [`Link::greet`], or what connect(2) says other than that nobody is there.
pub fn find(runtime_dir: &Path, patience: Duration) -> io::Result<Option<Link>> {
    match socket::connect(&runtime_dir.join(SOCKET_NAME)) {
        Ok(stream) => Link::greet(stream, patience).map(Some),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn is_farewell(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::NotConnected
    )
}

fn make_dir(dir: &Path) -> io::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|error| explain(&format!("cannot make `{}`", dir.display()), &error))
}

/// Starts a runner and waits until it listens. The process that is started forks the runner
/// proper and ends, so that the runner is nobody's child and cannot become our zombie.
fn start(launch: &Launch, patience: Duration) -> io::Result<()> {
    let program = match &launch.program {
        Some(program) => program.clone(),
        // The file may have been replaced or removed since; the kernel's link still leads to it.
        None => std::env::current_exe()
            .ok()
            .filter(|path| path.exists())
            .unwrap_or_else(|| PathBuf::from("/proc/self/exe")),
    };
    let log = launch.runtime_dir.join("runner.log");
    let log = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(&log)
        .map_err(|error| explain(&format!("cannot open `{}`", log.display()), &error))?;
    let (mut said, words) = io::pipe()?;
    let mut command = Command::new(&program);
    command.arg("runner").arg("--runtime-dir").arg(&launch.runtime_dir);
    if launch.no_cgroup {
        command.arg("--no-cgroup");
    }
    if launch.no_clone3 {
        command.arg("--no-clone3");
    }
    if let Some(path) = &launch.journal {
        command.arg("--journal-socket").arg(path);
    }
    hear_of_children();
    let mut child = command
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(words)
        .stderr(log)
        .spawn()
        .map_err(|error| explain(&format!("cannot start `{}`", program.display()), &error))?;
    // Our copy of the pipe's write end must not outlive the start, or its end is never seen.
    drop(command);
    let answer = read_line(&mut said, patience);
    // It ends as soon as it has forked.
    child.wait()?;
    match answer? {
        line if line == READY => Ok(()),
        line if line.is_empty() => Err(io::Error::other(format!(
            "the runner ended before it was ready (see `{}`)",
            launch.runtime_dir.join("runner.log").display()
        ))),
        line => Err(io::Error::other(line.trim_end().to_string())),
    }
}

fn read_line(from: &mut io::PipeReader, patience: Duration) -> io::Result<String> {
    let deadline = Instant::now() + patience;
    let mut text = Vec::new();
    let mut buffer = [0; 512];
    while !text.ends_with(b"\n") {
        let left = deadline.saturating_duration_since(Instant::now());
        if !wait_readable(from, left)? {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the runner was not ready in time",
            ));
        }
        let len = from.read(&mut buffer)?;
        if len == 0 {
            break;
        }
        text.extend_from_slice(buffer.get(..len).unwrap_or_default());
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn explain(what: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}
