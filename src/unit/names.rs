//! Readers for single words of unit files: signals, masks, capabilities, zones, ranges and so on.
//!
//! Responsible for their syntax only. Whether a user, a path or a zone exists is asked elsewhere,
//! at the time of use.

use super::complaint::Complaint;
use super::suggest;
use crate::core::id::{NameError, check_label};
use crate::core::schedule::{Schedule, check_zone_name};
use crate::core::signal;

/// Resource limits by their names without RLIMIT_ (getrlimit(2)).
pub const RLIMITS: [&str; 16] = [
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// Capabilities (capabilities(7), Linux 5.9 and later), without CAP_.
pub const CAPABILITIES: [&str; 41] = [
    "AUDIT_CONTROL",
    "AUDIT_READ",
    "AUDIT_WRITE",
    "BLOCK_SUSPEND",
    "BPF",
    "CHECKPOINT_RESTORE",
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "IPC_LOCK",
    "IPC_OWNER",
    "KILL",
    "LEASE",
    "LINUX_IMMUTABLE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "MKNOD",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_RAW",
    "PERFMON",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYSLOG",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_CHROOT",
    "SYS_MODULE",
    "SYS_NICE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "WAKE_ALARM",
];

/// Checks a unit's name.
///
/// # Errors
/// The rule it breaks, and a name close to it that is one.
pub fn label(text: &str) -> Result<(), Complaint> {
    check_label(text).map_err(|error| {
        let complaint = Complaint::new(error.to_string());
        let complaint = match error {
            NameError::Character(c, at) => complaint.within(at..at + c.len_utf8()),
            NameError::Empty | NameError::TooLong | NameError::Dash => complaint,
        };
        let better = to_label(text);
        if better.is_empty() {
            complaint.help("write for example \"api\" or \"web-2\"")
        } else {
            complaint.help(format!("did you mean \"{better}\"?"))
        }
    })
}

/// The nearest DNS label to a text; empty if nothing of it can stay.
pub fn to_label(text: &str) -> String {
    let mut label = String::new();
    for c in text.chars() {
        let c = c.to_ascii_lowercase();
        if c.is_ascii_lowercase() || c.is_ascii_digit() {
            label.push(c);
        } else if !label.is_empty() && !label.ends_with('-') {
            label.push('-');
        }
        if label.len() == crate::core::id::NAME_MAX {
            break;
        }
    }
    label.trim_end_matches('-').to_owned()
}

/// Reads a signal: `SIGTERM`, `TERM`, `15`, `SIGRTMIN+3`.
///
/// # Errors
/// That there is no such signal, with the nearest.
pub fn signal_number(text: &str) -> Result<i32, Complaint> {
    signal::parse(text).ok_or_else(|| {
        let complaint = Complaint::new(format!("there is no signal `{text}`"));
        let upper = text.trim().to_ascii_uppercase();
        let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
        let names = signal::names().filter_map(|name| name.strip_prefix("SIG"));
        complaint.help(match suggest::near(bare, names) {
            Some(name) => format!("did you mean \"SIG{name}\"?"),
            None => "write a name such as \"SIGTERM\" or \"SIGINT\"".to_owned(),
        })
    })
}

/// Reads an octal mode of at most `digits` digits after an optional leading 0, such as `0022`.
fn octal(text: &str, max: u32, what: &str, example: &str) -> Result<u32, Complaint> {
    let good = !text.is_empty() && text.len() <= 5 && text.bytes().all(|b| b.is_ascii_digit());
    match u32::from_str_radix(text, 8) {
        Ok(mode) if good && mode <= max => Ok(mode),
        Ok(_) | Err(_) => Err(Complaint::new(format!("`{text}` is not {what} in octal digits"))
            .help(format!("write for example \"{example}\""))),
    }
}

/// Reads a file mode creation mask.
///
/// # Errors
/// That it is not octal, or beyond 0777.
pub fn umask(text: &str) -> Result<u32, Complaint> {
    octal(text, 0o777, "a mask", "0022")
}

/// Reads the mode of a socket's file.
///
/// # Errors
/// That it is not octal, or beyond 0777.
pub fn mode(text: &str) -> Result<u32, Complaint> {
    octal(text, 0o777, "a file mode", "0660")
}

/// Checks a capability's name, `CAP_NET_BIND_SERVICE`.
///
/// # Errors
/// That there is none of this name, with the nearest.
pub fn capability(text: &str) -> Result<(), Complaint> {
    if text.strip_prefix("CAP_").is_some_and(|bare| CAPABILITIES.contains(&bare)) {
        return Ok(());
    }
    let upper = text.to_ascii_uppercase();
    let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
    let help = match suggest::near(bare, CAPABILITIES.iter().copied()) {
        Some(name) => format!("did you mean \"CAP_{name}\"?"),
        None => "capabilities(7) lists them, for example \"CAP_NET_BIND_SERVICE\"".to_owned(),
    };
    Err(Complaint::new(format!("there is no capability `{text}`")).help(help))
}

/// Checks a cron expression.
///
/// # Errors
/// What `core::schedule` says, at its place.
pub fn schedule(text: &str) -> Result<(), Complaint> {
    let Err(error) = Schedule::parse(text) else { return Ok(()) };
    let complaint = Complaint::new(error.message);
    let complaint = if error.len == 0 || error.len >= text.len() {
        complaint
    } else {
        complaint.within(error.offset..error.offset + error.len)
    };
    Err(complaint.help(error.help.unwrap_or_else(|| {
        "write `minute hour day-of-month month day-of-week`, or @hourly, @daily, @every 90s"
            .to_owned()
    })))
}

/// Checks the syntax of an IANA zone name. Whether the machine knows it is asked at the time of use.
///
/// # Errors
/// The rule it breaks.
pub fn time_zone(text: &str) -> Result<(), Complaint> {
    check_zone_name(text).map_err(|reason| {
        Complaint::new(reason).help("write an IANA name such as \"Europe/Berlin\" or \"UTC\", or leave the key out for the machine's zone")
    })
}

/// Checks a pattern of variables that are passed on: `NAME`, `PREFIX*` or `*`.
///
/// # Errors
/// The rule it breaks.
pub fn env_pattern(text: &str) -> Result<(), Complaint> {
    let bare = text.strip_suffix('*').unwrap_or(text);
    if !text.is_empty() && !bare.contains(['*', '=', '\0']) {
        return Ok(());
    }
    Err(Complaint::new(format!("`{text}` is not a pattern of variable names"))
        .help("write a name, a prefix such as \"LC_*\", or \"*\" for all"))
}

/// Checks the name of an environment variable: anything that the kernel can carry.
///
/// # Errors
/// The rule it breaks.
pub fn env_name(text: &str) -> Result<(), Complaint> {
    if text.is_empty() {
        return Err(Complaint::new("the name of a variable may not be empty")
            .help("write NAME = \"value\""));
    }
    if text.contains(['=', '\0']) {
        return Err(Complaint::new(format!(
            "`{}` is not the name of a variable",
            text.escape_debug()
        ))
        .help("a name has no `=` in it; write NAME = \"value\""));
    }
    Ok(())
}

/// Checks an entry of `env_file`: a path, optionally with a leading `-`.
///
/// # Errors
/// That the path is missing.
pub fn env_file(text: &str) -> Result<(), Complaint> {
    if text.strip_prefix('-').unwrap_or(text).is_empty() {
        return Err(Complaint::new("the path of the file is missing")
            .help("write \"/etc/api.env\", or \"-/etc/api.env\" if it may be missing"));
    }
    Ok(())
}

/// Checks a path that must not depend on where the daemon was started.
///
/// # Errors
/// That it is relative.
pub fn absolute_path(text: &str) -> Result<(), Complaint> {
    if text.starts_with('/') || text.starts_with("$(") {
        return Ok(());
    }
    Err(Complaint::new(format!("`{text}` is not an absolute path"))
        .help("begin it with `/`, or with a variable such as $(WSUP_DATA_DIR)"))
}

/// Checks a directory on this machine: absolute, and the same for all instances.
///
/// # Errors
/// That it is relative.
pub fn directory(text: &str) -> Result<(), Complaint> {
    if text.starts_with('/') {
        return Ok(());
    }
    Err(Complaint::new(format!("`{text}` is not an absolute path"))
        .help("begin it with `/`: each instance gets a directory of its own below it"))
}

/// Checks the pattern of paths of a daemonset.
///
/// # Errors
/// The rule it breaks.
pub fn glob(text: &str) -> Result<(), Complaint> {
    if !text.starts_with('/') {
        return Err(Complaint::new(format!("the pattern `{text}` is not an absolute path"))
            .help("begin it with `/`, for example \"/dev/nvidia[0-9]*\""));
    }
    match globset::GlobBuilder::new(text).literal_separator(true).build() {
        Ok(_) => Ok(()),
        Err(error) => Err(Complaint::new(format!("`{text}` is not a pattern: {}", error.kind()))
            .help("`*`, `?` and `[a-z]` stand for parts of one path component")),
    }
}

/// Checks a regular expression.
///
/// # Errors
/// What the engine says.
pub fn regex(text: &str) -> Result<(), Complaint> {
    let error = match regex::Regex::new(text) {
        Ok(_) => return Ok(()),
        Err(error) => error.to_string(),
    };
    let reason = error.lines().last().unwrap_or_default();
    let reason = reason.strip_prefix("error: ").unwrap_or(reason);
    Err(Complaint::new(format!("not a regular expression: {reason}"))
        .help("put `\\` before a character that stands for itself, in TOML's single quotes"))
}

/// Checks the address of an HTTP probe.
///
/// # Errors
/// The rule it breaks.
pub fn http_url(text: &str) -> Result<(), Complaint> {
    let example = "write for example \"http://127.0.0.1:8000/healthz\"";
    let Some(rest) = ["http://", "https://"].iter().find_map(|scheme| text.strip_prefix(scheme))
    else {
        let complaint = format!("`{text}` is not an http:// or https:// address");
        return Err(Complaint::new(complaint).help(example));
    };
    if rest.split('/').next().unwrap_or_default().is_empty() || rest.contains(char::is_whitespace) {
        return Err(Complaint::new(format!("`{text}` has no host to ask")).help(example));
    }
    Ok(())
}

/// Checks `host:port`; either part may hold `$(NAME)`.
///
/// # Errors
/// The rule it breaks.
pub fn host_port(text: &str) -> Result<(), Complaint> {
    let example = "write \"host:port\", for example \"127.0.0.1:8000\" or \"[::1]:8000\"";
    let Some((host, port)) = text.rsplit_once(':') else {
        return Err(Complaint::new(format!("`{text}` has no port")).help(example));
    };
    if host.is_empty() || (host.contains(':') && !host.starts_with('[')) {
        return Err(Complaint::new(format!("`{text}` is not a host and a port")).help(example));
    }
    if !port.contains("$(") && port.parse::<u16>().is_err() {
        return Err(Complaint::new(format!("`{port}` is not a port")).help(example));
    }
    Ok(())
}

/// Checks what a socket listens on: `host:port` or `unix:/path`.
///
/// # Errors
/// The rule it breaks.
pub fn listen(text: &str) -> Result<(), Complaint> {
    match text.strip_prefix("unix:") {
        Some(path) => absolute_path(path),
        None if text.starts_with('/') => Err(Complaint::new(format!("`{text}` is not an address"))
            .help(format!("did you mean \"unix:{text}\"?"))),
        None => {
            host_port(text)?;
            let (host, port) = text.rsplit_once(':').unwrap_or((text, ""));
            let numeric = matches!(host, "localhost" | "*") || host_is_address(host);
            if !numeric {
                return Err(Complaint::new(format!("`{host}` is not an IP address")).help(
                    "names are not looked up: write an address, `localhost`, or `*` for all",
                ));
            }
            match port.parse::<u16>() {
                Ok(0) | Err(_) => {
                    Err(Complaint::new(format!("`{port}` is not a port to listen on"))
                        .help("write a number from 1 to 65535"))
                }
                Ok(_) => Ok(()),
            }
        }
    }
}

fn host_is_address(host: &str) -> bool {
    match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(six) => six.parse::<::core::net::Ipv6Addr>().is_ok(),
        None => host.parse::<::core::net::Ipv4Addr>().is_ok(),
    }
}

