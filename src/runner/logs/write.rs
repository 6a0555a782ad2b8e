//! An instance's log file and its rotation.
//!
//! Responsible for appending whole lines, for the index, for rotation by size, and for getting
//! over a disk that is full. Must not read pipes.

use super::index::{HEADER_LEN, Mark, RECORD_LEN, Record, Stream, header};
use super::{index_path, segment_path};
use crate::os::clock;
use nix::errno::Errno;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A line that is longer than what a pump holds back arrives in pieces. Rotation waits for its
/// end, but not beyond this many bytes above the file's limit.
const OVERRUN_MAX: u64 = 1 << 20;

/// Of rotated files that a smaller `max_files` no longer covers, this many are looked for.
const SURPLUS_MAX: u32 = 1000;

/// The open pair of files.
#[derive(Debug)]
struct Open {
    data: File,
    index: File,
    size: u64,
}

/// An instance's log.
#[derive(Debug)]
pub(in crate::runner) struct Log {
    path: PathBuf,
    max_size: u64,
    max_files: u32,
    open: Option<Open>,
    /// The stream whose unfinished line the file ends with.
    unfinished: Option<Stream>,
    /// Bytes that could not be written since the last that could, and why.
    dropped: u64,
    reason: String,
}

impl Log {
    /// Opens the log and, where a run begins, marks that. A log that cannot be opened now is
    /// tried again with every write: a full disk must not keep a program from running.
    pub(in crate::runner) fn new(path: &Path, max_size: u64, max_files: u32, run: bool) -> Log {
        let mut log = Log {
            path: path.to_path_buf(),
            max_size: max_size.max(1),
            max_files: max_files.max(1),
            open: None,
            unfinished: None,
            dropped: 0,
            reason: String::new(),
        };
        if run {
            log.mark(Mark::Start);
        }
        log
    }

    /// Appends bytes of one stream: whole lines, or a piece of a line that is too long to be held
    /// back or will never end. Tells people's reason the first time that it fails.
    pub(in crate::runner) fn append(&mut self, stream: Stream, bytes: &[u8]) -> Option<String> {
        if bytes.is_empty() {
            return None;
        }
        if self.dropped > 0 && self.tell_gap().is_err() {
            self.dropped += bytes.len() as u64;
            return None;
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.append_some(stream, rest) {
                Ok(len) => rest = rest.get(len..).unwrap_or_default(),
                Err(error) => {
                    self.reason = error
                        .raw_os_error()
                        .map_or_else(|| error.to_string(), |e| Errno::from_raw(e).desc().into());
                    self.dropped += rest.len() as u64;
                    return Some(format!(
                        "output cannot be written to {}: {}",
                        self.path.display(),
                        self.reason
                    ));
                }
            }
        }
        None
    }

    /// Closes the files; the next write opens them again.
    pub(in crate::runner) fn rest(&mut self) {
        self.open = None;
    }

    /// Closes an unfinished last line in the index, so that the next run's first line is not
    /// taken for its rest.
    pub(in crate::runner) fn end(&mut self) {
        if self.dropped > 0 {
            let _still_full = self.tell_gap();
        }
        if self.unfinished.take().is_some() {
            self.mark(Mark::End);
        }
    }

    /// Writes as many of the bytes as the present file takes, at least one line.
    fn append_some(&mut self, stream: Stream, bytes: &[u8]) -> io::Result<usize> {
        let joined = self.unfinished == Some(stream);
        let size = self.opened()?.size;
        let room = self.max_size.saturating_sub(size);
        let mut len = whole_lines_within(bytes, room);
        if len == 0 {
            let waits = self.unfinished.is_some() && size < self.max_size + OVERRUN_MAX;
            if size > 0 && !waits {
                self.rotate()?;
                return Ok(0);
            }
            len = first_line(bytes);
        }
        let piece = bytes.get(..len).unwrap_or_default();
        let mark = Mark::Chunk { stream, joined };
        self.put(mark, piece)?;
        self.unfinished = if piece.ends_with(b"\n") { None } else { Some(stream) };
        Ok(len)
    }

    /// Writes a record and its bytes, or nothing.
    fn put(&mut self, mark: Mark, bytes: &[u8]) -> io::Result<()> {
        let open = self.opened()?;
        let record = Record { at: clock::wall(), mark, offset: open.size };
        // Without its record a chunk is still whole; it is then dated like the one before.
        let indexed = open.index.write_all(&record.encode());
        if let Err(error) = open.data.write_all(bytes) {
            // Half a line is worse than none, for whoever reads it.
            let _best_effort = open.data.set_len(open.size);
            return Err(error);
        }
        open.size += bytes.len() as u64;
        drop(indexed);
        Ok(())
    }

    /// A record without bytes.
    fn mark(&mut self, mark: Mark) {
        // If it fails, the next write says so.
        let _marked = self.put(mark, b"");
    }

    /// Says in the log how much is missing.
    fn tell_gap(&mut self) -> io::Result<()> {
        let newline = if self.unfinished.is_some() { "\n" } else { "" };
        let line = format!(
            "{newline}[wsup: {} bytes of output are missing here: {}]\n",
            self.dropped, self.reason
        );
        self.put(Mark::Gap, line.as_bytes())?;
        self.dropped = 0;
        self.unfinished = None;
        Ok(())
    }

