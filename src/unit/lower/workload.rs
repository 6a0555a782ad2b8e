//! What is particular to each kind, with Kubernetes' rules between the fields
//! (`pkg/apis/apps/validation/validation.go`, `pkg/apis/batch/validation/validation.go`).

use super::super::complaint::Complaint;
use super::super::report::Report;
use super::super::tree::Node;
use super::super::{keys, names};
use super::view::View;
use crate::core::id::Kind;
use crate::core::schedule::Schedule;
use crate::core::spec::{
    Amount, ClockChange, ConcurrencyPolicy, CronJobSpec, DaemonSetSpec, DaemonStrategy,
    DeploymentSpec, DeploymentStrategy, FailureAction, FailureRule, JobSpec, ManagementPolicy,
    Nodes, Retention, StatefulSetSpec, StatefulStrategy, SuccessRule, WorkloadSpec,
};
use std::collections::BTreeSet;

/// Most rules of a job's failure or success policy (Kubernetes' `batch/validation` has 20 for both).
const RULES_MAX: usize = 20;
/// Beyond so many completions a job with limits per index must bound its failed indexes (Kubernetes'
/// `completionsSoftLimit` in `batch/validation`).
const COMPLETIONS_SOFT_LIMIT: u32 = 100_000;

/// The most indexes that may be allowed to fail (Kubernetes' `maxFailedIndexesForIndexedJob`).
const FAILED_INDEXES_MAX: u32 = 100_000;
/// Beyond [`COMPLETIONS_SOFT_LIMIT`] both the failed indexes and the parallelism are bounded by this
/// (Kubernetes' `maxFailedIndexesLimitForHighCompletions`, `parallelismLimitForHighCompletions`).
const HIGH_COMPLETIONS_LIMIT: u32 = 10_000;
/// The most exit codes of a rule (Kubernetes' `maxPodFailurePolicyOnExitCodesValues`).
const EXIT_CODES_MAX: usize = 255;

/// The kind's own part.
pub(super) fn workload(view: &View<'_>, report: &mut Report) -> WorkloadSpec {
    match view.kind() {
        Kind::Deployment => WorkloadSpec::Deployment(deployment(view, report)),
        Kind::StatefulSet => WorkloadSpec::StatefulSet(statefulset(view, report)),
        Kind::DaemonSet => WorkloadSpec::DaemonSet(daemonset(view, report)),
        Kind::Job => WorkloadSpec::Job(job(view, report)),
        Kind::CronJob => WorkloadSpec::CronJob(cronjob(view, report)),
    }
}

fn amount(rollout: &View<'_>, name: &str) -> Amount {
    rollout.amount(name).unwrap_or(Amount::Count(1))
}

/// Keys that mean nothing with this strategy are errors, as in Kubernetes.
fn not_with(rollout: &View<'_>, strategy: &str, names: &[&str], report: &mut Report) {
    for name in names.iter().filter(|name| rollout.has(name)) {
        let complaint =
            Complaint::new(format!("`{name}` means nothing with strategy \"{strategy}\""))
                .help("remove it, or write strategy = \"rolling_update\"");
        report.error(&rollout.place(name), &rollout.path(name), complaint);
    }
}

