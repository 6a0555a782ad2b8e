//! Listening sockets, by unit and name.
//!
//! Responsible for opening each once and for holding it open from one start to the next, whether a daemon
//! is there or not: whoever connects meanwhile waits in the kernel's queue. Must not know why a socket is
//! wanted, and must not wait for anybody.

use super::Hold;
use crate::core::id::UnitKey;
use crate::os::holder;
use crate::runner::protocol::{Listen, Notice, SOCKETS_MAX, SocketPlan, SpawnPlan};
use crate::runner::spawn::Handed;
use nix::errno::Errno;
use nix::fcntl::{self, AtFlags, OFlag};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, SockaddrIn6, UnixAddr, bind, connect,
    listen, setsockopt, socket, sockopt,
};
use nix::sys::stat::{Mode, SFlag, fstat};
use nix::unistd::{Gid, Uid, fchownat};
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
            let here = self.at(plan).and_then(|open| Some((open.in_place()?, open)));
            let open = match here {
                Some((file, open)) => {
                    file.dress(&plan.listen).map(|()| open).map_err(|e| failed(plan, &e))
                }
                None => opened(plan).map(Rc::new),
            };
            match open {
                Ok(open) => drop(next.insert(plan.name.clone(), open)),
                Err(error) => result = result.and(Err(error)),
            }
        }
        let before = std::mem::replace(&mut self.wanted, next);
        let given_up =
            |open: &&Rc<Open>| !self.wanted.values().any(|wanted| Rc::ptr_eq(wanted, open));
        self.former.extend(before.values().filter(given_up).map(Rc::downgrade));
        self.tidy();
        result
    }

    /// Forgets what is closed, and what is wanted again.
    fn tidy(&mut self) {
        let wanted: Vec<*const Open> = self.wanted.values().map(Rc::as_ptr).collect();
        self.former.retain(|open| open.strong_count() > 0 && !wanted.contains(&open.as_ptr()));
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
        drop(left);
        self.0.values_mut().for_each(OfUnit::tidy);
        self.0.retain(|_, of_unit| !of_unit.wanted.is_empty() || !of_unit.former.is_empty());
        result
    }

    /// One at the plan's place that another unit wanted before.
    ///
    /// # Errors
    /// The unit that wants it now.
    fn elsewhere(&self, unit: &UnitKey, plan: &SocketPlan) -> Result<Option<Rc<Open>>, &UnitKey> {
        let has = |own: &OfUnit| own.wanted.values().any(|open| same_place(&open.plan, plan));
        if self.0.get(unit).is_some_and(has) {
            return Ok(None);
        }
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
    /// Its file, or that it has none; `None`: somebody else's is where its file was.
    fn in_place(&self) -> Option<SocketFile> {
        match &self.plan.listen {
            Listen::Inet(_) => Some(SocketFile(None)),
            Listen::Unix { path, .. } => {
                let file = SocketFile::open(path.as_path()).ok()?;
                (file.id().ok() == self.file).then_some(file)
            }
        }
    }

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
    pub(super) fn handed(&mut self, plan: &SpawnPlan, sockets: &[Rc<Open>]) -> Handed {
        let mut handed = Handed::default();
        handed.numbers.extend(sockets.iter().map(|open| open.number()));
        handed.names.extend(plan.sockets.iter().map(|one| one.name.clone()));
        if plan.notify {
            let (numbers, names) = self.stored(&plan.unit, &plan.instance);
            let room = SOCKETS_MAX.saturating_sub(sockets.len());
            if numbers.len() > room {
                let (unit, instance) = (plan.unit.clone(), plan.instance.clone());
                let message = format!(
                    "only {room} of {} descriptors that are kept for it are handed over: with its \
                     [[sockets]] there is room for {SOCKETS_MAX}",
                    numbers.len()
                );
                self.warnings.push(Notice::Warning { unit, instance, message, controller: None });
            }
            handed.numbers.extend(numbers.into_iter().take(room));
            handed.names.extend(names.into_iter().take(room));
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
    let (socket, file) = open(plan).map_err(|error| failed(plan, &error))?;
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

/// The socket, and of a unix socket device and number of its file.
fn open(plan: &SocketPlan) -> io::Result<(OwnedFd, Option<(u64, u64)>)> {
    let kind = if plan.udp { SockType::Datagram } else { SockType::Stream };
    // Without SOCK_NONBLOCK, as systemd hands them on by default (systemd.socket(5)).
    let made = |family| socket(family, kind, SockFlag::SOCK_CLOEXEC, None);
    let mut id = None;
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
            let file = SocketFile::open(path)?;
            file.is_ours()?;
            file.dress(&plan.listen)?;
            id = Some(file.id()?);
            made
        }
    };
    if !plan.udp {
        listen(&made, Backlog::MAXCONN)?;
    }
    Ok((made, id))
}

/// The file of a unix socket, held by itself (O_PATH) and not by its name: the directory may belong to
/// somebody who puts a link to another file in its place. `None`: there is none.
struct SocketFile(Option<OwnedFd>);

impl SocketFile {
    fn open(path: &Path) -> io::Result<SocketFile> {
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        Ok(SocketFile(Some(fcntl::open(path, flags, Mode::empty())?)))
    }

    /// Device and number.
    fn id(&self) -> io::Result<(u64, u64)> {
        let file = self.0.as_ref().ok_or(io::ErrorKind::NotFound)?;
        let stat = fstat(file)?;
        Ok((stat.st_dev, stat.st_ino))
    }

    /// Whether it can be what we have just made: a socket, of our own.
    fn is_ours(&self) -> io::Result<()> {
        let file = self.0.as_ref().ok_or(io::ErrorKind::NotFound)?;
        let stat = fstat(file)?;
        let is_socket = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFSOCK;
        match is_socket && stat.st_uid == crate::os::user::effective_uid() {
            true => Ok(()),
            false => Err(io::Error::other("somebody else has put another file in its place")),
        }
    }

    /// Gives it its owner and mode.
    fn dress(&self, listen: &Listen) -> io::Result<()> {
        let (Listen::Unix { mode, uid, gid, .. }, Some(file)) = (listen, &self.0) else {
            return Ok(());
        };
        if uid.is_some() || gid.is_some() {
            let (uid, gid) = (uid.map(Uid::from_raw), gid.map(Gid::from_raw));
            fchownat(file, "", uid, gid, AtFlags::AT_EMPTY_PATH)?;
        }
        // A descriptor that only names a file takes no fchmod(2) (open(2), O_PATH).
        let by_number = format!("/proc/self/fd/{}", file.as_raw_fd());
        fs::set_permissions(by_number, Permissions::from_mode(mode.unwrap_or(0o666)))
    }
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
