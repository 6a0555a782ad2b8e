//! What a daemon is told: where its files are, and what its node is called.
//!
//! Responsible for defaults (the contract's table "Files on disk"), for the configuration file,
//! and for which of several sources wins: the command line, then the file, then the default.

use crate::core::guard::{Hold, RATE_MAX, StormGuard};
use crate::core::id::UnitName;
use nix::unistd::{Uid, gethostname};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};

/// In what capacity the loop runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `wsup daemon` as root.
    System,
    /// `wsup daemon` as another user.
    User,
    /// `wsup dev`.
    Dev,
}

impl Mode {
    /// The word in `ctl version`.
    pub fn as_str(self) -> &'static str {
        match self {
            Mode::System => "system",
            Mode::User => "user",
            Mode::Dev => "dev",
        }
    }
}

/// Everything that is settled before the start.
#[derive(Clone, Debug)]
pub struct Settings {
    /// In what capacity.
    pub mode: Mode,
    /// Where unit files are: directories, files, Procfiles. A later one wins.
    pub units: Vec<PathBuf>,
    /// Only these units and what they depend on; empty: all.
    pub only: Vec<String>,
    /// What survives a reboot.
    pub state: PathBuf,
    /// Sockets, the lock, what goes with a reboot.
    pub runtime: PathBuf,
    /// `UNIT/INSTANCE.log` below it.
    pub logs: PathBuf,
    /// This node's name.
    pub node: UnitName,
    /// This node's labels.
    pub labels: BTreeMap<String, String>,
    /// Where programs start whose unit names no directory.
    pub working_dir: PathBuf,
    /// How many restarts may begin in a second.
    pub storm_guard: StormGuard,
}

/// What was said on the command line or in a file. `None` or empty: nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wishes {
    /// Where unit files are.
    #[serde(default)]
    pub units: Vec<PathBuf>,
    /// The state directory.
    pub state_dir: Option<PathBuf>,
    /// The runtime directory.
    pub runtime_dir: Option<PathBuf>,
    /// The log directory.
    pub log_dir: Option<PathBuf>,
    /// This node's name.
    pub node_name: Option<String>,
    /// This node's labels.
    #[serde(default)]
    pub node_labels: BTreeMap<String, String>,
    /// How many restarts may begin in a second.
    #[serde(default)]
    pub storm_guard: GuardWish,
}

/// `[storm_guard]` of the configuration file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GuardWish {
    /// See [`StormGuard::restarts_per_second`].
    pub restarts_per_second: Option<u32>,
    /// See [`StormGuard::hold`].
    pub hold: Option<Hold>,
}

impl GuardWish {
    fn settle(self) -> Result<StormGuard, String> {
        let usual = StormGuard::default();
        let rate = self.restarts_per_second.unwrap_or(usual.restarts_per_second);
        if rate > RATE_MAX {
            return Err(format!(
                "configuration: storm_guard.restarts_per_second = {rate} is more than {RATE_MAX}: \
                 lower it, or write 0 for no guard"
            ));
        }
        Ok(StormGuard { restarts_per_second: rate, hold: self.hold.unwrap_or(usual.hold) })
    }
}

impl Wishes {
    /// Reads a configuration file. Relative paths in it are meant from its own directory.
    ///
    /// # Errors
    /// File, line, and what is wrong.
    pub fn read(path: &Path) -> Result<Wishes, String> {
        let text = std::fs::read_to_string(path)
            .map_err(|e| format!("configuration {}: {e}", path.display()))?;
        let mut wishes: Wishes =
            toml::from_str(&text).map_err(|e| format!("configuration {}: {e}", path.display()))?;
        let base = path.parent().unwrap_or(Path::new("."));
        wishes.units.iter_mut().for_each(|p| *p = base.join(&*p));
        for dir in [&mut wishes.state_dir, &mut wishes.runtime_dir, &mut wishes.log_dir] {
            *dir = dir.as_ref().map(|p| base.join(p));
        }
        Ok(wishes)
    }