fn deployment(view: &View<'_>, report: &mut Report) -> DeploymentSpec {
    let rollout = view.sub("rollout");
    let strategy = if rollout.text("strategy").as_deref() == Some("recreate") {
        not_with(&rollout, "recreate", &["max_surge", "max_unavailable"], report);
        DeploymentStrategy::Recreate
    } else {
        let max_surge = amount(&rollout, "max_surge");
        let max_unavailable = amount(&rollout, "max_unavailable");
        if max_surge.is_zero() && max_unavailable.is_zero() {
            let complaint = Complaint::new(
                "`max_surge` and `max_unavailable` are both 0, so no roll-out could take a step",
            )
            .help("raise one of them");
            report.error(&rollout.place("max_unavailable"), "rollout.max_unavailable", complaint);
        }
        DeploymentStrategy::RollingUpdate { max_surge, max_unavailable }
    };
    let min_ready = view.millis("min_ready").unwrap_or_default();
    let progress_deadline = rollout.millis("progress_deadline");
    if progress_deadline.is_some_and(|deadline| deadline <= min_ready) {
        let (at, key) = if rollout.has("progress_deadline") {
            (rollout.place("progress_deadline"), "rollout.progress_deadline")
        } else {
            (view.place("min_ready"), "min_ready")
        };
        let complaint = Complaint::new(
            "`progress_deadline` must be longer than `min_ready`, or every roll-out stalls",
        )
        .help("raise `progress_deadline` in [rollout], or lower `min_ready`");
        report.error(&at, key, complaint);
    }
    DeploymentSpec {
        replicas: view.int("replicas").unwrap_or_default(),
        min_ready,
        revision_history_limit: view.count("revision_history_limit").unwrap_or_default(),
        strategy,
        progress_deadline,
        paused: rollout.flag("paused"),
    }
}

fn statefulset(view: &View<'_>, report: &mut Report) -> StatefulSetSpec {
    let rollout = view.sub("rollout");
    let own = view.sub("statefulset");
    let retention = own.sub("retention");
    let retain = |name: &str| match retention.text(name).as_deref() {
        Some("delete") => Retention::Delete,
        Some(_) | None => Retention::Retain,
    };
    let strategy = if rollout.text("strategy").as_deref() == Some("on_delete") {
        not_with(&rollout, "on_delete", &["partition", "max_unavailable"], report);
        StatefulStrategy::OnDelete
    } else {
        let max_unavailable = amount(&rollout, "max_unavailable");
        if max_unavailable.is_zero() {
            let complaint =
                Complaint::new("`max_unavailable` is 0, so no roll-out could take a step")
                    .help("write 1 or more");
            report.error(&rollout.place("max_unavailable"), "rollout.max_unavailable", complaint);
        }
        StatefulStrategy::RollingUpdate {
            partition: rollout.int("partition").unwrap_or_default(),
            max_unavailable,
        }
    };
    StatefulSetSpec {
        replicas: view.int("replicas").unwrap_or_default(),
        min_ready: view.millis("min_ready").unwrap_or_default(),
        revision_history_limit: view.count("revision_history_limit").unwrap_or_default(),
        management_policy: match own.text("management_policy").as_deref() {
            Some("parallel") => ManagementPolicy::Parallel,
            Some(_) | None => ManagementPolicy::OrderedReady,
        },
        strategy,
        start_ordinal: own.int("start_ordinal").unwrap_or_default(),
        data_dir: own.text("data_dir"),
        when_deleted: retain("when_deleted"),
        when_scaled: retain("when_scaled"),
        paused: rollout.flag("paused"),
    }
}

fn daemonset(view: &View<'_>, report: &mut Report) -> DaemonSetSpec {
    let rollout = view.sub("rollout");
    let own = view.sub("daemonset");
    let glob = own.node("nodes").and_then(Node::as_table).and_then(|table| table.get("glob"));
    let nodes = match (glob.and_then(Node::as_text), own.text("nodes").as_deref()) {
        (Some(glob), _) => Nodes::Glob(glob.to_owned()),
        (None, Some("cpus")) => Nodes::Cpus,
        (None, Some("numa")) => Nodes::Numa,
        (None, Some(_) | None) => Nodes::Machine,
    };
    let strategy = if rollout.text("strategy").as_deref() == Some("on_delete") {
        not_with(&rollout, "on_delete", &["max_surge", "max_unavailable"], report);
        DaemonStrategy::OnDelete
    } else {
        let max_surge = amount(&rollout, "max_surge");
        let max_unavailable = amount(&rollout, "max_unavailable");
        one_of_two(&rollout, max_surge, max_unavailable, report);
        DaemonStrategy::RollingUpdate { max_surge, max_unavailable }
    };
    DaemonSetSpec {
        nodes,
        min_ready: view.millis("min_ready").unwrap_or_default(),
        revision_history_limit: view.count("revision_history_limit").unwrap_or_default(),
        strategy,
        paused: rollout.flag("paused"),
    }
}

