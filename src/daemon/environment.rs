//! The environment of a process: what is passed on, what the unit says, what wsup adds.
//!
//! Responsible for the order of the layers, each over the one before: inherited variables, those
//! of the `user`, env files in their order, `env` with its references, wsup's own. Reads env
//! files; must not know how a process is started.

use super::env_file;
use super::expand;
use crate::core::spec::{EnvFile, ProcessSpec};
use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Variables by name. Values are bytes: what is inherited need not be text.
pub type Vars = BTreeMap<String, Vec<u8>>;

/// What `wsup daemon` passes on where a unit says nothing.
pub const INHERIT_DAEMON: &[&str] = &["PATH", "LANG", "LC_*", "TZ"];
/// What `wsup dev` passes on where a unit says nothing.
pub const INHERIT_DEV: &[&str] = &["*"];

/// Where a PATH is nowhere to be had.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The greatest env file that is read: more than an environment can hold (execve's 2 MiB by the
/// usual limits).
const ENV_FILE_MAX: u64 = 2 << 20;

/// Variables that speak to the daemon itself and would mislead its children: systemd's protocol,
/// and what a shell notes down about its own place.
const NEVER_INHERITED: &[&str] = &[
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
    "LISTEN_PID",
    "FDSTORE",
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "MAINPID",
    "MANAGERPID",
    "MEMORY_PRESSURE_WATCH",
    "MEMORY_PRESSURE_WRITE",
    "PWD",
    "OLDPWD",
    "_",
];

/// The daemon's own variables that a process may be given. Names that are not UTF-8 cannot be
/// asked for by a pattern and are left out.
pub fn own() -> Vars {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_vec())))
        .filter(|(name, _)| !NEVER_INHERITED.contains(&name.as_str()) && !name.starts_with("WSUP_"))
        .collect()
}

/// Puts the layers together.
///
/// # Errors
/// An env file that cannot be read or understood: file, line and remedy, for people.
pub fn assemble(
    process: &ProcessSpec,
    inherited: &Vars,
    default_patterns: &[&str],
    user: &[(&'static str, String)],
    added: &[(&str, Vec<u8>)],
) -> Result<Vars, String> {
    let mut vars = Vars::new();
    for (name, value) in inherited {
        let passed = match &process.env_inherit {
            Some(patterns) => patterns.iter().any(|pattern| matches(pattern, name)),
            None => default_patterns.iter().any(|pattern| matches(pattern, name)),
        };
        if passed {
            vars.insert(name.clone(), value.clone());
        }
    }
    vars.entry("PATH".to_owned()).or_insert_with(|| DEFAULT_PATH.as_bytes().to_vec());
    vars.extend(user.iter().map(|(name, value)| ((*name).to_owned(), value.clone().into_bytes())));
    for file in &process.env_file {
        vars.extend(read(file)?.into_iter().map(|(name, value)| (name, value.into_bytes())));
    }
    // wsup's own are there to be referred to, and nothing may take their place.
    let added = added.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
    vars.extend(added.clone());
    expand::overlay(&mut vars, &process.env);
    vars.extend(added);
    if let Some(name) = vars.iter().find(|(_, value)| value.contains(&0)).map(|(name, _)| name) {
        return Err(format!("the value of variable {name} has a NUL byte, which none can have"));
    }
    Ok(vars)
}

/// `NAME`, `PREFIX*` or `*`.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => pattern == name,
    }
}

fn read(file: &EnvFile) -> Result<Vec<(String, String)>, String> {
    let path = &file.path;
    let text = match read_text(Path::new(path)) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && file.optional => {
            return Ok(Vec::new());
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            return Err(format!(
                "env_file {path} does not exist: create it, or write \"-{path}\" if it may be missing"
            ));
        }
        Err(e) => return Err(format!("env_file {path}: {e}")),
    };
    env_file::parse(&text)
        .map_err(|(line, message)| format!("env_file {path}, line {line}: {message}"))
}

