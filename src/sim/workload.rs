//! Random units and random wishes of operators, from a generator of numbers.
//!
//! Responsible for covering what a user may write and ask for: all five kinds, every field that
//! the core reads, only values that `wsup check` would let pass. Must not know the world.

use super::random::Random;
use crate::core::id::{Kind, UnitKey, UnitName};
use crate::core::request::{Request, Target};
use crate::core::spec::{
    Amount, Backoff, ClockChange, ConcurrencyPolicy, CronJobSpec, DaemonSetSpec, DaemonStrategy,
    Dependency, DependencyCondition, DeploymentSpec, DeploymentStrategy, FailureAction,
    FailureRule, InitStep, InstanceTemplate, JobSpec, Lifecycle, LogDriver, LogSpec,
    ManagementPolicy, Nodes, ProcessSpec, Resources, RestartLimit, RestartPolicy, RestartSpec,
    Retention, Sandbox, StatefulSetSpec, StatefulStrategy, SuccessRule, UnitSpec, WorkloadSpec,
};
use crate::core::time::Millis;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The variable that tells a template's versions apart.
pub(super) const VERSION: &str = "VERSION";
/// The version that ends at once whenever it is started.
pub(super) const BROKEN: &str = "broken";

/// Units with numbers below it are depended on: those that most worlds have.
const KEYS_MAX: u64 = 4;

/// The label that this world's node has.
pub(super) const NODE_LABEL: (&str, &str) = ("disk", "ssd");

fn seconds(random: &mut Random, from: &[u64]) -> Millis {
    Millis::from_secs(random.pick(from))
}

/// A key for the unit of this number.
pub(super) fn key(kind: Kind, number: u64) -> Option<UnitKey> {
    let word = match kind {
        Kind::Deployment => "api",
        Kind::StatefulSet => "db",
        Kind::DaemonSet => "agent",
        Kind::Job => "migrate",
        Kind::CronJob => "backup",
    };
    UnitName::new(&format!("{word}{number}")).ok().map(|name| UnitKey::new(kind, name))
}

/// A unit of this kind.
pub(super) fn unit(random: &mut Random, key: UnitKey) -> UnitSpec {
    let workload = match key.kind {
        Kind::Deployment => WorkloadSpec::Deployment(deployment(random)),
        Kind::StatefulSet => WorkloadSpec::StatefulSet(statefulset(random)),
        Kind::DaemonSet => WorkloadSpec::DaemonSet(daemonset(random)),
        Kind::Job => WorkloadSpec::Job(job(random)),
        Kind::CronJob => WorkloadSpec::CronJob(cronjob(random)),
    };
    let policy = match &workload {
        WorkloadSpec::Job(job) => finite_policy(random, job),
        WorkloadSpec::CronJob(cron) => finite_policy(random, &cron.job),
        WorkloadSpec::Deployment(_) | WorkloadSpec::StatefulSet(_) | WorkloadSpec::DaemonSet(_) => {
            RestartPolicy::Always
        }
    };
    let mut node_selector = BTreeMap::new();
    if random.permille(50) {
        let value = if random.coin() { NODE_LABEL.1 } else { "tape" };
        node_selector.insert(NODE_LABEL.0.to_owned(), value.to_owned());
    }
    UnitSpec {
        depends_on: dependencies(random, &key),
        key,
        description: None,
        labels: BTreeMap::new(),
        node_selector,
        sockets: Vec::new(),
        template: Arc::new(template(random, policy)),
        workload,
    }
}

/// Some units wait for others: for such of a kind before theirs, or of theirs and a lesser number, so
/// that there is never a circle. Whether that unit is there is another matter.
fn dependencies(random: &mut Random, key: &UnitKey) -> Vec<Dependency> {
    if !random.permille(250) {
        return Vec::new();
    }
    let kinds = [Kind::Deployment, Kind::StatefulSet, Kind::DaemonSet, Kind::Job];
    let all =
        kinds.into_iter().flat_map(|kind| (0..KEYS_MAX).filter_map(move |n| self::key(kind, n)));
    let before: Vec<UnitKey> = all.filter(|other| other < key).collect();
    let mut found = Vec::new();
    for _ in 0..random.count(1, 2).min(u32::try_from(before.len()).unwrap_or(0)) {
        let at = usize::try_from(random.below(before.len() as u64)).unwrap_or(0);
        let Some(other) = before.get(at) else { continue };
        let mut conditions = vec![DependencyCondition::Available, DependencyCondition::Started];
        if other.kind == Kind::Job {
            conditions.push(DependencyCondition::Complete);
        }
        let at = usize::try_from(random.below(conditions.len() as u64)).unwrap_or(0);
        let condition = conditions.get(at).copied().unwrap_or(DependencyCondition::Available);
        found.push(Dependency { unit: other.to_string(), condition });
    }
    found
}

