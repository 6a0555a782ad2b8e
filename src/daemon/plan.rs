//! From what the core wants started to what the runner can start without looking anything up.
//!
//! Responsible for expansion, environment, users, directories and log paths. Reads files and
//! databases and makes data directories; must not start anything.

use super::environment::{self, Vars};
use super::expand::expand;
use super::probe::Target;
use super::users::{self, Identity, Wanted};
use super::{data, logs};
use crate::core::action::{Spawn, Step};
use crate::core::instance::probe::Kind;
use crate::core::spec::{
    InstanceTemplate, LogDriver, ProbeHandler, ProbeSpec, ProcessSpec, Sandbox, SocketProtocol,
    SocketSpec,
};
use crate::runner::protocol::{
    Bytes, Credentials, Listen, LogPlan, RlimitPlan, SandboxPlan, SocketPlan, SpawnPlan, candidates,
};
use crate::unit::names;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// What is the same for every start.
#[derive(Clone, Debug)]
pub struct Planner {
    /// The daemon's own variables, as far as any may be passed on.
    pub inherited: Vars,
    /// Which of them are passed on where a unit says nothing.
    pub inherit: &'static [&'static str],
    /// Where a program starts whose unit says nothing; a relative `working_dir` begins here.
    pub working_dir: PathBuf,
    /// The state directory.
    pub state: PathBuf,
    /// The log directory.
    pub logs: PathBuf,
    /// The control socket.
    pub control: PathBuf,
}

/// How a probe asks, with all variables replaced.
#[derive(Debug)]
pub enum Question {
    /// By a program.
    Exec(Box<SpawnPlan>),
    /// By connecting to something.
    Connect(Target),
}

impl Planner {
    /// Works a probe's question out.
    ///
    /// # Errors
    /// Why it cannot be asked, for people.
    pub fn question(&self, spawn: &Spawn, kind: Kind) -> Result<Question, String> {
        let Some(spec) = kind.spec(&spawn.template) else {
            return Err("the template has no such probe".to_owned());
        };
        let said = |text: &String| self.filled_in(spawn, text);
        match &spec.handler {
            ProbeHandler::Exec(_) => self.plan(spawn).map(Box::new).map(Question::Exec),
            ProbeHandler::Http(url) => Target::http(&said(url)?).map(Question::Connect),
            ProbeHandler::Tcp(address) => Ok(Question::Connect(Target::Tcp(said(address)?))),
            ProbeHandler::Unix(path) => {
                let path = self.working_dir.join(said(path)?);
                Ok(Question::Connect(Target::Unix(path)))
            }
            ProbeHandler::Notify | ProbeHandler::Log(_) => {
                Err("this probe is not asked: the program says it by itself".to_owned())
            }
        }
    }

    /// A text of a probe with all variables replaced.
    fn filled_in(&self, spawn: &Spawn, text: &str) -> Result<String, String> {
        if !text.contains('$') {
            // Nearly always, and then nobody need look up users and files for it.
            return Ok(text.to_owned());
        }
        let process = &spawn.template.process;
        let identity = who(process)?;
        let vars = self.vars(spawn, identity.as_ref())?;
        Ok(String::from_utf8_lossy(&value(text, &vars)).into_owned())
    }

    /// Works a start out. Makes the data directory.
    ///
    /// # Errors
    /// What stands in the way and what to do about it, for people.
    pub fn plan(&self, spawn: &Spawn) -> Result<SpawnPlan, String> {
        let template = &*spawn.template;
        let process = &template.process;
        let identity = who(process)?;
        let vars = self.vars(spawn, identity.as_ref())?;
        let argv = words(template, spawn.step, &vars)?;
        let path = vars.get("PATH").map(|path| String::from_utf8_lossy(path).into_owned());
        let program = argv.first().map(Bytes::to_text).unwrap_or_default();
        Ok(SpawnPlan {
            id: spawn.id,
            unit: spawn.unit.clone(),
            instance: spawn.instance.clone(),
            candidates: candidates(&program, path.as_deref()),
            argv,
            cwd: self.cwd(process, &vars)?,
            resources: template.resources,
            sandbox: sandbox(&template.sandbox, &vars)?,
            envp: vars.iter().map(joined).collect(),
            credentials: identity.map(|Identity { uid, gid, groups, .. }| Credentials {
                uid,
                gid,
                groups,
            }),
            umask: process.umask,
            nice: process.nice,
            oom_score_adj: process.oom_score_adj,
            cpu_affinity: process.cpu_affinity.clone(),
            rlimits: rlimits(process),
            notify: spawn.step == Step::Main && speaks(template),
            listener: (spawn.listener != spawn.unit).then(|| spawn.listener.clone()),
            sockets: match spawn.step {
                Step::Main => self.sockets(&spawn.sockets)?,
                Step::Init(_) | Step::Hook(_) | Step::Probe(_) => Vec::new(),
            },
            awaited: awaited(spawn, &vars)?,
            log: self.log(spawn),
            new_run: begins_run(spawn),
        })
    }

