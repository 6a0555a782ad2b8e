//! The meaning of a unit after defaults: what the controllers and the instance machine work from.
//!
//! Responsible for the data only. Every default, range check and spelling belongs to `unit`, which
//! produces these values; nothing here remembers where in a file a value stood. All numbers are
//! integers, so that equality of templates, which decides about roll-outs, is exact.

use super::id::{Kind, UnitKey};
use super::time::Millis;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A whole unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitSpec {
    /// Kind and name.
    pub key: UnitKey,
    /// Free text for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Labels, for selection by `-l`.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// The node must carry all of these labels, or the unit has no instances here.
    #[serde(default)]
    pub node_selector: BTreeMap<String, String>,
    /// What must be there before an instance starts.
    #[serde(default)]
    pub depends_on: Vec<Dependency>,
    /// Sockets that are held for the instances. Outside the template: moving one restarts nothing.
    #[serde(default)]
    pub sockets: Vec<SocketSpec>,
    /// What every instance is made from.
    pub template: Arc<InstanceTemplate>,
    /// What is particular to the kind.
    pub workload: WorkloadSpec,
}

impl UnitSpec {
    /// The kind of the unit.
    pub fn kind(&self) -> Kind {
        self.key.kind
    }
}

/// What is particular to a kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WorkloadSpec {
    /// See [`DeploymentSpec`].
    Deployment(DeploymentSpec),
    /// See [`StatefulSetSpec`].
    StatefulSet(StatefulSetSpec),
    /// See [`DaemonSetSpec`].
    DaemonSet(DaemonSetSpec),
    /// See [`JobSpec`].
    Job(JobSpec),
    /// See [`CronJobSpec`].
    CronJob(CronJobSpec),
}

/// A whole number or a percentage of the desired count (Kubernetes `IntOrString`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Amount {
    /// So many instances.
    Count(u32),
    /// So many hundredths of the desired count.
    Percent(u32),
}

impl Amount {
    /// The amount of `total`, a percentage rounded up.
    pub fn ceil_of(self, total: u32) -> u32 {
        match self {
            Amount::Count(n) => n,
            Amount::Percent(p) => {
                u32::try_from((u64::from(p) * u64::from(total)).div_ceil(100)).unwrap_or(u32::MAX)
            }
        }
    }

    /// The amount of `total`, a percentage rounded down.
    pub fn floor_of(self, total: u32) -> u32 {
        match self {
            Amount::Count(n) => n,
            Amount::Percent(p) => {
                u32::try_from(u64::from(p) * u64::from(total) / 100).unwrap_or(u32::MAX)
            }
        }
    }

    /// Whether the amount is nothing of anything.
    pub fn is_zero(self) -> bool {
        matches!(self, Amount::Count(0) | Amount::Percent(0))
    }
}

/// How a deployment moves to a new template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeploymentStrategy {
    /// New and old instances side by side, within bounds.
    RollingUpdate {
        /// How many more than `replicas` may exist; percentages round up.
        max_surge: Amount,
        /// How many fewer than `replicas` may be available; percentages round down.
        max_unavailable: Amount,
    },
    /// All old ones end before the first new one starts.
    Recreate,
}

/// A deployment (Kubernetes `apps/v1 DeploymentSpec`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeploymentSpec {
    /// The desired count.
    pub replicas: u32,
    /// How long an instance must be ready to count as available.
    pub min_ready: Millis,
    /// How many old ReplicaSets are kept; `u32::MAX`: all.
    pub revision_history_limit: u32,
    /// How it moves to a new template.
    pub strategy: DeploymentStrategy,
    /// Without progress for so long the roll-out is reported as stalled; `None`: never.
    pub progress_deadline: Option<Millis>,
    /// No roll-out step is taken while set.
    pub paused: bool,
}

/// How a statefulset or daemonset moves to a new template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StatefulStrategy {
    /// By itself, from the highest ordinal down to `partition`.
    RollingUpdate {
        /// Indexes below it keep the current revision.
        partition: u32,
        /// How many may be unavailable; percentages round down, at least 1.
        max_unavailable: Amount,
    },
    /// Only where an operator deletes an instance.
    OnDelete,
}

/// Order in which a statefulset creates and removes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ManagementPolicy {
    /// One after the other, each only when all before it are ready.
    OrderedReady,
    /// All at once.
    Parallel,
}

/// What becomes of a data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Retention {
    /// It stays.
    Retain,
    /// It is removed once its instance is gone.
    Delete,
}

