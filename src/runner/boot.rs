//! The runner's first steps.
//!
//! Responsible for becoming a process of its own, for being the only runner of its directory, and
//! for saying when it listens. Must not start anything.

use super::cgroup::Cgroups;
use super::hold::notify::Notify;
use super::launch::READY;
use super::orphans;
use super::protocol::{RlimitPlan, SOCKET_NAME, TreeMode};
use super::spawn::Spawner;
use super::sys;
use crate::os::socket;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::{setsockopt, sockopt::PassCred};
use nix::sys::stat::{Mode, umask};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};

/// Room for so many listening sockets: more are opened as long as there are descriptors.
const SOCKETS_USUAL: u64 = 128;

/// Where programs send what they say of themselves, in the runtime directory.
const NOTIFY_NAME: &str = "notify.sock";

/// Descriptors for the runner itself: sockets, the poller, connections, log files that are kept
/// open, hooks and probes, listening sockets, what programs gave us to keep, a start that is under way.
const FILES_OF_OUR_OWN: u64 = 64
    + SOCKETS_USUAL
    + super::hold::OPEN_LOGS_MAX as u64
    + 2 * super::hold::EXECS_MAX as u64
    + super::hold::KEPT_MAX_ALL as u64;

/// Descriptors for a start: its process, its two pipes, and one for what happens to it (its
/// cgroup's events while it ends, its log file while it is written).
const FILES_OF_A_START: u64 = 4;

/// A runner holds no more than this, however many descriptors it may have: with more, one process
/// would be the bottleneck.
const STARTS_MAX: u64 = 16_384;

/// How a runner is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// The runtime directory; absolute.
    pub runtime_dir: PathBuf,
    /// Use process groups even where cgroups could be used.
    pub no_cgroup: bool,
    /// Start programs the plain way even where clone3 works.
    pub no_clone3: bool,
    /// Where the journal listens.
    pub journal: PathBuf,
}

/// What the first steps give.
pub(super) struct Booted {
    pub(super) listener: UnixListener,
    pub(super) socket: PathBuf,
    pub(super) spawner: Spawner,
    pub(super) cgroups: Option<Cgroups>,
    pub(super) mode: TreeMode,
    pub(super) journal: PathBuf,
    pub(super) notify: Notify,
    /// Held as long as this runner lives.
    pub(super) lock: Flock<File>,
    /// How many starts can be held.
    pub(super) capacity: u64,
    /// The limit of descriptors for programs whose unit names none: the one that we had.
    pub(super) files: Option<RlimitPlan>,
}

/// Where a starting runner says that it listens, or why it cannot.
pub(super) struct Herald(Option<File>);

impl Herald {
    /// Takes stdout for it.
    pub(super) fn new() -> Herald {
        let copy = io::stdout().as_fd().try_clone_to_owned();
        Herald(copy.ok().map(|fd: OwnedFd| File::from(fd)))
    }

    /// Says it, once. Nobody may be listening any more; that is no matter.
    pub(super) fn say(&mut self, text: &str) {
        if let Some(mut file) = self.0.take() {
            let _heard = file.write_all(text.as_bytes());
        }
    }
}

/// Becomes a session of its own and lets go of everything that was inherited.
///
/// # Errors
/// As fork(2).
pub(super) fn detach() -> io::Result<()> {
    sys::detach()?;
    nix::unistd::setsid()?;
    std::env::set_current_dir("/")?;
    // Whatever whoever started us had ignored or blocked.
    sys::default_signal(nix::libc::SIGCHLD);
    nix::sys::signal::SigSet::empty().thread_set_mask()?;
    // A terminal, and whoever ends a whole session, must not take the instances' parent away. It
    // goes when its daemon says so, or when there is nothing to hold.
    let others = [nix::libc::SIGHUP, nix::libc::SIGINT, nix::libc::SIGQUIT, nix::libc::SIGTERM];
    // A log file that may not grow is no reason to die.
    for signal in others.into_iter().chain([nix::libc::SIGXFSZ]) {
        sys::ignore_signal(signal);
    }
    Ok(())
}

/// The rest of the first steps. `None`: another runner serves this directory already.
///
/// # Errors
/// With the reason for people.
pub(super) fn boot(options: &Options) -> Result<Option<Booted>, String> {
    let dir = &options.runtime_dir;
    let said = |what: &str| {
        let what = format!("{what} `{}`", dir.display());
        move |error: &dyn std::fmt::Display| format!("{what}: {error}")
    };
    let socket_path = dir.join(SOCKET_NAME);
    let Some(lock) = lock(dir, &socket_path).map_err(|e| said("cannot lock")(&e))? else {
        return Ok(None);
    };
    let mut spawner = Spawner::new().map_err(|e| format!("cannot prepare to start: {e}"))?;
    let (cgroups, mode) = trees(options, &mut spawner);
    if options.no_clone3 {
        spawner.force_fork();
    }
    if cgroups.is_none() {
        nix::sys::prctl::set_child_subreaper(true)
            .map_err(|e| format!("cannot adopt orphans: {e}"))?;
    }
    let listener = listen(&socket_path).map_err(|e| said("cannot listen in")(&e))?;
    let (capacity, files) = take_descriptors();
    Ok(Some(Booted {
        listener,
        socket: socket_path,
        spawner,
        cgroups,
        mode,
        journal: options.journal.clone(),
        notify: Notify::new(hear_at(dir)),
        lock,
        capacity,
        files,
    }))
}

