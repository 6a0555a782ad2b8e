//! The system calls that no safe wrapper offers.
//!
//! Responsible for clone3 on a stack of its own, pidfds, and the memory that a child reports
//! through. Must not know what a child does. With `spawn`, the only place where `unsafe` is
//! allowed.
#![allow(unsafe_code)]

use crate::core::event::Exit;
use nix::libc;
use std::collections::VecDeque;
use std::ffi::{CString, c_void};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::NonNull;

/// The child's stack. Its deepest use is one function that calls the kernel; the rest is room for
/// a debug build.
const STACK_SIZE: usize = 64 << 10;

/// What a child of [`clone3`] runs: it gets the pointer that was handed in and never returns.
pub(super) type ChildMain = unsafe extern "C" fn(*mut c_void) -> !;

/// Memory from mmap, given back when dropped.
#[derive(Debug)]
pub(super) struct Mapping {
    start: NonNull<c_void>,
    len: usize,
}

impl Mapping {
    fn new(len: usize, flags: i32) -> io::Result<Mapping> {
        // SAFETY: an anonymous mapping at an address of the kernel's choice touches nothing.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                flags | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        NonNull::new(start)
            .map(|start| Mapping { start, len })
            .ok_or_else(|| io::Error::from(io::ErrorKind::OutOfMemory))
    }

    /// A stack with a guard page below it, so that an overflow is a fault and not a riddle.
    pub(super) fn stack() -> io::Result<Mapping> {
        let mapping =
            Mapping::new(STACK_SIZE, libc::MAP_PRIVATE | libc::MAP_STACK | libc::MAP_NORESERVE)?;
        // SAFETY: the page belongs to the mapping just made, and nothing uses it yet.
        if unsafe { libc::mprotect(mapping.start.as_ptr(), 4096, libc::PROT_NONE) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(mapping)
    }

    /// A page that a forked child shares with its parent.
    pub(super) fn shared() -> io::Result<Mapping> {
        Mapping::new(4096, libc::MAP_SHARED)
    }

    pub(super) fn start(&self) -> *mut c_void {
        self.start.as_ptr()
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours and nobody refers to it any more.
        unsafe { libc::munmap(self.start.as_ptr(), self.len) };
    }
}

/// `struct clone_args` (clone(2)), as of Linux 5.7.
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// CLONE_CLEAR_SIGHAND (linux/sched.h): does not fit into libc's `int` flags.
const CLONE_CLEAR_SIGHAND: u64 = 0x1_0000_0000;
/// CLONE_INTO_CGROUP (linux/sched.h).
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Starts a child that borrows our memory and descriptor table, on `stack`, while we stand still
/// until it has called execve or ended. Gives its process number and pidfd.
///
/// # Safety
/// `main` must keep to calls that are safe after vfork(2), must leave the shared descriptor table
/// before it changes it, and must not return; `data` must be what it expects.
///
/// # Errors
/// As clone(2). ENOSYS or EPERM: forbidden or too old; EINVAL or E2BIG: a flag is too new.
pub(super) unsafe fn clone3(
    stack: &Mapping,
    cgroup: Option<BorrowedFd<'_>>,
    main: ChildMain,
    data: *mut c_void,
) -> io::Result<(i32, OwnedFd)> {
    let mut pidfd: RawFd = -1;
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_FILES | libc::CLONE_PIDFD;
    let mut args = CloneArgs {
        flags: flags as u64 | CLONE_CLEAR_SIGHAND,
        pidfd: &raw mut pidfd as u64,
        exit_signal: libc::SIGCHLD as u64,
        stack: stack.start() as u64,
        stack_size: stack.len as u64,
        ..CloneArgs::default()
    };
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: the arguments outlive the call; the child runs `main` on a stack of its own and
    // never comes back here; the caller answers for `main` and `data`.
    let pid = unsafe { raw_clone3(&mut args, main, data) };
    if pid < 0 {
        return Err(io::Error::from_raw_os_error(i32::try_from(-pid).unwrap_or(libc::EINVAL)));
    }
    // SAFETY: the kernel has just made this descriptor for us.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok((i32::try_from(pid).unwrap_or(0), pidfd))
}

/// The bare system call. It cannot be a call of libc's `syscall`: parent and child would return
/// through one stack frame.
#[cfg(target_arch = "x86_64")]
unsafe fn raw_clone3(args: &mut CloneArgs, main: ChildMain, data: *mut c_void) -> i64 {
    let result: i64;
    // SAFETY: the kernel keeps all registers but rax, rcx and r11; the child has a fresh stack,
    // 16-byte aligned before the call as the ABI wants it, and never returns.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r9",
            "call r8",
            "ud2",
            "2:",
            inlateout("rax") libc::SYS_clone3 => result,
            in("rdi") std::ptr::from_mut(args),
            in("rsi") size_of::<CloneArgs>(),
            in("r8") main,
            in("r9") data,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    result
}

/// The bare system call; see the other one.
#[cfg(target_arch = "aarch64")]
unsafe fn raw_clone3(args: &mut CloneArgs, main: ChildMain, data: *mut c_void) -> i64 {
    let result: i64;
    // SAFETY: the kernel keeps all registers but x0; the child has a fresh stack and never
    // returns.
    unsafe {
        std::arch::asm!(
            "svc #0",
            "cbnz x0, 2f",
            "mov x29, xzr",
            "mov x0, x3",
            "blr x2",
            "brk #1",
            "2:",
            in("x8") libc::SYS_clone3,
            inlateout("x0") std::ptr::from_mut(args) as i64 => result,
            in("x1") size_of::<CloneArgs>(),
            in("x2") main,
            in("x3") data,
        );
    }
    result
}

/// Elsewhere the plain way is taken.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
unsafe fn raw_clone3(_args: &mut CloneArgs, _main: ChildMain, _data: *mut c_void) -> i64 {
    -i64::from(libc::ENOSYS)
}

/// A child with a copy of everything, which runs `main` and never returns.
///
/// # Safety
/// The calling process must have one thread, or `main` must keep to what is safe after fork(2).
///
/// # Errors
/// As fork(2).
pub(super) unsafe fn fork(main: impl FnOnce()) -> io::Result<i32> {
    // SAFETY: the caller answers for what the child does.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            main();
            // SAFETY: ends this process without running anybody's exit handlers.
            unsafe { libc::_exit(127) }
        }
        pid => Ok(pid),
    }
}