/// A statefulset (Kubernetes `apps/v1 StatefulSetSpec`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatefulSetSpec {
    /// The desired count.
    pub replicas: u32,
    /// How long an instance must be ready to count as available.
    pub min_ready: Millis,
    /// How many unused revisions are kept.
    pub revision_history_limit: u32,
    /// Order of creation and removal.
    pub management_policy: ManagementPolicy,
    /// How it moves to a new template.
    pub strategy: StatefulStrategy,
    /// The first ordinal.
    pub start_ordinal: u32,
    /// Where the data directories are; `None`: below the state directory.
    pub data_dir: Option<String>,
    /// What happens to data when the unit goes.
    pub when_deleted: Retention,
    /// What happens to data when the unit is scaled down.
    pub when_scaled: Retention,
    /// No update step is taken while set (`rollout pause`; wsup's own addition to the kind).
    pub paused: bool,
}

/// What a daemonset counts as a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Nodes {
    /// This machine: one instance.
    Machine,
    /// One for each CPU that is online.
    Cpus,
    /// One for each NUMA node.
    Numa,
    /// One for each path that matches.
    Glob(String),
}

/// How a daemonset moves to a new template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DaemonStrategy {
    /// By itself, within bounds; exactly one of the two is not zero.
    RollingUpdate {
        /// On how many nodes a second instance may run; percentages round up.
        max_surge: Amount,
        /// On how many nodes none need be available; percentages round up.
        max_unavailable: Amount,
    },
    /// Only where an operator deletes an instance.
    OnDelete,
}

/// A daemonset (Kubernetes `apps/v1 DaemonSetSpec`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DaemonSetSpec {
    /// What a node is.
    pub nodes: Nodes,
    /// How long an instance must be ready to count as available.
    pub min_ready: Millis,
    /// How many unused revisions are kept.
    pub revision_history_limit: u32,
    /// How it moves to a new template.
    pub strategy: DaemonStrategy,
    /// No update step is taken while set (`rollout pause`; wsup's own addition to the kind).
    pub paused: bool,
}

/// A job (Kubernetes `batch/v1 JobSpec`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobSpec {
    /// How many must succeed; `None`: a work queue, complete once one has succeeded and all ended.
    pub completions: Option<u32>,
    /// How many may run at once; 0 holds the job.
    pub parallelism: u32,
    /// Each index from 0 runs to success once.
    pub indexed: bool,
    /// How many failures are borne; `u32::MAX`: any number.
    pub backoff_limit: u32,
    /// The same for each index.
    pub backoff_limit_per_index: Option<u32>,
    /// The job fails when more indexes than this have failed.
    pub max_failed_indexes: Option<u32>,
    /// The job fails when it has been active for so long.
    pub active_deadline: Option<Millis>,
    /// The job is removed so long after its end; `None`: never.
    pub ttl_after_finished: Option<Millis>,
    /// Nothing runs while set.
    pub suspend: bool,
    /// First match wins.
    pub failure_policy: Vec<FailureRule>,
    /// First match wins.
    pub success_policy: Vec<SuccessRule>,
}

/// What a failure rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureAction {
    /// The job fails at once.
    FailJob,
    /// The index fails at once.
    FailIndex,
    /// The failure is not counted.
    Ignore,
    /// The failure is counted, as without a rule.
    Count,
}

/// One rule of a job's failure policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureRule {
    /// What to do.
    pub action: FailureAction,
    /// Matches when the exit code is among these (`negate`: when it is not). A death by signal
    /// counts as 128 + signal. Sorted, unique.
    pub exit_codes: Vec<i32>,
    /// `not_in` rather than `in`.
    pub negate: bool,
}

/// One rule of a job's success policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SuccessRule {
    /// The indexes meant, as inclusive ranges, ascending; `None`: all.
    pub indexes: Option<Vec<(u32, u32)>>,
    /// How many of them must have succeeded; `None`: all of the listed.
    pub count: Option<u32>,
}

/// What a cronjob does when a slot is due and a job of it still runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConcurrencyPolicy {
    /// Both run.
    Allow,
    /// The new one waits or is skipped.
    Forbid,
    /// The old one is removed.
    Replace,
}

/// What a clock change does to a run at a fixed time of day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClockChange {
    /// Exactly one run that day.
    Once,
    /// Kubernetes': skipped in a gap, doubled in a fold.
    Kubernetes,
}

/// A cronjob (Kubernetes `batch/v1 CronJobSpec`). Its unit's template is its jobs' template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CronJobSpec {
    /// The expression as written; checked by `core::schedule`.
    pub schedule: String,
    /// IANA name; `None`: the machine's.
    pub time_zone: Option<String>,
    /// What to do when a job still runs.
    pub concurrency_policy: ConcurrencyPolicy,
    /// A slot later than this is not started any more.
    pub starting_deadline: Option<Millis>,
    /// No slot is started while set.
    pub suspend: bool,
    /// Each start is delayed by up to this much, by an amount fixed per unit.
    pub jitter: Millis,
    /// What a clock change does.
    pub clock_change: ClockChange,
    /// How many complete jobs are kept.
    pub successful_history_limit: u32,
    /// How many failed jobs are kept.
    pub failed_history_limit: u32,
    /// What its jobs are like.
    pub job: JobSpec,
}

