//! What reading the unit files leads to: sockets, jobs' names that are taken, plans, live changes.

use super::*;
use crate::core::managed::Overrides;
use crate::core::spec::{SocketProtocol, SocketSpec};
use crate::core::table::{Rule, by};

fn with_sockets(mut spec: UnitSpec, listen: &[&str]) -> UnitSpec {
    let socket = |listen: &&str| SocketSpec {
        name: "http".to_owned(),
        listen: (*listen).to_owned(),
        protocol: SocketProtocol::Tcp,
        reuse_port: false,
        mode: None,
        user: None,
        group: None,
    };
    spec.sockets = listen.iter().map(socket).collect();
    spec
}

fn asked(core: &mut Core, event: Event) -> Vec<Action> {
    core.handle(now(0), event);
    core.settle(now(0));
    std::iter::from_fn(|| core.poll_action()).collect()
}

/// Files read one after the other, and which sockets are asked for with each: `-` for none at all,
/// an empty text for closing them.
#[test]
fn sockets_are_opened_when_they_are_new_and_moved_when_they_change() {
    type Step = (Option<UnitSpec>, &'static str);
    let api = || deployment("api", 0);
    let tick = || cronjob("tick", "0 0 1 1 *");
    let rows: Vec<(Rule, Vec<Step>)> = vec![
        (
            by("wsup", "as soon as the unit is there"),
            vec![(Some(with_sockets(api(), &["127.0.0.1:80"])), "127.0.0.1:80")],
        ),
        (by("wsup", "a unit without any asks for nothing"), vec![(Some(api()), "-")]),
        (
            by("wsup", "another change leaves them alone"),
            vec![
                (Some(with_sockets(api(), &["127.0.0.1:80"])), "127.0.0.1:80"),
                (Some(with_sockets(with_replicas(api(), 1), &["127.0.0.1:80"])), "-"),
            ],
        ),
        (
            by("wsup", "another address moves them"),
            vec![
                (Some(with_sockets(api(), &["127.0.0.1:80"])), "127.0.0.1:80"),
                (Some(with_sockets(api(), &["127.0.0.1:81"])), "127.0.0.1:81"),
            ],
        ),
        (
            by("wsup", "without them they are closed"),
            vec![(Some(with_sockets(api(), &["127.0.0.1:80"])), "127.0.0.1:80"), (Some(api()), "")],
        ),
        (
            by("wsup", "with the unit they are closed"),
            vec![(Some(with_sockets(api(), &["127.0.0.1:80"])), "127.0.0.1:80"), (None, "")],
        ),
        (
            by("wsup", "of a unit that had none nothing is closed"),
            vec![(Some(api()), "-"), (None, "-")],
        ),
        (
            by("wsup", "a cronjob has those of its runs"),
            vec![(Some(with_sockets(tick(), &["127.0.0.1:80"])), "127.0.0.1:80"), (None, "")],
        ),
    ];
    for (rule, steps) in rows {
        let mut core = Core::new(Bench::config(7));
        for (at, (file, want)) in steps.into_iter().enumerate() {
            let valid = file.into_iter().collect();
            let actions =
                asked(&mut core, Event::Units(UnitsRead { valid, ..UnitsRead::default() }));
            let mut sockets: Vec<String> = actions
                .into_iter()
                .filter_map(|action| match action {
                    Action::Sockets { sockets, .. } => {
                        Some(sockets.iter().map(|s| s.listen.clone()).collect::<Vec<_>>().join(" "))
                    }
                    _ => None,
                })
                .collect();
            // Once when it is on its way out, and once more when it is gone: a new daemon may have come.
            sockets.dedup();
            let want: Vec<&str> = if want == "-" { Vec::new() } else { vec![want] };
            assert_eq!(sockets, want, "{rule}: step {at}");
        }
    }
}

/// A file whose name a cronjob's job has is told of, and nothing happens to that job.
#[test]
fn a_name_that_a_cronjobs_job_has_is_taken() {
    let mut bench = Bench::new();
    let tick = key(Kind::CronJob, "tick");
    bench.apply(vec![cronjob("tick", "0 0 1 1 *")]);
    bench.ask(Request::Trigger(tick.clone(), Some("migrate".to_owned()))).unwrap();
    let before = bench.living.clone();
    let valid = vec![cronjob("tick", "0 0 1 1 *"), job("migrate")];
    let read = UnitsRead { valid, ..UnitsRead::default() };
    let changes = bench.core.plan(&read);
    let shown: Vec<_> = changes.iter().map(|c| (c.kind, c.message.as_deref())).collect();
    let why = "the name is taken by a job of cronjob/tick";
    assert_eq!(shown, [(ChangeKind::Invalid, Some(why))]);
    bench.event(Event::Units(read));
    let told: Vec<&str> = bench
        .reports
        .iter()
        .filter(|report| report.reason == Reason::UnitInvalid)
        .map(|report| report.message.as_str())
        .collect();
    assert_eq!(told, [format!("{why}; choose another one")]);
    assert_eq!(bench.living, before);
    assert_eq!(bench.core.unit(&key(Kind::Job, "migrate")).unwrap().owner, Some(tick));
}

/// (rule, what is read, the plan)
#[test]
fn plans_say_of_each_file_what_becomes_of_it() {
    let api = || deployment("api", 1);
    let slip =
        |text: &str| BTreeMap::from([(key(Kind::Deployment, text), "unknown key `x`".to_owned())]);
    let none = BTreeMap::new();
    type Row = (Rule, Vec<UnitSpec>, BTreeMap<UnitKey, String>, bool, &'static str);
    #[rustfmt::skip]
    let rows: Vec<Row> = vec![
        (by("wsup", "nothing changes"), vec![api()], none.clone(), false, ""),
        (by("wsup", "a file that is not there"), vec![], none.clone(), false, "Remove api"),
        (by("wsup", "a file with a mistake"), vec![], slip("api"), false, "Invalid api: unknown key `x`"),
        (by("wsup", "a new file with a mistake"), vec![api()], slip("new"), false, "Invalid new: unknown key `x`"),
        (by("wsup", "a change without a roll-out"), vec![with_replicas(api(), 2)], none.clone(), false, "Update api replicas"),
        (by("wsup", "a change with one"), vec![with_env(api(), "1")], none.clone(), false, "Update api rolls out process.env.V"),
        (by("wsup", "what was deleted by hand stays away"), vec![api(), deployment("gone", 1)], none.clone(), false, ""),
        (by("wsup", "unless it is asked for"), vec![api(), deployment("gone", 1)], none, true, "Create gone"),
    ];
    for (rule, valid, invalid, explicit, plan) in rows {
        let mut bench = Bench::new();
        bench.apply(vec![api(), deployment("gone", 1)]);
        bench.ask(Request::Delete(Target::Unit(key(Kind::Deployment, "gone")))).unwrap();
        let changes = bench.core.plan(&UnitsRead { valid, invalid, explicit });
        let lines: Vec<String> = changes
            .iter()
            .map(|change| {
                let mut line = format!("{:?} {}", change.kind, change.key.name);
                line.push_str(if change.rollout { " rolls out" } else { "" });
                change.fields.iter().for_each(|field| line.push_str(&format!(" {}", field.path)));
                let message = change.message.as_ref();
                line + &message.map(|text| format!(": {text}")).unwrap_or_default()
            })
            .collect();
        assert_eq!(lines.join("; "), plan, "{rule}");
    }
}

/// A unit that goes and comes back meanwhile is made anew once it is gone.
#[test]
fn a_file_that_comes_back_is_the_next_unit() {
    let mut core = Core::new(Bench::config(7));
    let read = |valid| Event::Units(UnitsRead { valid, ..UnitsRead::default() });
    let starts = |actions: &[Action]| -> Vec<InstanceId> {
        let of = |action: &Action| match action {
            Action::Spawn(spawn) => Some(spawn.id),
            _ => None,
        };
        actions.iter().filter_map(of).collect()
    };
    let api = key(Kind::Deployment, "api");
    let id = starts(&asked(&mut core, read(vec![deployment("api", 1)])))[0];
    asked(&mut core, Event::Spawned { id, pid: 1 });
    let end = Event::Exited { id, exit: Exit::Code(0), at: now(0).mono };
    // Gone, back, with a mistake, and back.
    asked(&mut core, read(Vec::new()));
    assert!(core.unit(&api).unwrap().deleting);
    asked(&mut core, read(vec![deployment("api", 3)]));
    let plan = core.plan(&UnitsRead { valid: vec![deployment("api", 3)], ..Default::default() });
    assert_eq!(plan[0].kind, ChangeKind::Create);
    assert_eq!(core.plan(&UnitsRead::default()), [], "it is going already");
    let mut first = core.clone();
    assert_eq!(starts(&asked(&mut first, end.clone())).len(), 3);
    let view = first.unit(&api).unwrap();
    assert_eq!((view.deleting, view.generation, view.counts.desired), (false, 1, 3));
    // Gone again before it is gone: nothing comes.
    let mut second = core.clone();
    asked(&mut second, read(Vec::new()));
    assert!(starts(&asked(&mut second, end.clone())).is_empty());
    assert!(second.unit(&api).is_none());
    // Gone again, and then there with a mistake.
    let mut third = core.clone();
    asked(&mut third, read(Vec::new()));
    let invalid = BTreeMap::from([(api.clone(), "a slip".to_owned())]);
    asked(&mut third, Event::Units(UnitsRead { invalid, ..UnitsRead::default() }));
    asked(&mut third, end);
    assert!(third.unit(&api).is_none());
    let left: Vec<String> = third.invalid_files().into_iter().map(|file| file.message).collect();
    assert_eq!(left, ["a slip"], "what its file is now is not forgotten");
}

/// (field, the live change of it, the file before and after, whether the change stays)
#[test]
fn live_changes_end_with_their_own_field() {
    let stateful = |replicas, paused| {
        let mut unit = statefulset("x", replicas);
        if let WorkloadSpec::StatefulSet(spec) = &mut unit.workload {
            spec.paused = paused;
        }
        unit
    };
    let suspended = |mut spec: UnitSpec| {
        match &mut spec.workload {
            WorkloadSpec::Job(job) => job.suspend = true,
            WorkloadSpec::CronJob(cron) => cron.suspend = true,
            _ => panic!("nothing to suspend"),
        }
        spec
    };
    let all = Overrides {
        replicas: Some(7),
        paused: Some(true),
        suspend: Some(false),
        stopped: true,
        template: Some(Arc::new(template(RestartPolicy::Always))),
        restarted_at: Some(5),
    };
    let fields = |overrides: &Overrides| -> Vec<String> {
        overrides.describe().into_iter().map(|(field, value)| format!("{field}: {value}")).collect()
    };
    let each = [
        "replicas: 7",
        "rollout.paused: true",
        "suspend: false",
        "stopped: true",
        "process: as before, by `rollout undo`",
        "restarted: by `rollout restart`",
    ];
    assert_eq!(fields(&all), each);
    assert_eq!(fields(&Overrides::default()), [""; 0]);
    // (what differs, before, after, the fields that end)
    let x = || deployment("x", 1);
    #[rustfmt::skip]
    let rows: Vec<(Rule, UnitSpec, UnitSpec, &[usize])> = vec![
        (by("wsup", "nothing"), x(), x(), &[]),
        (by("wsup", "the count"), x(), with_replicas(x(), 2), &[0]),
        (by("wsup", "a statefulset's count"), stateful(1, false), stateful(2, false), &[0]),
        (by("wsup", "a statefulset's pause"), stateful(1, false), stateful(1, true), &[1]),
        (by("wsup", "a job's suspension"), job("x"), suspended(job("x")), &[2]),
        (by("wsup", "a cronjob's"), cronjob("x", "@daily"), suspended(cronjob("x", "@daily")), &[2]),
        (by("wsup", "the template ends an undo and a restart"), x(), with_env(x(), "1"), &[4, 5]),
        (by("wsup", "a schedule is no field of them"), cronjob("x", "@daily"), cronjob("x", "@hourly"), &[]),
    ];
    for (rule, before, after, ended) in rows {
        let mut left = all.clone();
        left.drop_changed(&before, &after);
        let want: Vec<&str> =
            (0..each.len()).filter(|at| !ended.contains(at)).map(|at| each[at]).collect();
        assert_eq!(fields(&left), want, "{rule}");
    }
}

/// (rule, what the unit asks for, the node's labels, whether it runs)
#[test]
fn a_unit_runs_where_its_labels_are() {
    let labels = |text: &str| -> BTreeMap<String, String> {
        let pairs = text.split(' ').filter_map(|pair| pair.split_once('='));
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    };
    #[rustfmt::skip]
    let rows = [
        (by("wsup", "nothing is asked for"), "", "", true),
        (by("wsup", "the node has more"), "", "disk=ssd", true),
        (by("wsup", "the node has it"), "disk=ssd", "disk=ssd cpu=arm", true),
        (by("wsup", "the node has it not"), "disk=ssd", "cpu=arm", false),
        (by("wsup", "the node has another"), "disk=ssd", "disk=hdd", false),
        (by("wsup", "all of them are needed"), "disk=ssd cpu=arm", "disk=ssd", false),
    ];
    for (rule, selector, node, runs) in rows {
        let config = Config { node_labels: labels(node), ..Bench::config(7) };
        let mut core = Core::new(config);
        let spec = UnitSpec { node_selector: labels(selector), ..deployment("api", 1) };
        asked(&mut core, Event::Units(UnitsRead { valid: vec![spec], ..UnitsRead::default() }));
        assert_eq!(core.instances().len(), usize::from(runs), "{rule}");
        let view = core.unit(&key(Kind::Deployment, "api")).unwrap();
        assert_eq!(view.not_selected, !runs, "{rule}");
    }
}
