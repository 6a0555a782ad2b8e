//! `[sandbox]` in the kernel's own terms, worked out before the child is made.
//!
//! Responsible for choosing between the kernel's means, for the order of paths and for the numbers
//! of capabilities. What is asked for and cannot be had is an error, never left out.
//!
//! | who runs wsup | paths, private_tmp | private_network | capabilities |
//! |---|---|---|---|
//! | root | mount namespace | network namespace | bounding set, ambient set |
//! | a normal user | Landlock if it can say it, otherwise both namespaces within a user namespace | | only to have none |

use super::confine::{PathRule, Rule, SandboxData, Text};
use super::prepare::c_string;
use crate::runner::protocol::{Bytes, SandboxPlan};
use crate::runner::sys;
use nix::libc;
use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::ptr;

/// The kernel's numbers of capabilities (linux/capability.h), by their names without CAP_.
const CAPABILITIES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// More capabilities than the kernel's 64 bits cannot be.
const CAPABILITIES_MAX: u32 = 64;

/// A capability's name for messages; its number where this version knows no name.
pub(super) fn capability_name(number: usize) -> String {
    CAPABILITIES.get(number).map_or_else(|| number.to_string(), |name| format!("CAP_{name}"))
}

fn capability_number(name: &str) -> Option<u32> {
    let bare = name.strip_prefix("CAP_")?;
    let at = CAPABILITIES.iter().position(|known| *known == bare)?;
    u32::try_from(at).ok()
}

/// Everything that a child's sandbox is made from.
pub(super) struct Sandbox {
    data: SandboxData,
    rules: Vec<PathRule>,
    drop: Vec<u32>,
    landlock: Option<OwnedFd>,
    uid_map: Vec<u8>,
    gid_map: Vec<u8>,
    /// What the rules point to.
    _paths: Vec<CString>,
}

impl Sandbox {
    /// Works it out for a program that runs as `uid`, or as the runner itself.
    ///
    /// # Errors
    /// What cannot be had, and why.
    pub(super) fn new(plan: &SandboxPlan, uid: Option<u32>) -> Result<Sandbox, String> {
        let own = nix::unistd::geteuid().as_raw();
        let is_root = own == 0;
        let layers = layers(plan)?;
        let (drop, mask) = bounding(plan.capabilities.as_deref())?;
        let ambient = if uid.unwrap_or(own) == 0 { 0 } else { mask };
        if ambient != 0 && !is_root {
            return Err("capabilities: only root can give any (write [] to have none)".to_owned());
        }
        let landlock = match landlock_suits(plan, is_root) {
            true => landlock(plan)?,
            false => None,
        };
        let mounts = landlock.is_none() && !layers.is_empty();
        let user_namespace = !is_root && (mounts || plan.private_network);
        let mut paths = Vec::new();
        let mut rules = Vec::new();
        for (path, rule) in if mounts { layers } else { Vec::new() } {
            let text = c_string(&Bytes::from(path.clone()), "a path")?;
            let is_root = path == Path::new("/");
            rules.push(PathRule { path: text.as_ptr(), rule, is_root, tree: -1 });
            paths.push(text);
        }
        let map = |id: u32| format!("{id} {id} 1").into_bytes();
        let nothing = Text { start: ptr::null(), len: 0 };
        let data = SandboxData {
            user_namespace,
            uid_map: nothing,
            gid_map: nothing,
            network: plan.private_network,
            mounts,
            paths: ptr::null_mut(),
            path_count: 0,
            drop: ptr::null(),
            drop_count: 0,
            ambient,
            // Landlock asks for it of everybody who is not root.
            no_new_privileges: plan.no_new_privileges || landlock.is_some(),
        };
        Ok(Sandbox {
            data,
            rules,
            drop,
            landlock,
            uid_map: map(own),
            gid_map: map(nix::unistd::getegid().as_raw()),
            _paths: paths,
        })
    }

    /// What the child reads: it points into this, which must outlive it.
    pub(super) fn for_child(&mut self) -> *const SandboxData {
        self.data.paths = self.rules.as_mut_ptr();
        self.data.path_count = self.rules.len();
        self.data.drop = self.drop.as_ptr();
        self.data.drop_count = self.drop.len();
        self.data.uid_map = Text { start: self.uid_map.as_ptr(), len: self.uid_map.len() };
        self.data.gid_map = Text { start: self.gid_map.as_ptr(), len: self.gid_map.len() };
        &raw const self.data
    }

    /// The Landlock rule set; -1: none.
    pub(super) fn landlock(&self) -> i32 {
        self.landlock.as_ref().map_or(-1, AsRawFd::as_raw_fd)
    }

