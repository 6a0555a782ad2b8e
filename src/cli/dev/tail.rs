//! What instances write, as it reaches their log files.
//!
//! Responsible for following all files of a log directory from now on, over rotation, in whole
//! lines. Must not format them. Woken by inotify, so that nothing is polled.

use crate::daemon::watch::WatchSet;
use crate::runner::logs::segment_path;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// How many rotated files are looked through for the one that was being read.
const SEGMENTS_MAX: u32 = 100;
/// A line without an end is shown in pieces of this size, in bytes.
const LINE_MAX: usize = 64 << 10;

/// All log files of one directory.
#[derive(Debug)]
pub(super) struct Tails {
    logs: PathBuf,
    watch: WatchSet,
    files: BTreeMap<PathBuf, Tail>,
}

/// What is in the log files already. To be taken before anything is started.
#[derive(Debug)]
pub(super) struct Past {
    logs: PathBuf,
    files: BTreeMap<PathBuf, Tail>,
}

impl Past {
    /// Notes how far each file goes.
    pub(super) fn of(logs: PathBuf) -> Past {
        let mut files = BTreeMap::new();
        for path in logs_in(&directories(&logs)) {
            let mut tail = Tail::default();
            tail.skip(&path);
            files.insert(path, tail);
        }
        Past { logs, files }
    }
}

impl Tails {
    /// Follows everything that was written after `past`.
    pub(super) fn new(past: Past) -> io::Result<Tails> {
        Ok(Tails { logs: past.logs, watch: WatchSet::for_content()?, files: past.files })
    }

    /// Waits until there may be something new.
    pub(super) async fn changed(&mut self) -> io::Result<()> {
        self.watch.changed().await
    }

    /// Everything that has been written since the last call: instance and line, without its end.
    pub(super) fn drain(&mut self, mut line: impl FnMut(&str, &[u8])) {
        for path in self.find() {
            let tail = self.files.entry(path.clone()).or_default();
            tail.read(&path, |text| line(instance(&path), text));
        }
    }

    /// The beginnings of lines that have no end yet.
    pub(super) fn rest(&mut self, mut line: impl FnMut(&str, &[u8])) {
        for (path, tail) in &mut self.files {
            if !tail.partial.is_empty() {
                line(instance(path), &std::mem::take(&mut tail.partial));
            }
        }
    }

    /// The present log files, and watches on every directory that has or may get one.
    fn find(&mut self) -> Vec<PathBuf> {
        let directories = directories(&self.logs);
        self.watch.set(&directories);
        // A directory that came before its parent was watched is found by looking again.
        let again = self::directories(&self.logs);
        if again != directories {
            self.watch.set(&again);
        }
        logs_in(&again)
    }
}

fn directories(logs: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::from([logs.to_path_buf()]);
    found.extend(entries(logs).filter(|path| path.is_dir()));
    found
}

fn logs_in(directories: &BTreeSet<PathBuf>) -> Vec<PathBuf> {
    let is_log = |path: &PathBuf| path.extension().is_some_and(|end| end == "log");
    directories.iter().flat_map(|dir| entries(dir)).filter(is_log).collect()
}

fn entries(dir: &Path) -> impl Iterator<Item = PathBuf> {
    std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path())
}

fn instance(path: &Path) -> &str {
    path.file_stem().and_then(|stem| stem.to_str()).unwrap_or("?")
}

/// One instance's output.
#[derive(Debug, Default)]
struct Tail {
    file: Option<File>,
    partial: Vec<u8>,
}

impl Tail {
    /// Leaves out what is there already.
    fn skip(&mut self, path: &Path) {
        self.file = File::open(path).ok();
        if let Some(file) = &mut self.file {
            // A log file can be sought in.
            let _ = file.seek(SeekFrom::End(0));
        }
    }

    fn read(&mut self, path: &Path, mut line: impl FnMut(&[u8])) {
        loop {
            if self.file.is_none() {
                self.file = File::open(path).ok();
            }
            self.read_file(&mut line);
            // The file may have been rotated away: what was written before that is read by now.
            match self.next(path) {
                Some(next) => self.file = Some(next),
                None => return,
            }
        }
    }

    fn read_file(&mut self, line: &mut impl FnMut(&[u8])) {
        let Some(file) = &mut self.file else { return };
        let mut buffer = vec![0; 64 << 10];
        loop {
            let read = match file.read(&mut buffer) {
                Ok(0) => return,
                Ok(read) => buffer.get(..read).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return,
            };
            for piece in read.split_inclusive(|byte| *byte == b'\n') {
                self.partial.extend_from_slice(piece);
                if self.partial.ends_with(b"\n") || self.partial.len() >= LINE_MAX {
                    let text = self.partial.strip_suffix(b"\n").unwrap_or(&self.partial);
                    line(text);
                    self.partial.clear();
                }
            }
        }
    }

    /// The file that was written after the one that has been read to its end; `None` if that is
    /// the present one.
    fn next(&self, path: &Path) -> Option<File> {
        let inode = self.file.as_ref()?.metadata().ok()?.ino();
        let is_ours =
            |number: u32| segment_path(path, number).metadata().is_ok_and(|m| m.ino() == inode);
        if is_ours(0) {
            return None;
        }
        let newer = match (1..SEGMENTS_MAX).find(|number| is_ours(*number)) {
            Some(number) => number - 1,
            // It is gone already: whatever is the oldest now comes next.
            None => (1..SEGMENTS_MAX)
                .take_while(|number| segment_path(path, *number).exists())
                .last()
                .unwrap_or(0),
        };
        // Of those that were compressed before they were shown nothing is shown.
        (0..=newer).rev().find_map(|number| File::open(segment_path(path, number)).ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn drain(tails: &mut Tails) -> Vec<String> {
        let mut lines = Vec::new();
        tails.drain(|name, text| lines.push(format!("{name}:{}", String::from_utf8_lossy(text))));
        lines
    }

    #[tokio::test]
    async fn only_what_is_new_is_shown_in_whole_lines_over_rotation() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("api/api-0.log");
        std::fs::create_dir(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "old\n").unwrap();
        let mut tails = Tails::new(Past::of(dir.path().to_owned())).unwrap();
        assert!(drain(&mut tails).is_empty());
        let mut file = File::options().append(true).open(&path).unwrap();
        file.write_all(b"one\ntw").unwrap();
        tokio::time::timeout(std::time::Duration::from_secs(5), tails.changed())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(drain(&mut tails), ["api-0:one"]);
        // Rotated twice before anybody looks.
        file.write_all(b"o\nthree\n").unwrap();
        std::fs::rename(&path, segment_path(&path, 2)).unwrap();
        std::fs::write(segment_path(&path, 1), "four\n").unwrap();
        std::fs::write(&path, "five\nsix").unwrap();
        let found = drain(&mut tails);
        assert_eq!(found, ["api-0:two", "api-0:three", "api-0:four", "api-0:five"]);
        let mut rest = Vec::new();
        tails.rest(|name, text| rest.push(format!("{name}:{}", String::from_utf8_lossy(text))));
        assert_eq!(rest, ["api-0:six"]);
    }

    #[tokio::test]
    async fn files_of_new_units_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let mut tails = Tails::new(Past::of(dir.path().to_owned())).unwrap();
        std::fs::create_dir(dir.path().join("db")).unwrap();
        std::fs::write(dir.path().join("db/db-0.log"), "hello\n").unwrap();
        assert_eq!(drain(&mut tails), ["db-0:hello"]);
    }
}
