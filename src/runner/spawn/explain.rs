//! What went wrong with a start, in words.
//!
//! Responsible for texts that name the failing step, its cause and, where there is one, the
//! remedy. Must not decide anything.

use super::child::Step;
use crate::runner::protocol::{Bytes, SpawnPlan};
use nix::libc;
use std::io;

fn text_of(errno: i32) -> &'static str {
    nix::Error::from_raw(errno).desc()
}

pub(super) fn explain_start(plan: &SpawnPlan, error: &io::Error) -> String {
    let why = error.raw_os_error().map_or_else(|| error.to_string(), |e| text_of(e).to_string());
    let help = match error.raw_os_error() {
        Some(libc::EAGAIN) => " (too many processes: see `ulimit -u`, pids.max)",
        Some(libc::EMFILE) => " (too many open files: see `ulimit -n`)",
        _ => "",
    };
    format!("cannot start {}: clone: {why}{help}", plan.instance)
}

pub(super) fn explain_step(plan: &SpawnPlan, step: Step, errno: i32, item: usize) -> String {
    let why = text_of(errno);
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
    };
    let only_root = match step {
        Step::Groups | Step::Group | Step::User => only_root,
        _ => "",
    };
    format!("cannot start {}: {what}: {why}{only_root}", plan.instance)
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
