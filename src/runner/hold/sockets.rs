//! Listening sockets, by unit and name.
//!
//! Responsible for opening each once and for holding it open from one start to the next, whether a daemon
//! is there or not: whoever connects meanwhile waits in the kernel's queue. Must not know why a socket is
//! wanted, and must not wait for anybody.

use super::Hold;
use crate::core::id::UnitKey;
use crate::os::holder;
use crate::runner::protocol::{Listen, Notice, SocketPlan, SpawnPlan};
use crate::runner::spawn::Handed;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, SockaddrIn6, UnixAddr, bind, connect,
    listen, setsockopt, socket, sockopt,
};
use nix::unistd::{Gid, Uid, chown};
use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::rc::{Rc, Weak};

/// One that is open: for the unit, and for each start that was handed it.
#[derive(Debug)]
pub(in crate::runner) struct Open {
    plan: SocketPlan,
    socket: OwnedFd,
    /// Of a unix socket: device and number of its file.
    file: Option<(u64, u64)>,
}

impl Drop for Open {
    fn drop(&mut self) {
        // The name goes with the socket; one that somebody else has made meanwhile stays.
        if let Listen::Unix { path, .. } = &self.plan.listen
            && self.file.is_some()
            && file_of(path.as_path()) == self.file
        {
            let _gone = fs::remove_file(path.as_path());
        }
    }
}

/// The sockets of one unit.
#[derive(Debug, Default)]
struct OfUnit {
    /// Those that it wants, by name.
    wanted: BTreeMap<String, Rc<Open>>,
    /// Those that it wanted before. As long as a start has one its address is taken, by us: if it is
    /// wanted again, it is the same socket.
    former: Vec<Weak<Open>>,
}

/// All that are held.
#[derive(Debug, Default)]
pub(super) struct Sockets(BTreeMap<UnitKey, OfUnit>);

impl OfUnit {
    /// One that listens at the plan's place, whatever it was called.
    fn at(&self, plan: &SocketPlan) -> Option<Rc<Open>> {
        let former = self.former.iter().filter_map(Weak::upgrade);
        self.wanted.values().cloned().chain(former).find(|open| same_place(&open.plan, plan))
    }

    fn want(&mut self, wanted: &[SocketPlan]) -> Result<(), String> {
        let mut result = Ok(());
        let mut next = BTreeMap::new();
        for plan in wanted.iter().filter(|plan| !plan.reuse_port) {
            let open = match self.at(plan) {
                Some(open) => dressed(&plan.listen).map(|()| open).map_err(|e| failed(plan, &e)),
                None => opened(plan).map(Rc::new),
            };
            match open {
                Ok(open) => drop(next.insert(plan.name.clone(), open)),
                Err(error) => result = result.and(Err(error)),
            }
        }
        self.former.retain(|open| open.strong_count() > 0);
        let before = std::mem::replace(&mut self.wanted, next);
        self.former.extend(before.values().map(Rc::downgrade));
        result
    }
}

impl Sockets {
    /// Opens what is wanted and not open, takes over what another unit does not want any more but its
    /// starts still have, and lets go of what is open and not wanted any more.
    ///
    /// # Errors
    /// One that cannot be opened; for people.
    fn want(&mut self, unit: &UnitKey, wanted: &[SocketPlan]) -> Result<(), String> {
        let (mut mine, mut left, mut result) = (Vec::new(), Vec::new(), Ok(()));
        for plan in wanted {
            match self.elsewhere(unit, plan) {
                Err(by) => result = result.and(Err(format!("{}: {by} does", cannot(plan)))),
                Ok(open) => {
                    left.extend(open);
                    mine.push(plan.clone());
                }
            }
        }
        let of_unit = self.0.entry(unit.clone()).or_default();
        of_unit.former.extend(left.iter().map(Rc::downgrade));
        result = result.and(of_unit.want(&mine));
        let held = of_unit.former.iter().any(|open| open.strong_count() > 0);
        if of_unit.wanted.is_empty() && !held {
            self.0.remove(unit);
        }
        result
    }

    /// One at the plan's place that another unit wanted before.
    ///
    /// # Errors
    /// The unit that wants it now.
    fn elsewhere(&self, unit: &UnitKey, plan: &SocketPlan) -> Result<Option<Rc<Open>>, &UnitKey> {
        let mut left = None;
        for (other, of_unit) in self.0.iter().filter(|(other, _)| *other != unit) {
            if of_unit.wanted.values().any(|open| same_place(&open.plan, plan)) {
                return Err(other);
            }
            left = left.or_else(|| of_unit.at(plan));
        }
        Ok(left)
    }

    /// The sockets for a start of this plan, in its order. They stay open as long as the start has them.
    ///
    /// # Errors
    /// One that cannot be opened; for people.
    pub(super) fn hand(&mut self, plan: &SpawnPlan) -> Result<Vec<Rc<Open>>, String> {
        if plan.sockets.is_empty() {
            return Ok(Vec::new());
        }
        let unit = plan.listener.as_ref().unwrap_or(&plan.unit);
        self.want(unit, &plan.sockets)?;
        let of_unit = self.0.get(unit);
        let held = |wanted: &SocketPlan| of_unit.and_then(|all| all.wanted.get(&wanted.name));
        let each = plan.sockets.iter().map(|wanted| match held(wanted) {
            Some(open) => Ok(Rc::clone(open)),
            None => opened(wanted).map(Rc::new),
        });
        each.collect()
    }
}