/// Checks the name of a socket or port: it becomes part of a variable's name and of a list
/// separated by colons.
///
/// # Errors
/// The rule it breaks.
pub fn port_name(text: &str) -> Result<(), Complaint> {
    let good = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.len() <= crate::core::id::NAME_MAX
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if good {
        return Ok(());
    }
    Err(Complaint::new(format!(
        "`{text}` is not a name: letters, digits, `-` and `_`, a letter first"
    ))
    .help("write for example \"http\""))
}

/// Reads a range of ports, `9000-9099`.
///
/// # Errors
/// The rule it breaks.
pub fn port_range(text: &str) -> Result<(u16, u16), Complaint> {
    let example = "write the first and the last port, for example \"9000-9099\"";
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (first.trim().parse::<u16>(), last.trim().parse::<u16>()) {
        (Ok(first), Ok(last)) if first > last => {
            Err(Complaint::new(format!("the range `{text}` is the wrong way round"))
                .help(format!("did you mean \"{last}-{first}\"?")))
        }
        (Ok(first), Ok(last)) if first > 0 => Ok((first, last)),
        (Ok(_) | Err(_), Ok(_) | Err(_)) => {
            Err(Complaint::new(format!("`{text}` is not a range of ports")).help(example))
        }
    }
}

/// Reads a list of indexes, `0,2-4`: ranges, ascending, none overlapping (Kubernetes
/// `pkg/apis/batch/validation/validation.go`, `validateIndexesFormat`).
///
/// # Errors
/// The rule it breaks.
pub fn index_list(text: &str) -> Result<Vec<(u32, u32)>, Complaint> {
    let refuse = || {
        Complaint::new(format!("`{text}` is not a list of indexes"))
            .help("write numbers and ranges in ascending order, for example \"0,2-4\"")
    };
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let first: u32 = first.trim().parse().map_err(|_| refuse())?;
        let last: u32 = last.trim().parse().map_err(|_| refuse())?;
        let ascending = ranges.last().is_none_or(|(_, before)| *before < first);
        if first > last || !ascending {
            return Err(refuse());
        }
        ranges.push((first, last));
    }
    Ok(ranges)
}

/// Checks a label's key or value as Kubernetes does, without the DNS prefix rule's fine print.
fn label_part(text: &str, what: &str) -> Result<(), Complaint> {
    let edge = |c: char| c.is_ascii_alphanumeric();
    let good = text.len() <= crate::core::id::NAME_MAX
        && text.starts_with(edge)
        && text.ends_with(edge)
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if good {
        return Ok(());
    }
    Err(Complaint::new(format!("`{text}` is not a label's {what}")).help(format!(
        "a label's {what} has at most 63 letters, digits, `-`, `_` and `.`, and begins and ends with \
         a letter or digit"
    )))
}

/// Checks a label's key: a name, or `prefix/name`.
///
/// # Errors
/// The rule it breaks.
pub fn label_key(text: &str) -> Result<(), Complaint> {
    match text.split_once('/') {
        Some((prefix, name)) => {
            prefix.split('.').try_for_each(|part| label_part(part, "key"))?;
            label_part(name, "key")
        }
        None => label_part(text, "key"),
    }
}

/// Checks a label's value, which may be empty.
///
/// # Errors
/// The rule it breaks.
pub fn label_value(text: &str) -> Result<(), Complaint> {
    if text.is_empty() { Ok(()) } else { label_part(text, "value") }
}
