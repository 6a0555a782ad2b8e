//! The files of a log.
//!
//! Responsible for opening the present pair of files and for moving the older ones up. Must not
//! know what is in them.

use super::index::{HEADER_LEN, RECORD_LEN, header};
use super::{index_path, packed_path, segment_path};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

/// Of rotated files that a smaller `max_files` no longer covers, this many are looked for.
const SURPLUS_MAX: u32 = 1000;

/// The present pair of files, open.
#[derive(Debug)]
pub(super) struct Open {
    /// Written at `size`, never at its end whatever that is: splice(2) takes no file that is open
    /// for appending.
    pub(super) data: File,
    /// Open for appending.
    pub(super) index: File,
    /// How long the log file is.
    pub(super) size: u64,
    /// How long the index is.
    pub(super) index_len: u64,
}

impl Open {
    /// Opens the pair, and makes what is missing.
    pub(super) fn new(path: &Path) -> io::Result<Open> {
        let data = match open_data(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let dir = path.parent().unwrap_or(Path::new("/"));
                fs::DirBuilder::new().recursive(true).mode(0o750).create(dir)?;
                open_data(path)?
            }
            other => other?,
        };
        let meta = data.metadata()?;
        let size = meta.len();
        let index = index_path(path, 0);
        let index = OpenOptions::new().append(true).create(true).mode(0o640).open(index)?;
        let index_len = index.metadata()?.len();
        let mut open = Open { data, index, size, index_len };
        if index_len < HEADER_LEN as u64 || size == 0 {
            // New, or the log file was taken away or emptied by somebody.
            open.begin_index(meta.ino())?;
        } else {
            // A runner that was killed may have left half a record.
            let torn = (index_len - HEADER_LEN as u64) % RECORD_LEN as u64;
            if torn > 0 {
                open.cut_index(index_len - torn)?;
            }
        }
        Ok(open)
    }

    /// Whether somebody has removed the log file, or made it shorter: then the index is begun
    /// anew.
    pub(super) fn look(&mut self) -> io::Result<Found> {
        let meta = self.data.metadata()?;
        if meta.nlink() == 0 {
            return Ok(Found::Removed);
        }
        if meta.len() >= self.size {
            return Ok(Found::Same);
        }
        self.size = meta.len();
        self.begin_index(meta.ino())?;
        Ok(Found::Cut)
    }

    fn begin_index(&mut self, log_ino: u64) -> io::Result<()> {
        if self.index_len > 0 {
            self.cut_index(0)?;
        }
        self.index.write_all(&header(log_ino))?;
        self.index_len = HEADER_LEN as u64;
        Ok(())
    }

    fn cut_index(&mut self, len: u64) -> io::Result<()> {
        self.index.set_len(len)?;
        self.index_len = len;
        Ok(())
    }

    /// Adds a record to the index, or nothing.
    pub(super) fn add_record(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Err(error) = self.index.write_all(bytes) {
            let _best_effort = self.index.set_len(self.index_len);
            return Err(error);
        }
        self.index_len += bytes.len() as u64;
        Ok(())
    }
}

/// What has become of a log file that was open for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Same,
    Cut,
    Removed,
}

fn open_data(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o640).open(path)
}

/// Gives the present file the number 1, the others one more, and drops the oldest.
pub(super) fn rotate(path: &Path, max_files: u32) -> io::Result<()> {
    // What is too old, also from a time when more were kept.
    for number in max_files.saturating_sub(1).max(1)..SURPLUS_MAX {
        let removed = remove(path, number)?;
        if !removed && number >= max_files {
            break;
        }
    }
    if max_files <= 1 {
        remove(path, 0)?;
        return Ok(());
    }
    for number in (0..max_files - 1).rev() {
        rename(path, number, number + 1)?;
    }
    Ok(())
}

/// Whether there was such a file.
fn remove(path: &Path, number: u32) -> io::Result<bool> {
    let mut removed = false;
    for file in [segment_path(path, number), packed_path(path, number)] {
        match fs::remove_file(file) {
            Ok(()) => removed = true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    match fs::remove_file(index_path(path, number)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(removed),
    }
}

fn rename(path: &Path, from: u32, to: u32) -> io::Result<()> {
    let pairs = [
        (segment_path(path, from), segment_path(path, to)),
        (packed_path(path, from), packed_path(path, to)),
        (index_path(path, from), index_path(path, to)),
    ];
    for (from, to) in pairs {
        match fs::rename(from, to) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}