    /// The path of a rule, for messages.
    pub(super) fn path(&self, item: usize) -> String {
        self._paths.get(item).map(|p| p.to_string_lossy().into_owned()).unwrap_or_default()
    }
}

/// The rules for paths, from the shallow to the deep: each lies over those before it.
fn layers(plan: &SandboxPlan) -> Result<Vec<(PathBuf, Rule)>, String> {
    let mut layers = Vec::new();
    for (key, list, rule) in [
        ("read_only", &plan.read_only, Rule::ReadOnly),
        ("read_write", &plan.read_write, Rule::ReadWrite),
    ] {
        for path in list {
            // Links are followed once, here: the order is that of the real places.
            let real = fs::canonicalize(path.as_path()).map_err(|error| {
                format!("{key} `{}`: {}", path.to_text(), sys::errno_text(&error))
            })?;
            layers.push((real, rule));
        }
    }
    if plan.private_tmp {
        layers.push((PathBuf::from("/tmp"), Rule::Empty { optional: false }));
        layers.push((PathBuf::from("/var/tmp"), Rule::Empty { optional: true }));
    }
    // Stable: of two rules for one path the later one counts.
    layers.sort_by_key(|(path, _)| path.components().count());
    Ok(layers)
}

/// What is to be dropped from the bounding set, and what is kept as bits.
fn bounding(kept: Option<&[String]>) -> Result<(Vec<u32>, u64), String> {
    let Some(kept) = kept else { return Ok((Vec::new(), 0)) };
    let mut mask = 0_u64;
    for name in kept {
        let number = capability_number(name)
            .ok_or_else(|| format!("capabilities: there is no capability `{name}`"))?;
        mask |= 1 << number;
    }
    let last = fs::read_to_string("/proc/sys/kernel/cap_last_cap")
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(CAPABILITIES_MAX - 1)
        .min(CAPABILITIES_MAX - 1);
    Ok(((0..=last).filter(|number| mask & (1 << number) == 0).collect(), mask))
}

/// Landlock knows trees that may be written, and nothing else: it can say "all read-only but
/// these". It is for those who may not make namespaces as they like.
fn landlock_suits(plan: &SandboxPlan, is_root: bool) -> bool {
    let all_read_only = |path: &Bytes| path.as_bytes() == b"/";
    !is_root
        && !plan.private_tmp
        && !plan.private_network
        && !plan.read_only.is_empty()
        && plan.read_only.iter().all(all_read_only)
}

// The rights of linux/landlock.h that change something.
const WRITE_FILE: u64 = 1 << 1;
const TRUNCATE: u64 = 1 << 14;
const REFER: u64 = 1 << 13;
/// REMOVE_DIR and REMOVE_FILE (bits 4, 5) and all MAKE_ (6 to 12).
const CHANGE_DIR: u64 = 0b1_1111_1111 << 4;
/// `LANDLOCK_CREATE_RULESET_VERSION`.
const VERSION: u32 = 1;
/// `LANDLOCK_RULE_PATH_BENEATH`.
const PATH_BENEATH: u32 = 1;

/// The kernel's `struct landlock_path_beneath_attr`.
#[repr(C, packed)]
struct PathBeneath {
    allowed: u64,
    parent: i32,
}

/// A rule set; `None`: this kernel has no Landlock.
fn landlock(plan: &SandboxPlan) -> Result<Option<OwnedFd>, String> {
    // SAFETY: with this flag the call takes no attributes and only gives a number.
    let version = unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, ptr::null::<u64>(), 0_usize, VERSION)
    };
    if version < 1 {
        return Ok(None);
    }
    let mut handled = WRITE_FILE | CHANGE_DIR;
    if version >= 2 {
        handled |= REFER;
    }
    if version >= 3 {
        handled |= TRUNCATE;
    }
    // SAFETY: the kernel reads the one number that the size says.
    let fd = unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, &raw const handled, size_of::<u64>(), 0)
    };
    if fd < 0 {
        let error = io::Error::last_os_error();
        return Err(format!("landlock_create_ruleset: {}", sys::errno_text(&error)));
    }
    // SAFETY: the kernel has just made this descriptor for us.
    let rules = unsafe { OwnedFd::from_raw_fd(i32::try_from(fd).unwrap_or(-1)) };
    let on_files = handled & (WRITE_FILE | TRUNCATE);
    // Devices are written through their files, which a read-only file system does not prevent
    // either.
    allow(&rules, Path::new("/dev"), on_files)?;
    for path in &plan.read_write {
        let is_dir = path.as_path().is_dir();
        allow(&rules, path.as_path(), if is_dir { handled } else { on_files })?;
    }
    let rules = super::above_sockets(rules)
        .map_err(|error| format!("landlock: {}", sys::errno_text(&error)))?;
    Ok(Some(rules))
}