    /// These wishes, and where they say nothing the others. Labels are put together.
    #[must_use]
    pub fn or(mut self, other: Wishes) -> Wishes {
        if self.units.is_empty() {
            self.units = other.units;
        }
        let mut node_labels = other.node_labels;
        node_labels.extend(self.node_labels);
        Wishes {
            units: self.units,
            state_dir: self.state_dir.or(other.state_dir),
            runtime_dir: self.runtime_dir.or(other.runtime_dir),
            log_dir: self.log_dir.or(other.log_dir),
            node_name: self.node_name.or(other.node_name),
            node_labels,
            storm_guard: GuardWish {
                restarts_per_second: (self.storm_guard.restarts_per_second)
                    .or(other.storm_guard.restarts_per_second),
                hold: self.storm_guard.hold.or(other.storm_guard.hold),
            },
        }
    }
}

/// Settles what a daemon is to be, for the user who runs it.
///
/// # Errors
/// What cannot be settled and how to settle it, for people.
pub fn daemon(wishes: Wishes) -> Result<Settings, String> {
    let root = Uid::effective().is_root();
    let places = if root { system_places() } else { user_places(&wishes)? };
    settle(if root { Mode::System } else { Mode::User }, wishes, places, PathBuf::from("/"))
}

/// Settles what `wsup dev` is to be in this project.
///
/// # Errors
/// As [`daemon`].
pub fn dev(project: &Path, wishes: Wishes) -> Result<Settings, String> {
    let state = wishes.state_dir.clone().unwrap_or_else(|| project.join(".wsup"));
    let places =
        Places { units: Vec::new(), runtime: state.join("run"), logs: state.join("log"), state };
    settle(Mode::Dev, wishes, places, project.to_path_buf())
}

/// Directories.
struct Places {
    units: Vec<PathBuf>,
    state: PathBuf,
    runtime: PathBuf,
    logs: PathBuf,
}

fn system_places() -> Places {
    Places {
        units: vec!["/etc/wsup/units".into()],
        state: "/var/lib/wsup".into(),
        runtime: "/run/wsup".into(),
        logs: "/var/log/wsup".into(),
    }
}

fn user_places(wishes: &Wishes) -> Result<Places, String> {
    let home = env::var_os("HOME").map(PathBuf::from);
    let base = |variable: &str, below_home: &str| {
        // The XDG base directory specification: relative paths there are to be ignored.
        env::var_os(variable)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
            .or_else(|| home.as_ref().map(|home| home.join(below_home)))
            .map(|path| path.join("wsup"))
            .ok_or_else(|| format!("neither {variable} nor HOME is set: pass the directories"))
    };
    let state = match &wishes.state_dir {
        Some(state) => state.clone(),
        None => base("XDG_STATE_HOME", ".local/state")?,
    };
    let runtime = match (&wishes.runtime_dir, env::var_os("XDG_RUNTIME_DIR")) {
        (Some(runtime), _) => runtime.clone(),
        (None, Some(dir)) if Path::new(&dir).is_absolute() => Path::new(&dir).join("wsup"),
        (None, _) => {
            return Err(
                "XDG_RUNTIME_DIR is not set, so there is no place for the control socket: \
                        log in with a session, or pass --runtime-dir"
                    .to_owned(),
            );
        }
    };
    let units = match wishes.units.is_empty() {
        true => vec![base("XDG_CONFIG_HOME", ".config")?.join("units")],
        false => Vec::new(),
    };
    Ok(Places { units, logs: state.join("log"), state, runtime })
}

fn settle(
    mode: Mode,
    wishes: Wishes,
    places: Places,
    working_dir: PathBuf,
) -> Result<Settings, String> {
    let absolute = |path: PathBuf| {
        std::path::absolute(&path).map_err(|e| format!("directory {}: {e}", path.display()))
    };
    let units = if wishes.units.is_empty() { places.units } else { wishes.units };
    let (node, hostname) = node_name(wishes.node_name)?;
    let mut labels = BTreeMap::from([
        ("hostname".to_owned(), hostname),
        ("os".to_owned(), env::consts::OS.to_owned()),
        ("arch".to_owned(), env::consts::ARCH.to_owned()),
    ]);
    labels.extend(wishes.node_labels);
    Ok(Settings {
        mode,
        units: units.into_iter().map(absolute).collect::<Result<_, _>>()?,
        only: Vec::new(),
        state: absolute(wishes.state_dir.unwrap_or(places.state))?,
        runtime: absolute(wishes.runtime_dir.unwrap_or(places.runtime))?,
        logs: absolute(wishes.log_dir.unwrap_or(places.logs))?,
        node,
        labels,
        working_dir: absolute(working_dir)?,
        storm_guard: wishes.storm_guard.settle()?,
    })
}

