//! From a plan to a running program.
//!
//! Responsible for preparing everything a child needs, for the child's side between clone and
//! execve, and for saying what failed. Must not know who asked, or what happens afterwards.
//!
//! The child borrows our memory (vfork) and our descriptor table. Our own stdin, stdout and
//! stderr are the child's at that moment; the first thing it does is to leave the table with
//! those three only. So the cost does not grow with the number of instances, and no other child
//! ever sees a copy of a pipe or a pidfd.
#![allow(unsafe_code)]

mod child;
mod confine;
mod explain;
mod prepare;
mod sandbox;

use super::protocol::SpawnPlan;
use super::sys;
use child::{ChildData, Step, Word, child_main, exit_child, write_self};
use explain::{explain_start, explain_step};
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use prepare::Prepared;
use std::ffi::c_void;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::atomic::Ordering;

/// How long a child that failed before execve may take to be gone, in milliseconds. It is in
/// exit_group already.
const FAILED_CHILD_MS: u16 = 2_000;

/// How a child comes to be, found out once by trying.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    /// clone3; into the cgroup at birth, or by the child's own hand.
    Clone3 { into_cgroup: bool },
    /// fork, where clone3 is refused.
    Fork,
}

/// A child that has called execve.
#[derive(Debug)]
pub(super) struct Child {
    pub(super) pid: i32,
    pub(super) pidfd: OwnedFd,
}

/// What a child gets as stdin, stdout and stderr.
pub(super) struct Stdio<'a> {
    pub(super) stdout: Option<BorrowedFd<'a>>,
    pub(super) stderr: Option<BorrowedFd<'a>>,
    /// What it gets from descriptor 3 on.
    pub(super) handed: &'a Handed,
}

/// Descriptors for a child, by our own numbers, and what LISTEN_FDNAMES calls each.
#[derive(Debug, Default)]
pub(super) struct Handed {
    pub(super) numbers: Vec<RawFd>,
    pub(super) names: Vec<String>,
}

/// Starts children.
#[derive(Debug)]
pub(super) struct Spawner {
    method: Method,
    stack: sys::Mapping,
    word: sys::Mapping,
    null: File,
    /// What our own stderr is between two starts.
    own_stderr: OwnedFd,
    ignored: u64,
    /// The limit that we were started with. Ours is raised; a program must not see that.
    nofile: libc::rlimit64,
}

impl Spawner {
    /// Takes over descriptors 0 to 2: they are the next child's from now on.
    ///
    /// # Errors
    /// Out of memory or descriptors.
    pub(super) fn new() -> io::Result<Spawner> {
        let own_stderr = io::stderr().as_fd().try_clone_to_owned()?;
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
        // Best effort: with less, fewer instances fit.
        let _raised = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
        let spawner = Spawner {
            method: Method::Fork,
            stack: sys::Mapping::stack()?,
            word: sys::Mapping::shared()?,
            null: OpenOptions::new().read(true).write(true).open("/dev/null")?,
            own_stderr,
            ignored: sys::ignored_signals(),
            nofile: libc::rlimit64 { rlim_cur: soft, rlim_max: hard },
        };
        dup_to(spawner.null.as_fd(), 0)?;
        spawner.restore()?;
        Ok(spawner)
    }

