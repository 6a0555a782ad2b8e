//! Reading an instance's log back, line by line and over its rotated files.
//!
//! Responsible for lines with their time and stream, in the order in which they were written, also
//! while the log is being written and rotated. Must not wait for anything: see `follow` for that.

use super::index::{HEADER_LEN, Mark, Record, Stream, read_header, take_in};
use super::{index_path, segment_path};
use crate::core::time::Wall;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// A line that is longer than this many bytes is given out in pieces.
const LINE_MAX: usize = 1 << 20;

/// How much of a file is read at once.
const READ_MAX: usize = 64 << 10;

/// Numbers of rotated files that are looked for; more than anybody keeps.
const SEGMENTS_MAX: u32 = 100_000;

/// Where a line comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The program's stdout.
    Stdout,
    /// The program's stderr.
    Stderr,
    /// wsup itself: output is missing here.
    Wsup,
    /// Not known: the index is missing.
    Unknown,
}

/// One line of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// When it was read from the program; `None` if the index is missing.
    pub at: Option<Wall>,
    /// Where it comes from.
    pub origin: Origin,
    /// The bytes without the newline.
    pub text: Vec<u8>,
    /// Whether it ended with a newline; a program's last words may not.
    pub whole: bool,
}

/// A place in a log that stays the same when files are rotated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) inode: u64,
    pub(super) offset: u64,
}

/// One file of a log and its index, open.
#[derive(Debug)]
pub(super) struct Segment {
    data: File,
    pub(super) inode: u64,
    index: Option<File>,
    index_read: u64,
    pub(super) records: Vec<Record>,
    /// How many records have stayed the same since a cursor looked last.
    stand: usize,
}

