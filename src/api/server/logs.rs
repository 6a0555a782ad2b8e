//! `GET /v1/logs`: what instances wrote.
//!
//! Responsible for which files a target means, for following them as instances come and go, and
//! for lines of several instances not being mixed. Must not change the bytes within a line.

use super::Api;
use super::lines::{self, Gone, Lines};
use super::target::{self, Found};
use crate::api::types::{ApiError, ErrorCode, time};
use crate::core::Core;
use crate::core::id::{UnitKey, check_label};
use crate::core::time::Wall;
use crate::core::view::{InstanceState, InstanceView, KindView};
use crate::runner::logs::follow::LogWatch;
use crate::runner::logs::read::{Cursor, Line};
use crate::runner::logs::select::{self, Run};
use axum::extract::{Query, State};
use axum::response::Response;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::{Path, PathBuf};
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// So many bytes of lines are read at a time.
const BATCH_BYTES: usize = 64 * 1024;

/// The query.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LogsQuery {
    /// All instances if it is left out.
    target: Option<String>,
    #[serde(default)]
    follow: bool,
    tail: Option<usize>,
    #[serde(default)]
    previous: bool,
    /// Only what was written at or after this time, in milliseconds since the epoch.
    since_ms: Option<i64>,
    #[serde(default)]
    timestamps: bool,
}

impl LogsQuery {
    fn selected(&self) -> select::Query {
        select::Query {
            run: if self.previous { Run::Previous } else { Run::All },
            tail: self.tail,
            since: self.since_ms.map(Wall),
        }
    }
}