fn finite_policy(random: &mut Random, job: &JobSpec) -> RestartPolicy {
    let never = !job.failure_policy.is_empty() || job.backoff_limit_per_index.is_some();
    if never || random.permille(600) { RestartPolicy::Never } else { RestartPolicy::OnFailure }
}

fn template(random: &mut Random, policy: RestartPolicy) -> InstanceTemplate {
    let finite = policy != RestartPolicy::Always;
    let backoff = if finite {
        // Jobs in Kubernetes: 10 s doubling to 10 min; here shorter ones as well.
        Backoff {
            initial: seconds(random, &[10, 1, 2]),
            factor_milli: random.pick(&[2_000, 1_500]),
            max: seconds(random, &[600, 60]),
            reset_after: seconds(random, &[600, 120]),
        }
    } else {
        Backoff {
            initial: seconds(random, &[1, 2, 5]),
            factor_milli: random.pick(&[2_000, 1_000, 3_000]),
            max: seconds(random, &[300, 30, 60]),
            reset_after: seconds(random, &[600, 60]),
        }
    };
    let limit = random
        .permille(60)
        .then(|| RestartLimit { count: random.count(1, 4), within: seconds(random, &[60, 600]) });
    let init = (0..random.weighted(&[800, 150, 50]))
        .map(|n| InitStep { command: vec![format!("init{n}")] })
        .collect();
    let mut env = BTreeMap::new();
    env.insert(VERSION.to_owned(), "v0".to_owned());
    InstanceTemplate {
        process: process(random, env),
        init,
        lifecycle: Lifecycle::default(),
        restart: RestartSpec { policy, backoff, limit, vital: false },
        resources: Resources::default(),
        sandbox: Sandbox::default(),
        startup: None,
        readiness: None,
        liveness: None,
        watchdog: None,
        ports: Vec::new(),
        log: LogSpec { driver: LogDriver::None, max_size: 1 << 20, max_files: 1, compress: false },
        restarted_at: None,
    }
}

fn process(random: &mut Random, env: BTreeMap<String, String>) -> ProcessSpec {
    ProcessSpec {
        command: vec!["serve".to_owned()],
        args: Vec::new(),
        env,
        env_file: Vec::new(),
        env_inherit: None,
        working_dir: None,
        user: None,
        group: None,
        supplementary_groups: None,
        umask: None,
        nice: None,
        oom_score_adj: None,
        cpu_affinity: None,
        limits: BTreeMap::new(),
        stop_signal: random.pick(&[15, 2, 3]),
        termination_grace_period: seconds(random, &[30, 10, 1, 0, 5]),
    }
}

fn amount(random: &mut Random, max: u32) -> Amount {
    if random.coin() {
        Amount::Count(random.count(0, max))
    } else {
        Amount::Percent(random.pick(&[25, 0, 10, 34, 50, 100]))
    }
}

fn deployment(random: &mut Random) -> DeploymentSpec {
    let min_ready = seconds(random, &[0, 0, 1, 5, 20]);
    let strategy = if random.permille(150) {
        DeploymentStrategy::Recreate
    } else {
        let (max_surge, mut max_unavailable) = (amount(random, 3), amount(random, 3));
        if max_surge.is_zero() && max_unavailable.is_zero() {
            max_unavailable = Amount::Count(1);
        }
        DeploymentStrategy::RollingUpdate { max_surge, max_unavailable }
    };
    DeploymentSpec {
        replicas: random.pick(&[1, 2, 3, 3, 4, 5, 0, 8]),
        min_ready,
        revision_history_limit: random.pick(&[10, 0, 1, 2, u32::MAX]),
        strategy,
        progress_deadline: random.permille(700).then(|| seconds(random, &[600, 60, 30])),
        paused: random.permille(30),
    }
}

fn statefulset(random: &mut Random) -> StatefulSetSpec {
    let strategy = if random.permille(200) {
        StatefulStrategy::OnDelete
    } else {
        StatefulStrategy::RollingUpdate {
            partition: random.pick(&[0, 0, 0, 1, 2, 9]),
            max_unavailable: if random.coin() {
                Amount::Count(random.count(1, 3))
            } else {
                Amount::Percent(random.pick(&[10, 34, 100]))
            },
        }
    };
    let retention = |random: &mut Random| {
        if random.permille(300) { Retention::Delete } else { Retention::Retain }
    };
    StatefulSetSpec {
        replicas: random.pick(&[3, 1, 2, 0, 4, 5]),
        min_ready: seconds(random, &[0, 0, 1, 5]),
        revision_history_limit: random.pick(&[10, 0, 1]),
        management_policy: if random.permille(350) {
            ManagementPolicy::Parallel
        } else {
            ManagementPolicy::OrderedReady
        },
        strategy,
        start_ordinal: random.pick(&[0, 0, 0, 1, 5]),
        data_dir: None,
        when_deleted: retention(random),
        when_scaled: retention(random),
        paused: random.permille(30),
    }
}

