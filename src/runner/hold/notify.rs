//! What programs say of themselves: systemd's notification protocol (sd_notify(3)).
//!
//! Responsible for taking it from the right sender only (a process of a start that may), for what of it
//! lasts, and for handing it on. Must not know what follows from it.
//!
//! One socket serves all starts, so that it costs none of them a descriptor. Who has sent is known by
//! the kernel's word (SCM_CREDENTIALS), and whose process that is by its number, its cgroup or its
//! session. A sender that has ended before it is looked at cannot be told any more, as under systemd:
//! such a program waits by BARRIER=1 until it was heard.

use super::{Hold, Known};
use crate::core::id::InstanceId;
use crate::core::time::Millis;
use crate::os::clock;
use crate::runner::protocol::{EXTEND_UNTIL, Notice};
use crate::runner::sys::{self, Datagram};
use nix::sys::epoll::Epoll;
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

/// The variable that tells a program where to send.
const VARIABLE: &str = "NOTIFY_SOCKET";
/// The longest datagram that is taken (systemd's own `NOTIFY_BUFFER_MAX`).
const DATAGRAM_MAX: usize = 4 << 10;
/// The longest value that is kept.
const VALUE_MAX: usize = 256;
/// So many datagrams are taken in one turn of the loop: a program that talks without end costs the
/// others no more than that.
const TURN_MAX: usize = 64;

/// The same of descriptors: each is compared with all that are kept for its instance.
const DESCRIPTORS_TURN_MAX: usize = 256;

/// What of it is handed on, and whether it still holds for a daemon that comes later.
const KEYS: &[(&str, bool)] = &[
    ("READY", true),
    ("STATUS", true),
    ("STOPPING", true),
    ("RELOADING", true),
    ("MAINPID", true),
    (EXTEND, true),
    ("ERRNO", false),
    ("WATCHDOG", false),
];

/// How many descriptors are kept for it.
const STORED: &str = "FDSTORE";
/// The span that a program asks for. What is handed on is the instant, [`EXTEND_UNTIL`].
const EXTEND: &str = "EXTEND_TIMEOUT_USEC";
/// A program is given no more than this at once: it is to say again and again that it still works.
const EXTEND_MAX: Millis = Millis::from_secs(24 * 3_600);

/// Names and values, the last of each.
pub(in crate::runner) type Said = BTreeMap<String, String>;

/// The socket and who may use it.
#[derive(Debug)]
pub(in crate::runner) struct Notify {
    /// The socket and its path, or why there is none.
    socket: Result<(UnixDatagram, PathBuf), String>,
    /// The main processes of starts that may.
    by_pid: BTreeMap<i32, u64>,
    /// What no daemon has been told yet, by start.
    news: BTreeMap<u64, Said>,
}

impl Notify {
    /// Nobody may yet.
    pub(in crate::runner) const fn new(socket: Result<(UnixDatagram, PathBuf), String>) -> Notify {
        Notify { socket, by_pid: BTreeMap::new(), news: BTreeMap::new() }
    }

    /// The socket, for the poller.
    pub(in crate::runner) fn socket(&self) -> Option<&UnixDatagram> {
        self.socket.as_ref().ok().map(|(socket, _)| socket)
    }

    /// The variable for a program's environment.
    ///
    /// # Errors
    /// There is no socket; why, for people.
    pub(super) fn variable(&self) -> Result<Vec<u8>, String> {
        let (_, path) = self.socket.as_ref().map_err(Clone::clone)?;
        let mut pair = format!("{VARIABLE}=").into_bytes();
        pair.extend_from_slice(path.as_os_str().as_encoded_bytes());
        Ok(pair)
    }

    /// A start may.
    pub(super) fn allow(&mut self, pid: i32, key: u64) {
        self.by_pid.insert(pid, key);
    }

    /// A process is no main process any more.
    pub(super) fn forget_sender(&mut self, pid: i32, key: u64) {
        if self.by_pid.get(&pid) == Some(&key) {
            self.by_pid.remove(&pid);
        }
    }

    /// A start is gone.
    pub(super) fn forget(&mut self, key: u64) {
        self.news.remove(&key);
    }

    /// The next daemon is told what lasts when it is welcomed.
    pub(in crate::runner) fn forget_news(&mut self) {
        self.news.clear();
    }
}