/// A daemonset either takes an instance away first or adds one first
/// (`ValidateRollingUpdateDaemonSet`).
fn one_of_two(rollout: &View<'_>, surge: Amount, unavailable: Amount, report: &mut Report) {
    let complaint = match (surge.is_zero(), unavailable.is_zero()) {
        (true, true) => Complaint::new(
            "`max_surge` and `max_unavailable` are both 0, so no roll-out could take a step",
        )
        .help("raise one of them"),
        (false, false) => {
            Complaint::new("a daemonset has either `max_surge` or `max_unavailable`, not both")
                .help("write max_unavailable = 0 beside `max_surge` (its default is 1)")
        }
        (true, false) | (false, true) => return,
    };
    let key = if rollout.has("max_surge") { "max_surge" } else { "max_unavailable" };
    report.error(&rollout.place(key), &rollout.path(key), complaint);
}

fn cronjob(view: &View<'_>, report: &mut Report) -> CronJobSpec {
    let cron = view.sub("cron");
    let schedule = cron.text("schedule").unwrap_or_default();
    let warnings = Schedule::parse(&schedule).map(|parsed| parsed.warnings().to_vec());
    for warning in warnings.unwrap_or_default() {
        let complaint = Complaint::new(format!("`schedule`: {warning}"))
            .help("`wsup cron next` shows when it runs");
        report.warning(&cron.place("schedule"), "cron.schedule", complaint);
    }
    CronJobSpec {
        schedule,
        time_zone: cron.text("time_zone"),
        concurrency_policy: match cron.text("concurrency_policy").as_deref() {
            Some("forbid") => ConcurrencyPolicy::Forbid,
            Some("replace") => ConcurrencyPolicy::Replace,
            Some(_) | None => ConcurrencyPolicy::Allow,
        },
        starting_deadline: cron.millis("starting_deadline"),
        suspend: cron.flag("suspend"),
        jitter: cron.millis("jitter").unwrap_or_default(),
        clock_change: match cron.text("clock_change").as_deref() {
            Some("kubernetes") => ClockChange::Kubernetes,
            Some(_) | None => ClockChange::Once,
        },
        successful_history_limit: cron.count("successful_history_limit").unwrap_or_default(),
        failed_history_limit: cron.count("failed_history_limit").unwrap_or_default(),
        job: job(view, report),
    }
}

/// What decides which of a job's other keys make sense.
struct JobShape {
    completions: Option<u32>,
    indexed: bool,
    never: bool,
    per_index: bool,
}

fn job(view: &View<'_>, report: &mut Report) -> JobSpec {
    let own = view.sub("job");
    let completions: Option<u32> = own.int("completions");
    let indexed = own.text("completion_mode").as_deref() == Some("indexed");
    // Both missing is one run; parallelism alone is a work queue (`SetDefaults_Job`).
    let completions = match (completions, own.has("parallelism")) {
        (Some(count), _) => Some(count),
        (None, false) if !own.has("completions") => Some(1),
        (None, false | true) => None,
    };
    let shape = JobShape {
        completions,
        indexed,
        never: view.sub("restart").text("policy").as_deref() == Some("never"),
        per_index: own.has("backoff_limit_per_index"),
    };
    let mut refuse = |key: &str, message: &str, help: &str| {
        let complaint = Complaint::new(message).help(help);
        report.error(&own.place(key), &own.path(key), complaint);
    };
    if indexed && own.has("parallelism") && !own.has("completions") {
        refuse(
            "completion_mode",
            "an indexed job needs `completions`: how many indexes there are",
            "add `completions = 3` to [job]",
        );
    }
    index_rules(&own, &shape, &mut refuse);
    let failure_policy = failure_policy(&own, &shape, report);
    let success_policy = success_policy(&own, &shape, report);
    let unset = if shape.per_index { u32::MAX } else { 6 };
    JobSpec {
        completions,
        parallelism: own.int("parallelism").unwrap_or(1),
        indexed,
        backoff_limit: own.count("backoff_limit").unwrap_or(unset),
        backoff_limit_per_index: own.count("backoff_limit_per_index"),
        max_failed_indexes: own.int("max_failed_indexes"),
        active_deadline: own.millis("active_deadline"),
        ttl_after_finished: own.millis("ttl_after_finished"),
        suspend: own.flag("suspend"),
        failure_policy,
        success_policy,
    }
}

