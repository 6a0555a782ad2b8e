//! What operators ask for and are answered, beyond roll-outs (see `rollout`) and jobs (see
//! `finite`).

use super::*;
use crate::core::action::{Hook, Step};
use crate::core::spec::Reload;
use crate::core::table::{Rule, by};

/// What a request leads to, beside its answer.
fn led_to(bench: &mut Bench, request: Request) -> (String, Vec<String>) {
    let at = now(bench.at);
    let answer = match bench.core.handle(at, Event::Request(request)).unwrap() {
        Ok(done) => done.messages.join("\n"),
        Err(refusal) => format!("refused: {refusal}"),
    };
    bench.core.settle(at);
    let mut said = Vec::new();
    let mut events = Vec::new();
    while let Some(action) = bench.core.poll_action() {
        match &action {
            Action::Signal { signal, .. } => said.push(format!("signal {signal}")),
            Action::Hook(spawn) if spawn.step == Step::Hook(Hook::Reload) => {
                said.push("reload".to_owned());
            }
            Action::Report(report) if report.reason == Reason::InstanceReloaded => {
                said.push("told".to_owned());
            }
            _ => {}
        }
        bench.carry_out(action, &mut events);
    }
    for event in events {
        bench.core.handle(at, event);
    }
    bench.turn();
    (answer, said)
}

fn reloading(mut spec: UnitSpec, reload: Reload) -> UnitSpec {
    Arc::make_mut(&mut spec.template).lifecycle.reload = Some(reload);
    spec
}

