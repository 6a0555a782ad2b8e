//! Output into the journal.
//!
//! Responsible for the journal's native protocol (systemd's `JOURNAL_NATIVE_PROTOCOL`): one datagram
//! a line, or a sealed memory file where it is too large for one. Never waits: what the journal
//! does not take at the moment is kept, and its pipe rests meanwhile.

use super::index::Stream;
use crate::core::id::UnitKey;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// Where the journal listens.
pub(crate) const SOCKET: &str = "/run/systemd/journal/socket";

/// syslog's levels (syslog(3)): what is written to stdout, to stderr, and what wsup itself says.
const INFO: u8 = 6;
const ERR: u8 = 3;
const WARNING: u8 = 4;

/// A connection to the journal, one for all instances.
#[derive(Clone, Debug)]
pub(in crate::runner) struct Journal {
    socket: Rc<UnixDatagram>,
    path: PathBuf,
}

impl Journal {
    /// Connects to the journal that listens there.
    ///
    /// # Errors
    /// It is not there; for people.
    pub(in crate::runner) fn connect(path: &Path) -> Result<Journal, String> {
        let connect = || {
            let socket = UnixDatagram::unbound()?;
            socket.set_nonblocking(true)?;
            socket.connect(path)?;
            Ok(Rc::new(socket))
        };
        match connect() {
            Ok(socket) => Ok(Journal { socket, path: path.to_path_buf() }),
            Err(error) => Err(reason(path, &error)),
        }
    }

    /// Whether somebody listens at the other end.
    pub(in crate::runner) fn is_there(&self) -> bool {
        self.reconnect().is_ok()
    }

    /// Connects again: the journal that was there is gone, another may be there.
    fn reconnect(&self) -> io::Result<()> {
        self.socket.connect(&self.path)
    }

    fn send(&self, entry: &[u8]) -> Result<(), Errno> {
        match nix::sys::socket::send(self.socket.as_raw_fd(), entry, MsgFlags::MSG_NOSIGNAL) {
            Ok(_) => Ok(()),
            Err(Errno::EMSGSIZE) => self.send_large(entry),
            Err(error) => Err(error),
        }
    }

    /// Sends an entry that no datagram takes: as a memory file that cannot change any more.
    fn send_large(&self, entry: &[u8]) -> Result<(), Errno> {
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        let file = File::from(memfd_create(c"wsup-journal-entry", flags)?);
        (&file).write_all(entry).map_err(|error| errno_of(&error))?;
        let seals = SealFlag::F_SEAL_SHRINK
            | SealFlag::F_SEAL_GROW
            | SealFlag::F_SEAL_WRITE
            | SealFlag::F_SEAL_SEAL;
        fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
        let rights = [file.as_raw_fd()];
        let message = [ControlMessage::ScmRights(&rights)];
        let nothing = [IoSlice::new(b"")];
        let to = self.socket.as_raw_fd();
        sendmsg::<()>(to, &nothing, &message, MsgFlags::MSG_NOSIGNAL, None)?;
        Ok(())
    }
}

impl AsFd for Journal {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn reason(path: &Path, error: &io::Error) -> String {
    format!(
        "the journal cannot be reached at {}: {error}; set `[log] driver = \"file\"` where there is \
         none",
        path.display()
    )
}

fn errno_of(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::UnknownErrno, Errno::from_raw)
}

/// One instance's way into the journal.
#[derive(Debug)]
pub(in crate::runner) struct JournalLog {
    journal: Journal,
    /// The fields that are the same in each entry, as they are sent.
    fields: Vec<u8>,
    /// Entries that the journal has not taken yet, at most one turn's lines.
    waiting: VecDeque<Vec<u8>>,
    lost: u64,
    why: Errno,
}

impl JournalLog {
    /// For an instance.
    pub(in crate::runner) fn new(journal: Journal, unit: &UnitKey, instance: &str) -> JournalLog {
        let mut fields = Vec::new();
        for (name, value) in [
            ("SYSLOG_IDENTIFIER", unit.name.as_str()),
            ("WSUP_KIND", unit.kind.as_str()),
            ("WSUP_UNIT", unit.name.as_str()),
            ("WSUP_INSTANCE", instance),
        ] {
            add_field(&mut fields, name, value.as_bytes());
        }
        JournalLog { journal, fields, waiting: VecDeque::new(), lost: 0, why: Errno::UnknownErrno }
    }

