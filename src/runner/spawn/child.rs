//! The child's side, between clone and execve.
//!
//! Responsible for everything that only the child can do for itself, and for leaving word of what
//! failed. Must not allocate, lock, or use any of libc's state: it runs in its parent's memory, so
//! there are raw system calls only.

use super::confine::{self, SandboxData};
use super::prepare::PID_DIGITS;
use nix::libc;
use std::ffi::{c_char, c_void};
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};

/// What the child was at when it failed. Kept as a number in shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Step {
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
    UserNamespace,
    IdMap,
    Network,
    Loopback,
    MountNamespace,
    PathOpen,
    ReadOnly,
    ReadWrite,
    PrivateTmp,
    Bounding,
    Capabilities,
    Ambient,
    NoNewPrivileges,
    Landlock,
    Sockets,
}

impl Step {
    pub(super) const ALL: [Step; 27] = [
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
        Step::UserNamespace,
        Step::IdMap,
        Step::Network,
        Step::Loopback,
        Step::MountNamespace,
        Step::PathOpen,
        Step::ReadOnly,
        Step::ReadWrite,
        Step::PrivateTmp,
        Step::Bounding,
        Step::Capabilities,
        Step::Ambient,
        Step::NoNewPrivileges,
        Step::Landlock,
        Step::Sockets,
    ];
}

/// Where the child leaves word. 0 in `step`: all went well.
#[repr(C)]
pub(super) struct Word {
    pub(super) step: AtomicU32,
    pub(super) errno: AtomicI32,
    /// Which of several: limits, candidates.
    pub(super) item: AtomicU32,
}

/// Everything that the child reads. Pointers into [`Prepared`].
pub(super) struct ChildData {
    pub(super) word: *const Word,
    /// The descriptor table is a copy of ours, not ours itself.
    pub(super) own_table: bool,
    /// `cgroup.procs`, to be joined by writing; -1: born in it, or none.
    pub(super) cgroup_procs: i32,
    pub(super) limits: *const (u32, libc::rlimit64),
    pub(super) limit_count: usize,
    pub(super) nice: Option<i32>,
    pub(super) oom: *const u8,
    pub(super) oom_len: usize,
    pub(super) affinity: *const u8,
    pub(super) affinity_len: usize,
    /// Null: none.
    pub(super) sandbox: *const SandboxData,
    /// A Landlock rule set that stays open until the last step; -1: none.
    pub(super) landlock: i32,
    /// Our numbers of the sockets that it gets from 3 on.
    pub(super) sockets: *mut i32,
    pub(super) socket_count: usize,
    /// Room for the child's number as text, of [`PID_DIGITS`] bytes; null: no sockets.
    pub(super) listen_pid: *mut u8,
    pub(super) groups: *const u32,
    pub(super) group_count: usize,
    pub(super) ids: Option<(u32, u32)>,
    pub(super) umask: u32,
    pub(super) cwd: *const c_char,
    pub(super) ignored: u64,
    pub(super) candidates: *const *const c_char,
    pub(super) candidate_count: usize,
    pub(super) argv: *const *const c_char,
    pub(super) envp: *const *const c_char,
}

/// Ends the child at once.
pub(super) unsafe fn exit_child(code: i32) -> ! {
    // SAFETY: exit_group takes a number and does not return.
    unsafe {
        libc::syscall(libc::SYS_exit_group, code);
        loop {
            libc::syscall(libc::SYS_exit, code);
        }
    }
}

pub(super) unsafe fn errno() -> i32 {
    // SAFETY: libc's own address; the parent, whose it is, stands still or has a copy.
    unsafe { *libc::__errno_location() }
}

