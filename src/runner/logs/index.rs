//! The index beside a log file.
//!
//! Responsible for its format. Pure. Must not do any I/O.
//!
//! The log file has the program's bytes and nothing else, so time and stream are kept here, and
//! what could not be written: a header of 16 bytes and then records of 16 bytes, all numbers
//! little-endian. A record is written before the bytes that it speaks of, which reach from its
//! offset to the next record's.
//!
//! ```text
//! header   8 bytes  "wsupidx2"
//!          8 bytes  the inode of the log file: a reader must not pair files of two generations
//! record   6 bytes  milliseconds since the Unix epoch
//!          1 byte   kind
//!          1 byte   of a gap: errno; else 0
//!          8 bytes  offset in the log file; in the second half of a gap: how many bytes are lost
//! ```

use crate::core::time::Wall;

/// The first bytes of an index.
const MAGIC: [u8; 8] = *b"wsupidx2";
/// The length of the header, in bytes.
pub const HEADER_LEN: usize = 16;
/// The length of a record, in bytes.
pub const RECORD_LEN: usize = 16;
/// The largest time that fits: the year 10889.
const TIME_MAX: i64 = (1 << 48) - 1;
/// The kind of a gap's second half.
const LOST: u8 = 8;

/// Which of a program's outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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
    /// Output could not be written.
    Gap {
        /// How many bytes.
        lost: u64,
        /// Why: the error's number, 0 if it is not known.
        errno: u8,
    },
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
            Mark::Gap { .. } => 6,
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
            6 => Some(Mark::Gap { lost: 0, errno: 0 }),
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
    /// The record's bytes: one record's, or two for a gap.
    pub fn encode(&self) -> Vec<u8> {
        let time = self.at.0.clamp(0, TIME_MAX) as u64;
        match self.mark {
            Mark::Chunk { .. } | Mark::Start | Mark::End => {
                slot(time, self.mark.code(), 0, self.offset).to_vec()
            }
            Mark::Gap { lost, errno } => {
                let first = slot(time, self.mark.code(), errno, self.offset);
                [first, slot(time, LOST, 0, lost)].concat()
            }
        }
    }
}

fn slot(time: u64, kind: u8, extra: u8, number: u64) -> [u8; RECORD_LEN] {
    let low = time | u64::from(kind) << 48 | u64::from(extra) << 56;
    let mut bytes = [0; RECORD_LEN];
    let all = low.to_le_bytes().into_iter().chain(number.to_le_bytes());
    for (place, byte) in bytes.iter_mut().zip(all) {
        *place = byte;
    }
    bytes
}

/// A record's time, kind, extra byte and number.
fn read_slot(bytes: &[u8; RECORD_LEN]) -> Option<(Wall, u8, u8, u64)> {
    let (low, rest) = bytes.split_first_chunk::<8>()?;
    let (number, _) = rest.split_first_chunk::<8>()?;
    let low = u64::from_le_bytes(*low);
    let at = Wall((low & TIME_MAX as u64) as i64);
    Some((at, (low >> 48) as u8, (low >> 56) as u8, u64::from_le_bytes(*number)))
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

/// Takes in an index's bytes after what was taken in before, and tells how many of them, and how
/// many of the former records stand: whole records only, and a gap only with both halves. A kind of a later version is left out. Where an
/// offset goes back the log file was cut: what was recorded beyond it goes.
pub fn take_in(list: &mut Vec<Record>, bytes: &[u8]) -> (usize, usize) {
    let mut stand = list.len();
    let (slots, _torn) = bytes.as_chunks::<RECORD_LEN>();
    for (i, (at, kind, extra, number)) in slots.iter().filter_map(read_slot).enumerate() {
        if kind == LOST {
            if let Some(Record { mark: Mark::Gap { lost, .. }, .. }) = list.last_mut() {
                *lost = number;
            }
            continue;
        }
        let Some(mut mark) = Mark::from_code(kind) else { continue };
        if let Mark::Gap { errno, .. } = &mut mark {
            if i + 1 == slots.len() {
                // Its second half is on the way.
                return (i * RECORD_LEN, stand);
            }
            *errno = extra;
        }
        while list.pop_if(|last| last.offset > number).is_some() {}
        stand = stand.min(list.len());
        list.push(Record { at, mark, offset: number });
    }
    (slots.len() * RECORD_LEN, stand)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(bytes: &[u8]) -> Vec<Record> {
        let mut list = Vec::new();
        take_in(&mut list, bytes);
        list
    }

    #[test]
    fn records_survive() {
        let marks = [
            Mark::Chunk { stream: Stream::Stdout, joined: false },
            Mark::Chunk { stream: Stream::Stderr, joined: false },
            Mark::Chunk { stream: Stream::Stdout, joined: true },
            Mark::Chunk { stream: Stream::Stderr, joined: true },
            Mark::Start,
            Mark::Gap { lost: u64::MAX, errno: 28 },
            Mark::End,
            Mark::Gap { lost: 7, errno: 0 },
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
        // However the bytes arrive, each record is taken in once and whole.
        for cut in 0..bytes.len() {
            let mut found = Vec::new();
            let (taken, _) = take_in(&mut found, &bytes[..cut]);
            take_in(&mut found, &bytes[taken..]);
            assert_eq!(found, list, "cut at {cut}");
        }
        assert_eq!(read_header(&header(77)), Some(77));
        assert_eq!(read_header(b"wsupidx1________"), None);
    }

    #[test]
    fn what_was_cut_off_is_forgotten() {
        let at = |offset| Record { at: Wall(5), mark: Mark::Start, offset };
        let bytes: Vec<u8> =
            [at(3), at(5), at(2), at(4), at(9)].iter().flat_map(Record::encode).collect();
        assert_eq!(records(&bytes), [at(2), at(4), at(9)]);
        let mut list = vec![at(1), at(3), at(5)];
        assert_eq!(take_in(&mut list, &at(2).encode()), (RECORD_LEN, 1));
    }
}
