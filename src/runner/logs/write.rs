//! An instance's log file.
//!
//! Responsible for appending, for the index, for when it is time to rotate, and for getting over a
//! disk that is full. Must not decide when a pipe is read.

use super::index::{Mark, Record, Stream};
use super::rotate::{Found, Open, rotate};
use crate::core::time::{Millis, Mono, Wall};
use crate::os::clock;
use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, SpliceFFlags, fallocate, splice};
use nix::sys::resource::{Resource, getrlimit};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// A line that is longer than what a pump holds back arrives in pieces. Rotation waits for its
/// end, but not beyond this many bytes above the file's limit.
const OVERRUN_MAX: u64 = 1 << 20;

/// So near to its limit a file takes no bytes unseen: room for one turn's bytes and for the end of
/// a line that a pump would hold back.
const UNSEEN_MARGIN: u64 = 128 << 10;

/// An index has a record for each millisecond in which something was written, up to this size and
/// a sixteenth of the log file's; beyond that, for each second. A change of stream always has one.
const INDEX_FREE: u64 = 64 << 10;
const SPACING: (i64, i64) = (1, 1000);

/// Besides its share of the log's bound, an index may have this size. One that is larger than
/// both makes the file be rotated: two streams that take turns with every byte must not fill the
/// disk.
const INDEX_MAX: u64 = 256 << 10;

/// Room for the few records that are added to an index although it is full.
const INDEX_SPARE: u64 = 256;

/// How far back a failed write looks for the end of the last whole line.
const CUT_MAX: u64 = 64 << 10;

/// A disk that is now full and now not is told of so often.
const TOLD_EVERY: Millis = Millis::from_secs(60);

/// What could not be written since the last that could.
#[derive(Debug)]
struct Loss {
    bytes: u64,
    why: Errno,
    /// Of each stream: the rest of its line is to be left out, since the beginning was.
    amid: [bool; 2],
    /// People were told of it, and when they last were.
    told: bool,
    told_at: Option<Mono>,
}

/// An instance's log.
#[derive(Debug)]
pub(in crate::runner) struct Log {
    path: PathBuf,
    max_size: u64,
    max_files: u32,
    max_index: u64,
    open: Option<Open>,
    /// The last record, if it speaks of the bytes at the end.
    last: Option<(Stream, Wall)>,
    /// Of each stream: the last line in the file has no end yet.
    amid: [bool; 2],
    /// The stream that has written unseen, so that `amid` is to be looked up.
    unseen: Option<Stream>,
    /// It was rotated since somebody asked.
    rotated: bool,
    /// The file system takes no splice(2).
    plain: bool,
    loss: Loss,
}

impl Log {
    /// Opens the log and, where a run begins, marks that. A log that cannot be opened now is
    /// tried again with every write: a full disk must not keep a program from running.
    pub(in crate::runner) fn new(path: &Path, max_size: u64, max_files: u32, run: bool) -> Log {
        // Ours may be lower than the unit's; the index is bound by it as well.
        let may_be = getrlimit(Resource::RLIMIT_FSIZE).map_or(u64::MAX, |(soft, _)| soft);
        let max_size = max_size.min(may_be).max(1);
        let mut log = Log {
            path: path.to_path_buf(),
            max_size,
            max_index: (max_size / 2 + INDEX_MAX).min(may_be.saturating_sub(INDEX_SPARE)),
            max_files: max_files.max(1),
            open: None,
            last: None,
            amid: [false; 2],
            unseen: None,
            rotated: false,
            plain: false,
            loss: Loss {
                bytes: 0,
                why: Errno::UnknownErrno,
                amid: [false; 2],
                told: false,
                told_at: None,
            },
        };
        if run {
            // If it fails, the next write says so.
            let _marked = log.mark(Mark::Start);
        }
        log
    }

    /// Appends bytes of one stream: whole lines, or a piece of a line that is too long to be held
    /// back or will never end. `said` gets what people should know.
    pub(in crate::runner) fn append(
        &mut self,
        stream: Stream,
        bytes: &[u8],
        said: &mut Vec<String>,
    ) {
        let mut rest = bytes;
        if !rest.is_empty() && (self.loss.bytes > 0 || of(&self.loss.amid, stream)) {
            rest = self.recover(stream, rest, said);
        }
        while !rest.is_empty() {
            match self.append_some(stream, rest) {
                Ok(len) => rest = rest.get(len..).unwrap_or_default(),
                Err(error) => return self.lose(stream, rest, &error, said),
            }
        }
    }

