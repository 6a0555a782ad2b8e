//! The rows of the table tests: how many there are, and where the rules are from.
//!
//! Responsible for finding rows in the text: a row of a table test begins with `by("source",
//! "rule")`, and stands in a file of tests (not in a module of tests within a file). Must not know
//! how many there are to be.

use super::source::Source;
use regex::Regex;
use std::collections::BTreeSet;

/// What a source may begin with: the short name, and what it stands for. Paths are those of
/// kubernetes/kubernetes, except where another repository is named.
pub(crate) const SOURCES: &[(&str, &str)] = &[
    ("apps/defaults.go", "pkg/apis/apps/v1/defaults.go"),
    ("apps/validation.go", "pkg/apis/apps/validation/validation.go"),
    ("backoff_utils.go", "pkg/controller/job/backoff_utils.go"),
    ("batch/defaults.go", "pkg/apis/batch/v1/defaults.go"),
    ("batch/types.go", "kubernetes/api batch/v1/types.go"),
    ("batch/validation.go", "pkg/apis/batch/validation/validation.go"),
    ("controller_history.go", "pkg/controller/history/controller_history.go"),
    ("controller_ref_manager.go", "pkg/controller/controller_ref_manager.go"),
    ("controller_utils.go", "pkg/controller/controller_utils.go"),
    ("cron/constantdelay.go", "robfig/cron v3 constantdelay.go"),
    ("cron/constantdelay_test.go", "robfig/cron v3 constantdelay_test.go"),
    ("cron/parser.go", "robfig/cron v3 parser.go"),
    ("cron/parser_test.go", "robfig/cron v3 parser_test.go"),
    ("cron/spec.go", "robfig/cron v3 spec.go"),
    ("cron/spec_test.go", "robfig/cron v3 spec_test.go"),
    ("cronjob/utils.go", "pkg/controller/cronjob/utils.go"),
    ("cronjob_controllerv2.go", "pkg/controller/cronjob/cronjob_controllerv2.go"),
    ("crontab(5)", "the manual of Vixie cron's tables"),
    ("daemon/update.go", "pkg/controller/daemon/update.go"),
    ("daemon/util.go", "pkg/controller/daemon/util/daemonset_util.go"),
    ("daemon_controller.go", "pkg/controller/daemon/daemon_controller.go"),
    ("deployment/controller.go", "pkg/controller/deployment/deployment_controller.go"),
    ("deployment/progress.go", "pkg/controller/deployment/progress.go"),
    ("deployment/recreate.go", "pkg/controller/deployment/recreate.go"),
    ("deployment/rolling.go", "pkg/controller/deployment/rolling.go"),
    ("deployment/sync.go", "pkg/controller/deployment/sync.go"),
    ("deployment/sync_test.go", "pkg/controller/deployment/sync_test.go"),
    ("deployment/util.go", "pkg/controller/deployment/util/deployment_util.go"),
    ("docs/job", "kubernetes/website concepts/workloads/controllers/job"),
    ("flowcontrol/backoff.go", "kubernetes/client-go util/flowcontrol/backoff.go"),
    ("garbagecollector.go", "pkg/controller/garbagecollector/garbagecollector.go"),
    ("go/time.ParseDuration", "the Go standard library's time/format.go"),
    ("indexed_job_utils.go", "pkg/controller/job/indexed_job_utils.go"),
    ("integer.go", "kubernetes/utils integer/integer.go"),
    ("intstr.go", "kubernetes/apimachinery pkg/util/intstr/intstr.go"),
    ("job_controller.go", "pkg/controller/job/job_controller.go"),
    ("kubectl/create_job.go", "staging/src/k8s.io/kubectl/pkg/cmd/create/create_job.go"),
    (
        "kubectl/objectpauser.go",
        "staging/src/k8s.io/kubectl/pkg/polymorphichelpers/objectpauser.go",
    ),
    (
        "kubectl/objectrestarter.go",
        "staging/src/k8s.io/kubectl/pkg/polymorphichelpers/objectrestarter.go",
    ),
    (
        "kubectl/objectresumer.go",
        "staging/src/k8s.io/kubectl/pkg/polymorphichelpers/objectresumer.go",
    ),
    ("kubectl/rollback.go", "staging/src/k8s.io/kubectl/pkg/polymorphichelpers/rollback.go"),
    (
        "kubectl/rollout_status.go",
        "staging/src/k8s.io/kubectl/pkg/polymorphichelpers/rollout_status.go",
    ),
    ("docs/init-containers", "kubernetes/website concepts/workloads/pods/init-containers"),
    ("docs/lifecycle-hooks", "kubernetes/website concepts/containers/container-lifecycle-hooks"),
    ("kuberuntime_container.go", "pkg/kubelet/kuberuntime/kuberuntime_container.go"),
    ("lifecycle/handlers.go", "pkg/kubelet/lifecycle/handlers.go"),
    ("prober/worker.go", "pkg/kubelet/prober/worker.go"),
    ("prober_manager.go", "pkg/kubelet/prober/prober_manager.go"),
    ("kubelet_pods.go", "pkg/kubelet/kubelet_pods.go"),
    ("kubelet/helpers.go", "pkg/kubelet/container/helpers.go"),
    ("kubernetes#137666", "kubernetes/kubernetes pull request 137666"),
    ("kuberuntime_manager.go", "pkg/kubelet/kuberuntime/kuberuntime_manager.go"),
    ("pod_failure_policy.go", "pkg/controller/job/pod_failure_policy.go"),
    ("podutil.go", "pkg/api/v1/pod/util.go"),
    ("replica_set.go", "pkg/controller/replicaset/replica_set.go"),
    ("replica_set_utils.go", "pkg/controller/replicaset/replica_set_utils.go"),
    ("stateful_pod_control.go", "pkg/controller/statefulset/stateful_pod_control.go"),
    ("stateful_set_control.go", "pkg/controller/statefulset/stateful_set_control.go"),
    ("stateful_set_utils.go", "pkg/controller/statefulset/stateful_set_utils.go"),
    ("success_policy.go", "pkg/controller/job/success_policy.go"),
    (
        "ttlafterfinished_controller.go",
        "pkg/controller/ttlafterfinished/ttlafterfinished_controller.go",
    ),
    ("vixie-cron/entry.c", "Vixie cron 4.1 entry.c"),
    ("k8s-semantics", "a decision written down in the design, with its section"),
    ("sd_notify(3)", "the manual of systemd's notification protocol"),
    ("systemd.service(5)", "the manual of systemd's services"),
    ("wsup", "a decision of wsup's own"),
];

