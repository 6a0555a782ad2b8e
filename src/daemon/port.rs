//! Whether a port is free on this machine.
//!
//! Responsible for finding out, and by whom it is taken. Must not choose ports.

use crate::os::holder::{self, Address};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, SockaddrIn6, SockaddrLike, bind, setsockopt,
    socket, sockopt,
};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::AsRawFd;

/// The first of these ports on which somebody listens, and who.
pub(super) fn taken(ports: &[u16]) -> Option<(u16, Option<String>)> {
    let port = *ports.iter().find(|port| is_taken(**port))?;
    let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
    Some((port, holder::of(&Address::Inet(any), false)))
}

/// By trying to bind it, which nobody can connect to. With SO_REUSEADDR what a process that has ended left
/// in TIME_WAIT is not in the way, but a listener is. One on `::` stands for both families (ipv6(7)).
fn is_taken(port: u16) -> bool {
    let six = SockaddrIn6::from(SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, port, 0, 0));
    let four = SockaddrIn::from(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port));
    let tried = match bound(AddressFamily::Inet6, &six) {
        Err(error) if error != Errno::EADDRINUSE => bound(AddressFamily::Inet, &four),
        other => other,
    };
    // Whatever else is wrong with it, the program will say.
    tried == Err(Errno::EADDRINUSE)
}

fn bound(family: AddressFamily, address: &dyn SockaddrLike) -> nix::Result<()> {
    let made = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&made, sockopt::ReuseAddr, &true)?;
    if family == AddressFamily::Inet6 {
        // Both families, whatever the system's default is.
        setsockopt(&made, sockopt::Ipv6V6Only, &false)?;
    }
    bind(made.as_raw_fd(), address)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_port_is_taken_as_long_as_somebody_listens() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (found, by) = taken(&[port]).unwrap();
        assert_eq!(found, port);
        assert!(by.unwrap().starts_with(&format!("process {} (", std::process::id())));
        drop(listener);
        assert_eq!(taken(&[port]), None);
    }
}
