//! Which process of a start is its main one, and how that ends.
//!
//! Responsible for following the process that a program has named (`MAINPID=` of sd_notify(3)), by a
//! pidfd, and for the exit status of one that is no child of ours. Must not know what an end means.
//!
//! A program that replaces itself starts its successor and ends. The successor loses its parent and
//! is adopted by us, so its status is ours to take. If it ends while its parent lives, that one may
//! take the status first: then the kernel is asked (Linux 6.15), and else it is not known.

use super::{Hold, watch};
use crate::core::event::Exit;
use crate::runner::orphans;
use crate::runner::start::{Life, Named, Part, Start};
use crate::runner::sys::{self, Wait};
use nix::sys::epoll::Epoll;
use std::os::fd::{AsFd, BorrowedFd};

impl Start {
    /// The number of the process that we started, if another one is the main process and it lives.
    pub(super) fn first_alive(&self) -> Option<i32> {
        let other = self.named.is_some() && !self.first_ended;
        let lives = || matches!(sys::wait(Wait::Keep(self.pidfd.as_fd())), Ok(None));
        (other && lives()).then_some(self.pid)
    }
}

impl Hold {
    /// A program has named its main process. Returns whether that is followed from now on.
    pub(super) fn name_main(&mut self, epoll: &Epoll, key: u64, text: &str) -> bool {
        let named = match text.parse() {
            Ok(pid) if pid > 1 => self.try_name(epoll, key, pid),
            Ok(_) | Err(_) => Err("that is no process's number".to_owned()),
        };
        let Err(why) = named else { return true };
        if let Some(start) = self.starts.get_mut(&key)
            // Once: nobody may fill the log by naming others again and again.
            && !std::mem::replace(&mut start.misnamed, true)
        {
            let main = start.main_pid();
            self.warn(key, format!("MAINPID={text}: {why}; {main} stays its main process"));
        }
        false
    }

    fn try_name(&mut self, epoll: &Epoll, key: u64, pid: i32) -> Result<(), String> {
        let Some(start) = self.starts.get(&key) else { return Ok(()) };
        if start.main_pid() == pid {
            return Ok(());
        }
        if !matches!(start.life, Life::Running) {
            return Err("its main process has ended".to_owned());
        }
        if pid == start.pid {
            if start.first_ended {
                return Err("that process has ended".to_owned());
            }
            self.set_named(epoll, key, None);
            return Ok(());
        }
        // First the pidfd, then the look: what is seen is of this very process if it was not
        // reaped by the end of it.
        let gone = |error: std::io::Error| format!("there is no such process: {error}");
        let pidfd = sys::pidfd_open(pid).map_err(gone)?;
        if !self.is_of(key, pid) {
            let and = match self.cgroups {
                Some(_) => "",
                None => {
                    ", or has lost its parent and left its session, and without cgroups nothing \
                         shows whose it is then"
                }
            };
            return Err(format!("that process is not of this instance{and}"));
        }
        sys::pidfd_send_signal(pidfd.as_fd(), 0).map_err(gone)?;
        watch(epoll, pidfd.as_fd(), Part::Named.token(key))
            .map_err(|error| format!("it cannot be watched: {error}"))?;
        self.set_named(epoll, key, Some(Named { pid, pidfd, reaped: false }));
        Ok(())
    }

    fn set_named(&mut self, epoll: &Epoll, key: u64, named: Option<Named>) {
        let Some(start) = self.starts.get_mut(&key) else { return };
        let former = std::mem::replace(&mut start.named, named);
        let main = start.main_pid();
        start.held.pid = u32::try_from(main).unwrap_or(0);
        if let Some(former) = former {
            // Out of the poller before it is closed: a copy in a child would keep it in there.
            let _gone = epoll.delete(&former.pidfd);
            self.mains.remove(&former.pid);
            self.notify.forget_sender(former.pid, key);
            // It is one of the others again; if it has ended, it is reaped.
            self.sweep = self.adopts || self.cgroups.is_none();
        }
        if main != start.pid {
            self.mains.insert(main);
            self.notify.allow(main, key);
        }
    }

