//! `GET /v1/logs`: what instances wrote.
//!
//! Responsible for which files a target means, for following them as instances come and go, and
//! for lines of several instances not being mixed. Must not change the bytes within a line.

mod filter;
mod merge;

use super::Api;
use super::lines::{self, Gone, Lines};
use super::target::{self, Found, Selector};
use crate::api::types::{ApiError, ErrorCode};
use crate::core::Core;
use crate::core::id::{UnitKey, check_label};
use crate::core::spec::LogDriver;
use crate::core::time::Wall;
use crate::core::view::{InstanceState, InstanceView, KindView};
use crate::runner::logs::follow::LogWatch;
use crate::runner::logs::select::{self, Run};
use axum::extract::{Query, State};
use axum::response::Response;
use filter::{Filter, StreamWanted};
use merge::{Look, Reader, merge};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;

/// So many logs are merged at most: each takes two descriptors and some 100 KiB.
const MERGED_MAX: usize = 500;

/// Of lines that are chosen by what is in them, the last so many can be asked for: they are kept
/// in memory until the end is found.
const CHOSEN_TAIL_MAX: usize = 100_000;

/// How often a log is read while others that have grown wait: a flood of one delays no other.
const FOLLOW_BATCHES: usize = 16;

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
    /// Only instances of units with these labels.
    selector: Option<String>,
    /// Only lines in which this regular expression is found.
    grep: Option<String>,
    /// Only what was written to this one.
    stream: Option<StreamWanted>,
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
    /// All instances of all units with these labels.
    All(Selector),
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
    let filter = Filter::new(query.grep.as_deref(), query.stream)?;
    if !filter.is_open() && query.tail.is_some_and(|tail| tail > CHOSEN_TAIL_MAX) {
        return Err(ApiError::new(
            ErrorCode::Usage,
            format!("with `grep` or `stream`, `tail` is at most {CHOSEN_TAIL_MAX}"),
        ));
    }
    let whose = match query.target.clone() {
        Some(target) => find(&api, target).await?,
        None => Whose::All(Selector::parse(query.selector.as_deref().unwrap_or_default())?),
    };
    check(&api, &whose).await?;
    let server = api.clone();
    Ok(lines::answer(&server, "application/octet-stream", async move |out: Lines| {
        match run(&api, &query, &Arc::new(filter), &whose, &out).await {
            Err(Stop::Gone) | Ok(()) => Ok(()),
            Err(Stop::Io(error)) => {
                let whose = query.target.as_deref().unwrap_or("all units");
                tracing::warn!("cannot read the log of {whose}: {error}");
                out.bytes(format!("wsup: cannot read the log: {error}\n").into_bytes()).await
            }
        }
    }))
}

