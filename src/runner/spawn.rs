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

use super::protocol::{Bytes, Credentials, SpawnPlan};
use super::sys;
use nix::libc;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::ffi::{CString, c_char, c_void};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};

/// CPUs that an affinity can name; more than any machine has today (the kernel's own limit is
/// 8192).
const CPUS_MAX: usize = 8192;

/// The mask where the plan names none: what most systems give to services.
const DEFAULT_UMASK: u32 = 0o022;

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

/// What the child was at when it failed. Kept as a number in shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
enum Step {
    Cgroup = 1,
    Session,
    Limit,
    Nice,
    OomScore,
    Affinity,
    Groups,
    Group,
    User,
    Directory,
    Signals,
    Exec,
}

impl Step {
    const ALL: [Step; 12] = [
        Step::Cgroup,
        Step::Session,
        Step::Limit,
        Step::Nice,
        Step::OomScore,
        Step::Affinity,
        Step::Groups,
        Step::Group,
        Step::User,
        Step::Directory,
        Step::Signals,
        Step::Exec,
    ];
}

/// Where the child leaves word. 0 in `step`: all went well.
#[repr(C)]
struct Word {
    step: AtomicU32,
    errno: AtomicI32,
    /// Which of several: limits, candidates.
    item: AtomicU32,
}

/// Everything that the child reads. Pointers into [`Prepared`].
struct ChildData {
    word: *const Word,
    /// The descriptor table is a copy of ours, not ours itself.
    own_table: bool,
    /// `cgroup.procs`, to be joined by writing; -1: born in it, or none.
    cgroup_procs: i32,
    limits: *const (u32, libc::rlimit64),
    limit_count: usize,
    nice: Option<i32>,
    oom: *const u8,
    oom_len: usize,
    affinity: *const u8,
    affinity_len: usize,
    groups: *const u32,
    group_count: usize,
    ids: Option<(u32, u32)>,
    umask: u32,
    cwd: *const c_char,
    ignored: u64,
    candidates: *const *const c_char,
    candidate_count: usize,
    argv: *const *const c_char,
    envp: *const *const c_char,
}

/// A list of strings as execve wants it.
struct Strings {
    _owned: Vec<CString>,
    pointers: Vec<*const c_char>,
}

impl Strings {
    fn new(list: &[Bytes], what: &str) -> Result<Strings, String> {
        let owned = list
            .iter()
            .map(|bytes| c_string(bytes, what))
            .collect::<Result<Vec<CString>, String>>()?;
        let mut pointers: Vec<*const c_char> = owned.iter().map(|s| s.as_ptr()).collect();
        pointers.push(ptr::null());
        Ok(Strings { _owned: owned, pointers })
    }
}

fn c_string(bytes: &Bytes, what: &str) -> Result<CString, String> {
    CString::new(bytes.as_bytes())
        .map_err(|_| format!("{what} has a zero byte in it: `{}`", bytes.to_text()))
}

/// The names of resource limits in unit files, with the kernel's numbers (getrlimit(2)).
#[allow(clippy::unnecessary_cast, reason = "not every libc has them as u32")]
const LIMITS: [(&str, u32); 16] = [
    ("as", libc::RLIMIT_AS as u32),
    ("core", libc::RLIMIT_CORE as u32),
    ("cpu", libc::RLIMIT_CPU as u32),
    ("data", libc::RLIMIT_DATA as u32),
    ("fsize", libc::RLIMIT_FSIZE as u32),
    ("locks", libc::RLIMIT_LOCKS as u32),
    ("memlock", libc::RLIMIT_MEMLOCK as u32),
    ("msgqueue", libc::RLIMIT_MSGQUEUE as u32),
    ("nice", libc::RLIMIT_NICE as u32),
    ("nofile", libc::RLIMIT_NOFILE as u32),
    ("nproc", libc::RLIMIT_NPROC as u32),
    ("rss", libc::RLIMIT_RSS as u32),
    ("rtprio", libc::RLIMIT_RTPRIO as u32),
    ("rttime", libc::RLIMIT_RTTIME as u32),
    ("sigpending", libc::RLIMIT_SIGPENDING as u32),
    ("stack", libc::RLIMIT_STACK as u32),
];