/// What the rows of one file are.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    /// How many.
    pub(crate) count: usize,
    /// What is wrong with some, with their lines.
    pub(crate) wrong: Vec<String>,
}

/// Finds the rows of a file. Only code counts: a row in a comment or a text is none.
pub(crate) fn rows(file: &Source) -> Rows {
    let call = Regex::new(r#"^\bby\(\s*"([^"\\]+)",\s*"([^"\\]+)",?\s*\)"#)
        .unwrap_or_else(|e| panic!("the form of a row: {e}"));
    let raw: Vec<char> = file.raw.chars().collect();
    let mut found = Rows::default();
    let mut known = BTreeSet::new();
    for (line, at) in file.calls("by") {
        let text: String = raw[at..].iter().collect();
        let Some(parts) = call.captures(&text) else {
            found.wrong.push(format!("{}:{line}: a row begins with two literals", file.path));
            continue;
        };
        found.count += 1;
        let (source, says) = (&parts[1], &parts[2]);
        let first = source.split(' ').next().unwrap_or_default();
        if !SOURCES.iter().any(|(name, _)| *name == first) {
            found.wrong.push(format!("{}:{line}: `{first}` is not in SOURCES", file.path));
        }
        if !known.insert((source.to_owned(), says.to_owned())) {
            found.wrong.push(format!("{}:{line}: twice `{source}: {says}`", file.path));
        }
    }
    found
}
