//! The process and what surrounds it.

use super::super::complaint::Complaint;
use super::super::report::Report;
use super::super::tree::{Node, Value};
use super::super::{names, size};
use super::view::View;
use crate::core::signal;
use crate::core::spec::{
    Backoff, EnvFile, InitStep, Lifecycle, LogDriver, LogSpec, ProcessSpec, RLimit, Reload,
    Resources, RestartLimit, RestartPolicy, RestartSpec, Sandbox,
};
use crate::core::time::Millis;
use std::collections::BTreeMap;

/// `[process]`.
pub(super) fn process(view: &View<'_>, report: &mut Report) -> ProcessSpec {
    let env_file = |text: String| EnvFile {
        path: text.strip_prefix('-').unwrap_or(&text).to_owned(),
        optional: text.starts_with('-'),
    };
    let cpus = view.ints::<u32>("cpu_affinity").map(|mut cpus| {
        cpus.sort_unstable();
        cpus.dedup();
        cpus
    });
    if cpus.as_ref().is_some_and(Vec::is_empty) {
        let complaint = Complaint::new("`cpu_affinity` names no CPU")
            .help("write CPU numbers such as [0, 1], or leave the key out for all");
        report.error(&view.place("cpu_affinity"), &view.path("cpu_affinity"), complaint);
    }
    ProcessSpec {
        command: view.command("command").unwrap_or_default(),
        args: view.texts("args").unwrap_or_default(),
        env: view.map("env"),
        env_file: view.texts("env_file").unwrap_or_default().into_iter().map(env_file).collect(),
        env_inherit: view.texts("env_inherit"),
        working_dir: view.text("working_dir"),
        user: view.owner("user"),
        group: view.owner("group"),
        supplementary_groups: view.texts("supplementary_groups"),
        umask: view.text("umask").and_then(|text| names::umask(&text).ok()),
        nice: view.int("nice"),
        oom_score_adj: view.int("oom_score_adj"),
        cpu_affinity: cpus,
        limits: limits(view, report),
        stop_signal: signal_of(view, "stop_signal").unwrap_or(signal::TERM),
        termination_grace_period: view.millis("termination_grace_period").unwrap_or(Millis::ZERO),
    }
}

fn signal_of(view: &View<'_>, name: &str) -> Option<i32> {
    names::signal_number(&view.text(name)?).ok()
}

/// A single resource limit: `Some(None)` is "unlimited", `None` is not a limit.
pub(in super::super) fn read_limit(node: &Node) -> Option<Option<u64>> {
    match &node.value {
        Value::Int(number) => u64::try_from(*number).ok().map(Some),
        Value::Text(text) if matches!(text.as_str(), "unlimited" | "infinity") => Some(None),
        Value::Text(text) => size::parse(text).ok().map(Some),
        Value::HugeInt
        | Value::Float(_)
        | Value::Bool(_)
        | Value::Datetime
        | Value::List(_)
        | Value::Table(_) => None,
    }
}

fn limits(view: &View<'_>, report: &mut Report) -> BTreeMap<String, RLimit> {
    let mut limits = BTreeMap::new();
    let Some(table) = view.node("limits").and_then(Node::as_table) else { return limits };
    for entry in &table.entries {
        let limit = match entry.node.as_table() {
            None => read_limit(&entry.node).map(|value| RLimit { soft: value, hard: value }),
            Some(pair) => pair
                .get("soft")
                .and_then(read_limit)
                .zip(pair.get("hard").and_then(read_limit))
                .map(|(soft, hard)| RLimit { soft, hard }),
        };
        let Some(limit) = limit else { continue };
        let above = limit.soft.is_none_or(|soft| limit.hard.is_some_and(|hard| soft > hard));
        if above && limit.hard.is_some() {
            let complaint = Complaint::new(format!(
                "the soft limit of `{}` is above its hard limit",
                entry.key
            ))
            .help("lower `soft`, or raise `hard`");
            let path = format!("{}.{}", view.path("limits"), entry.key);
            report.error(&entry.node.at, &path, complaint);
        }
        limits.insert(entry.key.clone(), limit);
    }
    limits
}

