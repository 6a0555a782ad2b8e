//! The rows of the table of keys, in the order in which a unit file is written.

use super::super::complaint::Complaint;
use super::super::names;
use super::{
    ALL, CRONJOB, DAEMONSET, DEPLOYMENT, INT32_MAX, JOBS, Key, Lit, SCALED, SERVICES, STATEFULSET,
    Shape, key,
};
use crate::core::instance::restart::LIMIT_COUNT_MAX;

fn any(_: &str) -> Result<(), Complaint> {
    Ok(())
}

fn ports(text: &str) -> Result<(), Complaint> {
    names::port_range(text).map(drop)
}

fn indexes(text: &str) -> Result<(), Complaint> {
    names::index_list(text).map(drop)
}

fn signal(text: &str) -> Result<(), Complaint> {
    names::signal_number(text).map(drop)
}

fn umask(text: &str) -> Result<(), Complaint> {
    names::umask(text).map(drop)
}

fn mode(text: &str) -> Result<(), Complaint> {
    names::mode(text).map(drop)
}

/// More instances of one unit than this are a typing error on one machine; Kubernetes' own bound
/// for indexed jobs' parallelism (`batch/validation`, 100,000) is taken for all counts.
const INSTANCES_MAX: i64 = 100_000;
/// The largest number of CPUs Linux can be built for (`CONFIG_NR_CPUS`).
const CPU_MAX: i64 = 8_191;
/// A log file smaller than this would be rotated at nearly every line.
const LOG_SIZE_MIN: u64 = 1 << 10;

/// The top of a unit file.
pub(in super::super) const UNIT: &[Key] = &[
    // Which texts are kinds is `identity`'s: it has better advice than a list.
    key("kind", ALL, Shape::Text, "What the unit is").must(),
    key(
        "name",
        ALL,
        Shape::Word(names::label, "a DNS label"),
        "The unit's name, a DNS label; default: the file's stem",
    ),
    key("description", ALL, Shape::Text, "Free text for people"),
    key(
        "labels",
        ALL,
        Shape::Map(names::label_key, names::label_value),
        "Labels, for selection by `-l`",
    ),
    key(
        "node_selector",
        ALL,
        Shape::Map(names::label_key, names::label_value),
        "The unit runs only where the node's labels hold all of these",
    ),
    key(
        "depends_on",
        ALL,
        Shape::Dependencies,
        "Units that must be available (jobs: complete) first",
    ),
    key("replicas", SCALED, Shape::Int(0, INSTANCES_MAX), "How many instances; 0 is valid")
        .or_int(1),
    key(
        "min_ready",
        SERVICES,
        Shape::Duration(0),
        "How long an instance must be ready to count as available",
    )
    .or_text("0s"),
    key(
        "revision_history_limit",
        SERVICES,
        Shape::Int(0, INT32_MAX),
        "How many old revisions are kept; 2147483647: all",
    )
    .or_int(10),
    key("process", ALL, Shape::Table(PROCESS), "The template of every instance").must(),
    key(
        "init",
        ALL,
        Shape::Tables(INIT),
        "Run in order, each to exit 0, before the process starts",
    ),
    key("lifecycle", ALL, Shape::Table(LIFECYCLE), "Hooks around the life of the process"),
    key("restart", ALL, Shape::Table(RESTART), "When and how fast the process is started again"),
    key("resources", ALL, Shape::Table(RESOURCES), "Limits enforced with cgroup v2"),
    key("sandbox", ALL, Shape::Table(SANDBOX), "Limits enforced by capabilities and namespaces"),
    key("probes", ALL, Shape::Table(PROBES), "Questions that decide about ready and alive"),
    key(
        "sockets",
        ALL,
        Shape::Tables(SOCKETS),
        "Sockets that are opened once and handed to every instance",
    ),
    key("ports", ALL, Shape::Tables(PORTS), "Ports of each instance's own"),
    key("log", ALL, Shape::Table(LOG), "What becomes of the output"),
    key("rollout", SERVICES, Shape::Table(ROLLOUT), "How the unit moves to a new template"),
    key("statefulset", STATEFULSET, Shape::Table(STATEFULSET_KEYS), "What only a statefulset has"),
    key("daemonset", DAEMONSET, Shape::Table(DAEMONSET_KEYS), "What only a daemonset has"),
    key("job", JOBS, Shape::Table(JOB), "What a job has, and the jobs that a cronjob creates"),
    key("cron", CRONJOB, Shape::Table(CRON), "When a cronjob runs").must(),
];

