//! What the engine does for jobs and cronjobs beyond their controllers: environment, requests, how
//! a run that was removed is judged, and which programs begin afresh. Rows begin with the
//! Kubernetes source of their rule, or with `wsup`.

use super::super::view::KindView;
use super::*;
use crate::core::table::{Rule, by};

fn shaped(change: impl FnOnce(&mut JobSpec)) -> UnitSpec {
    let mut spec = job("migrate");
    if let WorkloadSpec::Job(job) = &mut spec.workload {
        change(job);
    }
    spec
}

/// (source, what the unit defines itself, what its indexed instance is given)
#[test]
fn the_completion_index_in_the_environment() {
    let rows: [(Rule, Option<&str>, Option<&str>); 2] = [
        (by("indexed_job_utils.go addCompletionIndexEnvVariable", "given"), None, Some("0")),
        (
            by("indexed_job_utils.go addCompletionIndexEnvVariable", "the unit's own stays"),
            Some("x"),
            None,
        ),
    ];
    for (source, own, want) in rows {
        let mut spec = shaped(|job| job.indexed = true);
        let env = &mut Arc::make_mut(&mut spec.template).process.env;
        env.extend(own.map(|value| ("JOB_COMPLETION_INDEX".to_owned(), value.to_owned())));
        let mut bench = Bench::new();
        bench
            .core
            .handle(now(0), Event::Units(UnitsRead { valid: vec![spec], ..UnitsRead::default() }));
        bench.core.settle(now(0));
        let actions = std::iter::from_fn(|| bench.core.poll_action());
        let spawn = actions
            .filter_map(|action| if let Action::Spawn(spawn) = action { Some(spawn) } else { None })
            .next()
            .unwrap();
        let given = spawn.vars.iter().find(|(name, _)| *name == "JOB_COMPLETION_INDEX");
        assert_eq!(given.map(|(_, value)| value.as_str()), want, "{source}");
    }
}

/// (source, rules of the failure policy, whether the run is removed by hand, failed, finished). The
/// run ends by SIGTERM.
#[test]
fn a_removed_run_is_judged_by_how_it_ends() {
    use FailureAction::{FailJob, Ignore};
    type Row = (Rule, Vec<(FailureAction, i32)>, u32, Option<bool>);
    let rows: Vec<Row> = vec![
        (by("job_controller.go isPodFailed", "without a policy"), vec![], 1, None),
        (by("job_controller.go onlyReplaceFailedPods", "ignored"), vec![(Ignore, 143)], 0, None),
        (by("job_controller.go onlyReplaceFailedPods", "counted"), vec![(Ignore, 1)], 1, None),
        (
            by("job_controller.go onlyReplaceFailedPods", "it fails the job"),
            vec![(FailJob, 143)],
            1,
            Some(false),
        ),
    ];
    for (source, policy, failed, finished) in rows {
        let migrate = key(Kind::Job, "migrate");
        let spec = shaped(|job| {
            job.failure_policy = policy
                .iter()
                .map(|(action, code)| FailureRule {
                    action: *action,
                    exit_codes: vec![*code],
                    negate: false,
                })
                .collect();
        });
        let mut bench = Bench::new();
        bench.apply(vec![spec]);
        let run = bench.names_of(&migrate).remove(0);
        bench.ask(Request::Delete(Target::Instance(run))).unwrap();
        let view = bench.core.unit(&migrate).unwrap();
        let KindView::Job(view) = view.kind else { panic!() };
        assert_eq!((view.failed, view.finished), (failed, finished), "{source}");
        bench.pass(1);
        assert_eq!(bench.living.len(), usize::from(finished.is_none()), "{source}: a second try");
    }
}

/// (source, init steps, the failure policy's rule, succeeded, failed). The run is removed while its first
/// program runs, which exits 0 all the same.
#[test]
fn a_removed_run_that_exits_0_all_the_same() {
    use FailureAction::{FailJob, Ignore};
    let rule = |action, code, negate| FailureRule { action, exit_codes: vec![code], negate };
    #[rustfmt::skip]
    let rows = [
        (by("job_controller.go isPodFailed", "Succeeded, though it was to go"), 0, rule(Ignore, 143, false), 1, 0),
        (by("kubelet_pods.go getPhase", "an init step's exit 0 is no success"), 1, rule(Ignore, 143, false), 0, 1),
        (by("pod_failure_policy.go matchOnExitCodes", "and takes no part in NotIn"), 1, rule(FailJob, 3, true), 0, 1),
    ];
    for (source, steps, policy, succeeded, failed) in rows {
        let migrate = key(Kind::Job, "migrate");
        let mut spec = shaped(|job| job.failure_policy = vec![policy]);
        Arc::make_mut(&mut spec.template).init =
            (0..steps).map(|_| InitStep { command: vec!["true".to_owned()] }).collect();
        let mut bench = Bench::new();
        bench.apply(vec![spec]);
        let run = bench.names_of(&migrate).remove(0);
        // It ends before the stop signal reaches it.
        let delete = Request::Delete(Target::Instance(run.clone()));
        bench.core.handle(now(0), Event::Request(delete));
        bench.end(&run, Exit::Code(0));
        let KindView::Job(view) = bench.core.unit(&migrate).unwrap().kind else { panic!() };
        assert_eq!((view.succeeded, view.failed), (succeeded, failed), "{source}");
        assert_eq!(view.finished, (succeeded > 0).then_some(true), "{source}");
    }
}

