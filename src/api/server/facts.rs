//! What a unit is made from, as lines for `describe`.
//!
//! Responsible for saying a spec in words. Nothing here is part of the stable format.

use crate::api::door::RunnerFacts;
use crate::core::signal;
use crate::core::spec::{
    Amount, CronJobSpec, DaemonSetSpec, DaemonStrategy, DependencyCondition, DeploymentSpec,
    DeploymentStrategy, InstanceTemplate, JobSpec, ManagementPolicy, Nodes, ProbeHandler,
    ProbeSpec, Resources, RestartPolicy, RestartSpec, Sandbox, StatefulSetSpec, StatefulStrategy,
    UnitSpec, WorkloadSpec,
};
use crate::core::time::Millis;
use crate::os::{confinement, usage};

type Facts = Vec<(String, String)>;

/// The lines for one unit; what is not set is left out.
pub(super) fn of(spec: &UnitSpec) -> Facts {
    let mut facts = Facts::new();
    match &spec.workload {
        WorkloadSpec::Deployment(d) => deployment(&mut facts, d),
        WorkloadSpec::StatefulSet(s) => statefulset(&mut facts, s),
        WorkloadSpec::DaemonSet(d) => daemonset(&mut facts, d),
        WorkloadSpec::Job(j) => job(&mut facts, j),
        WorkloadSpec::CronJob(c) => cronjob(&mut facts, c),
    }
    if !spec.node_selector.is_empty() {
        let labels: Vec<_> = spec.node_selector.iter().map(|(k, v)| format!("{k}={v}")).collect();
        add(&mut facts, "Node selector", labels.join(", "));
    }
    for dependency in &spec.depends_on {
        let until = match dependency.condition {
            DependencyCondition::Available => "available",
            DependencyCondition::Started => "started",
            DependencyCondition::Complete => "complete",
        };
        add(&mut facts, "Depends on", format!("{} ({until})", dependency.unit));
    }
    for socket in &spec.sockets {
        add(&mut facts, "Socket", format!("{} {}", socket.name, socket.listen));
    }
    template(&mut facts, &spec.template);
    facts
}

/// The lines for one template.
pub(super) fn of_template(spec: &InstanceTemplate) -> Facts {
    let mut facts = Facts::new();
    template(&mut facts, spec);
    facts
}

/// What a running instance is held by, limited by and kept from, as the kernel says it; nothing if
/// the runner has not said how it holds instances.
pub(super) fn in_force(pid: u32, runner: &RunnerFacts) -> Facts {
    let mut facts = Facts::new();
    let cgroup = usage::cgroup_of(pid, &runner.cgroups);
    let held = match (&cgroup, &runner.why_no_cgroup) {
        (Some(dir), _) => format!("cgroup {}", dir.display()),
        (None, Some(why)) => {
            format!("session and process group {pid}, orphans adopted by the runner: {why}")
        }
        (None, None) => return facts,
    };
    add(&mut facts, "Held by", held);
    let or_none = |list: Vec<String>| match list.is_empty() {
        true => "none".to_owned(),
        false => list.join(", "),
    };
    let limits = cgroup.map(|dir| confinement::limits(&dir)).unwrap_or_default();
    add(&mut facts, "Limits in force", or_none(limits));
    add(&mut facts, "Sandbox in force", or_none(confinement::sandbox(pid)));
    facts
}

fn resources(wanted: &Resources) -> String {
    let cpu = wanted.cpu_milli.map(|milli| format!("{}.{:03}", milli / 1000, milli % 1000));
    [
        ("memory", wanted.memory.map(|n| n.to_string())),
        ("memory_high", wanted.memory_high.map(|n| n.to_string())),
        ("memory_swap", wanted.memory_swap.map(|n| n.to_string())),
        ("cpu", cpu),
        ("cpu_weight", wanted.cpu_weight.map(|n| n.to_string())),
        ("pids", wanted.pids.map(|n| n.to_string())),
        ("io_weight", wanted.io_weight.map(|n| n.to_string())),
    ]
    .into_iter()
    .filter_map(|(key, value)| Some(format!("{key} {}", value?)))
    .collect::<Vec<_>>()
    .join(", ")
}

