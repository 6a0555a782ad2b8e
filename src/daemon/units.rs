//! The unit files as the daemon sees them: read, compared with what was read before, watched.
//!
//! Responsible for choosing what is read, for what an unreadable place means, and for who an
//! invalid file is about. Must not judge what is in a file: that is `unit`'s.

use super::watch::deepest_existing;
use crate::core::event::UnitsRead;
use crate::core::id::{Kind, UnitKey, UnitName};
use crate::core::spec::UnitSpec;
use crate::os::unit_files;
use crate::unit::{Diagnostic, InvalidUnit, Loaded, Severity, load, procfile};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// How deep directories are watched; as deep as they are read.
const DEPTH_MAX: usize = 16;

/// The places that units are read from.
#[derive(Debug)]
pub struct UnitFiles {
    paths: Vec<PathBuf>,
    only: Vec<String>,
    origins: BTreeMap<UnitKey, PathBuf>,
    last: Option<(Vec<UnitSpec>, BTreeMap<UnitKey, String>)>,
}

/// What reading came to.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// For the core.
    pub read: UnitsRead,
    /// Every complaint, rendered for a terminal without colours.
    pub diagnostics: Vec<String>,
    /// What is valid and perhaps not meant, likewise.
    pub warnings: Vec<String>,
    /// It differs from what was read last.
    pub changed: bool,
}

impl UnitFiles {
    /// Units from these places, and of them only those named and what they depend on; all if
    /// none is named.
    pub fn new(paths: Vec<PathBuf>, only: Vec<String>) -> UnitFiles {
        UnitFiles { paths, only, origins: BTreeMap::new(), last: None }
    }

    /// Reads everything. `known`: the units that the core has.
    ///
    /// A place that is not there has no units; but if none is there although there are units,
    /// then something is wrong with the places (a disk that is not mounted) and not with the
    /// units, and they run on.
    ///
    /// # Errors
    /// What could not be read: nothing is to change then.
    pub fn read(&mut self, explicit: bool, known: &[UnitKey]) -> Result<Reading, String> {
        let there: Vec<_> = self.paths.iter().filter(|path| path.exists()).cloned().collect();
        if there.is_empty() && !known.is_empty() {
            let names: Vec<_> = self.paths.iter().map(|p| p.display().to_string()).collect();
            return Err(format!(
                "{} is not there; the units that were read from it run on as they are",
                names.join(", ")
            ));
        }
        let loaded = load_all(&there)?;
        let invalid = invalid(&loaded, known, &self.origins);
        let said = loaded.files.iter().flat_map(|file| &file.diagnostics);
        let (mistakes, warnings): (Vec<_>, Vec<_>) =
            said.partition(|said| said.severity == Severity::Error);
        let texts = |all: Vec<&Diagnostic>| all.iter().map(|d| loaded.render(d, false)).collect();
        let (diagnostics, warnings) = (texts(mistakes), texts(warnings));
        let valid = chosen(loaded.units, &self.only);
        // Of a unit whose file is broken now it stays known which file that is.
        self.origins.retain(|key, _| invalid.contains_key(key));
        self.origins.extend(loaded.origins);
        let seen = (valid.clone(), invalid.clone());
        let changed = self.last.as_ref() != Some(&seen);
        self.last = Some(seen);
        Ok(Reading { read: UnitsRead { valid, invalid, explicit }, diagnostics, warnings, changed })
    }

    /// Every directory in which a change could change what is read.
    pub fn directories(&self) -> BTreeSet<PathBuf> {
        let mut found = BTreeSet::new();
        for path in &self.paths {
            // The place itself may go and come.
            if let Some(parent) = path.parent() {
                found.insert(deepest_existing(parent));
            }
            below(path, 0, &mut found);
            let mut drop_ins = path.clone().into_os_string();
            drop_ins.push(".d");
            below(Path::new(&drop_ins), 0, &mut found);
        }
        found
    }
}

