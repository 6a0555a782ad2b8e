//! A runner in a directory of its own, and the daemon's part towards it.

use nix::fcntl::{Flock, FlockArg};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use wsup::core::event::Exit;
use wsup::core::id::{InstanceId, Kind, UnitKey, UnitName};
use wsup::runner::client::Link;
use wsup::runner::launch::{Launch, find_or_start};
use wsup::runner::protocol::{
    Bytes, Command, LogPlan, Notice, Outcome, SpawnPlan, TreeMode, Welcome,
};

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs a test with each way of holding trees and of starting programs.
pub(crate) fn each_mode(test: impl Fn(&mut Rig)) {
    for (name, no_cgroup, no_clone3) in [
        ("clone3 into cgroups", false, false),
        ("clone3 with process groups", true, false),
        ("fork into cgroups", false, true),
        ("fork with process groups", true, true),
    ] {
        let mut rig = Rig::new(no_cgroup, no_clone3);
        if let (false, TreeMode::ProcessGroups { reason }) = (no_cgroup, &rig.welcome().mode) {
            eprintln!("skipped: {name}: {reason}");
            continue;
        }
        eprintln!("mode: {name}");
        test(&mut rig);
    }
}

/// A shell with this script.
pub(crate) fn sh(script: &str) -> Vec<Bytes> {
    vec!["/bin/sh".into(), "-c".into(), script.into()]
}

/// Whether this is root.
pub(crate) fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Whether a process is there and no zombie.
pub(crate) fn lives(pid: i32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().next());
    !matches!(state, None | Some("Z" | "X"))
}

/// Has the runner of a directory go, if there is one, and waits until it has.
pub(crate) fn dismiss(runtime_dir: &Path) {
    if let Ok(Some(mut link)) = wsup::runner::launch::find(runtime_dir, PATIENCE) {
        let _sent = link.send(&Command::SetLastWill { stop_all: true });
    }
    wait_for_lock(runtime_dir);
}

/// Waits until no runner holds the directory's lock.
fn wait_for_lock(runtime_dir: &Path) {
    let path = runtime_dir.join("runner.lock");
    let (done, waiting) = std::sync::mpsc::channel();
    let waiter = std::thread::spawn(move || {
        let file = fs::File::options().read(true).write(true).open(path).unwrap();
        let lock = Flock::lock(file, FlockArg::LockExclusive);
        drop(lock);
        let _heard = done.send(());
    });
    waiting.recv_timeout(PATIENCE).expect("the runner goes");
    waiter.join().unwrap();
}

pub(crate) struct Rig {
    temp: tempfile::TempDir,
    launch: Launch,
    link: Option<Link>,
    welcome: Option<Welcome>,
    outcomes: BTreeMap<InstanceId, Vec<Outcome>>,
    seq: u64,
    slot: u64,
    warnings: Vec<String>,
    /// How long instance `a`'s log was when the last plan was made.
    log_start: usize,
}

