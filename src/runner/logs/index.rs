//! The index beside a log file.
//!
//! Responsible for its format. Pure. Must not do any I/O.
//!
//! The log file has the program's bytes and nothing else, so time and stream are kept here: a
//! header of 16 bytes and then records of 16 bytes, all numbers little-endian. A record is written
//! before the bytes that it speaks of, which reach from its offset to the next record's.
//!
//! ```text
//! header   8 bytes  "wsupidx1"
//!          8 bytes  the inode of the log file: a reader must not pair files of two generations
//! record   6 bytes  milliseconds since the Unix epoch
//!          1 byte   kind
//!          1 byte   0
//!          8 bytes  offset in the log file
//! ```

use crate::core::time::Wall;

/// The first bytes of an index.
const MAGIC: [u8; 8] = *b"wsupidx1";
/// The length of the header, in bytes.
pub const HEADER_LEN: usize = 16;
/// The length of a record, in bytes.
pub const RECORD_LEN: usize = 16;
/// The largest time that fits: the year 10889.
const TIME_MAX: i64 = (1 << 48) - 1;

/// Which of a program's outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Descriptor 1.
    Stdout,
    /// Descriptor 2.
    Stderr,
}

/// What a record marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Bytes of the program. `joined`: they go on with the line that the chunk before left open.
    Chunk {
        /// Where they came from.
        stream: Stream,
        /// Whether the line before goes on.
        joined: bool,
    },
    /// A run begins here.
    Start,
    /// A line of wsup's own: output could not be written.
    Gap,
    /// A program has ended; closes an open last line.
    End,
}

impl Mark {
    const fn code(self) -> u8 {
        match self {
            Mark::Chunk { stream: Stream::Stdout, joined: false } => 1,
            Mark::Chunk { stream: Stream::Stderr, joined: false } => 2,
            Mark::Chunk { stream: Stream::Stdout, joined: true } => 3,
            Mark::Chunk { stream: Stream::Stderr, joined: true } => 4,
            Mark::Start => 5,
            Mark::Gap => 6,
            Mark::End => 7,
        }
    }

    const fn from_code(code: u8) -> Option<Mark> {
        match code {
            1 => Some(Mark::Chunk { stream: Stream::Stdout, joined: false }),
            2 => Some(Mark::Chunk { stream: Stream::Stderr, joined: false }),
            3 => Some(Mark::Chunk { stream: Stream::Stdout, joined: true }),
            4 => Some(Mark::Chunk { stream: Stream::Stderr, joined: true }),
            5 => Some(Mark::Start),
            6 => Some(Mark::Gap),
            7 => Some(Mark::End),
            _ => None,
        }
    }
}

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// When.
    pub at: Wall,
    /// What.
    pub mark: Mark,
    /// Where in the log file.
    pub offset: u64,
}

impl Record {
    /// The record's bytes.
    pub fn encode(&self) -> [u8; RECORD_LEN] {
        let time = self.at.0.clamp(0, TIME_MAX) as u64;
        let low = time | u64::from(self.mark.code()) << 48;
        let mut bytes = [0; RECORD_LEN];
        let all = low.to_le_bytes().into_iter().chain(self.offset.to_le_bytes());
        for (place, byte) in bytes.iter_mut().zip(all) {
            *place = byte;
        }
        bytes
    }

    /// Reads a record; `None` for a kind of a later version.
    pub fn decode(bytes: &[u8; RECORD_LEN]) -> Option<Record> {
        let (low, rest) = bytes.split_first_chunk::<8>()?;
        let (offset, _) = rest.split_first_chunk::<8>()?;
        let low = u64::from_le_bytes(*low);
        let mark = Mark::from_code((low >> 48) as u8)?;
        let at = Wall((low & TIME_MAX as u64) as i64);
        Some(Record { at, mark, offset: u64::from_le_bytes(*offset) })
    }
}

/// The header for the index of the log file with this inode.
pub fn header(inode: u64) -> [u8; HEADER_LEN] {
    let mut bytes = [0; HEADER_LEN];
    for (place, byte) in bytes.iter_mut().zip(MAGIC.into_iter().chain(inode.to_le_bytes())) {
        *place = byte;
    }
    bytes
}

/// The inode that a header names; `None`: not a header.
pub fn read_header(bytes: &[u8]) -> Option<u64> {
    let (magic, rest) = bytes.split_first_chunk::<8>()?;
    let (inode, _) = rest.split_first_chunk::<8>()?;
    (*magic == MAGIC).then(|| u64::from_le_bytes(*inode))
}

/// All whole records of an index's bytes after the header, in order. Offsets never go back; a
/// record whose offset does is dropped (somebody has cut the log file).
pub fn records(bytes: &[u8]) -> Vec<Record> {
    let mut list: Vec<Record> = Vec::with_capacity(bytes.len() / RECORD_LEN);
    let (chunks, _torn) = bytes.as_chunks::<RECORD_LEN>();
    for record in chunks.iter().filter_map(Record::decode) {
        if list.last().is_none_or(|last| last.offset <= record.offset) {
            list.push(record);
        }
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_survive() {
        let marks = [
            Mark::Chunk { stream: Stream::Stdout, joined: false },
            Mark::Chunk { stream: Stream::Stderr, joined: false },
            Mark::Chunk { stream: Stream::Stdout, joined: true },
            Mark::Chunk { stream: Stream::Stderr, joined: true },
            Mark::Start,
            Mark::Gap,
            Mark::End,
        ];
        let list: Vec<Record> = marks
            .into_iter()
            .enumerate()
            .map(|(i, mark)| Record { at: Wall(TIME_MAX), mark, offset: i as u64 * 1000 })
            .collect();
        let mut bytes: Vec<u8> = list.iter().flat_map(Record::encode).collect();
        assert_eq!(records(&bytes), list);
        bytes.push(1);
        assert_eq!(records(&bytes), list, "a torn record at the end is left out");
        assert_eq!(read_header(&header(77)), Some(77));
        assert_eq!(read_header(b"wsupidx2________"), None);
    }

    #[test]
    fn going_back_is_not_believed() {
        let at = |offset| Record { at: Wall(5), mark: Mark::Start, offset };
        let bytes: Vec<u8> = [at(4), at(2), at(4), at(9)].iter().flat_map(Record::encode).collect();
        assert_eq!(records(&bytes), [at(4), at(4), at(9)]);
    }
}
