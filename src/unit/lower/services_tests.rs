//! Tables of the fields of deployments, statefulsets and daemonsets: defaults, and what is refused.

use crate::core::table::{Rule, by};
use crate::unit::{Content, Source, load};
use serde_json::{Value, json};

/// Reads a unit of that kind. The workload's values, or the complaints, one a line.
fn read(kind: &str, text: &str) -> Result<Value, String> {
    // Tables end the keys of the top, so they come last.
    let text = format!("kind = \"{kind}\"\n{text}\n[process]\ncommand = [\"./run\"]\n");
    let source = Source {
        path: "units/x.toml".into(),
        layer: 0,
        content: Content::Bytes(text.into_bytes()),
        drop_ins: Vec::new(),
    };
    let loaded = load(vec![source]);
    if let Some(unit) = loaded.units.first() {
        let value = serde_json::to_value(unit).unwrap();
        let mut both = value["workload"][kind].clone();
        both["restart"] = value["template"]["restart"]["policy"].clone();
        return Ok(both);
    }
    let said: Vec<String> =
        loaded.files.iter().flat_map(|f| &f.diagnostics).map(|d| d.message.clone()).collect();
    Err(said.join("\n"))
}

/// Rule, kind, text, where in the unit's meaning, what stands there.
type Meaning<'a> = (Rule, &'a str, &'a str, &'a str, Value);

