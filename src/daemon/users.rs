//! Names of users and groups to numbers.
//!
//! Responsible for lookups in the system's databases. Must not change anything.

use nix::unistd::{Gid, Group, Uid, User, getgrouplist};
use std::ffi::CString;

/// Who a process shall be, with what its environment says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The user's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
    /// The supplementary groups' numbers.
    pub groups: Vec<u32>,
    /// HOME, LOGNAME, SHELL and USER, where the user has an entry and was asked for.
    pub vars: Vec<(&'static str, String)>,
}

/// What a unit asks for: names or numbers.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The user; `None`: the daemon's own.
    pub user: Option<&'a str>,
    /// The group; `None`: the user's own.
    pub group: Option<&'a str>,
    /// The supplementary groups; `None`: the user's own.
    pub supplementary: Option<&'a [String]>,
}

/// Looks up who a process shall be; `None`: nothing was asked for, so it is who the runner is.
///
/// # Errors
/// What is unknown, or may not be had by a daemon that is not root, for people.
pub fn identity(wanted: Wanted<'_>) -> Result<Option<Identity>, String> {
    if wanted.user.is_none() && wanted.group.is_none() && wanted.supplementary.is_none() {
        return Ok(None);
    }
    let (uid, entry) = match wanted.user {
        Some(text) => user(text)?,
        None => (Uid::effective(), lookup_uid(Uid::effective())?),
    };
    let gid = match (wanted.group, &entry) {
        (Some(text), _) => group(text)?,
        (None, Some(entry)) => entry.gid,
        (None, None) => {
            return Err(format!(
                "user {uid} has no entry in the user database, so its group is unknown: set `group`"
            ));
        }
    };
    let groups = match (wanted.supplementary, &entry) {
        (Some(names), _) => names.iter().map(|name| group(name)).collect::<Result<Vec<_>, _>>()?,
        (None, Some(entry)) => groups_of(&entry.name, gid)?,
        (None, None) => Vec::new(),
    };
    let vars = match (&entry, wanted.user) {
        (Some(entry), Some(_)) => vars_of(entry),
        _ => Vec::new(),
    };
    let identity = Identity {
        uid: uid.as_raw(),
        gid: gid.as_raw(),
        groups: groups.into_iter().map(Gid::as_raw).collect(),
        vars,
    };
    permitted(&identity, wanted)
}

/// A daemon that is not root can only run things as itself.
fn permitted(identity: &Identity, wanted: Wanted<'_>) -> Result<Option<Identity>, String> {
    let own = Uid::effective();
    if own.is_root() {
        return Ok(Some(identity.clone()));
    }
    if identity.uid == own.as_raw()
        && identity.gid == Gid::effective().as_raw()
        && wanted.supplementary.is_none()
    {
        // Nothing to switch; HOME and the like are still that user's.
        return Ok(Some(identity.clone()));
    }
    let own = lookup_uid(own)?.map_or_else(|| own.to_string(), |entry| entry.name);
    Err(format!(
        "only root may run a process as another user or group, and this daemon runs as {own}: \
         remove `user`, `group` and `supplementary_groups`, or run the daemon as root"
    ))
}

fn vars_of(entry: &User) -> Vec<(&'static str, String)> {
    let shell = entry.shell.to_string_lossy();
    vec![
        ("HOME", entry.dir.to_string_lossy().into_owned()),
        ("LOGNAME", entry.name.clone()),
        // passwd(5): an empty field means /bin/sh.
        ("SHELL", if shell.is_empty() { "/bin/sh".to_owned() } else { shell.into_owned() }),
        ("USER", entry.name.clone()),
    ]
}

fn user(text: &str) -> Result<(Uid, Option<User>), String> {
    if let Ok(number) = text.parse::<u32>() {
        let uid = Uid::from_raw(number);
        return Ok((uid, lookup_uid(uid)?));
    }
    match User::from_name(text) {
        Ok(Some(entry)) => Ok((entry.uid, Some(entry))),
        Ok(None) => {
            Err(format!("there is no user {text:?} on this machine: create it, or correct `user`"))
        }
        Err(errno) => Err(format!("looking up user {text:?}: {}", errno.desc())),
    }
}

fn lookup_uid(uid: Uid) -> Result<Option<User>, String> {
    User::from_uid(uid).map_err(|errno| format!("looking up user {uid}: {}", errno.desc()))
}

fn group(text: &str) -> Result<Gid, String> {
    if let Ok(number) = text.parse::<u32>() {
        return Ok(Gid::from_raw(number));
    }
    match Group::from_name(text) {
        Ok(Some(entry)) => Ok(entry.gid),
        Ok(None) => Err(format!(
            "there is no group {text:?} on this machine: create it, or correct the unit"
        )),
        Err(errno) => Err(format!("looking up group {text:?}: {}", errno.desc())),
    }
}

fn groups_of(name: &str, gid: Gid) -> Result<Vec<Gid>, String> {
    let c_name = CString::new(name).map_err(|_| format!("the user name {name:?} has a NUL"))?;
    getgrouplist(&c_name, gid).map_err(|e| format!("looking up the groups of {name}: {}", e.desc()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted<'a>(user: Option<&'a str>, group: Option<&'a str>) -> Wanted<'a> {
        Wanted { user, group, supplementary: None }
    }

    #[test]
    fn nothing_asked_is_nothing_changed() {
        assert_eq!(identity(wanted(None, None)).unwrap(), None);
    }

    #[test]
    fn unknown_names_are_refused_by_name() {
        let error = identity(wanted(Some("no-such-user-here"), None)).unwrap_err();
        assert!(error.contains("no user \"no-such-user-here\""), "{error}");
        let error = identity(wanted(None, Some("no-such-group-here"))).unwrap_err();
        assert!(error.contains("no group \"no-such-group-here\""), "{error}");
    }

    #[test]
    fn root_is_known_by_name_and_by_number() {
        if !Uid::effective().is_root() {
            // Anybody else may not become root, which is the other half of the rule.
            assert!(identity(wanted(Some("root"), None)).unwrap_err().contains("only root may"));
            return;
        }
        let by_name = identity(wanted(Some("root"), None)).unwrap().unwrap();
        assert_eq!(Some(&by_name), identity(wanted(Some("0"), None)).unwrap().as_ref());
        assert_eq!((by_name.uid, by_name.gid), (0, 0));
        assert!(by_name.vars.iter().any(|(n, v)| *n == "USER" && v == "root"));
        let error = identity(wanted(Some("4294967290"), None)).unwrap_err();
        assert!(error.contains("set `group`"), "{error}");
    }
}
