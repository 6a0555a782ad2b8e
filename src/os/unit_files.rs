//! Finds and reads unit files.
//!
//! Responsible for which files there are: `*.toml` below a directory, hidden ones left out, with
//! their drop-ins. Must not know what is in them: that is `unit`'s.

use crate::unit::{Content, DropIn, Source};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// A unit file is some hundred lines; what is larger than this is something else, and must not be
/// read into the daemon's memory.
const FILE_SIZE_MAX: u64 = 1 << 20;
/// Directories deeper than this are a loop or a mistake.
const DEPTH_MAX: usize = 16;
/// The ending of a directory of drop-ins.
const DROP_IN_SUFFIX: &str = ".toml.d";

/// A path that was given cannot be read at all.
#[derive(Debug)]
pub struct ReadError {
    /// The path.
    pub path: PathBuf,
    /// What the system said.
    pub error: io::Error,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot read {}: {}", self.path.display(), reason(&self.error))
    }
}

impl std::error::Error for ReadError {}

/// What one directory, or one file that was given, holds.
struct Layer {
    units: BTreeSet<PathBuf>,
    /// Drop-ins by the unit file that they are for.
    drop_ins: BTreeMap<PathBuf, Vec<PathBuf>>,
    /// The directory that was given, if it was one.
    root: Option<PathBuf>,
}

/// Reads all unit files of some paths, in order. A directory is searched recursively and is a
/// layer of its own above those before it; a file is taken as it is, whatever its ending, and
/// files are one layer above all directories. A file that is met twice is read once.
///
/// # Errors
/// A given path is not there or a directory cannot be listed. A single file that cannot be read
/// is no error here: it becomes a diagnostic of its unit.
pub fn read(paths: &[PathBuf]) -> Result<Vec<Source>, ReadError> {
    let mut layers = Vec::new();
    let mut files = Layer { units: BTreeSet::new(), drop_ins: BTreeMap::new(), root: None };
    for path in paths {
        let wrap = |error| ReadError { path: path.clone(), error };
        if fs::metadata(path).map_err(wrap)?.is_dir() {
            let mut layer = Layer {
                units: BTreeSet::new(),
                drop_ins: BTreeMap::new(),
                root: Some(path.clone()),
            };
            search(path, 0, &mut BTreeSet::new(), &mut layer)?;
            layers.push(layer);
        } else {
            let found = drop_ins_of(path)?;
            files.units.insert(path.clone());
            files.drop_ins.insert(path.clone(), found);
        }
    }
    layers.push(files);
    Ok(sources(&layers))
}

fn sources(layers: &[Layer]) -> Vec<Source> {
    let mut sources = Vec::new();
    let mut seen = BTreeSet::new();
    let mut used = BTreeSet::new();
    for (number, layer) in layers.iter().enumerate() {
        for path in &layer.units {
            let real = fs::canonicalize(path).unwrap_or_else(|_| path.clone());
            if !seen.insert(real) {
                continue;
            }
            let drop_ins = gather(layers, number, path, &mut used);
            let content = content(path);
            // Removed since it was listed: the same as never listed.
            if matches!(content, Content::Unreadable(_)) && fs::symlink_metadata(path).is_err() {
                continue;
            }
            sources.push(Source { path: path.clone(), layer: number, content, drop_ins });
        }
    }
    for (number, layer) in layers.iter().enumerate() {
        for (unit, drop_ins) in &layer.drop_ins {
            if drop_ins.iter().any(|path| used.contains(path)) || drop_ins.is_empty() {
                continue;
            }
            let drop_ins = drop_ins.iter().map(|path| drop_in(path)).collect();
            sources.push(Source {
                path: unit.clone(),
                layer: number,
                content: Content::Absent,
                drop_ins,
            });
        }
    }
    sources
}

/// The drop-ins of a unit file: those beside it, and those for the same place in later
/// directories, all in the order of their names. A later directory's of the same name replaces an
/// earlier one's.
fn gather(
    layers: &[Layer],
    number: usize,
    unit: &Path,
    used: &mut BTreeSet<PathBuf>,
) -> Vec<DropIn> {
    let relative = layers
        .get(number)
        .and_then(|layer| layer.root.as_ref())
        .and_then(|root| unit.strip_prefix(root).ok());
    let mut by_name: BTreeMap<std::ffi::OsString, PathBuf> = BTreeMap::new();
    for (at, layer) in layers.iter().enumerate().skip(number) {
        let place = match (&layer.root, relative) {
            (Some(root), Some(relative)) => root.join(relative),
            (None, None) if at == number => unit.to_owned(),
            (Some(_), None) | (None, Some(_) | None) => continue,
        };
        for path in layer.drop_ins.get(&place).map(Vec::as_slice).unwrap_or_default() {
            used.insert(path.clone());
            if let Some(name) = path.file_name() {
                by_name.insert(name.to_owned(), path.clone());
            }
        }
    }
    by_name.values().map(|path| drop_in(path)).collect()
}

fn drop_in(path: &Path) -> DropIn {
    DropIn { path: path.to_owned(), content: content(path) }
}

