//! Somebody who is not root: default places, trees without cgroup rights, `dev`, what is not his.
//!
//! As root these tests become a user without name and rights, by setpriv(1); as somebody else they
//! run as who they are. No account is made.

use crate::support::{self, DEADLINE, Said, lives, pid_of, processes_of, signal};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How often a condition is looked at.
const GLANCE: Duration = Duration::from_millis(20);
/// A number that no account has: such a user has no name, no home and no groups.
const NOBODY_AT_ALL: u32 = 61_234;

/// A person with a home of his own, and what he has started.
struct Person {
    dir: tempfile::TempDir,
    becomes: Option<u32>,
    child: Option<Child>,
}

impl Person {
    /// `None`, with the reason on stderr: this machine cannot try it.
    fn new() -> Option<Person> {
        let dir = tempfile::Builder::new().prefix("wsup-user-").tempdir().expect("a folder");
        let mut person = Person { dir, becomes: None, child: None };
        fs::set_permissions(person.dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
        if nix::unistd::geteuid().is_root() {
            person.becomes = Some(NOBODY_AT_ALL);
        }
        // The build's folder may be closed to others.
        fs::copy(env!("CARGO_BIN_EXE_wsup"), person.path("wsup")).expect("the program is copied");
        for name in ["home", "run", "project"] {
            fs::create_dir(person.path(name)).unwrap();
            if let Some(uid) = person.becomes {
                chown(person.path(name), Some(uid), Some(uid)).unwrap();
            }
        }
        let tried = person.wsup(&["--version"]).output();
        if tried.as_ref().is_ok_and(|output| output.status.success()) {
            return Some(person);
        }
        eprintln!("skipped: cannot run as user {NOBODY_AT_ALL} by setpriv(1) here: {tried:?}");
        None
    }

    fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    /// `wsup WORDS` as that user, in `project`, with nothing but a home and a session's folder.
    fn wsup(&self, words: &[&str]) -> Command {
        let program = self.path("wsup");
        let mut command = match self.becomes {
            None => Command::new(program),
            Some(uid) => {
                let mut command = Command::new("setpriv");
                command
                    .args([format!("--reuid={uid}"), format!("--regid={uid}")])
                    .args(["--clear-groups", "--no-new-privs"])
                    .args(["--inh-caps=-all", "--bounding-set=-all"])
                    .arg(program);
                command
            }
        };
        command
            .args(words)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.path("home"))
            .env("XDG_RUNTIME_DIR", self.path("run"))
            .current_dir(self.path("project"))
            .stdin(Stdio::null());
        command
    }

    fn write(&self, below: &str, text: &str) {
        let path = self.path(below);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text.replace("@DIR@", &self.path("home").display().to_string())).unwrap();
    }

    fn start(&mut self, words: &[&str]) {
        let log = self.path("stderr");
        let log = fs::File::options().create(true).append(true).open(log).unwrap();
        let out = log.try_clone().unwrap();
        self.child = Some(self.wsup(words).stdout(out).stderr(log).spawn().expect("it starts"));
        self.wait("it answers", |person| person.ctl(&["ping"]).code == 0);
    }

    fn ctl(&self, words: &[&str]) -> Said {
        let all: Vec<&str> = ["ctl"].iter().chain(words).copied().collect();
        self.wsup(&all).output().expect("ctl runs").into()
    }

    fn json(&self, words: &[&str]) -> Value {
        serde_json::from_str(&self.ctl(words).out).unwrap_or(Value::Null)
    }

    fn pids(&self) -> BTreeSet<u32> {
        let text = fs::read_to_string(self.path("home/pids")).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    }

    #[track_caller]
    fn wait(&self, what: &str, condition: impl Fn(&Person) -> bool) {
        let end = Instant::now() + DEADLINE;
        while !condition(self) {
            let log = fs::read_to_string(self.path("stderr")).unwrap_or_default();
            assert!(Instant::now() < end, "waited in vain until {what}\n{log}");
            std::thread::sleep(GLANCE);
        }
    }

    /// Sends a signal and waits for the end. Gives the exit code, -1 after a signal.
    fn end(&mut self, with: &str) -> i32 {
        let mut child = self.child.take().expect("it runs");
        signal(child.id(), with);
        let end = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return status.code().unwrap_or(-1);
            }
            assert!(Instant::now() < end, "it does not end");
            std::thread::sleep(GLANCE);
        }
    }

    #[track_caller]
    fn nothing_is_left(&self, pids: &BTreeSet<u32>) {
        assert!(pids.iter().all(|pid| !lives(*pid)), "{pids:?}");
        self.wait("the runner is gone", |p| processes_of(p.dir.path()).is_empty());
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        support::end_all(self.dir.path());
    }
}