fn number_of(limit: &str) -> Option<u32> {
    LIMITS.iter().find(|(name, _)| *name == limit).map(|(_, number)| *number)
}

/// A plan in the kernel's own terms.
struct Prepared {
    candidates: Strings,
    argv: Strings,
    envp: Strings,
    cwd: CString,
    limits: Vec<(u32, libc::rlimit64)>,
    oom: Vec<u8>,
    affinity: Vec<u8>,
    credentials: Option<Credentials>,
}

impl Prepared {
    fn new(plan: &SpawnPlan, nofile: libc::rlimit64) -> Result<Prepared, String> {
        if plan.argv.is_empty() || plan.candidates.is_empty() {
            return Err("the command is empty".into());
        }
        let mut limits = plan
            .rlimits
            .iter()
            .map(|limit| {
                let number = number_of(&limit.resource)
                    .ok_or_else(|| format!("no such resource limit: `{}`", limit.resource))?;
                let value = |v: Option<u64>| v.unwrap_or(libc::RLIM64_INFINITY);
                let (rlim_cur, rlim_max) = (value(limit.soft), value(limit.hard));
                Ok((number, libc::rlimit64 { rlim_cur, rlim_max }))
            })
            .collect::<Result<Vec<_>, String>>()?;
        if !plan.rlimits.iter().any(|limit| limit.resource == "nofile") {
            limits.push((number_of("nofile").unwrap_or(u32::MAX), nofile));
        }
        Ok(Prepared {
            candidates: Strings::new(&plan.candidates, "the command")?,
            argv: Strings::new(&plan.argv, "a word of the command")?,
            envp: Strings::new(&plan.envp, "a variable")?,
            cwd: c_string(&plan.cwd, "the working directory")?,
            limits,
            oom: plan.oom_score_adj.map(|adj| adj.to_string().into_bytes()).unwrap_or_default(),
            affinity: affinity_mask(plan.cpu_affinity.as_deref())?,
            credentials: plan.credentials.clone().filter(|wanted| !is_us(wanted)),
        })
    }

    fn child_data(&self, plan: &SpawnPlan, word: *const Word, ignored: u64) -> ChildData {
        let groups = self.credentials.as_ref().map(|c| c.groups.as_slice()).unwrap_or_default();
        ChildData {
            word,
            own_table: false,
            cgroup_procs: -1,
            limits: self.limits.as_ptr(),
            limit_count: self.limits.len(),
            nice: plan.nice,
            oom: self.oom.as_ptr(),
            oom_len: self.oom.len(),
            affinity: self.affinity.as_ptr(),
            affinity_len: self.affinity.len(),
            groups: groups.as_ptr(),
            group_count: groups.len(),
            ids: self.credentials.as_ref().map(|c| (c.uid, c.gid)),
            umask: plan.umask.unwrap_or(DEFAULT_UMASK) & 0o777,
            cwd: self.cwd.as_ptr(),
            ignored,
            candidates: self.candidates.pointers.as_ptr(),
            candidate_count: self.candidates.pointers.len() - 1,
            argv: self.argv.pointers.as_ptr(),
            envp: self.envp.pointers.as_ptr(),
        }
    }
}

/// Whether a normal user's wish is to stay who they are; asking the kernel would be refused.
fn is_us(wanted: &Credentials) -> bool {
    let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
    uid != 0 && (wanted.uid, wanted.gid) == (uid, gid)
}

