//! What the programs write down of themselves, one line for each beginning and each end.
//!
//! Responsible for the file and its form. Must not judge.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds of the clock on the wall.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock that is set");
    u64::try_from(since.as_millis()).expect("this century")
}

/// What was written down.
#[derive(Clone, Debug)]
pub(crate) enum What {
    /// It begins, from a unit file of this version (0 where there are no versions).
    Start { version: u64 },
    /// It is about to end by itself, in this way.
    Exit(End),
    /// It was asked to end, and is about to.
    Asked,
    /// It found another process of its own name.
    Twice,
}

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Code(i64),
    Signal(&'static str),
}

/// Who wrote it, and when.
#[derive(Clone, Debug)]
pub(crate) struct Note {
    pub(crate) at: u64,
    pub(crate) unit: String,
    pub(crate) instance: String,
    pub(crate) pid: u32,
    /// Lines that it has written to stdout and to stderr.
    pub(crate) lines: [u64; 2],
    pub(crate) what: What,
}

/// The ways to end by a signal of one's own.
pub(crate) const SIGNALS: [(&str, nix::sys::signal::Signal); 3] = [
    ("SIGKILL", nix::sys::signal::Signal::SIGKILL),
    ("SIGUSR1", nix::sys::signal::Signal::SIGUSR1),
    ("SIGINT", nix::sys::signal::Signal::SIGINT),
];

impl End {
    /// From the word for it: a code, or the name of a signal.
    pub(crate) fn of(word: &str) -> Option<End> {
        let signal = SIGNALS.iter().find(|(name, _)| *name == word);
        signal.map(|(name, _)| End::Signal(name)).or_else(|| word.parse().ok().map(End::Code))
    }
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            End::Code(code) => write!(f, "{code}"),
            End::Signal(name) => f.write_str(name),
        }
    }
}

fn file(dir: &Path) -> PathBuf {
    dir.join("notes")
}

/// Adds a line about this very process.
pub(crate) fn add(dir: &Path, lines: [u64; 2], what: &What) {
    let what = match what {
        What::Start { version } => format!("start {version}"),
        What::Exit(end) => format!("exit {end}"),
        What::Asked => "asked -".to_owned(),
        What::Twice => "twice -".to_owned(),
    };
    let of = |name| std::env::var(name).unwrap_or_default();
    let (unit, instance) = (of("WSUP_UNIT"), of("WSUP_INSTANCE"));
    let (pid, [out, err]) = (std::process::id(), lines);
    let line = format!("{} {unit} {instance} {pid} {out} {err} {what}\n", now());
    let mut file = OpenOptions::new().append(true).create(true).open(file(dir)).expect("a file");
    // One write of one line: those of others come before or after it.
    file.write_all(line.as_bytes()).expect("written");
}

/// All that was written down so far, in order.
pub(crate) fn read(dir: &Path) -> Vec<Note> {
    let text = fs::read_to_string(file(dir)).unwrap_or_default();
    text.lines().map(|line| parse(line).unwrap_or_else(|| panic!("a note {line:?}"))).collect()
}

fn parse(line: &str) -> Option<Note> {
    let mut words = line.split(' ');
    let at = words.next()?.parse().ok()?;
    let (unit, instance) = (words.next()?.to_owned(), words.next()?.to_owned());
    let pid = words.next()?.parse().ok()?;
    let lines = [words.next()?.parse().ok()?, words.next()?.parse().ok()?];
    let what = match (words.next()?, words.next()?) {
        ("start", version) => What::Start { version: version.parse().ok()? },
        ("exit", end) => What::Exit(End::of(end)?),
        ("asked", _) => What::Asked,
        ("twice", _) => What::Twice,
        _ => return None,
    };
    Some(Note { at, unit, instance, pid, lines, what })
}
