//! `GET /v1/logs`: what instances wrote.
//!
//! Responsible for which files a target means, for following them as instances come and go, and
//! for lines of several instances not being mixed. Must not change the bytes within a line.

use super::Api;
use super::lines::{self, Gone, Lines};
use super::logfile::Cursor;
use super::target::{self, Found};
use crate::api::types::{ApiError, ErrorCode};
use crate::core::Core;
use crate::core::id::{UnitKey, check_label};
use crate::core::view::{InstanceState, InstanceView, KindView};
use axum::extract::{Query, State};
use axum::response::Response;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::{Path, PathBuf};
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// A line longer than this is sent in pieces, among which other instances' lines may fall.
const LINE_MAX: usize = 1024 * 1024;

/// The query.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LogsQuery {
    target: String,
    #[serde(default)]
    follow: bool,
    tail: Option<usize>,
    #[serde(default)]
    previous: bool,
}

/// Whose logs.
#[derive(Clone, Debug)]
enum Whose {
    /// All instances of a unit.
    Unit(UnitKey),
    /// One instance, which may be gone.
    Instance { name: String, path: PathBuf },
}

/// One instance's log.
#[derive(Clone, Debug)]
struct Source {
    name: String,
    path: PathBuf,
    /// Nothing more will be written.
    over: bool,
}

/// Answers with the bytes that instances wrote.
pub(super) async fn logs(
    State(api): State<Api>,
    Query(query): Query<LogsQuery>,
) -> Result<Response, ApiError> {
    if query.previous {
        return Err(ApiError::new(ErrorCode::Usage, "`previous` is not supported yet"));
    }
    let whose = find(&api, query.target.clone()).await?;
    let server = api.clone();
    Ok(lines::answer(&server, "application/octet-stream", async move |out: Lines| {
        match run(&api, &query, &whose, &out).await {
            Err(Stop::Gone) | Ok(()) => Ok(()),
            Err(Stop::Io(error)) => {
                tracing::warn!("cannot read the log of {}: {error}", query.target);
                out.bytes(format!("wsup: cannot read the log: {error}\n").into_bytes()).await
            }
        }
    }))
}

/// Why no more is sent.
enum Stop {
    Gone,
    Io(io::Error),
}

impl From<Gone> for Stop {
    fn from(_: Gone) -> Self {
        Stop::Gone
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Stop::Io(error)
    }
}

fn path_of(log_dir: &Path, unit: &str, instance: &str) -> PathBuf {
    log_dir.join(unit).join(format!("{instance}.log"))
}

async fn find(api: &Api, text: String) -> Result<Whose, ApiError> {
    let log_dir = api.door.daemon().log_dir.clone();
    let wanted = text.clone();
    let found = api
        .door
        .read(move |core| {
            target::find(core, &wanted).map(|found| match found {
                Found::Unit(unit) => Whose::Unit(unit.key),
                Found::Instance(instance) => Whose::Instance {
                    path: path_of(&log_dir, instance.unit.name.as_str(), &instance.name),
                    name: instance.name,
                },
            })
        })
        .await?;
    match found {
        Err(error) if error.code == ErrorCode::NotFound => {
            former(&api.door.daemon().log_dir, &text).await.ok_or(error)
        }
        other => other,
    }
}

/// An instance that is gone may have left its log.
async fn former(log_dir: &Path, text: &str) -> Option<Whose> {
    let name = text.split_once('/').map_or(text, |(_, name)| name);
    // Also keeps `../` out of the path.
    check_label(name).ok()?;
    let mut dirs = tokio::fs::read_dir(log_dir).await.ok()?;
    while let Ok(Some(dir)) = dirs.next_entry().await {
        let path = dir.path().join(format!("{name}.log"));
        if tokio::fs::try_exists(&path).await.unwrap_or(false) {
            return Some(Whose::Instance { name: name.to_owned(), path });
        }
    }
    None
}