fn affinity_mask(cpus: Option<&[u32]>) -> Result<Vec<u8>, String> {
    let Some(cpus) = cpus else { return Ok(Vec::new()) };
    // The kernel takes whole words only.
    let mut mask = vec![0_u8; CPUS_MAX / 8];
    for cpu in cpus {
        let byte = mask
            .get_mut(*cpu as usize / 8)
            .ok_or_else(|| format!("cpu_affinity: there is no CPU {cpu}"))?;
        *byte |= 1 << (cpu % 8);
    }
    Ok(mask)
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
        let prepared = Prepared::new(plan, self.nofile)
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
                Err(explain_step(plan, step, errno, item))
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

    /// Makes our 0, 1 and 2 the child's.
    fn install(&self, stdio: &Stdio<'_>) -> io::Result<()> {
        dup_to(self.null.as_fd(), 0)?;
        dup_to(stdio.stdout.unwrap_or(self.null.as_fd()), 1)?;
        dup_to(stdio.stderr.unwrap_or(self.null.as_fd()), 2)
    }

    /// Makes our 0, 1 and 2 our own again, so that no end of a pipe stays with us.
    fn restore(&self) -> io::Result<()> {
        dup_to(self.null.as_fd(), 0)?;
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

/// In a probing child: joins the cgroup and ends, 0 for success.
fn write_self(procs: i32) {
    // SAFETY: a write of one byte from a constant; then the child is gone.
    unsafe {
        let written = libc::syscall(libc::SYS_write, procs, c"0".as_ptr(), 1);
        exit_child(if written == 1 { 0 } else { 1 })
    }
}

/// Reaps a child that ends by itself, now.
fn reap_failed(pidfd: &OwnedFd) {
    use nix::poll::{PollFd, PollFlags, poll};
    let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
    // If it takes longer than that, an orphans' sweep or our own end reaps it.
    let _waited = poll(&mut fds, FAILED_CHILD_MS);
    let _reaped = sys::wait(sys::Wait::Pidfd(pidfd.as_fd()));
}

fn text_of(errno: i32) -> &'static str {
    nix::Error::from_raw(errno).desc()
}

fn explain_start(plan: &SpawnPlan, error: &io::Error) -> String {
    let why = error.raw_os_error().map_or_else(|| error.to_string(), |e| text_of(e).to_string());
    let help = match error.raw_os_error() {
        Some(libc::EAGAIN) => " (too many processes: see `ulimit -u`, pids.max)",
        Some(libc::EMFILE) => " (too many open files: see `ulimit -n`)",
        _ => "",
    };
    format!("cannot start {}: clone: {why}{help}", plan.instance)
}

fn explain_step(plan: &SpawnPlan, step: Step, errno: i32, item: usize) -> String {
    let why = text_of(errno);
    let who = plan.credentials.as_ref();
    let (uid, gid) = who.map_or((0, 0), |c| (c.uid, c.gid));
    let only_root = if errno == libc::EPERM && !nix::unistd::geteuid().is_root() {
        " (only root may start programs as somebody else)"
    } else {
        ""
    };
    let what = match step {
        Step::Exec => return explain_exec(plan, errno, item),
        Step::Directory => {
            let whose = if who.is_some() { format!(" as user {uid}") } else { String::new() };
            return format!(
                "cannot enter working directory `{}`{whose}: {why}",
                plan.cwd.to_text()
            );
        }
        Step::Cgroup => "joining its cgroup".to_string(),
        Step::Session => "setsid".to_string(),
        Step::Limit => {
            let limit = plan.rlimits.get(item).map_or("", |l| l.resource.as_str());
            format!("limit {limit}")
        }
        Step::Nice => format!("nice {}", plan.nice.unwrap_or(0)),
        Step::OomScore => format!("oom_score_adj {}", plan.oom_score_adj.unwrap_or(0)),
        Step::Affinity => format!("cpu_affinity {:?}", plan.cpu_affinity.as_deref().unwrap_or(&[])),
        Step::Groups => "setgroups".to_string(),
        Step::Group => format!("setgid {gid}"),
        Step::User => format!("setuid {uid}"),
        Step::Signals => "resetting signals".to_string(),
    };
    let only_root = match step {
        Step::Groups | Step::Group | Step::User => only_root,
        _ => "",
    };
    format!("cannot start {}: {what}: {why}{only_root}", plan.instance)
}

fn explain_exec(plan: &SpawnPlan, errno: i32, item: usize) -> String {
    let name = plan.argv.first().map(Bytes::to_text).unwrap_or_default();
    let place = plan.candidates.get(item).map(Bytes::to_text).unwrap_or_default();
    if errno == libc::ENOENT || errno == libc::ENOTDIR {
        // What is there and still "not found" lacks its interpreter.
        let there = plan.candidates.iter().find(|c| plan.cwd.as_path().join(c.as_path()).exists());
        if let Some(there) = there {
            return format!(
                "cannot run `{}`: the interpreter in its first line, or its dynamic loader, \
                 does not exist",
                there.to_text()
            );
        }
        if name.contains('/') {
            return format!("command not found: `{name}`");
        }
        let path: Vec<String> = plan
            .candidates
            .iter()
            .map(|c| c.to_text())
            .map(|c| c.strip_suffix(&format!("/{name}")).unwrap_or(&c).to_string())
            .collect();
        return format!("command not found: `{name}` (searched PATH {})", path.join(":"));
    }
    let help = match errno {
        libc::ENOEXEC => " (a script needs a first line such as `#!/bin/sh`)",
        libc::EACCES => " (is it executable, and may the user reach it?)",
        libc::E2BIG => " (arguments and environment are too long)",
        _ => "",
    };
    format!("cannot run `{place}`: {}{help}", text_of(errno))
}

// ---- The child's side. No allocation, no locks, no libc state: raw system calls only. ----

/// Ends the child at once.
unsafe fn exit_child(code: i32) -> ! {
    // SAFETY: exit_group takes a number and does not return.
    unsafe {
        libc::syscall(libc::SYS_exit_group, code);
        loop {
            libc::syscall(libc::SYS_exit, code);
        }
    }
}

unsafe fn errno() -> i32 {
    // SAFETY: libc's own address; the parent, whose it is, stands still or has a copy.
    unsafe { *libc::__errno_location() }
}

/// Leaves word and ends the child.
unsafe fn fail(data: &ChildData, step: Step, item: usize, errno: i32) -> ! {
    // SAFETY: `word` is mapped in parent and child.
    unsafe {
        let word = &*data.word;
        word.errno.store(errno, Ordering::Relaxed);
        word.item.store(item as u32, Ordering::Relaxed);
        word.step.store(step as u32, Ordering::Release);
        exit_child(127)
    }
}

/// Everything between clone and execve.
unsafe extern "C" fn child_main(data: *mut c_void) -> ! {
    // SAFETY: the parent hands in a `ChildData` whose pointers are valid until execve.
    unsafe {
        let data = &*data.cast_const().cast::<ChildData>();
        if data.cgroup_procs >= 0
            && libc::syscall(libc::SYS_write, data.cgroup_procs, c"0".as_ptr(), 1) != 1
        {
            fail(data, Step::Cgroup, 0, errno());
        }
        leave_descriptors(data);
        if libc::syscall(libc::SYS_setsid) < 0 {
            fail(data, Step::Session, 0, errno());
        }
        set_limits(data);
        become_user(data);
        libc::syscall(libc::SYS_umask, data.umask);
        if libc::syscall(libc::SYS_chdir, data.cwd) != 0 {
            fail(data, Step::Directory, 0, errno());
        }
        reset_signals(data);
        exec(data)
    }
}

/// Leaves the parent's descriptor table and keeps 0, 1 and 2.
unsafe fn leave_descriptors(data: &ChildData) {
    // A copy of the table may keep its descriptors until execve (one of them tells the parent of
    // it). If the kernel cannot do it, execve itself leaves the table, and all that is ours closes.
    let flag = if data.own_table { libc::CLOSE_RANGE_CLOEXEC } else { libc::CLOSE_RANGE_UNSHARE };
    // SAFETY: changes descriptors of this child only.
    unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, flag as libc::c_uint) };
}