const PROCESS: &[Key] = &[
    key(
        "command",
        ALL,
        Shape::Command,
        "The program and its arguments; a string is split as a shell would, and run without one",
    )
    .must(),
    key("args", ALL, Shape::Texts(any, "an argument"), "Further arguments"),
    key("env", ALL, Shape::Map(names::env_name, any), "Environment variables"),
    key(
        "env_file",
        ALL,
        Shape::Texts(names::env_file, "a path"),
        "Files of KEY=VALUE lines; with a leading `-` the file may be missing",
    ),
    key(
        "env_inherit",
        ALL,
        Shape::Texts(names::env_pattern, "a pattern"),
        "Which of the daemon's own variables are passed on; default: PATH, LANG, LC_*, TZ; in `wsup dev` all",
    ),
    key("working_dir", ALL, Shape::Text, "Where the process starts"),
    key("user", ALL, Shape::Owner, "Who it runs as: name or number"),
    key("group", ALL, Shape::Owner, "Its group: name or number; default: the user's"),
    key("supplementary_groups", ALL, Shape::Owners, "Its further groups; default: the user's"),
    key(
        "umask",
        ALL,
        Shape::Word(umask, "an octal mask"),
        "The file mode creation mask, in octal digits",
    ),
    key("nice", ALL, Shape::Int(-20, 19), "Scheduling priority, lower is more"),
    key(
        "oom_score_adj",
        ALL,
        Shape::Int(-1000, 1000),
        "How readily the kernel kills it when memory runs out",
    ),
    key("cpu_affinity", ALL, Shape::Ints(0, CPU_MAX), "The CPUs that it may run on"),
    key("limits", ALL, Shape::Limits, "Resource limits: one value, or { soft = , hard = }"),
    key("stop_signal", ALL, Shape::Word(signal, "a signal"), "The signal that asks it to end")
        .or_text("SIGTERM"),
    key("termination_grace_period", ALL, Shape::Duration(0), "From that signal to SIGKILL")
        .or_text("30s"),
];

const INIT: &[Key] = &[key("command", ALL, Shape::Command, "The program and its arguments").must()];

const LIFECYCLE: &[Key] = &[
    key("post_start", ALL, Shape::Command, "Runs right after the start"),
    key("pre_stop", ALL, Shape::Command, "Runs before the stop signal, within the grace period"),
    key("reload", ALL, Shape::CommandOrSignal, "What `wsup ctl reload` does"),
];

const RESTART: &[Key] = &[
    key("policy", SERVICES, Shape::OneOf(&["always"]), "Which ends are followed by another start")
        .or_text("always"),
    key(
        "policy",
        JOBS,
        Shape::OneOf(&["on_failure", "never"]),
        "on_failure: the process restarts in place; never: a new instance a try",
    )
    .or_text("never"),
    key("backoff", SERVICES, Shape::Table(BACKOFF), "How long to wait before the next start"),
    key("backoff", JOBS, Shape::Table(BACKOFF), "How long to wait before the next try"),
    key("limit", ALL, Shape::Table(RESTART_LIMIT), "When to give up"),
    key("vital", ALL, Shape::Bool, "The storm guard lets it start again before others")
        .or_bool(false),
];

// A first delay of zero stays zero: whoever writes it wants every restart at once.
const BACKOFF: &[Key] = &[
    key("initial", SERVICES, Shape::Duration(0), "The first delay").or_text("1s"),
    key("initial", JOBS, Shape::Duration(0), "The first delay").or_text("10s"),
    key("factor", ALL, Shape::Factor, "Each delay is the one before times this").or(Lit::Num(2.0)),
    key("max", SERVICES, Shape::Duration(1), "No delay is longer").or_text("5m"),
    key("max", JOBS, Shape::Duration(1), "No delay is longer").or_text("10m"),
    key("reset_after", ALL, Shape::Duration(1), "A process that ran so long begins anew")
        .or_text("10m"),
];

const RESTART_LIMIT: &[Key] = &[
    key("count", ALL, Shape::Int(0, LIMIT_COUNT_MAX as i64), "How many restarts are borne").must(),
    key("within", ALL, Shape::Duration(1), "In what span").must(),
];