async fn run(api: &Api, query: &LogsQuery, whose: &Whose, out: &Lines) -> Result<(), Stop> {
    if query.follow {
        return follow(api, query, whose, out).await;
    }
    let (sources, _) = sources(api, whose).await?;
    let many = sources.len() > 1;
    for source in sources {
        let mut writer = Writer::new(&source.name, many, out);
        let mut cursor = Cursor::new(&source.path, query.tail).await?;
        writer.drain(&mut cursor).await?;
        writer.finish().await?;
    }
    Ok(())
}

/// The logs there are, and whether there may be more later.
async fn sources(api: &Api, whose: &Whose) -> Result<(Vec<Source>, bool), Stop> {
    let log_dir = api.door.daemon().log_dir.clone();
    let whose = whose.clone();
    let look = move |core: &Core| match &whose {
        Whose::Instance { name, path } => {
            let over = core.instance(name).is_none_or(|instance| is_over(&instance));
            (vec![Source { name: name.clone(), path: path.clone(), over }], false)
        }
        Whose::Unit(key) => {
            let sources = core
                .instances_of(key)
                .into_iter()
                .map(|instance| Source {
                    path: path_of(&log_dir, instance.unit.name.as_str(), &instance.name),
                    over: is_over(&instance),
                    name: instance.name,
                })
                .collect();
            let more = core.unit(key).is_some_and(|unit| match unit.kind {
                KindView::Job(job) => job.finished.is_none(),
                KindView::Service | KindView::CronJob(_) => true,
            });
            (sources, more)
        }
    };
    api.door.read(look).await.map_err(|_| Stop::Gone)
}

fn is_over(instance: &InstanceView) -> bool {
    matches!(instance.state, InstanceState::Succeeded | InstanceState::Failed)
}

/// Sends one instance's bytes: as they are, or line by line after the instance's name.
struct Writer<'a> {
    prefix: Option<String>,
    line: Vec<u8>,
    out: &'a Lines,
}

impl<'a> Writer<'a> {
    fn new(name: &str, many: bool, out: &'a Lines) -> Writer<'a> {
        Writer { prefix: many.then(|| format!("{name} | ")), line: Vec::new(), out }
    }

    /// Whole lines as well, but without the name.
    fn lines(out: &'a Lines) -> Writer<'a> {
        Writer { prefix: Some(String::new()), line: Vec::new(), out }
    }

    async fn drain(&mut self, cursor: &mut Cursor) -> Result<(), Stop> {
        loop {
            let bytes = cursor.read().await?;
            if bytes.is_empty() {
                return Ok(());
            }
            let Some(prefix) = &self.prefix else {
                self.out.bytes(bytes).await?;
                continue;
            };
            let mut whole = Vec::with_capacity(bytes.len());
            for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
                self.line.extend_from_slice(piece);
                if piece.ends_with(b"\n") || self.line.len() > LINE_MAX {
                    whole.extend_from_slice(prefix.as_bytes());
                    whole.append(&mut self.line);
                }
            }
            if !whole.is_empty() {
                self.out.bytes(whole).await?;
            }
        }
    }

    /// Sends a last line that has no end, with one, so that the next instance begins a new line.
    async fn finish(&mut self) -> Result<(), Stop> {
        if let Some(prefix) = self.prefix.as_ref().filter(|_| !self.line.is_empty()) {
            let mut whole = prefix.clone().into_bytes();
            whole.append(&mut self.line);
            whole.push(b'\n');
            self.out.bytes(whole).await?;
        }
        Ok(())
    }
}

/// Tells when something in one of some directories changes.
struct Dirs {
    inotify: AsyncFd<Raw>,
    known: BTreeMap<PathBuf, bool>,
}

/// tokio wants the number, nix gives the type.
struct Raw(Inotify);

impl AsRawFd for Raw {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Dirs {
    #[expect(
        deprecated,
        reason = "its successor is unsafe, to make callers promise that the descriptor stays open \
                  and the same: that is what `AsFd` and the private hold on the value give here"
    )]
    fn new() -> io::Result<Dirs> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        Ok(Dirs { inotify: AsyncFd::new(Raw(inotify))?, known: BTreeMap::new() })
    }

    /// Watches the directory of a log. One that is not there yet is tried again at the next
    /// change of the instance: it is made before the instance starts.
    fn add(&mut self, path: &Path) -> io::Result<()> {
        let Some(dir) = path.parent() else { return Ok(()) };
        if self.known.get(dir) == Some(&true) {
            return Ok(());
        }
        let flags =
            AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO;
        let there = match self.inotify.get_ref().0.add_watch(dir, flags) {
            Ok(_) => true,
            Err(nix::errno::Errno::ENOENT) => false,
            Err(error) => return Err(error.into()),
        };
        self.known.insert(dir.to_path_buf(), there);
        Ok(())
    }

    /// Waits for a change and takes all that are told.
    async fn changed(&self) -> io::Result<()> {
        let mut ready = self.inotify.readable().await?;
        while self.inotify.get_ref().0.read_events().is_ok() {}
        ready.clear_ready();
        Ok(())
    }
}