    fn opened(&mut self) -> io::Result<&mut Open> {
        // Two steps, since the borrow checker does not see through `if let Some(open) = ...`.
        if self.open.is_none() {
            self.open = Some(open_pair(&self.path)?);
        }
        self.open.as_mut().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Gives the present file the number 1, the others one more, and drops the oldest.
    fn rotate(&mut self) -> io::Result<()> {
        self.open = None;
        self.unfinished = None;
        // What is too old, also from a time when more were kept.
        for number in self.max_files.saturating_sub(1).max(1)..SURPLUS_MAX {
            let removed = remove_pair(&self.path, number)?;
            if !removed && number >= self.max_files {
                break;
            }
        }
        if self.max_files == 1 {
            remove_pair(&self.path, 0)?;
            return Ok(());
        }
        for number in (0..self.max_files - 1).rev() {
            rename_pair(&self.path, number, number + 1)?;
        }
        Ok(())
    }
}

/// The length of as many whole lines as fit into `room` bytes. Bytes without any newline that fit
/// count as a line.
fn whole_lines_within(bytes: &[u8], room: u64) -> usize {
    let room = usize::try_from(room).unwrap_or(usize::MAX);
    if bytes.len() <= room {
        return bytes.len();
    }
    let fitting = bytes.get(..room).unwrap_or(bytes);
    fitting.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1)
}

fn first_line(bytes: &[u8]) -> usize {
    bytes.iter().position(|b| *b == b'\n').map_or(bytes.len(), |at| at + 1)
}

fn open_pair(path: &Path) -> io::Result<Open> {
    let open = |path: &Path| OpenOptions::new().append(true).create(true).mode(0o640).open(path);
    let data = match open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let dir = path.parent().unwrap_or(Path::new("/"));
            fs::DirBuilder::new().recursive(true).mode(0o750).create(dir)?;
            open(path)?
        }
        other => other?,
    };
    let meta = data.metadata()?;
    let mut index = open(&index_path(path, 0))?;
    let known = index.metadata()?.len();
    let torn = known.saturating_sub(HEADER_LEN as u64) % RECORD_LEN as u64;
    if known < HEADER_LEN as u64 || meta.len() == 0 {
        // New, or the log file was taken away or emptied by somebody.
        index.set_len(0)?;
        index.write_all(&header(meta.ino()))?;
    } else if torn > 0 {
        index.set_len(known - torn)?;
    }
    Ok(Open { data, index, size: meta.len() })
}

/// Whether there was such a file.
fn remove_pair(path: &Path, number: u32) -> io::Result<bool> {
    let removed = match fs::remove_file(segment_path(path, number)) {
        Ok(()) => true,
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => return Err(error),
    };
    match fs::remove_file(index_path(path, number)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(removed),
    }
}

fn rename_pair(path: &Path, from: u32, to: u32) -> io::Result<()> {
    let pairs = [
        (segment_path(path, from), segment_path(path, to)),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn log(dir: &tempfile::TempDir, max_size: u64, max_files: u32) -> (Log, PathBuf) {
        let path = dir.path().join("unit/a.log");
        (Log::new(&path, max_size, max_files, true), path)
    }

    fn text(path: &Path, number: u32) -> String {
        fs::read_to_string(segment_path(path, number)).unwrap_or_default()
    }

    #[test]
    fn rotation_is_at_whole_lines_and_keeps_as_many_files_as_it_may() {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, path) = log(&dir, 10, 3);
        for piece in ["aaa\nbbb\n", "c\nddd\neee\n", "a line that is too long\n", "f\n"] {
            assert_eq!(log.append(Stream::Stdout, piece.as_bytes()), None);
        }
        assert_eq!(text(&path, 0), "f\n");
        assert_eq!(text(&path, 1), "a line that is too long\n");
        assert_eq!(text(&path, 2), "ddd\neee\n");
        assert!(!segment_path(&path, 3).exists() && !index_path(&path, 3).exists());
        let mut fewer = Log::new(&path, 10, 1, false);
        fewer.append(Stream::Stdout, b"0123456789\n");
        assert_eq!(text(&path, 0), "0123456789\n");
        assert!(!segment_path(&path, 1).exists() && !segment_path(&path, 2).exists());
    }

    #[test]
    fn an_unfinished_line_is_not_rotated_away_from_its_rest() {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, path) = log(&dir, 8, 3);
        log.append(Stream::Stdout, b"123456");
        log.append(Stream::Stdout, b"789012");
        log.append(Stream::Stdout, b"345\nnext\n");
        assert_eq!(text(&path, 1), "123456789012345\n");
        assert_eq!(text(&path, 0), "next\n");
    }

    #[test]
    fn what_cannot_be_written_is_counted_and_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file/a.log");
        fs::write(dir.path().join("file"), "in the way").unwrap();
        let mut log = Log::new(&path, 100, 2, true);
        assert!(log.append(Stream::Stdout, b"lost\n").unwrap().contains("Not a directory"));
        assert_eq!(log.append(Stream::Stdout, b"lost too\n"), None, "told once");
        fs::remove_file(dir.path().join("file")).unwrap();
        assert_eq!(log.append(Stream::Stderr, b"back\n"), None);
        let expected =
            "[wsup: 14 bytes of output are missing here: Not a directory]\nback\n".to_string();
        assert_eq!(text(&path, 0), expected);
    }
}
