//! One daemon for one runtime directory.
//!
//! Responsible for the lock file. The lock is the kernel's (flock(2)), so it ends with its daemon,
//! however that ends; the number in the file is only for the message.

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

/// Held as long as the daemon lives.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "holding it is its use")] Flock<File>);

/// Why there is no lock.
#[derive(Debug)]
pub enum Refused {
    /// Another daemon has it; its process number if it could be read.
    Held(Option<u32>),
    /// The file cannot be made.
    Io(std::io::Error),
}

/// Takes the lock of a runtime directory and writes our process number into it.
///
/// # Errors
/// Another daemon is there, or the file cannot be made.
pub fn acquire(runtime: &Path) -> Result<Lock, Refused> {
    let path = runtime.join("daemon.lock");
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o644)
        .custom_flags(libc::O_CLOEXEC)
        .open(&path)
        .map_err(Refused::Io)?;
    let mut holder = file.try_clone().map_err(Refused::Io)?;
    match lock_soon(file) {
        Some(Ok(mut lock)) => {
            note_pid(&mut lock).map_err(Refused::Io)?;
            Ok(Lock(lock))
        }
        Some(Err(errno)) => Err(Refused::Io(errno.into())),
        None => {
            let mut text = String::new();
            let _ = holder.rewind();
            let _ = holder.read_to_string(&mut text);
            Err(Refused::Held(text.trim().parse().ok()))
        }
    }
}

/// A daemon that was killed a moment ago still has the lock, until the kernel has cleared it away.
const PATIENCE: Duration = Duration::from_millis(500);

/// Takes the lock at once or soon; `None` if somebody else keeps it. Waits in the kernel, which
/// needs a thread, since flock(2) knows no deadline. A thread that waits in vain ends with us.
fn lock_soon(file: File) -> Option<Result<Flock<File>, Errno>> {
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Some(Ok(lock)),
        Err((file, Errno::EWOULDBLOCK)) => {
            let (tell, told) = mpsc::channel();
            std::thread::spawn(move || {
                let locked = Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno);
                // Nobody listens any more: the lock is given back.
                let _ = tell.send(locked);
            });
            told.recv_timeout(PATIENCE).ok()
        }
        Err((_, errno)) => Some(Err(errno)),
    }
}

fn note_pid(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_one_is_told_who_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let first = acquire(dir.path()).unwrap();
        match acquire(dir.path()) {
            Err(Refused::Held(pid)) => assert_eq!(pid, Some(std::process::id())),
            other => panic!("{other:?}"),
        }
        drop(first);
        acquire(dir.path()).unwrap();
    }
}