/// Whether there is something to be read here at all, and not too much.
async fn check(api: &Api, whose: &Whose) -> Result<(), ApiError> {
    let (sources, _) = sources(api, whose)
        .await
        .map_err(|_| ApiError::new(ErrorCode::Stopping, "the daemon is stopping".to_owned()))?;
    if sources.len() > MERGED_MAX {
        let count = sources.len();
        return Err(ApiError::new(
            ErrorCode::Usage,
            format!("{count} instances' logs are too many to be merged: at most {MERGED_MAX}"),
        )
        .help("name a unit or an instance, or select with `-l`"));
    }
    let Whose::Unit(key) = whose else { return Ok(()) };
    let (wanted, key) = (key.clone(), key);
    let driver = api.door.read(move |core| core.spec(&wanted).map(|s| s.template.log.driver));
    let elsewhere = match driver.await? {
        None | Some(LogDriver::File) => return Ok(()),
        Some(LogDriver::Journald) => {
            format!("into the journal: `journalctl WSUP_UNIT={}`", key.name)
        }
        Some(LogDriver::Inherit) => "to the daemon's own output".to_owned(),
        Some(LogDriver::None) => "nowhere".to_owned(),
    };
    if sources.iter().any(|source| source.path.exists()) {
        // From before the unit was changed.
        return Ok(());
    }
    let message = format!("{key} has no log files");
    Err(ApiError::new(ErrorCode::Failed, message)
        .help(format!("its `[log] driver` sends output {elsewhere}")))
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

async fn run(
    api: &Api,
    query: &LogsQuery,
    filter: &Arc<Filter>,
    whose: &Whose,
    out: &Lines,
) -> Result<(), Stop> {
    if query.follow {
        return follow(api, query, filter, whose, out).await;
    }
    let (sources, _) = sources(api, whose).await?;
    let look = Look { timestamps: query.timestamps, named: sources.len() > 1 };
    let mut readers = Vec::new();
    for mut source in sources {
        // Nothing is waited for: what has no end yet is shown without it.
        source.over = true;
        readers.push(Reader::open(&source, query.selected(), filter, &look).await?);
    }
    merge(&mut readers.iter_mut().collect::<Vec<_>>(), usize::MAX, out).await?;
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
        Whose::All(selector) => (sources_of(&log_dir, selected(core, selector)), true),
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

fn selected(core: &Core, selector: &Selector) -> Vec<InstanceView> {
    let mut instances = core.instances();
    if !selector.is_empty() {
        let units: BTreeSet<UnitKey> = core
            .units()
            .into_iter()
            .filter(|unit| selector.matches(&unit.labels))
            .map(|unit| unit.key)
            .collect();
        instances.retain(|instance| units.contains(&instance.unit));
    }
    instances
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

/// A log that is being followed.
struct Followed {
    path: PathBuf,
    reader: Reader,
}

/// Logs that are being followed.
struct Following<'q> {
    query: &'q LogsQuery,
    filter: &'q Arc<Filter>,
    grown: Watch,
    logs: BTreeMap<String, Followed>,
    /// Those with something new.
    fresh: BTreeSet<String>,
    look: Look,
    /// Whose were there when the client asked; `None`: that is not known yet.
    begun: Option<BTreeSet<String>>,
}

impl Following<'_> {
    /// Takes in who is there now.
    async fn take_in(&mut self, now: &[Source], several: bool) -> Result<(), Stop> {
        let names = || now.iter().map(|source| source.name.clone()).collect();
        let begun = self.begun.get_or_insert_with(names).clone();
        for source in now.iter().take(MERGED_MAX) {
            if self.logs.contains_key(&source.name) {
                continue;
            }
            // First watch, then read: nothing falls in between.
            self.grown.add(&source.path)?;
            let mut query = self.query.selected();
            // What came after the client asked is wanted from its beginning.
            query.tail = query.tail.filter(|_| begun.contains(&source.name));
            let only = begun.len() == 1 && begun.contains(&source.name);
            let look = Look { named: several && !only, ..self.look.clone() };
            let reader = Reader::open(source, query, self.filter, &look).await?;
            self.fresh.insert(source.name.clone());
            let followed = Followed { path: source.path.clone(), reader };
            self.logs.insert(source.name.clone(), followed);
        }
        for (name, one) in &mut self.logs {
            let over = now.iter().find(|source| source.name == *name).is_none_or(|s| s.over);
            // All was written before an instance is told to be over.
            if over && !one.reader.over {
                self.fresh.insert(name.clone());
            }
            one.reader.over = over;
        }
        Ok(())
    }

    /// Sends what is new, as far as it may be done at once.
    async fn send(&mut self, out: &Lines) -> Result<(), Stop> {
        let fresh = &self.fresh;
        let chosen = self.logs.iter_mut().filter(|(name, _)| fresh.contains(*name));
        let mut readers: Vec<&mut Reader> = chosen.map(|(_, one)| &mut one.reader).collect();
        if merge(&mut readers, FOLLOW_BATCHES, out).await? {
            self.fresh.clear();
        }
        Ok(())
    }

    /// Waits until logs grow or the core changes; `false`: the daemon ends. What is written does
    /// not make the core be read.
    async fn wait(&mut self, changes: &mut watch::Receiver<u64>) -> io::Result<Woken> {
        let more = !self.fresh.is_empty();
        tokio::select! {
            changed = changes.changed() => {
                Ok(if changed.is_ok() { Woken::Changed } else { Woken::Ended })
            }
            paths = self.grown.changed() => {
                let paths = paths?;
                let grown = self.logs.iter().filter(|(_, one)| paths.contains(&one.path));
                self.fresh.extend(grown.map(|(name, _)| name.clone()));
                Ok(Woken::Grown)
            }
            () = std::future::ready(()), if more => Ok(Woken::Grown),
        }
    }
}

/// What there is to do.
enum Woken {
    Grown,
    Changed,
    Ended,
}

async fn follow(
    api: &Api,
    query: &LogsQuery,
    filter: &Arc<Filter>,
    whose: &Whose,
    out: &Lines,
) -> Result<(), Stop> {
    let mut changes = api.door.changes();
    let mut following = Following {
        query,
        filter,
        grown: Watch::new()?,
        logs: BTreeMap::new(),
        fresh: BTreeSet::new(),
        look: Look { timestamps: query.timestamps, named: false },
        begun: None,
    };
    let several = matches!(whose, Whose::Unit(_) | Whose::All(_));
    loop {
        let (now, more) = sources(api, whose).await?;
        following.take_in(&now, several).await?;
        let done = !more && now.iter().all(|source| source.over);
        loop {
            following.send(out).await?;
            if done && following.fresh.is_empty() {
                return Ok(());
            }
            match following.wait(&mut changes).await? {
                Woken::Grown => {}
                Woken::Changed => break,
                Woken::Ended => return Ok(()),
            }
        }
    }
}