/// Takes all descriptors that we may have. Gives how many starts they are enough for, and the
/// limit that we had, which is the one that programs expect (select(2) fails beyond 1024).
fn take_descriptors() -> (u64, Option<RlimitPlan>) {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return (STARTS_MAX, None) };
    let limit = match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => hard,
        Err(_) => soft,
    };
    let starts = limit.saturating_sub(FILES_OF_OUR_OWN) / FILES_OF_A_START;
    let known = |value: u64| (value != nix::libc::RLIM_INFINITY).then_some(value);
    let files = RlimitPlan { resource: "nofile".into(), soft: known(soft), hard: known(hard) };
    (starts.clamp(1, STARTS_MAX), Some(files))
}

/// Becomes the directory's only runner. A predecessor that no longer listens is waited for: it
/// is stopping what it holds. `None`: there is one that listens.
fn lock(dir: &Path, socket_path: &Path) -> io::Result<Option<Flock<File>>> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(dir.join("runner.lock"))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(Some(lock)),
        Err((file, nix::Error::EWOULDBLOCK)) => {
            if socket::connect(socket_path).is_ok() {
                return Ok(None);
            }
            match Flock::lock(file, FlockArg::LockExclusive) {
                Ok(lock) => Ok(Some(lock)),
                Err((_, error)) => Err(error.into()),
            }
        }
        Err((_, error)) => Err(error.into()),
    }
}

fn listen(path: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        // A dead runner's: we have the lock.
        _ => {}
    }
    // Nobody else may ever connect, not even between bind and chmod.
    umask(Mode::from_bits_truncate(0o077));
    let listener = socket::bind(path)?;
    umask(Mode::from_bits_truncate(0o027));
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Where programs send what they say of themselves. Everybody may send: who has sent what is told by
/// the kernel.
///
/// # Errors
/// Why there is no such socket, for people: it must not keep other programs from running.
fn hear_at(dir: &Path) -> Result<(UnixDatagram, PathBuf), String> {
    let path = dir.join(NOTIFY_NAME);
    let said = |error: &dyn std::fmt::Display| format!("`{}`: {error}", path.display());
    let len = path.as_os_str().len();
    if len > socket::SUN_PATH_MAX {
        let most = socket::SUN_PATH_MAX;
        return Err(said(&format!("a socket's path has at most {most} bytes, this one {len}")));
    }
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(said(&error)),
        _ => {}
    }
    let made = UnixDatagram::bind(&path).and_then(|made| {
        made.set_nonblocking(true)?;
        setsockopt(&made, PassCred, &true)?;
        fs::set_permissions(&path, Permissions::from_mode(0o666))?;
        Ok(made)
    });
    made.map(|made| (made, path.clone())).map_err(|error| said(&error))
}

/// Finds the best way to hold trees.
fn trees(options: &Options, spawner: &mut Spawner) -> (Option<Cgroups>, TreeMode) {
    let found = if options.no_cgroup {
        Err("cgroups are switched off".to_string())
    } else {
        Cgroups::find(&options.runtime_dir)
    };
    let tried = found.and_then(|mut cgroups| {
        let failed = |error: io::Error, at: &Path| {
            format!("cannot put processes into cgroups in {}: {error}", at.display())
        };
        let path = cgroups.path().to_path_buf();
        let (group, dir) = cgroups.make("probe").map_err(|error| failed(error, &path))?;
        let probed = spawner.probe(Some(dir.as_fd()));
        cgroups.remove(group);
        cgroups.clear();
        if let Err(error) = probed {
            cgroups.remove_all();
            return Err(failed(error, &path));
        }
        Ok((cgroups, path))
    });
    match tried {
        Ok((cgroups, path)) => {
            (Some(cgroups), TreeMode::Cgroup { path: path.to_string_lossy().into_owned() })
        }
        Err(reason) => {
            if let Err(left) = orphans::clear_leftovers(&options.runtime_dir) {
                note(&left);
            }
            // Without a cgroup this does not fail: at worst, fork is used.
            let _probed = spawner.probe(None);
            (None, TreeMode::ProcessGroups { reason })
        }
    }
}

/// A line in `runner.log`, which is our stderr.
pub(super) fn note(text: &str) {
    let _written = writeln!(io::stderr(), "[{}] {text}", std::process::id());
}

/// Says why there is no runner.
pub(super) fn fail(herald: &mut Herald, reason: &str) {
    note(reason);
    herald.say(&format!("cannot start the runner: {reason}\n"));
}

/// The word that the socket can be connected to.
pub(super) fn ready(herald: &mut Herald) {
    herald.say(READY);
}
