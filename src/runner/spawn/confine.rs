//! The child's side of `[sandbox]`.
//!
//! Responsible for namespaces, mounts, capabilities and Landlock, as `sandbox` has prepared them.
//! The same rules as in `child`: raw system calls only, nothing allocated, nothing locked. All of
//! the calls may be made by a child that borrows its parent's memory: unshare(2) refuses a new user
//! namespace to threads of a larger process only, and this child is a process of its own.

use super::child::{ChildData, Step, errno, fail};
use nix::libc;
use std::ffi::{c_char, c_ulong};
use std::ptr;

/// What becomes of one path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    ReadOnly,
    ReadWrite,
    /// An empty file system; `optional`: passed over where the directory is missing.
    Empty {
        optional: bool,
    },
}

/// One path, in the order in which they are to be laid over each other.
#[derive(Debug)]
pub(super) struct PathRule {
    pub(super) path: *const c_char,
    pub(super) rule: Rule,
    /// It is `/` itself.
    pub(super) is_root: bool,
    /// Room for the child: the tree as it was before anything was made read-only.
    pub(super) tree: i32,
}

/// A text to be written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text {
    pub(super) start: *const u8,
    pub(super) len: usize,
}

/// Everything that the child reads. Pointers into `Sandbox`.
#[derive(Debug)]
pub(super) struct SandboxData {
    /// A normal user's way to the rest: a user namespace in which he is himself.
    pub(super) user_namespace: bool,
    pub(super) uid_map: Text,
    pub(super) gid_map: Text,
    pub(super) network: bool,
    pub(super) mounts: bool,
    pub(super) paths: *mut PathRule,
    pub(super) path_count: usize,
    /// To be taken out of the bounding set.
    pub(super) drop: *const u32,
    pub(super) drop_count: usize,
    /// To be kept over the change of user, bit by bit.
    pub(super) ambient: u64,
    pub(super) no_new_privileges: bool,
}

/// The kernel's `struct mount_attr` (mount_setattr(2)).
#[repr(C)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    userns: u64,
}

const MOUNT_ATTR_RDONLY: u64 = 1;
const OPEN_TREE_CLONE: libc::c_uint = 1;
const AT_RECURSIVE: libc::c_uint = 0x8000;
const MOVE_MOUNT_F_EMPTY_PATH: libc::c_uint = 4;
const CAP_VERSION_3: u32 = 0x2008_0522;

/// What needs the rights that the child still has.
pub(super) unsafe fn before_user(data: &ChildData, sandbox: &SandboxData) {
    // SAFETY: pointers and counts belong together, see `Sandbox::for_child`.
    unsafe {
        if sandbox.user_namespace {
            own_users(data, sandbox);
        }
        if sandbox.network {
            own_network(data);
        }
        if sandbox.mounts {
            own_mounts(data, sandbox);
        }
        for item in 0..sandbox.drop_count {
            let cap = *sandbox.drop.add(item) as c_ulong;
            // Not there already: nothing to drop, for which no right is needed.
            if libc::syscall(libc::SYS_prctl, libc::PR_CAPBSET_READ, cap, 0, 0, 0) == 1
                && libc::syscall(libc::SYS_prctl, libc::PR_CAPBSET_DROP, cap, 0, 0, 0) != 0
            {
                fail(data, Step::Bounding, cap as usize, errno());
            }
        }
        if sandbox.ambient != 0
            && libc::syscall(libc::SYS_prctl, libc::PR_SET_KEEPCAPS, 1, 0, 0, 0) != 0
        {
            fail(data, Step::Capabilities, 0, errno());
        }
    }
}

/// What is given to the user that the child has become.
pub(super) unsafe fn after_user(data: &ChildData, sandbox: &SandboxData) {
    if sandbox.ambient == 0 {
        return;
    }
    let (low, high) = (sandbox.ambient as u32, (sandbox.ambient >> 32) as u32);
    // Effective, permitted, inheritable; twice, for 64 bits (capset(2)).
    let sets: [u32; 6] = [low, low, low, high, high, high];
    let header: [u32; 2] = [CAP_VERSION_3, 0];
    // SAFETY: both arrays are as large as the kernel reads.
    unsafe {
        if libc::syscall(libc::SYS_capset, header.as_ptr(), sets.as_ptr()) != 0 {
            fail(data, Step::Capabilities, 0, errno());
        }
        for cap in 0..64_u32 {
            if sandbox.ambient & (1 << cap) == 0 {
                continue;
            }
            let raise = libc::PR_CAP_AMBIENT_RAISE;
            let cap = c_ulong::from(cap);
            if libc::syscall(libc::SYS_prctl, libc::PR_CAP_AMBIENT, raise, cap, 0, 0) != 0 {
                fail(data, Step::Ambient, cap as usize, errno());
            }
        }
    }
}