fn sandbox(wanted: &Sandbox) -> String {
    let mut parts = Vec::new();
    for (key, set) in [
        ("no_new_privileges", wanted.no_new_privileges),
        ("private_tmp", wanted.private_tmp),
        ("private_network", wanted.private_network),
    ] {
        parts.extend(set.then(|| key.to_owned()));
    }
    if let Some(kept) = &wanted.capabilities {
        let kept = if kept.is_empty() { "none".to_owned() } else { kept.join(" ") };
        parts.push(format!("capabilities {kept}"));
    }
    for (key, paths) in [("read_only", &wanted.read_only), ("read_write", &wanted.read_write)] {
        if !paths.is_empty() {
            parts.push(format!("{key} {}", paths.join(" ")));
        }
    }
    parts.join(", ")
}

fn add(facts: &mut Facts, name: &str, value: impl Into<String>) {
    facts.push((name.to_owned(), value.into()));
}

fn amount(amount: Amount) -> String {
    match amount {
        Amount::Count(n) => n.to_string(),
        Amount::Percent(p) => format!("{p}%"),
    }
}

fn span(facts: &mut Facts, name: &str, span: Millis) {
    if !span.is_zero() {
        add(facts, name, span.to_string());
    }
}

fn deployment(facts: &mut Facts, spec: &DeploymentSpec) {
    let strategy = match spec.strategy {
        DeploymentStrategy::RollingUpdate { max_surge, max_unavailable } => format!(
            "rolling_update, {} max surge, {} max unavailable",
            amount(max_surge),
            amount(max_unavailable)
        ),
        DeploymentStrategy::Recreate => "recreate".to_owned(),
    };
    add(facts, "Strategy", strategy);
    span(facts, "Min ready", spec.min_ready);
    if let Some(deadline) = spec.progress_deadline {
        span(facts, "Progress deadline", deadline);
    }
}

fn statefulset(facts: &mut Facts, spec: &StatefulSetSpec) {
    let policy = match spec.management_policy {
        ManagementPolicy::OrderedReady => "ordered_ready",
        ManagementPolicy::Parallel => "parallel",
    };
    add(facts, "Management policy", policy);
    let strategy = match spec.strategy {
        StatefulStrategy::RollingUpdate { partition, max_unavailable } => format!(
            "rolling_update, partition {partition}, {} max unavailable",
            amount(max_unavailable)
        ),
        StatefulStrategy::OnDelete => "on_delete".to_owned(),
    };
    add(facts, "Strategy", strategy);
    span(facts, "Min ready", spec.min_ready);
}

fn daemonset(facts: &mut Facts, spec: &DaemonSetSpec) {
    let nodes = match &spec.nodes {
        Nodes::Machine => "machine".to_owned(),
        Nodes::Cpus => "cpus".to_owned(),
        Nodes::Numa => "numa".to_owned(),
        Nodes::Glob(glob) => glob.clone(),
    };
    add(facts, "Nodes", nodes);
    let strategy = match spec.strategy {
        DaemonStrategy::RollingUpdate { max_surge, max_unavailable } => format!(
            "rolling_update, {} max surge, {} max unavailable",
            amount(max_surge),
            amount(max_unavailable)
        ),
        DaemonStrategy::OnDelete => "on_delete".to_owned(),
    };
    add(facts, "Strategy", strategy);
    span(facts, "Min ready", spec.min_ready);
}

fn job(facts: &mut Facts, spec: &JobSpec) {
    let completions = spec.completions.map_or_else(|| "work queue".to_owned(), |n| n.to_string());
    let mode = if spec.indexed { ", indexed" } else { "" };
    add(facts, "Completions", format!("{completions}{mode}"));
    add(facts, "Parallelism", spec.parallelism.to_string());
    let limit = match spec.backoff_limit {
        u32::MAX => "none".to_owned(),
        limit => limit.to_string(),
    };
    add(facts, "Backoff limit", limit);
    if let Some(limit) = spec.backoff_limit_per_index {
        add(facts, "Backoff limit per index", limit.to_string());
    }
    if let Some(deadline) = spec.active_deadline {
        add(facts, "Active deadline", deadline.to_string());
    }
    if let Some(ttl) = spec.ttl_after_finished {
        add(facts, "Removed after", ttl.to_string());
    }
}