fn load_all(paths: &[PathBuf]) -> Result<Loaded, String> {
    let (procfiles, units): (Vec<_>, Vec<_>) =
        paths.iter().cloned().partition(|path| procfile::is_procfile(path));
    let sources = unit_files::read(&units).map_err(|error| error.to_string())?;
    let mut loaded = load(sources);
    for path in procfiles {
        let text = std::fs::read_to_string(&path)
            .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        let more = procfile::parse(&path, &text);
        // A unit file of the same name says more than a line, so it wins.
        for unit in more.units {
            if !loaded.units.iter().any(|have| have.key == unit.key) {
                loaded.units.push(unit);
            }
        }
        loaded.origins.extend(more.origins);
        loaded.invalid.extend(more.invalid);
        loaded.files.extend(more.files);
        loaded.texts.extend(more.texts);
    }
    loaded.units.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(loaded)
}

/// Who the invalid files are about. A file whose kind or name cannot be read may be about each
/// known unit that came from it; one that is about none is shown under what can be read of it.
fn invalid(
    loaded: &Loaded,
    known: &[UnitKey],
    origins: &BTreeMap<UnitKey, PathBuf>,
) -> BTreeMap<UnitKey, String> {
    let mut found = BTreeMap::new();
    for file in &loaded.invalid {
        let mut about: Vec<_> = known
            .iter()
            .filter(|key| file.concerns(key, origins.get(*key).map(PathBuf::as_path)))
            .cloned()
            .collect();
        if about.is_empty() {
            about.extend(best_guess(file));
        }
        for key in about {
            // A unit that another file defines well is not invalid.
            if !loaded.origins.contains_key(&key) {
                found.entry(key).or_insert_with(|| file.message.clone());
            }
        }
    }
    found
}

fn best_guess(file: &InvalidUnit) -> Option<UnitKey> {
    let stem = || UnitName::new(file.path.file_stem()?.to_str()?).ok();
    // The kind most units are of, where the file does not say one that exists.
    let kind = file.kind.unwrap_or(Kind::Deployment);
    Some(UnitKey::new(kind, file.name.clone().or_else(stem)?))
}

/// The named units and, over any number of steps, what they depend on.
fn chosen(units: Vec<UnitSpec>, only: &[String]) -> Vec<UnitSpec> {
    if only.is_empty() {
        return units;
    }
    let mut wanted: BTreeSet<String> = only.iter().cloned().collect();
    loop {
        let before = wanted.len();
        for unit in &units {
            if wanted.contains(unit.key.name.as_str()) {
                // `NAME` or `KIND/NAME`.
                let names = unit.depends_on.iter().filter_map(|on| on.unit.rsplit('/').next());
                wanted.extend(names.map(str::to_owned));
            }
        }
        if wanted.len() == before {
            break;
        }
    }
    units.into_iter().filter(|unit| wanted.contains(unit.key.name.as_str())).collect()
}

