//! The programs that the daemon looks after: this program again.
//!
//! Responsible for doing as its words say, and for noting it. Must not know of the daemon.

use super::notes::{End, SIGNALS, What, add, now};
use nix::fcntl::{Flock, FlockArg};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::SignalFd;
use nix::unistd::Pid;
use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;
use wsup::sim::random::Random;

/// Between two bursts of lines, in milliseconds.
const BREATH: u16 = 100;
/// Lines of a burst.
const BURST: u64 = 5;
/// The longest that a program takes to end once it is asked, in milliseconds.
const PARTING_MAX: u64 = 60;
/// The longest life of a program that crashes, in milliseconds.
const CRASH_MAX: u64 = 1_500;

/// Does what the words say.
pub(crate) fn play(role: &str, dir: &Path, rest: &[&str]) -> ExitCode {
    let version = || rest.first().and_then(|word| word.parse().ok()).unwrap_or(0);
    match role {
        "server" => serve(dir, version(), false),
        "member" => member(dir, version()),
        "talker" => serve(dir, 0, true),
        "crasher" => crash(dir),
        "job" => job(dir, rest),
        _ => ExitCode::FAILURE,
    }
}

/// The request to end, to be awaited. Before the first note: who has noted that he begins also
/// notes that he was asked to end.
fn requests() -> SignalFd {
    let mut mask = SigSet::empty();
    mask.add(Signal::SIGTERM);
    mask.thread_block().expect("blocked");
    SignalFd::new(&mask).expect("a descriptor")
}

/// Whether the request comes within so many milliseconds; `None`: however long it takes.
fn asked(requests: &SignalFd, within: Option<u16>) -> bool {
    let mut fds = [PollFd::new(requests.as_fd(), PollFlags::POLLIN)];
    let timeout = within.map_or(PollTimeout::NONE, PollTimeout::from);
    poll(&mut fds, timeout).is_ok_and(|count| count > 0)
}

fn random() -> Random {
    Random::new(u64::from(std::process::id()) ^ now() << 20)
}

/// The next numbered line to each of the two streams.
fn talk(lines: &mut [u64; 2]) {
    let pid = std::process::id();
    lines[0] += 1;
    println!("out {pid} {} and so that it is long enough, some more words", lines[0]);
    lines[1] += 1;
    let line = format!("err {pid} {} and some more words\n", lines[1]);
    std::io::stderr().write_all(line.as_bytes()).expect("written");
}

/// Runs until it is asked to end, and then takes a moment.
fn serve(dir: &Path, version: u64, talks: bool) -> ExitCode {
    let requests = requests();
    let mut lines = [0, 0];
    add(dir, lines, &What::Start { version });
    while !asked(&requests, talks.then_some(BREATH)) {
        (0..BURST).for_each(|_| talk(&mut lines));
    }
    if talks {
        talk(&mut lines);
    }
    std::thread::sleep(Duration::from_millis(random().below(PARTING_MAX)));
    add(dir, lines, &What::Asked);
    ExitCode::SUCCESS
}

/// The same, and keeps a lock with its name as long as it lives.
fn member(dir: &Path, version: u64) -> ExitCode {
    let name = std::env::var("WSUP_INSTANCE").unwrap_or_default();
    let file = File::create(dir.join("locks").join(name)).expect("a file");
    let _lock = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Some(lock),
        Err(_) => {
            add(dir, [0, 0], &What::Twice);
            None
        }
    };
    serve(dir, version, true)
}

/// Runs for a while and ends with some code, unless all shall be calm.
fn crash(dir: &Path) -> ExitCode {
    if dir.join("calm").exists() {
        return serve(dir, 0, false);
    }
    let requests = requests();
    add(dir, [0, 0], &What::Start { version: 0 });
    let mut random = random();
    let life = u16::try_from(random.below(CRASH_MAX)).unwrap_or(u16::MAX);
    if asked(&requests, Some(life)) {
        add(dir, [0, 0], &What::Asked);
        return ExitCode::SUCCESS;
    }
    end(dir, [0, 0], End::Code(random.count(1, 255).into()))
}

/// Runs, talks and ends as its word says: `MILLISECONDS:END`, one word for each index.
fn job(dir: &Path, words: &[&str]) -> ExitCode {
    let mut lines = [0, 0];
    add(dir, lines, &What::Start { version: 0 });
    let index = std::env::var("JOB_COMPLETION_INDEX").ok().and_then(|text| text.parse().ok());
    let word = words.get(index.unwrap_or(0)).expect("a word for each index");
    let (life, how) = word.split_once(':').expect("how long and how");
    talk(&mut lines);
    std::thread::sleep(Duration::from_millis(life.parse().expect("milliseconds")));
    talk(&mut lines);
    end(dir, lines, End::of(how).expect("a code or a signal"))
}

fn end(dir: &Path, lines: [u64; 2], how: End) -> ExitCode {
    add(dir, lines, &What::Exit(how));
    match how {
        End::Code(code) => ExitCode::from(u8::try_from(code).expect("a code")),
        End::Signal(name) => {
            let signal = SIGNALS.iter().find(|(known, _)| *known == name).expect("a signal").1;
            kill(Pid::this(), signal).expect("sent");
            ExitCode::FAILURE
        }
    }
}
