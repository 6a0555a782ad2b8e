//! Which part of a log is wanted.
//!
//! Responsible for turning `--previous`, `--since` and `--tail` into a place to begin and a place
//! to stop. Must not read more of the files than that takes.

use super::index::Mark;
use super::read::{Cursor, Place, Segment, segments};
use crate::core::time::Wall;
use std::io;
use std::path::Path;

/// How much of a log's end is looked at first for its last lines.
const TAIL_WINDOW: u64 = 64 << 10;

/// Which of an instance's runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Run {
    /// All that are in the files.
    #[default]
    All,
    /// From the beginning of the last one on.
    Last,
    /// The one before the last. Nothing if there was none, or if it was rotated away.
    Previous,
}

/// What is wanted of a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// Which run.
    pub run: Run,
    /// Only the last so many lines of it.
    pub tail: Option<usize>,
    /// Only lines that were read from the program at or after this time.
    pub since: Option<Wall>,
}

/// Opens the log at `path` (the present file, `<log dir>/UNIT/INSTANCE.log`) at the first wanted
/// line. A log that does not exist yet is an empty one; the cursor sees it when it comes.
///
/// # Errors
/// A file cannot be read.
pub fn open(path: &Path, query: &Query) -> io::Result<Cursor> {
    let mut all = Vec::new();
    for mut segment in segments(path)? {
        let len = segment.refresh()?;
        all.push((segment, len));
    }
    let (mut begin, end) = match query.run {
        Run::All => (oldest(&all), None),
        Run::Last => (start_from_end(&all, 0).or_else(|| oldest(&all)), None),
        Run::Previous => {
            let end = start_from_end(&all, 0);
            let begin = start_from_end(&all, 1).or_else(|| oldest(&all));
            // No start is known: then nothing is known to be of the run before.
            (if end.is_some() { begin } else { None }, end.or_else(|| latest(&all)))
        }
    };
    if let (Run::Previous, None) = (query.run, begin) {
        begin = end;
    }
    if let Some(since) = query.since {
        let later = first_since(&all, since).or_else(|| latest(&all));
        begin = later_of(&all, begin, later);
    }
    match query.tail {
        None => Cursor::at(path, begin, end),
        Some(count) => tail(path, &all, begin, end, count),
    }
}

type Sized = (Segment, u64);

fn oldest(all: &[Sized]) -> Option<Place> {
    all.first().map(|(segment, _)| Place { inode: segment.inode, offset: 0 })
}

fn latest(all: &[Sized]) -> Option<Place> {
    all.last().map(|(segment, len)| Place { inode: segment.inode, offset: *len })
}

/// Where the last run began, or the one `back` runs before it.
fn start_from_end(all: &[Sized], back: usize) -> Option<Place> {
    all.iter()
        .rev()
        .flat_map(|(segment, _)| {
            let starts = segment.records.iter().rev().filter(|r| r.mark == Mark::Start);
            starts.map(|r| Place { inode: segment.inode, offset: r.offset })
        })
        .nth(back)
}

/// The first bytes that came at or after a time.
fn first_since(all: &[Sized], since: Wall) -> Option<Place> {
    all.iter().find_map(|(segment, _)| {
        let place = |offset| Place { inode: segment.inode, offset };
        if segment.records.is_empty() {
            // Without an index the file's own time must do.
            return segment.modified().filter(|at| *at >= since).map(|_| place(0));
        }
        segment.records.iter().find(|r| r.at >= since).map(|r| place(r.offset))
    })
}

fn rank(all: &[Sized], place: Place) -> Option<(usize, u64)> {
    let at = all.iter().position(|(segment, _)| segment.inode == place.inode)?;
    Some((at, place.offset))
}

fn later_of(all: &[Sized], one: Option<Place>, other: Option<Place>) -> Option<Place> {
    let key = |place: Option<Place>| place.and_then(|place| rank(all, place));
    if key(one) >= key(other) { one } else { other }
}

