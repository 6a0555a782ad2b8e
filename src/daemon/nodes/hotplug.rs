//! Notice of CPUs and NUMA nodes that go online and offline.
//!
//! Responsible for the kernel's broadcast of device events (netlink(7), NETLINK_KOBJECT_UEVENT):
//! the files below /sys do not tell of their own changes by inotify. The broadcast reaches the
//! machine's first network namespace only; elsewhere nothing is ever told, and what was found at
//! the start stays.

use crate::daemon::async_fd::{Source, register};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The kernel's own group; udev's is the next.
const KERNEL_GROUP: u32 = 1;

/// One message is at most this long (UEVENT_BUFFER_SIZE in the kernel's `kobject.h`).
const MESSAGE_MAX: usize = 4_096;

/// Device events of CPUs and memory nodes.
#[derive(Debug)]
pub(super) struct Hotplug(AsyncFd<Source<OwnedFd>>);

impl Hotplug {
    /// Begins to listen.
    pub(super) fn new() -> io::Result<Hotplug> {
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Datagram,
            SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
            SockProtocol::NetlinkKObjectUEvent,
        )?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, KERNEL_GROUP))?;
        Ok(Hotplug(register(socket)?))
    }

    /// Waits for the next event of a CPU or a node. One that was missed because there were too
    /// many (ENOBUFS) counts as one, since all that follows is another look.
    pub(super) async fn changed(&self) -> io::Result<()> {
        let read = |socket: &Source<OwnedFd>| {
            let mut message = [0; MESSAGE_MAX];
            match recv(socket.0.as_raw_fd(), &mut message, MsgFlags::empty()) {
                Ok(len) => Ok(concerns(message.get(..len).unwrap_or_default())),
                Err(nix::Error::ENOBUFS) => Ok(true),
                Err(errno) => Err(io::Error::from(errno)),
            }
        };
        while !self.0.async_io(Interest::READABLE, read).await? {}
        Ok(())
    }
}

/// Whether a message (`ACTION@DEVPATH`, then `KEY=VALUE`, each ended by a NUL) is about a CPU or a
/// node.
fn concerns(message: &[u8]) -> bool {
    message
        .split(|byte| *byte == 0)
        .any(|field| matches!(field, b"SUBSYSTEM=cpu" | b"SUBSYSTEM=node"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_cpus_and_nodes_concern_us() {
        let table: [(&[u8], bool); 4] = [
            (b"offline@/devices/system/cpu/cpu1\0ACTION=offline\0SUBSYSTEM=cpu\0SEQNUM=1\0", true),
            (b"online@/devices/system/node/node1\0SUBSYSTEM=node\0", true),
            (b"add@/devices/x\0SUBSYSTEM=cpuid\0", false),
            (b"", false),
        ];
        for (message, expected) in table {
            assert_eq!(concerns(message), expected);
        }
    }

    #[tokio::test]
    async fn it_can_be_listened_to() {
        Hotplug::new().unwrap();
    }
}