    /// Whether bytes of this stream may go into the file unseen.
    pub(super) fn takes_unseen(&mut self, stream: Stream) -> bool {
        if self.plain || self.loss.bytes > 0 || of(&self.loss.amid, stream) {
            return false;
        }
        let max_size = self.max_size;
        let room = self.opened().is_ok_and(|open| open.size + UNSEEN_MARGIN <= max_size);
        room && !self.index_is_full()
    }

    /// Moves bytes from a pipe into the file without looking at them. 0: all writers are gone.
    pub(super) fn splice(
        &mut self,
        stream: Stream,
        pipe: &OwnedFd,
        len: usize,
    ) -> Result<usize, Errno> {
        self.begin(stream).map_err(|error| errno_of(&error))?;
        let open = self.opened().map_err(|error| errno_of(&error))?;
        let mut at = i64::try_from(open.size).map_err(|_| Errno::EFBIG)?;
        let flags = SpliceFFlags::SPLICE_F_NONBLOCK | SpliceFFlags::SPLICE_F_MOVE;
        let moved = splice(pipe, None, &open.data, Some(&mut at), len, flags);
        match moved {
            Ok(0) => {}
            Ok(len) => {
                open.size += len as u64;
                self.unseen = Some(stream);
            }
            Err(Errno::EINVAL) => self.plain = true,
            Err(_) => {}
        }
        moved
    }

    /// The log's path, if it was rotated since the last call.
    pub(in crate::runner) fn take_rotated(&mut self) -> Option<&Path> {
        std::mem::take(&mut self.rotated).then_some(self.path.as_path())
    }

    /// Closes the files; the next write opens them again.
    pub(in crate::runner) fn rest(&mut self) {
        self.open = None;
    }

    /// Closes an unfinished last line in the index, so that the next run's first line is not
    /// taken for its rest.
    pub(in crate::runner) fn end(&mut self, said: &mut Vec<String>) {
        if self.loss.bytes > 0 && self.has_room(1) {
            // If it fails, it has at least been counted.
            let _told = self.tell_gap(said);
        }
        if self.loss.bytes > 0 && self.loss.told {
            said.push(self.missing());
        }
        self.see();
        if self.amid != [false; 2] {
            // Where a run begins is marked as well.
            let _marked = self.mark(Mark::End);
        }
    }

    /// Writes as many of the bytes as the present file takes, at least one line.
    fn append_some(&mut self, stream: Stream, bytes: &[u8]) -> io::Result<usize> {
        self.see();
        let size = self.opened()?.size;
        if self.index_is_full() && size > 0 {
            self.rotate()?;
            return Ok(0);
        }
        let room = self.max_size.saturating_sub(size);
        let mut len = whole_lines_within(bytes, room);
        if len == 0 {
            let waits = self.amid != [false; 2] && size < self.max_size + OVERRUN_MAX;
            if size > 0 && !waits {
                self.rotate()?;
                return Ok(0);
            }
            len = first_line(bytes);
        }
        match self.put(stream, bytes.get(..len).unwrap_or_default()) {
            // A limit on the size of files that is lower than ours.
            Err(error) if errno_of(&error) == Errno::EFBIG && size > 0 => {
                self.rotate()?;
                Ok(0)
            }
            Err(error) => Err(error),
            Ok(()) => Ok(len),
        }
    }

    /// Writes bytes, or nothing.
    fn put(&mut self, stream: Stream, bytes: &[u8]) -> io::Result<()> {
        self.begin(stream)?;
        let open = self.opened()?;
        if let Err(error) = open.data.write_all_at(bytes, open.size) {
            // Half a line is worse than none, for whoever reads it.
            let _best_effort = open.data.set_len(open.size);
            return Err(error);
        }
        open.size += bytes.len() as u64;
        self.unseen = None;
        set(&mut self.amid, stream, !bytes.ends_with(b"\n"));
        Ok(())
    }