/// Leaves word and ends the child.
pub(super) unsafe fn fail(data: &ChildData, step: Step, item: usize, errno: i32) -> ! {
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
pub(super) unsafe extern "C" fn child_main(data: *mut c_void) -> ! {
    // SAFETY: the parent hands in a `ChildData` whose pointers are valid until execve.
    unsafe {
        let data = &*data.cast_const().cast::<ChildData>();
        if data.cgroup_procs >= 0
            && libc::syscall(libc::SYS_write, data.cgroup_procs, c"0".as_ptr(), 1) != 1
        {
            fail(data, Step::Cgroup, 0, errno());
        }
        if data.socket_count > 0 {
            take_sockets(data);
        } else {
            leave_descriptors(data);
        }
        if libc::syscall(libc::SYS_setsid) < 0 {
            fail(data, Step::Session, 0, errno());
        }
        set_limits(data);
        let sandbox = data.sandbox.as_ref();
        if let Some(sandbox) = sandbox {
            confine::before_user(data, sandbox);
        }
        become_user(data);
        if let Some(sandbox) = sandbox {
            confine::after_user(data, sandbox);
        }
        libc::syscall(libc::SYS_umask, data.umask);
        if libc::syscall(libc::SYS_chdir, data.cwd) != 0 {
            fail(data, Step::Directory, 0, errno());
        }
        reset_signals(data);
        if let Some(sandbox) = sandbox {
            confine::last(data, sandbox);
        }
        exec(data)
    }
}

/// Leaves the parent's descriptor table and keeps 0, 1 and 2.
unsafe fn leave_descriptors(data: &ChildData) {
    // A copy of the table may keep its descriptors until execve (one of them tells the parent of
    // it). If the kernel cannot do it, execve itself leaves the table, and all that is ours closes.
    let flag = if data.own_table { libc::CLOSE_RANGE_CLOEXEC } else { libc::CLOSE_RANGE_UNSHARE };
    let flag = flag as libc::c_uint;
    // SAFETY: changes descriptors of this child only.
    unsafe {
        // All but one, which closes at execve; leaving the table once is enough.
        let Ok(kept @ 3..) = u32::try_from(data.landlock) else {
            libc::syscall(libc::SYS_close_range, 3, u32::MAX, flag);
            return;
        };
        if kept > 3 {
            libc::syscall(libc::SYS_close_range, 3, kept - 1, flag);
        }
        libc::syscall(libc::SYS_close_range, kept + 1, u32::MAX, flag);
    }
}

/// Leaves the parent's descriptor table and keeps 0 to 2 and the sockets, which become 3 and the
/// following; all others close at execve.
unsafe fn take_sockets(data: &ChildData) {
    const NOTHING: u32 = u32::MAX;
    // SAFETY: changes descriptors of this child only, once it has a table of its own; pointer and count
    // belong together. The numbers' memory is ours alone: the parent made it for this start and looks at
    // it no more.
    unsafe {
        if !data.own_table {
            let unshare = libc::CLOSE_RANGE_UNSHARE as libc::c_uint;
            if libc::syscall(libc::SYS_close_range, NOTHING, NOTHING, unshare) != 0 {
                fail(data, Step::Sockets, 0, errno());
            }
        }
        let first_free = 3 + data.socket_count as libc::c_int;
        // Copies above the places that they are to take, so that none is overwritten.
        for item in 0..data.socket_count {
            let from = *data.sockets.add(item);
            let copy = libc::syscall(libc::SYS_fcntl, from, libc::F_DUPFD_CLOEXEC, first_free);
            if copy < 0 {
                fail(data, Step::Sockets, item, errno());
            }
            // The list is written over: from here on only the copies matter.
            *data.sockets.add(item) = copy as i32;
        }
        for item in 0..data.socket_count {
            let to = 3 + item as libc::c_int;
            if libc::syscall(libc::SYS_dup3, *data.sockets.add(item), to, 0) < 0 {
                fail(data, Step::Sockets, item, errno());
            }
        }
        let cloexec = libc::CLOSE_RANGE_CLOEXEC as libc::c_uint;
        if libc::syscall(libc::SYS_close_range, first_free, u32::MAX, cloexec) != 0 {
            fail(data, Step::Sockets, 0, errno());
        }
        write_number(libc::syscall(libc::SYS_getpid) as u32, data.listen_pid);
    }
}

/// Writes a number as text into [`PID_DIGITS`] zero bytes.
unsafe fn write_number(number: u32, to: *mut u8) {
    let mut digits = [0_u8; PID_DIGITS];
    let (mut at, mut left) = (PID_DIGITS, number);
    while at > 1 {
        at -= 1;
        if let Some(digit) = digits.get_mut(at) {
            *digit = b'0' + (left % 10) as u8;
        }
        left /= 10;
        if left == 0 {
            break;
        }
    }
    // SAFETY: `to` has room for all digits and a zero.
    unsafe { ptr::copy_nonoverlapping(digits.as_ptr().add(at), to, PID_DIGITS - at) };
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

/// In a probing child: joins the cgroup and ends, 0 for success.
pub(super) fn write_self(procs: i32) {
    // SAFETY: a write of one byte from a constant; then the child is gone.
    unsafe {
        let written = libc::syscall(libc::SYS_write, procs, c"0".as_ptr(), 1);
        exit_child(if written == 1 { 0 } else { 1 })
    }
}
