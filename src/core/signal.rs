//! Names and numbers of Linux signals, for unit files and for people.
//!
//! Responsible for the table (signal(7), x86 and ARM numbers). Must not send any.

const TABLE: &[(&str, i32)] = &[
    ("SIGHUP", 1),
    ("SIGINT", 2),
    ("SIGQUIT", 3),
    ("SIGILL", 4),
    ("SIGTRAP", 5),
    ("SIGABRT", 6),
    ("SIGBUS", 7),
    ("SIGFPE", 8),
    ("SIGKILL", 9),
    ("SIGUSR1", 10),
    ("SIGSEGV", 11),
    ("SIGUSR2", 12),
    ("SIGPIPE", 13),
    ("SIGALRM", 14),
    ("SIGTERM", 15),
    ("SIGSTKFLT", 16),
    ("SIGCHLD", 17),
    ("SIGCONT", 18),
    ("SIGSTOP", 19),
    ("SIGTSTP", 20),
    ("SIGTTIN", 21),
    ("SIGTTOU", 22),
    ("SIGURG", 23),
    ("SIGXCPU", 24),
    ("SIGXFSZ", 25),
    ("SIGVTALRM", 26),
    ("SIGPROF", 27),
    ("SIGWINCH", 28),
    ("SIGIO", 29),
    ("SIGPWR", 30),
    ("SIGSYS", 31),
];

/// SIGTERM's number.
pub const TERM: i32 = 15;
/// SIGKILL's number.
pub const KILL: i32 = 9;

/// glibc's first real-time signal for programs.
const RT_MIN: i32 = 34;
/// The last signal that there is.
const LAST: i32 = 64;

/// The name of a signal, such as `SIGTERM`; `None` for real-time and unknown numbers.
pub fn name(number: i32) -> Option<&'static str> {
    TABLE.iter().find(|(_, n)| *n == number).map(|(name, _)| *name)
}

/// A name for every number: `SIGKILL`, `SIGRTMIN+2`, and `SIG70` where there is no such signal.
pub fn shown(number: i32) -> String {
    match name(number) {
        Some(name) => name.to_owned(),
        None if number == RT_MIN => "SIGRTMIN".to_owned(),
        None if (RT_MIN..=LAST).contains(&number) => format!("SIGRTMIN+{}", number - RT_MIN),
        None => format!("SIG{number}"),
    }
}

/// Reads `SIGTERM`, `TERM`, `term`, `15` or `SIGRTMIN+3` (real-time signals count from 34, as
/// glibc has it).
pub fn parse(text: &str) -> Option<i32> {
    let upper = text.trim().to_ascii_uppercase();
    if let Ok(number) = upper.parse::<i32>() {
        return (1..=LAST).contains(&number).then_some(number);
    }
    let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(rest) = bare.strip_prefix("RTMIN") {
        let more = if rest.is_empty() { 0 } else { rest.strip_prefix('+')?.parse::<i32>().ok()? };
        return (0..=LAST - RT_MIN).contains(&more).then(|| RT_MIN + more);
    }
    TABLE.iter().find(|(name, _)| name.get(3..) == Some(bare)).map(|(_, n)| *n)
}

/// All names, for suggestions.
pub fn names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|(name, _)| *name)
}