/// Whose logs.
#[derive(Clone, Debug)]
enum Whose {
    /// All instances of all units.
    All,
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
    if query.previous && query.follow {
        return Err(ApiError::new(
            ErrorCode::Usage,
            "a run that is over cannot be followed: give either `previous` or `follow`",
        ));
    }
    let whose = match query.target.clone() {
        Some(target) => find(&api, target).await?,
        None => Whose::All,
    };
    let server = api.clone();
    Ok(lines::answer(&server, "application/octet-stream", async move |out: Lines| {
        match run(&api, &query, &whose, &out).await {
            Err(Stop::Gone) | Ok(()) => Ok(()),
            Err(Stop::Io(error)) => {
                let whose = query.target.as_deref().unwrap_or("all units");
                tracing::warn!("cannot read the log of {whose}: {error}");
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
    let named = sources.len() > 1;
    for source in sources {
        let mut reader = Reader::open(&source, query.selected(), query.timestamps, named).await?;
        reader.send_new(out).await?;
        reader.send_rest(out).await?;
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
        Whose::All => (sources_of(&log_dir, core.instances()), true),
        Whose::Unit(key) => {
            let more = core.unit(key).is_some_and(|unit| match unit.kind {
                KindView::Job(job) => job.finished.is_none(),
                KindView::Service | KindView::CronJob(_) => true,
            });
            (sources_of(&log_dir, core.instances_of(key)), more)
        }
    };
    api.door.read(look).await.map_err(|_| Stop::Gone)
}

fn sources_of(log_dir: &Path, instances: Vec<InstanceView>) -> Vec<Source> {
    instances
        .into_iter()
        .map(|instance| Source {
            path: path_of(log_dir, instance.unit.name.as_str(), &instance.name),
            over: is_over(&instance),
            name: instance.name,
        })
        .collect()
}

fn is_over(instance: &InstanceView) -> bool {
    matches!(instance.state, InstanceState::Succeeded | InstanceState::Failed)
}

/// Reads one instance's log and sends its lines.
struct Reader {
    /// Gone while it is in use on another thread; after that for good if that thread failed.
    cursor: Option<Cursor>,
    prefix: String,
    timestamps: bool,
}

impl Reader {
    async fn open(
        source: &Source,
        query: select::Query,
        timestamps: bool,
        named: bool,
    ) -> Result<Reader, Stop> {
        let path = source.path.clone();
        let cursor = blocking(move || select::open(&path, &query)).await??;
        let prefix = if named { format!("{} | ", source.name) } else { String::new() };
        Ok(Reader { cursor: Some(cursor), prefix, timestamps })
    }

    /// Sends what has come since.
    async fn send_new(&mut self, out: &Lines) -> Result<(), Stop> {
        while let Some(mut cursor) = self.cursor.take() {
            let read = move || {
                let lines = cursor.read_lines(BATCH_BYTES);
                (cursor, lines)
            };
            let (cursor, lines) = blocking(read).await?;
            self.cursor = Some(cursor);
            let lines = lines?;
            if lines.is_empty() {
                break;
            }
            out.bytes(self.render(&lines)).await?;
        }
        Ok(())
    }

    /// Sends last lines that have no end.
    async fn send_rest(&mut self, out: &Lines) -> Result<(), Stop> {
        let lines = self.cursor.as_mut().map(Cursor::finish).unwrap_or_default();
        Ok(out.bytes(self.render(&lines)).await?)
    }

    /// Every line ends with a newline, also a program's last words without one.
    fn render(&self, lines: &[Line]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for line in lines {
            bytes.extend_from_slice(self.prefix.as_bytes());
            if self.timestamps {
                let time = line.at.map_or_else(|| "-".to_owned(), |at| time(at).to_string());
                bytes.extend_from_slice(time.as_bytes());
                bytes.push(b' ');
            }
            bytes.extend_from_slice(&line.text);
            bytes.push(b'\n');
        }
        bytes
    }
}

/// Files are read beside the runtime's thread, which must not wait for a disk.
async fn blocking<T: Send + 'static>(read: impl FnOnce() -> T + Send + 'static) -> Result<T, Stop> {
    tokio::task::spawn_blocking(read).await.map_err(|error| Stop::Io(io::Error::other(error)))
}

/// Tells which logs have grown.
struct Watch(AsyncFd<Raw>);

/// tokio wants the number, the watch lends the descriptor.
struct Raw(LogWatch);

impl AsRawFd for Raw {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Watch {
    #[expect(
        deprecated,
        reason = "its successor is unsafe, to make callers promise that the descriptor stays open \
                  and the same: that is what `AsFd` and the private hold on the value give here"
    )]
    fn new() -> io::Result<Watch> {
        Ok(Watch(AsyncFd::new(Raw(LogWatch::new()?))?))
    }

    fn add(&mut self, path: &Path) -> io::Result<()> {
        self.0.get_mut().0.add(path)
    }

    /// Waits until some log has grown or was rotated.
    async fn changed(&mut self) -> io::Result<Vec<PathBuf>> {
        let mut ready = self.0.readable_mut().await?;
        let paths = ready.get_inner_mut().0.changed()?;
        ready.clear_ready();
        Ok(paths)
    }
}

/// A log that is being followed, as the one who watches knows it.
struct Followed {
    path: PathBuf,
    /// Counts its changes, and tells whether nothing more will be written.
    state: watch::Sender<(u64, bool)>,
}

async fn follow(api: &Api, query: &LogsQuery, whose: &Whose, out: &Lines) -> Result<(), Stop> {
    let mut changes = api.door.changes();
    let mut grown = Watch::new()?;
    let mut followed: BTreeMap<String, Followed> = BTreeMap::new();
    let mut tasks: JoinSet<Result<(), Stop>> = JoinSet::new();
    let (first, _) = sources(api, whose).await?;
    let begun: Vec<String> = first.into_iter().map(|source| source.name).collect();
    loop {
        let (now, more) = sources(api, whose).await?;
        for source in &now {
            if followed.contains_key(&source.name) {
                continue;
            }
            // First watch, then read: nothing falls in between.
            grown.add(&source.path)?;
            let (state, receiver) = watch::channel((0, source.over));
            followed.insert(source.name.clone(), Followed { path: source.path.clone(), state });
            let mut selected = query.selected();
            // What came after the client asked is wanted from its beginning.
            selected.tail = selected.tail.filter(|_| begun.contains(&source.name));
            let several = matches!(whose, Whose::Unit(_) | Whose::All);
            let named = several && begun != [source.name.as_str()];
            let reader = Reader::open(source, selected, query.timestamps, named).await?;
            tasks.spawn(follow_one(reader, receiver, out.clone()));
        }
        for (name, one) in &followed {
            let over = now.iter().find(|source| source.name == *name).is_none_or(|s| s.over);
            one.state.send_if_modified(|old| std::mem::replace(&mut old.1, over) != over);
        }
        if !more && now.iter().all(|source| source.over) {
            break;
        }
        if wait(&mut changes, &mut grown, &followed).await?.is_none() {
            return Ok(());
        }
    }
    while let Some(ended) = tasks.join_next().await {
        ended.map_err(|error| Stop::Io(io::Error::other(error)))??;
    }
    Ok(())
}

/// Wakes those whose logs grow, until the core changes; `None`: the daemon ends. What is written
/// does not make the core be read.
async fn wait(
    changes: &mut watch::Receiver<u64>,
    grown: &mut Watch,
    followed: &BTreeMap<String, Followed>,
) -> io::Result<Option<()>> {
    loop {
        tokio::select! {
            changed = changes.changed() => return Ok(changed.ok()),
            paths = grown.changed() => {
                let paths = paths?;
                for one in followed.values().filter(|one| paths.contains(&one.path)) {
                    one.state.send_modify(|state| state.0 += 1);
                }
            }
        }
    }
}

async fn follow_one(
    mut reader: Reader,
    mut state: watch::Receiver<(u64, bool)>,
    out: Lines,
) -> Result<(), Stop> {
    loop {
        // Looked at before the reading: all was written before an instance is told to be over.
        let over = state.borrow_and_update().1;
        reader.send_new(&out).await?;
        if over || state.changed().await.is_err() {
            return reader.send_rest(&out).await;
        }
    }
}