/// (source, requests, what the last one is answered, how many processes live then)
#[test]
fn requests_about_jobs_and_cronjobs() {
    type Ask = fn(&UnitKey, &UnitKey) -> Request;
    let suspend_job: Ask = |job, _| Request::Suspend(job.clone());
    let resume_job: Ask = |job, _| Request::Resume(job.clone());
    let restart_job: Ask = |job, _| Request::Restart(Target::Unit(job.clone()));
    let stop_job: Ask = |job, _| Request::Stop(Target::Unit(job.clone()));
    let start_job: Ask = |job, _| Request::Start(Target::Unit(job.clone()));
    let suspend_cron: Ask = |_, cron| Request::Suspend(cron.clone());
    let resume_cron: Ask = |_, cron| Request::Resume(cron.clone());
    let trigger: Ask = |_, cron| Request::Trigger(cron.clone(), Some("by-hand".to_owned()));
    let delete_cron: Ask = |_, cron| Request::Delete(Target::Unit(cron.clone()));
    let stop_cron: Ask = |_, cron| Request::Stop(Target::Unit(cron.clone()));
    let rows: &[(Rule, Vec<Ask>, &str, usize)] = &[
        (
            by("job_controller.go manageJob", "suspended"),
            vec![suspend_job],
            "job/migrate suspended",
            0,
        ),
        (by("wsup", "suspended twice"), vec![suspend_job, suspend_job], "suspended already", 0),
        (
            by("job_controller.go syncJob", "resumed"),
            vec![suspend_job, resume_job],
            "migrate resumed",
            1,
        ),
        (by("wsup", "not suspended"), vec![resume_job], "resumed already", 1),
        (by("wsup", "stopped"), vec![stop_job], "job/migrate stopped", 0),
        (by("wsup", "stopped and started"), vec![stop_job, start_job], "job/migrate started", 1),
        (by("wsup", "a restart is another run"), vec![restart_job], "job/migrate restarted", 1),
        (
            by("kubectl/create_job.go", "a job from a cronjob"),
            vec![trigger],
            "job/by-hand created",
            2,
        ),
        (
            by("kubectl/create_job.go", "also if it is suspended"),
            vec![suspend_cron, trigger],
            "created",
            2,
        ),
        (
            by("kubectl/create_job.go", "a name that is taken"),
            vec![trigger, trigger],
            "there already",
            2,
        ),
        (
            by("cronjob_controllerv2.go syncCronJob", "its jobs go on while it is suspended"),
            vec![trigger, suspend_cron],
            "cronjob/backup suspended",
            2,
        ),
        (by("wsup", "resumed"), vec![suspend_cron, resume_cron], "cronjob/backup resumed", 1),
        (by("wsup", "stopped, its jobs stop too"), vec![trigger, stop_cron], "backup stopped", 1),
        (
            by("garbagecollector.go", "deleted, its jobs go"),
            vec![trigger, delete_cron],
            "deleted",
            1,
        ),
    ];
    for (source, asks, want, living) in rows {
        let (migrate, backup) = (key(Kind::Job, "migrate"), key(Kind::CronJob, "backup"));
        let mut bench = Bench::new();
        bench.apply(vec![job("migrate"), cronjob("backup", "0 0 1 1 *")]);
        let run = bench.names_of(&migrate);
        let mut answer = String::new();
        for ask in asks {
            answer = match bench.ask(ask(&migrate, &backup)) {
                Ok(done) => done.messages.join("\n"),
                Err(refusal) => refusal.to_string(),
            };
        }
        assert!(answer.contains(want), "{source}: {answer}");
        if want.ends_with("restarted") {
            assert_ne!(bench.names_of(&migrate), run, "{source}");
        }
        bench.pass(1);
        assert_eq!(bench.living.len(), *living, "{source}");
    }
}

