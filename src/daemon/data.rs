//! Data directories of statefulset instances: made before a start, removed when retention says so.
//!
//! Responsible for where they are, whose they are, and for never touching anything outside.

use super::users::Identity;
use crate::core::action::DataDir;
use crate::core::id::check_label;
use nix::unistd::{Gid, Uid, chown};
use std::fs::{DirBuilder, symlink_metadata};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Only the instance reads its own data; who else shall is for its program to say.
const MODE: u32 = 0o700;

/// Where an instance's directory is: `<data_dir>/<instance>`, by default
/// `<state>/data/<unit>/<instance>`.
pub fn path(state: &Path, unit: &str, dir: &DataDir) -> PathBuf {
    base(state, unit, dir).join(&dir.instance)
}

fn base(state: &Path, unit: &str, dir: &DataDir) -> PathBuf {
    match &dir.base {
        Some(base) => PathBuf::from(base),
        None => state.join("data").join(unit),
    }
}

/// Makes an instance's directory if there is none. An existing one is left as it is, its owner
/// and mode included: they may have been set with purpose.
///
/// # Errors
/// Cause and remedy, for people.
pub fn make(
    state: &Path,
    unit: &str,
    dir: &DataDir,
    owner: Option<&Identity>,
) -> Result<PathBuf, String> {
    check_label(&dir.instance)
        .map_err(|e| format!("data directory: {:?} is no instance's name: {e}", dir.instance))?;
    let base = base(state, unit, dir);
    let fail = |path: &Path, e: &dyn std::fmt::Display| {
        format!("making the data directory {}: {e}", path.display())
    };
    std::fs::create_dir_all(&base).map_err(|e| fail(&base, &e))?;
    let path = base.join(&dir.instance);
    match DirBuilder::new().mode(MODE).create(&path) {
        Ok(()) => {
            if let Some(owner) = owner {
                let (uid, gid) = (Uid::from_raw(owner.uid), Gid::from_raw(owner.gid));
                chown(&path, Some(uid), Some(gid)).map_err(|e| {
                    fail(&path, &format!("it cannot be given to user {uid}: {}", e.desc()))
                })?;
            }
        }
        Err(e) if e.kind() == ErrorKind::AlreadyExists => {
            let found = std::fs::metadata(&path).map_err(|e| fail(&path, &e))?;
            if !found.is_dir() {
                return Err(fail(&path, &"there is something else of that name: move it away"));
            }
        }
        Err(e) => return Err(fail(&path, &e)),
    }
    Ok(path)
}

/// Removes an instance's directory with all that is in it. A link of that name is not followed
/// and not removed; nor are links inside followed. What is not there counts as removed.
///
/// # Errors
/// Cause and remedy, for people. Part of the data may be gone then.
pub fn remove(state: &Path, unit: &str, dir: &DataDir) -> Result<(), String> {
    // A name with a slash or dots would lead out of the base directory.
    check_label(&dir.instance)
        .map_err(|e| format!("not removed: {:?} is no instance's name: {e}", dir.instance))?;
    let path = path(state, unit, dir);
    let fail = |e: &dyn std::fmt::Display| {
        format!("removing the data directory {}: {e}; remove it by hand", path.display())
    };
    match symlink_metadata(&path) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(fail(&e)),
        Ok(found) if !found.is_dir() => return Err(fail(&"it is not a directory")),
        Ok(_) => {}
    }
    // Works by descriptors and never follows a link (std's documentation of remove_dir_all).
    std::fs::remove_dir_all(&path).map_err(|e| fail(&e))?;
    if dir.base.is_none() {
        // The unit's own folder goes with the last of its instances; it stays if that is not so.
        let _ = std::fs::remove_dir(base(state, unit, dir));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, symlink};

    fn dir(base: Option<&Path>, instance: &str) -> DataDir {
        DataDir {
            base: base.map(|b| b.to_string_lossy().into_owned()),
            instance: instance.to_owned(),
        }
    }

    #[test]
    fn a_directory_is_made_once_and_kept_as_it_is() {
        let state = tempfile::tempdir().unwrap();
        let made = make(state.path(), "db", &dir(None, "db-0"), None).unwrap();
        assert_eq!(made, state.path().join("data/db/db-0"));
        assert_eq!(made.metadata().unwrap().mode() & 0o777, MODE);
        std::fs::write(made.join("rows"), "1").unwrap();
        std::fs::set_permissions(&made, std::os::unix::fs::PermissionsExt::from_mode(0o750))
            .unwrap();
        make(state.path(), "db", &dir(None, "db-0"), None).unwrap();
        assert_eq!(made.metadata().unwrap().mode() & 0o777, 0o750);
        assert!(made.join("rows").exists());
    }

    #[test]
    fn removal_takes_the_one_directory_and_nothing_else() {
        let state = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("precious"), "1").unwrap();
        for n in ["db-0", "db-1"] {
            let made = make(state.path(), "db", &dir(None, n), None).unwrap();
            std::fs::create_dir(made.join("deep")).unwrap();
            symlink(outside.path(), made.join("deep/link")).unwrap();
        }
        remove(state.path(), "db", &dir(None, "db-0")).unwrap();
        assert!(!state.path().join("data/db/db-0").exists());
        assert!(state.path().join("data/db/db-1/deep/link").exists());
        remove(state.path(), "db", &dir(None, "db-0")).unwrap();
        remove(state.path(), "db", &dir(None, "db-1")).unwrap();
        assert!(!state.path().join("data/db").exists());
        assert!(outside.path().join("precious").exists());
    }

    #[test]
    fn removal_refuses_to_leave_the_base_directory() {
        let base = tempfile::tempdir().unwrap();
        let inner = base.path().join("inner");
        std::fs::create_dir(&inner).unwrap();
        std::fs::write(base.path().join("precious"), "1").unwrap();
        symlink(base.path(), inner.join("db-0")).unwrap();
        std::fs::write(inner.join("db-1"), "a file").unwrap();
        for name in ["..", ".", "", "a/b", "/etc", "../inner", "db-0", "db-1"] {
            let refused = remove(base.path(), "db", &dir(Some(&inner), name)).unwrap_err();
            assert!(refused.contains("remov"), "{refused}");
        }
        assert!(base.path().join("precious").exists());
        assert!(inner.join("db-0").exists());
    }
}
