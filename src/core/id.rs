//! Checked names and numbers: what the core calls units, instances and revisions.
//!
//! Responsible for validity of names. Must not know files, sockets or processes.

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;
use std::fmt;

/// The longest name of a unit: a DNS label (RFC 1123).
pub const NAME_MAX: usize = 63;
/// The longest name of a cronjob, so that `<name>-<unix minute>` is still a label
/// (Kubernetes `pkg/apis/batch/validation/validation.go`).
pub const CRONJOB_NAME_MAX: usize = 52;

/// The kinds of units a user may write, in the order in which tables list them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A long-running stateless server, freely scaled.
    Deployment,
    /// Instances with fixed identity and data.
    StatefulSet,
    /// One instance per node.
    DaemonSet,
    /// Runs to exit 0.
    Job,
    /// Creates jobs on a schedule.
    CronJob,
}

impl Kind {
    /// All kinds, in table order.
    pub const ALL: [Kind; 5] =
        [Kind::Deployment, Kind::StatefulSet, Kind::DaemonSet, Kind::Job, Kind::CronJob];

    /// The word in unit files and in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Deployment => "deployment",
            Kind::StatefulSet => "statefulset",
            Kind::DaemonSet => "daemonset",
            Kind::Job => "job",
            Kind::CronJob => "cronjob",
        }
    }

    /// Reads a kind as kubectl does: singular, plural or short, in any case.
    pub fn parse(text: &str) -> Option<Kind> {
        match text.to_ascii_lowercase().as_str() {
            "deployment" | "deployments" | "deploy" => Some(Kind::Deployment),
            "statefulset" | "statefulsets" | "sts" => Some(Kind::StatefulSet),
            "daemonset" | "daemonsets" | "ds" => Some(Kind::DaemonSet),
            "job" | "jobs" => Some(Kind::Job),
            "cronjob" | "cronjobs" | "cj" => Some(Kind::CronJob),
            _ => None,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why a text is not a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameError {
    /// It has no character.
    Empty,
    /// It has more than [`NAME_MAX`] characters.
    TooLong,
    /// It has a character other than `a-z`, `0-9` and `-`; the first such, with its byte offset.
    Character(char, usize),
    /// It begins or ends with `-`.
    Dash,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NameError::Empty => f.write_str("a name may not be empty"),
            NameError::TooLong => write!(f, "a name may have at most {NAME_MAX} characters"),
            NameError::Character(c, _) => {
                write!(f, "a name may have only a-z, 0-9 and `-`, not {c:?}")
            }
            NameError::Dash => f.write_str("a name may not begin or end with `-`"),
        }
    }
}

/// Checks that `text` is a DNS label: `[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?`.
///
/// # Errors
/// The first rule that the text breaks.
pub fn check_label(text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if let Some((at, c)) =
        text.char_indices().find(|(_, c)| !matches!(c, 'a'..='z' | '0'..='9' | '-'))
    {
        return Err(NameError::Character(c, at));
    }
    if text.len() > NAME_MAX {
        return Err(NameError::TooLong);
    }
    if text.starts_with('-') || text.ends_with('-') {
        return Err(NameError::Dash);
    }
    Ok(())
}

/// The name of a unit: a DNS label. Cheap to clone, and a short one (of up to 23 bytes) is no memory
/// elsewhere.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UnitName {
    /// The first bytes of the text, then zeroes, as numbers that are ordered as the text is (no name
    /// has a zero byte). Maps of units are searched for each event: nearly every comparison ends here.
    head: [u64; 2],
    text: SmolStr,
}

impl UnitName {
    /// Checks and wraps a name.
    ///
    /// # Errors
    /// The first rule of a DNS label that the text breaks.
    pub fn new(text: &str) -> Result<Self, NameError> {
        check_label(text)?;
        let mut bytes = text.bytes();
        let mut eight =
            || (0..8).fold(0, |head, _| head << 8 | u64::from(bytes.next().unwrap_or(0)));
        Ok(UnitName { head: [eight(), eight()], text: SmolStr::new(text) })
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        self.text.as_str()
    }
}

impl fmt::Debug for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("UnitName").field(&self.text).finish()
    }
}

impl fmt::Display for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl TryFrom<String> for UnitName {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        UnitName::new(&text).map_err(|e| e.to_string())
    }
}

impl From<UnitName> for String {
    fn from(name: UnitName) -> String {
        name.text.into()
    }
}

/// A unit's identity: kind and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct UnitKey {
    /// The kind.
    pub kind: Kind,
    /// The name, unique within the kind.
    pub name: UnitName,
}

impl UnitKey {
    /// Puts the two parts together.
    pub fn new(kind: Kind, name: UnitName) -> Self {
        UnitKey { kind, name }
    }
}

impl fmt::Display for UnitKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)
    }
}

/// One start of one instance, as the core and the runner name it to each other. An answer that
/// carries an older generation than the instance's present one is stale and dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct InstanceId {
    /// The instance; never used again. The high half counts the daemon's lives, so a number
    /// stays unique over a daemon that lost its memory.
    pub slot: u64,
    /// Which of the instance's processes: counts every start of an init step and of the program.
    pub generation: u32,
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}#{}", self.slot >> 32, self.slot & 0xffff_ffff, self.generation)
    }
}

/// The number of a template in a unit's history, from 1 (`deployment.kubernetes.io/revision`,
/// `ControllerRevision.revision`). 0 means that the unit has none yet.
pub type Revision = u64;

/// Kubernetes' alphabet for generated names: no vowels, so no words; no 0, 1 and 3
/// (`k8s.io/apimachinery/pkg/util/rand`).
pub const SAFE_ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// The random part of a generated name, from a number: five characters of [`SAFE_ALPHABET`].
pub fn suffix(mut random: u64) -> String {
    let mut text = String::with_capacity(5);
    for _ in 0..5 {
        let at = (random % SAFE_ALPHABET.len() as u64) as usize;
        text.push(char::from(SAFE_ALPHABET.get(at).copied().unwrap_or(b'x')));
        random /= SAFE_ALPHABET.len() as u64;
    }
    text
}

/// A stable text for a number in the safe alphabet, as in `api-<template hash>-<suffix>`.
pub fn safe_encode(mut number: u64) -> String {
    let mut text = String::new();
    loop {
        let at = (number % SAFE_ALPHABET.len() as u64) as usize;
        text.push(char::from(SAFE_ALPHABET.get(at).copied().unwrap_or(b'x')));
        number /= SAFE_ALPHABET.len() as u64;
        if number == 0 {
            return text;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_ordered_as_their_texts() {
        let long = "a".repeat(NAME_MAX);
        let texts = [
            "a",
            "a-b",
            "a0",
            "ab",
            "b",
            "fifteen-letters",
            "sixteen-letters-",
            "sixteen-letters-a",
            "sixteen-letters-b",
            "sixteen-letters0",
            "sixteen-letters0a",
            long.as_str(),
        ];
        let names: Vec<UnitName> =
            texts.iter().filter_map(|text| UnitName::new(text).ok()).collect();
        assert_eq!(names.len(), texts.len() - 1, "all but the one that ends with a dash");
        for a in &names {
            for b in &names {
                assert_eq!(a.cmp(b), a.as_str().cmp(b.as_str()), "{a} {b}");
                assert_eq!(a == b, a.as_str() == b.as_str(), "{a} {b}");
                // The same text elsewhere in memory.
                let again = UnitName::new(b.as_str()).ok();
                assert_eq!(again.as_ref() == Some(a), a.as_str() == b.as_str(), "{a} {b}");
            }
        }
    }
}