/// `[[init]]`.
pub(super) fn init(view: &View<'_>) -> Vec<InitStep> {
    let step = |one: &View<'_>| InitStep { command: one.command("command").unwrap_or_default() };
    view.subs("init").iter().map(step).collect()
}

/// `[lifecycle]`.
pub(super) fn lifecycle(view: &View<'_>) -> Lifecycle {
    let reload = match view.node("reload").map(Node::as_table) {
        None => None,
        Some(Some(table)) => table
            .get("signal")
            .and_then(Node::as_text)
            .and_then(|text| names::signal_number(text).ok())
            .map(Reload::Signal),
        Some(None) => view.command("reload").map(Reload::Command),
    };
    Lifecycle { post_start: view.command("post_start"), pre_stop: view.command("pre_stop"), reload }
}

/// `[restart]`.
pub(super) fn restart(view: &View<'_>, report: &mut Report) -> RestartSpec {
    let policy = match view.text("policy").as_deref() {
        Some("on_failure") => RestartPolicy::OnFailure,
        Some("never") => RestartPolicy::Never,
        Some(_) | None => RestartPolicy::Always,
    };
    let steps = view.sub("backoff");
    let initial = steps.millis("initial");
    let max = steps.millis("max");
    if let (Some(initial), Some(max)) = (initial, max)
        && initial > max
    {
        let wrong = if steps.has("max") { "max" } else { "initial" };
        let complaint = Complaint::new(format!(
            "the first delay, {initial}, is longer than the longest, {max}"
        ))
        .help("lower `initial`, or raise `max`");
        report.error(&steps.place(wrong), &steps.path(wrong), complaint);
    }
    let bound = view.sub("limit");
    let limit = bound.int("count").zip(bound.millis("within"));
    RestartSpec {
        policy,
        backoff: Backoff {
            initial: initial.unwrap_or_default(),
            factor_milli: steps
                .milli("factor")
                .and_then(|n| u32::try_from(n).ok())
                .unwrap_or(1_000),
            max: max.unwrap_or_default(),
            reset_after: steps.millis("reset_after").unwrap_or_default(),
        },
        limit: limit.map(|(count, within)| RestartLimit { count, within }),
        vital: view.flag("vital"),
    }
}

/// `[resources]`.
pub(super) fn resources(view: &View<'_>, report: &mut Report) -> Resources {
    let memory = view.size("memory");
    let memory_high = view.size("memory_high");
    if let (Some(max), Some(high)) = (memory, memory_high)
        && high > max
    {
        let complaint =
            Complaint::new("`memory_high` is above `memory`, so it would never be reached")
                .help("write a smaller size than that of `memory`");
        report.error(&view.place("memory_high"), &view.path("memory_high"), complaint);
    }
    Resources {
        memory,
        memory_high,
        memory_swap: view.size("memory_swap"),
        cpu_milli: view.milli("cpu"),
        cpu_weight: view.int("cpu_weight"),
        pids: view.int("pids"),
        io_weight: view.int("io_weight"),
    }
}

/// `[sandbox]`.
pub(super) fn sandbox(view: &View<'_>) -> Sandbox {
    Sandbox {
        no_new_privileges: view.flag("no_new_privileges"),
        capabilities: view.texts("capabilities"),
        read_only: view.texts("read_only").unwrap_or_default(),
        read_write: view.texts("read_write").unwrap_or_default(),
        private_tmp: view.flag("private_tmp"),
        private_network: view.flag("private_network"),
    }
}

/// `[log]`.
pub(super) fn log(view: &View<'_>) -> LogSpec {
    LogSpec {
        driver: match view.text("driver").as_deref() {
            Some("journald") => LogDriver::Journald,
            Some("inherit") => LogDriver::Inherit,
            Some("none") => LogDriver::None,
            Some(_) | None => LogDriver::File,
        },
        max_size: view.size("max_size").unwrap_or_default(),
        max_files: view.int("max_files").unwrap_or(1),
        compress: view.flag("compress"),
    }
}
