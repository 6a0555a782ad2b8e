//! Listening sockets, by unit and name.
//!
//! Responsible for opening each once and for holding it open from one start to the next, whether a daemon
//! is there or not: whoever connects meanwhile waits in the kernel's queue. Must not know why a socket is
//! wanted.

use super::Hold;
use crate::core::id::UnitKey;
use crate::os::holder;
use crate::runner::protocol::{Listen, Notice, SocketPlan, SpawnPlan};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, SockaddrIn6, UnixAddr, bind, listen,
    setsockopt, socket, sockopt,
};
use nix::unistd::{Gid, Uid, chown};
use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;

/// One that is held.
#[derive(Debug)]
struct Open {
    plan: SocketPlan,
    socket: OwnedFd,
}

impl Drop for Open {
    fn drop(&mut self) {
        // The name goes with the socket; one that somebody else has taken meanwhile stays.
        if let Listen::Unix { path, .. } = &self.plan.listen
            && UnixStream::connect(path.as_path()).is_ok()
        {
            let _gone = fs::remove_file(path.as_path());
        }
    }
}

/// All that are held.
#[derive(Debug, Default)]
pub(super) struct Sockets(BTreeMap<UnitKey, BTreeMap<String, Open>>);

/// The sockets of one start.
#[derive(Debug, Default)]
pub(super) struct Handed {
    /// Their numbers, in the order of the plan.
    pub(super) numbers: Vec<RawFd>,
    /// Those that are this start's own; closed once it runs.
    _own: Vec<OwnedFd>,
}

impl Sockets {
    /// Opens what is wanted and not open, and closes what is open and not wanted any more.
    ///
    /// # Errors
    /// One that cannot be opened; for people.
    fn want(&mut self, unit: &UnitKey, wanted: &[SocketPlan]) -> Result<(), String> {
        let shared = || wanted.iter().filter(|plan| !plan.reuse_port);
        let of_unit = self.0.entry(unit.clone()).or_default();
        of_unit.retain(|_, open| shared().any(|plan| *plan == open.plan));
        let mut result = Ok(());
        for plan in shared() {
            if of_unit.contains_key(&plan.name) {
                continue;
            }
            match opened(plan) {
                Ok(socket) => {
                    of_unit.insert(plan.name.clone(), Open { plan: plan.clone(), socket });
                }
                Err(error) => result = result.and(Err(error)),
            }
        }
        if of_unit.is_empty() {
            self.0.remove(unit);
        }
        result
    }

    /// The sockets for a start of this plan.
    ///
    /// # Errors
    /// One that cannot be opened; for people.
    pub(super) fn hand(&mut self, plan: &SpawnPlan) -> Result<Handed, String> {
        if plan.sockets.is_empty() {
            return Ok(Handed::default());
        }
        self.want(&plan.unit, &plan.sockets)?;
        let mut handed = Handed::default();
        for wanted in &plan.sockets {
            let held = self.0.get(&plan.unit).and_then(|all| all.get(&wanted.name));
            match held {
                Some(open) => handed.numbers.push(open.socket.as_raw_fd()),
                None => {
                    let own = opened(wanted)?;
                    handed.numbers.push(own.as_raw_fd());
                    handed._own.push(own);
                }
            }
        }
        Ok(handed)
    }
}

impl Hold {
    /// Carries `Sockets` out.
    pub(in crate::runner) fn want_sockets(&mut self, unit: &UnitKey, wanted: &[SocketPlan]) {
        if let Err(message) = self.sockets.want(unit, wanted) {
            let unit = unit.clone();
            let instance = String::new();
            self.warnings.push(Notice::Warning { unit, instance, message, controller: None });
        }
    }

    /// Whether sockets are held for a daemon that may come.
    pub(in crate::runner) fn holds_sockets(&self) -> bool {
        !self.sockets.0.is_empty()
    }
}

fn opened(plan: &SocketPlan) -> Result<OwnedFd, String> {
    open(plan).map_err(|error| {
        let taken = error.raw_os_error() == Some(nix::libc::EADDRINUSE);
        let by = if taken { holder::of(&plan.listen.address(), plan.udp) } else { None };
        let by = by.map(|who| format!(" by {who}")).unwrap_or_default();
        format!("cannot listen on {} (socket \"{}\"): {error}{by}", plan.listen.text(), plan.name)
    })
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
        Listen::Unix { path, mode, uid, gid } => {
            let path = path.as_path();
            clear(path)?;
            let made = made(AddressFamily::Unix)?;
            bind(made.as_raw_fd(), &UnixAddr::new(path)?)?;
            if uid.is_some() || gid.is_some() {
                chown(path, uid.map(Uid::from_raw), gid.map(Gid::from_raw))?;
            }
            fs::set_permissions(path, Permissions::from_mode(mode.unwrap_or(0o666)))?;
            made
        }
    };
    if !plan.udp {
        listen(&made, Backlog::MAXCONN)?;
    }
    Ok(made)
}

/// A file that a socket left behind on which nobody listens any more.
fn clear(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.file_type().is_socket() => match UnixStream::connect(path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
            _ => Err(io::Error::from_raw_os_error(nix::libc::EADDRINUSE)),
        },
        Ok(_) => Err(io::Error::other("there is a file that is not a socket")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}