    /// Sends lines, one entry each. `said` gets what people should know.
    pub(super) fn append(&mut self, stream: Stream, bytes: &[u8], said: &mut Vec<String>) {
        let (level, name) = match stream {
            Stream::Stdout => (INFO, "stdout"),
            Stream::Stderr => (ERR, "stderr"),
        };
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            // An empty message is no entry for the journal.
            if !line.is_empty() {
                let entry = self.entry(level, Some(name), line);
                self.waiting.push_back(entry);
            }
        }
        self.flush(said);
    }

    /// Whether entries wait for the journal: nothing more is to be read then.
    pub(in crate::runner) fn is_blocked(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Sends what waits, as far as the journal takes it.
    pub(in crate::runner) fn flush(&mut self, said: &mut Vec<String>) {
        while let Some(entry) = self.waiting.pop_front() {
            match self.send(&entry) {
                Ok(()) => {}
                Err(Errno::EAGAIN | Errno::ENOBUFS) => {
                    self.waiting.push_front(entry);
                    return;
                }
                Err(error) => self.lose(&entry, error, said),
            }
        }
    }

    fn send(&mut self, entry: &[u8]) -> Result<(), Errno> {
        if self.lost > 0 {
            let text = format!(
                "[wsup: {} bytes of output are missing here: {}]",
                self.lost,
                self.why.desc()
            );
            let told = self.entry(WARNING, None, text.as_bytes());
            self.send_or_reconnect(&told)?;
            self.lost = 0;
        }
        self.send_or_reconnect(entry)
    }

    fn send_or_reconnect(&self, entry: &[u8]) -> Result<(), Errno> {
        match self.journal.send(entry) {
            Err(Errno::ECONNREFUSED | Errno::ENOTCONN | Errno::ECONNRESET | Errno::EPIPE) => {
                self.journal.reconnect().map_err(|error| errno_of(&error))?;
                self.journal.send(entry)
            }
            other => other,
        }
    }

    fn lose(&mut self, entry: &[u8], error: Errno, said: &mut Vec<String>) {
        if self.lost == 0 {
            let path = self.journal.path.display();
            said.push(format!(
                "output cannot be sent to the journal at {path}: {}; the program goes on, and what \
                 is lost is counted",
                error.desc()
            ));
        }
        self.why = error;
        // The message is the last field, and ends with a newline.
        self.lost += message_len(entry) + 1;
    }

    fn entry(&self, level: u8, stream: Option<&str>, message: &[u8]) -> Vec<u8> {
        let mut entry = self.fields.clone();
        add_field(&mut entry, "PRIORITY", level.to_string().as_bytes());
        if let Some(stream) = stream {
            add_field(&mut entry, "WSUP_STREAM", stream.as_bytes());
        }
        add_field(&mut entry, "MESSAGE", message);
        entry
    }
}

/// Writes a field: `NAME=value`, or with its length where the value has a newline in it.
fn add_field(entry: &mut Vec<u8>, name: &str, value: &[u8]) {
    entry.extend_from_slice(name.as_bytes());
    if value.contains(&b'\n') {
        entry.push(b'\n');
        entry.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        entry.push(b'=');
    }
    entry.extend_from_slice(value);
    entry.push(b'\n');
}

/// The length of an entry's message. Messages are lines, so it has no newline in it.
fn message_len(entry: &[u8]) -> u64 {
    const NAME: &[u8] = b"\nMESSAGE=";
    let at = entry.windows(NAME.len()).position(|window| window == NAME);
    at.map_or(0, |at| (entry.len() - at - NAME.len()).saturating_sub(1) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::id::{Kind, UnitName};
    use nix::sys::socket::{ControlMessageOwned, recvmsg};
    use std::io::IoSliceMut;

    #[test]
    fn what_no_datagram_takes_is_sent_as_a_sealed_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        assert!(Journal::connect(&path).unwrap_err().contains("No such file or directory"));
        let listener = UnixDatagram::bind(&path).unwrap();
        let unit = UnitKey::new(Kind::Job, UnitName::new("report").unwrap());
        let mut log = JournalLog::new(Journal::connect(&path).unwrap(), &unit, "report-x");
        let line = vec![b'x'; 400 << 10];
        let mut said = Vec::new();
        log.append(Stream::Stderr, &line, &mut said);
        assert_eq!(said, [] as [&str; 0]);
        let mut buffer = [0; 1];
        let mut space = nix::cmsg_space!([i32; 1]);
        let mut bytes = [IoSliceMut::new(&mut buffer)];
        let from = listener.as_raw_fd();
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let message = recvmsg::<()>(from, &mut bytes, Some(&mut space), flags).unwrap();
        let fd = message.cmsgs().unwrap().find_map(|part| match part {
            ControlMessageOwned::ScmRights(fds) => fds.first().copied(),
            _ => None,
        });
        let path = format!("/proc/self/fd/{}", fd.unwrap());
        let text = String::from_utf8(std::fs::read(&path).unwrap()).unwrap();
        assert!(text.starts_with("SYSLOG_IDENTIFIER=report\nWSUP_KIND=job\nWSUP_UNIT=report\n"));
        assert!(text.contains("\nPRIORITY=3\nWSUP_STREAM=stderr\nMESSAGE=xxx"));
        assert_eq!(text.matches('x').count(), line.len() + 1);
        assert!(std::fs::write(&path, "other").is_err(), "it is sealed");
        nix::unistd::close(fd.unwrap()).unwrap();
    }

    #[test]
    fn what_a_missing_journal_did_not_take_is_counted_and_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let listener = UnixDatagram::bind(&path).unwrap();
        let unit = UnitKey::new(Kind::Job, UnitName::new("report").unwrap());
        let mut log = JournalLog::new(Journal::connect(&path).unwrap(), &unit, "report-x");
        drop(listener);
        let mut said = Vec::new();
        log.append(Stream::Stdout, b"one\ntwo\n", &mut said);
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].contains("Connection refused"), "{said:?}");
        std::fs::remove_file(&path).unwrap();
        let listener = UnixDatagram::bind(&path).unwrap();
        log.append(Stream::Stdout, b"three\n", &mut said);
        let mut buffer = [0; 4096];
        let mut message = || {
            let len = listener.recv(&mut buffer).unwrap();
            let text = String::from_utf8_lossy(&buffer[..len]).into_owned();
            text.split("MESSAGE=").nth(1).unwrap().to_owned()
        };
        let told = "[wsup: 8 bytes of output are missing here: Connection refused]\n";
        assert_eq!(message(), told);
        assert_eq!(message(), "three\n");
    }
}