impl Rig {
    fn new(no_cgroup: bool, no_clone3: bool) -> Rig {
        let temp = tempfile::tempdir().unwrap();
        fs::set_permissions(temp.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let launch = Launch {
            program: Some(PathBuf::from(env!("CARGO_BIN_EXE_wsup"))),
            no_cgroup,
            no_clone3,
            journal: Some(temp.path().join("journal.sock")),
            ..Launch::new(temp.path().join("run"))
        };
        let mut rig = Rig {
            temp,
            launch,
            link: None,
            welcome: None,
            outcomes: BTreeMap::new(),
            seq: 0,
            slot: 0,
            warnings: Vec::new(),
            log_start: 0,
        };
        rig.connect();
        rig
    }

    pub(crate) fn dir(&self) -> &Path {
        self.temp.path()
    }

    pub(crate) fn connect(&mut self) {
        let link = find_or_start(&self.launch).unwrap();
        self.welcome = Some(link.welcome().clone());
        self.link = Some(link);
    }

    pub(crate) fn drop_connection(&mut self) {
        self.link = None;
    }

    pub(crate) fn welcome(&self) -> Welcome {
        self.welcome.clone().unwrap()
    }

    pub(crate) fn runner_pid(&self) -> u32 {
        self.welcome().pid
    }

    pub(crate) fn send(&mut self, command: Command) {
        self.link.as_mut().unwrap().send(&command).unwrap();
    }

    pub(crate) fn log_path(&self, instance: &str) -> PathBuf {
        self.temp.path().join("log/unit").join(format!("{instance}.log"))
    }

    pub(crate) fn log(&self, instance: &str) -> String {
        fs::read_to_string(self.log_path(instance)).unwrap_or_default()
    }

    pub(crate) fn file(&self, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = self.temp.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    pub(crate) fn plan(&mut self, argv: Vec<Bytes>) -> SpawnPlan {
        self.plan_named("a", argv)
    }

    fn plan_named(&mut self, instance: &str, argv: Vec<Bytes>) -> SpawnPlan {
        self.slot += 1;
        if instance == "a" {
            self.log_start = self.log("a").len();
        }
        SpawnPlan {
            id: InstanceId { slot: self.slot, generation: 1 },
            unit: UnitKey::new(Kind::Deployment, UnitName::new("unit").unwrap()),
            instance: instance.into(),
            candidates: vec![argv[0].clone()],
            argv,
            envp: vec![
                "PATH=/usr/local/bin:/usr/bin:/bin".into(),
                "WSUP_KIND=deployment".into(),
                "WSUP_UNIT=unit".into(),
                format!("WSUP_INSTANCE={instance}").into(),
                format!("WSUP_CONTROL={}", self.temp.path().join("run/wsup.sock").display()).into(),
            ],
            cwd: self.temp.path().into(),
            credentials: None,
            umask: None,
            nice: None,
            oom_score_adj: None,
            cpu_affinity: None,
            rlimits: Vec::new(),
            log: LogPlan::File {
                path: self.log_path(instance).into(),
                max_size: 1 << 20,
                max_files: 3,
                compress: false,
            },
            new_run: true,
        }
    }

    pub(crate) fn start(&mut self, plan: SpawnPlan) -> InstanceId {
        let id = plan.id;
        self.send(Command::Spawn(Box::new(plan)));
        id
    }

    pub(crate) fn spawn(&mut self, argv: Vec<Bytes>) -> InstanceId {
        self.spawn_named("a", argv)
    }

    pub(crate) fn spawn_named(&mut self, instance: &str, argv: Vec<Bytes>) -> InstanceId {
        let plan = self.plan_named(instance, argv);
        self.start(plan)
    }

    /// The next outcome, whatever it is about.
    pub(crate) fn next_outcome(&mut self) -> Outcome {
        loop {
            let link = self.link.as_mut().unwrap();
            match link.receive(PATIENCE).unwrap().expect("an event in time") {
                Notice::Event { seq, outcome } => {
                    self.seq = seq;
                    self.outcomes.entry(outcome.id()).or_default().push(outcome.clone());
                    return outcome;
                }
                Notice::Warning { message, .. } => {
                    eprintln!("warning: {message}");
                    self.warnings.push(message);
                }
                Notice::Welcome(_) => panic!("a second welcome"),
            }
        }
    }

    fn find<T>(&mut self, id: InstanceId, pick: impl Fn(&Outcome) -> Option<T>) -> T {
        loop {
            if let Some(found) = self.outcomes.get(&id).and_then(|list| list.iter().find_map(&pick))
            {
                return found;
            }
            self.next_outcome();
        }
    }

    /// What the runner has warned of so far.
    pub(crate) fn warnings(&self) -> &[String] {
        &self.warnings
    }

    pub(crate) fn last_seq(&self) -> u64 {
        self.seq
    }

    pub(crate) fn ack_all(&mut self) {
        let upto = self.seq;
        self.send(Command::Ack { upto });
    }

    /// Waits for `Spawned`, gives the pid.
    pub(crate) fn spawned(&mut self, id: InstanceId) -> i32 {
        self.find(id, |outcome| match outcome {
            Outcome::Spawned { pid, .. } => Some(*pid as i32),
            Outcome::SpawnFailed { message, .. } => panic!("{message}"),
            Outcome::Exited { .. } => None,
        })
    }

    /// Waits for `Exited`.
    pub(crate) fn exit_of(&mut self, id: InstanceId) -> Exit {
        self.find(id, |outcome| match outcome {
            Outcome::Exited { exit, .. } => Some(*exit),
            Outcome::SpawnFailed { message, .. } => panic!("{message}"),
            Outcome::Spawned { .. } => None,
        })
    }

    /// Waits for `Exited` and forgets that it was seen.
    pub(crate) fn wait_exit_unacked(&mut self, id: InstanceId) {
        self.exit_of(id);
        self.outcomes.remove(&id);
    }

    pub(crate) fn has_ended(&self, id: InstanceId) -> bool {
        self.outcomes.get(&id).is_some_and(|list| list.iter().any(Outcome::is_last))
    }

    /// Sends a plan that must fail, gives the reason.
    pub(crate) fn failure(&mut self, plan: SpawnPlan) -> String {
        let id = self.start(plan);
        self.find(id, |outcome| match outcome {
            Outcome::SpawnFailed { message, .. } => Some(message.clone()),
            Outcome::Spawned { .. } | Outcome::Exited { .. } => panic!("it was started"),
        })
    }

    /// What instance `a` has written since its last plan was made.
    pub(crate) fn new_log(&self) -> String {
        self.log("a").split_off(self.log_start)
    }

    /// Waits until instance `a` has written this line since its last plan was made.
    pub(crate) fn wait_for_line(&mut self, line: &str) {
        until(&format!("line {line:?} in the log"), || self.new_log().lines().any(|l| l == line));
    }

    /// The runner's open descriptors, once it has answered everything so far.
    pub(crate) fn runner_fds(&mut self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        let dir = format!("/proc/{}/fd", self.runner_pid());
        for entry in fs::read_dir(dir).unwrap() {
            let target = fs::read_link(entry.unwrap().path()).unwrap_or_default();
            let text = target.to_string_lossy().into_owned();
            names.push(text.split([':', '[']).next().unwrap_or_default().to_string());
        }
        names.sort();
        names
    }

    /// Whether the runner has no child, dead or alive, once it had the time to reap.
    pub(crate) fn no_child_left(&self) -> bool {
        let pid = self.runner_pid();
        until("the runner's children to be reaped", || {
            fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))
                .is_ok_and(|text| text.trim().is_empty())
        });
        true
    }

    /// Waits until no runner holds the directory's lock.
    pub(crate) fn wait_until_gone(&mut self) {
        self.link = None;
        wait_for_lock(&self.launch.runtime_dir);
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        // The will of the connection that says Hello last counts.
        dismiss(&self.launch.runtime_dir);
        self.link = None;
        if std::thread::panicking() {
            let log = fs::read_to_string(self.launch.runtime_dir.join("runner.log"));
            eprintln!("runner.log: {}", log.unwrap_or_default());
        }
    }
}

/// Waits for a condition that no event tells of, such as another process's words in a file.
pub(crate) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "no {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