/// When a dependency counts as met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DependencyCondition {
    /// Available (a job: complete). The default.
    Available,
    /// Started.
    Started,
    /// Complete: jobs only.
    Complete,
}

/// One edge of the start order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependency {
    /// The unit's name.
    pub unit: String,
    /// When it counts as met.
    pub condition: DependencyCondition,
}

/// What every instance of a unit is made from ("pod template" without the pod). Two templates
/// that are equal are one revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceTemplate {
    /// The program.
    pub process: ProcessSpec,
    /// Programs that run before it, in order.
    #[serde(default)]
    pub init: Vec<InitStep>,
    /// Hooks.
    #[serde(default)]
    pub lifecycle: Lifecycle,
    /// When and how fast it is started again.
    pub restart: RestartSpec,
    /// Limits enforced by cgroups.
    #[serde(default)]
    pub resources: Resources,
    /// Limits enforced by the kernel's other means.
    #[serde(default)]
    pub sandbox: Sandbox,
    /// Gates the other two probes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub startup: Option<Box<ProbeSpec>>,
    /// Decides whether the instance is ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readiness: Option<Box<ProbeSpec>>,
    /// Decides whether the instance lives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub liveness: Option<Box<ProbeSpec>>,
    /// The process must send WATCHDOG=1 that often.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watchdog: Option<Millis>,
    /// Ports of its own.
    #[serde(default)]
    pub ports: Vec<PortSpec>,
    /// Where its output goes.
    pub log: LogSpec,
    /// Set by `rollout restart`: makes the template differ without changing it
    /// (`kubectl.kubernetes.io/restartedAt`), in milliseconds since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restarted_at: Option<i64>,
}

/// A program and what surrounds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessSpec {
    /// The words of the command; at least one.
    pub command: Vec<String>,
    /// Further words.
    #[serde(default)]
    pub args: Vec<String>,
    /// Variables, in the order of their names.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Files of `KEY=VALUE` lines.
    #[serde(default)]
    pub env_file: Vec<EnvFile>,
    /// Patterns of the daemon's own variables that are passed on; `NAME`, `PREFIX*` or `*`.
    /// `None`: the front end's default (`wsup dev`: all; otherwise PATH, LANG, LC_*, TZ).
    #[serde(default)]
    pub env_inherit: Option<Vec<String>>,
    /// Where it starts; `None`: the daemon's choice (`/`, in `wsup dev` the project's folder).
    #[serde(default)]
    pub working_dir: Option<String>,
    /// Name or number.
    #[serde(default)]
    pub user: Option<String>,
    /// Name or number; `None`: the user's own.
    #[serde(default)]
    pub group: Option<String>,
    /// Names or numbers; `None`: the user's own.
    #[serde(default)]
    pub supplementary_groups: Option<Vec<String>>,
    /// File mode creation mask.
    #[serde(default)]
    pub umask: Option<u32>,
    /// -20 to 19.
    #[serde(default)]
    pub nice: Option<i32>,
    /// -1000 to 1000.
    #[serde(default)]
    pub oom_score_adj: Option<i32>,
    /// CPU numbers, ascending; `None`: all.
    #[serde(default)]
    pub cpu_affinity: Option<Vec<u32>>,
    /// Resource limits by their lower-case names without RLIMIT_.
    #[serde(default)]
    pub limits: BTreeMap<String, RLimit>,
    /// The signal that asks it to end, as a number.
    pub stop_signal: i32,
    /// From that signal to SIGKILL.
    pub termination_grace_period: Millis,
}

/// A file of variables.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvFile {
    /// Its path.
    pub path: String,
    /// It may be missing.
    pub optional: bool,
}

/// A resource limit; `None` is "unlimited".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RLimit {
    /// What the process feels.
    pub soft: Option<u64>,
    /// Up to where it may raise it.
    pub hard: Option<u64>,
}

/// A program that runs to exit 0 before the main one starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InitStep {
    /// The words of the command; at least one.
    pub command: Vec<String>,
}

/// Hooks around the life of the program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lifecycle {
    /// Runs right after the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub post_start: Option<Vec<String>>,
    /// Runs before the stop signal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pre_stop: Option<Vec<String>>,
    /// What `ctl reload` does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reload: Option<Reload>,
}