fn index_rules(own: &View<'_>, shape: &JobShape, refuse: &mut impl FnMut(&str, &str, &str)) {
    if shape.per_index && !shape.indexed {
        refuse(
            "backoff_limit_per_index",
            "`backoff_limit_per_index` is for indexed jobs only",
            "add `completion_mode = \"indexed\"`, or use `backoff_limit`",
        );
    }
    if shape.per_index && !shape.never {
        refuse(
            "backoff_limit_per_index",
            "`backoff_limit_per_index` needs restart policy \"never\"",
            "write policy = \"never\" in [restart]",
        );
    }
    let max_failed: Option<u32> = own.int("max_failed_indexes");
    if own.has("max_failed_indexes") && !shape.per_index {
        refuse(
            "max_failed_indexes",
            "`max_failed_indexes` needs `backoff_limit_per_index`",
            "add `backoff_limit_per_index = 1`, or remove it",
        );
    }
    let Some(completions) = shape.completions else { return };
    if max_failed.is_some_and(|max| max > completions) {
        refuse(
            "max_failed_indexes",
            "`max_failed_indexes` is more than there are indexes",
            "write at most `completions`",
        );
    } else if max_failed.is_some_and(|max| max > FAILED_INDEXES_MAX) {
        refuse(
            "max_failed_indexes",
            "`max_failed_indexes` is more than 100000",
            "write at most 100000",
        );
    }
    if !shape.per_index || completions <= COMPLETIONS_SOFT_LIMIT {
        return;
    }
    if max_failed.is_none_or(|max| max > HIGH_COMPLETIONS_LIMIT) {
        refuse(
            "completions",
            "above 100000 completions with a limit per index, `max_failed_indexes` of at most 10000 is needed",
            "add `max_failed_indexes`",
        );
    }
    if own.int::<u32>("parallelism").is_some_and(|parallelism| parallelism > HIGH_COMPLETIONS_LIMIT)
    {
        refuse(
            "parallelism",
            "above 100000 completions with a limit per index, `parallelism` is at most 10000",
            "lower `parallelism`",
        );
    }
}

fn failure_policy(own: &View<'_>, shape: &JobShape, report: &mut Report) -> Vec<FailureRule> {
    let rules = own.subs("failure_policy");
    if let (Some(first), false) = (rules.first(), shape.never) {
        let complaint = Complaint::new("a failure policy needs restart policy \"never\"")
            .help("write policy = \"never\" in [restart]");
        report.error(first.at(), &own.path("failure_policy"), complaint);
    }
    too_many(own, "failure_policy", rules.len(), report);
    rules.iter().filter_map(|rule| failure_rule(rule, shape, report)).collect()
}

fn too_many(own: &View<'_>, name: &str, count: usize, report: &mut Report) {
    if count > RULES_MAX {
        let complaint = Complaint::new(format!("{count} rules are too many"))
            .help(format!("write at most {RULES_MAX}"));
        report.error(&own.place(name), &own.path(name), complaint);
    }
}