    /// A unit's sockets, with all names looked up.
    ///
    /// # Errors
    /// The first that cannot be, for people.
    pub fn sockets(&self, specs: &[SocketSpec]) -> Result<Vec<SocketPlan>, String> {
        specs.iter().map(|spec| self.socket(spec)).collect()
    }

    fn socket(&self, spec: &SocketSpec) -> Result<SocketPlan, String> {
        let listen = match spec.listen.strip_prefix("unix:") {
            Some(path) => {
                let owner = users::identity(Wanted {
                    user: spec.user.as_deref(),
                    group: spec.group.as_deref(),
                    supplementary: None,
                })?;
                Listen::Unix {
                    path: Bytes::from(self.working_dir.join(path)),
                    mode: spec.mode,
                    uid: owner.as_ref().filter(|_| spec.user.is_some()).map(|one| one.uid),
                    gid: owner.as_ref().map(|one| one.gid),
                }
            }
            None => Listen::Inet(address(&spec.listen)?),
        };
        Ok(SocketPlan {
            name: spec.name.clone(),
            listen,
            udp: spec.protocol == SocketProtocol::Udp,
            reuse_port: spec.reuse_port,
        })
    }

    fn vars(&self, spawn: &Spawn, identity: Option<&Identity>) -> Result<Vars, String> {
        let mut added: Vec<(&str, Vec<u8>)> =
            spawn.vars.iter().map(|(name, value)| (&**name, value.clone().into_bytes())).collect();
        added.push(("WSUP_CONTROL", self.control.as_os_str().as_bytes().to_vec()));
        if let Some(dir) = &spawn.data_dir {
            let path = data::make(&self.state, spawn.unit.name.as_str(), dir, identity)?;
            added.push(("WSUP_DATA_DIR", path.into_os_string().into_vec()));
        }
        if let (Step::Main, Some(limit)) = (spawn.step, spawn.template.watchdog) {
            let micros = limit.0.saturating_mul(1_000);
            added.push(("WATCHDOG_USEC", micros.to_string().into_bytes()));
        }
        let user = identity.map(|identity| identity.vars.as_slice()).unwrap_or_default();
        let process = &spawn.template.process;
        environment::assemble(process, &self.inherited, self.inherit, user, &added)
    }

    fn cwd(&self, process: &ProcessSpec, vars: &Vars) -> Result<Bytes, String> {
        let Some(text) = &process.working_dir else {
            return Ok(Bytes::from(self.working_dir.as_path()));
        };
        let expanded = without_nul("working_dir", value(text, vars))?;
        Ok(Bytes::from(self.working_dir.join(Path::new(&OsString::from_vec(expanded)))))
    }

    fn log(&self, spawn: &Spawn) -> LogPlan {
        let log = &spawn.template.log;
        match log.driver {
            LogDriver::None => LogPlan::None,
            LogDriver::Journald => LogPlan::Journald,
            LogDriver::Inherit => LogPlan::Inherit,
            LogDriver::File => LogPlan::File {
                path: Bytes::from(logs::file(
                    &self.logs,
                    spawn.unit.name.as_str(),
                    &spawn.instance,
                )),
                max_size: log.max_size,
                max_files: log.max_files,
                compress: log.compress,
            },
        }
    }
}

/// Who a program runs as; `None`: as we do.
fn who(process: &ProcessSpec) -> Result<Option<Identity>, String> {
    users::identity(Wanted {
        user: process.user.as_deref(),
        group: process.group.as_deref(),
        supplementary: process.supplementary_groups.as_deref(),
    })
}

/// An address to listen on. Names are not looked up: that may take as long as it likes.
fn address(text: &str) -> Result<SocketAddr, String> {
    let numeric = match text.rsplit_once(':') {
        Some(("localhost", port)) => format!("127.0.0.1:{port}"),
        Some(("*", port)) => format!("[::]:{port}"),
        Some(_) | None => text.to_owned(),
    };
    numeric.parse().map_err(|_| {
        format!("cannot listen on `{text}`: write an IP address and a port, or \"*:PORT\" for all")
    })
}

