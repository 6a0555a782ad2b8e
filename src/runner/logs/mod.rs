//! Instances' output: pipes, files, and their readers.
//!
//! Responsible for carrying bytes from a pipe into rotated files exactly as they were written,
//! with an index beside each file, and for reading them back. Must not interpret what is in them
//! beyond the ends of lines.

pub mod follow;
pub mod index;
pub(crate) mod journal;
pub mod packed;
pub(crate) mod packer;
pub(super) mod pump;
pub mod read;
mod rotate;
pub mod select;
pub(super) mod sink;
pub(super) mod watch;
pub(super) mod write;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The file of a generation: 0 is the present one, `INSTANCE.log`; the others are
/// `INSTANCE.log.1` (the youngest) and so on.
pub fn segment_path(path: &Path, number: u32) -> PathBuf {
    match number {
        0 => path.to_path_buf(),
        number => with_suffix(path, &format!(".{number}")),
    }
}

/// The file of a generation once it is compressed: `INSTANCE.log.1.gz`.
pub fn packed_path(path: &Path, number: u32) -> PathBuf {
    with_suffix(&segment_path(path, number), ".gz")
}

/// The index of a generation: `INSTANCE.log.idx`, `INSTANCE.log.1.idx`.
pub fn index_path(path: &Path, number: u32) -> PathBuf {
    with_suffix(&segment_path(path, number), ".idx")
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}
