//! Users and groups by name or number.
//!
//! Responsible for the look-ups that `user`, `group` and `supplementary_groups` need. Must not
//! change anybody's identity.

use nix::unistd::{Gid, Group, Uid, User, getgrouplist};
use std::ffi::CString;
use std::path::PathBuf;

/// What the user database says of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The user's number.
    pub uid: u32,
    /// The primary group's number.
    pub gid: u32,
    /// The login name, if the database has the number.
    pub name: Option<String>,
    /// The home directory, likewise.
    pub home: Option<PathBuf>,
    /// The login shell, likewise.
    pub shell: Option<PathBuf>,
}

impl From<User> for Account {
    fn from(user: User) -> Self {
        Account {
            uid: user.uid.as_raw(),
            gid: user.gid.as_raw(),
            name: Some(user.name),
            home: Some(user.dir),
            shell: Some(user.shell),
        }
    }
}

/// Finds a user by name or number. A number that the database does not have is a user without
/// name whose group has the same number.
///
/// # Errors
/// The text for people.
pub fn user(text: &str) -> Result<Account, String> {
    let failed = |error: nix::Error| format!("cannot look up user `{text}`: {}", error.desc());
    if let Some(found) = User::from_name(text).map_err(failed)? {
        return Ok(found.into());
    }
    let Ok(uid) = text.parse::<u32>() else { return Err(format!("no such user: `{text}`")) };
    Ok(match User::from_uid(Uid::from_raw(uid)).map_err(failed)? {
        Some(found) => found.into(),
        None => Account { uid, gid: uid, name: None, home: None, shell: None },
    })
}

/// The number of a group, by name or number.
///
/// # Errors
/// The text for people.
pub fn group(text: &str) -> Result<u32, String> {
    let failed = |error: nix::Error| format!("cannot look up group `{text}`: {}", error.desc());
    if let Some(found) = Group::from_name(text).map_err(failed)? {
        return Ok(found.gid.as_raw());
    }
    text.parse().map_err(|_| format!("no such group: `{text}`"))
}

/// All groups that the database puts a user into, `gid` among them.
///
/// # Errors
/// The text for people.
pub fn groups_of(account: &Account, gid: u32) -> Result<Vec<u32>, String> {
    let Some(name) = &account.name else { return Ok(vec![gid]) };
    let failed = |why: &str| format!("cannot look up the groups of user `{name}`: {why}");
    let name_c = CString::new(name.as_str()).map_err(|_| failed("a zero byte in the name"))?;
    let groups = getgrouplist(&name_c, Gid::from_raw(gid)).map_err(|error| failed(error.desc()))?;
    Ok(groups.into_iter().map(Gid::as_raw).collect())
}

/// The user that this process acts as.
pub fn effective_uid() -> u32 {
    nix::unistd::geteuid().as_raw()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_found_by_name_and_number() {
        let root = user("root").unwrap();
        assert_eq!((root.uid, root.gid), (0, 0));
        assert_eq!(user("0").unwrap(), root);
        assert_eq!(group("root").unwrap(), 0);
        assert!(groups_of(&root, 0).unwrap().contains(&0));
    }

    #[test]
    fn strangers_are_named() {
        assert_eq!(user("no-such-user").unwrap_err(), "no such user: `no-such-user`");
        assert_eq!(group("no-such-group").unwrap_err(), "no such group: `no-such-group`");
        let number = user("4123456789").unwrap();
        assert_eq!((number.uid, number.gid, number.name), (4_123_456_789, 4_123_456_789, None));
    }
}
