//! What the core remembers, kept in two embedded databases of the same form: `state.redb` in the
//! state directory survives a reboot, `instances-<boot id>.redb` in the runtime directory is worth
//! as much as the processes it tells of.
//!
//! Responsible for atomic commits and for opening after every kind of end. Must not look into a
//! record. A damaged database is set aside and told of; it never keeps the daemon from starting.

use crate::core::record::Record;
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

/// The form of keys and values. A database of a newer form is refused rather than misread.
const FORMAT: u64 = 1;
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("wsup");
const RECORDS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("records");
/// redb's page cache. All records are read once, at the start, so a small one does; redb's own
/// default is 1 GiB.
const CACHE_BYTES: usize = 1 << 20;

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

/// Changes of one turn of the loop, in the order in which they were asked for. The last wish for
/// a key is the one that counts.
#[derive(Debug, Default)]
pub struct Batch {
    durable: BTreeMap<String, Option<Vec<u8>>>,
    volatile: BTreeMap<String, Option<Vec<u8>>>,
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

    fn side(&mut self, durable: bool) -> &mut BTreeMap<String, Option<Vec<u8>>> {
        if durable { &mut self.durable } else { &mut self.volatile }
    }
}

/// Both databases.
#[derive(Debug)]
pub struct Store {
    durable: Half,
    volatile: Half,
}

/// What opening found.
#[derive(Debug)]
pub struct Opened {
    /// The store, ready for commits.
    pub store: Store,
    /// Every record of both halves.
    pub records: Vec<Record>,
    /// What people must know: a database was damaged and set aside.
    pub warnings: Vec<String>,
}

impl Store {
    /// Opens both databases, making them where there are none, and removes those of earlier
    /// boots.
    ///
    /// # Errors
    /// A newer format, or a directory that cannot be written.
    pub fn open(state: &Path, runtime: &Path, boot_id: &str) -> Result<Opened, Error> {
        let mut warnings = Vec::new();
        let name = format!("instances-{boot_id}.redb");
        remove_other_boots(runtime, &name);
        let (durable, mut records) = Half::open(state.join("state.redb"), true, &mut warnings)?;
        let (volatile, more) = Half::open(runtime.join(name), false, &mut warnings)?;
        records.extend(more);
        Ok(Opened { store: Store { durable, volatile }, records, warnings })
    }

    /// Writes a batch: what was asked for is there in whole after this returns, or not at all.
    /// What could be written is taken out of the batch; the rest stays in it, to be tried again.
    ///
    /// # Errors
    /// The first database that could not be written.
    pub fn commit(&mut self, batch: &mut Batch) -> Result<(), Error> {
        let durable = self.durable.commit(&mut batch.durable);
        let volatile = self.volatile.commit(&mut batch.volatile);
        durable.and(volatile)
    }
}

/// One of the two databases.
#[derive(Debug)]
struct Half {
    path: PathBuf,
    durable: bool,
    /// `None` after a failed write: redb refuses everything after one until it is opened again.
    database: Option<Database>,
}

impl Half {
    fn open(
        path: PathBuf,
        durable: bool,
        warnings: &mut Vec<String>,
    ) -> Result<(Half, Vec<Record>), Error> {
        let opened = match try_open(&path, durable) {
            Err(Failure::Damaged(cause)) => {
                warnings.push(set_aside(&path, &cause)?);
                try_open(&path, durable)
            }
            other => other,
        };
        let (database, records) = opened.map_err(|failure| failure.at(&path))?;
        Ok((Half { path, durable, database: Some(database) }, records))
    }

    fn commit(&mut self, changes: &mut BTreeMap<String, Option<Vec<u8>>>) -> Result<(), Error> {
        if changes.is_empty() {
            return Ok(());
        }
        let database = match self.database.take() {
            Some(database) => database,
            None => try_open(&self.path, self.durable).map_err(|f| f.at(&self.path))?.0,
        };
        write(&database, changes)
            .map_err(|e| Error::Io { path: self.path.clone(), cause: e.to_string() })?;
        self.database = Some(database);
        changes.clear();
        Ok(())
    }
}

fn write(
    database: &Database,
    changes: &BTreeMap<String, Option<Vec<u8>>>,
) -> Result<(), redb::Error> {
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

/// Why a database could not be opened.
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

fn try_open(path: &Path, durable: bool) -> Result<(Database, Vec<Record>), Failure> {
    // redb checks every page on the way in, yet says itself that a damaged file may make it panic.
    catch_unwind(AssertUnwindSafe(|| open_and_read(path, durable)))
        .unwrap_or_else(|_| Err(Failure::Damaged("reading it panicked".to_owned())))
}

fn open_and_read(path: &Path, durable: bool) -> Result<(Database, Vec<Record>), Failure> {
    let file = open_file(path).map_err(|e| Failure::Io(e.to_string()))?;
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
    let file = FileBackend::new(file).map_err(redb::Error::from)?;
    let backend = Backend { file, durable };
    let database = builder.create_with_backend(backend).map_err(redb::Error::from)?;
    check_format(&database)?;
    let records = read_all(&database, durable)?;
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

fn read_all(database: &Database, durable: bool) -> Result<Vec<Record>, redb::Error> {
    let table = database.begin_read()?.open_table(RECORDS)?;
    let mut records = Vec::new();
    for entry in table.iter()? {
        let (key, value) = entry?;
        records.push(Record {
            key: key.value().to_owned(),
            value: value.value().to_vec(),
            durable,
        });
    }
    Ok(records)
}

/// Opens a database's file for its owner only: specs may name what is nobody else's business.
fn open_file(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// Moves a damaged database to a free name beside it.
fn set_aside(path: &Path, cause: &str) -> Result<String, Error> {
    let free = (1..u32::MAX)
        .map(|n| path.with_extension(format!("damaged-{n}.redb")))
        .find(|candidate| !candidate.exists())
        .unwrap_or_else(|| path.with_extension("damaged.redb"));
    std::fs::rename(path, &free)
        .map_err(|e| Error::Io { path: path.to_path_buf(), cause: e.to_string() })?;
    Ok(format!(
        "the store {} is damaged ({cause}); it was kept as {} and a new one begun: live changes, \
         revision history and results of finished jobs are lost",
        path.display(),
        free.display()
    ))
}

/// Removes the volatile stores of earlier boots, where the runtime directory outlives a reboot
/// (`wsup dev`). Failing to is harmless: their names are never used again.
fn remove_other_boots(runtime: &Path, ours: &str) {
    let Ok(entries) = std::fs::read_dir(runtime) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if name.starts_with("instances-") && name.ends_with(".redb") && name != ours {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// A database's file. The volatile one is never synced: it must survive the death of the daemon,
/// which the kernel's page cache sees to, and not that of the machine. Neither is locked: the
/// daemon's own lock says who may use them, and the kernel gives up the locks of a killed daemon
/// one after the other, so that a second kind would be in the way of the next.
#[derive(Debug)]
struct Backend {
    file: FileBackend,
    durable: bool,
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        if self.durable { self.file.sync_data() } else { Ok(()) }
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write(offset, data)
    }
    fn close(&self) -> io::Result<()> {
        self.file.close()
    }
}

#[cfg(test)]
mod tests;
