//! Descriptors that programs have given us to keep (`FDSTORE=1` of sd_notify(3)).
//!
//! Responsible for holding them for an instance from one start to the next, whether a daemon is there or
//! not, and for dropping those that have hung up. Must not know what they are for.

use super::{Hold, warning_of};
use crate::core::id::UnitKey;
use crate::runner::protocol::{Keeper, SOCKETS_MAX};
use crate::runner::start::Part;
use crate::runner::sys;
use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};
use nix::sys::stat::{SFlag, fstat};
use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

/// An instance may keep so many: together with its sockets they must find room in a start.
const KEPT_MAX: usize = 32;
/// All instances together may keep so many: a runner has only so many descriptors.
pub(in crate::runner) const KEPT_MAX_ALL: usize = 512;
/// The longest name (sd_notify(3)).
const NAME_MAX: usize = 255;
/// What one without a valid name is called.
const UNNAMED: &str = "stored";

/// One that is kept.
#[derive(Debug)]
pub(super) struct Kept {
    name: String,
    file: OwnedFd,
    /// The poller tells when it hangs up.
    watched: bool,
}

/// All that are kept. Each has a key of its own, by which they are in the order of their coming.
#[derive(Debug, Default)]
pub(super) struct Store {
    all: BTreeMap<u64, (Keeper, Kept)>,
    of: BTreeMap<Keeper, Vec<u64>>,
}

impl Store {
    /// Whether one has this key.
    pub(super) fn has(&self, key: u64) -> bool {
        self.all.contains_key(&key)
    }

    /// What is kept for an instance: numbers and names.
    pub(super) fn hand(&self, keeper: &Keeper) -> (Vec<RawFd>, Vec<String>) {
        let keys = self.of.get(keeper).into_iter().flatten();
        let kept = keys.filter_map(|key| self.all.get(key));
        kept.map(|(_, one)| (one.file.as_raw_fd(), one.name.clone())).unzip()
    }

    fn count(&self, keeper: &Keeper) -> usize {
        self.of.get(keeper).map_or(0, Vec::len)
    }

    fn remove(&mut self, epoll: &Epoll, key: u64) {
        let Some((keeper, kept)) = self.all.remove(&key) else { return };
        if kept.watched {
            // Out of the poller before it is closed: a copy in a child would keep it in there.
            let _gone = epoll.delete(&kept.file);
        }
        if let Some(keys) = self.of.get_mut(&keeper) {
            keys.retain(|other| *other != key);
            if keys.is_empty() {
                self.of.remove(&keeper);
            }
        }
        sys::close_foreign(kept.file);
    }

    fn remove_where(&mut self, epoll: &Epoll, keeper: &Keeper, which: impl Fn(&Kept) -> bool) {
        let keys = self.of.get(keeper).cloned().unwrap_or_default();
        for key in keys {
            if self.all.get(&key).is_some_and(|(_, kept)| which(kept)) {
                self.remove(epoll, key);
            }
        }
    }
}

impl Hold {
    /// A program gives these to keep, or takes some back, with the other words of one datagram. Gives
    /// how many are kept for it now, if that was meant.
    pub(super) fn store(
        &mut self,
        epoll: &Epoll,
        start: u64,
        text: &str,
        files: Vec<OwnedFd>,
    ) -> Option<usize> {
        let said = |name: &str| {
            text.lines().filter_map(|line| line.split_once('=')).rfind(|(n, _)| *n == name)
        };
        let value = |name: &str| said(name).map(|(_, value)| value);
        let (gives, takes) = (value("FDSTORE") == Some("1"), value("FDSTOREREMOVE") == Some("1"));
        let of = self.starts.get(&start).filter(|_| gives || takes);
        let Some(of) = of else {
            // That is what BARRIER=1 waits for.
            files.into_iter().for_each(sys::close_foreign);
            return None;
        };
        let keeper = Keeper { unit: of.held.unit.clone(), instance: of.held.instance.clone() };
        let name = value("FDNAME").filter(|name| is_name(name));
        if let (true, Some(name)) = (takes, name) {
            self.store.remove_where(epoll, &keeper, |kept| kept.name == name);
        }
        let most = KEPT_MAX.min(SOCKETS_MAX.saturating_sub(of.sockets));
        let mut refused = 0;
        for file in files {
            let full = self.store.count(&keeper) >= most || self.store.all.len() >= KEPT_MAX_ALL;
            if !gives || full || self.keeps_already(&keeper, &file) {
                refused += usize::from(gives && full);
                sys::close_foreign(file);
                continue;
            }
            let name = name.unwrap_or(UNNAMED).to_owned();
            self.keep(epoll, &keeper, name, file, value("FDPOLL") != Some("0"));
        }
        if refused > 0 {
            self.refuse_to_store(start, refused, most);
        }
        Some(self.store.count(&keeper))
    }