    /// Sees to it that the index tells whose the next bytes are, and of when.
    fn begin(&mut self, stream: Stream) -> io::Result<()> {
        let now = clock::wall();
        let crowded = self.opened().map(|o| o.index_len > INDEX_FREE + o.size / 16)?;
        let spacing = if crowded { SPACING.1 } else { SPACING.0 };
        if let Some((last, at)) = self.last
            && last == stream
            && (0..spacing).contains(&(now.0 - at.0))
        {
            return Ok(());
        }
        match self.opened()?.look()? {
            Found::Same => self.see(),
            found => {
                if found == Found::Removed {
                    self.open = None;
                }
                self.unseen = None;
                self.amid = [false; 2];
            }
        }
        let joined = of(&self.amid, stream);
        self.add(now, Mark::Chunk { stream, joined })?;
        self.last = Some((stream, now));
        Ok(())
    }

    /// A record that no bytes of a program follow.
    fn mark(&mut self, mark: Mark) -> io::Result<()> {
        self.add(clock::wall(), mark)?;
        self.last = None;
        self.amid = [false; 2];
        self.unseen = None;
        Ok(())
    }

    fn add(&mut self, at: Wall, mark: Mark) -> io::Result<()> {
        let open = self.opened()?;
        open.add_record(&Record { at, mark, offset: open.size }.encode())
    }

    /// Looks up whether the line is finished that was written unseen.
    fn see(&mut self) {
        let Some(stream) = self.unseen.take() else { return };
        let mut last = *b"\n";
        if let Ok(open) = self.opened()
            && open.size > 0
        {
            // If it cannot be read it counts as finished: then at worst a line is shown as two.
            let _read = open.data.read_exact_at(&mut last, open.size - 1);
        }
        set(&mut self.amid, stream, last != *b"\n");
    }

    fn index_is_full(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.index_len > self.max_index)
    }

    fn opened(&mut self) -> io::Result<&mut Open> {
        // Two steps, since the borrow checker does not see through `if let Some(open) = ...`.
        if self.open.is_none() {
            let open = Open::new(&self.path)?;
            if open.size == 0 {
                self.last = None;
            }
            self.open = Some(open);
        }
        self.open.as_mut().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.open = None;
        self.last = None;
        self.unseen = None;
        self.rotated = true;
        rotate(&self.path, self.max_files)
    }
}

/// Getting over a disk that is full.
impl Log {
    /// Counts what cannot be written, and takes an unfinished line at the end of the file back:
    /// the file has whole lines, whatever is missing.
    fn lose(&mut self, stream: Stream, bytes: &[u8], error: &io::Error, said: &mut Vec<String>) {
        self.loss.why = errno_of(error);
        self.loss.bytes += bytes.len() as u64;
        self.take_back();
        set(&mut self.loss.amid, stream, !bytes.ends_with(b"\n"));
        let now = clock::mono();
        if !self.loss.told && self.loss.told_at.is_none_or(|at| now.since(at) >= TOLD_EVERY) {
            self.loss.told = true;
            self.loss.told_at = Some(now);
            let (path, why) = (self.path.display(), self.loss.why.desc());
            said.push(format!(
                "output cannot be written to {path}: {why}; the program goes on, and what is lost \
                 is counted"
            ));
        }
    }

    fn take_back(&mut self) {
        self.see();
        let Some((stream, _)) = self.last.filter(|(stream, _)| of(&self.amid, *stream)) else {
            return;
        };
        let Some(open) = self.open.as_mut() else { return };
        let begin = open.size.saturating_sub(CUT_MAX);
        let mut end = vec![0; usize::try_from(open.size - begin).unwrap_or(0)];
        if open.data.read_exact_at(&mut end, begin).is_err() {
            return;
        }
        let Some(at) = end.iter().rposition(|byte| *byte == b'\n') else { return };
        let size = begin + at as u64 + 1;
        if open.data.set_len(size).is_ok() {
            self.loss.bytes += open.size - size;
            open.size = size;
            self.last = None;
            self.amid = [false; 2];
            set(&mut self.loss.amid, stream, true);
        }
    }

