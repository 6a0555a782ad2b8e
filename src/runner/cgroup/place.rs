//! Where a runner's cgroups may be.
//!
//! Responsible for finding the directory in the cgroup2 tree below which they are made, and for
//! switching controllers on down to it. Must not touch what is below it.
//!
//! In cgroup v2 a cgroup other than the tree's root that has processes of its own cannot give
//! controllers to its children ("no internal processes", cgroups(7)). So the directory is:
//! - our cgroup's parent, if systemd delegated that to our unit (`DelegateSubgroup=`, systemd 254)
//!   or if we are in the leaf that an earlier runner made;
//! - one that the service file names in `WSUP_CGROUP`, if systemd delegated our own cgroup to our
//!   unit: older systemd puts the daemon into the unit's own cgroup;
//! - otherwise our own cgroup. If only processes of wsup are in it (as in a container) they move
//!   into a leaf below it once the first controller is needed. Not below a systemd unit: systemd
//!   could not start the daemon again while instances live (it puts it into the unit's own cgroup,
//!   which then may not have processes).

use super::limits::Controller;
use super::{is_gone, members, why, write};
use crate::runner::sys;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The leaf that wsup's own processes move into.
const LEAF: &str = "wsup-main";

/// What a cgroup2 tree's root has not and every other cgroup has.
const NOT_ROOT: &str = "cgroup.type";

/// The directory of our cgroups, and how controllers get there.
#[derive(Debug)]
pub(super) struct Place {
    base: PathBuf,
    /// Where the tree is mounted.
    mount: PathBuf,
    /// What of it is mounted there, as /proc shows it.
    root: String,
    /// Our own processes may make room in `base`.
    may_move: bool,
    /// Which controllers cgroup v1 has, if the machine is of that mixed kind.
    v1: Vec<String>,
}

impl Place {
    /// Finds it.
    ///
    /// # Errors
    /// The reason for people.
    pub(super) fn find() -> Result<Place, String> {
        let read = |path: &str| {
            fs::read_to_string(path).map_err(|error| format!("cannot read {path}: {error}"))
        };
        let (mountinfo, cgroup) = (read("/proc/self/mountinfo")?, read("/proc/self/cgroup")?);
        let Base { root, mount, own } = base(&mountinfo, &cgroup)?;
        let parent = own.parent().filter(|parent| parent.starts_with(&mount));
        let (base, may_move) = match parent {
            Some(parent) if own.file_name().is_some_and(|name| name == LEAF) => (parent, false),
            Some(parent) if is_delegated(parent) => (parent, false),
            Some(_) | None => (own.as_path(), !is_systemds(&own) && !is_delegated(&own)),
        };
        let lent = if base == own && is_delegated(&own) { lent(&mount) } else { None };
        let base = lent.unwrap_or_else(|| base.to_path_buf());
        Ok(Place { base, mount, root, may_move, v1: v1_controllers(&cgroup) })
    }

    /// The directory.
    pub(super) fn base(&self) -> &Path {
        &self.base
    }

    /// The path by which /proc/PID/cgroup calls a directory of the tree.
    pub(super) fn shown(&self, dir: &Path) -> String {
        let below = dir.strip_prefix(&self.mount).unwrap_or(dir).to_string_lossy();
        format!("{}/{}", self.root.trim_end_matches('/'), below.trim_start_matches('/'))
    }

    /// Switches a controller on for the children of the directory.
    ///
    /// # Errors
    /// Why it cannot be had, for people.
    pub(super) fn enable(&self, controller: Controller) -> Result<(), String> {
        let name = controller.name();
        let below = self.base.strip_prefix(&self.mount).unwrap_or(Path::new(""));
        let mut dir = self.mount.clone();
        let mut parts = below.components();
        loop {
            if !lists(&dir.join("cgroup.controllers"), name) {
                return Err(self.not_there(&dir, name));
            }
            let next = parts.next();
            if !lists(&dir.join("cgroup.subtree_control"), name) {
                self.switch_on(&dir, name, next.is_none())?;
            }
            match next {
                Some(part) => dir.push(part),
                None => return Ok(()),
            }
        }
    }

