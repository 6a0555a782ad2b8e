//! An instance's log on disk: the present file and those that were rotated away.
//!
//! Responsible for reading it from a place to its end, over rotations, as bytes. Must not know
//! who reads.

use std::io::{self, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use tokio::fs::{self, File};
use tokio::io::{AsyncReadExt, AsyncSeekExt};

/// How much is read at a time.
const CHUNK: usize = 64 * 1024;
/// So many rotated files are looked for; `max_files` may be set as high.
const SEGMENTS_MAX: u32 = 1000;

/// The files of a log that exist, oldest first: `X.log.2`, `X.log.1`, `X.log`.
pub(super) async fn segments(path: &Path) -> Vec<PathBuf> {
    let mut list = Vec::new();
    for number in 1..=SEGMENTS_MAX {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        let segment = PathBuf::from(name);
        if !exists(&segment).await {
            break;
        }
        list.push(segment);
    }
    list.reverse();
    if exists(path).await {
        list.push(path.to_path_buf());
    }
    list
}

async fn exists(path: &Path) -> bool {
    fs::try_exists(path).await.unwrap_or(false)
}

/// Reads a log from a place to its end, and later from there to its new end.
#[derive(Debug)]
pub(super) struct Cursor {
    path: PathBuf,
    at: Option<Place>,
}

#[derive(Debug)]
struct Place {
    file: File,
    inode: u64,
}

impl Cursor {
    /// At the beginning, or so that the last `tail` lines are left.
    pub(super) async fn new(path: &Path, tail: Option<usize>) -> io::Result<Cursor> {
        let mut cursor = Cursor { path: path.to_path_buf(), at: None };
        let Some(mut lines) = tail else { return Ok(cursor) };
        let list = segments(path).await;
        for (n, segment) in list.iter().rev().enumerate() {
            let mut place = open(segment).await?;
            let (found, offset) = line_from_end(&mut place.file, lines).await?;
            if found >= lines || n + 1 == list.len() {
                place.file.seek(SeekFrom::Start(offset)).await?;
                cursor.at = Some(place);
                break;
            }
            lines -= found;
        }
        Ok(cursor)
    }

    /// The next bytes; empty at the present end.
    pub(super) async fn read(&mut self) -> io::Result<Vec<u8>> {
        loop {
            let Some(place) = &mut self.at else {
                let list = segments(&self.path).await;
                let Some(first) = list.first() else { return Ok(Vec::new()) };
                self.at = Some(open(first).await?);
                continue;
            };
            let mut bytes = vec![0; CHUNK];
            let count = place.file.read(&mut bytes).await?;
            if count > 0 {
                bytes.truncate(count);
                return Ok(bytes);
            }
            let inode = place.inode;
            let Some(next) = self.after(inode).await? else { return Ok(Vec::new()) };
            // Once a younger file is there nothing is appended to ours any more; but before that,
            // and after our reading, something may have been.
            if let Some(place) = &mut self.at {
                let count = place.file.read(&mut bytes).await?;
                if count > 0 {
                    bytes.truncate(count);
                    return Ok(bytes);
                }
            }
            self.at = Some(next);
        }
    }

    /// The file that came after the one with this inode.
    async fn after(&self, inode: u64) -> io::Result<Option<Place>> {
        let list = segments(&self.path).await;
        let mut found = false;
        for segment in &list {
            if found {
                return open(segment).await.map(Some);
            }
            // A file that is rotated away while we look is found under its next name next time.
            let Ok(meta) = fs::metadata(segment).await else { return Ok(None) };
            found = meta.ino() == inode;
        }
        match list.first() {
            // Our file has been rotated out of existence: go on with the oldest there is.
            Some(oldest) if !found => open(oldest).await.map(Some),
            Some(_) | None => Ok(None),
        }
    }
}

async fn open(path: &Path) -> io::Result<Place> {
    let file = File::open(path).await?;
    let inode = file.metadata().await?.ino();
    Ok(Place { file, inode })
}

/// Where the last `lines` lines of a file begin, and how many of them it has.
async fn line_from_end(file: &mut File, lines: usize) -> io::Result<(usize, u64)> {
    let length = file.metadata().await?.len();
    let mut end = length;
    let mut found = 0;
    if lines == 0 {
        return Ok((0, length));
    }
    while end > 0 {
        let start = end.saturating_sub(CHUNK as u64);
        let mut bytes = vec![0; usize::try_from(end - start).unwrap_or(CHUNK)];
        file.seek(SeekFrom::Start(start)).await?;
        file.read_exact(&mut bytes).await?;
        for (n, byte) in bytes.iter().enumerate().rev() {
            let at = start + n as u64;
            // The newline at the very end closes the last line; each other one begins a line.
            if *byte == b'\n' && at + 1 < length {
                found += 1;
                if found == lines {
                    return Ok((found, at + 1));
                }
            }
        }
        end = start;
    }
    Ok((if length > 0 { found + 1 } else { 0 }, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn rest(cursor: &mut Cursor) -> String {
        let mut all = Vec::new();
        loop {
            let bytes = cursor.read().await.unwrap();
            if bytes.is_empty() {
                return String::from_utf8(all).unwrap();
            }
            all.extend(bytes);
        }
    }

    #[tokio::test]
    async fn the_last_lines_are_found_over_rotated_files() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.log");
        std::fs::write(dir.path().join("a.log.2"), "1\n2\n").unwrap();
        std::fs::write(dir.path().join("a.log.1"), "3\n4\n").unwrap();
        std::fs::write(&path, "5\n6\nopen").unwrap();
        for (tail, text) in [
            (None, "1\n2\n3\n4\n5\n6\nopen"),
            (Some(0), ""),
            (Some(1), "open"),
            (Some(3), "5\n6\nopen"),
            (Some(4), "4\n5\n6\nopen"),
            (Some(6), "2\n3\n4\n5\n6\nopen"),
            (Some(100), "1\n2\n3\n4\n5\n6\nopen"),
        ] {
            let mut cursor = Cursor::new(&path, tail).await.unwrap();
            assert_eq!(rest(&mut cursor).await, text, "{tail:?}");
        }
    }

    #[tokio::test]
    async fn reading_goes_on_over_a_rotation() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.log");
        let mut cursor = Cursor::new(&path, None).await.unwrap();
        assert_eq!(rest(&mut cursor).await, "");
        std::fs::write(&path, "1\n").unwrap();
        assert_eq!(rest(&mut cursor).await, "1\n");
        // Written before the rotation and not yet read.
        std::fs::write(&path, "1\n2\n").unwrap();
        std::fs::rename(&path, dir.path().join("a.log.1")).unwrap();
        std::fs::write(&path, "3\n").unwrap();
        assert_eq!(rest(&mut cursor).await, "2\n3\n");
    }
}
