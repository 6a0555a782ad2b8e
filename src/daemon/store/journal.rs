//! The volatile half: a file to which each turn's changes are appended in one write.
//!
//! Responsible for what a killed daemon had written being there in whole, turn by turn, and for the file
//! staying small. Never synced: it must outlive the daemon, which the kernel's page cache sees to, and not
//! the machine. Must not look into a record. A database would write eight pages where this writes a
//! hundred bytes, and this is written each time that a process starts or ends.
//!
//! ```text
//! header  "wsupjrnl", format (u32), 0 (u32)
//! frame   length of the body (u32), CRC-32 of these four bytes, CRC-32 of the body; the body
//! body    changes: length of the key (u32), length of the value plus one (u32; 0: removed), key, value
//! ```
//! All numbers are little-endian. A frame is a turn. One that is cut off at the end of the file was
//! being written when the daemon was killed: nothing of that turn is known, as it had not been acted on.

use super::{Changes, Error, Failure};
use crate::core::record::Record;
use crc32fast::hash as crc32;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The form of the file. A newer one is refused rather than misread.
const FORMAT: u32 = 1;
const MAGIC: [u8; 8] = *b"wsupjrnl";
const HEADER_LEN: usize = 16;
const FRAME_HEAD: usize = 12;
const ENTRY_HEAD: usize = 8;

/// A file up to this size is not worth writing anew. A larger one is once half of it is outdated, so
/// that each byte is copied about once.
const COMPACT_MIN: u64 = 1 << 20;

/// Room for a turn's changes that is kept for the next.
const BUFFER_KEPT: usize = 64 << 10;

/// Where a value is.
#[derive(Clone, Copy, Debug)]
struct Place {
    at: u64,
    len: u32,
}

/// The file, open.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    /// Up to where it is whole: the next frame's place.
    end: u64,
    /// What is in it and not outdated.
    live: BTreeMap<Box<str>, Place>,
    /// How many bytes of it that is.
    live_len: u64,
    /// Something that was half written may be behind the end.
    dirty: bool,
    /// The size at which it is next thought of writing it anew.
    compact_at: u64,
    buffer: Vec<u8>,
}

impl Journal {
    /// Opens the file, or makes it, and gives what it remembers.
    pub(super) fn open(path: PathBuf) -> Result<(Journal, Vec<Record>), Failure> {
        let failed = |error: io::Error| Failure::Io(error.to_string());
        let file = super::open_file(&path).map_err(failed)?;
        let bytes = std::fs::read(&path).map_err(failed)?;
        let mut journal = Journal {
            path,
            file,
            end: HEADER_LEN as u64,
            live: BTreeMap::new(),
            live_len: 0,
            dirty: false,
            compact_at: COMPACT_MIN,
            buffer: Vec::new(),
        };
        if bytes.len() < HEADER_LEN {
            // New, or its maker was killed before anything was in it.
            journal.file.write_all_at(&header(), 0).map_err(failed)?;
        } else {
            check_header(&bytes)?;
            journal.read(&bytes)?;
        }
        let records = journal.live.iter().map(|(key, place)| {
            let value = range(&bytes, place.at, u64::from(place.len)).unwrap_or_default();
            Record { key: key.to_string(), value: value.to_vec(), durable: false }
        });
        let records = records.collect();
        // What is cut off must not follow the next frame, should that be shorter.
        journal.file.set_len(journal.end).map_err(failed)?;
        Ok((journal, records))
    }