/// What `ctl reload` does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reload {
    /// Runs a command.
    Command(Vec<String>),
    /// Sends a signal.
    Signal(i32),
}

/// Which ends are followed by another start in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RestartPolicy {
    /// All.
    Always,
    /// Those with a code other than 0 or by a signal.
    OnFailure,
    /// None.
    Never,
}

/// When and how fast a process is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartSpec {
    /// Which ends count.
    pub policy: RestartPolicy,
    /// How long to wait.
    pub backoff: Backoff,
    /// When to give up; `None`: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<RestartLimit>,
    /// The storm guard lets it begin before others.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub vital: bool,
}

/// A growing delay (Kubernetes `client-go util/flowcontrol/backoff.go`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backoff {
    /// The first delay that is waited; the restart before it is immediate.
    pub initial: Millis,
    /// In thousandths: each delay is the one before times this.
    pub factor_milli: u32,
    /// No delay is longer.
    pub max: Millis,
    /// A process that ran so long begins anew.
    pub reset_after: Millis,
}

/// Past `count` restarts `within` a span the instance is Failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartLimit {
    /// How many restarts are borne.
    pub count: u32,
    /// In what span.
    pub within: Millis,
}

/// Limits enforced by cgroup v2. Bytes, thousandths of a CPU, plain counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// `memory.max`, bytes.
    pub memory: Option<u64>,
    /// `memory.high`, bytes.
    pub memory_high: Option<u64>,
    /// `memory.swap.max`, bytes.
    pub memory_swap: Option<u64>,
    /// `cpu.max`, thousandths of a CPU.
    pub cpu_milli: Option<u64>,
    /// `cpu.weight`, 1 to 10000.
    pub cpu_weight: Option<u32>,
    /// `pids.max`.
    pub pids: Option<u64>,
    /// `io.weight`, 1 to 10000.
    pub io_weight: Option<u32>,
}

/// Limits enforced by capabilities and namespaces.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sandbox {
    /// `PR_SET_NO_NEW_PRIVS`.
    pub no_new_privileges: bool,
    /// The bounding set; `None`: all.
    pub capabilities: Option<Vec<String>>,
    /// Paths it may not write.
    pub read_only: Vec<String>,
    /// Exceptions from those.
    pub read_write: Vec<String>,
    /// A /tmp of its own.
    pub private_tmp: bool,
    /// No network but its own loopback.
    pub private_network: bool,
}

/// How a probe asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeHandler {
    /// Exit 0 of a command.
    Exec(Vec<String>),
    /// A GET with an answer of 200 to 399.
    Http(String),
    /// A connection to host:port.
    Tcp(String),
    /// A connection to a unix socket.
    Unix(String),
    /// READY=1 by sd_notify.
    Notify,
    /// A line of output that matches.
    Log(String),
}

/// A probe (Kubernetes `core/v1 Probe`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeSpec {
    /// How it asks.
    pub handler: ProbeHandler,
    /// From the process's start to the first question.
    pub initial_delay: Millis,
    /// From question to question.
    pub period: Millis,
    /// How long an answer may take.
    pub timeout: Millis,
    /// So many good answers in a row make it good.
    pub success_threshold: u32,
    /// So many bad answers in a row make it bad.
    pub failure_threshold: u32,
}

/// What carries a socket's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SocketProtocol {
    /// Streams.
    Tcp,
    /// Datagrams.
    Udp,
}

/// A socket that is opened once and handed to every instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketSpec {
    /// Its name in LISTEN_FDNAMES.
    pub name: String,
    /// `host:port` or `unix:/path`.
    pub listen: String,
    /// What carries it.
    pub protocol: SocketProtocol,
    /// A socket of its own for each instance.
    pub reuse_port: bool,
    /// Mode of a unix socket's file.
    pub mode: Option<u32>,
    /// Owner of a unix socket's file.
    pub user: Option<String>,
    /// Group of a unix socket's file.
    pub group: Option<String>,
}

/// A port of an instance's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortSpec {
    /// Its name: the variable is PORT_<NAME>.
    pub name: String,
    /// The first of the range.
    pub first: u16,
    /// The last of the range.
    pub last: u16,
}

/// Where output goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogDriver {
    /// Rotated files.
    File,
    /// The journal.
    Journald,
    /// The daemon's own output.
    Inherit,
    /// Nowhere.
    None,
}

/// What becomes of an instance's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogSpec {
    /// Where it goes.
    pub driver: LogDriver,
    /// A file is rotated when it would grow beyond this, in bytes.
    pub max_size: u64,
    /// How many files there are at most, the present one included; at least 1.
    pub max_files: u32,
    /// Rotated files are compressed.
    pub compress: bool,
}
