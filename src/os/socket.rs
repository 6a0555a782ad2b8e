//! Unix sockets by path, of any length, and who is at the other end.
//!
//! Responsible for bind, connect and peer credentials. Must not read or write messages.

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// The longest path that fits into a socket address with its terminating zero (unix(7)).
pub const SUN_PATH_MAX: usize = 107;

/// A path that fits into a socket address and names the same file as long as the directory is
/// held open: deep runtime directories (of tests, of projects) are longer than that.
fn short(path: &Path) -> io::Result<(PathBuf, Option<File>)> {
    if path.as_os_str().len() <= SUN_PATH_MAX {
        return Ok((path.to_path_buf(), None));
    }
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    };
    let dir = File::options()
        .read(true)
        .custom_flags(nix::libc::O_PATH | nix::libc::O_DIRECTORY | nix::libc::O_CLOEXEC)
        .open(dir)?;
    let through = Path::new("/proc/self/fd").join(dir.as_raw_fd().to_string()).join(name);
    Ok((through, Some(dir)))
}

/// Connects to the socket at `path`.
///
/// # Errors
/// As connect(2): `NotFound` and `ConnectionRefused` mean that nobody listens there.
pub fn connect(path: &Path) -> io::Result<UnixStream> {
    let (path, _dir) = short(path)?;
    UnixStream::connect(path)
}

/// Listens at `path`. What the file may be used by is decided by the caller's umask.
///
/// # Errors
/// As bind(2): `AddrInUse` if the file is there already.
pub fn bind(path: &Path) -> io::Result<UnixListener> {
    let (path, _dir) = short(path)?;
    UnixListener::bind(path)
}

/// The process at the other end, as it was when it connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its process number; 0 if it is in another pid namespace.
    pub pid: i32,
    /// Its user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
}

/// Who is at the other end.
///
/// # Errors
/// As getsockopt(2).
pub fn peer(stream: &UnixStream) -> io::Result<Peer> {
    let found = getsockopt(stream, PeerCredentials)?;
    Ok(Peer { pid: found.pid(), uid: found.uid(), gid: found.gid() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deep_directory_is_no_obstacle() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("x".repeat(100)).join("y".repeat(100));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("a.sock");
        let listener = bind(&path).unwrap();
        let client = connect(&path).unwrap();
        let (server, _) = listener.accept().unwrap();
        assert_eq!(peer(&client).unwrap().pid, std::process::id() as i32);
        assert_eq!(peer(&server).unwrap().uid, nix::unistd::getuid().as_raw());
        assert!(matches!(bind(&path), Err(e) if e.kind() == io::ErrorKind::AddrInUse));
    }
}