fn check(rows: &[Meaning<'_>]) {
    for (rule, kind, text, at, expected) in rows {
        let read = read(kind, text).unwrap_or_else(|said| panic!("{rule}: {said}"));
        assert_eq!(read.pointer(at), Some(expected), "{rule}: {read}");
    }
}

const ROLLING: &str = "/strategy/rolling_update";

#[test]
fn what_is_not_written() {
    let at = |field: &str| format!("{ROLLING}/{field}");
    let (surge, unavailable, partition) = (at("max_surge"), at("max_unavailable"), at("partition"));
    #[rustfmt::skip]
    check(&[
        (by("apps/defaults.go SetDefaults_Deployment", "replicas"), "deployment", "", "/replicas", json!(1)),
        (by("apps/defaults.go SetDefaults_Deployment", "max_surge"), "deployment", "", &surge, json!({ "percent": 25 })),
        (by("apps/defaults.go SetDefaults_Deployment", "max_unavailable"), "deployment", "", &unavailable, json!({ "percent": 25 })),
        (by("apps/defaults.go SetDefaults_Deployment", "one of both written, the other stays"), "deployment", "rollout.max_surge = 2", &unavailable, json!({ "percent": 25 })),
        (by("apps/defaults.go SetDefaults_Deployment", "min_ready"), "deployment", "", "/min_ready", json!(0)),
        (by("apps/defaults.go SetDefaults_Deployment", "revision_history_limit"), "deployment", "", "/revision_history_limit", json!(10)),
        (by("apps/defaults.go SetDefaults_Deployment", "progress_deadline"), "deployment", "", "/progress_deadline", json!(600_000)),
        (by("apps/defaults.go SetDefaults_Deployment", "paused"), "deployment", "", "/paused", json!(false)),
        (by("apps/validation.go ValidatePodTemplateSpecForReplicaSet", "restart policy"), "deployment", "", "/restart", json!("always")),
        (by("apps/defaults.go SetDefaults_StatefulSet", "replicas"), "statefulset", "", "/replicas", json!(1)),
        (by("apps/defaults.go SetDefaults_StatefulSet", "management_policy"), "statefulset", "", "/management_policy", json!("ordered_ready")),
        (by("apps/defaults.go SetDefaults_StatefulSet", "partition"), "statefulset", "", &partition, json!(0)),
        (by("apps/defaults.go SetDefaults_StatefulSet", "max_unavailable"), "statefulset", "", &unavailable, json!({ "count": 1 })),
        (by("apps/defaults.go SetDefaults_StatefulSet", "start_ordinal"), "statefulset", "", "/start_ordinal", json!(0)),
        (by("apps/defaults.go SetDefaults_StatefulSet", "revision_history_limit"), "statefulset", "", "/revision_history_limit", json!(10)),
        (by("apps/defaults.go SetDefaults_StatefulSet", "retention when deleted"), "statefulset", "", "/when_deleted", json!("retain")),
        (by("apps/defaults.go SetDefaults_StatefulSet", "retention when scaled"), "statefulset", "", "/when_scaled", json!("retain")),
        (by("apps/defaults.go SetDefaults_StatefulSet", "min_ready"), "statefulset", "", "/min_ready", json!(0)),
        (by("apps/defaults.go SetDefaults_DaemonSet", "max_unavailable"), "daemonset", "", &unavailable, json!({ "count": 1 })),
        (by("apps/defaults.go SetDefaults_DaemonSet", "max_surge"), "daemonset", "", &surge, json!({ "count": 0 })),
        (by("apps/defaults.go SetDefaults_DaemonSet", "revision_history_limit"), "daemonset", "", "/revision_history_limit", json!(10)),
        (by("apps/defaults.go SetDefaults_DaemonSet", "min_ready"), "daemonset", "", "/min_ready", json!(0)),
        (by("wsup", "a daemonset's nodes: the machine"), "daemonset", "", "/nodes", json!("machine")),
    ]);
}

#[test]
fn what_is_allowed() {
    let at = |field: &str| format!("{ROLLING}/{field}");
    let (surge, unavailable, partition) = (at("max_surge"), at("max_unavailable"), at("partition"));
    #[rustfmt::skip]
    check(&[
        (by("apps/validation.go ValidateDeploymentSpec", "no replicas"), "deployment", "replicas = 0", "/replicas", json!(0)),
        (by("apps/validation.go ValidateRollingUpdateDeployment", "a surge above 100 %"), "deployment", "rollout.max_surge = \"250%\"", &surge, json!({ "percent": 250 })),
        (by("apps/validation.go ValidateRollingUpdateDeployment", "more unavailable than there are, as a number"), "deployment", "rollout.max_unavailable = 9", &unavailable, json!({ "count": 9 })),
        (by("apps/validation.go ValidateRollingUpdateDeployment", "all unavailable"), "deployment", "rollout.max_unavailable = \"100%\"", &unavailable, json!({ "percent": 100 })),
        (by("apps/validation.go ValidateRollingUpdateDeployment", "nothing unavailable"), "deployment", "rollout.max_unavailable = \"0%\"", &unavailable, json!({ "percent": 0 })),
        (by("apps/validation.go ValidateDeploymentStrategy", "Recreate alone"), "deployment", "rollout.strategy = \"recreate\"", "/strategy", json!("recreate")),
        (by("deployment/util.go HasProgressDeadline", "never"), "deployment", "rollout.progress_deadline = \"never\"", "/progress_deadline", Value::Null),
        (by("apps/validation.go ValidateDeploymentSpec", "a deadline just above min_ready"), "deployment", "min_ready = \"10s\"\nrollout.progress_deadline = \"10001ms\"", "/progress_deadline", json!(10_001)),
        (by("apps/validation.go ValidateDeploymentSpec", "no history"), "deployment", "revision_history_limit = 0", "/revision_history_limit", json!(0)),
        (by("deployment/util.go HasRevisionHistoryLimit", "all history"), "deployment", "revision_history_limit = 2147483647", "/revision_history_limit", json!(u32::MAX)),
        (by("apps/validation.go ValidateDeploymentSpec", "paused"), "deployment", "rollout.paused = true", "/paused", json!(true)),
        (by("apps/validation.go ValidateStatefulSetSpec", "a partition beyond replicas"), "statefulset", "replicas = 2\nrollout.partition = 9", &partition, json!(9)),
        (by("apps/validation.go ValidateStatefulSetSpec", "a start"), "statefulset", "statefulset.start_ordinal = 7", "/start_ordinal", json!(7)),
        (by("apps/validation.go ValidateStatefulSetSpec", "parallel"), "statefulset", "statefulset.management_policy = \"parallel\"", "/management_policy", json!("parallel")),
        (by("apps/validation.go ValidatePersistentVolumeClaimRetentionPolicyType", "delete when deleted"), "statefulset", "statefulset.retention.when_deleted = \"delete\"", "/when_deleted", json!("delete")),
        (by("apps/validation.go ValidatePersistentVolumeClaimRetentionPolicyType", "the other stays"), "statefulset", "statefulset.retention.when_deleted = \"delete\"", "/when_scaled", json!("retain")),
        (by("apps/validation.go ValidateStatefulSetSpec", "on_delete"), "statefulset", "rollout.strategy = \"on_delete\"", "/strategy", json!("on_delete")),
        (by("apps/validation.go validateRollingUpdateStatefulSet", "all unavailable"), "statefulset", "rollout.max_unavailable = \"100%\"", &unavailable, json!({ "percent": 100 })),
        (by("apps/validation.go ValidateRollingUpdateDaemonSet", "a surge, with nothing unavailable"), "daemonset", "rollout.max_surge = \"30%\"\nrollout.max_unavailable = 0", &surge, json!({ "percent": 30 })),
        (by("apps/validation.go ValidateRollingUpdateDaemonSet", "all unavailable"), "daemonset", "rollout.max_unavailable = \"100%\"", &unavailable, json!({ "percent": 100 })),
        (by("apps/validation.go ValidateDaemonSetUpdateStrategy", "on_delete"), "daemonset", "rollout.strategy = \"on_delete\"", "/strategy", json!("on_delete")),
    ]);
}

#[test]
fn what_is_refused() {
    // (rule, kind, text, part of what is said)
    #[rustfmt::skip]
    let rows: &[(Rule, &str, &str, &str)] = &[
        (by("apps/validation.go ValidateDeploymentSpec", "fewer than none"), "deployment", "replicas = -1", "`replicas` is -1"),
        (by("wsup", "more than a machine bears"), "deployment", "replicas = 100001", "`replicas` is 100001"),
        (by("apps/validation.go ValidateRollingUpdateDeployment", "neither surge nor unavailable"), "deployment", "rollout.max_surge = 0\nrollout.max_unavailable = 0", "are both 0"),
        (by("apps/validation.go ValidateRollingUpdateDeployment", "neither of both, as percentages"), "deployment", "rollout.max_surge = \"0%\"\nrollout.max_unavailable = \"0%\"", "are both 0"),
        (by("apps/validation.go ValidateRollingUpdateDeployment", "more than all unavailable"), "deployment", "rollout.max_unavailable = \"101%\"", "is more than 100%"),
        (by("apps/validation.go ValidatePositiveIntOrPercent", "a negative surge"), "deployment", "rollout.max_surge = -1", "-1 is negative"),
        (by("apps/validation.go ValidatePositiveIntOrPercent", "a number in quotes"), "deployment", "rollout.max_surge = \"5\"", "neither a number nor a percentage"),
        (by("apps/validation.go ValidatePositiveIntOrPercent", "half a per cent"), "deployment", "rollout.max_surge = \"1.5%\"", "is not a whole percentage"),
        (by("apps/validation.go ValidatePositiveIntOrPercent", "a negative percentage"), "deployment", "rollout.max_surge = \"-5%\"", "is not a whole percentage"),
        (by("apps/validation.go ValidatePositiveIntOrPercent", "a sign alone"), "deployment", "rollout.max_surge = \"%\"", "is not a whole percentage"),
        (by("apps/validation.go ValidatePositiveIntOrPercent", "half an instance"), "deployment", "rollout.max_surge = 1.5", "a count or a percentage is wanted"),
        (by("apps/validation.go ValidateDeploymentStrategy", "Recreate with a surge"), "deployment", "rollout.strategy = \"recreate\"\nrollout.max_surge = 1", "`max_surge` means nothing with strategy"),
        (by("apps/validation.go ValidateDeploymentStrategy", "Recreate with unavailable ones"), "deployment", "rollout.strategy = \"recreate\"\nrollout.max_unavailable = 1", "`max_unavailable` means nothing with strategy"),
        (by("apps/validation.go ValidateDeploymentStrategy", "another kind's strategy"), "deployment", "rollout.strategy = \"on_delete\"", "`strategy`"),
        (by("apps/validation.go ValidateDeploymentSpec", "a deadline equal to min_ready"), "deployment", "min_ready = \"10s\"\nrollout.progress_deadline = \"10s\"", "must be longer than `min_ready`"),
        (by("apps/validation.go ValidateDeploymentSpec", "the default deadline below min_ready"), "deployment", "min_ready = \"10m\"", "must be longer than `min_ready`"),
        (by("apps/validation.go ValidateDeploymentSpec", "a negative min_ready"), "deployment", "min_ready = \"-1s\"", "`min_ready`"),
        (by("apps/validation.go ValidateDeploymentSpec", "a negative history"), "deployment", "revision_history_limit = -1", "`revision_history_limit` is -1"),
        (by("apps/validation.go ValidatePodTemplateSpecForReplicaSet", "a deployment that is not restarted"), "deployment", "restart.policy = \"never\"", "never"),
        (by("apps/validation.go ValidatePodTemplateSpecForReplicaSet", "a deployment restarted on failure only"), "deployment", "restart.policy = \"on_failure\"", "on_failure"),
        (by("apps/validation.go ValidateStatefulSetSpec", "a negative partition"), "statefulset", "rollout.partition = -1", "`partition` is -1"),
        (by("apps/validation.go ValidateStatefulSetSpec", "a partition with on_delete"), "statefulset", "rollout.strategy = \"on_delete\"\nrollout.partition = 1", "`partition` means nothing with strategy"),
        (by("apps/validation.go ValidateStatefulSetSpec", "unavailable ones with on_delete"), "statefulset", "rollout.strategy = \"on_delete\"\nrollout.max_unavailable = 1", "`max_unavailable` means nothing with strategy"),
        (by("apps/validation.go validateRollingUpdateStatefulSet", "nothing unavailable"), "statefulset", "rollout.max_unavailable = 0", "`max_unavailable` is 0"),
        (by("apps/validation.go validateRollingUpdateStatefulSet", "nothing unavailable, as a percentage"), "statefulset", "rollout.max_unavailable = \"0%\"", "`max_unavailable` is 0"),
        (by("apps/validation.go validateRollingUpdateStatefulSet", "more than all unavailable"), "statefulset", "rollout.max_unavailable = \"101%\"", "is more than 100%"),
        (by("apps/validation.go ValidateStatefulSetSpec", "a negative start"), "statefulset", "statefulset.start_ordinal = -1", "`start_ordinal` is -1"),
        (by("apps/validation.go ValidateStatefulSetSpec", "an unknown policy"), "statefulset", "statefulset.management_policy = \"ordered\"", "`management_policy`"),
        (by("apps/validation.go ValidatePersistentVolumeClaimRetentionPolicyType", "an unknown retention"), "statefulset", "statefulset.retention.when_scaled = \"keep\"", "`when_scaled`"),
        (by("apps/validation.go ValidateStatefulSetSpec", "a statefulset that is not restarted"), "statefulset", "restart.policy = \"never\"", "never"),
        (by("wsup", "a statefulset has no surge: one process a name"), "statefulset", "rollout.max_surge = 1", "max_surge"),
        (by("wsup", "a statefulset has no deadline"), "statefulset", "rollout.progress_deadline = \"1m\"", "progress_deadline"),
        (by("apps/validation.go ValidateRollingUpdateDaemonSet", "a surge beside the default of unavailable"), "daemonset", "rollout.max_surge = 1", "not both"),
        (by("apps/validation.go ValidateRollingUpdateDaemonSet", "both"), "daemonset", "rollout.max_surge = 1\nrollout.max_unavailable = 2", "not both"),
        (by("apps/validation.go ValidateRollingUpdateDaemonSet", "neither"), "daemonset", "rollout.max_unavailable = 0", "are both 0"),
        (by("apps/validation.go ValidateRollingUpdateDaemonSet", "a surge beyond all nodes"), "daemonset", "rollout.max_surge = \"101%\"\nrollout.max_unavailable = 0", "is more than 100%"),
        (by("apps/validation.go ValidateRollingUpdateDaemonSet", "more than all nodes unavailable"), "daemonset", "rollout.max_unavailable = \"200%\"", "is more than 100%"),
        (by("apps/validation.go ValidateDaemonSetUpdateStrategy", "a surge with on_delete"), "daemonset", "rollout.strategy = \"on_delete\"\nrollout.max_surge = 1", "`max_surge` means nothing with strategy"),
        (by("apps/validation.go ValidateDaemonSetUpdateStrategy", "a deployment's strategy"), "daemonset", "rollout.strategy = \"recreate\"", "`strategy`"),
        (by("apps/validation.go ValidateDaemonSetSpec", "a daemonset that is not restarted"), "daemonset", "restart.policy = \"never\"", "never"),
        (by("wsup", "a daemonset has no replicas: one a node"), "daemonset", "replicas = 3", "replicas"),
        (by("wsup", "a daemonset has no partition"), "daemonset", "rollout.partition = 1", "partition"),
    ];
    for (rule, kind, text, part) in rows {
        let said = read(kind, text).expect_err(&rule.to_string());
        assert!(said.contains(part), "{rule}: {said}");
    }
}
