//! A plan in the kernel's own terms.
//!
//! Responsible for everything that a child needs being there before it is made: strings, limits,
//! masks. Must not start anything.

use super::Handed;
use super::child::{ChildData, Word};
use super::sandbox::Sandbox;
use crate::runner::protocol::{Bytes, Credentials, SOCKETS_MAX, SpawnPlan};
use nix::libc;
use std::ffi::{CString, c_char};
use std::ptr;

/// CPUs that an affinity can name; more than any machine has today (the kernel's own limit is
/// 8192).
const CPUS_MAX: usize = 8192;

/// What else than the descriptors that it is handed a child keeps open has numbers above theirs.
pub(super) const ABOVE_SOCKETS: i32 = 64;

/// The variable that the child completes with its own number (sd_listen_fds(3)).
const LISTEN_PID: &[u8] = b"LISTEN_PID=";
/// The digits of the greatest process number, and the zero at the end.
pub(super) const PID_DIGITS: usize = 11;

/// The mask where the plan names none: what most systems give to services.
const DEFAULT_UMASK: u32 = 0o022;

/// A list of strings as execve wants it.
struct Strings {
    _owned: Vec<CString>,
    pointers: Vec<*const c_char>,
}

impl Strings {
    fn new(list: &[Bytes], what: &str) -> Result<Strings, String> {
        let owned = list
            .iter()
            .map(|bytes| c_string(bytes, what))
            .collect::<Result<Vec<CString>, String>>()?;
        let mut pointers: Vec<*const c_char> = owned.iter().map(|s| s.as_ptr()).collect();
        pointers.push(ptr::null());
        Ok(Strings { _owned: owned, pointers })
    }
}

pub(super) fn c_string(bytes: &Bytes, what: &str) -> Result<CString, String> {
    CString::new(bytes.as_bytes())
        .map_err(|_| format!("{what} has a zero byte in it: `{}`", bytes.to_text()))
}

/// The names of resource limits in unit files, with the kernel's numbers (getrlimit(2)).
#[allow(clippy::unnecessary_cast, reason = "not every libc has them as u32")]
const LIMITS: [(&str, u32); 16] = [
    ("as", libc::RLIMIT_AS as u32),
    ("core", libc::RLIMIT_CORE as u32),
    ("cpu", libc::RLIMIT_CPU as u32),
    ("data", libc::RLIMIT_DATA as u32),
    ("fsize", libc::RLIMIT_FSIZE as u32),
    ("locks", libc::RLIMIT_LOCKS as u32),
    ("memlock", libc::RLIMIT_MEMLOCK as u32),
    ("msgqueue", libc::RLIMIT_MSGQUEUE as u32),
    ("nice", libc::RLIMIT_NICE as u32),
    ("nofile", libc::RLIMIT_NOFILE as u32),
    ("nproc", libc::RLIMIT_NPROC as u32),
    ("rss", libc::RLIMIT_RSS as u32),
    ("rtprio", libc::RLIMIT_RTPRIO as u32),
    ("rttime", libc::RLIMIT_RTTIME as u32),
    ("sigpending", libc::RLIMIT_SIGPENDING as u32),
    ("stack", libc::RLIMIT_STACK as u32),
];

fn number_of(limit: &str) -> Option<u32> {
    LIMITS.iter().find(|(name, _)| *name == limit).map(|(_, number)| *number)
}

/// A plan in the kernel's own terms.
pub(super) struct Prepared {
    candidates: Strings,
    argv: Strings,
    envp: Strings,
    cwd: CString,
    limits: Vec<(u32, libc::rlimit64)>,
    oom: Vec<u8>,
    affinity: Vec<u8>,
    credentials: Option<Credentials>,
    sandbox: Option<Sandbox>,
    sockets: Vec<i32>,
    /// `LISTEN_PID=` with room for a number; empty: no sockets.
    listen_pid: Vec<u8>,
}