    /// Tries whether there is room again, and gives what is to be written then: not the rest of a
    /// line whose beginning is lost.
    fn recover<'b>(&mut self, stream: Stream, bytes: &'b [u8], said: &mut Vec<String>) -> &'b [u8] {
        let mut rest = bytes;
        if of(&self.loss.amid, stream) {
            let len = first_line(bytes);
            let (lost, kept) = bytes.split_at_checked(len).unwrap_or((bytes, b""));
            self.loss.bytes += len as u64;
            set(&mut self.loss.amid, stream, !lost.ends_with(b"\n"));
            rest = kept;
        }
        if rest.is_empty() {
            return rest;
        }
        if self.has_room(rest.len()) && self.tell_gap(said).is_ok() {
            return rest;
        }
        self.loss.bytes += rest.len() as u64;
        set(&mut self.loss.amid, stream, !rest.ends_with(b"\n"));
        b""
    }

    /// Whether so many bytes can be written, as far as can be told before: the index must not
    /// speak of a gap that goes on.
    fn has_room(&mut self, len: usize) -> bool {
        let Ok(open) = self.opened() else { return false };
        let (Ok(at), Ok(len)) = (i64::try_from(open.size), i64::try_from(len)) else {
            return false;
        };
        match fallocate(&open.data, FallocateFlags::FALLOC_FL_KEEP_SIZE, at, len) {
            Err(why @ (Errno::ENOSPC | Errno::EDQUOT | Errno::EFBIG | Errno::EIO)) => {
                self.loss.why = why;
                false
            }
            // Where it is not known how, the write shows it.
            Ok(()) | Err(_) => true,
        }
    }

    /// Says in the index how much is missing.
    fn tell_gap(&mut self, said: &mut Vec<String>) -> io::Result<()> {
        let errno = u8::try_from(self.loss.why as i32).unwrap_or(0);
        self.mark(Mark::Gap { lost: self.loss.bytes, errno })?;
        if std::mem::take(&mut self.loss.told) {
            said.push(format!("{}; there is room again", self.missing()));
        }
        self.loss.bytes = 0;
        Ok(())
    }

    fn missing(&self) -> String {
        let (lost, path, why) = (self.loss.bytes, self.path.display(), self.loss.why.desc());
        format!("{lost} bytes of output are missing from {path}: {why}")
    }
}

fn errno_of(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::UnknownErrno, Errno::from_raw)
}

const fn of(pair: &[bool; 2], stream: Stream) -> bool {
    let [stdout, stderr] = *pair;
    match stream {
        Stream::Stdout => stdout,
        Stream::Stderr => stderr,
    }
}

