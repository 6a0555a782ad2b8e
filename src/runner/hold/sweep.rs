//! Orphans, where there are no cgroups.
//!
//! Responsible for reaping what the runner has adopted, and for ending starts whose main process
//! is gone once nothing of them lives. Must not be run more than once a turn: it looks at all
//! orphans at once.

use super::{Hold, Life};
use crate::runner::orphans::{self, Orphan};
use crate::runner::sys::{self, Wait};
use nix::libc::SIGKILL;
use nix::sys::epoll::Epoll;
use std::borrow::Cow;
use std::io;

/// How often in one turn the list of children is read again because something on it had ended.
/// Commands must not wait for what dies faster than that: the next turn goes on.
const SWEEP_ROUNDS: u32 = 64;

/// How many are reaped in one turn.
const REAP_MAX: u32 = 64;

/// So many turns in a row are waited for processes without memory. It takes them microseconds to
/// have some again or to end; one that makes itself look so must not keep the runner busy.
const BLANK_TURNS: u32 = 1_000;

impl Hold {
    /// A child has ended that is no main process, or may have.
    pub(in crate::runner) fn child_ended(&mut self) {
        self.sweep = true;
    }

    /// With cgroups: whatever loses its parent becomes our child.
    pub(in crate::runner) fn adopts_from_now_on(&mut self) {
        self.adopts = true;
    }

    /// Whether [`Hold::sweep_orphans`] has more to do.
    pub(in crate::runner) fn must_sweep(&self) -> bool {
        self.sweep
    }

    /// Reaps adopted orphans, and ends the starts of which nothing lives. To be called once a
    /// turn.
    pub(in crate::runner) fn sweep_orphans(&mut self, epoll: &Epoll) {
        if !std::mem::take(&mut self.sweep) {
            return;
        }
        if self.cgroups.is_some() {
            return self.reap_adopted();
        }
        let (adopted, settled) = match self.adopted() {
            Ok(adopted) => adopted,
            Err(error) => return self.give_up(epoll, &error),
        };
        // Whose a process is that has no memory cannot be told before it has some again or ends.
        let blank = adopted.iter().any(|orphan| orphan.blank);
        self.blank_turns = if blank { self.blank_turns.saturating_add(1) } else { 0 };
        let settled = settled && (!blank || self.blank_turns > BLANK_TURNS);
        self.sweep = !settled;
        let unowned = self.unowned(&adopted);
        let keys: Vec<u64> = self.ending.iter().copied().collect();
        for key in keys {
            self.sweep_one(epoll, key, &adopted, &unowned, settled);
        }
        // Once nothing is held, all that is left is what nothing told the owner of.
        self.strays = self.starts.is_empty() && !adopted.is_empty();
        if self.strays {
            let roots: Vec<i32> = adopted.iter().map(|orphan| orphan.process.pid).collect();
            // Where /proc fails now, the next end of a child brings us here again.
            let _killed = orphans::signal_trees(&roots, SIGKILL, &self.mains);
        }
    }

    /// With cgroups: reaps what was adopted. Whose it was makes no difference, and nothing waits for it.
    fn reap_adopted(&mut self) {
        for _ in 0..REAP_MAX {
            match sys::ended_child() {
                // One of ours, whose end is seen to by its pidfd, and then this is done again.
                Some(pid) if self.mains.contains(&pid) => return,
                Some(pid) => drop(sys::wait(Wait::Pid(pid))),
                None => return,
            }
        }
        self.sweep = true;
    }

    /// All living children that are no main processes, and whether that is all of them.
    ///
    /// One that ended after the list was read has left its own children to us, which are not in the
    /// list: so it is read again until nothing on it has ended. Then whatever lives has an ancestor
    /// on it, for only we take anything off the kernel's list, by reaping. Each is looked at before
    /// it is asked whether it lives: what was seen was a living process's.
    fn adopted(&self) -> io::Result<(Vec<Orphan>, bool)> {
        let mut living = Vec::new();
        for _ in 0..SWEEP_ROUNDS {
            let mut ended = false;
            living.clear();
            for pid in orphans::children()?.into_iter().filter(|pid| !self.mains.contains(pid)) {
                let orphan = Orphan::look(pid, |number| self.mains.contains(&number));
                match sys::wait(Wait::Pid(pid)) {
                    Ok(None) => living.extend(orphan),
                    Ok(Some(_)) => ended = true,
                    // Not a child any more.
                    Err(_) => {}
                }
            }
            if !ended {
                return Ok((living, true));
            }
        }
        Ok((living, false))
    }

    /// Orphans that have thrown away everything that tells whose they are. While some start's main
    /// process lives they may be that one's; if none does, they go with those that are ending.
    fn unowned(&self, adopted: &[Orphan]) -> Vec<i32> {
        if adopted.is_empty() || self.ending.len() < self.starts.len() {
            return Vec::new();
        }
        let owned = |orphan: &&Orphan| self.starts.values().any(|start| start.owns(orphan));
        adopted.iter().filter(|orphan| !owned(orphan)).map(|orphan| orphan.process.pid).collect()
    }

    fn sweep_one(
        &mut self,
        epoll: &Epoll,
        key: u64,
        adopted: &[Orphan],
        unowned: &[i32],
        settled: bool,
    ) {
        self.end_execs_of(epoll, key);
        let Some(start) = self.starts.get_mut(&key) else { return };
        let mut roots: Vec<i32> = adopted
            .iter()
            .filter(|orphan| start.owns(orphan))
            .map(|orphan| orphan.process.pid)
            .collect();
        roots.extend(unowned);
        let mut keep = Cow::Borrowed(&self.mains);
        if let Some(first) = start.first_alive() {
            // It was given up as the main process, and is none that others may not touch.
            roots.push(first);
            keep.to_mut().remove(&first);
        }
        if roots.is_empty() {
            if settled && !self.execs.any_of(key) {
                self.finish(epoll, key);
            }
            return;
        }
        let must_kill = start.must_kill();
        let Life::Ending { asked, .. } = &mut start.life else { return };
        // Their ends come as SIGCHLD, and then this is done again.
        let result = match start.stop {
            _ if must_kill => orphans::signal_trees(&roots, SIGKILL, &keep),
            Some(signal) if !*asked => {
                *asked = true;
                orphans::signal_trees(&roots, signal, &keep)
            }
            Some(_) | None => Ok(()),
        };
        if let Err(error) = result {
            self.warn(key, format!("its processes cannot be signalled: {error}"));
        }
    }

    /// Without /proc nothing can be found. An end that is never reported would be worse than a
    /// process that may be left: it is told.
    fn give_up(&mut self, epoll: &Epoll, error: &io::Error) {
        let keys: Vec<u64> = self.ending.iter().copied().collect();
        for key in keys {
            self.warn(key, format!("cannot tell whether its processes are gone: {error}"));
            self.finish(epoll, key);
        }
    }
}