async fn follow(api: &Api, query: &LogsQuery, whose: &Whose, out: &Lines) -> Result<(), Stop> {
    let mut changes = api.door.changes();
    let mut dirs = Dirs::new()?;
    let (written, tick) = watch::channel(0_u64);
    let mut over: BTreeMap<String, watch::Sender<bool>> = BTreeMap::new();
    let mut tasks = JoinSet::new();
    let (first, _) = sources(api, whose).await?;
    let begun: Vec<String> = first.into_iter().map(|source| source.name).collect();
    loop {
        let (now, more) = sources(api, whose).await?;
        for source in &now {
            dirs.add(&source.path)?;
            if !over.contains_key(&source.name) {
                let (set_over, is_over) = watch::channel(false);
                over.insert(source.name.clone(), set_over);
                // What came after the client asked is wanted from its beginning.
                let tail = query.tail.filter(|_| begun.contains(&source.name));
                let follower = Follower { tick: tick.clone(), over: is_over, out: out.clone() };
                let form = match whose {
                    Whose::Instance { .. } => Form::Raw,
                    Whose::Unit(_) if begun == [source.name.as_str()] => Form::Lines,
                    Whose::Unit(_) => Form::Named,
                };
                tasks.spawn(follower.run(source.clone(), tail, form));
            }
        }
        for (name, set_over) in &over {
            let ended = now.iter().find(|source| source.name == *name).is_none_or(|s| s.over);
            set_over.send_if_modified(|old| std::mem::replace(old, ended) != ended);
        }
        written.send_modify(|n| *n += 1);
        if !more && now.iter().all(|source| source.over) {
            break;
        }
        // A burst of writes must not read the core each time.
        loop {
            tokio::select! {
                changed = changes.changed() => match changed {
                    Ok(()) => break,
                    Err(_) => return Ok(()),
                },
                changed = dirs.changed() => {
                    changed?;
                    written.send_modify(|n| *n += 1);
                }
            }
        }
    }
    while let Some(ended) = tasks.join_next().await {
        if let Ok(result) = ended {
            result?;
        }
    }
    Ok(())
}

/// How a followed log is sent.
#[derive(Clone, Copy, Debug)]
enum Form {
    /// As it is: nothing else can come between.
    Raw,
    /// Line by line: so far it is the only one.
    Lines,
    /// Line by line, each after the instance's name.
    Named,
}

/// Follows one log.
struct Follower {
    tick: watch::Receiver<u64>,
    over: watch::Receiver<bool>,
    out: Lines,
}

impl Follower {
    async fn run(mut self, source: Source, tail: Option<usize>, form: Form) -> Result<(), Stop> {
        let mut writer = match form {
            Form::Raw => Writer::new(&source.name, false, &self.out),
            Form::Lines => Writer::lines(&self.out),
            Form::Named => Writer::new(&source.name, true, &self.out),
        };
        let mut cursor = Cursor::new(&source.path, tail).await?;
        loop {
            let over = *self.over.borrow_and_update();
            self.tick.mark_unchanged();
            writer.drain(&mut cursor).await?;
            if over {
                return writer.finish().await;
            }
            tokio::select! {
                changed = self.tick.changed() => if changed.is_err() && !*self.over.borrow() {
                    // The stream ends; what is there has been sent.
                    return writer.finish().await;
                },
                changed = self.over.changed() => if changed.is_err() {
                    return writer.finish().await;
                },
            }
        }
    }
}