/// (rule, the request's unit, what it says of reloading, its replicas, the answer, what is done)
#[test]
fn reloading_goes_the_way_that_the_unit_names() {
    let signal = || Some(Reload::Signal(1));
    let command = || Some(Reload::Command(vec!["ctl".to_owned(), "reload".to_owned()]));
    type Row = (Rule, Option<Reload>, u32, &'static str, &'static [&'static str]);
    #[rustfmt::skip]
    let rows: Vec<Row> = vec![
        (by("systemd.service(5) ExecReload=", "a signal"), signal(), 1, "1 instance of deployment/api reloads", &["signal 1", "told"]),
        (by("systemd.service(5) ExecReload=", "a command"), command(), 1, "1 instance of deployment/api reloads", &["reload"]),
        (by("wsup", "each instance gets the signal"), signal(), 2, "2 instances of deployment/api reload", &["signal 1", "told", "signal 1", "told"]),
        (by("wsup", "of each the command runs"), command(), 3, "3 instances of deployment/api reload", &["reload", "reload", "reload"]),
        (by("wsup", "nothing is said of it"), None, 2, "refused: deployment/api says nothing of how to reload: add `reload` to [lifecycle], or use `signal` or `rollout restart`", &[]),
        (by("wsup", "nothing runs"), signal(), 0, "refused: deployment/api has no running process", &[]),
        (by("wsup", "nothing runs, and nothing is said of it"), None, 0, "refused: deployment/api has no running process", &[]),
    ];
    for (rule, reload, replicas, answer, done) in rows {
        let mut spec = deployment("api", replicas);
        if let Some(reload) = reload {
            spec = reloading(spec, reload);
        }
        let mut bench = Bench::new();
        bench.apply(vec![spec]);
        let target = Target::Unit(key(Kind::Deployment, "api"));
        let (said, actions) = led_to(&mut bench, Request::Reload(target));
        assert_eq!(said, answer, "{rule}");
        assert_eq!(actions, done, "{rule}");
    }
}

/// A signal reaches what has a process; who has none is passed over.
#[test]
fn signals_go_to_processes() {
    let mut bench = Bench::new();
    bench.apply(vec![deployment("api", 2), cronjob("tick", "0 0 1 1 *")]);
    let api = key(Kind::Deployment, "api");
    let first = bench.names_of(&api).remove(0);
    let signal =
        |bench: &mut Bench, target: Target, number| led_to(bench, Request::Signal(target, number));
    let (said, done) = signal(&mut bench, Target::Instance(first.clone()), 10);
    assert_eq!(said, format!("SIGUSR1 sent to 1 process of {first}"));
    assert_eq!(done, ["signal 10"]);
    bench.ask(Request::Stop(Target::Instance(first.clone()))).unwrap();
    let (said, done) = signal(&mut bench, Target::Unit(api), 40);
    assert_eq!(said, "signal 40 sent to 1 process of deployment/api");
    assert_eq!(done, ["signal 40"]);
    let (said, _) = signal(&mut bench, Target::Instance(first.clone()), 1);
    assert_eq!(said, format!("refused: {first} has no running process"));
    let tick = key(Kind::CronJob, "tick");
    bench.ask(Request::Trigger(tick.clone(), Some("now".to_owned()))).unwrap();
    let (said, _) = signal(&mut bench, Target::Unit(tick), 15);
    assert_eq!(said, "SIGTERM sent to 1 process of cronjob/tick", "a cronjob's are its jobs'");
}

/// (rule, what is asked, the answer to the last, how many processes live then). `one` is an instance of
/// the deployment `api` of two, `run` one of the job `migrate`.
#[test]
fn starting_stopping_restarting_deleting() {
    type Ask = fn(&str, &str) -> Request;
    let api = || Target::Unit(key(Kind::Deployment, "api"));
    let stop: Ask = |_, _| Request::Stop(Target::Unit(key(Kind::Deployment, "api")));
    let start: Ask = |_, _| Request::Start(Target::Unit(key(Kind::Deployment, "api")));
    let restart: Ask = |_, _| Request::Restart(Target::Unit(key(Kind::Deployment, "api")));
    let delete: Ask = |_, _| Request::Delete(Target::Unit(key(Kind::Deployment, "api")));
    let stop_one: Ask = |one, _| Request::Stop(Target::Instance(one.to_owned()));
    let start_one: Ask = |one, _| Request::Start(Target::Instance(one.to_owned()));
    let restart_one: Ask = |one, _| Request::Restart(Target::Instance(one.to_owned()));
    let delete_one: Ask = |one, _| Request::Delete(Target::Instance(one.to_owned()));
    let stop_run: Ask = |_, run| Request::Stop(Target::Instance(run.to_owned()));
    let restart_run: Ask = |_, run| Request::Restart(Target::Instance(run.to_owned()));
    let missing: Ask = |_, _| Request::Stop(Target::Unit(key(Kind::Job, "nope")));
    #[rustfmt::skip]
    let rows: Vec<(Rule, Vec<Ask>, &str, usize)> = vec![
        (by("wsup", "a unit is stopped"), vec![stop], "deployment/api stopped", 1),
        (by("wsup", "a stopped unit is started"), vec![stop, start], "deployment/api started", 3),
        (by("wsup", "one that is not stopped is told of"), vec![start], "deployment/api is not stopped", 3),
        (by("wsup", "an instance is stopped, and not replaced"), vec![stop_one], "instance ONE stopped", 2),
        (by("wsup", "and started again"), vec![stop_one, start_one], "instance ONE started", 3),
        (by("wsup", "also with its unit, though that was not stopped"), vec![stop_one, start], "deployment/api is not stopped", 3),
        (by("wsup", "an instance is restarted"), vec![restart_one], "instance ONE restarted", 3),
        (by("wsup", "a restart ends a stop by hand"), vec![stop_one, restart_one], "instance ONE restarted", 3),
        (by("wsup", "a unit is restarted"), vec![restart], "deployment/api restarted", 3),
        (by("wsup", "a unit's restart ends its stop"), vec![stop, restart], "deployment/api restarted", 3),
        (by("wsup", "an instance is deleted, and replaced"), vec![delete_one], "instance ONE deleted", 3),
        (by("wsup", "a unit is deleted"), vec![delete], "deployment/api deleted", 1),
        (by("wsup", "and is not found any more"), vec![delete, stop], "refused: deployment/api not found", 1),
        (by("wsup", "a job's run is not stopped"), vec![stop_run], "refused: RUN is a run of a job; stop or suspend the job, or delete the run", 3),
        (by("wsup", "a job's run is restarted while it runs"), vec![restart_run], "instance RUN restarted", 3),
        (by("wsup", "what is not there is not found"), vec![missing], "refused: job/nope not found", 3),
    ];
    for (rule, asks, answer, living) in rows {
        let mut bench = Bench::new();
        bench.apply(vec![deployment("api", 2), job("migrate")]);
        let one = bench.names_of(&key(Kind::Deployment, "api")).remove(0);
        let run = bench.names_of(&key(Kind::Job, "migrate")).remove(0);
        let before: Vec<InstanceId> = bench.living.keys().copied().collect();
        let mut said = String::new();
        for ask in asks {
            said = led_to(&mut bench, ask(&one, &run)).0;
        }
        assert_eq!(said, answer.replace("ONE", &one).replace("RUN", &run), "{rule}");
        assert_eq!(bench.living.len(), living, "{rule}");
        if answer.ends_with("restarted") {
            let same = bench.living.keys().filter(|id| before.contains(id)).count();
            let of_unit = answer.starts_with("deployment");
            assert_eq!(same, if of_unit { 1 } else { 2 }, "{rule}: the others run on");
        }
    }
    // What has ended for good is not restarted.
    let mut bench = Bench::new();
    bench.apply(vec![job("migrate")]);
    let migrate = key(Kind::Job, "migrate");
    for exit in [Exit::Code(0), Exit::Code(1)] {
        bench.ask(Request::Restart(Target::Unit(migrate.clone()))).unwrap();
        let run = bench.names_of(&migrate).remove(0);
        bench.end(&run, exit);
        let request = Request::Restart(Target::Instance(run.clone()));
        let why = format!("refused: {run} has ended for good; restart its job instead");
        assert_eq!(led_to(&mut bench, request).0, why);
    }
    let mut bench = Bench::new();
    bench.apply(vec![deployment("api", 0)]);
    assert_eq!(led_to(&mut bench, Request::Restart(api())).0, "deployment/api restarted");
}

/// (rule, how many are asked for, the answer)
#[test]
fn scaling_has_an_end() {
    let rows = [
        (by("wsup", "down to none"), 0, "deployment/api scaled from 1 to 0"),
        (by("wsup", "as many as the file has"), 1, "deployment/api scaled from 1 to 1"),
        (by("wsup", "up to the limit"), 100_000, "deployment/api scaled from 1 to 100000"),
        (
            by("wsup", "not beyond"),
            100_001,
            "refused: 100001 replicas are too many; at most 100000",
        ),
    ];
    for (rule, replicas, answer) in rows {
        let mut bench = Bench::new();
        let api = key(Kind::Deployment, "api");
        bench.apply(vec![deployment("api", 1)]);
        // Not settled: a hundred thousand instances are of no use here.
        let done = bench.core.handle(now(0), Event::Request(Request::Scale(api.clone(), replicas)));
        let said = match done.unwrap() {
            Ok(done) => done.messages.join("\n"),
            Err(refusal) => format!("refused: {refusal}"),
        };
        assert_eq!(said, answer, "{rule}");
        let live = bench.core.unit(&api).unwrap().overrides;
        assert_eq!(live.is_empty(), replicas == 1 || replicas > 100_000, "{rule}: {live:?}");
    }
}

/// An undo and a restart are told of, with the number that somebody named.
#[test]
fn an_undo_is_told_of() {
    let api = key(Kind::Deployment, "api");
    for (to, message, number) in
        [(None, "back to the previous revision", None), (Some(1), "back to revision 1", Some(1))]
    {
        let mut bench = Bench::new();
        bench.apply(vec![with_env(deployment("api", 1), "a")]);
        bench.apply(vec![with_env(deployment("api", 1), "b")]);
        bench.ask(Request::Undo(api.clone(), to)).unwrap();
        let told = bench.reports.iter().find(|r| r.reason == Reason::RolloutUndone).unwrap();
        assert_eq!(told.message, message);
        assert_eq!(told.fields.get("revision"), number.map(report::Field::Int).as_ref());
        assert_eq!(told.unit.as_ref(), Some(&api));
    }
}

/// What a program is told of itself.
#[test]
fn programs_are_given_their_names() {
    let vars = |spec: UnitSpec, nodes: Option<BTreeMap<String, Option<String>>>| {
        let mut core = Core::new(Bench::config(7));
        let key = spec.key.clone();
        let valid = vec![spec];
        core.handle(now(0), Event::Units(UnitsRead { valid, ..UnitsRead::default() }));
        if let Some(nodes) = nodes {
            core.handle(now(0), Event::NodesChanged { unit: key, nodes });
        }
        core.settle(now(0));
        let spawn = std::iter::from_fn(|| core.poll_action()).find_map(|action| match action {
            Action::Spawn(spawn) => Some(spawn),
            _ => None,
        });
        let spawn = spawn.unwrap();
        let all = spawn.vars.iter().filter(|(name, _)| *name != "WSUP_INSTANCE");
        let text: Vec<String> = all.map(|(name, value)| format!("{name}={value}")).collect();
        assert!(
            spawn.vars.contains(&("WSUP_INSTANCE".into(), spawn.instance.clone())),
            "{:?}",
            spawn.vars
        );
        text.join(" ")
    };
    let mut indexed = job("x");
    if let WorkloadSpec::Job(job) = &mut indexed.workload {
        job.indexed = true;
    }
    let daemon = DaemonSetSpec {
        nodes: Nodes::Numa,
        min_ready: Millis::ZERO,
        revision_history_limit: 10,
        strategy: DaemonStrategy::OnDelete,
        paused: false,
    };
    let daemonset = || {
        let workload = WorkloadSpec::DaemonSet(daemon.clone());
        unit(key(Kind::DaemonSet, "x"), RestartPolicy::Always, workload)
    };
    let node =
        |path: Option<&str>| Some(BTreeMap::from([("numa0".to_owned(), path.map(str::to_owned))]));
    let rows = [
        (deployment("x", 1), None, "KIND=deployment REVISION=1 NODE=here"),
        (job("x"), None, "KIND=job REVISION=1 NODE=here"),
        (indexed, None, "KIND=job REVISION=1 NODE=here ORDINAL=0 JOB_COMPLETION_INDEX=0"),
        (daemonset(), node(None), "KIND=daemonset REVISION=1 NODE=numa0"),
        (daemonset(), node(Some("/d")), "KIND=daemonset REVISION=1 NODE=numa0 NODE_PATH=/d"),
    ];
    for (spec, nodes, want) in rows {
        let want: Vec<String> =
            want.split(' ')
                .map(|word| {
                    if word.starts_with("JOB_") { word.to_owned() } else { format!("WSUP_{word}") }
                })
                .collect();
        assert_eq!(vars(spec, nodes), format!("WSUP_UNIT=x {}", want.join(" ")));
    }
}