/// What only a privileged child may do comes before it gives its privileges up.
unsafe fn set_limits(data: &ChildData) {
    // SAFETY: pointers and lengths belong together, see `Prepared::child_data`.
    unsafe {
        for item in 0..data.limit_count {
            let limit = &*data.limits.add(item);
            let none = ptr::null_mut::<libc::rlimit64>();
            if libc::syscall(libc::SYS_prlimit64, 0, limit.0, &raw const limit.1, none) != 0 {
                fail(data, Step::Limit, item, errno());
            }
        }
        if let Some(nice) = data.nice
            && libc::syscall(libc::SYS_setpriority, libc::PRIO_PROCESS, 0, nice) != 0
        {
            fail(data, Step::Nice, 0, errno());
        }
        if data.oom_len > 0 {
            let path = c"/proc/self/oom_score_adj".as_ptr();
            let fd =
                libc::syscall(libc::SYS_openat, libc::AT_FDCWD, path, libc::O_WRONLY, 0) as i32;
            if fd < 0 || libc::syscall(libc::SYS_write, fd, data.oom, data.oom_len) < 0 {
                fail(data, Step::OomScore, 0, errno());
            }
            libc::syscall(libc::SYS_close, fd);
        }
        if data.affinity_len > 0
            && libc::syscall(libc::SYS_sched_setaffinity, 0, data.affinity_len, data.affinity) < 0
        {
            fail(data, Step::Affinity, 0, errno());
        }
    }
}

