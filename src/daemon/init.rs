//! The daemon as the first process of a container.
//!
//! Responsible for the duties of process 1: reaping whatever is orphaned, also what no instance of
//! ours began (`docker exec`), and handing on the signals that it is sent. The daemon proper is its
//! child, so that neither has to know what the other waits for. Must not hold anything else.
//!
//! When process 1 ends, the kernel kills everything else in the container. So a daemon that
//! crashes is started again here, as a service manager would, and finds its instances running.

use crate::runner::launch::hear_of_children;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

/// How long after a crash the daemon is started again: one that crashes at once must not use the
/// machine up.
const PAUSE: Duration = Duration::from_secs(1);

/// Signals that mean the daemon.
const FORWARDED: [Signal; 6] = [
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGHUP,
    Signal::SIGQUIT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
];

/// Whether this is the first process of its namespace.
pub fn is_first() -> bool {
    std::process::id() == 1
}

/// Whether the first process is this very program, so that it ends when we do ([`run`]).
pub fn is_below_first() -> bool {
    let program = |name: &str| std::fs::read_link(format!("/proc/{name}/exe")).ok();
    nix::unistd::getppid().as_raw() == 1
        && program("1").is_some_and(|first| program("self") == Some(first))
}

/// Runs this very program with the same words as a child, until it ends by itself or as it was
/// told. Gives its exit code, 128 + signal for a death by signal.
///
/// # Errors
/// The child cannot be started, or signals cannot be waited for.
pub fn run() -> io::Result<u8> {
    hear_of_children();
    let mut set = SigSet::empty();
    FORWARDED.iter().for_each(|signal| set.add(*signal));
    set.add(Signal::SIGCHLD);
    set.thread_block()?;
    let signals = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
    let mut asked_to_end = false;
    loop {
        let daemon = start()?;
        let end = watch(&signals, daemon, &mut asked_to_end)?;
        match end {
            End::Code(code) => return Ok(code),
            End::Signal(signal) if asked_to_end => {
                return Ok(u8::try_from(128 + signal as i32).unwrap_or(u8::MAX));
            }
            End::Signal(signal) => {
                tracing::error!("the daemon was ended by {signal}; it is started again");
                if rest(&signals)? {
                    return Ok(u8::try_from(128 + signal as i32).unwrap_or(u8::MAX));
                }
            }
        }
    }
}

enum End {
    Code(u8),
    Signal(Signal),
}

fn start() -> io::Result<Pid> {
    let mut words = std::env::args_os();
    let name = words.next().unwrap_or_else(|| OsString::from("wsup"));
    let child = Command::new(std::env::current_exe()?)
        .arg0(name)
        .args(words)
        // A terminal's signals come to us alone, and then by us, once.
        .process_group(0)
        .spawn()?;
    Ok(Pid::from_raw(i32::try_from(child.id()).unwrap_or(0)))
}

/// Hands signals on and reaps until the daemon has ended.
fn watch(signals: &SignalFd, daemon: Pid, asked_to_end: &mut bool) -> io::Result<End> {
    loop {
        if let Some(end) = reap(daemon) {
            return Ok(end);
        }
        wait(signals, None)?;
        while let Some(signal) = next(signals)? {
            if FORWARDED.contains(&signal) {
                *asked_to_end |= ends(signal);
                // It may have ended just now; then that is found above.
                let _sent = kill(daemon, signal);
            }
        }
    }
}

/// Waits before the next start. True: somebody wants the end meanwhile.
fn rest(signals: &SignalFd) -> io::Result<bool> {
    let until = Instant::now() + PAUSE;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        wait(signals, Some(left))?;
        while let Some(signal) = next(signals)? {
            if ends(signal) {
                return Ok(true);
            }
        }
        let _none = reap(Pid::from_raw(0));
    }
}

fn ends(signal: Signal) -> bool {
    matches!(signal, Signal::SIGTERM | Signal::SIGINT | Signal::SIGQUIT)
}

fn next(signals: &SignalFd) -> io::Result<Option<Signal>> {
    let info = signals.read_signal()?;
    Ok(info.and_then(|info| Signal::try_from(i32::try_from(info.ssi_signo).ok()?).ok()))
}

fn wait(signals: &SignalFd, at_most: Option<Duration>) -> io::Result<()> {
    use nix::poll::PollTimeout;
    let timeout = match at_most {
        // Rounded up: a wait of zero would be none.
        Some(left) => {
            PollTimeout::try_from(left.as_millis().saturating_add(1)).unwrap_or(PollTimeout::MAX)
        }
        None => PollTimeout::NONE,
    };
    match poll(&mut [PollFd::new(signals.as_fd(), PollFlags::POLLIN)], timeout) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Reaps everything that has ended. Gives the daemon's end, if it is among it.
fn reap(daemon: Pid) -> Option<End> {
    let mut end = None;
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) if pid == daemon => {
                end = Some(End::Code(u8::try_from(code).unwrap_or(u8::MAX)));
            }
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == daemon => {
                end = Some(End::Signal(signal));
            }
            Ok(WaitStatus::StillAlive) | Err(_) => return end,
            Ok(_) => {}
        }
    }
}