impl Segment {
    /// Opens the file of this number; `None` if there is none.
    pub(super) fn open(path: &Path, number: u32) -> io::Result<Option<Segment>> {
        let data = match File::open(segment_path(path, number)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let inode = data.metadata()?.ino();
        let mut segment = Segment {
            data,
            inode,
            index: None,
            index_read: HEADER_LEN as u64,
            records: Vec::new(),
            stand: usize::MAX,
        };
        // A rotation may have come in between: then the index has the next number by now.
        for number in number..number.saturating_add(3) {
            let Ok(index) = File::open(index_path(path, number)) else { continue };
            let mut header = [0; HEADER_LEN];
            if index.read_exact_at(&mut header, 0).is_ok() && read_header(&header) == Some(inode) {
                segment.index = Some(index);
                break;
            }
        }
        Ok(Some(segment))
    }

    /// The file's length now, after which all records up to it are read: a record is written
    /// before its bytes.
    pub(super) fn refresh(&mut self) -> io::Result<u64> {
        let len = self.data.metadata()?.len();
        if let Some(index) = &self.index {
            let mut bytes = Vec::new();
            let mut buffer = vec![0; READ_MAX];
            loop {
                let at = self.index_read + bytes.len() as u64;
                let count = index.read_at(&mut buffer, at)?;
                if count == 0 {
                    break;
                }
                bytes.extend_from_slice(buffer.get(..count).unwrap_or_default());
            }
            let (taken, stand) = take_in(&mut self.records, &bytes);
            self.index_read += taken as u64;
            self.stand = self.stand.min(stand);
        }
        Ok(len)
    }

    /// When the file was written to last.
    pub(super) fn modified(&self) -> Option<Wall> {
        let meta = self.data.metadata().ok()?;
        Some(Wall(meta.mtime().saturating_mul(1000) + meta.mtime_nsec() / 1_000_000))
    }
}

/// The numbers and inodes of a log's files, youngest first. A rotation in between shows some file
/// twice and hides none, since files are looked at in the direction in which they move.
fn inodes(path: &Path) -> io::Result<Vec<(u32, u64)>> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    let mut missing = 0;
    for number in 0..SEGMENTS_MAX {
        match fs::metadata(segment_path(path, number)) {
            Ok(meta) => {
                missing = 0;
                if seen.insert(meta.ino()) {
                    found.push((number, meta.ino()));
                }
            }
            // In the middle of a rotation one number is missing.
            Err(error) if error.kind() == io::ErrorKind::NotFound && missing < 2 => missing += 1,
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// All files of a log, oldest first.
pub(super) fn segments(path: &Path) -> io::Result<Vec<Segment>> {
    let mut all: Vec<Segment> = Vec::new();
    for (number, _) in inodes(path)? {
        if let Some(segment) = Segment::open(path, number)?
            && all.iter().all(|other| other.inode != segment.inode)
        {
            all.push(segment);
        }
    }
    all.reverse();
    Ok(all)
}

/// An unfinished line, and whose it is.
#[derive(Debug, Default)]
struct Held {
    text: Vec<u8>,
    from: Option<Record>,
    /// Something of this stream was seen.
    seen: bool,
    /// Up to the end of the line nothing counts: its beginning is not wanted.
    leave_out: bool,
}

/// Where a reader has come to in an instance's log.
#[derive(Debug)]
pub struct Cursor {
    path: PathBuf,
    segment: Option<Segment>,
    offset: u64,
    /// The next record that has not been applied.
    next_record: usize,
    /// Whose bytes are being read.
    present: Option<Record>,
    stdout: Held,
    stderr: Held,
    /// Where there is no index.
    unknown: Held,
    /// Lines to leave out first.
    pub(super) skip: usize,
    /// It began at a place where a line may have begun before.
    amid: bool,
    /// Where to stop.
    end: Option<Place>,
    done: bool,
}

impl Cursor {
    /// At a place; `None`: at the beginning of the oldest file.
    pub(super) fn at(path: &Path, begin: Option<Place>, end: Option<Place>) -> io::Result<Cursor> {
        let mut cursor = Cursor {
            path: path.to_path_buf(),
            segment: None,
            offset: 0,
            next_record: 0,
            present: None,
            stdout: Held::default(),
            stderr: Held::default(),
            unknown: Held::default(),
            skip: 0,
            amid: begin.is_some_and(|begin| begin.offset > 0),
            end,
            done: false,
        };
        if let Some(begin) = begin {
            let found = inodes(path)?.into_iter().find(|(_, inode)| *inode == begin.inode);
            if let Some((number, _)) = found
                && let Some(segment) = Segment::open(path, number)?
            {
                cursor.offset = if segment.inode == begin.inode { begin.offset } else { 0 };
                cursor.segment = Some(segment);
            }
        }
        Ok(cursor)
    }

    /// The lines that have come since, at most about `max_bytes` of them at once (at least one
    /// line, if there is any). Empty: there are no more at the moment, or for good.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn read_lines(&mut self, max_bytes: usize) -> io::Result<Vec<Line>> {
        let mut lines = Vec::new();
        let mut taken = 0;
        while !self.done && (taken < max_bytes || lines.is_empty()) {
            // Who looks for a younger file first and reads to the end then misses nothing.
            let younger = self.younger()?;
            let before = self.offset;
            self.read_some(&mut lines)?;
            self.leave_out(&mut lines);
            if self.done || self.offset > before {
                taken += usize::try_from(self.offset - before).unwrap_or(usize::MAX);
                continue;
            }
            match younger {
                Some(number) => self.move_on(number, &mut lines)?,
                None => break,
            }
            self.leave_out(&mut lines);
        }
        Ok(lines)
    }

    /// Drops lines that are to be skipped.
    fn leave_out(&mut self, lines: &mut Vec<Line>) {
        let skipped = self.skip.min(lines.len());
        self.skip -= skipped;
        lines.drain(..skipped);
    }

    /// The unfinished lines at the end, when nothing more is to be waited for.
    pub fn finish(&mut self) -> Vec<Line> {
        let mut lines = Vec::new();
        self.release_all(&mut lines);
        self.leave_out(&mut lines);
        lines
    }

    /// Everything that is there now, the unfinished end included.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn read_all(&mut self) -> io::Result<Vec<Line>> {
        let mut all = Vec::new();
        loop {
            let lines = self.read_lines(READ_MAX)?;
            if lines.is_empty() {
                break;
            }
            all.extend(lines);
        }
        all.extend(self.finish());
        Ok(all)
    }

    /// The number of the file to be read after the present one.
    fn younger(&self) -> io::Result<Option<u32>> {
        let all = inodes(&self.path)?;
        let oldest = all.last().map(|(number, _)| *number);
        let Some(segment) = &self.segment else { return Ok(oldest) };
        match all.iter().position(|(_, inode)| *inode == segment.inode) {
            Some(0) => Ok(None),
            Some(at) => Ok(all.get(at - 1).map(|(number, _)| *number)),
            // It was removed while it was read: all that are left are younger.
            None => Ok(oldest),
        }
    }

    fn move_on(&mut self, number: u32, lines: &mut Vec<Line>) -> io::Result<()> {
        let Some(next) = Segment::open(&self.path, number)? else { return Ok(()) };
        if let Some(end) = self.end
            && !inodes(&self.path)?.iter().any(|(_, inode)| *inode == end.inode)
        {
            // The place to stop at was rotated away.
            self.done = true;
            return Ok(());
        }
        release(&mut self.unknown, lines);
        self.segment = Some(next);
        self.offset = 0;
        self.next_record = 0;
        self.present = None;
        Ok(())
    }

    /// Reads the present file once.
    fn read_some(&mut self, lines: &mut Vec<Line>) -> io::Result<()> {
        let Some(segment) = self.segment.as_mut() else { return Ok(()) };
        let len = segment.refresh()?;
        self.next_record = self.next_record.min(std::mem::replace(&mut segment.stand, usize::MAX));
        let here = self.end.filter(|end| end.inode == segment.inode).map(|end| end.offset);
        if len < self.offset {
            self.go_back(len);
        }
        self.apply_records(lines);
        if here.is_some_and(|end| self.offset >= end) {
            self.release_all(lines);
            self.done = true;
            return Ok(());
        }
        let Some(segment) = self.segment.as_ref() else { return Ok(()) };
        let next = segment.records.get(self.next_record).map(|record| record.offset);
        let limit = [next, here].into_iter().flatten().fold(len, u64::min);
        let want = limit.saturating_sub(self.offset).min(READ_MAX as u64);
        let mut buffer = vec![0; usize::try_from(want).unwrap_or(0)];
        let count = segment.data.read_at(&mut buffer, self.offset)?;
        self.offset += count as u64;
        self.split(buffer.get(..count).unwrap_or_default(), lines);
        // What is at the new place may close the line that is held.
        self.apply_records(lines);
        Ok(())
    }

    /// The file has become shorter: an unfinished line was taken back, or somebody has cut it.
    fn go_back(&mut self, len: u64) {
        let back = usize::try_from(self.offset - len).unwrap_or(usize::MAX);
        self.offset = len;
        let held = self.held();
        held.text.truncate(held.text.len().saturating_sub(back));
    }

    /// What is held of whose bytes are being read.
    fn held(&mut self) -> &mut Held {
        match self.present.map(|record| record.mark) {
            Some(Mark::Chunk { stream: Stream::Stdout, .. }) => &mut self.stdout,
            Some(Mark::Chunk { stream: Stream::Stderr, .. }) => &mut self.stderr,
            Some(Mark::Start | Mark::Gap { .. } | Mark::End) | None => &mut self.unknown,
        }
    }

    /// Takes in the records of the place that was come to.
    fn apply_records(&mut self, lines: &mut Vec<Line>) {
        while let Some(record) =
            self.segment.as_ref().and_then(|s| s.records.get(self.next_record)).copied()
            && record.offset <= self.offset
        {
            self.next_record += 1;
            self.present = Some(record);
            match record.mark {
                Mark::Chunk { joined, .. } => {
                    let amid = self.amid;
                    release(&mut self.unknown, lines);
                    let held = self.held();
                    if !joined {
                        release(held, lines);
                    }
                    held.leave_out = joined && (held.leave_out || (amid && !held.seen));
                    held.seen = true;
                }
                Mark::Start | Mark::End => self.release_all(lines),
                Mark::Gap { lost, errno } => {
                    self.release_all(lines);
                    lines.push(gap(record.at, lost, errno));
                }
            }
        }
    }

    fn split(&mut self, bytes: &[u8], lines: &mut Vec<Line>) {
        let present = self.present;
        let held = self.held();
        for piece in bytes.split_inclusive(|b| *b == b'\n') {
            let ends = piece.ends_with(b"\n");
            if held.leave_out {
                held.leave_out = !ends;
                continue;
            }
            if held.text.is_empty() {
                held.from = present;
            }
            held.text.extend_from_slice(piece.strip_suffix(b"\n").unwrap_or(piece));
            if ends || held.text.len() >= LINE_MAX {
                let text = std::mem::take(&mut held.text);
                lines.push(line(held.from.take().or(present), text, ends));
            }
        }
    }

    fn release_all(&mut self, lines: &mut Vec<Line>) {
        for held in [&mut self.stdout, &mut self.stderr, &mut self.unknown] {
            release(held, lines);
        }
    }
}

/// Gives a held line up as one that will not be finished.
fn release(held: &mut Held, lines: &mut Vec<Line>) {
    if !held.text.is_empty() {
        let text = std::mem::take(&mut held.text);
        lines.push(line(held.from.take(), text, false));
    }
}

fn line(from: Option<Record>, text: Vec<u8>, whole: bool) -> Line {
    let origin = match from.map(|record| record.mark) {
        Some(Mark::Chunk { stream: Stream::Stdout, .. }) => Origin::Stdout,
        Some(Mark::Chunk { stream: Stream::Stderr, .. }) => Origin::Stderr,
        Some(Mark::Start | Mark::Gap { .. } | Mark::End) | None => Origin::Unknown,
    };
    Line { at: from.map(|record| record.at), origin, text, whole }
}

/// The line that stands for output that could not be written. The log file has no such line.
fn gap(at: Wall, lost: u64, errno: u8) -> Line {
    let why = match errno {
        0 => "it could not be written",
        number => nix::errno::Errno::from_raw(i32::from(number)).desc(),
    };
    let text = format!("[wsup: {lost} bytes of output are missing here: {why}]").into_bytes();
    Line { at: Some(at), origin: Origin::Wsup, text, whole: true }
}