/// Four processes: the main one and a child ignore TERM, one has left the session, one is orphaned.
const TREE: &str = r#"
kind = "deployment"
[process]
command = ["sh", "-c", '''
trap '' TERM
echo $$$$ >> @DIR@/pids
sh -c "echo \$\$ >> @DIR@/pids; while :; do sleep 1000; done" &
setsid sh -c "echo \$\$ >> @DIR@/pids; while :; do sleep 1000; done" &
(setsid sh -c "(setsid sh -c 'echo \$\$ >> @DIR@/pids; while :; do sleep 1000; done' &)")
while :; do sleep 1000 & wait; done
''']
termination_grace_period = "300ms"
"#;
const TREE_SIZE: usize = 4;

#[test]
fn a_users_daemon_lives_in_his_own_places_and_takes_whole_trees_down() {
    let Some(mut person) = Person::new() else { return };
    person.write("home/.config/wsup/units/tree.toml", TREE);
    person.start(&["daemon"]);
    person.wait("the tree is up", |p| p.pids().len() == TREE_SIZE);

    let facts = person.json(&["version", "-o", "json"]);
    let facts = &facts["daemon"];
    assert_eq!(facts["mode"], "user");
    for (key, below) in [
        ("state_dir", "home/.local/state/wsup"),
        ("runtime_dir", "run/wsup"),
        ("log_dir", "home/.local/state/wsup/log"),
    ] {
        assert_eq!(facts[key].as_str().map(Path::new), Some(person.path(below).as_path()), "{key}");
    }
    for (below, others) in [("run/wsup/wsup.sock", 0), ("home/.local/state/wsup/state.redb", 0)] {
        let mode = fs::metadata(person.path(below)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, others, "{below} is for its owner only: {mode:o}");
    }

    let first = person.pids();
    assert_eq!(person.ctl(&["restart", "tree"]).code, 0);
    person.wait("the second tree is up", |p| p.pids().len() == 2 * TREE_SIZE);
    assert!(first.iter().all(|pid| !lives(*pid)), "no generation overlaps with the next");
    assert_eq!(person.end("TERM"), 0);
    person.nothing_is_left(&person.pids());
    assert_eq!(person.ctl(&["ping"]).code, 4);
}

#[test]
fn a_users_killed_daemon_finds_his_instances_again() {
    let Some(mut person) = Person::new() else { return };
    person.write("home/.config/wsup/units/tree.toml", TREE);
    person.start(&["daemon"]);
    person.wait("the tree is up", |p| p.pids().len() == TREE_SIZE);
    let before = person.json(&["ps", "tree", "-o", "json"]);
    let main = pid_of(&before[0]);
    person.end("KILL");
    assert!(lives(main), "the instance outlives the daemon");
    person.start(&["daemon"]);
    let after = person.json(&["ps", "tree", "-o", "json"]);
    for field in ["name", "pid", "restarts", "started_at", "ready"] {
        assert_eq!(before[0][field], after[0][field], "{field}");
    }
    assert_eq!(person.end("TERM"), 0);
    person.nothing_is_left(&person.pids());
}

#[test]
fn a_users_dev_is_found_first_also_from_a_folder_below() {
    let Some(mut person) = Person::new() else { return };
    person.write("project/units/tree.toml", TREE);
    fs::create_dir_all(person.path("project/src/deep")).unwrap();
    person.start(&["dev"]);
    person.wait("the tree is up", |p| p.pids().len() == TREE_SIZE);
    let said: Said = person
        .wsup(&["ctl", "version", "-o", "json"])
        .current_dir(person.path("project/src/deep"))
        .output()
        .unwrap()
        .into();
    let facts: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(facts["daemon"]["mode"], "dev", "{said:?}");
    assert_eq!(person.end("INT"), 0);
    person.nothing_is_left(&person.pids());
}