    fn not_there(&self, dir: &Path, name: &str) -> String {
        if self.v1.iter().any(|v1| v1 == name || (name == "io" && v1 == "blkio")) {
            return format!(
                "cgroup v1 has the {name} controller on this machine (boot it with \
                 systemd.unified_cgroup_hierarchy=1 for cgroup v2)"
            );
        }
        format!("there is no {name} controller in {}", dir.display())
    }

    fn switch_on(&self, dir: &Path, name: &str, is_base: bool) -> Result<(), String> {
        let text = |why: &str| {
            format!("cannot switch the {name} controller on in {}: {why}", dir.display())
        };
        // For some controllers (cpu, pids) the kernel would not refuse it beside processes, but
        // make the cgroup the root of a threaded tree, in which no process can be started. So its
        // refusal (EBUSY) is not waited for.
        if dir.join(NOT_ROOT).exists() && members(dir).is_ok_and(|pids| !pids.is_empty()) {
            if !is_base {
                return Err(text("it has processes of its own"));
            }
            if !self.may_move {
                return Err(text(
                    "the daemon itself is in it; set Delegate=yes and DelegateSubgroup=main in its \
                     unit (systemd 254 or later), or install wsup-instances.service beside it",
                ));
            }
            make_room(dir).map_err(|why| text(&why))?;
        }
        let file = dir.join("cgroup.subtree_control");
        write(&file, &format!("+{name}")).map_err(|error| text(&why(&error)))
    }
}

/// The cgroup that another unit holds for our instances. Systemd removes it while it is empty, so it
/// is made if it is missing; if that cannot be done there is none.
fn lent(mount: &Path) -> Option<PathBuf> {
    let name = std::env::var_os("WSUP_CGROUP")?;
    let below = Path::new(&name).strip_prefix("/").ok()?;
    if below.components().any(|part| !matches!(part, std::path::Component::Normal(_))) {
        return None;
    }
    let dir = mount.join(below);
    let made = fs::create_dir(&dir);
    (made.is_ok() || dir.is_dir())
        .then_some(dir)
        .filter(|dir| members(dir).is_ok_and(|pids| pids.is_empty()))
}