const fn set(pair: &mut [bool; 2], stream: Stream, value: bool) {
    let [stdout, stderr] = pair;
    match stream {
        Stream::Stdout => *stdout = value,
        Stream::Stderr => *stderr = value,
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

#[cfg(test)]
mod tests {
    use super::super::{index_path, segment_path};
    use super::*;
    use std::fs;

    fn log(dir: &tempfile::TempDir, max_size: u64, max_files: u32) -> (Log, PathBuf) {
        let path = dir.path().join("unit/a.log");
        (Log::new(&path, max_size, max_files, true), path)
    }

    fn text(path: &Path, number: u32) -> String {
        fs::read_to_string(segment_path(path, number)).unwrap_or_default()
    }

    #[track_caller]
    fn write(log: &mut Log, stream: Stream, bytes: &[u8]) {
        let mut said = Vec::new();
        log.append(stream, bytes, &mut said);
        assert_eq!(said, [] as [&str; 0]);
    }

    #[test]
    fn rotation_is_at_whole_lines_and_keeps_as_many_files_as_it_may() {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, path) = log(&dir, 10, 3);
        for piece in ["aaa\nbbb\n", "c\nddd\neee\n", "a line that is too long\n", "f\n"] {
            write(&mut log, Stream::Stdout, piece.as_bytes());
        }
        assert_eq!(text(&path, 0), "f\n");
        assert_eq!(text(&path, 1), "a line that is too long\n");
        assert_eq!(text(&path, 2), "ddd\neee\n");
        assert!(!segment_path(&path, 3).exists() && !index_path(&path, 3).exists());
        let mut fewer = Log::new(&path, 10, 1, false);
        write(&mut fewer, Stream::Stdout, b"0123456789\n");
        assert_eq!(text(&path, 0), "0123456789\n");
        assert!(!segment_path(&path, 1).exists() && !segment_path(&path, 2).exists());
    }

    #[test]
    fn an_unfinished_line_is_not_rotated_away_from_its_rest() {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, path) = log(&dir, 8, 3);
        write(&mut log, Stream::Stdout, b"123456");
        write(&mut log, Stream::Stdout, b"789012");
        write(&mut log, Stream::Stdout, b"345\nnext\n");
        assert_eq!(text(&path, 1), "123456789012345\n");
        assert_eq!(text(&path, 0), "next\n");
    }

    #[test]
    fn what_cannot_be_written_is_counted_and_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file/a.log");
        fs::write(dir.path().join("file"), "in the way").unwrap();
        let mut log = Log::new(&path, 100, 2, true);
        let mut said = Vec::new();
        log.append(Stream::Stdout, b"lost\n", &mut said);
        assert!(said.concat().contains("Not a directory"), "{said:?}");
        log.append(Stream::Stdout, b"lost too\nand amid", &mut said);
        assert_eq!(said.len(), 1, "told once: {said:?}");
        fs::remove_file(dir.path().join("file")).unwrap();
        log.append(Stream::Stdout, b" a line\n", &mut said);
        log.append(Stream::Stderr, b"back\n", &mut said);
        assert!(said[1].starts_with("30 bytes of output are missing from "), "{said:?}");
        assert_eq!(text(&path, 0), "back\n", "the program's bytes and nothing else");
        let lines = super::super::select::open(&path, &Default::default()).unwrap().read_all();
        let lines: Vec<String> = lines
            .unwrap()
            .iter()
            .map(|line| String::from_utf8_lossy(&line.text).into_owned())
            .collect();
        let told = "[wsup: 30 bytes of output are missing here: Not a directory]";
        assert_eq!(lines, [told, "back"]);
    }

    #[test]
    fn a_log_file_that_somebody_cuts_or_removes_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, path) = log(&dir, 1000, 3);
        write(&mut log, Stream::Stdout, b"one\n");
        fs::write(&path, "").unwrap();
        // The other stream, so that the file is looked at whatever the time.
        write(&mut log, Stream::Stderr, b"two\n");
        assert_eq!(text(&path, 0), "two\n");
        fs::remove_file(&path).unwrap();
        write(&mut log, Stream::Stdout, b"three\n");
        assert_eq!(text(&path, 0), "three\n");
        let lines = super::super::select::open(&path, &Default::default()).unwrap().read_all();
        assert_eq!(lines.unwrap().len(), 1);
    }

    #[test]
    fn what_a_killed_runner_leaves_is_read_and_gone_on_with() {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, path) = log(&dir, 1000, 3);
        write(&mut log, Stream::Stdout, b"one\n");
        write(&mut log, Stream::Stderr, b"two, unfin");
        drop(log);
        let index = index_path(&path, 0);
        let whole = fs::read(&index).unwrap();
        let read = || -> Vec<String> {
            let lines = super::super::select::open(&path, &Default::default()).unwrap().read_all();
            let lines = lines.unwrap();
            lines.iter().map(|line| String::from_utf8_lossy(&line.text).into_owned()).collect()
        };
        let data = fs::read(&path).unwrap();
        for len in 0..=whole.len() {
            // Whatever the index has lost, no line is.
            fs::write(&index, &whole[..len]).unwrap();
            assert_eq!(read(), ["one", "two, unfin"], "index of {len} bytes");
            let mut next = Log::new(&path, 1000, 3, true);
            write(&mut next, Stream::Stdout, b"three\n");
            drop(next);
            if len >= super::super::index::HEADER_LEN {
                assert_eq!(read(), ["one", "two, unfin", "three"], "index of {len} bytes");
            }
            assert_eq!(text(&path, 0), "one\ntwo, unfinthree\n");
            fs::write(&path, &data).unwrap();
        }
    }

    #[test]
    fn an_index_stays_small() {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, path) = log(&dir, 100_000, 3);
        for n in 0..100_000 {
            let stream = if n % 2 == 0 { Stream::Stdout } else { Stream::Stderr };
            write(&mut log, stream, b"\n");
        }
        for number in 0..3 {
            let Ok(meta) = fs::metadata(index_path(&path, number)) else { continue };
            assert!(meta.len() <= 50_000 + INDEX_MAX + 100, "{}", meta.len());
        }
        let total: usize = (0..3).map(|number| text(&path, number).len()).sum();
        assert!(total > 30_000, "{total}");
    }
}
