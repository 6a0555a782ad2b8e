//! Who has an address.
//!
//! Responsible for finding the process that listens there, by `/proc/net` and the descriptors of
//! processes. Only asked when something has failed, since it looks at all processes.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

/// An address that is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// Of a network socket.
    Inet(SocketAddr),
    /// The path of a unix socket.
    Unix(String),
}

/// So many processes are looked at.
const PROCESSES_MAX: usize = 20_000;

/// The process that has this address, as `process 123 (nginx)`; `None`: it cannot be told.
pub fn of(address: &Address, udp: bool) -> Option<String> {
    let inodes = inodes(address, udp);
    if inodes.is_empty() {
        return None;
    }
    let wanted: Vec<String> = inodes.iter().map(|inode| format!("socket:[{inode}]")).collect();
    for entry in fs::read_dir("/proc").ok()?.flatten().take(PROCESSES_MAX) {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        if has_one(&entry.path(), &wanted) {
            let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            return Some(format!("process {pid} ({})", name.trim()));
        }
    }
    None
}

fn has_one(process: &Path, wanted: &[String]) -> bool {
    let Ok(descriptors) = fs::read_dir(process.join("fd")) else { return false };
    descriptors.flatten().any(|descriptor| {
        let target = fs::read_link(descriptor.path());
        target.is_ok_and(|target| wanted.iter().any(|one| target.as_os_str() == one.as_str()))
    })
}

fn inodes(address: &Address, udp: bool) -> Vec<String> {
    match address {
        Address::Unix(path) => {
            let text = fs::read_to_string("/proc/net/unix").unwrap_or_default();
            let of_path = |line: &str| {
                let words: Vec<&str> = line.split_whitespace().collect();
                let inode = words.get(6)?;
                (words.get(7) == Some(&path.as_str())).then(|| (*inode).to_owned())
            };
            text.lines().filter_map(of_path).collect()
        }
        Address::Inet(address) => {
            let protocol = if udp { "udp" } else { "tcp" };
            let files = [format!("/proc/net/{protocol}"), format!("/proc/net/{protocol}6")];
            let texts = files.iter().map(|path| fs::read_to_string(path).unwrap_or_default());
            texts.flat_map(|text| listening(&text, address.port(), address.ip(), udp)).collect()
        }
    }
}

/// The inodes of what has this port, of a table as `/proc/net/tcp` (proc_pid_net(5)): addresses in
/// hexadecimal, state 0A is LISTEN, of udp all count.
fn listening(table: &str, port: u16, ip: IpAddr, udp: bool) -> Vec<String> {
    let of_port = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (local, state, inode) = (words.get(1)?, words.get(3)?, words.get(9)?);
        let (host, number) = local.rsplit_once(':')?;
        let ours = u16::from_str_radix(number, 16).ok()? == port;
        let listens = udp || *state == "0A";
        let any = host.bytes().all(|b| b == b'0') || ip.is_unspecified();
        let same = match ip {
            IpAddr::V4(ip) => host == format!("{:08X}", u32::from_ne_bytes(ip.octets())),
            // Four words in the machine's order.
            IpAddr::V6(ip) => {
                let words = ip.octets();
                let words = words.as_chunks::<4>().0.iter();
                let text: String =
                    words.map(|word| format!("{:08X}", u32::from_ne_bytes(*word))).collect();
                host == text
            }
        };
        (ours && listens && (any || same)).then(|| (*inode).to_owned())
    };
    table.lines().filter_map(of_port).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_listener_is_found() {
        for host in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(host) else { continue };
            let address = Address::Inet(listener.local_addr().unwrap());
            let found = of(&address, false).unwrap();
            assert!(found.starts_with(&format!("process {} (", std::process::id())), "{found}");
            drop(listener);
            assert_eq!(of(&address, false), None);
        }
    }
}