const RESOURCES: &[Key] = &[
    key("memory", ALL, Shape::Size(1), "memory.max"),
    key("memory_high", ALL, Shape::Size(1), "memory.high"),
    key("memory_swap", ALL, Shape::Size(0), "memory.swap.max"),
    key("cpu", ALL, Shape::Positive(CPU_MAX as f64), "cpu.max, in CPUs"),
    key("cpu_weight", ALL, Shape::Int(1, 10_000), "cpu.weight"),
    key("pids", ALL, Shape::Int(1, 4_194_304), "pids.max"),
    key("io_weight", ALL, Shape::Int(1, 10_000), "io.weight"),
];

const SANDBOX: &[Key] = &[
    key("no_new_privileges", ALL, Shape::Bool, "No setuid program gives it more rights")
        .or_bool(false),
    key(
        "capabilities",
        ALL,
        Shape::Texts(names::capability, "a capability"),
        "The bounding set, and ambient for a user other than root",
    ),
    key("read_only", ALL, Shape::Texts(names::absolute_path, "a path"), "Paths it may not write"),
    key("read_write", ALL, Shape::Texts(names::absolute_path, "a path"), "Exceptions from those"),
    key("private_tmp", ALL, Shape::Bool, "A /tmp of its own").or_bool(false),
    key("private_network", ALL, Shape::Bool, "No network but its own loopback").or_bool(false),
];

const PROBES: &[Key] = &[
    key("startup", ALL, Shape::Table(PROBE), "Gates the other two"),
    key("readiness", ALL, Shape::Table(PROBE), "Decides whether the instance is ready"),
    key("liveness", ALL, Shape::Table(LIVENESS), "Decides whether the instance lives"),
];

macro_rules! probe_keys {
    ($($more:expr),* $(,)?) => {
        &[
            key("exec", ALL, Shape::Command, "Exit 0 of a command"),
            key("http", ALL, Shape::Word(names::http_url, "an http:// address"),
                "A GET with an answer of 200 to 399"),
            key("tcp", ALL, Shape::Word(names::host_port, "host:port"), "A connection"),
            key("unix", ALL, Shape::Word(names::absolute_path, "a path"), "A connection to a unix socket"),
            key("initial_delay", ALL, Shape::Duration(0), "From the start to the first question").or_text("0s"),
            key("period", ALL, Shape::Duration(1), "From question to question").or_text("10s"),
            key("timeout", ALL, Shape::Duration(1), "How long an answer may take").or_text("1s"),
            key("success_threshold", ALL, Shape::Int(1, INT32_MAX), "Good answers in a row that make it good")
                .or_int(1),
            key("failure_threshold", ALL, Shape::Int(1, INT32_MAX), "Bad answers in a row that make it bad")
                .or_int(3),
            $($more),*
        ]
    };
}

const PROBE: &[Key] = probe_keys![
    key(
        "log",
        ALL,
        Shape::Word(names::regex, "a regular expression"),
        "A line of output that matches"
    ),
    key("notify", ALL, Shape::Bool, "READY=1 by sd_notify").or_bool(false),
];

const LIVENESS: &[Key] = probe_keys![key(
    "watchdog",
    ALL,
    Shape::Duration(1),
    "The process must send WATCHDOG=1 that often"
)];

const SOCKETS: &[Key] = &[
    key("name", ALL, Shape::Word(names::port_name, "a name"), "Its name in LISTEN_FDNAMES").must(),
    key("listen", ALL, Shape::Word(names::listen, "an address"), "\"host:port\" or \"unix:/path\"")
        .must(),
    key("protocol", ALL, Shape::OneOf(&["tcp", "udp"]), "Streams or datagrams").or_text("tcp"),
    key("reuse_port", ALL, Shape::Bool, "A socket of its own for each instance").or_bool(false),
    key("mode", ALL, Shape::Word(mode, "an octal mode"), "Mode of a unix socket's file"),
    key("user", ALL, Shape::Owner, "Owner of a unix socket's file"),
    key("group", ALL, Shape::Owner, "Group of a unix socket's file"),
];

const PORTS: &[Key] = &[
    key(
        "name",
        ALL,
        Shape::Word(names::port_name, "a name"),
        "Its name: the variable is PORT_<NAME>",
    )
    .must(),
    key("range", ALL, Shape::Word(ports, "a range of ports"), "First and last port, \"9000-9099\"")
        .must(),
];