    /// Finds out by trying how children can be started here, and whether into `cgroup`.
    ///
    /// # Errors
    /// No child can be put into the cgroup; without cgroup this does not fail.
    pub(super) fn probe(&mut self, cgroup: Option<BorrowedFd<'_>>) -> io::Result<()> {
        unsafe extern "C" fn leave(_data: *mut c_void) -> ! {
            // SAFETY: ends the child; nothing else has happened in it.
            unsafe { exit_child(0) }
        }
        // SAFETY: the child ends at once and touches nothing.
        let plain = unsafe { sys::clone3(&self.stack, None, leave, ptr::null_mut()) };
        self.method = match plain {
            Ok((_, pidfd)) => {
                reap_failed(&pidfd);
                Method::Clone3 { into_cgroup: false }
            }
            Err(_) => Method::Fork,
        };
        let Some(cgroup) = cgroup else { return Ok(()) };
        if self.method != Method::Fork {
            // SAFETY: as above.
            let born = unsafe { sys::clone3(&self.stack, Some(cgroup), leave, ptr::null_mut()) };
            if let Ok((_, pidfd)) = born {
                reap_failed(&pidfd);
                self.method = Method::Clone3 { into_cgroup: true };
                return Ok(());
            }
        }
        // The older way: the child writes itself into cgroup.procs. Try it on a child.
        let procs = open_procs(cgroup)?;
        // SAFETY: the runner has one thread.
        let pid = unsafe { sys::fork(|| write_self(procs.as_raw_fd())) }?;
        match nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(pid), None) {
            Ok(nix::sys::wait::WaitStatus::Exited(_, 0)) => Ok(()),
            Ok(_) | Err(_) => Err(io::ErrorKind::PermissionDenied.into()),
        }
    }

    /// Makes every start take the plain way, for tests of it.
    pub(super) fn force_fork(&mut self) {
        self.method = Method::Fork;
    }

    /// Starts the plan's program with these descriptors, in the cgroup whose directory is open as
    /// `cgroup`. Returns once the program runs.
    ///
    /// # Errors
    /// The whole reason, for people. Nothing of the child is left then.
    pub(super) fn spawn(
        &self,
        plan: &SpawnPlan,
        stdio: &Stdio<'_>,
        cgroup: Option<BorrowedFd<'_>>,
    ) -> Result<Child, String> {
        let mut prepared = Prepared::new(plan, self.nofile, stdio.handed)
            .map_err(|e| format!("cannot start {}: {e}", plan.instance))?;
        let word: *const Word = self.word.start().cast_const().cast();
        // SAFETY: the page is mapped for as long as `self` lives, large enough and aligned; zero
        // bytes are a valid `Word`.
        let word_ref = unsafe { &*word };
        word_ref.step.store(0, Ordering::Relaxed);
        let mut data = prepared.child_data(plan, word, self.ignored);
        let started = self
            .install(stdio)
            .and_then(|()| self.start(&mut data, cgroup))
            .map_err(|error| explain_start(plan, &error));
        let restored = self.restore();
        let child = started?;
        let step = word_ref.step.load(Ordering::Relaxed);
        match Step::ALL.into_iter().find(|s| *s as u32 == step) {
            None => {
                restored.map_err(|e| format!("cannot start {}: stdio: {e}", plan.instance))?;
                Ok(child)
            }
            Some(step) => {
                reap_failed(&child.pidfd);
                let errno = word_ref.errno.load(Ordering::Relaxed);
                let item = word_ref.item.load(Ordering::Relaxed) as usize;
                Err(explain_step(plan, &prepared, step, errno, item))
            }
        }
    }

    fn start(&self, data: &mut ChildData, cgroup: Option<BorrowedFd<'_>>) -> io::Result<Child> {
        let at_birth = self.method == Method::Clone3 { into_cgroup: true };
        let procs = match cgroup {
            Some(cgroup) if !at_birth => Some(open_procs(cgroup)?),
            Some(_) | None => None,
        };
        data.cgroup_procs = procs.as_ref().map_or(-1, AsRawFd::as_raw_fd);
        match self.method {
            Method::Clone3 { .. } => {
                let into = cgroup.filter(|_| at_birth);
                // SAFETY: `child_main` keeps to raw system calls and never returns; `data` and
                // what it points to outlive the call, which returns after execve or exit.
                let (pid, pidfd) = unsafe {
                    sys::clone3(&self.stack, into, child_main, ptr::from_mut(data).cast())
                }?;
                Ok(Child { pid, pidfd })
            }
            Method::Fork => {
                data.own_table = true;
                let (mut until_exec, held) = io::pipe()?;
                let held = above_sockets(held.into())?;
                let data = ptr::from_mut(data);
                // SAFETY: the runner has one thread, and `child_main` never returns.
                let pid = unsafe { sys::fork(|| child_main(data.cast())) }?;
                drop(held);
                // The child holds the other end until it has called execve or ended.
                let mut byte = [0];
                while let Err(error) = io::Read::read(&mut until_exec, &mut byte) {
                    if error.kind() != io::ErrorKind::Interrupted {
                        break;
                    }
                }
                let pidfd = sys::pidfd_open(pid).inspect_err(|_| {
                    // Without a pidfd it cannot be held: it must not run.
                    let pid = nix::unistd::Pid::from_raw(pid);
                    let _gone = nix::sys::signal::kill(pid, nix::sys::signal::SIGKILL);
                    let _reaped = nix::sys::wait::waitpid(pid, None);
                })?;
                Ok(Child { pid, pidfd })
            }
        }
    }

    /// Makes our 1 and 2 the child's. 0 is `/dev/null` for it and for us.
    fn install(&self, stdio: &Stdio<'_>) -> io::Result<()> {
        dup_to(stdio.stdout.unwrap_or(self.null.as_fd()), 1)?;
        dup_to(stdio.stderr.unwrap_or(self.null.as_fd()), 2)
    }

    /// Makes our 1 and 2 our own again, so that no end of a pipe stays with us.
    fn restore(&self) -> io::Result<()> {
        dup_to(self.null.as_fd(), 1)?;
        dup_to(self.own_stderr.as_fd(), 2)
    }
}

fn dup_to(from: BorrowedFd<'_>, to: i32) -> io::Result<()> {
    // SAFETY: 0 to 2 belong to nobody else in this process: see `Spawner::new`.
    if unsafe { libc::dup2(from.as_raw_fd(), to) } == to {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// The same descriptor under a number that no socket of a child takes.
fn above_sockets(fd: OwnedFd) -> io::Result<OwnedFd> {
    let number = fcntl(&fd, FcntlArg::F_DUPFD_CLOEXEC(prepare::ABOVE_SOCKETS))?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

fn open_procs(cgroup: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    // SAFETY: the name is a C string; the result is a new descriptor or an error.
    let fd = unsafe {
        libc::openat(cgroup.as_raw_fd(), c"cgroup.procs".as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC)
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Reaps a child that ends by itself, now.
fn reap_failed(pidfd: &OwnedFd) {
    use nix::poll::{PollFd, PollFlags, poll};
    let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
    // If it takes longer than that, an orphans' sweep or our own end reaps it.
    let _waited = poll(&mut fds, FAILED_CHILD_MS);
    let _reaped = sys::wait(sys::Wait::Pidfd(pidfd.as_fd()));
}
