//! Reading an instance's log back, line by line and over its rotated files.
//!
//! Responsible for lines with their time and stream, in the order in which they were written, also
//! while the log is being written and rotated. Must not wait for anything: see `follow` for that.

use super::index::{HEADER_LEN, Mark, Record, Stream, read_header, take_in};
use super::packed::{Former, Packed};
use super::{index_path, packed_path, segment_path};
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

/// How often a file is looked for that is being moved by rotation; a flood rotates some hundred
/// times a second at most.
const MOVES_MAX: usize = 100;

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

/// A file of a log.
#[derive(Debug)]
enum Data {
    Plain(File),
    Packed(Box<Packed>),
}

/// One file of a log and its index, open.
#[derive(Debug)]
pub(super) struct Segment {
    data: Data,
    pub(super) inode: u64,
    index: Option<File>,
    index_read: u64,
    pub(super) records: Vec<Record>,
    /// How many records have stayed the same since a cursor looked last.
    stand: usize,
}

impl Segment {
    /// Opens the file of this number; `None` if there is none.
    fn open(path: &Path, number: u32) -> io::Result<Option<Segment>> {
        let (data, inode) = match open_existing(&segment_path(path, number))? {
            Some(file) => {
                let inode = file.metadata()?.ino();
                (Data::Plain(file), inode)
            }
            None => match open_existing(&packed_path(path, number))? {
                Some(file) => {
                    let inode = file.metadata()?.ino();
                    (Data::Packed(Box::new(Packed::new(file)?)), inode)
                }
                None => return Ok(None),
            },
        };
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
            if index.read_exact_at(&mut header, 0).is_ok()
                && read_header(&header).is_some_and(|named| segment.is(named))
            {
                segment.index = Some(index);
                break;
            }
        }
        Ok(Some(segment))
    }

    /// What it was before it was compressed.
    fn former(&self) -> Option<Former> {
        match &self.data {
            Data::Plain(_) => None,
            Data::Packed(packed) => Some(packed.former()),
        }
    }

    /// Whether it is the file with this inode, or was before it was compressed.
    fn is(&self, inode: u64) -> bool {
        self.former().map_or(self.inode, |former| former.inode) == inode || self.inode == inode
    }

    fn read_at(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        match &mut self.data {
            Data::Plain(file) => file.read_at(buffer, offset),
            Data::Packed(packed) => packed.read_at(buffer, offset),
        }
    }

    fn file(&self) -> &File {
        match &self.data {
            Data::Plain(file) => file,
            Data::Packed(packed) => packed.file(),
        }
    }

    /// The file's length now, after which all records up to it are read: a record is written
    /// before its bytes.
    pub(super) fn refresh(&mut self) -> io::Result<u64> {
        let len = match self.former() {
            Some(former) => former.len,
            None => self.file().metadata()?.len(),
        };
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
        let meta = self.file().metadata().ok()?;
        Some(Wall(meta.mtime().saturating_mul(1000) + meta.mtime_nsec() / 1_000_000))
    }
}

fn open_existing(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// One file of a log, not open.
#[derive(Clone, Copy, Debug)]
struct Listed {
    number: u32,
    inode: u64,
    packed: bool,
}

/// A log's files, youngest first. A rotation in between shows some file twice and hides none,
/// since files are looked at in the direction in which they move.
fn list(path: &Path) -> io::Result<Vec<Listed>> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    let mut missing = 0;
    for number in 0..SEGMENTS_MAX {
        let meta = |path: PathBuf| match fs::metadata(path) {
            Ok(meta) => Ok(Some(meta.ino())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        };
        let plain = meta(segment_path(path, number))?.map(|inode| (inode, false));
        let there = match plain {
            Some(plain) => Some(plain),
            None if number == 0 => None,
            None => meta(packed_path(path, number))?.map(|inode| (inode, true)),
        };
        match there {
            Some((inode, packed)) => {
                missing = 0;
                if seen.insert(inode) {
                    found.push(Listed { number, inode, packed });
                }
            }
            // In the middle of a rotation one number is missing.
            None if missing < 2 => missing += 1,
            None => break,
        }
    }
    Ok(found)
}

/// Where a file is among a log's. One that was compressed meanwhile is known by what it was: the
/// youngest of that inode, for inodes are used again.
fn position(path: &Path, all: &[Listed], inode: u64) -> Option<usize> {
    all.iter().position(|listed| listed.inode == inode).or_else(|| {
        all.iter().position(|listed| {
            let open = |number| Segment::open(path, number).ok().flatten();
            listed.packed && open(listed.number).is_some_and(|segment| segment.is(inode))
        })
    })
}

/// Opens the file with this inode, wherever rotation has moved it; `None`: it is gone.
fn open_inode(path: &Path, inode: u64) -> io::Result<Option<Segment>> {
    // Each time that it is missed it was moved on just then.
    for _ in 0..MOVES_MAX {
        let all = list(path)?;
        let found = position(path, &all, inode).and_then(|at| all.get(at).copied());
        let Some(listed) = found else { return Ok(None) };
        if let Some(segment) = Segment::open(path, listed.number)?
            && segment.is(inode)
        {
            return Ok(Some(segment));
        }
    }
    Ok(None)
}

/// All files of a log, oldest first.
pub(super) fn segments(path: &Path) -> io::Result<Vec<Segment>> {
    let mut all: Vec<Segment> = Vec::new();
    for listed in list(path)? {
        if let Some(segment) = open_inode(path, listed.inode)?
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
        if let Some(begin) = begin
            && let Some(segment) = open_inode(path, begin.inode)?
        {
            cursor.offset = begin.offset;
            cursor.segment = Some(segment);
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
                Some(inode) => self.move_on(inode, &mut lines)?,
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

    /// The file to be read after the present one, by its inode.
    fn younger(&self) -> io::Result<Option<u64>> {
        let all = list(&self.path)?;
        let oldest = all.last().map(|listed| listed.inode);
        let Some(segment) = &self.segment else { return Ok(oldest) };
        match position(&self.path, &all, segment.inode) {
            Some(0) => Ok(None),
            Some(at) => Ok(all.get(at - 1).map(|listed| listed.inode)),
            // It was removed while it was read: all that are left are younger.
            None => Ok(oldest),
        }
    }

    fn move_on(&mut self, inode: u64, lines: &mut Vec<Line>) -> io::Result<()> {
        // Gone meanwhile: the next look finds what is left.
        let Some(next) = open_inode(&self.path, inode)? else { return Ok(()) };
        if let Some(end) = self.end
            && position(&self.path, &list(&self.path)?, end.inode).is_none()
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
        let here = self.end.filter(|end| segment.is(end.inode)).map(|end| end.offset);
        if len < self.offset {
            self.go_back(len);
        }
        self.apply_records(lines);
        if here.is_some_and(|end| self.offset >= end) {
            self.release_all(lines);
            self.done = true;
            return Ok(());
        }
        let Some(segment) = self.segment.as_mut() else { return Ok(()) };
        let next = segment.records.get(self.next_record).map(|record| record.offset);
        let limit = [next, here].into_iter().flatten().fold(len, u64::min);
        let want = limit.saturating_sub(self.offset).min(READ_MAX as u64);
        let mut buffer = vec![0; usize::try_from(want).unwrap_or(0)];
        let count = segment.read_at(&mut buffer, self.offset)?;
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
