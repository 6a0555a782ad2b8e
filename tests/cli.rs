//! What `wsup ctl` prints and how it exits, against the real core with made-up processes.

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
    assert_data_eq!(world.ok("ps"), str![[r#""#]]);
    assert_data_eq!(world.ok("ps statefulset/db -o wide"), str![[r#""#]]);
    assert_data_eq!(world.ok("ps -l tier=web -o name"), str![[r#""#]]);
    assert_data_eq!(world.ok("ps deploy/api -l tier!=web"), str![[r#""#]]);
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
    assert_eq!(one["data_dir"], world.path("state/data/db/db-0").to_string_lossy().as_ref());
    assert_eq!(world.json("ps agent -o json")[0]["node"], "here");
    let done = &world.json("ps job/migrate -o json")[0];
    assert_eq!((&done["state"], &done["exit_code"]), (&"Succeeded".into(), &0.into()));
    assert!(done["pid"].is_null() && done.get("data_dir").is_none(), "{done}");
    assert_eq!(world.json("ps -o json").as_array().unwrap().len(), 5);
}

#[test]
fn get_has_kubectls_columns_for_each_kind() {
    let world = five();
    assert_data_eq!(world.ok("get"), str![[r#""#]]);
    assert_data_eq!(world.ok("get deploy -o wide"), str![[r#""#]]);
    assert_data_eq!(world.ok("get sts,job/migrate -o name"), str![[r#""#]]);
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
    assert_data_eq!(world.ok("describe api"), str![[r#""#]]);
    assert_data_eq!(world.ok("describe db-0"), str![[r#""#]]);
    assert_data_eq!(world.ok("describe cronjob/backup"), str![[r#""#]]);
}

#[test]
fn what_changes_is_said() {
    let world = five();
    for (words, said) in [
        ("scale api --replicas 3", str![[r#""#]]),
        ("rollout pause api", str![[r#""#]]),
        ("rollout resume api", str![[r#""#]]),
        ("rollout restart deployment/api", str![[r#""#]]),
        ("rollout status api", str![[r#""#]]),
        ("rollout history api", str![[r#""#]]),
        ("rollout history api --revision 2", str![[r#""#]]),
        ("rollout undo api", str![[r#""#]]),
        ("stop db", str![[r#""#]]),
        ("wait db --for stopped", str![[r#""#]]),
        ("start db", str![[r#""#]]),
        ("wait db --for available --timeout 5s", str![[r#""#]]),
        ("suspend cj/backup", str![[r#""#]]),
        ("resume cj/backup", str![[r#""#]]),
        ("trigger cj/backup --name by-hand", str![[r#""#]]),
        ("signal db-0 HUP", str![[r#""#]]),
        ("restart db-0", str![[r#""#]]),
        ("delete job/migrate --cascade=foreground", str![[r#""#]]),
        ("ping", str![[r#""#]]),
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
        ("ps nothing", 3, str![[r#""#]]),
        ("ps deployment/apo", 3, str![[r#""#]]),
        ("ps deployment/migrate", 3, str![[r#""#]]),
        ("ps instance/nothing", 3, str![[r#""#]]),
        ("ps rs/api", 2, str![[r#""#]]),
        ("get deploymnts", 2, str![[r#""#]]),
        ("stop api", 2, str![[r#""#]]),
        ("suspend deployment/api", 1, str![[r#""#]]),
        ("scale migrate --replicas 2", 1, str![[r#""#]]),
        ("rollout undo job/migrate", 2, str![[r#""#]]),
        ("rollout history deploy/api --revision 9", 3, str![[r#""#]]),
        ("trigger deployment/api", 2, str![[r#""#]]),
        ("signal deployment/api SIGNOPE", 2, str![[r#""#]]),
        ("wait job/bad --for complete", 1, str![[r#""#]]),
        ("wait deployment/api --for complete", 2, str![[r#""#]]),
        ("wait cj/backup --for available", 2, str![[r#""#]]),
        ("wait deployment/api --for stopped --timeout 50ms", 5, str![[r#""#]]),
        ("delete migrate --cascade=orphan", 2, str![[r#""#]]),
        ("exec api-0 -- sh", 2, str![[r#""#]]),
        ("shutdown --keep-running", 2, str![[r#""#]]),
        ("logs deploy/api --since 5m", 2, str![[r#""#]]),
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
    assert_data_eq!(diff.out, str![[r#""#]]);
    assert_data_eq!(world.ok("apply --dry-run"), str![[r#""#]]);
    assert_data_eq!(world.ok("apply"), str![[r#""#]]);
    assert_data_eq!(world.ok("apply"), str![[r#""#]]);
    world.write("web", INVALID);
    let bad = world.ctl("apply");
    assert_eq!(bad.code, 1, "{bad:?}");
    assert_data_eq!(bad.out, str![[r#""#]]);
    assert_data_eq!(bad.err, str![[r#""#]]);
}

#[test]
fn events_are_told_and_followed() {
    let world = World::new(&[("migrate", MIGRATE), ("api", API)]);
    assert_data_eq!(world.ok("events job/migrate"), str![[r#""#]]);
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
    let huge = 1 << 20;
    let body = "x".repeat(huge);
    let answer = ask(&format!(
        "POST /v1/actions HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {huge}\r\n\r\n{body}"
    ));
    assert!(answer.contains("413"), "{answer}");
}
