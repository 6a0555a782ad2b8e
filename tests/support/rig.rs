//! A runner in a directory of its own, and the daemon's part towards it.

use nix::fcntl::{Flock, FlockArg};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use wsup::core::event::Exit;
use wsup::core::id::{InstanceId, Kind, UnitKey, UnitName};
use wsup::core::spec::Resources;
use wsup::runner::client::Link;
use wsup::runner::launch::{Launch, find_or_start};
use wsup::runner::protocol::{
    Bytes, Command, ExecEnd, ExecPlan, LogPlan, Notice, Outcome, SpawnPlan, TreeMode, Welcome,
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

/// Runs a test as each kind of owner: root or whoever runs the tests, with and without cgroups, and
/// as root also a user without any rights, with a cgroup of his own and without.
pub(crate) fn each_owner(test: impl Fn(&mut Rig)) {
    each_mode(&test);
    if !is_root() {
        return;
    }
    for (name, with_cgroup) in
        [("a user with process groups", false), ("a user in a cgroup of his own", true)]
    {
        let mut rig = match Rig::of_user(with_cgroup) {
            Ok(rig) => rig,
            Err(reason) => {
                eprintln!("skipped: {name}: {reason}");
                continue;
            }
        };
        if let (true, TreeMode::ProcessGroups { reason }) = (with_cgroup, &rig.welcome().mode) {
            eprintln!("skipped: {name}: {reason}");
            continue;
        }
        eprintln!("mode: {name}");
        test(&mut rig);
    }
}

/// A number that no account has.
pub(crate) const NOBODY_AT_ALL: u32 = 61_235;

/// A shell with this script.
pub(crate) fn sh(script: &str) -> Vec<Bytes> {
    vec!["/bin/sh".into(), "-c".into(), script.into()]
}

/// Whether this is root.
pub(crate) fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Whether a process is there, no zombie, and not on its last few steps in the kernel: it leaves
/// its cgroup after it has given back its files and memory and just before it becomes a zombie.
pub(crate) fn lives(pid: i32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    let Some((_, rest)) = stat.rsplit_once(')') else { return false };
    let fields: Vec<&str> = rest.split_whitespace().collect();
    // Fields 3 and 23 of proc_pid_stat(5): the state, and the size of its memory.
    !matches!(fields[0], "Z" | "X") && fields[20] != "0"
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

/// Our own cgroup's directory in the cgroup2 tree.
fn own_cgroup() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let mount = mounts.lines().find(|line| line.contains(" - cgroup2 "))?.split(' ').nth(4)?;
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = own.lines().find_map(|line| line.strip_prefix("0::/"))?.to_owned();
    Some(Path::new(mount).join(own))
}

pub(crate) struct Rig {
    /// Made for this one, and removed with it.
    cgroup: Option<PathBuf>,
    temp: tempfile::TempDir,
    launch: Launch,
    link: Option<Link>,
    welcome: Option<Welcome>,
    outcomes: BTreeMap<InstanceId, Vec<Outcome>>,
    execs: BTreeMap<u64, (ExecEnd, String)>,
    told: Vec<(InstanceId, BTreeMap<String, String>)>,
    /// Limits that cannot be enforced: the controller, and the text.
    pub(crate) missing: Vec<(String, String)>,
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
        Rig::launched(temp, launch, None)
    }

    /// The runner of a user without any rights, in a cgroup that belongs to him or without.
    fn of_user(with_cgroup: bool) -> Result<Rig, String> {
        let uid = NOBODY_AT_ALL;
        let switch = format!(
            "setpriv --reuid={uid} --regid={uid} --clear-groups --inh-caps=-all \
             --bounding-set=-all"
        );
        Rig::wrapped(&switch, uid, with_cgroup)
    }

    /// A runner that is started by these words, and whose folder belongs to this user.
    pub(crate) fn wrapped(switch: &str, uid: u32, with_cgroup: bool) -> Result<Rig, String> {
        let temp = tempfile::tempdir().unwrap();
        fs::set_permissions(temp.path(), fs::Permissions::from_mode(0o755)).unwrap();
        // The build's folder may be closed to others.
        let program = temp.path().join("wsup");
        fs::copy(env!("CARGO_BIN_EXE_wsup"), &program).unwrap();
        let run = temp.path().join("run");
        fs::create_dir(&run).unwrap();
        for path in [temp.path(), &run] {
            chown(path, Some(uid), Some(uid)).map_err(|error| error.to_string())?;
        }
        let mut cgroup = None;
        let mut enter = String::new();
        if with_cgroup {
            let parent = own_cgroup().ok_or("there is no cgroup2 tree")?;
            let name = temp.path().file_name().unwrap().to_string_lossy().into_owned();
            let dir = parent.join(format!("wsup-test-{name}"));
            fs::create_dir(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
            for file in ["", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"] {
                chown(dir.join(file), Some(uid), Some(uid)).map_err(|e| e.to_string())?;
            }
            enter = format!("echo $$ > {}/cgroup.procs", dir.display());
            cgroup = Some(dir);
        }
        let wrapper = temp.path().join("wrapper");
        let words = format!("#!/bin/sh\n{enter}\nexec {switch} {} \"$@\"\n", program.display());
        fs::write(&wrapper, words).unwrap();
        fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).unwrap();
        let launch = Launch { program: Some(wrapper), no_cgroup: !with_cgroup, ..Launch::new(run) };
        Ok(Rig::launched(temp, launch, cgroup))
    }

    fn launched(temp: tempfile::TempDir, launch: Launch, cgroup: Option<PathBuf>) -> Rig {
        let mut rig = Rig {
            cgroup,
            temp,
            launch,
            link: None,
            welcome: None,
            outcomes: BTreeMap::new(),
            execs: BTreeMap::new(),
            told: Vec::new(),
            missing: Vec::new(),
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

    /// Who the runner is.
    pub(crate) fn uid(&self) -> u32 {
        use std::os::unix::fs::MetadataExt;
        fs::metadata(self.launch.runtime_dir.join("runner.sock")).unwrap().uid()
    }

    /// Waits until so many limits were said to be missing.
    pub(crate) fn until_missing(&mut self, count: usize) {
        while self.missing.len() < count {
            // Something to be answered, and nothing else is awaited.
            let id = self.spawn_named("w", sh("exit 0"));
            self.exit_of(id);
        }
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

    pub(crate) fn plan_named(&mut self, instance: &str, argv: Vec<Bytes>) -> SpawnPlan {
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
            resources: Resources::default(),
            sandbox: None,
            notify: false,
            listener: None,
            sockets: Vec::new(),
            log: LogPlan::File {
                path: self.log_path(instance).into(),
                max_size: 1 << 20,
                max_files: 3,
                compress: false,
            },
            awaited: Default::default(),
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
            if let Some(outcome) = self.next_notice() {
                return outcome;
            }
        }
    }

    /// Runs a program beside a start.
    pub(crate) fn exec(&mut self, number: u64, capture: bool, plan: SpawnPlan) {
        self.send(Command::Exec(Box::new(ExecPlan { number, capture, plan })));
    }

    /// Waits for the end of a program that was run beside a start: how, and what it wrote.
    pub(crate) fn exec_end(&mut self, number: u64) -> (ExecEnd, String) {
        while !self.execs.contains_key(&number) {
            self.next_notice();
        }
        self.execs.remove(&number).unwrap()
    }

    /// Whether that has been heard already.
    pub(crate) fn exec_has_ended(&self, number: u64) -> bool {
        self.execs.contains_key(&number)
    }

    /// Waits until a start has said this of itself.
    pub(crate) fn told(&mut self, id: InstanceId, name: &str, value: &str) {
        let is = |(of, said): &(InstanceId, BTreeMap<String, String>)| {
            *of == id && said.get(name).is_some_and(|text| text == value)
        };
        while !self.told.iter().any(is) {
            self.next_notice();
        }
    }

    /// All that was said so far.
    pub(crate) fn all_told(&self) -> &[(InstanceId, BTreeMap<String, String>)] {
        &self.told
    }

    /// Takes notices until there is an outcome or the end of a program beside a start.
    fn next_notice(&mut self) -> Option<Outcome> {
        loop {
            let link = self.link.as_mut().unwrap();
            match link.receive(PATIENCE).unwrap().expect("an event in time") {
                Notice::Event { seq, outcome } => {
                    self.seq = seq;
                    self.outcomes.entry(outcome.id()).or_default().push(outcome.clone());
                    return Some(outcome);
                }
                Notice::Warning { message, controller, .. } => {
                    eprintln!("warning: {message}");
                    match controller {
                        Some(controller) => self.missing.push((controller, message)),
                        None => self.warnings.push(message),
                    }
                }
                Notice::ExecDone { number, end, text } => {
                    self.execs.insert(number, (end, text));
                    return None;
                }
                Notice::Told { id, said } => {
                    self.told.push((id, said));
                    return None;
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
        if let Some(dir) = &self.cgroup {
            until("the test's cgroup to be empty", || {
                let _removed = fs::remove_dir(dir.join("wsup-main"));
                !dir.exists() || fs::remove_dir(dir).is_ok()
            });
        }
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
