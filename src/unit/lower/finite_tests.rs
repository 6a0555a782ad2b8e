//! Which jobs and cronjobs are valid, and what they mean. Each row begins with the Kubernetes source
//! of its rule (`validation.go` and `defaults.go` are those of `pkg/apis/batch`), or with `wsup`.

use super::super::load::{Content, Loaded, Source, load};
use crate::core::spec::{JobSpec, RestartPolicy, WorkloadSpec};
use crate::core::table::{Rule, by};
use std::path::PathBuf;

fn loaded(name: &str, text: String) -> Loaded {
    load(vec![Source {
        path: PathBuf::from(format!("{name}.toml")),
        layer: 0,
        content: Content::Bytes(text.into_bytes()),
        drop_ins: Vec::new(),
    }])
}

/// A job with these lines in `[job]`. After `|` come lines of `[restart]`.
fn job(lines: &str) -> Loaded {
    let (lines, restart) = lines.split_once('|').unwrap_or((lines, ""));
    let lines = lines.replace("; ", "\n");
    loaded(
        "migrate",
        format!(
            "kind = \"job\"\n[process]\ncommand = [\"run\"]\n[restart]\n{restart}\n[job]\n{lines}\n"
        ),
    )
}

fn errors(loaded: &Loaded) -> Vec<String> {
    loaded.files[0].diagnostics.iter().map(|d| d.message.clone()).collect()
}