    /// Whether a process is shown to be of this start's tree.
    pub(super) fn is_of(&self, key: u64, pid: i32) -> bool {
        let Some(start) = self.starts.get(&key) else { return false };
        match &self.cgroups {
            Some(_) => self.start_of_cgroup(pid) == Some(key),
            None => orphans::descends(pid, start.leaders()),
        }
    }

    /// The process that we started has ended.
    pub(super) fn first_ready(&mut self, epoll: &Epoll, key: u64) {
        // What it said before its end counts: it may have named another.
        if self.starts.get(&key).is_some_and(|start| start.notify) {
            self.hear(epoll);
        }
        let Some(start) = self.starts.get_mut(&key).filter(|start| !start.first_ended) else {
            return;
        };
        let Some(exit) = exit_of(start.pidfd.as_fd(), start.group.is_some()) else { return };
        // Somebody has reaped it for us; that is not known to happen.
        let exit = exit.unwrap_or(Exit::Unknown);
        let _gone = epoll.delete(&start.pidfd);
        start.first_ended = true;
        if start.group.is_some() {
            // Its number may be anybody's from now on.
            self.mains.remove(&start.pid);
            self.notify.forget_sender(start.pid, key);
            self.sweep |= self.adopts;
        }
        if start.named.is_none() && matches!(start.life, Life::Running) {
            self.main_ended(epoll, key, exit);
        }
    }

    /// The main process that was named has ended.
    pub(super) fn named_ready(&mut self, epoll: &Epoll, key: u64) {
        // It may have named another.
        self.hear(epoll);
        let Some(start) = self.starts.get_mut(&key) else { return };
        let Some(Named { pid, pidfd, reaped }) = &mut start.named else { return };
        let Some(exit) = exit_of(pidfd.as_fd(), start.group.is_some()) else { return };
        *reaped = exit.is_none() || start.group.is_some();
        // No child of ours: its parent takes the status, or has done so.
        let exit = exit
            .or_else(|| orphans::exit_of_zombie(*pid).filter(|_| is_there(pidfd.as_fd())))
            .or_else(|| sys::exit_of_reaped(pidfd.as_fd()))
            .unwrap_or(Exit::Unknown);
        let _gone = epoll.delete(&*pidfd);
        if *reaped {
            self.mains.remove(pid);
            self.notify.forget_sender(*pid, key);
            self.sweep |= self.adopts;
        }
        if matches!(start.life, Life::Running) {
            self.main_ended(epoll, key, exit);
        }
    }

    /// Lets go of the processes that led a start whose tree is gone.
    pub(super) fn let_go(&mut self, epoll: &Epoll, start: &Start) {
        // Without cgroups they were kept as zombies so far. With them, one that we started and that
        // was not the main process any more may be on its last steps: then it is reaped later.
        if !start.first_ended {
            let _gone = epoll.delete(&start.pidfd);
        }
        if start.group.is_none() || !start.first_ended {
            let _reaped = sys::wait(Wait::Pidfd(start.pidfd.as_fd()));
        }
        if let Some(named) = start.named.as_ref().filter(|named| !named.reaped) {
            let _reaped = sys::wait(Wait::Pidfd(named.pidfd.as_fd()));
        }
        for pid in start.leaders() {
            self.mains.remove(&pid);
        }
        self.sweep |= self.adopts;
    }
}

/// How a process has ended; `Some(None)`: it is no child of ours. Without a cgroup it stays a zombie.
fn exit_of(pidfd: BorrowedFd<'_>, reap: bool) -> Option<Option<Exit>> {
    match sys::wait(if reap { Wait::Pidfd(pidfd) } else { Wait::Keep(pidfd) }) {
        Ok(Some(exit)) => Some(Some(exit)),
        Ok(None) => None,
        Err(_) => Some(None),
    }
}

/// Whether its number is still its own: nobody has reaped it.
fn is_there(pidfd: BorrowedFd<'_>) -> bool {
    sys::pidfd_send_signal(pidfd, 0).is_ok()
}