const LOG: &[Key] = &[
    key("driver", ALL, Shape::OneOf(&["file", "journald", "inherit", "none"]), "Where output goes")
        .or_text("file"),
    key(
        "max_size",
        ALL,
        Shape::Size(LOG_SIZE_MIN),
        "A file is rotated before it grows beyond this",
    )
    .or_text("10MiB"),
    key("max_files", ALL, Shape::Int(1, 10_000), "How many files there are at most").or_int(5),
    key("compress", ALL, Shape::Bool, "Rotated files are compressed").or_bool(false),
];

const ROLLOUT: &[Key] = &[
    key(
        "strategy",
        DEPLOYMENT,
        Shape::OneOf(&["rolling_update", "recreate"]),
        "How it moves to a new template",
    )
    .or_text("rolling_update"),
    key(
        "strategy",
        STATEFULSET,
        Shape::OneOf(&["rolling_update", "on_delete"]),
        "How it moves to a new template",
    )
    .or_text("rolling_update"),
    key(
        "strategy",
        DAEMONSET,
        Shape::OneOf(&["rolling_update", "on_delete"]),
        "How it moves to a new template",
    )
    .or_text("rolling_update"),
    key(
        "max_surge",
        DEPLOYMENT,
        Shape::Amount(u32::MAX),
        "How many more than `replicas` may exist; percentages round up",
    )
    .or_text("25%"),
    key(
        "max_surge",
        DAEMONSET,
        Shape::Amount(100),
        "On how many nodes a second instance may run; percentages round up",
    )
    .or_int(0),
    key(
        "max_unavailable",
        DEPLOYMENT,
        Shape::Amount(100),
        "How many fewer than `replicas` may be available; percentages round down",
    )
    .or_text("25%"),
    key(
        "max_unavailable",
        STATEFULSET,
        Shape::Amount(100),
        "How many may be unavailable; percentages round down, at least 1",
    )
    .or_int(1),
    key(
        "max_unavailable",
        DAEMONSET,
        Shape::Amount(100),
        "On how many nodes none need be available; percentages round up",
    )
    .or_int(1),
    key(
        "partition",
        STATEFULSET,
        Shape::Int(0, INT32_MAX),
        "Indexes below it keep the present revision",
    )
    .or_int(0),
    key(
        "progress_deadline",
        DEPLOYMENT,
        Shape::DurationOrNever(1),
        "Without progress for so long it is reported as stalled; or \"never\"",
    )
    .or_text("10m"),
    key("paused", SERVICES, Shape::Bool, "No step is taken while set").or_bool(false),
];

const STATEFULSET_KEYS: &[Key] = &[
    key(
        "management_policy",
        STATEFULSET,
        Shape::OneOf(&["ordered_ready", "parallel"]),
        "One after the other, or all at once",
    )
    .or_text("ordered_ready"),
    key("start_ordinal", STATEFULSET, Shape::Int(0, INT32_MAX), "The first ordinal").or_int(0),
    key(
        "data_dir",
        STATEFULSET,
        Shape::Word(names::directory, "an absolute path"),
        "Where the data directories are; default: below the state directory",
    ),
    key("retention", STATEFULSET, Shape::Table(RETENTION), "What becomes of the data directories"),
];

const RETENTION: &[Key] = &[
    key("when_deleted", STATEFULSET, Shape::OneOf(&["retain", "delete"]), "When the unit goes")
        .or_text("retain"),
    key("when_scaled", STATEFULSET, Shape::OneOf(&["retain", "delete"]), "When it is scaled down")
        .or_text("retain"),
];

const DAEMONSET_KEYS: &[Key] = &[key(
    "nodes",
    DAEMONSET,
    Shape::Nodes,
    "\"machine\", \"cpus\", \"numa\", or { glob = \"/dev/...\" }",
)
.or_text("machine")];

