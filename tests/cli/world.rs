//! A daemon in this process: the real core behind the real control socket, with made-up
//! processes. Each start gets the next number as its pid; a program called `exit N` ends at once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use wsup::api::door::{ApplyOutcome, Call, DaemonFacts, Door, Inbox, RunnerFacts, door};
use wsup::api::events::EventLog;
use wsup::api::server;
use wsup::core::action::{Action, Spawn};
use wsup::core::event::{Event, Exit, UnitsRead};
use wsup::core::guard::StormGuard;
use wsup::core::id::{InstanceId, Kind, UnitKey, UnitName};
use wsup::core::schedule::Zones;
use wsup::core::{Config, Core};
use wsup::os::{clock, unit_files};
use wsup::unit::{Loaded, load};

struct Utc;

impl Zones for Utc {
    fn zone(&self, _name: Option<&str>) -> Option<jiff::tz::TimeZone> {
        Some(jiff::tz::TimeZone::UTC)
    }
}

/// What `wsup ctl` said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// A daemon that runs until it is dropped.
pub(crate) struct World {
    dir: tempfile::TempDir,
    stop: watch::Sender<bool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl World {
    /// A daemon with these unit files, by name, that has settled.
    pub(crate) fn new(units: &[(&str, &str)]) -> World {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("units")).unwrap();
        let (stop, stopped) = watch::channel(false);
        let mut world = World { dir, stop, thread: None };
        for (name, text) in units {
            world.write(name, text);
        }
        let root = world.dir.path().to_path_buf();
        let (up, is_up) = std::sync::mpsc::channel();
        world.thread = Some(std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = server::bind(&root.join("wsup.sock")).unwrap();
                let events = EventLog::default();
                let (door, inbox) = door(facts(&root), events.clone());
                let engine = Engine::new(&root, events, inbox);
                up.send(()).unwrap();
                let end = stopped.clone();
                let served = tokio::spawn(serve(listener, door, stopped));
                engine.run(end).await;
                served.await.unwrap();
            });
        }));
        is_up.recv().unwrap();
        world
    }

    /// Writes a unit file.
    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.dir.path().join(format!("units/{name}.toml")), text).unwrap();
    }

    /// Removes a unit file.
    pub(crate) fn remove(&self, name: &str) {
        std::fs::remove_file(self.dir.path().join(format!("units/{name}.toml"))).unwrap();
    }

    /// A path below its directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// `wsup ctl` with this socket.
    pub(crate) fn command(&self, words: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wsup"));
        command
            .args(["ctl", "--socket"])
            .arg(self.path("wsup.sock"))
            .args(shlex::split(words).unwrap())
            .env("TZ", "UTC")
            .env_remove("WSUP_CONTROL");
        command
    }

    /// Runs `wsup ctl` with these words.
    pub(crate) fn ctl(&self, words: &str) -> Said {
        let output = self.command(words).output().unwrap();
        let text = |bytes: Vec<u8>| {
            // The directory has another name each time.
            let dir = self.dir.path().to_string_lossy().into_owned();
            without_times(&String::from_utf8(bytes).unwrap().replace(&dir, "DIR"))
        };
        Said {
            code: output.status.code().unwrap(),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }

    /// Runs `wsup ctl` with these words, which must succeed, and gives its output.
    pub(crate) fn ok(&self, words: &str) -> String {
        let said = self.ctl(words);
        assert_eq!((said.code, said.err.as_str()), (0, ""), "{words}: {}", said.out);
        said.out
    }

    /// The same as JSON.
    pub(crate) fn json(&self, words: &str) -> serde_json::Value {
        serde_json::from_str(&self.ok(words)).unwrap()
    }

    /// Ends the daemon, as its SIGTERM would.
    pub(crate) fn stop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.stop();
        }
    }
}