impl Hold {
    /// Takes what has been sent.
    pub(in crate::runner) fn hear(&mut self, epoll: &Epoll) {
        let (mut buffer, mut taken) = ([0; DATAGRAM_MAX], 0);
        for _ in 0..TURN_MAX {
            let Some(socket) = self.notify.socket() else { return };
            // Everybody may send, but the descriptors of strangers must not become ours.
            let Ok(sender) = sys::peek_sender(socket.as_fd()) else { return };
            let Some((pid, key)) = sender.and_then(|pid| Some((pid, self.speaker(pid)?))) else {
                let _gone = sys::discard_datagram(socket.as_fd());
                continue;
            };
            let Ok(datagram) = sys::receive_datagram(socket.as_fd(), &mut buffer) else { return };
            let Datagram { len, whole, pid: sender, descriptors } = datagram;
            taken += descriptors.len();
            if whole && sender == Some(pid) {
                let text = String::from_utf8_lossy(buffer.get(..len).unwrap_or_default());
                if let Some(kept) = self.store(epoll, key, &text, descriptors) {
                    self.say(key, STORED, kept.to_string(), true);
                }
                self.note(epoll, key, pid, &text);
            } else {
                descriptors.into_iter().for_each(sys::close_foreign);
            }
            if taken > DESCRIPTORS_TURN_MAX {
                // The poller says again that there is more.
                return;
            }
        }
    }

    /// The start that this process belongs to, if that one may speak.
    fn speaker(&self, pid: i32) -> Option<u64> {
        if let Some(key) = self.notify.by_pid.get(&pid) {
            return Some(*key);
        }
        let key = match &self.cgroups {
            Some(_) => self.start_of_cgroup(pid)?,
            None => {
                let session = nix::unistd::getsid(Some(Pid::from_raw(pid))).ok()?;
                *self.notify.by_pid.get(&session.as_raw())?
            }
        };
        self.starts.get(&key)?.notify.then_some(key)
    }

    /// The start in whose cgroup a process is.
    pub(super) fn start_of_cgroup(&self, pid: i32) -> Option<u64> {
        let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
        let id = id_of(self.cgroups.as_ref()?.start_in(&text)?)?;
        match self.ids.get(&id)? {
            Known::Live(key) => Some(*key),
            Known::Ended(_) => None,
        }
    }

    fn note(&mut self, epoll: &Epoll, key: u64, sender: i32, text: &str) {
        let said = |wanted: &str| {
            let mut words = text.lines().filter_map(|line| line.split_once('='));
            words.rfind(|(name, _)| *name == wanted).map(|(_, value)| value)
        };
        for (name, lasts) in KEYS {
            let Some(value) = said(name) else { continue };
            // It is shown on terminals.
            let printable = value.chars().filter(|c| !c.is_control());
            let value: String = printable.take(VALUE_MAX).collect();
            match *name {
                "MAINPID" if !self.name_main(epoll, key, &value) => {}
                // The predecessor of the main process ends; the program does not.
                "STOPPING" if self.is_former(key, sender) => {}
                EXTEND => {
                    let Ok(usec) = value.parse::<u64>() else { continue };
                    let span = Millis(usec.div_ceil(1_000)).min(EXTEND_MAX);
                    let until = clock::mono().plus(span).0.to_string();
                    self.say(key, EXTEND_UNTIL, until, true);
                }
                _ => self.say(key, name, value, *lasts),
            }
        }
    }

    pub(super) fn say(&mut self, key: u64, name: &str, value: String, lasts: bool) {
        let Some(start) = self.starts.get_mut(&key) else { return };
        let news = self.notify.news.entry(key).or_default();
        if name == "READY" {
            // The start that it asked for more time for is over.
            start.held.said.remove(EXTEND_UNTIL);
            if start.held.said.remove("RELOADING").is_some() {
                // It has reloaded.
                news.insert("RELOADING".to_owned(), "0".to_owned());
            }
        }
        if lasts {
            start.held.said.insert(name.to_owned(), value.clone());
        }
        news.insert(name.to_owned(), value);
    }

    /// Whether a process was the main one of its start and is not any more.
    fn is_former(&self, key: u64, pid: i32) -> bool {
        self.starts.get(&key).is_some_and(|start| start.named.is_some() && start.pid == pid)
    }

    /// What the daemon is to be told. What one start says before that is told is one piece of news.
    pub(in crate::runner) fn take_news(&mut self) -> Vec<Notice> {
        let news = std::mem::take(&mut self.notify.news);
        let told = news.into_iter().filter_map(|(key, said)| {
            Some(Notice::Told { id: self.starts.get(&key)?.held.id, said })
        });
        told.collect()
    }
}

/// The start of a cgroup's name, as `start::cgroup_name` makes it.
fn id_of(name: &str) -> Option<InstanceId> {
    let mut parts = name.rsplit('.');
    let generation = parts.next()?.parse().ok()?;
    let slot = u64::from_str_radix(parts.next()?, 16).ok()?;
    name.starts_with("i-").then_some(InstanceId { slot, generation })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cgroups_name_tells_its_start() {
        let id = InstanceId { slot: (7 << 32) | 0xab, generation: 3 };
        assert_eq!(id_of("i-a.b-0.7000000ab.3"), Some(id));
        for other in ["a.7000000ab.3", "i-a.7000000ab", "i-a.x.3", "i-a.7.x", ""] {
            assert_eq!(id_of(other), None, "{other}");
        }
    }
}