/// A cursor for the last `count` lines between two places. Lines are counted from a place near
/// the end; if they are too few, from one further back.
fn tail(
    path: &Path,
    all: &[Sized],
    begin: Option<Place>,
    end: Option<Place>,
    count: usize,
) -> io::Result<Cursor> {
    let mut window = TAIL_WINDOW;
    loop {
        let place = later_of(all, begin, back_from(all, end, window));
        let found = Cursor::at(path, place, end.or_else(|| latest(all)))?.read_all()?.len();
        if found >= count || place == begin {
            let mut cursor = Cursor::at(path, place, end)?;
            cursor.skip = found.saturating_sub(count);
            return Ok(cursor);
        }
        window = window.saturating_mul(4);
    }
}

/// A place at least so many bytes before the end; `None`: that is before all. A cursor that begins
/// there leaves the rest of a line out that began before.
fn back_from(all: &[Sized], end: Option<Place>, window: u64) -> Option<Place> {
    let end = end.and_then(|end| rank(all, end));
    let mut left = window;
    for (at, (segment, len)) in all.iter().enumerate().rev() {
        let len = match end {
            Some((last, _)) if at > last => continue,
            Some((last, offset)) if at == last => offset,
            Some(_) | None => *len,
        };
        if len < left {
            left -= len;
            continue;
        }
        let found = segment.records.iter().rev().find(|r| r.offset <= len - left);
        let found = found.map_or(0, |record| record.offset);
        return Some(Place { inode: segment.inode, offset: found });
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::index::Stream;
    use super::super::read::Origin;
    use super::super::write::Log;
    use super::*;
    use std::path::PathBuf;

    struct Fixture {
        _dir: tempfile::TempDir,
        path: PathBuf,
    }

    #[track_caller]
    fn write(log: &mut Log, stream: Stream, bytes: &[u8]) {
        let mut said = Vec::new();
        log.append(stream, bytes, &mut said);
        assert_eq!(said, [] as [&str; 0]);
    }

    impl Fixture {
        fn new() -> Fixture {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("unit/a.log");
            Fixture { _dir: dir, path }
        }

        fn run(&self, pieces: &[(Stream, &str)], max_size: u64) {
            let mut log = Log::new(&self.path, max_size, 100, true);
            for (stream, text) in pieces {
                write(&mut log, *stream, text.as_bytes());
            }
            log.end(&mut Vec::new());
        }

        fn get(&self, query: Query) -> Vec<String> {
            let lines = open(&self.path, &query).unwrap().read_all().unwrap();
            lines.iter().map(|l| String::from_utf8_lossy(&l.text).into_owned()).collect()
        }
    }

    #[test]
    fn runs_are_told_apart_also_over_rotated_files() {
        let log = Fixture::new();
        assert_eq!(log.get(Query::default()), [] as [&str; 0], "no log yet");
        log.run(&[(Stream::Stdout, "one\ntwo\nthree\n")], 8);
        let previous = Query { run: Run::Previous, ..Query::default() };
        assert_eq!(log.get(previous), [] as [&str; 0], "no run before");
        log.run(&[(Stream::Stdout, "four\nfive"), (Stream::Stderr, "oops")], 8);
        log.run(&[(Stream::Stdout, "six\nseven\n")], 8);
        let all = ["one", "two", "three", "four", "five", "oops", "six", "seven"];
        assert_eq!(log.get(Query::default()), all);
        assert_eq!(log.get(previous), ["four", "five", "oops"]);
        assert_eq!(log.get(Query { tail: Some(2), ..previous }), ["five", "oops"]);
        assert_eq!(log.get(Query { run: Run::Last, ..Query::default() }), ["six", "seven"]);
        for count in 0..10 {
            let tail = Query { tail: Some(count), ..Query::default() };
            assert_eq!(log.get(tail), all[all.len().saturating_sub(count)..], "--tail {count}");
        }
        log.run(&[], 8);
        assert_eq!(log.get(Query { run: Run::Last, ..Query::default() }), [] as [&str; 0]);
        assert_eq!(log.get(previous), ["six", "seven"]);
    }

    #[test]
    fn lines_know_their_stream_and_whether_they_ended() {
        let log = Fixture::new();
        log.run(
            &[
                (Stream::Stdout, "long "),
                (Stream::Stdout, "line\n"),
                (Stream::Stderr, "error\n"),
                (Stream::Stdout, "last words"),
            ],
            1000,
        );
        log.run(&[(Stream::Stdout, "next\n")], 1000);
        let lines = open(&log.path, &Query::default()).unwrap().read_all().unwrap();
        let seen: Vec<(&[u8], Origin, bool)> =
            lines.iter().map(|l| (l.text.as_slice(), l.origin, l.whole)).collect();
        assert_eq!(
            seen,
            [
                (b"long line".as_slice(), Origin::Stdout, true),
                (b"error".as_slice(), Origin::Stderr, true),
                (b"last words".as_slice(), Origin::Stdout, false),
                (b"next".as_slice(), Origin::Stdout, true),
            ]
        );
        assert!(lines.iter().all(|l| l.at.is_some()));
    }

    #[test]
    fn lines_that_two_streams_wrote_into_each_other_are_put_together() {
        let log = Fixture::new();
        let (out, err) = (Stream::Stdout, Stream::Stderr);
        log.run(&[(out, "a lo"), (err, "an er"), (out, "ng line\nnext "), (err, "ror\n")], 1000);
        assert_eq!(log.get(Query::default()), ["a long line", "an error", "next "]);
        assert_eq!(log.get(Query { tail: Some(2), ..Query::default() }), ["an error", "next "]);
    }

    #[test]
    fn a_long_log_is_cut_to_its_last_lines() {
        let log = Fixture::new();
        let text: String = (0..50_000).map(|n| format!("line {n}\n")).collect();
        for piece in text.as_bytes().chunks(7_000) {
            // Pieces end within lines, as a pump's never do; they must still be put together.
            log_piece(&log, piece);
        }
        let tail = log.get(Query { tail: Some(20_000), ..Query::default() });
        assert_eq!(tail.len(), 20_000);
        assert_eq!(tail.first().unwrap(), "line 30000");
        assert_eq!(tail.last().unwrap(), "line 49999");
    }

    fn log_piece(log: &Fixture, piece: &[u8]) {
        use std::sync::Mutex;
        static OPEN: Mutex<Option<(PathBuf, Log)>> = Mutex::new(None);
        let mut open = OPEN.lock().unwrap();
        let (_, writer) =
            open.get_or_insert_with(|| (log.path.clone(), Log::new(&log.path, 100_000, 100, true)));
        write(writer, Stream::Stdout, piece);
    }

    #[test]
    fn since_counts_by_when_it_was_read() {
        let log = Fixture::new();
        log.run(&[(Stream::Stdout, "old\n")], 1000);
        let now = crate::os::clock::wall();
        let since = |at| Query { since: Some(at), ..Query::default() };
        assert_eq!(log.get(since(Wall(now.0 - 60_000))), ["old"]);
        assert_eq!(log.get(since(Wall(now.0 + 60_000))), [] as [&str; 0]);
    }

    #[test]
    fn a_log_without_index_is_still_readable() {
        let log = Fixture::new();
        std::fs::create_dir_all(log.path.parent().unwrap()).unwrap();
        std::fs::write(&log.path, "a\nb\nc").unwrap();
        assert_eq!(log.get(Query::default()), ["a", "b", "c"]);
        assert_eq!(log.get(Query { tail: Some(2), ..Query::default() }), ["b", "c"]);
    }

    #[test]
    fn a_cursor_goes_on_over_rotations() {
        let log = Fixture::new();
        let mut writer = Log::new(&log.path, 20, 100, true);
        let mut cursor = open(&log.path, &Query { tail: Some(0), ..Query::default() }).unwrap();
        let mut seen = Vec::new();
        for round in 0..100 {
            write(&mut writer, Stream::Stdout, format!("line {round}\n").as_bytes());
            if round % 7 == 0 {
                seen.extend(cursor.read_lines(1 << 20).unwrap());
            }
        }
        seen.extend(cursor.read_lines(1 << 20).unwrap());
        let seen: Vec<String> =
            seen.iter().map(|l| String::from_utf8_lossy(&l.text).into_owned()).collect();
        let expected: Vec<String> = (0..100).map(|n| format!("line {n}")).collect();
        assert_eq!(seen, expected);
    }
}