fn failure_rule(rule: &View<'_>, shape: &JobShape, report: &mut Report) -> Option<FailureRule> {
    let action = match rule.text("action")?.as_str() {
        "fail_job" => FailureAction::FailJob,
        "fail_index" => FailureAction::FailIndex,
        "ignore" => FailureAction::Ignore,
        _ => FailureAction::Count,
    };
    if action == FailureAction::FailIndex && !shape.per_index {
        let complaint = Complaint::new("\"fail_index\" needs `backoff_limit_per_index`")
            .help("add it to [job], or use \"fail_job\"");
        report.error(&rule.place("action"), &rule.path("action"), complaint);
    }
    let codes = rule.sub("exit_codes");
    if !codes.exists() {
        return None;
    }
    let key = rule.path("exit_codes");
    let name = match (codes.has("in"), codes.has("not_in")) {
        (true, false) => "in",
        (false, true) => "not_in",
        (true, true) | (false, false) => {
            let complaint = Complaint::new("`exit_codes` has either `in` or `not_in`")
                .help("write for example { in = [42] }");
            report.error(codes.at(), &key, complaint);
            return None;
        }
    };
    let listed: Vec<i32> = codes.ints(name)?;
    let unique: BTreeSet<i32> = listed.iter().copied().collect();
    let wrong = if listed.is_empty() {
        Some(("the list of exit codes is empty", "write for example [42]"))
    } else if unique.len() != listed.len() {
        Some(("an exit code is listed twice", "write each code once"))
    } else if listed.len() > EXIT_CODES_MAX {
        Some(("more than 255 exit codes are listed", "use the other of `in` and `not_in`"))
    } else if name == "in" && unique.contains(&0) {
        Some(("0 is no failure, so no rule can match it", "remove the 0"))
    } else {
        None
    };
    if let Some((message, help)) = wrong {
        let complaint = Complaint::new(message).help(help);
        report.error(&codes.place(name), &codes.path(name), complaint);
    }
    Some(FailureRule { action, exit_codes: unique.into_iter().collect(), negate: name == "not_in" })
}

fn success_policy(own: &View<'_>, shape: &JobShape, report: &mut Report) -> Vec<SuccessRule> {
    let rules = own.subs("success_policy");
    if let (Some(first), false) = (rules.first(), shape.indexed) {
        let complaint = Complaint::new("a success policy is for indexed jobs only")
            .help("add `completion_mode = \"indexed\"` to [job]");
        report.error(first.at(), &own.path("success_policy"), complaint);
    }
    too_many(own, "success_policy", rules.len(), report);
    rules.iter().map(|rule| success_rule(rule, shape, report)).collect()
}

fn success_rule(rule: &View<'_>, shape: &JobShape, report: &mut Report) -> SuccessRule {
    let indexes = rule.text("indexes").and_then(|text| names::index_list(&text).ok());
    let count: Option<u32> = rule.int("count");
    if !rule.has("indexes") && !rule.has("count") {
        let complaint = Complaint::new("the rule says nothing").help("add `indexes` or `count`");
        report.error(rule.at(), &rule.path("count"), complaint);
    }
    let last = indexes.as_ref().and_then(|ranges| ranges.last()).map(|(_, last)| *last);
    if let (Some(last), Some(completions)) = (last, shape.completions)
        && last >= completions
    {
        let complaint =
            Complaint::new(format!("there is no index {last}: there are {completions}, from 0"))
                .help("write indexes below `completions`");
        report.error(&rule.place("indexes"), &rule.path("indexes"), complaint);
    }
    let listed = match (&indexes, shape.completions) {
        (Some(ranges), _) => ranges.iter().map(|(a, b)| u64::from(b - a) + 1).sum::<u64>(),
        (None, Some(completions)) => u64::from(completions),
        (None, None) => u64::from(u32::MAX),
    };
    if count.is_some_and(|count| u64::from(count) > listed) {
        let complaint =
            Complaint::new(format!("`count` is more than the {listed} indexes there are"))
                .help(format!("write at most {listed}"));
        report.error(&rule.place("count"), &rule.path("count"), complaint);
    }
    SuccessRule { indexes, count }
}

// The bound of counts is the table's; it must fit the spec's numbers.
const _: () = assert!(keys::INT32_MAX <= u32::MAX as i64);