/// Whether a program is to speak for itself: by READY=1, or by signs of life.
fn speaks(template: &InstanceTemplate) -> bool {
    let by_notify = |probe: &Option<Box<ProbeSpec>>| {
        probe.as_ref().is_some_and(|spec| spec.handler == ProbeHandler::Notify)
    };
    by_notify(&template.startup) || by_notify(&template.readiness) || template.watchdog.is_some()
}

/// Whether this start's output is the first of a run of the instance. The program's is not if it
/// follows upon the init steps of the same run: as the generation counts every start, that is so
/// for the first program after steps that all succeeded at once. (After steps that failed it
/// counts as a run of its own, which only `logs --previous` shows.)
fn begins_run(spawn: &Spawn) -> bool {
    let steps = spawn.template.init.len();
    match spawn.step {
        Step::Init(n) => n == 0,
        Step::Main => steps == 0 || usize::try_from(spawn.id.generation) != Ok(steps + 1),
        Step::Hook(_) | Step::Probe(_) => false,
    }
}

fn words(template: &InstanceTemplate, step: Step, vars: &Vars) -> Result<Vec<Bytes>, String> {
    let process = &template.process;
    let (command, args) = match step {
        Step::Main => (process.command.as_slice(), process.args.as_slice()),
        Step::Init(n) => (
            template.init.get(n).map(|init| init.command.as_slice()).unwrap_or_default(),
            [].as_slice(),
        ),
        Step::Hook(hook) => (hook.command(&template.lifecycle), [].as_slice()),
        Step::Probe(kind) => (kind.command(template), [].as_slice()),
    };
    let words: Result<Vec<_>, _> = command
        .iter()
        .chain(args)
        .map(|word| without_nul("command", value(word, vars)).map(Bytes::from))
        .collect();
    let words = words?;
    match words.first().map(Bytes::as_bytes) {
        None | Some([]) => Err("the command is empty: name a program".to_owned()),
        Some(_) => Ok(words),
    }
}

/// What the program is kept from, with all variables in its paths replaced.
fn sandbox(wanted: &Sandbox, vars: &Vars) -> Result<Option<Box<SandboxPlan>>, String> {
    if *wanted == Sandbox::default() {
        return Ok(None);
    }
    let paths = |key: &str, list: &[String]| {
        let one = |text: &String| {
            let path = without_nul(key, value(text, vars))?;
            if path.starts_with(b"/") {
                return Ok(Bytes::from(path));
            }
            let path = String::from_utf8_lossy(&path);
            Err(format!("sandbox: {key}: `{text}` is `{path}`, which is not an absolute path"))
        };
        list.iter().map(one).collect::<Result<Vec<Bytes>, String>>()
    };
    Ok(Some(Box::new(SandboxPlan {
        no_new_privileges: wanted.no_new_privileges,
        capabilities: wanted.capabilities.clone(),
        read_only: paths("read_only", &wanted.read_only)?,
        read_write: paths("read_write", &wanted.read_write)?,
        private_tmp: wanted.private_tmp,
        private_network: wanted.private_network,
    })))
}

fn value(text: &str, vars: &Vars) -> Vec<u8> {
    expand(text, |name| vars.get(name).cloned())
}

/// What the program's output is searched for, by the kind of the probe that waits for it.
fn awaited(spawn: &Spawn, vars: &Vars) -> Result<BTreeMap<String, String>, String> {
    let mut awaited = BTreeMap::new();
    for kind in [Kind::Startup, Kind::Readiness] {
        let probe = kind.spec(&spawn.template).filter(|_| spawn.step == Step::Main);
        if let Some(ProbeHandler::Log(text)) = probe.map(|spec| &spec.handler) {
            let text = String::from_utf8_lossy(&value(text, vars)).into_owned();
            names::regex(&text)
                .map_err(|wrong| format!("probes.{}.log: {}", kind.as_str(), wrong.message))?;
            awaited.insert(kind.as_str().to_owned(), text);
        }
    }
    Ok(awaited)
}

fn without_nul(what: &str, bytes: Vec<u8>) -> Result<Vec<u8>, String> {
    if bytes.contains(&0) {
        Err(format!("{what} has a NUL byte, which none can have"))
    } else {
        Ok(bytes)
    }
}

fn joined((name, value): (&String, &Vec<u8>)) -> Bytes {
    let mut pair = Vec::with_capacity(name.len() + 1 + value.len());
    pair.extend(name.as_bytes());
    pair.push(b'=');
    pair.extend(value);
    Bytes::from(pair)
}

fn rlimits(process: &ProcessSpec) -> Vec<RlimitPlan> {
    process
        .limits
        .iter()
        .map(|(resource, limit)| RlimitPlan {
            resource: resource.clone(),
            soft: limit.soft,
            hard: limit.hard,
        })
        .collect()
}