/// (source, lines, what is said; empty: it is valid)
#[test]
fn which_jobs_are_valid() {
    let policy = |codes: &str| {
        format!("failure_policy = [{{ action = \"ignore\", exit_codes = {{ {codes} }} }}]")
    };
    let all: Vec<String> = (0..256).map(|n| n.to_string()).collect();
    let (all, most) = (all.join(", "), all[1..].join(", "));
    let rules = |n: usize| {
        let rule = "{ action = \"ignore\", exit_codes = { in = [1] } }, ";
        format!("failure_policy = [{}]", rule.repeat(n))
    };
    const INDEXED: &str = "completion_mode = \"indexed\"; completions = 5; ";
    const MANY: &str = "completion_mode = \"indexed\"; completions = 100001; \
                        backoff_limit_per_index = 1; ";
    let with = |base: &str, rest: &str| format!("{base}{rest}");
    let rows: Vec<(Rule, String, &str)> = vec![
        (by("batch/defaults.go SetDefaults_Job", "nothing need be said"), String::new(), ""),
        (by("batch/validation.go", "parallelism 0 holds"), "parallelism = 0".into(), ""),
        (
            by("batch/validation.go", "parallelism negative"),
            "parallelism = -1".into(),
            "parallelism",
        ),
        (
            by("batch/validation.go", "completions negative"),
            "completions = -1".into(),
            "completions",
        ),
        (
            by("batch/validation.go", "backoffLimit negative"),
            "backoff_limit = -1".into(),
            "backoff_limit",
        ),
        (by("batch/validation.go", "ttl 0"), "ttl_after_finished = \"0s\"".into(), ""),
        (
            by("batch/validation.go", "Indexed needs completions"),
            "completion_mode = \"indexed\"; parallelism = 2".into(),
            "needs `completions`",
        ),
        (
            by("batch/validation.go maxParallelismForIndexedJob", "100000"),
            with(INDEXED, "parallelism = 100000"),
            "",
        ),
        (
            by("batch/validation.go maxParallelismForIndexedJob", "100001"),
            with(INDEXED, "parallelism = 100001"),
            "parallelism",
        ),
        (
            by("batch/validation.go", "backoffLimitPerIndex without Indexed"),
            "backoff_limit_per_index = 1".into(),
            "for indexed jobs only",
        ),
        (
            by("batch/validation.go", "backoffLimitPerIndex with OnFailure"),
            with(INDEXED, "backoff_limit_per_index = 1|policy = \"on_failure\""),
            "needs restart policy \"never\"",
        ),
        (
            by("batch/validation.go", "maxFailedIndexes without backoffLimitPerIndex"),
            with(INDEXED, "max_failed_indexes = 1"),
            "needs `backoff_limit_per_index`",
        ),
        (
            by("batch/validation.go", "maxFailedIndexes = completions"),
            with(INDEXED, "backoff_limit_per_index = 1; max_failed_indexes = 5"),
            "",
        ),
        (
            by("batch/validation.go", "maxFailedIndexes > completions"),
            with(INDEXED, "backoff_limit_per_index = 1; max_failed_indexes = 6"),
            "more than there are indexes",
        ),
        (
            by("batch/validation.go maxFailedIndexesForIndexedJob", "more than 100000"),
            "completion_mode = \"indexed\"; completions = 200000; backoff_limit_per_index = 1; \
             max_failed_indexes = 100001"
                .into(),
            "more than 100000",
        ),
        (
            by("batch/validation.go completionsSoftLimit", "maxFailedIndexes must be there"),
            MANY.into(),
            "`max_failed_indexes` of at most 10000 is needed",
        ),
        (
            by("batch/validation.go maxFailedIndexesLimitForHighCompletions", "10000"),
            with(MANY, "max_failed_indexes = 10000"),
            "",
        ),
        (
            by("batch/validation.go maxFailedIndexesLimitForHighCompletions", "10001"),
            with(MANY, "max_failed_indexes = 10001"),
            "of at most 10000 is needed",
        ),
        (
            by("batch/validation.go parallelismLimitForHighCompletions", "10000"),
            with(MANY, "max_failed_indexes = 1; parallelism = 10000"),
            "",
        ),
        (
            by("batch/validation.go parallelismLimitForHighCompletions", "10001"),
            with(MANY, "max_failed_indexes = 1; parallelism = 10001"),
            "`parallelism` is at most 10000",
        ),
        (
            by("batch/validation.go completionsSoftLimit", "100000 is within"),
            "completion_mode = \"indexed\"; completions = 100000; backoff_limit_per_index = 1"
                .into(),
            "",
        ),
        (
            by("batch/validation.go validatePodTemplateSpec", "Always is for services"),
            "|policy = \"always\"".into(),
            "always",
        ),
        (by("batch/validation.go", "podFailurePolicy"), policy("in = [1, 42]"), ""),
        (
            by("batch/validation.go", "podFailurePolicy with OnFailure"),
            policy("in = [1]") + "|policy = \"on_failure\"",
            "needs restart policy \"never\"",
        ),
        (by("batch/validation.go", "In with 0"), policy("in = [0, 1]"), "0 is no failure"),
        (by("batch/validation.go", "NotIn with 0"), policy("not_in = [0, 1]"), ""),
        (by("batch/validation.go", "no values"), policy("in = []"), "empty"),
        (by("batch/validation.go", "values twice"), policy("in = [1, 1]"), "listed twice"),
        (by("batch/validation.go", "255 values"), policy(&format!("not_in = [{most}]")), ""),
        (
            by("batch/validation.go", "256 values"),
            policy(&format!("not_in = [{all}]")),
            "more than 255",
        ),
        (by("wsup", "a code that no program has"), policy("in = [256]"), "256"),
        (by("wsup", "both operators"), policy("in = [1], not_in = [2]"), "either `in` or `not_in`"),
        (by("batch/validation.go maxPodFailurePolicyRules", "20"), rules(20), ""),
        (
            by("batch/validation.go maxPodFailurePolicyRules", "21"),
            rules(21),
            "21 rules are too many",
        ),
        (
            by("batch/validation.go", "FailIndex without backoffLimitPerIndex"),
            "failure_policy = [{ action = \"fail_index\", exit_codes = { in = [1] } }]".into(),
            "needs `backoff_limit_per_index`",
        ),
        (
            by("batch/validation.go", "successPolicy without Indexed"),
            "success_policy = [{ count = 1 }]".into(),
            "for indexed jobs only",
        ),
        (
            by("batch/validation.go", "successPolicy"),
            with(INDEXED, "success_policy = [{ indexes = \"0,2-4\", count = 2 }]"),
            "",
        ),
        (
            by("batch/validation.go", "succeededIndexes beyond the last"),
            with(INDEXED, "success_policy = [{ indexes = \"3-5\" }]"),
            "there is no index 5",
        ),
        (
            by("batch/validation.go", "succeededIndexes not ascending"),
            with(INDEXED, "success_policy = [{ indexes = \"3,1\" }]"),
            "not a list of indexes",
        ),
        (
            by("batch/validation.go", "succeededCount above the list"),
            with(INDEXED, "success_policy = [{ indexes = \"1-2\", count = 3 }]"),
            "more than the 2 indexes",
        ),
        (
            by("batch/validation.go", "succeededCount above the completions"),
            with(INDEXED, "success_policy = [{ count = 6 }]"),
            "more than the 5 indexes",
        ),
        (
            by("batch/validation.go", "a success rule without a word"),
            with(INDEXED, "success_policy = [{ }]"),
            "says nothing",
        ),
    ];
    for (source, lines, want) in rows {
        let errors = errors(&job(&lines));
        if want.is_empty() {
            assert_eq!(errors, [""; 0], "{source}");
        } else {
            assert!(errors.iter().any(|e| e.contains(want)), "{source}: {errors:?}");
        }
    }
}