    /// Writes a turn's changes, all or none, and forgets them then.
    ///
    /// # Errors
    /// As write(2); nothing is changed then.
    pub(super) fn commit(&mut self, changes: &mut Changes) -> Result<(), Error> {
        if changes.is_empty() {
            return Ok(());
        }
        let io = |cause: String, path: &Path| Error::Io { path: path.to_path_buf(), cause };
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        let entries = changes.iter().map(|(key, value)| (key.as_str(), value.as_deref()));
        let places = frame(entries, &mut buffer)
            .ok_or_else(|| io("a turn's changes are too large".to_owned(), &self.path))?;
        // What is left of a longer frame behind a shorter one would be damage.
        let cut = |dirty: bool| if dirty { self.file.set_len(self.end) } else { Ok(()) };
        let written = cut(self.dirty).and_then(|()| self.file.write_all_at(&buffer, self.end));
        if let Err(error) = written {
            self.dirty = self.file.set_len(self.end).is_err();
            return Err(io(error.to_string(), &self.path));
        }
        self.dirty = false;
        for ((key, value), at) in std::mem::take(changes).into_iter().zip(places) {
            let place = value.map(|value| Place { at: self.end + at, len: value.len() as u32 });
            self.note(key.into_boxed_str(), place);
        }
        self.end += buffer.len() as u64;
        if buffer.capacity() <= BUFFER_KEPT {
            self.buffer = buffer;
        }
        self.compact_if_due();
        Ok(())
    }

    /// Takes a change into account.
    fn note(&mut self, key: Box<str>, place: Option<Place>) {
        let len_of =
            |key: &str, place: Place| (ENTRY_HEAD + key.len()) as u64 + u64::from(place.len);
        self.live_len += place.map_or(0, |place| len_of(&key, place));
        let former = match place {
            Some(place) => {
                let key_len = key.len();
                let former = self.live.insert(key, place);
                former.map(|former| (ENTRY_HEAD + key_len) as u64 + u64::from(former.len))
            }
            None => self.live.remove(&key).map(|former| len_of(&key, former)),
        };
        self.live_len = self.live_len.saturating_sub(former.unwrap_or(0));
    }

    /// Goes through all frames.
    fn read(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let mut at = HEADER_LEN as u64;
        while let Some(head) = range(bytes, at, FRAME_HEAD as u64) {
            let (len, head_sum, body_sum) = (number(head, 0), number(head, 4), number(head, 8));
            if crc32(&len.to_le_bytes()) != head_sum {
                return Err(Failure::Damaged(format!("no frame begins at byte {at}")));
            }
            let body_at = at + FRAME_HEAD as u64;
            let Some(body) = range(bytes, body_at, u64::from(len)) else { break };
            if crc32(body) != body_sum {
                return Err(Failure::Damaged(format!("the frame at byte {at} is damaged")));
            }
            self.read_body(body, body_at)
                .ok_or_else(|| Failure::Damaged(format!("the frame at byte {at} is malformed")))?;
            at = body_at + u64::from(len);
        }
        self.end = at;
        Ok(())
    }

    fn read_body(&mut self, body: &[u8], body_at: u64) -> Option<()> {
        let mut at = 0;
        while at < body.len() as u64 {
            let head = range(body, at, ENTRY_HEAD as u64)?;
            let (key_len, value_len) = (number(head, 0), number(head, 4));
            let key_at = at + ENTRY_HEAD as u64;
            let key = std::str::from_utf8(range(body, key_at, u64::from(key_len))?).ok()?;
            let value_at = key_at + u64::from(key_len);
            let place = value_len.checked_sub(1).map(|len| Place { at: body_at + value_at, len });
            at = value_at + u64::from(value_len.saturating_sub(1));
            if at > body.len() as u64 {
                return None;
            }
            self.note(key.into(), place);
        }
        Some(())
    }

    fn compact_if_due(&mut self) {
        if self.end < self.compact_at || self.end < self.live_len.saturating_mul(2) {
            return;
        }
        let new = self.path.with_extension("journal.new");
        let before = self.end;
        if self.compact(&new).is_err() {
            // The file as it is serves as well; a full disk is tried again when it has grown.
            let _best_effort = std::fs::remove_file(&new);
            self.compact_at = before + COMPACT_MIN;
        } else {
            self.compact_at = COMPACT_MIN;
        }
    }

