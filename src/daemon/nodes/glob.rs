//! Patterns of paths: which paths match now, which directories to watch for a change of that, and
//! what each path is called as a node.
//!
//! Responsible for the shell's rules: `*`, `?` and `[...]` within one component, a leading dot
//! only by a leading dot. Must not watch anything.

use super::NodeSet;
use crate::core::id::{NAME_MAX, safe_encode};
use crate::daemon::watch::deepest_existing;
use globset::{GlobBuilder, GlobMatcher};
use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

/// The longest node name: an instance is `<unit>-<node>`, and names of units want room too.
const NODE_NAME_MAX: usize = NAME_MAX - 20;

/// How many paths one daemonset may have as nodes. More is a pattern gone wrong (`/*/*`), and
/// would start as many processes.
const PATHS_MAX: usize = 4_096;

/// A pattern, cut into components.
#[derive(Debug)]
pub(super) struct Pattern {
    text: String,
    parts: Vec<Part>,
}

#[derive(Debug)]
enum Part {
    Literal(String),
    Wild { matcher: GlobMatcher, dots: bool },
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Pattern {
    /// Cuts an absolute pattern. A component that is no valid pattern stands for itself.
    pub(super) fn new(text: &str) -> Pattern {
        let parts = text.split('/').filter(|part| !part.is_empty() && *part != ".").map(|part| {
            if !part.contains(['*', '?', '[']) {
                return Part::Literal(part.to_owned());
            }
            match GlobBuilder::new(part).literal_separator(true).build() {
                Ok(glob) => {
                    Part::Wild { matcher: glob.compile_matcher(), dots: part.starts_with('.') }
                }
                Err(_) => Part::Literal(part.to_owned()),
            }
        });
        Pattern { text: text.to_owned(), parts: parts.collect() }
    }

    /// The paths that match now, in order, and every directory in which the appearance or
    /// disappearance of a name could change that.
    pub(super) fn find(&self) -> (Vec<String>, BTreeSet<PathBuf>) {
        let mut found = vec![PathBuf::from("/")];
        let mut watched = BTreeSet::new();
        for part in &self.parts {
            let mut next = Vec::new();
            for directory in &found {
                watched.insert(deepest_existing(directory));
                match part {
                    Part::Literal(name) => next.push(directory.join(name)),
                    Part::Wild { matcher, dots } => {
                        next.extend(children(directory, matcher, *dots))
                    }
                }
            }
            next.truncate(PATHS_MAX);
            found = next;
        }
        // symlink_metadata: a dangling link is a path too, as for a shell.
        found.retain(|path| path.symlink_metadata().is_ok());
        let mut paths: Vec<_> =
            found.into_iter().filter_map(|path| path.into_os_string().into_string().ok()).collect();
        paths.sort();
        (paths, self.only_needed(watched))
    }

    /// The directories above the first wildcard are needed only as far down as they exist: a
    /// change further up shows there too, by the directory's own end.
    fn only_needed(&self, mut watched: BTreeSet<PathBuf>) -> BTreeSet<PathBuf> {
        let mut fixed = PathBuf::from("/");
        for part in &self.parts {
            match part {
                Part::Literal(name) => fixed.push(name),
                Part::Wild { .. } => break,
            }
        }
        let deepest = deepest_existing(&fixed);
        // Its parent stays, since a directory that is moved away and made anew shows there.
        let parent = deepest.parent().map(Path::to_path_buf);
        watched.retain(|dir| {
            dir.starts_with(&deepest) || Some(dir) == parent.as_ref() || !deepest.starts_with(dir)
        });
        watched.insert(deepest);
        watched
    }

    /// The part of a path that tells it from others: from the first wildcard on.
    fn particular(&self, path: &str) -> String {
        let fixed = self.parts.iter().take_while(|p| matches!(p, Part::Literal(_))).count();
        // A pattern without a wildcard has one path, whose last component will do.
        let skip = fixed.min(self.parts.len().saturating_sub(1));
        let parts: Vec<_> = path.split('/').filter(|p| !p.is_empty()).skip(skip).collect();
        parts.join("-")
    }
}

fn children(directory: &Path, matcher: &GlobMatcher, dots: bool) -> Vec<PathBuf> {
    // A directory that cannot be read has, for us, nothing in it.
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let mut names: Vec<_> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| (dots || !name.starts_with('.')) && matcher.is_match(name))
        .collect();
    names.sort();
    names.into_iter().map(|name| directory.join(name)).collect()
}

