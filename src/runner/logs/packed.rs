//! Compressed log files.
//!
//! Responsible for their form and for reading them back. Must not decide which files are
//! compressed, or when.
//!
//! A compressed file is a plain gzip file, so `zcat` and `zgrep` read it. A field in its header
//! (RFC 1952, 2.3.1.1) keeps what is needed to pair it with its index and with readers that have
//! the former file open:
//!
//! ```text
//! 2 bytes  "WS"
//! 2 bytes  16, little-endian
//! 8 bytes  the inode of the file before it was compressed, little-endian
//! 8 bytes  its length
//! ```

use flate2::bufread::GzDecoder;
use flate2::{Compression, GzBuilder};
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, Write};
use std::os::unix::fs::MetadataExt;

/// Our field's name in a gzip header.
const FIELD: [u8; 2] = *b"WS";
/// The length of our field's contents.
const FIELD_LEN: usize = 16;
/// How much is read and compressed at once.
const PIECE: usize = 64 << 10;

/// What a compressed file says of the file that it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Former {
    pub(super) inode: u64,
    pub(super) len: u64,
}

/// Compresses a whole file and sees to it that it is on the disk.
///
/// # Errors
/// What reading or writing says.
pub fn pack(from: &File, to: &File) -> io::Result<()> {
    let meta = from.metadata()?;
    let field: Vec<u8> = [&FIELD[..], &(FIELD_LEN as u16).to_le_bytes()]
        .concat()
        .into_iter()
        .chain(meta.ino().to_le_bytes())
        .chain(meta.len().to_le_bytes())
        .collect();
    let time = u32::try_from(meta.mtime()).unwrap_or(0);
    let mut encoder = GzBuilder::new().extra(field).mtime(time).write(to, Compression::default());
    let mut buffer = vec![0; PIECE];
    let mut from = from;
    loop {
        let len = from.read(&mut buffer)?;
        if len == 0 {
            break;
        }
        encoder.write_all(buffer.get(..len).unwrap_or_default())?;
    }
    encoder.finish()?.sync_all()
}

/// A compressed file that is read like the one that it was.
#[derive(Debug)]
pub(super) struct Packed {
    decoder: GzDecoder<BufReader<File>>,
    /// How far it was read.
    at: u64,
    former: Former,
}

impl Packed {
    /// Opens one.
    ///
    /// # Errors
    /// `InvalidData`: not a compressed log file.
    pub(super) fn new(file: File) -> io::Result<Packed> {
        let mut decoder = GzDecoder::new(BufReader::new(file));
        // The header is read with the first byte.
        let _nothing = decoder.read(&mut [])?;
        let extra = decoder.header().and_then(|header| header.extra());
        let former = extra.and_then(read_field).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Packed { decoder, at: 0, former })
    }

    /// What it was.
    pub(super) const fn former(&self) -> Former {
        self.former
    }

    /// When it was compressed, as a file's own time.
    pub(super) fn file(&self) -> &File {
        self.decoder.get_ref().get_ref()
    }

    /// Reads at an offset in the former file; going back means to begin anew.
    ///
    /// # Errors
    /// The file is damaged or cannot be read.
    pub(super) fn read_at(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        if offset < self.at {
            let mut file = self.file().try_clone()?;
            file.rewind()?;
            self.decoder = GzDecoder::new(BufReader::new(file));
            self.at = 0;
        }
        let mut skipped = vec![0; PIECE];
        while self.at < offset {
            let want = (offset - self.at).min(PIECE as u64);
            let want = usize::try_from(want).unwrap_or(PIECE);
            let len = self.decoder.read(skipped.get_mut(..want).unwrap_or_default())?;
            if len == 0 {
                return Ok(0);
            }
            self.at += len as u64;
        }
        let len = self.decoder.read(buffer)?;
        self.at += len as u64;
        Ok(len)
    }
}

/// Finds our field among those of a header.
fn read_field(mut extra: &[u8]) -> Option<Former> {
    loop {
        let (id, rest) = extra.split_first_chunk::<2>()?;
        let (len, rest) = rest.split_first_chunk::<2>()?;
        let (field, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*len)))?;
        extra = rest;
        if *id == FIELD {
            let (inode, len) = field.split_first_chunk::<8>()?;
            let len = len.first_chunk::<8>()?;
            return Some(Former {
                inode: u64::from_le_bytes(*inode),
                len: u64::from_le_bytes(*len),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn what_was_packed_is_read_from_anywhere() {
        let dir = tempfile::tempdir().unwrap();
        let text: Vec<u8> = (0..300_000_u32).flat_map(|n| (n % 251).to_le_bytes()).collect();
        fs::write(dir.path().join("a"), &text).unwrap();
        let from = File::open(dir.path().join("a")).unwrap();
        let path = dir.path().join("a.gz");
        pack(&from, &File::create(&path).unwrap()).unwrap();
        let mut packed = Packed::new(File::open(&path).unwrap()).unwrap();
        let former = Former { inode: from.metadata().unwrap().ino(), len: text.len() as u64 };
        assert_eq!(packed.former(), former);
        for offset in [0, 70_000, 1_199_999, 5, 1_200_000] {
            let mut buffer = [0; 4];
            let len = packed.read_at(&mut buffer, offset as u64).unwrap();
            assert_eq!(buffer[..len], text[offset..(offset + len)], "{offset}");
            assert_eq!(len == 0, offset == text.len());
        }
        let garbage = dir.path().join("garbage");
        fs::write(&garbage, "no gzip").unwrap();
        assert!(Packed::new(File::open(&garbage).unwrap()).is_err());
    }
}