    /// Writes what is live into a file of its own, which then takes this one's place.
    fn compact(&mut self, new: &Path) -> io::Result<()> {
        let file = super::open_file(new)?;
        file.set_len(0)?;
        file.write_all_at(&header(), 0)?;
        let (mut end, mut live) = (HEADER_LEN as u64, BTreeMap::new());
        let mut rest = self.live.iter().peekable();
        while rest.peek().is_some() {
            let (mut keys, mut values, mut len) = (Vec::new(), Vec::new(), 0);
            while len < BUFFER_KEPT
                && let Some((key, place)) = rest.next()
            {
                let mut value = vec![0; place.len as usize];
                self.file.read_exact_at(&mut value, place.at)?;
                len += value.len();
                keys.push(key);
                values.push(value);
            }
            let mut buffer = Vec::new();
            let entries =
                keys.iter().zip(&values).map(|(key, value)| (&***key, Some(value.as_slice())));
            let places = frame(entries, &mut buffer).ok_or(io::ErrorKind::FileTooLarge)?;
            file.write_all_at(&buffer, end)?;
            for ((key, value), at) in keys.into_iter().zip(&values).zip(places) {
                live.insert(key.clone(), Place { at: end + at, len: value.len() as u32 });
            }
            end += buffer.len() as u64;
        }
        std::fs::rename(new, &self.path)?;
        (self.file, self.end, self.live) = (file, end, live);
        Ok(())
    }
}

/// Appends a frame with these changes, and gives where in it each value is; `None`: it is too large.
fn frame<'a>(
    entries: impl Iterator<Item = (&'a str, Option<&'a [u8]>)>,
    to: &mut Vec<u8>,
) -> Option<Vec<u64>> {
    let mut places = Vec::new();
    to.extend([0; FRAME_HEAD]);
    for (key, value) in entries {
        let key_len = u32::try_from(key.len()).ok()?;
        let value_len = value.map_or(Some(0), |v| u32::try_from(v.len()).ok()?.checked_add(1))?;
        to.extend(key_len.to_le_bytes());
        to.extend(value_len.to_le_bytes());
        to.extend(key.as_bytes());
        places.push(to.len() as u64);
        to.extend(value.unwrap_or_default());
    }
    let (head, body) = to.split_at_mut_checked(FRAME_HEAD)?;
    let len = u32::try_from(body.len()).ok()?.to_le_bytes();
    let sums = [len, crc32(&len).to_le_bytes(), crc32(body).to_le_bytes()];
    head.copy_from_slice(sums.as_flattened());
    Some(places)
}

fn header() -> [u8; HEADER_LEN] {
    let mut header = [0; HEADER_LEN];
    let text = MAGIC.into_iter().chain(FORMAT.to_le_bytes());
    header.iter_mut().zip(text).for_each(|(to, from)| *to = from);
    header
}

fn check_header(bytes: &[u8]) -> Result<(), Failure> {
    if !bytes.starts_with(&MAGIC) {
        return Err(Failure::Damaged("it does not begin as a journal does".to_owned()));
    }
    match number(bytes, MAGIC.len()) {
        FORMAT => Ok(()),
        newer if newer > FORMAT => Err(Failure::Newer(u64::from(newer))),
        other => Err(Failure::Damaged(format!("there is no format {other}"))),
    }
}

/// Bytes of a file; `None` if it has not so many.
fn range(bytes: &[u8], at: u64, len: u64) -> Option<&[u8]> {
    let at = usize::try_from(at).ok()?;
    bytes.get(at..at.checked_add(usize::try_from(len).ok()?)?)
}

/// The number at this place; 0 behind the end.
fn number(bytes: &[u8], at: usize) -> u32 {
    let word = bytes.get(at..).and_then(|rest| rest.first_chunk());
    word.map_or(0, |word| u32::from_le_bytes(*word))
}

#[cfg(test)]
#[path = "journal_tests.rs"]
mod tests;