/// Gives each path a name: its particular part as a DNS label. Where two paths would share one,
/// the later gets a short hash; a path keeps the name it had in `before`, whatever comes.
pub(super) fn name(pattern: &Pattern, paths: &[String], before: &NodeSet) -> NodeSet {
    let mut named = NodeSet::new();
    let mut fresh = Vec::new();
    for path in paths {
        match before.iter().find(|(_, had)| had.as_deref() == Some(path)) {
            Some((name, _)) => {
                named.insert(name.clone(), Some(path.clone()));
            }
            None => fresh.push(path),
        }
    }
    for path in fresh {
        let plain = label(&pattern.particular(path));
        let name = match plain {
            Some(name) if !named.contains_key(&name) => name,
            Some(name) => format!("{}-{}", cut(&name, NODE_NAME_MAX - 8), hash(path)),
            None => hash(path),
        };
        named.insert(name, Some(path.clone()));
    }
    named
}

/// Lower case, everything else a dash, no dash at the ends. `None`: nothing is left of it, or it
/// is too long to be told from others after a cut.
fn label(text: &str) -> Option<String> {
    let mut label = String::new();
    for c in text.chars().map(|c| c.to_ascii_lowercase()) {
        match c {
            'a'..='z' | '0'..='9' => label.push(c),
            _ if label.ends_with('-') => {}
            _ => label.push('-'),
        }
    }
    let label = label.trim_matches('-');
    (!label.is_empty() && label.len() <= NODE_NAME_MAX).then(|| label.to_owned())
}

fn cut(name: &str, len: usize) -> &str {
    name.get(..len).unwrap_or(name).trim_end_matches('-')
}

/// FNV-1a, as Kubernetes uses for such suffixes; seven characters.
fn hash(text: &str) -> String {
    let sum = text
        .bytes()
        .fold(0x811c_9dc5_u32, |sum, byte| (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    safe_encode(u64::from(sum)).chars().take(7).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(pattern: &str, paths: &[&str]) -> Vec<String> {
        let paths: Vec<_> = paths.iter().map(|p| (*p).to_owned()).collect();
        let named = name(&Pattern::new(pattern), &paths, &NodeSet::new());
        assert_eq!(named.len(), paths.len(), "no path is lost");
        named.into_keys().collect()
    }

    #[test]
    fn names_come_from_what_varies() {
        assert_eq!(
            names("/dev/nvidia[0-9]*", &["/dev/nvidia0", "/dev/nvidia10"]),
            ["nvidia0", "nvidia10"]
        );
        assert_eq!(names("/dev/ttyUSB*", &["/dev/ttyUSB0"]), ["ttyusb0"]);
        assert_eq!(names("/sys/*/x/*", &["/sys/a/x/b"]), ["a-x-b"]);
        assert_eq!(names("/dev/sda", &["/dev/sda"]), ["sda"]);
        assert_eq!(names("/d/*", &["/d/My File_2.txt"]), ["my-file-2-txt"]);
    }

    #[test]
    fn names_are_labels_and_do_not_collide() {
        let long = format!("/d/{}", "x".repeat(200));
        for paths in [vec!["/d/A", "/d/a"], vec!["/d/-", "/d/_"], vec![long.as_str()]] {
            for name in names("/d/*", &paths) {
                crate::core::id::check_label(&name).unwrap();
                assert!(name.len() <= NODE_NAME_MAX);
            }
        }
    }

    #[test]
    fn a_path_keeps_its_name_when_a_rival_appears() {
        let pattern = Pattern::new("/d/*");
        let first = name(&pattern, &["/d/a".to_owned()], &NodeSet::new());
        let both = name(&pattern, &["/d/A".to_owned(), "/d/a".to_owned()], &first);
        assert_eq!(both["a"].as_deref(), Some("/d/a"));
        assert_eq!(both.len(), 2);
    }

    #[test]
    fn matching_is_the_shells() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a1", "a2", "b1", ".a3", "sub/a1", "a1x/c"] {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::create_dir_all(path).unwrap();
        }
        let find = |tail: &str| -> Vec<String> {
            let base = dir.path().to_str().unwrap();
            let (paths, _) = Pattern::new(&format!("{base}/{tail}")).find();
            paths.iter().map(|p| p[base.len() + 1..].to_owned()).collect()
        };
        assert_eq!(find("a?"), ["a1", "a2"]);
        assert_eq!(find("[ab]1"), ["a1", "b1"]);
        assert_eq!(find("*/a1"), ["sub/a1"]);
        assert_eq!(find("*"), ["a1", "a1x", "a2", "b1", "sub"]);
        assert_eq!(find(".a*"), [".a3"]);
        assert_eq!(find("nothing*"), [] as [&str; 0]);
        assert_eq!(find("sub"), ["sub"]);
    }
}