impl Prepared {
    /// Makes it.
    ///
    /// # Errors
    /// What the kernel cannot be told, or has not.
    pub(super) fn new(
        plan: &SpawnPlan,
        nofile: libc::rlimit64,
        handed: &Handed,
    ) -> Result<Prepared, String> {
        if plan.argv.is_empty() || plan.candidates.is_empty() {
            return Err("the command is empty".into());
        }
        let mut limits = plan
            .rlimits
            .iter()
            .map(|limit| {
                let number = number_of(&limit.resource)
                    .ok_or_else(|| format!("no such resource limit: `{}`", limit.resource))?;
                let value = |v: Option<u64>| v.unwrap_or(libc::RLIM64_INFINITY);
                let (rlim_cur, rlim_max) = (value(limit.soft), value(limit.hard));
                Ok((number, libc::rlimit64 { rlim_cur, rlim_max }))
            })
            .collect::<Result<Vec<_>, String>>()?;
        if !plan.rlimits.iter().any(|limit| limit.resource == "nofile") {
            limits.push((number_of("nofile").unwrap_or(u32::MAX), nofile));
        }
        let credentials = plan.credentials.clone().filter(|wanted| !is_us(wanted));
        let sandbox = match plan.sandbox.as_deref() {
            Some(wanted) => {
                let uid = credentials.as_ref().map(|c| c.uid);
                Some(Sandbox::new(wanted, uid).map_err(|e| format!("sandbox: {e}"))?)
            }
            None => None,
        };
        let count = handed.numbers.len();
        if count > SOCKETS_MAX {
            return Err(format!("{count} sockets are too many, at most {SOCKETS_MAX}"));
        }
        let mut envp = plan.envp.clone();
        let mut listen_pid = Vec::new();
        if count > 0 {
            envp.push(format!("LISTEN_FDS={count}").into());
            envp.push(format!("LISTEN_FDNAMES={}", handed.names.join(":")).into());
            listen_pid.extend_from_slice(LISTEN_PID);
            listen_pid.resize(LISTEN_PID.len() + PID_DIGITS, 0);
        }
        let mut envp = Strings::new(&envp, "a variable")?;
        if !listen_pid.is_empty() {
            // Before the null at the end.
            envp.pointers.insert(0, listen_pid.as_ptr().cast());
        }
        Ok(Prepared {
            sockets: handed.numbers.clone(),
            listen_pid,
            candidates: Strings::new(&plan.candidates, "the command")?,
            argv: Strings::new(&plan.argv, "a word of the command")?,
            envp,
            cwd: c_string(&plan.cwd, "the working directory")?,
            limits,
            oom: plan.oom_score_adj.map(|adj| adj.to_string().into_bytes()).unwrap_or_default(),
            affinity: affinity_mask(plan.cpu_affinity.as_deref())?,
            credentials,
            sandbox,
        })
    }

    /// What the child reads: it points into this, which must outlive it.
    pub(super) fn child_data(
        &mut self,
        plan: &SpawnPlan,
        word: *const Word,
        ignored: u64,
    ) -> ChildData {
        let groups = self.credentials.as_ref().map(|c| c.groups.as_slice()).unwrap_or_default();
        ChildData {
            word,
            own_table: false,
            cgroup_procs: -1,
            limits: self.limits.as_ptr(),
            limit_count: self.limits.len(),
            nice: plan.nice,
            oom: self.oom.as_ptr(),
            oom_len: self.oom.len(),
            affinity: self.affinity.as_ptr(),
            affinity_len: self.affinity.len(),
            groups: groups.as_ptr(),
            group_count: groups.len(),
            sandbox: self.sandbox.as_mut().map_or(ptr::null(), Sandbox::for_child),
            landlock: self.sandbox.as_ref().map_or(-1, Sandbox::landlock),
            sockets: self.sockets.as_mut_ptr(),
            socket_count: self.sockets.len(),
            listen_pid: match self.listen_pid.get_mut(LISTEN_PID.len()..) {
                Some(digits) if !digits.is_empty() => digits.as_mut_ptr(),
                Some(_) | None => ptr::null_mut(),
            },
            ids: self.credentials.as_ref().map(|c| (c.uid, c.gid)),
            umask: plan.umask.unwrap_or(DEFAULT_UMASK) & 0o777,
            cwd: self.cwd.as_ptr(),
            ignored,
            candidates: self.candidates.pointers.as_ptr(),
            candidate_count: self.candidates.pointers.len() - 1,
            argv: self.argv.pointers.as_ptr(),
            envp: self.envp.pointers.as_ptr(),
        }
    }

    /// The path of one of the sandbox's rules, for messages.
    pub(super) fn sandbox_path(&self, item: usize) -> String {
        self.sandbox.as_ref().map(|sandbox| sandbox.path(item)).unwrap_or_default()
    }
}

/// Whether a normal user's wish is to stay who they are; asking the kernel would be refused.
fn is_us(wanted: &Credentials) -> bool {
    let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
    uid != 0 && (wanted.uid, wanted.gid) == (uid, gid)
}

fn affinity_mask(cpus: Option<&[u32]>) -> Result<Vec<u8>, String> {
    let Some(cpus) = cpus else { return Ok(Vec::new()) };
    // The kernel takes whole words only.
    let mut mask = vec![0_u8; CPUS_MAX / 8];
    for cpu in cpus {
        let byte = mask
            .get_mut(*cpu as usize / 8)
            .ok_or_else(|| format!("cpu_affinity: there is no CPU {cpu}"))?;
        *byte |= 1 << (cpu % 8);
    }
    Ok(mask)
}