/// Raw calls, since libc's own would go round its list of threads, which is the parent's.
unsafe fn become_user(data: &ChildData) {
    let Some((uid, gid)) = data.ids else { return };
    // SAFETY: pointer and count belong together.
    unsafe {
        if libc::syscall(libc::SYS_setgroups, data.group_count, data.groups) != 0 {
            fail(data, Step::Groups, 0, errno());
        }
        if libc::syscall(libc::SYS_setresgid, gid, gid, gid) != 0 {
            fail(data, Step::Group, 0, errno());
        }
        if libc::syscall(libc::SYS_setresuid, uid, uid, uid) != 0 {
            fail(data, Step::User, 0, errno());
        }
    }
}

/// The kernel's `struct sigaction`, all zero: the default action. Its size is the same or smaller
/// on every architecture.
#[repr(C)]
struct KernelSigaction([u64; 4]);

/// clone3 resets handlers (fork leaves none: the runner has none), but what is ignored stays so.
unsafe fn reset_signals(data: &ChildData) {
    const SET_SIZE: usize = 8;
    let default = KernelSigaction([0; 4]);
    let nothing_blocked = 0_u64;
    // SAFETY: both structures are as large as the kernel reads; sighand is the child's own.
    unsafe {
        for signal in 1..=64_u32 {
            let none = ptr::null_mut::<c_void>();
            if data.ignored & (1 << (signal - 1)) != 0
                && libc::syscall(libc::SYS_rt_sigaction, signal, &raw const default, none, SET_SIZE)
                    != 0
            {
                fail(data, Step::Signals, signal as usize, errno());
            }
        }
        let none = ptr::null_mut::<c_void>();
        let mask = &raw const nothing_blocked;
        if libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, mask, none, SET_SIZE) != 0 {
            fail(data, Step::Signals, 0, errno());
        }
    }
}

/// Tries each candidate as execvp does: what is not there is passed over, and so is what may not
/// be run, but that is remembered.
unsafe fn exec(data: &ChildData) -> ! {
    let mut worst = (libc::ENOENT, 0);
    // SAFETY: lists end with null, as execve wants it.
    unsafe {
        for item in 0..data.candidate_count {
            let candidate = *data.candidates.add(item);
            libc::syscall(libc::SYS_execve, candidate, data.argv, data.envp);
            match errno() {
                libc::ENOENT | libc::ENOTDIR | libc::ENAMETOOLONG => {}
                libc::EACCES => worst = (libc::EACCES, item),
                error => fail(data, Step::Exec, item, error),
            }
        }
        fail(data, Step::Exec, worst.1, worst.0)
    }
}
