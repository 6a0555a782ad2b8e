//! What `wsup ctl` prints and how it exits, against the real core with made-up processes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may say what it expects"
)]

#[path = "cli/world.rs"]
mod world;

use snapbox::{assert_data_eq, str};
use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;
use world::World;

const API: &str = r#"
kind = "deployment"
description = "the public API"
labels = { tier = "web" }
replicas = 2
[process]
command = ["serve"]
env = { LEVEL = "info" }
"#;
const DB: &str = "kind = \"statefulset\"\nreplicas = 1\n[process]\ncommand = [\"db\"]\n";
const AGENT: &str = "kind = \"daemonset\"\n[process]\ncommand = [\"agent\"]\n";
const MIGRATE: &str = "kind = \"job\"\n[process]\ncommand = [\"exit\", \"0\"]\n";
const BROKEN_JOB: &str =
    "kind = \"job\"\n[process]\ncommand = [\"exit\", \"3\"]\n[job]\nbackoff_limit = 0\n";
const BACKUP: &str =
    "kind = \"cronjob\"\n[process]\ncommand = [\"tar\"]\n[cron]\nschedule = \"0 3 1 1 *\"\n";
const INVALID: &str = "kind = \"deployment\"\nreplcas = 2\n[process]\ncommand = [\"x\"]\n";

fn five() -> World {
    World::new(&[
        ("api", API),
        ("db", DB),
        ("agent", AGENT),
        ("migrate", MIGRATE),
        ("backup", BACKUP),
        ("broken", INVALID),
    ])
}

