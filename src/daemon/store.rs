//! What the core remembers: `state.redb` in the state directory, an embedded database, survives a
//! reboot; `instances-<boot id>.journal` in the runtime directory is worth as much as the processes it
//! tells of.
//!
//! Responsible for atomic commits and for opening after every kind of end. Must not look into a
//! record. A damaged file is set aside and told of; it never keeps the daemon from starting.

mod journal;

use crate::core::record::Record;
use journal::Journal;
use redb::backends::FileBackend;
use redb::{
    Database, Durability, ReadableDatabase, ReadableTable, StorageBackend, TableDefinition,
};
use std::collections::BTreeMap;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// The form of the database's keys and values. A database of a newer form is refused rather than misread.
const FORMAT: u64 = 1;
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("wsup");
const RECORDS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("records");
/// redb's page cache. All records are read once, at the start, so a small one does; redb's own
/// default is 1 GiB.
const CACHE_BYTES: usize = 1 << 20;

/// What is lost with the database, and with the journal.
const STATE: &str = "live changes, revision history and results of finished jobs are lost";
const INSTANCES: &str =
    "what was known of instances is lost, so those that run are ended and started anew";

/// Why the store cannot be used.
#[derive(Debug)]
pub enum Error {
    /// A newer wsup wrote it.
    Newer {
        /// Which file.
        path: PathBuf,
        /// Its format.
        format: u64,
    },
    /// Reading or writing failed.
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        cause: String,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Newer { path, format } => write!(
                f,
                "{} has format {format}, written by a newer wsup (this one knows {FORMAT}): \
                 run that version, or move the file away to begin without state",
                path.display()
            ),
            Error::Io { path, cause } => write!(f, "store {}: {cause}", path.display()),
        }
    }
}

/// What to write by key; `None`: to take out.
type Changes = BTreeMap<String, Option<Vec<u8>>>;

/// Changes of one turn of the loop. The last wish for a key is the one that counts.
#[derive(Debug, Default)]
pub struct Batch {
    durable: Changes,
    volatile: Changes,
}

impl Batch {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.durable.is_empty() && self.volatile.is_empty()
    }

    /// Writes a record.
    pub fn put(&mut self, record: Record) {
        self.side(record.durable).insert(record.key, Some(record.value));
    }

    /// Takes a record out.
    pub fn remove(&mut self, key: String, durable: bool) {
        self.side(durable).insert(key, None);
    }

    fn side(&mut self, durable: bool) -> &mut Changes {
        if durable { &mut self.durable } else { &mut self.volatile }
    }
}

/// Both halves.
#[derive(Debug)]
pub struct Store {
    durable: Tables,
    volatile: Journal,
}

/// What opening found.
#[derive(Debug)]
pub struct Opened {
    /// The store, ready for commits.
    pub store: Store,
    /// Every record of both halves.
    pub records: Vec<Record>,
    /// What people must know: a file was damaged and set aside.
    pub warnings: Vec<String>,
}

impl Store {
    /// Opens both halves, making them where there are none, and removes the journals of earlier
    /// boots.
    ///
    /// # Errors
    /// A newer format, or a directory that cannot be written.
    pub fn open(state: &Path, runtime: &Path, boot_id: &str) -> Result<Opened, Error> {
        let mut warnings = Vec::new();
        let name = format!("instances-{boot_id}.journal");
        remove_other_boots(runtime, &name);
        let path = state.join("state.redb");
        let (database, mut records) = or_anew(&path, STATE, &mut warnings, || try_open(&path))?;
        let durable = Tables { path: path.clone(), database: Some(database) };
        let path = runtime.join(name);
        let open = || Journal::open(path.clone());
        let (volatile, more) = or_anew(&path, INSTANCES, &mut warnings, open)?;
        records.extend(more);
        Ok(Opened { store: Store { durable, volatile }, records, warnings })
    }

    /// Writes a batch: what was asked for is there in whole after this returns, or not at all.
    /// What could be written is taken out of the batch; the rest stays in it, to be tried again.
    ///
    /// # Errors
    /// The first half that could not be written.
    pub fn commit(&mut self, batch: &mut Batch) -> Result<(), Error> {
        let durable = self.durable.commit(&mut batch.durable);
        let volatile = self.volatile.commit(&mut batch.volatile);
        durable.and(volatile)
    }
}

/// Opens a half; one that is damaged is set aside first.
fn or_anew<T>(
    path: &Path,
    lost: &str,
    warnings: &mut Vec<String>,
    mut open: impl FnMut() -> Result<T, Failure>,
) -> Result<T, Error> {
    let opened = match open() {
        Err(Failure::Damaged(cause)) => {
            warnings.push(set_aside(path, &cause, lost)?);
            open()
        }
        other => other,
    };
    opened.map_err(|failure| failure.at(path))
}

/// The database.
#[derive(Debug)]
struct Tables {
    path: PathBuf,
    /// `None` after a failed write: redb refuses everything after one until it is opened again.
    database: Option<Database>,
}

impl Tables {
    fn commit(&mut self, changes: &mut Changes) -> Result<(), Error> {
        if changes.is_empty() {
            return Ok(());
        }
        let database = match self.database.take() {
            Some(database) => database,
            None => try_open(&self.path).map_err(|failure| failure.at(&self.path))?.0,
        };
        write(&database, changes)
            .map_err(|e| Error::Io { path: self.path.clone(), cause: e.to_string() })?;
        self.database = Some(database);
        changes.clear();
        Ok(())
    }
}