fn cronjob(facts: &mut Facts, spec: &CronJobSpec) {
    let policy = match spec.concurrency_policy {
        crate::core::spec::ConcurrencyPolicy::Allow => "allow",
        crate::core::spec::ConcurrencyPolicy::Forbid => "forbid",
        crate::core::spec::ConcurrencyPolicy::Replace => "replace",
    };
    add(facts, "Concurrency policy", policy);
    if let Some(deadline) = spec.starting_deadline {
        add(facts, "Starting deadline", deadline.to_string());
    }
    span(facts, "Jitter", spec.jitter);
    let history = format!(
        "{} successful, {} failed",
        spec.successful_history_limit, spec.failed_history_limit
    );
    add(facts, "Jobs kept", history);
    job(facts, &spec.job);
}

fn template(facts: &mut Facts, template: &InstanceTemplate) {
    for step in &template.init {
        add(facts, "Init", words(&step.command));
    }
    let process = &template.process;
    let all: Vec<String> = process.command.iter().chain(&process.args).cloned().collect();
    add(facts, "Command", words(&all));
    if let Some(dir) = &process.working_dir {
        add(facts, "Working dir", dir.clone());
    }
    if let Some(user) = &process.user {
        let group = process.group.as_ref().map(|group| format!(":{group}")).unwrap_or_default();
        add(facts, "User", format!("{user}{group}"));
    }
    for file in &process.env_file {
        add(facts, "Env file", file.path.clone());
    }
    // Values may be secrets: their names say enough.
    if !process.env.is_empty() {
        add(facts, "Env", process.env.keys().cloned().collect::<Vec<_>>().join(", "));
    }
    if template.resources != Resources::default() {
        add(facts, "Resources", resources(&template.resources));
    }
    if template.sandbox != Sandbox::default() {
        add(facts, "Sandbox", sandbox(&template.sandbox));
    }
    for port in &template.ports {
        add(facts, "Port", format!("{} {}-{}", port.name, port.first, port.last));
    }
    for (name, found) in [
        ("Startup probe", &template.startup),
        ("Readiness probe", &template.readiness),
        ("Liveness probe", &template.liveness),
    ] {
        if let Some(found) = found {
            add(facts, name, probe(found));
        }
    }
    if let Some(watchdog) = template.watchdog {
        add(facts, "Watchdog", watchdog.to_string());
    }
    add(facts, "Restart", restart(&template.restart));
    let stop = signal::name(process.stop_signal)
        .map_or_else(|| format!("signal {}", process.stop_signal), str::to_owned);
    add(facts, "Stop", format!("{stop}, SIGKILL after {}", process.termination_grace_period));
}

fn restart(spec: &RestartSpec) -> String {
    let policy = match spec.policy {
        RestartPolicy::Always => "always",
        RestartPolicy::OnFailure => "on_failure",
        RestartPolicy::Never => return "never".to_owned(),
    };
    let limit = spec
        .limit
        .map(|limit| format!(", at most {} within {}", limit.count, limit.within))
        .unwrap_or_default();
    let vital = if spec.vital { ", vital" } else { "" };
    format!("{policy}, backoff {} to {}{limit}{vital}", spec.backoff.initial, spec.backoff.max)
}

fn probe(probe: &ProbeSpec) -> String {
    let handler = match &probe.handler {
        ProbeHandler::Exec(command) => format!("exec {}", words(command)),
        ProbeHandler::Http(url) => format!("http {url}"),
        ProbeHandler::Tcp(address) => format!("tcp {address}"),
        ProbeHandler::Unix(path) => format!("unix {path}"),
        ProbeHandler::Notify => "notify".to_owned(),
        ProbeHandler::Log(pattern) => format!("log {pattern}"),
    };
    format!(
        "{handler} (delay {}, period {}, timeout {}, #success {}, #failure {})",
        probe.initial_delay,
        probe.period,
        probe.timeout,
        probe.success_threshold,
        probe.failure_threshold
    )
}

/// A command as a shell would take it.
fn words(command: &[String]) -> String {
    shlex::try_join(command.iter().map(String::as_str)).unwrap_or_else(|_| command.join(" "))
}