#[test]
fn a_killed_users_dev_takes_its_trees_along() {
    let Some(mut person) = Person::new() else { return };
    person.write("project/units/tree.toml", TREE);
    person.start(&["dev"]);
    person.wait("the tree is up", |p| p.pids().len() == TREE_SIZE);
    person.end("KILL");
    person.wait("everything is gone", |p| p.pids().iter().all(|pid| !lives(*pid)));
    person.nothing_is_left(&person.pids());
}

#[test]
fn without_a_session_the_daemon_says_what_to_do() {
    let Some(person) = Person::new() else { return };
    let rows = [("XDG_RUNTIME_DIR", "--runtime-dir"), ("HOME", "HOME is set")];
    for (missing, remedy) in rows {
        let said: Said = person.wsup(&["daemon"]).env_remove(missing).output().unwrap().into();
        assert_eq!(said.code, 2, "{said:?}");
        assert!(said.err.contains(missing) && said.err.contains(remedy), "{said:?}");
    }
}

#[test]
fn what_belongs_to_somebody_else_is_named() {
    let Some(person) = Person::new() else { return };
    if person.becomes.is_none() {
        eprintln!("skipped: only root has a daemon that is somebody else's");
        return;
    }
    let daemon = support::Daemon::start(&[]);
    fs::set_permissions(daemon.path(""), PermissionsExt::from_mode(0o755)).unwrap();
    let socket = daemon.path("run/wsup.sock").display().to_string();
    let said = person.ctl(&["--socket", &socket, "ps"]);
    assert_eq!(said.code, 4, "{said:?}");
    assert!(said.err.contains("belongs to another user"), "{said:?}");

    fs::create_dir(person.path("closed")).unwrap();
    fs::set_permissions(person.path("closed"), PermissionsExt::from_mode(0o700)).unwrap();
    let closed = person.path("closed").display().to_string();
    let said: Said = person.wsup(&["check", &closed]).output().unwrap().into();
    assert_eq!(said.code, 2, "{said:?}");
    assert!(said.err.contains(&closed) && said.err.contains("ermission denied"), "{said:?}");
}

#[test]
fn a_user_has_sandboxes_and_sees_what_his_trees_use() {
    let Some(mut person) = Person::new() else { return };
    person.write("home/.config/wsup/units/tree.toml", TREE);
    person.write(
        "home/.config/wsup/units/boxed.toml",
        "kind = \"deployment\"\n[process]\ncommand = ['sh', '-c', 'echo x > /tmp/f && \
         (echo x > $HOME/f) 2> /dev/null || echo refused; exec sleep 1000']\n\
         env_inherit = ['HOME', 'PATH']\n[sandbox]\nread_only = ['/']\nprivate_tmp = true\n\
         private_network = true\n[resources]\nmemory = '1GiB'\n",
    );
    person.start(&["daemon"]);
    person.wait("the tree is up", |p| p.pids().len() == TREE_SIZE);
    person
        .wait("the boxed one runs", |p| p.json(&["ps", "boxed", "-o", "json"])[0]["ready"] == true);
    person.wait("it was refused", |p| p.ctl(&["logs", "boxed"]).out.contains("refused"));
    assert!(!person.path("home/f").exists());
    // The tree's four processes; three of them wait for a sleep of their own, as the main one does.
    person.wait("all tasks of the tree are counted", |p| {
        p.json(&["top", "tree", "-o", "json"])["units"][0]["tasks"] == 2 * TREE_SIZE
    });
    let top = person.json(&["top", "tree", "-o", "json"]);
    let name = top["instances"][0]["name"].as_str().unwrap().to_owned();
    let text = person.ctl(&["describe", &name]).out;
    let from = if text.contains("Held by:             cgroup ") { "cgroup" } else { "processes" };
    assert_eq!(top["instances"][0]["sources"]["cpu"], from, "{text}");
    // What takes more than a user has is said.
    let events = person.ctl(&["events", "boxed"]).out;
    let limited = person.json(&["describe", "boxed", "-o", "json"])["facts"].to_string();
    assert!(events.contains("LimitNotEnforced") || limited.contains("memory.max"), "{events}");
    assert_eq!(person.end("TERM"), 0);
    person.nothing_is_left(&person.pids());
}