impl Open {
    /// Whether its start has it alone: then it is closed when that closes it.
    pub(super) fn is_own(&self) -> bool {
        self.plan.reuse_port
    }

    /// Its number, for the child.
    pub(super) fn number(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

fn same_place(a: &SocketPlan, b: &SocketPlan) -> bool {
    let place = match (&a.listen, &b.listen) {
        (Listen::Inet(a), Listen::Inet(b)) => a == b,
        (Listen::Unix { path: a, .. }, Listen::Unix { path: b, .. }) => a == b,
        (Listen::Inet(_), Listen::Unix { .. }) | (Listen::Unix { .. }, Listen::Inet(_)) => false,
    };
    place && a.udp == b.udp && !a.reuse_port && !b.reuse_port
}

fn file_of(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|meta| (meta.dev(), meta.ino()))
}

impl Hold {
    /// What a start gets from descriptor 3 on: its sockets, then what it had kept.
    pub(super) fn handed(&self, plan: &SpawnPlan, sockets: &[Rc<Open>]) -> Handed {
        let mut handed = Handed::default();
        handed.numbers.extend(sockets.iter().map(|open| open.number()));
        handed.names.extend(plan.sockets.iter().map(|one| one.name.clone()));
        if plan.notify {
            let (numbers, names) = self.stored(&plan.unit, &plan.instance);
            handed.numbers.extend(numbers);
            handed.names.extend(names);
        }
        handed
    }

    /// Carries `Sockets` out.
    pub(in crate::runner) fn want_sockets(&mut self, unit: &UnitKey, wanted: &[SocketPlan]) {
        if let Err(message) = self.sockets.want(unit, wanted) {
            let unit = unit.clone();
            let instance = String::new();
            self.warnings.push(Notice::Warning { unit, instance, message, controller: None });
        }
    }

    /// The units that sockets are held for.
    pub(in crate::runner) fn listening(&self) -> Vec<UnitKey> {
        let wanting = self.sockets.0.iter().filter(|(_, of_unit)| !of_unit.wanted.is_empty());
        wanting.map(|(unit, _)| unit.clone()).collect()
    }
}

fn opened(plan: &SocketPlan) -> Result<Open, String> {
    let socket = open(plan).map_err(|error| failed(plan, &error))?;
    let file = match &plan.listen {
        Listen::Unix { path, .. } => file_of(path.as_path()),
        Listen::Inet(_) => None,
    };
    Ok(Open { plan: plan.clone(), socket, file })
}

fn failed(plan: &SocketPlan, error: &io::Error) -> String {
    let taken = error.raw_os_error() == Some(nix::libc::EADDRINUSE);
    let by = if taken { holder::of(&plan.listen.address(), plan.udp) } else { None };
    let by = by.map(|who| format!(" by {who}")).unwrap_or_default();
    format!("{}: {error}{by}", cannot(plan))
}

fn cannot(plan: &SocketPlan) -> String {
    format!("cannot listen on {} (socket \"{}\")", plan.listen.text(), plan.name)
}

fn open(plan: &SocketPlan) -> io::Result<OwnedFd> {
    let kind = if plan.udp { SockType::Datagram } else { SockType::Stream };
    // Without SOCK_NONBLOCK, as systemd hands them on by default (systemd.socket(5)).
    let made = |family| socket(family, kind, SockFlag::SOCK_CLOEXEC, None);
    let made = match &plan.listen {
        Listen::Inet(address) => {
            let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
            let made = made(family)?;
            if !plan.udp {
                setsockopt(&made, sockopt::ReuseAddr, &true)?;
            }
            if plan.reuse_port {
                setsockopt(&made, sockopt::ReusePort, &true)?;
            }
            match address {
                SocketAddr::V4(address) => bind(made.as_raw_fd(), &SockaddrIn::from(*address))?,
                SocketAddr::V6(address) => bind(made.as_raw_fd(), &SockaddrIn6::from(*address))?,
            }
            made
        }
        Listen::Unix { path, .. } => {
            let path = path.as_path();
            clear(path, kind)?;
            let made = made(AddressFamily::Unix)?;
            bind(made.as_raw_fd(), &UnixAddr::new(path)?)?;
            dressed(&plan.listen)?;
            made
        }
    };
    if !plan.udp {
        listen(&made, Backlog::MAXCONN)?;
    }
    Ok(made)
}

/// Gives a unix socket's file its owner and mode.
fn dressed(listen: &Listen) -> io::Result<()> {
    let Listen::Unix { path, mode, uid, gid } = listen else { return Ok(()) };
    let path = path.as_path();
    if uid.is_some() || gid.is_some() {
        chown(path, uid.map(Uid::from_raw), gid.map(Gid::from_raw))?;
    }
    fs::set_permissions(path, Permissions::from_mode(mode.unwrap_or(0o666)))
}

/// Removes a file that a socket left behind on which nobody listens any more. Does not wait: a listener
/// whose queue is full is one (EAGAIN, unix(7)).
fn clear(path: &Path, kind: SockType) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.file_type().is_socket() => {
            let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
            let probe = socket(AddressFamily::Unix, kind, flags, None)?;
            match connect(probe.as_raw_fd(), &UnixAddr::new(path)?) {
                Err(Errno::ECONNREFUSED) => fs::remove_file(path),
                _ => Err(Errno::EADDRINUSE.into()),
            }
        }
        Ok(_) => Err(io::Error::other("there is a file that is not a socket")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}