// completions and parallelism have no row of defaults: both missing is 1 and 1, parallelism alone
// is a work queue (`pkg/apis/batch/v1/defaults.go`). backoff_limit's is 6, or none beside a limit
// per index.
const JOB: &[Key] = &[
    key("completions", JOBS, Shape::Int(0, INT32_MAX), "How many must succeed"),
    key(
        "parallelism",
        JOBS,
        Shape::Int(0, INSTANCES_MAX),
        "How many may run at once; without `completions`: a work queue",
    ),
    key(
        "completion_mode",
        JOBS,
        Shape::OneOf(&["non_indexed", "indexed"]),
        "indexed: each index from 0 runs to success once",
    )
    .or_text("non_indexed"),
    key(
        "backoff_limit",
        JOBS,
        Shape::Int(0, INT32_MAX),
        "How many failures are borne; 2147483647: any number",
    ),
    key("backoff_limit_per_index", JOBS, Shape::Int(0, INT32_MAX), "The same for each index"),
    key("max_failed_indexes", JOBS, Shape::Int(0, INT32_MAX), "How many indexes may fail"),
    key(
        "active_deadline",
        JOBS,
        Shape::Duration(1),
        "The job fails when it has been active for so long",
    ),
    key("ttl_after_finished", JOBS, Shape::Duration(0), "The job is removed so long after its end"),
    key("suspend", JOBS, Shape::Bool, "Nothing runs while set").or_bool(false),
    key(
        "failure_policy",
        JOBS,
        Shape::Tables(FAILURE_RULE),
        "What a failure does; the first match wins",
    ),
    key(
        "success_policy",
        JOBS,
        Shape::Tables(SUCCESS_RULE),
        "When the job counts as complete early",
    ),
];

const FAILURE_RULE: &[Key] = &[
    key("action", JOBS, Shape::OneOf(&["fail_job", "fail_index", "ignore", "count"]), "What to do")
        .must(),
    key("exit_codes", JOBS, Shape::Table(EXIT_CODES), "Which exit codes it is about").must(),
];

const EXIT_CODES: &[Key] = &[
    key("in", JOBS, Shape::Ints(0, 255), "The code is one of these"),
    key("not_in", JOBS, Shape::Ints(0, 255), "The code is none of these"),
];

const SUCCESS_RULE: &[Key] = &[
    key(
        "indexes",
        JOBS,
        Shape::Word(indexes, "a list of indexes"),
        "The indexes meant, \"0,2-4\"; default: all",
    ),
    key(
        "count",
        JOBS,
        Shape::Int(1, INT32_MAX),
        "How many of them must have succeeded; default: all",
    ),
];

const CRON: &[Key] = &[
    key(
        "schedule",
        CRONJOB,
        Shape::Word(names::schedule, "a cron expression"),
        "Five fields, or @hourly .. @yearly, or @every 90s",
    )
    .must(),
    key(
        "time_zone",
        CRONJOB,
        Shape::Word(names::time_zone, "a time zone"),
        "IANA name; default: the machine's zone",
    ),
    key(
        "concurrency_policy",
        CRONJOB,
        Shape::OneOf(&["allow", "forbid", "replace"]),
        "What to do when a job still runs",
    )
    .or_text("allow"),
    key(
        "starting_deadline",
        CRONJOB,
        Shape::Duration(0),
        "A run later than this is not started any more",
    ),
    key("suspend", CRONJOB, Shape::Bool, "No run is started while set").or_bool(false),
    key("jitter", CRONJOB, Shape::Duration(0), "Each start is delayed by up to this much")
        .or_text("0s"),
    key(
        "clock_change",
        CRONJOB,
        Shape::OneOf(&["once", "kubernetes"]),
        "What a clock change does to a run at a fixed time",
    )
    .or_text("once"),
    key(
        "successful_history_limit",
        CRONJOB,
        Shape::Int(0, INT32_MAX),
        "How many complete jobs are kept",
    )
    .or_int(3),
    key("failed_history_limit", CRONJOB, Shape::Int(0, INT32_MAX), "How many failed jobs are kept")
        .or_int(1),
];

/// Keys of a table within `depends_on`.
pub(in super::super) const DEPENDENCY: &[Key] = &[
    key("unit", ALL, Shape::Text, "The unit's name").must(),
    key(
        "condition",
        ALL,
        Shape::OneOf(&["available", "started", "complete"]),
        "When it counts as met",
    )
    .or_text("available"),
];

/// Keys of a table as `lifecycle.reload`.
pub(in super::super) const RELOAD: &[Key] =
    &[key("signal", ALL, Shape::Word(signal, "a signal"), "The signal to send").must()];

/// Keys of a table as `daemonset.nodes`.
pub(in super::super) const GLOB: &[Key] = &[key(
    "glob",
    DAEMONSET,
    Shape::Word(names::glob, "a pattern"),
    "One node for each path that matches",
)
.must()];

/// Keys of a table as a resource limit.
pub(in super::super) const LIMIT: &[&str] = &["soft", "hard"];