/// What would be in the way of everything else.
pub(super) unsafe fn last(data: &ChildData, sandbox: &SandboxData) {
    // SAFETY: numbers only.
    unsafe {
        if sandbox.no_new_privileges
            && libc::syscall(libc::SYS_prctl, libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0
        {
            fail(data, Step::NoNewPrivileges, 0, errno());
        }
        if data.landlock >= 0
            && libc::syscall(libc::SYS_landlock_restrict_self, data.landlock, 0) != 0
        {
            fail(data, Step::Landlock, 0, errno());
        }
    }
}

unsafe fn own_users(data: &ChildData, sandbox: &SandboxData) {
    // SAFETY: paths are constants, texts outlive the child.
    unsafe {
        if libc::syscall(libc::SYS_unshare, libc::CLONE_NEWUSER) != 0 {
            fail(data, Step::UserNamespace, 0, errno());
        }
        let deny = Text { start: b"deny".as_ptr(), len: 4 };
        for (item, (path, text)) in [
            (c"/proc/self/setgroups", deny),
            (c"/proc/self/uid_map", sandbox.uid_map),
            (c"/proc/self/gid_map", sandbox.gid_map),
        ]
        .into_iter()
        .enumerate()
        {
            let flags = libc::O_WRONLY | libc::O_CLOEXEC;
            let fd = libc::syscall(libc::SYS_openat, libc::AT_FDCWD, path.as_ptr(), flags, 0);
            if fd < 0 || libc::syscall(libc::SYS_write, fd as i32, text.start, text.len) < 0 {
                fail(data, Step::IdMap, item, errno());
            }
            libc::syscall(libc::SYS_close, fd as i32);
        }
    }
}

/// A network with nothing but a loopback device that is up.
unsafe fn own_network(data: &ChildData) {
    // SAFETY: an all-zero `ifreq` is valid; the kernel reads no more than it.
    unsafe {
        if libc::syscall(libc::SYS_unshare, libc::CLONE_NEWNET) != 0 {
            fail(data, Step::Network, 0, errno());
        }
        let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC;
        let fd = libc::syscall(libc::SYS_socket, libc::AF_INET, kind, 0);
        let mut request: libc::ifreq = std::mem::zeroed();
        request.ifr_name[0] = b'l' as c_char;
        request.ifr_name[1] = b'o' as c_char;
        request.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
        if fd < 0
            || libc::syscall(libc::SYS_ioctl, fd as i32, libc::SIOCSIFFLAGS, &raw const request)
                != 0
        {
            fail(data, Step::Loopback, 0, errno());
        }
        libc::syscall(libc::SYS_close, fd as i32);
    }
}

unsafe fn own_mounts(data: &ChildData, sandbox: &SandboxData) {
    // SAFETY: paths are C strings that outlive the child; the rules' memory is the parent's, which
    // stands still or has given us a copy.
    unsafe {
        if libc::syscall(libc::SYS_unshare, libc::CLONE_NEWNS) != 0 {
            fail(data, Step::MountNamespace, 0, errno());
        }
        // What the machine mounts and unmounts later is seen, what we do is not seen there.
        let flags = (libc::MS_REC | libc::MS_SLAVE) as c_ulong;
        let none = ptr::null::<c_char>();
        if libc::syscall(libc::SYS_mount, none, c"/".as_ptr(), none, flags, none) != 0 {
            fail(data, Step::MountNamespace, 1, errno());
        }
        // First, while they still are as they were.
        for item in 0..sandbox.path_count {
            let rule = &mut *sandbox.paths.add(item);
            if rule.rule == Rule::ReadWrite && !rule.is_root {
                rule.tree = open_tree(data, rule.path, item);
            }
        }
        for item in 0..sandbox.path_count {
            let rule = &*sandbox.paths.add(item);
            match rule.rule {
                Rule::ReadOnly => read_only(data, rule, item),
                Rule::ReadWrite if rule.is_root => {}
                Rule::ReadWrite => attach(data, rule.tree, rule.path, Step::ReadWrite, item),
                Rule::Empty { optional } => empty(data, rule.path, optional, item),
            }
        }
    }
}

unsafe fn open_tree(data: &ChildData, path: *const c_char, item: usize) -> i32 {
    let flags = OPEN_TREE_CLONE | AT_RECURSIVE | libc::O_CLOEXEC as libc::c_uint;
    // SAFETY: the path is a C string.
    unsafe {
        let fd = libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path, flags);
        if fd < 0 {
            fail(data, Step::PathOpen, item, errno());
        }
        fd as i32
    }
}

unsafe fn read_only(data: &ChildData, rule: &PathRule, item: usize) {
    let attr = MountAttr { set: MOUNT_ATTR_RDONLY, clear: 0, propagation: 0, userns: 0 };
    let size = size_of::<MountAttr>();
    // SAFETY: strings are C strings, and the kernel reads `size` bytes of `attr`.
    unsafe {
        let set = |fd: i32, path: *const c_char, flags: libc::c_uint| {
            let (flags, attr) = (flags | AT_RECURSIVE, &raw const attr);
            if libc::syscall(libc::SYS_mount_setattr, fd, path, flags, attr, size) != 0 {
                fail(data, Step::ReadOnly, item, errno());
            }
        };
        if rule.is_root {
            set(libc::AT_FDCWD, rule.path, 0);
            return;
        }
        let tree = open_tree(data, rule.path, item);
        set(tree, c"".as_ptr(), libc::AT_EMPTY_PATH as libc::c_uint);
        attach(data, tree, rule.path, Step::ReadOnly, item);
    }
}

unsafe fn attach(data: &ChildData, tree: i32, path: *const c_char, step: Step, item: usize) {
    // SAFETY: both paths are C strings.
    unsafe {
        let (at, flags) = (libc::AT_FDCWD, MOVE_MOUNT_F_EMPTY_PATH);
        if libc::syscall(libc::SYS_move_mount, tree, c"".as_ptr(), at, path, flags) != 0 {
            fail(data, step, item, errno());
        }
        libc::syscall(libc::SYS_close, tree);
    }
}

unsafe fn empty(data: &ChildData, path: *const c_char, optional: bool, item: usize) {
    let flags = (libc::MS_NOSUID | libc::MS_NODEV) as c_ulong;
    let (kind, how) = (c"tmpfs".as_ptr(), c"mode=1777".as_ptr());
    // SAFETY: all are C strings.
    unsafe {
        if libc::syscall(libc::SYS_mount, kind, path, kind, flags, how) != 0 {
            let error = errno();
            if !(optional && error == libc::ENOENT) {
                fail(data, Step::PrivateTmp, item, error);
            }
        }
    }
}
