//! What went wrong with a start, in words.
//!
//! Responsible for texts that name the failing step, its cause and, where there is one, the
//! remedy. Must not decide anything.

use super::child::Step;
use super::prepare::Prepared;
use super::sandbox::capability_name;
use crate::runner::protocol::{Bytes, SpawnPlan};
use crate::runner::sys::{errno_text, errno_words};
use nix::libc;
use std::io;

fn text_of(errno: i32) -> &'static str {
    nix::Error::from_raw(errno).desc()
}

pub(super) fn explain_start(plan: &SpawnPlan, error: &io::Error) -> String {
    let why = errno_text(error);
    let help = match error.raw_os_error() {
        Some(libc::EAGAIN) => " (too many processes: see `ulimit -u`, pids.max)",
        Some(libc::EMFILE) => " (too many open files: see `ulimit -n`)",
        _ => "",
    };
    format!("cannot start {}: clone: {why}{help}", plan.instance)
}

pub(super) fn explain_step(
    plan: &SpawnPlan,
    prepared: &Prepared,
    step: Step,
    errno: i32,
    item: usize,
) -> String {
    let why = errno_words(errno);
    let who = plan.credentials.as_ref();
    let (uid, gid) = who.map_or((0, 0), |c| (c.uid, c.gid));
    let only_root = if errno == libc::EPERM && !nix::unistd::geteuid().is_root() {
        " (only root may start programs as somebody else)"
    } else {
        ""
    };
    let what = match step {
        Step::Exec => return explain_exec(plan, errno, item),
        Step::Directory => {
            let whose = if who.is_some() { format!(" as user {uid}") } else { String::new() };
            return format!(
                "cannot enter working directory `{}`{whose}: {why}",
                plan.cwd.to_text()
            );
        }
        Step::Cgroup => "joining its cgroup".to_string(),
        Step::Session => "setsid".to_string(),
        Step::Limit => {
            let limit = plan.rlimits.get(item).map_or("", |l| l.resource.as_str());
            format!("limit {limit}")
        }
        Step::Nice => format!("nice {}", plan.nice.unwrap_or(0)),
        Step::OomScore => format!("oom_score_adj {}", plan.oom_score_adj.unwrap_or(0)),
        Step::Affinity => format!("cpu_affinity {:?}", plan.cpu_affinity.as_deref().unwrap_or(&[])),
        Step::Groups => "setgroups".to_string(),
        Step::Group => format!("setgid {gid}"),
        Step::User => format!("setuid {uid}"),
        Step::Signals => "resetting signals".to_string(),
        Step::Sockets => "handing sockets on".to_string(),
        Step::UserNamespace
        | Step::IdMap
        | Step::Network
        | Step::Loopback
        | Step::MountNamespace
        | Step::PathOpen
        | Step::ReadOnly
        | Step::ReadWrite
        | Step::PrivateTmp
        | Step::Bounding
        | Step::Capabilities
        | Step::Ambient
        | Step::NoNewPrivileges
        | Step::Landlock => {
            let what = sandbox_step(prepared, step, item);
            let help = sandbox_help(step, errno);
            return format!("cannot start {}: sandbox: {what}: {why}{help}", plan.instance);
        }
    };
    let only_root = match step {
        Step::Groups | Step::Group | Step::User => only_root,
        _ => "",
    };
    format!("cannot start {}: {what}: {why}{only_root}", plan.instance)
}

fn sandbox_step(prepared: &Prepared, step: Step, item: usize) -> String {
    let path = prepared.sandbox_path(item);
    match step {
        Step::UserNamespace => "user namespace: unshare".to_owned(),
        Step::IdMap => "user namespace: writing the maps of users and groups".to_owned(),
        Step::Network => "private_network: unshare".to_owned(),
        Step::Loopback => "private_network: raising the loopback device".to_owned(),
        Step::MountNamespace if item == 0 => "mount namespace: unshare".to_owned(),
        Step::MountNamespace => "mount namespace: mount".to_owned(),
        Step::PathOpen => format!("open_tree `{path}`"),
        Step::ReadOnly => format!("read_only `{path}`: mount"),
        Step::ReadWrite => format!("read_write `{path}`: mount"),
        Step::PrivateTmp => format!("private_tmp `{path}`: mount"),
        Step::Bounding => {
            format!("capabilities: taking {} from the bounding set", capability_name(item))
        }
        Step::Capabilities => "capabilities: capset".to_owned(),
        Step::Ambient => format!("capabilities: giving {}", capability_name(item)),
        Step::NoNewPrivileges => "no_new_privileges".to_owned(),
        Step::Landlock => "landlock_restrict_self".to_owned(),
        Step::Cgroup
        | Step::Session
        | Step::Sockets
        | Step::Limit
        | Step::Nice
        | Step::OomScore
        | Step::Affinity
        | Step::Groups
        | Step::Group
        | Step::User
        | Step::Directory
        | Step::Signals
        | Step::Exec => String::new(),
    }
}

/// The remedy, where one is known.
fn sandbox_help(step: Step, errno: i32) -> &'static str {
    let root = nix::unistd::geteuid().is_root();
    match (step, errno) {
        (Step::UserNamespace, libc::EPERM | libc::ENOSPC) => {
            " (a normal user needs user namespaces for this, and this machine does not give them: \
             see the sysctl user.max_user_namespaces and the distribution's own, or run the daemon \
             as root)"
        }
        (Step::Network | Step::MountNamespace, libc::EPERM) if root => {
            " (the daemon lacks CAP_SYS_ADMIN, as in a container)"
        }
        (Step::Bounding, libc::EPERM) if !root => {
            " (only root can take capabilities away; `no_new_privileges` keeps a normal user's \
             program from ever getting any)"
        }
        (Step::Capabilities | Step::Ambient, libc::EPERM) => {
            " (the daemon itself lacks one of them)"
        }
        (Step::PathOpen | Step::ReadOnly | Step::ReadWrite, libc::ENOSYS) => {
            " (Linux 5.12 or later is needed)"
        }
        _ => "",
    }
}

fn explain_exec(plan: &SpawnPlan, errno: i32, item: usize) -> String {
    let name = plan.argv.first().map(Bytes::to_text).unwrap_or_default();
    let place = plan.candidates.get(item).map(Bytes::to_text).unwrap_or_default();
    if errno == libc::ENOENT || errno == libc::ENOTDIR {
        // What is there and still "not found" lacks its interpreter.
        let there = plan.candidates.iter().find(|c| plan.cwd.as_path().join(c.as_path()).exists());
        if let Some(there) = there {
            return format!(
                "cannot run `{}`: the interpreter in its first line, or its dynamic loader, \
                 does not exist",
                there.to_text()
            );
        }
        if name.contains('/') {
            return format!("command not found: `{name}`");
        }
        let path: Vec<String> = plan
            .candidates
            .iter()
            .map(|c| c.to_text())
            .map(|c| c.strip_suffix(&format!("/{name}")).unwrap_or(&c).to_string())
            .collect();
        return format!("command not found: `{name}` (searched PATH {})", path.join(":"));
    }
    let help = match errno {
        libc::ENOEXEC => " (a script needs a first line such as `#!/bin/sh`)",
        libc::EACCES => " (is it executable, and may the user reach it?)",
        libc::E2BIG => " (arguments and environment are too long)",
        _ => "",
    };
    format!("cannot run `{place}`: {}{help}", text_of(errno))
}