/// Collects the unit files and drop-ins below a directory. `above`: the real paths of the
/// directories on the way, so that a link to one of them is not followed for ever.
fn search(
    dir: &Path,
    depth: usize,
    above: &mut BTreeSet<PathBuf>,
    layer: &mut Layer,
) -> Result<(), ReadError> {
    let real = fs::canonicalize(dir).map_err(|error| ReadError { path: dir.to_owned(), error })?;
    if depth > DEPTH_MAX || !above.insert(real.clone()) {
        return Ok(());
    }
    for path in list(dir)? {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let name = name.unwrap_or_default();
        // A link that leads nowhere is read as a file, so that its error is shown.
        let is_dir = fs::metadata(&path).is_ok_and(|meta| meta.is_dir());
        match (is_dir, name.strip_suffix(DROP_IN_SUFFIX)) {
            (true, Some(stem)) => {
                let unit = dir.join(format!("{stem}.toml"));
                let found = drop_ins_of(&unit)?;
                layer.drop_ins.insert(unit, found);
            }
            (true, None) => search(&path, depth + 1, above, layer)?,
            (false, _) if name.ends_with(".toml") => {
                layer.units.insert(path);
            }
            (false, _) => {}
        }
    }
    above.remove(&real);
    Ok(())
}

/// The entries of a directory that are not hidden, in the order of their names.
fn list(dir: &Path) -> Result<Vec<PathBuf>, ReadError> {
    let wrap = |error| ReadError { path: dir.to_owned(), error };
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(wrap)? {
        let entry = entry.map_err(wrap)?;
        if !entry.file_name().to_string_lossy().starts_with('.') {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

fn drop_ins_of(unit: &Path) -> Result<Vec<PathBuf>, ReadError> {
    let mut folder = unit.as_os_str().to_owned();
    folder.push(".d");
    let folder = PathBuf::from(folder);
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut found = list(&folder)?;
    found.retain(|path| path.extension().is_some_and(|end| end == "toml") && !path.is_dir());
    Ok(found)
}

/// Reads one file; what cannot be read says why.
fn content(path: &Path) -> Content {
    match bytes(path) {
        Ok(bytes) if bytes.len() as u64 > FILE_SIZE_MAX => {
            Content::Unreadable("it is larger than 1 MiB".to_owned())
        }
        Ok(bytes) => Content::Bytes(bytes),
        Err(error) => Content::Unreadable(reason(&error)),
    }
}

fn bytes(path: &Path) -> io::Result<Vec<u8>> {
    // A pipe or a device would block, or never end.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(FILE_SIZE_MAX + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What went wrong, without the number that people cannot read.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    let end = text.find(" (os error").unwrap_or(text.len());
    text.get(..end).unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn write(root: &Path, name: &str, text: &str) {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn found(paths: &[PathBuf], root: &Path) -> Vec<String> {
        let relative = |path: &Path| path.strip_prefix(root).unwrap().display().to_string();
        read(paths).unwrap().iter().map(|source| relative(&source.path)).collect()
    }

    #[test]
    fn finds_units_below_a_directory_and_nothing_hidden() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        for name in ["b.toml", "a.toml", "sub/deep/c.toml", ".d.toml", ".git/e.toml", "f.txt"] {
            write(root, name, "");
        }
        write(root, "a.toml.d/10.toml", "");
        // A loop, as version-switching links make them.
        symlink(root, root.join("sub/loop")).unwrap();
        assert_eq!(found(&[root.to_owned()], root), ["a.toml", "b.toml", "sub/deep/c.toml"]);
    }

    #[test]
    fn a_file_met_twice_is_read_once() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        write(root, "a.toml", "");
        assert_eq!(found(&[root.to_owned(), root.join("a.toml")], root), ["a.toml"]);
    }

    #[test]
    fn drop_ins_come_in_the_order_of_names_also_from_later_directories() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        write(root, "1/a.toml", "");
        write(root, "1/a.toml.d/20.toml", "");
        write(root, "1/a.toml.d/30.toml", "first");
        write(root, "2/a.toml.d/10.toml", "");
        write(root, "2/a.toml.d/30.toml", "second");
        let sources = read(&[root.join("1"), root.join("2")]).unwrap();
        let names: Vec<String> = sources[0]
            .drop_ins
            .iter()
            .map(|drop_in| drop_in.path.strip_prefix(root).unwrap().display().to_string())
            .collect();
        assert_eq!(names, ["2/a.toml.d/10.toml", "1/a.toml.d/20.toml", "2/a.toml.d/30.toml"]);
        assert_eq!(sources.len(), 1, "the replaced drop-in is no orphan of the later directory");
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        symlink(root.join("nowhere"), root.join("link.toml")).unwrap();
        let large = vec![b'#'; usize::try_from(FILE_SIZE_MAX).unwrap() + 1];
        fs::write(root.join("large.toml"), large).unwrap();
        symlink("/dev/zero", root.join("device.toml")).unwrap();
        for source in read(&[root.to_owned()]).unwrap() {
            assert!(matches!(source.content, Content::Unreadable(_)), "{source:?}");
        }
        assert!(read(&[root.join("nowhere")]).is_err());
    }
}