/// (source, what changes, how soon the program is started after another crash, in seconds)
#[test]
fn an_edited_definition_begins_afresh() {
    let rows: [(Rule, &str, u64); 2] = [
        (by("kuberuntime_manager.go doBackOff", "the key has the definition in it"), "env", 0),
        (by("kuberuntime_manager.go doBackOff", "nothing changes"), "", 4),
    ];
    for (source, change, wait) in rows {
        let api = key(Kind::Deployment, "api");
        let mut bench = Bench::new();
        bench.apply(vec![deployment("api", 1)]);
        // At once, then 1 s, 2 s, 4 s.
        for delay in [0, 1, 2] {
            let name = bench.names_of(&api).remove(0);
            bench.end(&name, Exit::Code(1));
            bench.pass(delay);
        }
        if !change.is_empty() {
            bench.apply(vec![with_env(deployment("api", 1), change)]);
            bench.pass(60);
        }
        let name = bench.names_of(&api).remove(0);
        bench.end(&name, Exit::Code(1));
        if wait > 0 {
            bench.pass(wait - 1);
            assert!(bench.living.is_empty(), "{source}");
            bench.pass(1);
        }
        assert_eq!(bench.living.len(), 1, "{source}");
    }
}

/// The text of a file's spec is kept and put into each record of its unit.
#[test]
fn a_record_is_what_would_be_written_of_the_whole() {
    let mut bench = Bench::new();
    bench.apply(vec![deployment("api", 2), job("migrate"), cronjob("tick", "@every 10s")]);
    let write = |bench: &mut Bench| {
        for unit in bench.core.units.values_mut() {
            let whole = restore::encode(&unit.kept);
            assert_eq!(restore::encode_unit(unit), whole, "{}", unit.kept.file.key);
        }
    };
    write(&mut bench);
    bench.pass(15);
    bench.ask(Request::Scale(key(Kind::Deployment, "api"), 3)).unwrap();
    bench.ask(Request::Suspend(key(Kind::CronJob, "tick"))).unwrap();
    write(&mut bench);
    bench.apply(vec![with_env(deployment("api", 2), "1"), cronjob("tick", "@every 20s")]);
    write(&mut bench);
    bench.reborn(true);
    write(&mut bench);
}

/// (source, how many of them are kept, how they end, whether there is another job of the cronjob's very
/// name, how many are left as soon as the last has ended)
#[test]
fn histories_are_cut_when_a_job_ends() {
    let rows: [(Rule, u32, Exit, bool, usize); 5] = [
        (
            by("cronjob_controllerv2.go cleanupFinishedJobs", "complete ones"),
            1,
            Exit::Code(0),
            false,
            1,
        ),
        (
            by("cronjob_controllerv2.go cleanupFinishedJobs", "failed ones"),
            1,
            Exit::Code(1),
            false,
            1,
        ),
        (
            by("cronjob_controllerv2.go cleanupFinishedJobs", "none is kept"),
            0,
            Exit::Code(0),
            false,
            0,
        ),
        (
            by("cronjob_controllerv2.go cleanupFinishedJobs", "as many as there are"),
            3,
            Exit::Code(0),
            false,
            3,
        ),
        (by("wsup", "a job of its very name is another's"), 1, Exit::Code(0), true, 1),
    ];
    for (source, limit, exit, namesake, left) in rows {
        let tick = key(Kind::CronJob, "tick");
        let mut spec = cronjob("tick", "0 0 1 1 *");
        if let WorkloadSpec::CronJob(cron) = &mut spec.workload {
            (cron.successful_history_limit, cron.failed_history_limit) = (limit, limit);
            cron.job.backoff_limit = 0;
        }
        let mut units = vec![spec];
        units.extend(namesake.then(|| job("tick")));
        let mut bench = Bench::new();
        bench.apply(units);
        for name in ["tick-1", "tick-2", "by-hand"] {
            bench.ask(Request::Trigger(tick.clone(), Some(name.to_owned()))).unwrap();
        }
        assert_eq!(bench.core.unit(&tick).unwrap().counts.current, 3, "{source}");
        for run in bench.core.instances_of(&tick) {
            bench.end(&run.name, exit);
        }
        let units = bench.core.units();
        let jobs = units.iter().filter(|unit| unit.owner.as_ref() == Some(&tick));
        assert_eq!(jobs.count(), left, "{source}");
        assert_eq!(bench.core.unit(&tick).unwrap().counts.current, 0, "{source}");
        assert_eq!(bench.core.unit(&key(Kind::Job, "tick")).is_some(), namesake, "{source}");
    }
}