/// What differs from run to run: ages of seconds, dates.
fn without_times(text: &str) -> String {
    let age = regex::Regex::new(r"\b\d+s\b").unwrap();
    let far = regex::Regex::new(r"\bin \d+[smhdy]\w*").unwrap();
    let date = regex::Regex::new(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?(Z| \+00:00)").unwrap();
    let text = age.replace_all(text, "Ns");
    let text = far.replace_all(&text, "in SPAN");
    date.replace_all(&text, "TIME").into_owned()
}

async fn serve(listener: tokio::net::UnixListener, door: Door, stop: watch::Receiver<bool>) {
    server::serve(listener, door, stop).await.unwrap();
}

fn facts(root: &Path) -> DaemonFacts {
    DaemonFacts {
        pid: 42,
        version: "9.9.9".to_owned(),
        started_at: clock::wall(),
        node: "here".to_owned(),
        mode: "dev".to_owned(),
        state_dir: root.join("state"),
        runtime_dir: root.to_path_buf(),
        log_dir: root.join("log"),
        units_dirs: vec![root.join("units")],
    }
}

/// The daemon's loop in small.
struct Engine {
    core: Core,
    events: EventLog,
    inbox: Inbox,
    units: PathBuf,
    next_pid: u32,
    running: BTreeMap<InstanceId, Spawn>,
}

impl Engine {
    fn new(root: &Path, events: EventLog, inbox: Inbox) -> Engine {
        let config = Config {
            seed: 1,
            node: UnitName::new("here").unwrap(),
            node_labels: BTreeMap::new(),
            zones: Arc::new(Utc),
            storm_guard: StormGuard::default(),
        };
        inbox.runner_is(RunnerFacts {
            pid: Some(43),
            mode: "group".to_owned(),
            runners: 1,
            ..RunnerFacts::default()
        });
        let mut engine = Engine {
            core: Core::new(config),
            events,
            inbox,
            units: root.join("units"),
            next_pid: 1000,
            running: BTreeMap::new(),
        };
        let read = engine.read().1;
        engine.feed(Event::Units(read));
        engine
    }

    async fn run(mut self, mut stop: watch::Receiver<bool>) {
        loop {
            let deadline = self.core.next_deadline();
            let wait = deadline.map(|at| Duration::from_millis(at.since(clock::mono()).0));
            tokio::select! {
                Some(call) = self.inbox.calls.recv() => self.call(call),
                () = tokio::time::sleep(wait.unwrap_or_default()), if wait.is_some() => {
                    self.feed(Event::Tick);
                }
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
    }

    fn call(&mut self, call: Call) {
        match call {
            Call::Request { request, reply, .. } => {
                let answer = self.core.handle(clock::now(), Event::Request(request)).unwrap();
                self.turn();
                let _ = reply.send(answer);
            }
            Call::Read(read) => read(&self.core),
            Call::Shutdown { reply, .. } => {
                let _ = reply.send(Err("not in this world".to_owned()));
            }
            Call::Apply { dry_run, reply, .. } => {
                let (loaded, read) = self.read();
                let changes = self.core.plan(&read);
                let outcome = ApplyOutcome {
                    unchanged: read.valid.len()
                        - changes
                            .iter()
                            .filter(|c| read.valid.iter().any(|unit| unit.key == c.key))
                            .count(),
                    changes,
                    diagnostics: loaded
                        .files
                        .iter()
                        .flat_map(|file| &file.diagnostics)
                        .map(|diagnostic| loaded.render(diagnostic, false))
                        .collect(),
                    messages: Vec::new(),
                };
                if !dry_run {
                    self.feed(Event::Units(read));
                }
                let _ = reply.send(Ok(outcome));
            }
        }
    }

    fn read(&self) -> (Loaded, UnitsRead) {
        let loaded = load(unit_files::read(std::slice::from_ref(&self.units)).unwrap());
        let invalid = loaded
            .invalid
            .iter()
            .filter_map(|unit| {
                let kind = unit.kind.unwrap_or(Kind::Deployment);
                Some((UnitKey::new(kind, unit.name.clone()?), unit.message.clone()))
            })
            .collect();
        let read = UnitsRead { valid: loaded.units.clone(), invalid, explicit: true };
        (loaded, read)
    }

    fn feed(&mut self, event: Event) {
        self.core.handle(clock::now(), event);
        self.turn();
    }

    /// Settles and does all that there is to do, until there is nothing more.
    fn turn(&mut self) {
        loop {
            self.core.settle(clock::now());
            let mut idle = true;
            while let Some(action) = self.core.poll_action() {
                idle = false;
                for event in self.act(action) {
                    self.core.handle(clock::now(), event);
                }
            }
            if idle {
                break;
            }
        }
        self.inbox.announce(self.core.version());
    }

    fn act(&mut self, action: Action) -> Vec<Event> {
        match action {
            Action::Spawn(spawn) => self.spawn(*spawn),
            Action::CannotStart { id, message } => vec![Event::SpawnFailed { id, message }],
            Action::Terminate { id, signal } => self.ended(id, Exit::Signal(signal)),
            Action::KillTree { id } => self.ended(id, Exit::Signal(9)),
            Action::Report(report) => {
                self.events.push(*report);
                Vec::new()
            }
            Action::RemoveData { unit, dir } => {
                vec![Event::DataRemoved { unit, instance: dir.instance }]
            }
            Action::WatchNodes { unit, nodes: Some(_) } => vec![Event::NodesChanged {
                unit,
                nodes: BTreeMap::from([("here".to_owned(), None)]),
            }],
            Action::Signal { .. }
            | Action::WatchNodes { nodes: None, .. }
            | Action::Put(_)
            | Action::Drop { .. }
            | Action::InstanceGone { .. }
            | Action::UnitGone { .. }
            | Action::Sockets { .. }
            | Action::Hook(_)
            | Action::Probe(_)
            | Action::ShutdownComplete => Vec::new(),
        }
    }

    fn spawn(&mut self, spawn: Spawn) -> Vec<Event> {
        self.next_pid += 1;
        let id = spawn.id;
        let command = spawn.template.process.command.clone();
        self.running.insert(id, spawn);
        let mut events = vec![Event::Spawned { id, pid: self.next_pid }];
        if let [program, code] = command.as_slice()
            && program == "exit"
        {
            events.extend(self.ended(id, Exit::Code(code.parse().unwrap())));
        }
        events
    }

    fn ended(&mut self, id: InstanceId, exit: Exit) -> Vec<Event> {
        match self.running.remove(&id) {
            Some(_) => vec![Event::Exited { id, exit, at: clock::mono() }],
            None => Vec::new(),
        }
    }
}