    fn keep(&mut self, epoll: &Epoll, keeper: &Keeper, name: String, file: OwnedFd, poll: bool) {
        let key = self.next_key;
        self.next_key += 1;
        // Hanging up is told without being asked for. What is neither a socket nor a pipe does not hang
        // up, and some file systems would have us wait for an answer.
        let kind =
            fstat(&file).map_or(SFlag::empty(), |stat| SFlag::from_bits_truncate(stat.st_mode));
        let hangs_up = [SFlag::S_IFSOCK, SFlag::S_IFIFO].contains(&(kind & SFlag::S_IFMT));
        let event = EpollEvent::new(EpollFlags::empty(), Part::Main.token(key));
        let watched = poll && hangs_up && epoll.add(file.as_fd(), event).is_ok();
        self.store.of.entry(keeper.clone()).or_default().push(key);
        self.store.all.insert(key, (keeper.clone(), Kept { name, file, watched }));
    }

    /// The very same is not kept twice.
    fn keeps_already(&self, keeper: &Keeper, file: &OwnedFd) -> bool {
        let keys = self.store.of.get(keeper).into_iter().flatten();
        let mut kept = keys.filter_map(|key| self.store.all.get(key));
        kept.any(|(_, one)| sys::same_file(one.file.as_fd(), file.as_fd()))
    }

    fn refuse_to_store(&mut self, start: u64, refused: usize, most: usize) {
        let Some(start) = self.starts.get_mut(&start) else { return };
        // Once: nobody may fill the log by giving more again and again.
        if !std::mem::replace(&mut start.refused_store, true) {
            let message = format!(
                "FDSTORE=1: {refused} descriptors are not kept: at most {most} of an instance and \
                 {KEPT_MAX_ALL} in all"
            );
            self.warnings.push(warning_of(&start.held, message));
        }
    }

    /// One has hung up: it is of no use any more.
    pub(super) fn stored_hung_up(&mut self, epoll: &Epoll, key: u64) {
        self.store.remove(epoll, key);
    }

    /// Carries `DropStored` out.
    pub(in crate::runner) fn drop_stored(&mut self, epoll: &Epoll, keeper: &Keeper) {
        self.store.remove_where(epoll, keeper, |_| true);
    }

    /// Those that something is kept for.
    pub(in crate::runner) fn keepers(&self) -> Vec<Keeper> {
        self.store.of.keys().cloned().collect()
    }

    /// What is kept for an instance of this unit and name.
    pub(super) fn stored(&self, unit: &UnitKey, instance: &str) -> (Vec<RawFd>, Vec<String>) {
        self.store.hand(&Keeper { unit: unit.clone(), instance: instance.to_owned() })
    }
}

/// Whether it can stand in LISTEN_FDNAMES (systemd `fdname_is_valid`).
fn is_name(name: &str) -> bool {
    name.len() <= NAME_MAX && name.bytes().all(|b| (b' '..0x7f).contains(&b) && b != b':')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_systemd() {
        let long = "x".repeat(NAME_MAX);
        for good in ["", "http", "a b", "ä".get(..0).unwrap(), long.as_str()] {
            assert!(is_name(good), "{good}");
        }
        let longer = "x".repeat(NAME_MAX + 1);
        for bad in ["a:b", "a\tb", "ä", "\u{7f}", longer.as_str()] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