/// (source, lines, completions, parallelism, backoff_limit)
#[test]
fn what_a_job_means_when_little_is_said() {
    let rows = [
        (by("batch/defaults.go SetDefaults_Job", "nothing"), "", Some(1), 1, 6),
        (by("batch/defaults.go SetDefaults_Job", "completions"), "completions = 3", Some(3), 1, 6),
        (by("batch/defaults.go SetDefaults_Job", "a work queue"), "parallelism = 3", None, 3, 6),
        (
            by("batch/defaults.go SetDefaults_Job", "parallelism 0 alone"),
            "parallelism = 0",
            None,
            0,
            6,
        ),
        (
            by("batch/defaults.go SetDefaults_Job", "a limit per index"),
            "completion_mode = \"indexed\"; completions = 2; backoff_limit_per_index = 0",
            Some(2),
            1,
            u32::MAX,
        ),
        (
            by("batch/defaults.go SetDefaults_Job", "both limits"),
            "completion_mode = \"indexed\"; completions = 2; backoff_limit_per_index = 0; \
             backoff_limit = 4",
            Some(2),
            1,
            4,
        ),
        (
            by("batch/types.go BackoffLimit", "no limit"),
            "backoff_limit = 2147483647",
            Some(1),
            1,
            u32::MAX,
        ),
    ];
    for (source, lines, completions, parallelism, limit) in rows {
        let loaded = job(lines);
        let unit = &loaded.units[0];
        let WorkloadSpec::Job(spec) = &unit.workload else { panic!() };
        let JobSpec { completions: c, parallelism: p, backoff_limit: b, .. } = spec;
        assert_eq!((*c, *p, *b), (completions, parallelism, limit), "{source}");
        assert_eq!(unit.template.restart.policy, RestartPolicy::Never, "{source}");
    }
}

/// (source, name, lines of `[cron]`, what is said; empty: it is valid)
#[test]
fn which_cronjobs_are_valid() {
    let (long, longer) = ("a".repeat(52), "a".repeat(53));
    const HOURLY: &str = "schedule = \"@hourly\"; ";
    let with = |rest: &str| format!("{HOURLY}{rest}");
    let rows: Vec<(Rule, &str, String, &str)> = vec![
        (by("batch/validation.go ValidateCronJobSpec", "a schedule"), "b", HOURLY.into(), ""),
        (by("batch/validation.go ValidateCronJobSpec", "none"), "b", String::new(), "schedule"),
        (
            by("batch/validation.go validateScheduleFormat", "three fields"),
            "b",
            "schedule = \"* * *\"".into(),
            "5 fields",
        ),
        (
            by("batch/validation.go validateScheduleFormat", "TZ"),
            "b",
            "schedule = \"TZ=UTC 0 0 * * *\"".into(),
            "time zone",
        ),
        (
            by("batch/validation.go ValidateCronJobCreate", "52 characters"),
            &long,
            HOURLY.into(),
            "",
        ),
        (
            by("batch/validation.go ValidateCronJobCreate", "53"),
            &longer,
            HOURLY.into(),
            "at most 52",
        ),
        (
            by("batch/validation.go", "startingDeadlineSeconds 0"),
            "b",
            with("starting_deadline = \"0s\""),
            "",
        ),
        (
            by("batch/validation.go", "startingDeadlineSeconds negative"),
            "b",
            with("starting_deadline = \"-1s\""),
            "starting_deadline",
        ),
        (
            by("batch/validation.go validateConcurrencyPolicy", "an unknown word"),
            "b",
            with("concurrency_policy = \"skip\""),
            "skip",
        ),
        (
            by("batch/validation.go", "successfulJobsHistoryLimit negative"),
            "b",
            with("successful_history_limit = -1"),
            "successful_history_limit",
        ),
        (
            by("batch/validation.go", "failedJobsHistoryLimit 0"),
            "b",
            with("failed_history_limit = 0"),
            "",
        ),
        (
            by("batch/validation.go validateTimeZone", "a known zone"),
            "b",
            with("time_zone = \"Europe/Berlin\""),
            "",
        ),
        (
            by("batch/validation.go validateTimeZone", "empty"),
            "b",
            with("time_zone = \"\""),
            "`time_zone` is empty",
        ),
        (
            by("batch/validation.go validateTimeZone", "Local"),
            "b",
            with("time_zone = \"local\""),
            "Local",
        ),
        (
            by("k8s-semantics 14", "crontab reads it otherwise"),
            "b",
            "schedule = \"0 0 */2 * mon\"".into(),
            "crontab",
        ),
        (by("k8s-semantics 14", "weekday 7"), "b", "schedule = \"0 0 * * 7\"".into(), ""),
        (by("wsup", "it never runs"), "b", "schedule = \"0 0 31 2 *\"".into(), "never runs"),
    ];
    for (source, name, lines, want) in rows {
        let lines = lines.replace("; ", "\n");
        let text = format!("kind = \"cronjob\"\n[process]\ncommand = [\"run\"]\n[cron]\n{lines}\n");
        let said = errors(&loaded(name, text));
        if want.is_empty() {
            assert_eq!(said, [""; 0], "{source}");
        } else {
            assert!(said.iter().any(|e| e.contains(want)), "{source}: {said:?}");
        }
    }
}