/// Goes on in a forked child with descriptors 0 to 2 only, and ends the process that called: its
/// parent has nothing to wait for any more. To be called first of all, while the process has one
/// thread and has opened nothing.
///
/// # Errors
/// As fork(2); then this still is the same process.
pub(super) fn detach() -> io::Result<()> {
    // SAFETY: the process has one thread, so its copy is as whole as itself.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            // SAFETY: this is the beginning of the program, which has opened nothing yet.
            unsafe { close_from(3) };
            Ok(())
        }
        // SAFETY: as in `fork`.
        _ => unsafe { libc::_exit(0) },
    }
}

/// A pidfd for a process.
///
/// # Errors
/// As pidfd_open(2): ESRCH if there is no such process.
pub(super) fn pidfd_open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: no memory is involved; the result is a new descriptor or an error.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    match RawFd::try_from(fd) {
        // SAFETY: the kernel has just made this descriptor for us.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Sends a signal to the very process that the pidfd stands for.
///
/// # Errors
/// As pidfd_send_signal(2): ESRCH if it is gone.
pub(super) fn pidfd_send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    // SAFETY: a null siginfo is allowed and stands for what kill(2) sends.
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// How a child is waited for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wait<'a> {
    /// The child of this pidfd, and it is reaped.
    Pidfd(BorrowedFd<'a>),
    /// The child of this pidfd, and it stays a zombie, so that its number stays taken.
    Keep(BorrowedFd<'a>),
    /// The child of this number, and it is reaped.
    Pid(i32),
}

/// How a child ended, if it has; never waits.
///
/// # Errors
/// As waitid(2): ECHILD if there is no such child.
pub(super) fn wait(which: Wait<'_>) -> io::Result<Option<Exit>> {
    let (kind, number, keep) = match which {
        Wait::Pidfd(fd) => (libc::P_PIDFD, fd.as_raw_fd(), 0),
        Wait::Keep(fd) => (libc::P_PIDFD, fd.as_raw_fd(), libc::WNOWAIT),
        Wait::Pid(pid) => (libc::P_PID, pid, 0),
    };
    let flags = libc::WEXITED | libc::WNOHANG | keep;
    let mut info = std::mem::MaybeUninit::<libc::siginfo_t>::zeroed();
    loop {
        // SAFETY: `info` is as large as the kernel writes.
        let result = unsafe { libc::waitid(kind, number as libc::id_t, info.as_mut_ptr(), flags) };
        if result == 0 {
            break;
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    // SAFETY: zeroed memory is a valid siginfo, and waitid fills in the fields of SIGCHLD.
    let (pid, code, status) = unsafe {
        let info = info.assume_init();
        (info.si_pid(), info.si_code, info.si_status())
    };
    if pid == 0 {
        return Ok(None);
    }
    Ok(Some(match code {
        libc::CLD_EXITED => Exit::Code(status),
        libc::CLD_KILLED | libc::CLD_DUMPED => Exit::Signal(status),
        _ => Exit::Unknown,
    }))
}

/// The number of a child that has ended and is not reaped yet, if there is any. The kernel looks
/// through all children for it.
pub(super) fn ended_child() -> Option<i32> {
    let mut info = std::mem::MaybeUninit::<libc::siginfo_t>::zeroed();
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: `info` is as large as the kernel writes.
    let result = unsafe { libc::waitid(libc::P_ALL, 0, info.as_mut_ptr(), flags) };
    // SAFETY: zeroed memory is a valid siginfo, and waitid fills in the fields of SIGCHLD.
    let pid = unsafe { info.assume_init().si_pid() };
    (result == 0 && pid > 0).then_some(pid)
}

/// Whether two descriptors are one open file (kcmp(2)). Where that cannot be told, they are not.
pub(super) fn same_file(one: BorrowedFd<'_>, other: BorrowedFd<'_>) -> bool {
    const KCMP_FILE: i32 = 0;
    let own = std::process::id();
    // SAFETY: no memory is involved.
    let order = unsafe {
        libc::syscall(libc::SYS_kcmp, own, own, KCMP_FILE, one.as_raw_fd(), other.as_raw_fd())
    };
    order == 0
}

/// An exit as wait(2) encodes it.
pub(super) fn exit_of_status(status: i32) -> Exit {
    match status & 0x7f {
        0 => Exit::Code(status >> 8 & 0xff),
        signal => Exit::Signal(signal),
    }
}

/// How a process ended that its parent, which we are not, has reaped; `None`: it has not, or the
/// kernel cannot tell (before Linux 6.15).
pub(super) fn exit_of_reaped(pidfd: BorrowedFd<'_>) -> Option<Exit> {
    /// `struct pidfd_info` of linux/pidfd.h, in its first version.
    #[repr(C)]
    #[derive(Default)]
    struct PidfdInfo {
        mask: u64,
        cgroupid: u64,
        ids: [u32; 11],
        exit_code: i32,
    }
    const PIDFD_INFO_EXIT: u64 = 1 << 3;
    let mut info = PidfdInfo { mask: PIDFD_INFO_EXIT, ..PidfdInfo::default() };
    // SAFETY: the number says how large `info` is, and the kernel writes no more than that.
    let request = nix::request_code_readwrite!(0xFF, 11, size_of::<PidfdInfo>());
    let result =
        unsafe { libc::ioctl(pidfd.as_raw_fd(), request as _, std::ptr::from_mut(&mut info)) };
    (result == 0 && info.mask & PIDFD_INFO_EXIT != 0).then(|| exit_of_status(info.exit_code))
}

/// Closes every descriptor from `first` on: whatever our parent has left open for us is not ours,
/// and the other end of a pipe among it may wait for its end.
///
/// # Safety
/// Nothing in the process may own such a descriptor.
pub(super) unsafe fn close_from(first: u32) {
    // SAFETY: as the caller says.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) };
    if result == 0 {
        return;
    }
    // Before Linux 5.9.
    let listed = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let numbers: Vec<RawFd> = listed
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|fd| u32::try_from(*fd).is_ok_and(|fd| fd >= first))
        .collect();
    for fd in numbers {
        // SAFETY: as the caller says; the listing's own descriptor is closed by now.
        unsafe { libc::close(fd) };
    }
}

/// The signals that this process ignores, as a set of bits (bit 0 is signal 1): a child would
/// ignore them too.
pub(super) fn ignored_signals() -> u64 {
    let mut set = 0;
    for signal in 1..=64_u32 {
        // The kernel's structure, whose first field is the handler. Not libc's own call: it
        // refuses the two signals that it uses itself, and they are inherited as well.
        let mut old = [0_u64; 4];
        // SAFETY: with a null new action the call only writes to `old`, which is large enough.
        let result = unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                std::ptr::null::<u64>(),
                old.as_mut_ptr(),
                8,
            )
        };
        if result == 0 && old.first() == Some(&(libc::SIG_IGN as u64)) {
            set |= 1 << (signal - 1);
        }
    }
    set
}

/// Has a signal do again what it does by default. What is ignored is inherited, and with SIGCHLD
/// ignored the kernel reaps children by itself, so that nobody hears how they ended.
pub(super) fn default_signal(signal: i32) {
    // SAFETY: SIG_DFL runs no code of ours.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
}

/// Ignores a signal.
pub(super) fn ignore_signal(signal: i32) {
    // SAFETY: SIG_IGN runs no code of ours.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
}

/// How many bytes can be read from a pipe at once; 0 if that cannot be told.
pub(super) fn readable_bytes(fd: BorrowedFd<'_>) -> usize {
    let mut count: libc::c_int = 0;
    // SAFETY: FIONREAD writes an int, and `count` is one.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), libc::FIONREAD, &raw mut count) };
    if result == 0 { usize::try_from(count).unwrap_or(0) } else { 0 }
}

/// Gives this process this nice value, if it may have it.
pub(super) fn be_nice(value: i32) {
    // SAFETY: no memory is involved.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, value) };
}

/// Reads from a socket, and takes the descriptors that travel beside the bytes.
///
/// # Errors
/// As recvmsg(2).
pub(super) fn receive(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    descriptors: &mut VecDeque<OwnedFd>,
) -> io::Result<usize> {
    let message = receive_message(socket, buffer, &mut [0; ANY_CONTROL], libc::MSG_CMSG_CLOEXEC)?;
    descriptors.extend(message.descriptors);
    Ok(message.len)
}

/// One datagram, as far as it is not in the buffer.
pub(super) struct Datagram {
    /// How many bytes are in the buffer.
    pub(super) len: usize,
    /// It was not longer than the buffer.
    pub(super) whole: bool,
    /// Who has sent it, by the kernel's word.
    pub(super) pid: Option<i32>,
    /// What travelled beside it.
    pub(super) descriptors: Vec<OwnedFd>,
}

/// Reads a datagram from a socket that tells of its senders (SO_PASSCRED); does not wait.
///
/// # Errors
/// As recvmsg(2).
pub(super) fn receive_datagram(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Datagram> {
    let flags = libc::MSG_CMSG_CLOEXEC | libc::MSG_DONTWAIT;
    let message = receive_message(socket, buffer, &mut [0; ANY_CONTROL], flags)?;
    let Message { len, flags, pid, descriptors } = message;
    Ok(Datagram { len, whole: flags & libc::MSG_TRUNC == 0, pid, descriptors })
}

/// Who has sent the next datagram, which stays where it is, with all descriptors; does not wait.
///
/// # Errors
/// As recvmsg(2). There is none: EAGAIN.
pub(super) fn peek_sender(socket: BorrowedFd<'_>) -> io::Result<Option<i32>> {
    let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT;
    // Credentials come first (`scm_recv`), and there is no room for anything else.
    Ok(receive_message(socket, &mut [0], &mut [0; CREDENTIALS_CONTROL], flags)?.pid)
}

/// Throws the next datagram away. Descriptors that travel beside it never become ours.
///
/// # Errors
/// As recvmsg(2).
pub(super) fn discard_datagram(socket: BorrowedFd<'_>) -> io::Result<()> {
    receive_message(socket, &mut [0], &mut [], libc::MSG_DONTWAIT).map(drop)
}

/// Closes a descriptor that somebody else has made, without waiting for what a lingering socket
/// (SO_LINGER, socket(7)) still has to send.
pub(super) fn close_foreign(file: OwnedFd) {
    let none = libc::linger { l_onoff: 0, l_linger: 0 };
    // What is no socket does not linger.
    let _no_socket = nix::sys::socket::setsockopt(&file, nix::sys::socket::sockopt::Linger, &none);
    drop(file);
}

/// Room for credentials and for as many descriptors as a message can have (SCM_MAX_FD, 253), in words.
const ANY_CONTROL: usize = 192;

/// Room for credentials alone, in words.
const CREDENTIALS_CONTROL: usize = 4;

struct Message {
    len: usize,
    flags: i32,
    pid: Option<i32>,
    descriptors: Vec<OwnedFd>,
}

/// recvmsg(2). Whatever descriptors the kernel has made for us are in what is given, also where it had to
/// leave some out for want of room (which nix's own function forgets about).
fn receive_message(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    control: &mut [u64],
    flags: i32,
) -> io::Result<Message> {
    let mut bytes = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: all zero is a message with nothing in it.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    (message.msg_iov, message.msg_iovlen) = (&raw mut bytes, 1);
    if !control.is_empty() {
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = size_of_val(control) as _;
    }
    // SAFETY: lengths and pointers belong together and outlive the call; the words are aligned as a
    // header is.
    let len = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, flags) };
    let len = usize::try_from(len).map_err(|_| io::Error::last_os_error())?;
    let (mut pid, mut descriptors) = (None, Vec::new());
    // SAFETY: the kernel has filled the control part in, up to the length that it has set.
    let mut at = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    while !at.is_null() {
        // SAFETY: `at` is a header within the control part, with as much data behind it as it says. The
        // descriptors in it are new and nobody else's.
        unsafe {
            let len = ((*at).cmsg_len as usize).saturating_sub(libc::CMSG_LEN(0) as usize);
            let data = libc::CMSG_DATA(at);
            match ((*at).cmsg_level, (*at).cmsg_type) {
                (libc::SOL_SOCKET, libc::SCM_RIGHTS) => {
                    let numbers = data.cast::<RawFd>();
                    let count = len / size_of::<RawFd>();
                    let owned = |n| OwnedFd::from_raw_fd(numbers.add(n).read_unaligned());
                    descriptors.extend((0..count).map(owned));
                }
                (libc::SOL_SOCKET, libc::SCM_CREDENTIALS) if len >= size_of::<libc::ucred>() => {
                    pid = Some(data.cast::<libc::ucred>().read_unaligned().pid);
                }
                _ => {}
            }
            at = libc::CMSG_NXTHDR(&raw const message, at);
        }
    }
    Ok(Message { len, flags: message.msg_flags, pid, descriptors })
}

/// Whether a file has an extended attribute of this value. A file that has none, or whose
/// attributes may not be read, has not.
pub(super) fn xattr_is(path: &Path, name: &str, value: &[u8]) -> bool {
    let (Ok(path), Ok(name)) = (CString::new(path.as_os_str().as_bytes()), CString::new(name))
    else {
        return false;
    };
    let mut got = [0_u8; 16];
    // SAFETY: both names are C strings, and the kernel writes at most `got.len()` bytes.
    let len =
        unsafe { libc::getxattr(path.as_ptr(), name.as_ptr(), got.as_mut_ptr().cast(), got.len()) };
    usize::try_from(len).ok().and_then(|len| got.get(..len)) == Some(value)
}

/// An error number by its name and in words: `EPERM (Operation not permitted)`.
pub(super) fn errno_text(error: &io::Error) -> String {
    error.raw_os_error().map_or_else(|| error.to_string(), errno_words)
}

/// The same of a bare number.
pub(super) fn errno_words(errno: i32) -> String {
    let errno = nix::Error::from_raw(errno);
    format!("{errno:?} ({})", errno.desc())
}