fn daemonset(random: &mut Random) -> DaemonSetSpec {
    let strategy = if random.permille(200) {
        DaemonStrategy::OnDelete
    } else {
        let some = if random.coin() {
            Amount::Count(random.count(1, 3))
        } else {
            Amount::Percent(random.pick(&[10, 50, 100]))
        };
        let (max_surge, max_unavailable) =
            if random.coin() { (some, Amount::Count(0)) } else { (Amount::Count(0), some) };
        DaemonStrategy::RollingUpdate { max_surge, max_unavailable }
    };
    DaemonSetSpec {
        nodes: match random.weighted(&[3, 2, 1, 4]) {
            0 => Nodes::Machine,
            1 => Nodes::Cpus,
            2 => Nodes::Numa,
            _ => Nodes::Glob("/dev/card*".to_owned()),
        },
        min_ready: seconds(random, &[0, 0, 1, 5]),
        revision_history_limit: random.pick(&[10, 0, 1]),
        strategy,
        paused: random.permille(30),
    }
}

fn job(random: &mut Random) -> JobSpec {
    let indexed = random.permille(350);
    let completions =
        if indexed || random.permille(700) { Some(random.pick(&[1, 1, 2, 3, 6, 0])) } else { None };
    let backoff_limit_per_index = (indexed && random.permille(300)).then(|| random.count(0, 2));
    let max_failed_indexes = (backoff_limit_per_index.is_some() && random.coin())
        .then(|| random.count(0, completions.unwrap_or(0)));
    let failure_policy = if random.permille(200) {
        failure_rules(random, backoff_limit_per_index.is_some())
    } else {
        Vec::new()
    };
    let success_policy = if indexed && random.permille(200) {
        let last = completions.unwrap_or(1).max(1) - 1;
        vec![SuccessRule {
            indexes: random.coin().then(|| vec![(0, random.count(0, last))]),
            count: Some(1),
        }]
    } else {
        Vec::new()
    };
    JobSpec {
        completions,
        parallelism: random.pick(&[1, 1, 2, 3, 0, 5]),
        indexed,
        backoff_limit: match backoff_limit_per_index {
            Some(_) => random.pick(&[u32::MAX, 6]),
            None => random.pick(&[6, 0, 1, 2, 3]),
        },
        backoff_limit_per_index,
        max_failed_indexes,
        active_deadline: random.permille(150).then(|| seconds(random, &[60, 5, 600])),
        ttl_after_finished: random.permille(250).then(|| seconds(random, &[30, 0, 300])),
        suspend: random.permille(40),
        failure_policy,
        success_policy,
    }
}

fn failure_rules(random: &mut Random, per_index: bool) -> Vec<FailureRule> {
    (0..random.between(1, 3))
        .map(|_| FailureRule {
            action: match random.weighted(&[1, 1, 2, 1]) {
                0 => FailureAction::FailJob,
                1 if per_index => FailureAction::FailIndex,
                2 => FailureAction::Ignore,
                _ => FailureAction::Count,
            },
            exit_codes: if random.coin() { vec![1, 2] } else { vec![42, 143] },
            negate: random.permille(300),
        })
        .collect()
}

fn cronjob(random: &mut Random) -> CronJobSpec {
    let schedules = [
        "* * * * *",
        "*/5 * * * *",
        "@every 30s",
        "@every 90s",
        "@hourly",
        "0 3 * * *",
        "30 2 * * *",
        "@every 1s",
    ];
    let at = random.weighted(&[5, 4, 2, 2, 2, 1, 1, 1]);
    let mut job = job(random);
    job.ttl_after_finished = job.ttl_after_finished.filter(|_| random.permille(300));
    CronJobSpec {
        schedule: schedules.get(at).copied().unwrap_or("* * * * *").to_owned(),
        time_zone: random.coin().then(|| "Europe/Berlin".to_owned()),
        concurrency_policy: match random.below(3) {
            0 => ConcurrencyPolicy::Allow,
            1 => ConcurrencyPolicy::Forbid,
            _ => ConcurrencyPolicy::Replace,
        },
        starting_deadline: random.permille(400).then(|| seconds(random, &[600, 30, 200])),
        suspend: random.permille(40),
        jitter: seconds(random, &[0, 0, 0, 10]),
        clock_change: if random.coin() { ClockChange::Once } else { ClockChange::Kubernetes },
        successful_history_limit: random.pick(&[3, 0, 1]),
        failed_history_limit: random.pick(&[1, 0, 2]),
        job,
    }
}