fn allow(rules: &OwnedFd, path: &Path, allowed: u64) -> Result<(), String> {
    let failed = |what: &str, error: &io::Error| {
        format!("read_write `{}`: {what}{}", path.display(), sys::errno_text(error))
    };
    let name = CString::new(path.as_os_str().as_bytes())
        .map_err(|_| format!("read_write `{}` has a zero byte in it", path.display()))?;
    // SAFETY: the name is a C string; the result is a new descriptor or an error.
    let fd = unsafe { libc::open(name.as_ptr(), libc::O_PATH | libc::O_CLOEXEC) };
    if fd < 0 {
        return Err(failed("", &io::Error::last_os_error()));
    }
    // SAFETY: the kernel has just made this descriptor for us.
    let place = unsafe { OwnedFd::from_raw_fd(fd) };
    let rule = PathBeneath { allowed, parent: place.as_raw_fd() };
    // SAFETY: `rule` is as the kernel reads it for this kind of rule.
    let result = unsafe {
        libc::syscall(
            libc::SYS_landlock_add_rule,
            rules.as_raw_fd(),
            PATH_BENEATH,
            &raw const rule,
            0,
        )
    };
    if result != 0 {
        return Err(failed("landlock_add_rule: ", &io::Error::last_os_error()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unit::names;

    fn plan(read_only: &[&str], read_write: &[&str]) -> SandboxPlan {
        let list = |paths: &[&str]| paths.iter().map(|path| Bytes::from(*path)).collect();
        SandboxPlan {
            read_only: list(read_only),
            read_write: list(read_write),
            ..SandboxPlan::default()
        }
    }

    #[test]
    fn the_deepest_path_is_laid_last() {
        let plan = SandboxPlan { private_tmp: true, ..plan(&["/usr/share", "/"], &["/usr"]) };
        let layers: Vec<_> = layers(&plan)
            .unwrap()
            .into_iter()
            .map(|(path, rule)| (path.display().to_string(), rule))
            .collect();
        let expected = [
            ("/", Rule::ReadOnly),
            ("/usr", Rule::ReadWrite),
            ("/tmp", Rule::Empty { optional: false }),
            ("/usr/share", Rule::ReadOnly),
            ("/var/tmp", Rule::Empty { optional: true }),
        ];
        let expected: Vec<_> = expected.map(|(path, rule)| (path.to_owned(), rule)).into();
        assert_eq!(layers, expected);
        let missing = super::layers(&plan_of_missing()).unwrap_err();
        assert_eq!(missing, "read_only `/no/such`: ENOENT (No such file or directory)");
    }

    fn plan_of_missing() -> SandboxPlan {
        plan(&["/no/such"], &[])
    }

    #[test]
    fn all_but_the_named_capabilities_are_dropped() {
        let (drop, mask) = bounding(Some(&["CAP_KILL".to_owned()])).unwrap();
        assert_eq!(mask, 1 << 5);
        assert!(!drop.contains(&5) && drop.contains(&0) && drop.contains(&21));
        assert_eq!(bounding(None).unwrap(), (Vec::new(), 0));
        assert!(bounding(Some(&["CAP_SIT".to_owned()])).unwrap_err().contains("`CAP_SIT`"));
    }

    #[test]
    fn the_capabilities_of_unit_files_are_known_by_number() {
        let mut sorted = CAPABILITIES;
        sorted.sort_unstable();
        assert_eq!(sorted, names::CAPABILITIES);
        assert_eq!(capability_number("CAP_NET_BIND_SERVICE"), Some(10));
        assert_eq!(capability_name(40), "CAP_CHECKPOINT_RESTORE");
    }

    #[test]
    fn landlock_is_for_a_normal_user_whose_wishes_it_can_say() {
        let rows = [
            (plan(&["/"], &["/srv"]), true),
            (plan(&["/etc"], &[]), false),
            (plan(&["/", "/srv/a/secret"], &["/srv/a"]), false),
            (plan(&[], &["/srv"]), false),
            (SandboxPlan { private_tmp: true, ..plan(&["/"], &[]) }, false),
        ];
        for (plan, suits) in rows {
            assert_eq!(landlock_suits(&plan, false), suits, "{plan:?}");
            assert!(!landlock_suits(&plan, true));
        }
    }
}