#[test]
fn ps_shows_units_with_their_instances() {
    let world = five();
    assert_data_eq!(
        world.ok("ps"),
        str![[r#"
NAME                  STATE       READY   RESTARTS   AGE   PID    REV   INFO
deployment/api        Available   2/2                Ns           1
  api-tw82m2m-hvls4   Ready       1/1     0          Ns    1001   1
  api-tw82m2m-8vcx9   Ready       1/1     0          Ns    1002   1
statefulset/db        Available   1/1                Ns           1
  db-0                Ready       1/1     0          Ns    1003   1
daemonset/agent       Available   1/1                Ns           1
  agent-here          Ready       1/1     0          Ns    1005   1
job/migrate           Complete    1/1                Ns           1     took Ns
  migrate-q2f89       Succeeded   0/1     0          Ns    -      1
cronjob/backup        Scheduled   -                  Ns                 next run in SPAN
deployment/broken     Invalid                                           DIR/units/broken.toml:2:1: unknown key `replcas` in the unit (did you mean `replicas`?)

"#]]
    );
    let wide = world.ok("ps statefulset/db -o wide");
    for text in ["NODE", "LAST EXIT", "DIR/state/data/db/db-0"] {
        assert!(wide.contains(text), "{text}: {wide}");
    }
    assert_data_eq!(
        world.ok("ps -l tier=web -o name"),
        str![[r#"
api-tw82m2m-hvls4
api-tw82m2m-8vcx9

"#]]
    );
    assert_eq!(world.ok("ps deploy/api -l tier!=web"), "No units found.\n");
}

#[test]
fn ps_json_is_the_contracts() {
    let world = five();
    let one = &world.json("ps db -o json")[0];
    assert_eq!(one["name"], "db-0");
    assert_eq!((&one["unit"], &one["kind"]), (&"db".into(), &"statefulset".into()));
    assert_eq!((&one["state"], &one["ready"]), (&"Ready".into(), &true.into()));
    assert_eq!((&one["restarts"], &one["revision"]), (&0.into(), &1.into()));
    assert!(one["pid"].is_u64() && one["started_at"].is_string(), "{one}");
    assert!(one["exit_code"].is_null() && one["signal"].is_null(), "{one}");
    assert_eq!(one["ordinal"], 0);
    assert_eq!(one["data_dir"], "DIR/state/data/db/db-0");
    assert_eq!(world.json("ps agent -o json")[0]["node"], "here");
    let done = &world.json("ps job/migrate -o json")[0];
    assert_eq!((&done["state"], &done["exit_code"]), (&"Succeeded".into(), &0.into()));
    assert!(done["pid"].is_null() && done.get("data_dir").is_none(), "{done}");
    assert_eq!(world.json("ps -o json").as_array().unwrap().len(), 5);
}

#[test]
fn get_has_kubectls_columns_for_each_kind() {
    let world = five();
    assert_data_eq!(
        world.ok("get"),
        str![[r#"
NAME             STATE       READY   UP-TO-DATE   AVAILABLE   AGE   INFO
deployment/api   Available   2/2     2            2           Ns

NAME             STATE       READY   UP-TO-DATE   AGE   INFO
statefulset/db   Available   1/1     1            Ns

NAME              STATE       DESIRED   CURRENT   READY   UP-TO-DATE   AVAILABLE   AGE   INFO
daemonset/agent   Available   1         1         1       1            1           Ns

NAME          STATE      COMPLETIONS   DURATION   AGE   INFO
job/migrate   Complete   1/1           Ns         Ns    took Ns

NAME             STATE       SCHEDULE    ZONE    SUSPEND   ACTIVE   LAST   NEXT     AGE   INFO
cronjob/backup   Scheduled   0 3 1 1 *   local   no        0        -      in SPAN   Ns

"#]]
    );
    assert_data_eq!(
        world.ok("get deploy -o wide"),
        str![[r#"
NAME   STATE       READY   UP-TO-DATE   AVAILABLE   AGE   REV   LABELS     INFO
api    Available   2/2     2            2           Ns    1     tier=web

"#]]
    );
    assert_data_eq!(
        world.ok("get sts,job/migrate -o name"),
        str![[r#"
statefulset/db
job/migrate

"#]]
    );
    let api = &world.json("get deployment/api -o json")[0];
    for field in ["generation", "revision", "desired", "current", "ready", "updated", "available"] {
        assert!(api[field].is_u64(), "{field}: {api}");
    }
    let condition = &api["conditions"][0];
    for field in ["type", "status", "reason", "message"] {
        assert!(condition[field].is_string(), "{field}: {condition}");
    }
    let job = &world.json("get job/migrate -o json")[0];
    assert_eq!(
        (&job["active"], &job["succeeded"], &job["failed"]),
        (&0.into(), &1.into(), &0.into())
    );
    assert!(job["completed_at"].is_string(), "{job}");
    let cron = &world.json("get cj -o json")[0];
    assert!(cron["active"].is_array() && cron["last_schedule"].is_null(), "{cron}");
    assert!(cron["next_schedule"].is_string(), "{cron}");
}

#[test]
fn describe_tells_everything() {
    let world = five();
    // How controllers word their events is not this test's business.
    let describe = |target: &str| {
        let text = world.ok(&format!("describe {target}"));
        let (facts, events) = text.split_once("\nEvents:\n").unwrap();
        assert!(events.contains("REASON"), "{events}");
        facts.to_owned()
    };
    assert_data_eq!(
        describe("api"),
        str![[r#"
Name:                api
Kind:                deployment
Description:         the public API
Labels:              tier=web
State:               Available
Created:             TIME (Ns ago)
Generation:          1
Revision:            1
Instances:           2 desired, 2 current, 2 updated, 2 ready, 2 available
Strategy:            rolling_update, 25% max surge, 25% max unavailable
Progress deadline:   10m
Command:             serve
Env:                 LEVEL
Restart:             always, backoff Ns to 5m
Stop:                SIGTERM, SIGKILL after Ns

Conditions:
  TYPE          STATUS   REASON                     SINCE   MESSAGE
  Progressing   True     NewReplicaSetAvailable     Ns      the roll-out is complete
  Available     True     MinimumReplicasAvailable   Ns      enough instances are available

Instances:
  NAME                STATE   RESTARTS   AGE   PID    REV   LAST EXIT   INFO
  api-tw82m2m-hvls4   Ready   0          Ns    1001   1     -
  api-tw82m2m-8vcx9   Ready   0          Ns    1002   1     -

"#]]
    );
    assert_data_eq!(
        describe("db-0"),
        str![[r#"
Name:                db-0
Unit:                statefulset/db
State:               Ready
Ready:               yes
Pid:                 1003
Restarts:            0
Revision:            1
Created:             TIME (Ns ago)
Started:             TIME (Ns ago)
Last exit:           none
Ordinal:             0
Data:                DIR/state/data/db/db-0
Unit state:          Available
Management policy:   ordered_ready
Strategy:            rolling_update, partition 0, 1 max unavailable
Command:             db
Restart:             always, backoff Ns to 5m
Stop:                SIGTERM, SIGKILL after Ns

"#]]
    );
    assert_data_eq!(
        describe("cronjob/backup"),
        str![[r#"
Name:                 backup
Kind:                 cronjob
State:                Scheduled
Why:                  next run in SPAN
Created:              TIME (Ns ago)
Generation:           1
Schedule:             0 3 1 1 *
Time zone:            the machine's
Next run:             TIME (in SPAN)
Active:               -
Concurrency policy:   allow
Jobs kept:            3 successful, 1 failed
Completions:          1
Parallelism:          1
Backoff limit:        6
Command:              tar
Restart:              never
Stop:                 SIGTERM, SIGKILL after Ns

Instances:   none

"#]]
    );
}

#[test]
fn what_changes_is_said() {
    let world = five();
    for (words, said) in [
        (
            "scale api --replicas 3",
            str![[r#"
deployment/api scaled from 2 to 3

"#]],
        ),
        (
            "rollout pause api",
            str![[r#"
deployment/api paused

"#]],
        ),
        (
            "rollout resume api",
            str![[r#"
deployment/api resumed

"#]],
        ),
        (
            "rollout restart deployment/api",
            str![[r#"
deployment/api restarted, step by step

"#]],
        ),
        (
            "rollout status api",
            str![[r#"
deployment/api successfully rolled out

"#]],
        ),
        (
            "rollout history api",
            str![[r#"
REVISION   AGE   INSTANCES   CHANGE
1          Ns    0           first known
2 *        Ns    3           restarted_at

"#]],
        ),
        (
            "rollout history api --revision 2",
            str![[r#"
revision 2, 3 instances
...
changes from the revision before:
  restarted_at: (unset) -> [..]

"#]],
        ),
        (
            "rollout undo api",
            str![[r#"
deployment/api rolled back to the previous revision

"#]],
        ),
        (
            "stop db",
            str![[r#"
statefulset/db stopped

"#]],
        ),
        (
            "wait db --for stopped",
            str![[r#"
statefulset/db is stopped

"#]],
        ),
        (
            "start db",
            str![[r#"
statefulset/db started

"#]],
        ),
        (
            "wait db --for available --timeout 5s",
            str![[r#"
statefulset/db is available

"#]],
        ),
        (
            "suspend cj/backup",
            str![[r#"
cronjob/backup suspended

"#]],
        ),
        (
            "resume cj/backup",
            str![[r#"
cronjob/backup resumed

"#]],
        ),
        (
            "trigger cj/backup --name by-hand",
            str![[r#"
job/by-hand created

"#]],
        ),
        (
            "signal db-0 HUP",
            str![[r#"
SIGHUP sent to 1 process of db-0

"#]],
        ),
        (
            "restart db-0",
            str![[r#"
instance db-0 restarted

"#]],
        ),
        (
            "delete job/migrate --cascade=foreground",
            str![[r#"
job/migrate deleted

"#]],
        ),
        (
            "ping",
            str![[r#"
the daemon at DIR/wsup.sock answers

"#]],
        ),
    ] {
        assert_data_eq!(world.ok(words), said);
    }
}

#[test]
fn refusals_have_the_contracts_exit_codes_and_a_remedy() {
    let world = World::new(&[
        ("api", API),
        ("migrate", MIGRATE),
        ("bad", BROKEN_JOB),
        ("backup", BACKUP),
        ("two", "kind = \"job\"\nname = \"api\"\n[process]\ncommand = [\"exit\", \"0\"]\n"),
    ]);
    for (words, code, said) in [
        (
            "ps nothing",
            3,
            str![[r#"
error: there is no unit or instance `nothing`
 help: `wsup ctl ps` lists what there is

"#]],
        ),
        (
            "ps deployment/apo",
            3,
            str![[r#"
error: there is no deployment `apo`
 help: did you mean `api`?

"#]],
        ),
        (
            "ps deployment/migrate",
            3,
            str![[r#"
error: there is no deployment `migrate`
 help: did you mean `job/migrate`?

"#]],
        ),
        (
            "ps instance/nothing",
            3,
            str![[r#"
error: there is no instance `nothing`
 help: `wsup ctl ps` lists what there is

"#]],
        ),
        (
            "ps rs/api",
            2,
            str![[r#"
error: `rs` is not a kind
 help: a deployment keeps its replicasets itself: `rollout history` shows them

"#]],
        ),
        (
            "get deploymnts",
            2,
            str![[r#"
error: `deploymnts` is not a kind
 help: did you mean `deployment`?

"#]],
        ),
        (
            "stop api",
            2,
            str![[r#"
error: `api` may mean deployment/api or job/api
 help: write the kind as well

"#]],
        ),
        (
            "suspend deployment/api",
            1,
            str![[r#"
error: only jobs and cronjobs are suspended; use `stop deployment/api` for a deployment

"#]],
        ),
        (
            "scale migrate --replicas 2",
            1,
            str![[r#"
error: a job cannot be scaled; only deployments and statefulsets have replicas

"#]],
        ),
        (
            "rollout undo job/migrate",
            2,
            str![[r#"
error: job/migrate: a job has no roll-outs
 help: deployments, statefulsets and daemonsets have

"#]],
        ),
        (
            "rollout history deploy/api --revision 9",
            3,
            str![[r#"
error: deploy/api has no revision 9
 help: `wsup ctl rollout history deploy/api` lists them

"#]],
        ),
        (
            "trigger deployment/api",
            2,
            str![[r#"
error: deployment/api: only a cronjob can be triggered
 help: `wsup ctl restart` runs a finished job anew

"#]],
        ),
        (
            "signal deployment/api SIGNOPE",
            2,
            str![[r#"
error: `SIGNOPE` is not a signal
 help: write a name such as SIGHUP, or a number from 1 to 64

"#]],
        ),
        (
            "wait job/bad --for complete",
            1,
            str![[r#"
error: job/bad failed: BackoffLimitExceeded: the job has reached its backoff limit

"#]],
        ),
        (
            "wait deployment/api --for complete",
            2,
            str![[r#"
error: deployment/api: a deployment runs on and is never complete
 help: wait for `available` or `stopped`

"#]],
        ),
        (
            "wait cj/backup --for available",
            2,
            str![[r#"
error: cronjob/backup: a cronjob does not end and serves nobody; its jobs do
 help: `wsup ctl get jobs` lists them; wait for job/backup-...

"#]],
        ),
        (
            "wait deployment/api --for stopped --timeout 50ms",
            5,
            str![[r#"
error: timed out: deployment/api: 2 instances have not ended

"#]],
        ),
        (
            "delete migrate --cascade=orphan",
            2,
            str![[r#"
error: `--cascade=orphan` is not supported yet

"#]],
        ),
        (
            "exec api-0 -- sh",
            2,
            str![[r#"
error: `wsup ctl exec` is not supported yet

"#]],
        ),
        (
            "logs deploy/api --grep time(out",
            2,
            str![[r#"
error: `time(out` is not a regular expression: column 5: unclosed group
 help: put `/` before a character that stands for itself

"#]],
        ),
    ] {
        let got = world.ctl(words);
        assert_eq!((got.code, got.out.as_str()), (code, ""), "{words}: {}", got.err);
        assert_data_eq!(got.err, said);
    }
    assert_eq!(world.ctl("scale deployment/api").code, 2);
    assert_eq!(world.ctl("wait job/bad --for failed").code, 0);
}

#[test]
fn apply_and_diff_show_what_changes() {
    let world = World::new(&[("api", API), ("db", DB), ("migrate", MIGRATE)]);
    assert_eq!(world.ok("diff"), "");
    world.write("api", &API.replace("replicas = 2", "replicas = 3").replace("info", "debug"));
    world.write("web", AGENT);
    world.remove("db");
    let diff = world.ctl("diff");
    assert_eq!(diff.code, 1, "{diff:?}");
    assert_data_eq!(
        diff.out,
        str![[r#"
deployment/api configured, rolls out
  process.env.LEVEL: "info" -> "debug"
  replicas: 2 -> 3
statefulset/db removed
daemonset/web created

"#]]
    );
    assert_data_eq!(
        world.ok("apply --dry-run"),
        str![[r#"
deployment/api configured, rolls out (dry run)
  process.env.LEVEL: "info" -> "debug"
  replicas: 2 -> 3
statefulset/db removed (dry run)
daemonset/web created (dry run)
1 unit unchanged

"#]]
    );
    assert_data_eq!(
        world.ok("apply"),
        str![[r#"
deployment/api configured, rolls out
statefulset/db removed
daemonset/web created
1 unit unchanged

"#]]
    );
    assert_data_eq!(
        world.ok("apply"),
        str![[r#"
3 units unchanged

"#]]
    );
    world.write("web", INVALID);
    let bad = world.ctl("apply");
    assert_eq!(bad.code, 1, "{bad:?}");
    assert_data_eq!(
        bad.out,
        str![[r#"
deployment/web invalid: DIR/units/web.toml:2:1: unknown key `replcas` in the unit (did you mean `replicas`?)
daemonset/web removed
2 units unchanged

"#]]
    );
    assert_data_eq!(
        bad.err,
        str![[r#"
error: unknown key `replcas` in the unit
 --> DIR/units/web.toml:2:1
  |
2 | replcas = 2
  | ^^^^^^^
  |
  = help: did you mean `replicas`?

"#]]
    );
}

#[test]
fn events_are_told_and_followed() {
    let world = World::new(&[("migrate", MIGRATE), ("api", API)]);
    assert_data_eq!(
        world.ok("events job/migrate"),
        str![[r#"
AGE   TYPE     REASON            OBJECT          MESSAGE
Ns    Normal   UnitApplied       job/migrate     created
Ns    Normal   JobStarted        job/migrate     started
Ns    Normal   InstanceCreated   migrate-q2f89   created
Ns    Normal   InstanceStarted   migrate-q2f89   started as process 1003
Ns    Normal   InstanceReady     migrate-q2f89   ready
Ns    Normal   InstanceExited    migrate-q2f89   ended with exit code 0
Ns    Normal   JobCompleted      job/migrate     complete

"#]]
    );
    let text = world.ok("events -o json");
    for line in text.lines() {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        for field in ["time", "type", "reason", "kind", "name", "instance", "message"] {
            assert!(event.get(field).is_some(), "{field}: {event}");
        }
    }
    assert!(text.contains(r#""exit_code":0"#), "{text}");
    // What is gone is still told of.
    world.ok("delete job/migrate --cascade=foreground");
    assert!(world.ok("events job/migrate").contains("JobCompleted"));
    let mut child = world.command("events -w -o json").stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    world.ok("scale api --replicas 1");
    assert!(lines.any(|line| line.unwrap().contains(r#""reason":"ScaledDown""#)));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_watched_list_tells_changes_and_ends_with_the_daemon() {
    let mut world = World::new(&[("api", API)]);
    let mut child = world.command("ps -w -o json").stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for _ in 0..2 {
        let line = lines.next().unwrap().unwrap();
        assert!(line.starts_with(r#"{"change":"added","object":{"name":"api-"#), "{line}");
    }
    world.ok("scale api --replicas 1");
    let removed = lines.any(|line| line.unwrap().starts_with(r#"{"change":"removed""#));
    assert!(removed);
    world.stop();
    assert_eq!(child.wait().unwrap().code(), Some(4));
}

#[test]
fn logs_are_read_and_followed_over_rotation() {
    let world = World::new(&[("api", API), ("db", DB)]);
    let names: Vec<String> = world.ok("ps api -o name").lines().map(str::to_owned).collect();
    let dir = world.path("log/api");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::create_dir_all(world.path("log/db")).unwrap();
    std::fs::write(world.path("log/db/db-0.log"), "one\ntwo\nthree\n").unwrap();
    assert_eq!(world.ok("logs db-0 --tail 2"), "two\nthree\n");
    assert_eq!(world.ok("logs db"), "one\ntwo\nthree\n");
    for name in &names {
        std::fs::write(dir.join(format!("{name}.log")), "hello\nopen").unwrap();
    }
    let (a, b) = (&names[0], &names[1]);
    assert_eq!(world.ok("logs api"), format!("{a} | hello\n{a} | open\n{b} | hello\n{b} | open\n"));
    let mut child = world.command("logs -f db --tail 1").stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "three");
    let path = world.path("log/db/db-0.log");
    std::fs::rename(&path, world.path("log/db/db-0.log.1")).unwrap();
    std::fs::write(&path, "four\n").unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "four");
    world.ok("delete statefulset/db");
    assert!(lines.next().is_none(), "it ends with its unit");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(world.ok("logs db-0"), "one\ntwo\nthree\nfour\n", "what is gone left its log");
    assert_eq!(world.ctl("logs ../db/db-0").code, 2);
}

#[test]
fn logs_know_runs_and_times() {
    use std::os::unix::fs::MetadataExt;
    use wsup::core::time::Wall;
    use wsup::runner::logs::index::{Mark, Record, Stream, header};
    let world = World::new(&[("db", DB)]);
    std::fs::create_dir_all(world.path("log/db")).unwrap();
    let path = world.path("log/db/db-0.log");
    std::fs::write(&path, "first\nsecond\n").unwrap();
    let mut index = header(std::fs::metadata(&path).unwrap().ino()).to_vec();
    let chunk = Mark::Chunk { stream: Stream::Stdout, joined: false };
    for (at, mark, offset) in [(1000, Mark::Start, 0), (1000, chunk, 0), (1000, Mark::End, 6)] {
        index.extend(Record { at: Wall(at), mark, offset }.encode());
    }
    let now = jiff::Timestamp::now().as_millisecond();
    for mark in [Mark::Start, chunk] {
        index.extend(Record { at: Wall(now), mark, offset: 6 }.encode());
    }
    std::fs::write(world.path("log/db/db-0.log.idx"), index).unwrap();
    assert_eq!(world.ok("logs db-0"), "first\nsecond\n");
    assert_eq!(world.ok("logs db-0 --previous"), "first\n");
    assert_eq!(world.ok("logs db-0 --since 1h"), "second\n");
    let output = world.command("logs db-0 --timestamps --previous").output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "1970-01-01T00:00:01Z first\n");
    assert_eq!(world.ctl("logs db-0 -f --previous").code, 2);
}

#[test]
fn logs_of_several_are_merged_and_lines_chosen() {
    use std::os::unix::fs::MetadataExt;
    use wsup::core::time::Wall;
    use wsup::runner::logs::index::{Mark, Record, Stream, header};
    let world = World::new(&[("api", API), ("db", DB)]);
    let names: Vec<String> = world.ok("ps api -o name").lines().map(str::to_owned).collect();
    let (a, b) = (&names[0], &names[1]);
    let write = |unit: &str, name: &str, lines: &[(i64, Stream, &str)]| {
        let path = world.path(&format!("log/{unit}/{name}.log"));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let text: String = lines.iter().map(|(_, _, line)| format!("{line}\n")).collect();
        std::fs::write(&path, text).unwrap();
        let mut index = header(std::fs::metadata(&path).unwrap().ino()).to_vec();
        let mut offset = 0;
        for (at, stream, line) in lines {
            let mark = Mark::Chunk { stream: *stream, joined: false };
            index.extend(Record { at: Wall(*at), mark, offset }.encode());
            offset += line.len() as u64 + 1;
        }
        std::fs::write(wsup::runner::logs::index_path(&path, 0), index).unwrap();
    };
    let (out, err) = (Stream::Stdout, Stream::Stderr);
    write("api", a, &[(1000, out, "GET /1"), (3000, err, "timeout"), (5000, out, "GET /3")]);
    write("api", b, &[(2000, out, "GET /2"), (4000, err, "timed out")]);
    write("db", "db-0", &[(2500, out, "checkpoint")]);
    let named = |lines: &[(&String, &str)]| -> String {
        lines.iter().map(|(name, line)| format!("{name} | {line}\n")).collect()
    };
    let api = [(a, "GET /1"), (b, "GET /2"), (a, "timeout"), (b, "timed out"), (a, "GET /3")];
    assert_eq!(world.ok("logs api"), named(&api));
    assert_eq!(world.ok("logs -l tier=web"), named(&api));
    let db = "db-0".to_owned();
    let mut all = api.to_vec();
    all.insert(2, (&db, "checkpoint"));
    assert_eq!(world.ok("logs --all"), named(&all));
    assert_eq!(world.ok("logs api --stream stderr"), named(&api[2..4]));
    assert_eq!(world.ok("logs api --grep ^GET --tail 1"), named(&[api[1], api[4]]));
    assert_eq!(world.ok(&format!("logs {a} --grep time --stream stdout")), "");
    assert_eq!(world.ctl("logs -l tier=web api").code, 2);
    // What is there already comes in the order of time as well when it is followed.
    let mut child = world.command("logs -f -l tier=web").stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for (name, line) in api {
        assert_eq!(lines.next().unwrap().unwrap(), format!("{name} | {line}"));
    }
    world.ctl("delete deployment/api");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn without_a_daemon_the_sockets_that_were_tried_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_wsup"))
        .args(["ctl", "ping"])
        .current_dir(dir.path())
        .env_remove("WSUP_CONTROL")
        .env("XDG_RUNTIME_DIR", dir.path())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(4), "{said}");
    for path in [".wsup/run/wsup.sock", "wsup/wsup.sock", "/run/wsup/wsup.sock", "help:"] {
        assert!(said.contains(path), "{path}: {said}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let world = World::new(&[("api", &API.replace("replicas = 2", "replicas = 400"))]);
    let mut child = world.command("ps -o json").stdout(Stdio::piped()).spawn().unwrap();
    let mut out = child.stdout.take().unwrap();
    out.read_exact(&mut [0; 10]).unwrap();
    drop(out);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn the_socket_is_its_owners_and_speaks_plain_http() {
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;
    let world = World::new(&[("api", API)]);
    let path = world.path("wsup.sock");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let ask = |request: &str| {
        let mut stream = std::os::unix::net::UnixStream::connect(&path).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let get =
        |path: &str| ask(&format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
    assert!(get("/v1/units").contains("200 OK"));
    assert!(get("/v2/units").contains(r#""code":"usage""#));
    assert!(get("/v1/wait?for=nonsense").contains("400 Bad Request"));
    let head = "POST /v1/actions HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
                Content-Type: application/json\r\nContent-Length: 1048576\r\n\r\n";
    let answer = ask(&format!("{head}{}", "x".repeat(1 << 20)));
    assert!(answer.contains("413") && answer.contains("name fewer targets"), "{answer}");
}
