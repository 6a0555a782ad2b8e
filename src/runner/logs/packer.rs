//! The compressing of rotated files, beside the runner's loop.
//!
//! Responsible for one niced helper process at a time, which is given two open files, and for
//! putting what it has made in the former file's place. Must not wait for it.
//!
//! The helper reads its stdin and writes its stdout and knows no names: while it works, rotation
//! may move the file on, or away. Whoever dies meanwhile, the former file is still there, and a
//! half-made one has a name that nobody reads.

use super::packed::pack;
use super::{packed_path, segment_path, with_suffix};
use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The command of the helper, which is this very program.
pub(crate) const COMMAND: &str = "compress-log";

/// Numbers that are looked through; more than anybody keeps.
const SEGMENTS_MAX: u32 = 10_000;

/// A helper at work.
#[derive(Debug)]
struct Work {
    child: Child,
    pidfd: OwnedFd,
    path: PathBuf,
    /// Held open, so that its inode cannot become another file's.
    from: File,
}

/// Which logs have files to be compressed, and the one that is being compressed.
#[derive(Debug, Default)]
pub(in crate::runner) struct Packer {
    /// At most one entry for each instance.
    waiting: BTreeSet<PathBuf>,
    work: Option<Work>,
}

impl Packer {
    /// The log at this path may have files to be compressed.
    pub(in crate::runner) fn add(&mut self, path: &Path) {
        self.waiting.insert(path.to_path_buf());
    }

    /// Starts a helper if there is work. Gives its number and what is readable once it has ended.
    ///
    /// # Errors
    /// It cannot be started, or a file cannot be made. The file waits for the next rotation.
    pub(in crate::runner) fn begin(&mut self) -> io::Result<Option<(i32, BorrowedFd<'_>)>> {
        while self.work.is_none()
            && let Some(path) = self.waiting.pop_first()
        {
            match youngest_plain(&path)? {
                Some(from) => self.work = Some(Work::begin(path, from)?),
                // Half-made by a helper that was killed, if it is there.
                None => drop(fs::remove_file(unfinished(&path))),
            }
        }
        let Some(work) = &self.work else { return Ok(None) };
        let pid = i32::try_from(work.child.id()).map_err(io::Error::other)?;
        Ok(Some((pid, work.pidfd.as_fd())))
    }

    /// What is readable once the helper has ended.
    pub(in crate::runner) fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        self.work.as_ref().map(|work| work.pidfd.as_fd())
    }

    /// Whether a helper works.
    pub(in crate::runner) fn is_busy(&self) -> bool {
        self.work.is_some()
    }

    /// The helper has ended: what it has made takes the former file's place.
    ///
    /// # Errors
    /// It has failed, or its work cannot be put in place; nothing is lost.
    pub(in crate::runner) fn end(&mut self) -> io::Result<()> {
        let Some(mut work) = self.work.take() else { return Ok(()) };
        let status = work.child.wait()?;
        let made = unfinished(&work.path);
        if !status.success() {
            let _gone = fs::remove_file(&made);
            let path = work.path.display();
            return Err(io::Error::other(format!("{path} cannot be compressed: {status}")));
        }
        let inode = work.from.metadata()?.ino();
        let is_it = |number: &u32| {
            fs::metadata(segment_path(&work.path, *number)).is_ok_and(|meta| meta.ino() == inode)
        };
        match existing(&work.path).find(is_it) {
            Some(number) => {
                fs::rename(&made, packed_path(&work.path, number))?;
                fs::remove_file(segment_path(&work.path, number))?;
            }
            // It was rotated away meanwhile.
            None => fs::remove_file(&made)?,
        }
        // There may be others.
        self.waiting.insert(work.path);
        Ok(())
    }

    /// Ends the helper without its work.
    pub(in crate::runner) fn stop(&mut self) {
        if let Some(mut work) = self.work.take() {
            let _gone = work.child.kill();
            let _reaped = work.child.wait();
            let _removed = fs::remove_file(unfinished(&work.path));
        }
    }
}

/// The helper's own part: compresses stdin to stdout, after everything else that the machine has
/// to do, and never beyond the life of its runner.
///
/// # Errors
/// What reading or writing says.
pub(crate) fn help() -> io::Result<()> {
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?;
    // The lowest priority; not allowed is no reason not to work.
    crate::runner::sys::be_nice(19);
    let (from, to) = (io::stdin().as_fd().try_clone_to_owned()?, io::stdout());
    pack(&File::from(from), &File::from(to.as_fd().try_clone_to_owned()?))
}

impl Work {
    fn begin(path: PathBuf, from: File) -> io::Result<Work> {
        let to = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o640)
            .open(unfinished(&path))?;
        // The file may have been replaced since; the kernel's link still leads to it.
        let mut child = Command::new("/proc/self/exe")
            .arg(COMMAND)
            .stdin(Stdio::from(from.try_clone()?))
            .stdout(Stdio::from(to))
            .spawn()?;
        let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
        match crate::runner::sys::pidfd_open(pid) {
            Ok(pidfd) => Ok(Work { child, pidfd, path, from }),
            Err(error) => {
                let _gone = child.kill();
                child.wait()?;
                Err(error)
            }
        }
    }
}

/// What the helper writes to. No reader takes it for a log file.
fn unfinished(path: &Path) -> PathBuf {
    with_suffix(path, ".gz.new")
}

/// The numbers of a log's rotated files, youngest first. In the middle of a rotation one is
/// missing.
fn existing(path: &Path) -> impl Iterator<Item = u32> {
    let mut missing = 0;
    (1..SEGMENTS_MAX).take_while(move |number| {
        let there = segment_path(path, *number).exists() || packed_path(path, *number).exists();
        missing = if there { 0 } else { missing + 1 };
        missing < 3
    })
}

/// The youngest rotated file that is not compressed.
fn youngest_plain(path: &Path) -> io::Result<Option<File>> {
    for number in existing(path) {
        match File::open(segment_path(path, number)) {
            Ok(file) => return Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}