/// All directories below and including `dir`, hidden ones left out, and the directories of files
/// that are linked to: those are written elsewhere.
fn below(dir: &Path, depth: usize, found: &mut BTreeSet<PathBuf>) {
    if depth > DEPTH_MAX || !dir.is_dir() || !found.insert(dir.to_path_buf()) {
        return;
    }
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        let path = entry.path();
        if path.is_dir() {
            below(&path, depth + 1, found);
        } else if entry.file_type().is_ok_and(|kind| kind.is_symlink()) {
            found.extend(path.canonicalize().ok().and_then(|p| p.parent().map(Path::to_path_buf)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "kind = \"deployment\"\n[process]\ncommand = [\"true\"]\n";

    fn write(dir: &Path, name: &str, text: &str) {
        std::fs::create_dir_all(dir).unwrap();
        std::fs::write(dir.join(name), text).unwrap();
    }

    fn valid(reading: &Reading) -> Vec<String> {
        reading.read.valid.iter().map(|unit| unit.key.to_string()).collect()
    }

    fn key(name: &str) -> UnitKey {
        UnitKey::new(Kind::Deployment, UnitName::new(name).unwrap())
    }

    #[test]
    fn reading_again_tells_whether_anything_changed() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "api.toml", GOOD);
        let mut files = UnitFiles::new(vec![dir.path().to_owned()], Vec::new());
        assert!(files.read(false, &[]).unwrap().changed);
        assert!(!files.read(false, &[]).unwrap().changed);
        write(dir.path(), "api.toml", &format!("# a comment\n{GOOD}"));
        assert!(!files.read(false, &[]).unwrap().changed, "a comment changes nothing");
        write(dir.path(), "api.toml", &format!("replicas = 2\n{GOOD}"));
        assert!(files.read(false, &[]).unwrap().changed);
    }

    #[test]
    fn places_that_are_all_gone_take_no_unit_with_them() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (dir.path().join("one"), dir.path().join("two"));
        let mut files = UnitFiles::new(vec![one.clone(), two.clone()], Vec::new());
        assert!(valid(&files.read(false, &[]).unwrap()).is_empty(), "nothing yet is no mistake");
        write(&one, "api.toml", GOOD);
        assert_eq!(valid(&files.read(false, &[]).unwrap()), ["deployment/api"]);
        std::fs::remove_dir_all(&one).unwrap();
        let error = files.read(false, &[key("api")]).unwrap_err();
        assert!(error.contains("is not there"), "{error}");
        // One of several that is gone is meant.
        write(&two, "web.toml", GOOD);
        assert_eq!(valid(&files.read(false, &[key("api")]).unwrap()), ["deployment/web"]);
    }

    #[test]
    fn a_file_that_lost_its_identity_is_about_the_unit_it_defined() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "x.toml", &format!("name = \"api\"\n{GOOD}"));
        let mut files = UnitFiles::new(vec![dir.path().to_owned()], Vec::new());
        files.read(false, &[]).unwrap();
        write(dir.path(), "x.toml", "name = [broken");
        let reading = files.read(false, &[key("api")]).unwrap();
        assert!(valid(&reading).is_empty());
        assert_eq!(reading.read.invalid.keys().cloned().collect::<Vec<_>>(), [key("api")]);
        assert!(!reading.diagnostics.is_empty());
    }

    #[test]
    fn the_named_bring_what_they_depend_on() {
        use crate::core::spec::{Dependency, DependencyCondition};
        let dir = tempfile::tempdir().unwrap();
        for name in ["api", "db", "disk", "other"] {
            write(dir.path(), &format!("{name}.toml"), GOOD);
        }
        let mut files = UnitFiles::new(vec![dir.path().to_owned()], Vec::new());
        let mut units = files.read(false, &[]).unwrap().read.valid;
        for unit in &mut units {
            let on = match unit.key.name.as_str() {
                "api" => "db",
                "db" => "disk",
                _ => continue,
            };
            let condition = DependencyCondition::Available;
            // With its kind or without.
            let on = if on == "db" { format!("deployment/{on}") } else { on.to_owned() };
            unit.depends_on.push(Dependency { unit: on, condition });
        }
        let names = |only: &[&str]| -> Vec<String> {
            let only: Vec<_> = only.iter().map(|name| (*name).to_owned()).collect();
            chosen(units.clone(), &only).iter().map(|unit| unit.key.name.to_string()).collect()
        };
        assert_eq!(names(&["api"]), ["api", "db", "disk"]);
        assert_eq!(names(&["disk"]), ["disk"]);
        assert_eq!(names(&[]), ["api", "db", "disk", "other"]);
    }

    #[test]
    fn every_place_of_change_is_watched() {
        let dir = tempfile::tempdir().unwrap();
        let units = dir.path().join("units");
        write(&units.join("team/deep"), "api.toml", GOOD);
        write(&units.join("api.toml.d"), "more.toml", "");
        write(&units.join(".hidden"), "x.toml", "");
        write(&dir.path().join("shared"), "db.toml", GOOD);
        std::os::unix::fs::symlink(dir.path().join("shared/db.toml"), units.join("db.toml"))
            .unwrap();
        let missing = dir.path().join("later/units");
        let watched = UnitFiles::new(vec![units.clone(), missing], Vec::new()).directories();
        for expected in ["", "units", "units/team", "units/team/deep", "units/api.toml.d", "shared"]
        {
            let path = dir.path().join(expected).components().collect::<PathBuf>();
            assert!(watched.contains(&path), "{expected:?} of {watched:?}");
        }
        assert!(!watched.contains(&units.join(".hidden")));
    }
}