/// The node's name, and the host's as a label.
fn node_name(wish: Option<String>) -> Result<(UnitName, String), String> {
    let host = gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default();
    let label = host_label(&host);
    let name = match wish {
        Some(wish) => UnitName::new(&wish).map_err(|e| format!("--node-name {wish:?}: {e}"))?,
        None => UnitName::new(&label).map_err(|e| format!("the host's name {host:?}: {e}"))?,
    };
    Ok((name, label))
}

/// The first label of a host's name, as DNS has it; `localhost` if there is nothing to make one
/// of.
fn host_label(host: &str) -> String {
    let first = host.split('.').next().unwrap_or_default();
    let text: String = first
        .chars()
        .map(|c| c.to_ascii_lowercase())
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .take(crate::core::id::NAME_MAX)
        .collect();
    let text = text.trim_matches('-');
    if text.is_empty() { "localhost".to_owned() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names_become_labels() {
        let table = [
            ("web1.example.org", "web1"),
            ("My_Host", "my-host"),
            ("-x-", "x"),
            ("", "localhost"),
            ("...", "localhost"),
        ];
        for (host, expected) in table {
            assert_eq!(host_label(host), expected, "{host:?}");
        }
        assert_eq!(host_label(&"a".repeat(64)).len(), 63);
    }

    #[test]
    fn the_command_line_wins_over_the_file_over_the_default() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("wsup.toml");
        let text =
            "units = [\"u\"]\nstate_dir = \"/s\"\nnode_labels = { a = \"file\", b = \"file\" }";
        std::fs::write(&path, text).unwrap();
        let line = Wishes {
            state_dir: Some("/line".into()),
            runtime_dir: Some("/run/x".into()),
            node_labels: BTreeMap::from([("a".to_owned(), "line".to_owned())]),
            ..Wishes::default()
        };
        let settings = daemon(line.or(Wishes::read(&path).unwrap())).unwrap();
        assert_eq!(settings.units, [dir.path().join("u")]);
        assert_eq!(settings.state, Path::new("/line"));
        let labels: Vec<_> = ["a", "b"].iter().map(|l| settings.labels[*l].as_str()).collect();
        assert_eq!(labels, ["line", "file"]);
        assert!(settings.labels.contains_key("hostname"));
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("wsup.toml");
        std::fs::write(&path, "state_dir = \"/s\"\nstate = 1\n").unwrap();
        let error = Wishes::read(&path).unwrap_err();
        assert!(error.contains("line 2") && error.contains("unknown field `state`"), "{error}");
    }

    #[test]
    fn the_storm_guard_has_a_limit_unless_the_file_says_otherwise() {
        let guard = |rate, hold| StormGuard { restarts_per_second: rate, hold };
        let table = [
            ("", guard(50, Hold::Waiting)),
            ("[storm_guard]\nrestarts_per_second = 5", guard(5, Hold::Waiting)),
            ("[storm_guard]\nhold = \"all\"", guard(50, Hold::All)),
            ("[storm_guard]\nrestarts_per_second = 0\nhold = \"waiting\"", StormGuard::OFF),
            ("storm_guard.restarts_per_second = 10000", guard(10_000, Hold::Waiting)),
        ];
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("wsup.toml");
        let settled = |text: &str| {
            std::fs::write(&path, text).unwrap();
            let line = Wishes { runtime_dir: Some("/run/x".into()), ..Wishes::default() };
            daemon(line.or(Wishes::read(&path)?)).map(|settings| settings.storm_guard)
        };
        for (text, expected) in table {
            assert_eq!(settled(text), Ok(expected), "{text}");
        }
        let wrong = [
            ("storm_guard.restarts_per_second = 10001", "is more than 10000"),
            ("storm_guard.restarts_per_second = -1", "invalid value"),
            ("storm_guard.rate = 1", "unknown field `rate`"),
            ("storm_guard.hold = \"some\"", "unknown variant `some`"),
        ];
        for (text, said) in wrong {
            let error = settled(text).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }

    #[test]
    fn dev_keeps_everything_in_the_project() {
        let settings = dev(Path::new("/p"), Wishes::default()).unwrap();
        assert_eq!(settings.state, Path::new("/p/.wsup"));
        assert_eq!(settings.runtime, Path::new("/p/.wsup/run"));
        assert_eq!(settings.logs, Path::new("/p/.wsup/log"));
        assert_eq!(settings.working_dir, Path::new("/p"));
    }
}