fn write(database: &Database, changes: &Changes) -> Result<(), redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    {
        let mut table = transaction.open_table(RECORDS)?;
        for (key, value) in changes {
            match value {
                Some(value) => table.insert(key.as_str(), value.as_slice())?,
                None => table.remove(key.as_str())?,
            };
        }
    }
    transaction.commit()?;
    Ok(())
}

/// Why a half could not be opened.
enum Failure {
    Newer(u64),
    /// Another attempt will not help: its content is broken.
    Damaged(String),
    /// The file cannot be read or written: nothing is known about its content.
    Io(String),
}

impl Failure {
    fn at(self, path: &Path) -> Error {
        let path = path.to_path_buf();
        match self {
            Failure::Newer(format) => Error::Newer { path, format },
            Failure::Damaged(cause) | Failure::Io(cause) => Error::Io { path, cause },
        }
    }
}

impl From<redb::Error> for Failure {
    fn from(error: redb::Error) -> Failure {
        match &error {
            // redb says "invalid data" by an I/O error when the file is not one of its own, and
            // "unexpected end" when it was cut.
            redb::Error::Io(io) => match io.kind() {
                io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                    Failure::Damaged(error.to_string())
                }
                _ => Failure::Io(error.to_string()),
            },
            redb::Error::DatabaseAlreadyOpen => Failure::Io(error.to_string()),
            _ => Failure::Damaged(error.to_string()),
        }
    }
}

fn try_open(path: &Path) -> Result<(Database, Vec<Record>), Failure> {
    // redb checks every page on the way in, yet says itself that a damaged file may make it panic.
    catch_unwind(AssertUnwindSafe(|| open_and_read(path)))
        .unwrap_or_else(|_| Err(Failure::Damaged("reading it panicked".to_owned())))
}

fn open_and_read(path: &Path) -> Result<(Database, Vec<Record>), Failure> {
    let file = open_file(path).map_err(|e| Failure::Io(e.to_string()))?;
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
    let backend = Backend(FileBackend::new(file).map_err(redb::Error::from)?);
    let database = builder.create_with_backend(backend).map_err(redb::Error::from)?;
    check_format(&database)?;
    let records = read_all(&database)?;
    Ok((database, records))
}

fn check_format(database: &Database) -> Result<(), Failure> {
    let transaction = database.begin_write().map_err(redb::Error::from)?;
    {
        let mut meta = transaction.open_table(META).map_err(redb::Error::from)?;
        let format = meta.get("format").map_err(redb::Error::from)?.map(|value| value.value());
        match format {
            Some(FORMAT) => return Ok(()),
            Some(format) if format > FORMAT => return Err(Failure::Newer(format)),
            // There is no older format than 1 yet.
            Some(_) | None => {
                meta.insert("format", FORMAT).map_err(redb::Error::from)?;
            }
        }
        transaction.open_table(RECORDS).map_err(redb::Error::from)?;
    }
    transaction.commit().map_err(redb::Error::from)?;
    Ok(())
}

fn read_all(database: &Database) -> Result<Vec<Record>, redb::Error> {
    let table = database.begin_read()?.open_table(RECORDS)?;
    let mut records = Vec::new();
    for entry in table.iter()? {
        let (key, value) = entry?;
        records.push(Record {
            key: key.value().to_owned(),
            value: value.value().to_vec(),
            durable: true,
        });
    }
    Ok(records)
}

/// Opens a file for its owner only: specs may name what is nobody else's business.
fn open_file(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// Moves a damaged file to a free name beside it.
fn set_aside(path: &Path, cause: &str, lost: &str) -> Result<String, Error> {
    let kind = path.extension().and_then(|kind| kind.to_str()).unwrap_or_default();
    let free = (1..u32::MAX)
        .map(|n| path.with_extension(format!("damaged-{n}.{kind}")))
        .find(|candidate| !candidate.exists())
        .unwrap_or_else(|| path.with_extension(format!("damaged.{kind}")));
    std::fs::rename(path, &free)
        .map_err(|e| Error::Io { path: path.to_path_buf(), cause: e.to_string() })?;
    Ok(format!(
        "the store {} is damaged ({cause}); it was kept as {} and a new one begun: {lost}",
        path.display(),
        free.display()
    ))
}

/// Removes the journals of earlier boots (and what their writer kept before there were journals), where the runtime directory outlives a reboot
/// (`wsup dev`). Failing to is harmless: their names are never used again.
fn remove_other_boots(runtime: &Path, ours: &str) {
    let Ok(entries) = std::fs::read_dir(runtime) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let kind = name.ends_with(".journal") || name.ends_with(".redb");
        let boot = ours.split_once('.').map_or(ours, |(boot, _)| boot);
        if name.starts_with("instances-") && kind && !name.starts_with(boot) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// The database's file. Not locked: the daemon's own lock says who may use it, and the kernel gives up
/// the locks of a killed daemon one after the other, so that a second kind would be in the way of the next.
#[derive(Debug)]
struct Backend(FileBackend);

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }
    fn close(&self) -> io::Result<()> {
        self.0.close()
    }
}

#[cfg(test)]
mod tests;