/// Edits a unit's file: a new version most of the time, otherwise a field of its kind.
pub(super) fn edit(random: &mut Random, spec: &mut UnitSpec) {
    if random.permille(500) {
        let template = Arc::make_mut(&mut spec.template);
        let version = match random.weighted(&[70, 15, 15]) {
            0 => format!("v{}", random.below(6)),
            1 => BROKEN.to_owned(),
            _ => format!("v{}", random.draw() % 1_000),
        };
        template.process.env.insert(VERSION.to_owned(), version);
        return;
    }
    if random.permille(100) {
        let finite = spec.template.restart.policy;
        let old = Arc::make_mut(&mut spec.template);
        let version = old.process.env.clone();
        *old = template(random, finite);
        old.process.env = version;
        return;
    }
    match &mut spec.workload {
        WorkloadSpec::Deployment(d) => {
            let new = deployment(random);
            match random.below(4) {
                0 => d.replicas = new.replicas,
                1 => d.strategy = new.strategy,
                2 => d.paused = !d.paused && random.coin(),
                _ => *d = DeploymentSpec { paused: false, ..new },
            }
        }
        WorkloadSpec::StatefulSet(s) => {
            // What Kubernetes holds immutable stays.
            let new = statefulset(random);
            *s = StatefulSetSpec {
                management_policy: s.management_policy,
                data_dir: s.data_dir.clone(),
                start_ordinal: if random.coin() { s.start_ordinal } else { new.start_ordinal },
                ..new
            };
        }
        WorkloadSpec::DaemonSet(d) => {
            let new = daemonset(random);
            *d = DaemonSetSpec {
                nodes: if random.permille(300) { new.nodes } else { d.nodes.clone() },
                ..new
            };
        }
        WorkloadSpec::Job(j) => edit_job(random, j),
        WorkloadSpec::CronJob(c) => {
            let new = cronjob(random);
            match random.below(4) {
                0 => c.schedule = new.schedule,
                1 => c.concurrency_policy = new.concurrency_policy,
                2 => c.suspend = !c.suspend && random.coin(),
                _ => {
                    c.successful_history_limit = new.successful_history_limit;
                    c.failed_history_limit = new.failed_history_limit;
                    c.starting_deadline = new.starting_deadline;
                    c.time_zone = new.time_zone;
                }
            }
        }
    }
}

fn edit_job(random: &mut Random, job: &mut JobSpec) {
    let new = self::job(random);
    match random.below(4) {
        0 => job.parallelism = new.parallelism,
        1 => job.suspend = !job.suspend && random.coin(),
        2 => job.ttl_after_finished = new.ttl_after_finished,
        _ => job.active_deadline = new.active_deadline,
    }
}

/// What an operator may find to talk about.
pub(super) struct Sight<'a> {
    /// Units that are there.
    pub(super) units: &'a [UnitKey],
    /// Instances that are there.
    pub(super) instances: &'a [String],
}

/// A wish of an operator.
pub(super) fn request(random: &mut Random, sight: &Sight<'_>) -> Option<Request> {
    let at = usize::try_from(random.below(sight.units.len() as u64)).ok()?;
    let key = sight.units.get(at)?.clone();
    let target = match sight
        .instances
        .get(usize::try_from(random.below(sight.instances.len().max(1) as u64)).unwrap_or_default())
    {
        Some(name) if random.permille(600) => Target::Instance(name.clone()),
        Some(_) | None => Target::Unit(key.clone()),
    };
    Some(match random.weighted(&[12, 6, 8, 5, 8, 16, 10, 4, 6, 6, 4, 6, 5]) {
        0 => Request::Start(target),
        1 => Request::Stop(target),
        2 => Request::Restart(target),
        3 => Request::Signal(target, random.pick(&[1, 10, 9, 15])),
        4 => match target {
            Target::Unit(_) if random.permille(700) => Request::Start(target),
            Target::Unit(_) | Target::Instance(_) => Request::Delete(target),
        },
        5 => Request::Scale(key, random.count(0, 6)),
        6 => Request::Undo(key, random.permille(300).then(|| random.between(1, 5))),
        7 => Request::Pause(key),
        8 => Request::ResumeRollout(key),
        9 => Request::RolloutRestart(key),
        10 => Request::Suspend(key),
        11 => Request::Resume(key),
        _ => Request::Trigger(key, None),
    })
}