/// Moves our own processes into a leaf, if there are no others.
fn make_room(dir: &Path) -> Result<(), String> {
    let exe = |pid: &str| {
        let file = fs::metadata(format!("/proc/{pid}/exe")).ok()?;
        Some((file.dev(), file.ino()))
    };
    let own = exe("self");
    let all = members(dir).map_err(|error| why(&error))?;
    if let Some(other) = all.iter().find(|pid| exe(&pid.to_string()) != own) {
        return Err(format!(
            "other processes than wsup's are in it, such as {other}; start the daemon in a cgroup \
             of its own"
        ));
    }
    let leaf = dir.join(LEAF);
    match fs::create_dir(&leaf) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(why(&error));
        }
        Ok(()) | Err(_) => {}
    }
    for pid in all {
        match write(&leaf.join("cgroup.procs"), &pid.to_string()) {
            // ESRCH: it has ended meanwhile.
            Err(error) if !is_gone(&error) && error.raw_os_error() != Some(nix::libc::ESRCH) => {
                return Err(why(&error));
            }
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

/// Whether a file's words have this one.
fn lists(file: &Path, word: &str) -> bool {
    fs::read_to_string(file).is_ok_and(|text| text.split_whitespace().any(|w| w == word))
}

/// Whether systemd gave this cgroup to a unit's own use (systemd.resource-control(5), Delegate=):
/// it marks it so.
fn is_delegated(dir: &Path) -> bool {
    dir.join(NOT_ROOT).exists()
        && ["trusted.delegate", "user.delegate"].iter().any(|name| sys::xattr_is(dir, name, b"1"))
}

/// Whether the directory is a systemd unit's, or below one.
fn is_systemds(dir: &Path) -> bool {
    dir.components().any(|part| {
        let name = part.as_os_str().to_string_lossy();
        name.ends_with(".service") || name.ends_with(".scope")
    })
}

/// The controllers that have a version 1 tree: all on the lines of /proc/PID/cgroup but `0::`.
fn v1_controllers(cgroup: &str) -> Vec<String> {
    cgroup
        .lines()
        .filter(|line| !line.starts_with("0::"))
        .filter_map(|line| line.split(':').nth(1))
        .flat_map(|names| names.split(','))
        .map(str::to_owned)
        .collect()
}

/// The path on the `0::` line of /proc/PID/cgroup (cgroups(7)); on hybrid machines it is not the
/// first line.
pub(super) fn own_path(cgroup: &str) -> Option<&str> {
    cgroup.lines().find_map(|line| line.strip_prefix("0::"))
}

/// What of the cgroup2 tree is mounted where, and the directory of our own cgroup in it.
#[derive(Debug)]
struct Base {
    root: String,
    mount: PathBuf,
    own: PathBuf,
}

fn base(mountinfo: &str, cgroup: &str) -> Result<Base, String> {
    let own = own_path(cgroup).ok_or("this process is in no cgroup2 tree")?;
    if own.split('/').any(|part| part == "..") {
        return Err("this process's cgroup is outside of its cgroup namespace".into());
    }
    for line in mountinfo.lines() {
        // "31 23 0:28 ROOT MOUNTPOINT OPTIONS [TAGS] - TYPE SOURCE OPTIONS", proc(5)
        let Some((place, kind)) = line.split_once(" - ") else { continue };
        if kind.split(' ').next() != Some("cgroup2") {
            continue;
        }
        let mut fields = place.split(' ').skip(3);
        let (Some(root), Some(mount)) = (fields.next(), fields.next()) else { continue };
        let below = match root {
            "/" => Some(own),
            root => own.strip_prefix(root).filter(|rest| rest.is_empty() || rest.starts_with('/')),
        };
        if let Some(below) = below {
            let mount = PathBuf::from(unescape(mount));
            let own = mount.join(below.trim_start_matches('/'));
            return Ok(Base { root: unescape(root), mount, own });
        }
    }
    Err("no cgroup2 tree is mounted where this process could use it".into())
}

/// Undoes mountinfo's octal escapes for space, tab, newline and backslash.
fn unescape(text: &str) -> String {
    text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_base_is_found_on_all_kinds_of_machines() {
        let hybrid = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
                      32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                      41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";
        let unified = "30 23 0:26 / /sys/fs/cgroup rw shared:9 - cgroup2 cgroup2 rw\n";
        let bound = "30 23 0:26 /box /sys/fs/cg\\040roup rw - cgroup2 cgroup2 rw\n";
        let rows = [
            (hybrid, "9:name=systemd:/\n4:memory:/x\n0::/\n", Ok("/sys/fs/cgroup/unified")),
            (unified, "0::/system.slice/a.service\n", Ok("/sys/fs/cgroup/system.slice/a.service")),
            (bound, "0::/box/in\n", Ok("/sys/fs/cg roup/in")),
            (bound, "0::/boxer\n", Err("no cgroup2 tree is mounted")),
            (unified, "0::/../other\n", Err("outside of its cgroup namespace")),
            ("", "0::/\n", Err("no cgroup2 tree is mounted")),
            (unified, "4:memory:/\n", Err("in no cgroup2 tree")),
        ];
        for (mounts, own, expected) in rows {
            match (base(mounts, own), expected) {
                (Ok(Base { root, mount, own: path }), Ok(expected)) => {
                    assert_eq!(path, Path::new(expected));
                    // And back: by what path /proc calls it.
                    let place = Place { base: path, mount, root, may_move: false, v1: Vec::new() };
                    let dir = place.base.join("wsup-x");
                    let line = format!("{}/wsup-x", own_path(own).unwrap().trim_end_matches('/'));
                    assert_eq!(place.shown(&dir), line);
                }
                (Err(text), Err(part)) => assert!(text.contains(part), "{text}"),
                (got, _) => panic!("{mounts}{own}: {got:?}"),
            }
        }
    }

    #[test]
    fn version_1_controllers_are_known_by_their_lines() {
        let hybrid = "9:name=systemd:/\n5:cpu,cpuacct:/\n4:memory:/x\n0::/\n";
        assert_eq!(v1_controllers(hybrid), ["name=systemd", "cpu", "cpuacct", "memory"]);
        assert_eq!(v1_controllers("0::/user.slice\n"), [] as [&str; 0]);
    }

    #[test]
    fn systemds_own_cgroups_are_recognised() {
        assert!(is_systemds(Path::new("/sys/fs/cgroup/system.slice/wsup.service")));
        assert!(is_systemds(Path::new("/sys/fs/cgroup/user.slice/session-1.scope/x")));
        assert!(!is_systemds(Path::new("/sys/fs/cgroup/box")));
    }
}