/// Reads a regular file whole. Anything else (a fifo, say) could keep the daemon waiting.
fn read_text(path: &Path) -> std::io::Result<String> {
    let file = std::fs::File::options()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::other("it is not a regular file"));
    }
    let mut text = String::new();
    file.take(ENV_FILE_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > ENV_FILE_MAX {
        return Err(std::io::Error::other(format!("it is greater than {ENV_FILE_MAX} bytes")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(inherit: Option<&[&str]>, env: &[(&str, &str)], files: Vec<EnvFile>) -> ProcessSpec {
        ProcessSpec {
            command: vec!["true".into()],
            args: Vec::new(),
            env: env.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect(),
            env_file: files,
            env_inherit: inherit.map(|p| p.iter().map(|s| (*s).to_owned()).collect()),
            working_dir: None,
            user: None,
            group: None,
            supplementary_groups: None,
            umask: None,
            nice: None,
            oom_score_adj: None,
            cpu_affinity: None,
            limits: BTreeMap::new(),
            stop_signal: 15,
            termination_grace_period: crate::core::time::Millis::from_secs(30),
        }
    }

    fn inherited() -> Vars {
        ["PATH=/bin", "LANG=C", "LC_ALL=C", "LCX=1", "SECRET=s", "HOME=/root"]
            .iter()
            .filter_map(|pair| pair.split_once('='))
            .map(|(n, v)| (n.to_owned(), v.as_bytes().to_vec()))
            .collect()
    }

    fn show(vars: &Vars) -> String {
        let pairs: Vec<_> =
            vars.iter().map(|(n, v)| format!("{n}={}", String::from_utf8_lossy(v))).collect();
        pairs.join(" ")
    }

    #[test]
    fn patterns_choose_what_is_passed_on() {
        let table: &[(Option<&[&str]>, &str)] = &[
            (None, "LANG=C LC_ALL=C PATH=/bin"),
            (Some(&[]), "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
            (Some(&["PATH", "SECRET"]), "PATH=/bin SECRET=s"),
            (Some(&["*"]), "HOME=/root LANG=C LCX=1 LC_ALL=C PATH=/bin SECRET=s"),
        ];
        for (patterns, expected) in table {
            let vars =
                assemble(&process(*patterns, &[], vec![]), &inherited(), INHERIT_DAEMON, &[], &[])
                    .unwrap();
            assert_eq!(show(&vars), *expected);
        }
    }

    #[test]
    fn later_layers_win() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            EnvFile { path: path.to_string_lossy().into_owned(), optional: false }
        };
        let files = vec![file("a", "HOME=/file\nX=a\nY=a"), file("b", "Y=b\nZ=b")];
        let env = [("Z", "$(Y)-$(WSUP_UNIT)"), ("WSUP_UNIT", "forged")];
        let vars = assemble(
            &process(Some(&[]), &env, files),
            &inherited(),
            INHERIT_DAEMON,
            &[("HOME", "/home/u".into()), ("USER", "u".into())],
            &[("WSUP_UNIT", b"api".to_vec())],
        )
        .unwrap();
        let expected =
            format!("HOME=/file PATH={DEFAULT_PATH} USER=u WSUP_UNIT=api X=a Y=b Z=b-forged");
        assert_eq!(show(&vars), expected);
    }

    #[test]
    fn env_files_are_read_with_care() {
        let file = |path: &str, optional| EnvFile { path: path.into(), optional };
        let run = |files| assemble(&process(Some(&[]), &[], files), &Vars::new(), &[], &[], &[]);
        assert!(run(vec![file("/nonexistent/x", true)]).is_ok());
        let error = run(vec![file("/nonexistent/x", false)]).unwrap_err();
        assert!(
            error.contains("does not exist") && error.contains("\"-/nonexistent/x\""),
            "{error}"
        );
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let error = run(vec![file(&fifo.to_string_lossy(), true)]).unwrap_err();
        assert!(error.contains("not a regular file"), "{error}");
        let bad = dir.path().join("bad");
        std::fs::write(&bad, "A=1\nnonsense\n").unwrap();
        let error = run(vec![file(&bad.to_string_lossy(), false)]).unwrap_err();
        assert!(error.contains("bad, line 2: expected NAME=VALUE"), "{error}");
    }
}
