//! `wsup simulate` as people call it: timelines, mistakes, and the same output twice.
//!
//! The transcripts in `docs/simulations` are what the command prints; `SNAPSHOTS=overwrite` writes
//! them anew.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test may say what it expects"
)]

use serde_json::Value;
use snapbox::{Data, assert_data_eq};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Instant;

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Runs `wsup simulate` in a folder of the project.
fn simulate(folder: &Path, words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wsup"))
        .arg("simulate")
        .args(words)
        .current_dir(folder)
        .env("NO_COLOR", "1")
        // A simulation is the same wherever the machine stands.
        .env("TZ", "Pacific/Auckland")
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The timeline of a simulation that must succeed.
fn timeline(folder: &str, words: &[&str]) -> String {
    let output = simulate(&project(folder), words);
    assert!(output.status.success(), "{words:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// A folder with these files.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    dir
}

/// Plays a unit with a script: exit code, standard output, standard error.
fn play(unit: &str, script: &str, words: &[&str]) -> (i32, String, String) {
    let dir = folder(&[("units/app.toml", unit), ("script.toml", script)]);
    let words = [&["units", "--script", "script.toml"], words].concat();
    let output = simulate(dir.path(), &words);
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

const SERVER: &str = "kind = \"deployment\"\nreplicas = 1\n[process]\ncommand = [\"app\"]\n";
const JOB: &str = "kind = \"job\"\n[process]\ncommand = [\"app\"]\n";

/// Each folder of `docs/simulations` is a simulation with its transcript: what the reader types
/// on the first line, and what it prints.
#[test]
fn the_documented_simulations_print_what_they_are_said_to() {
    let mut kinds = BTreeSet::new();
    for entry in std::fs::read_dir(project("docs/simulations")).unwrap() {
        let dir = entry.unwrap().path();
        let file = dir.join("transcript.txt");
        let expected = std::fs::read_to_string(&file).unwrap();
        let typed = expected.lines().next().unwrap();
        let words: Vec<&str> = typed.strip_prefix("$ wsup simulate ").unwrap().split(' ').collect();
        let output = simulate(&dir, &words);
        assert_eq!(text(&output.stderr), "", "{}", dir.display());
        let actual = format!("{typed}\n{}", text(&output.stdout));
        assert_data_eq!(actual, Data::read_from(&file, None).raw());
        kinds.insert(dir.file_name().unwrap().to_string_lossy().into_owned());
    }
    let all: BTreeSet<String> =
        wsup::core::id::Kind::ALL.iter().map(|kind| kind.as_str().to_owned()).collect();
    assert!(kinds.is_superset(&all), "a simulation for each kind, and {kinds:?} are there");
}

#[test]
fn the_same_seed_prints_the_same_and_another_other_names() {
    let words = ["units", "--script", "script.toml", "--for", "10m"];
    let first = timeline("docs/simulations/deployment", &words);
    assert_eq!(first, timeline("docs/simulations/deployment", &words));
    let zero = timeline("docs/simulations/deployment", &[&words[..], &["--seed", "0"]].concat());
    assert_eq!(first, zero, "the seed is 0 unless it is given");
    let other = timeline("docs/simulations/deployment", &[&words[..], &["--seed", "7"]].concat());
    assert_ne!(first, other);
    assert_eq!(first.lines().count(), other.lines().count());
}

#[test]
fn json_is_what_ctl_events_prints() {
    let words = ["units", "--script", "script.toml", "--for", "6d", "-o", "json"];
    let printed = timeline("docs/simulations/cronjob", &words);
    let reasons: BTreeSet<&str> =
        wsup::core::report::Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    let mut last = String::new();
    for line in printed.lines() {
        let value: Value = serde_json::from_str(line).unwrap();
        for key in ["time", "type", "reason", "kind", "name", "instance", "message"] {
            assert!(value.get(key).is_some(), "{key} is missing in {line}");
        }
        assert!(reasons.contains(value["reason"].as_str().unwrap()), "{line}");
        let time = value["time"].as_str().unwrap().to_owned();
        assert!(time >= last, "time goes on: {line}");
        last = time;
        let event: wsup::api::types::Event = serde_json::from_str(line).unwrap();
        assert_eq!(serde_json::to_string(&event).unwrap(), line);
        if event.reason == "CronTriggered" {
            assert!(event.fields.contains_key("scheduled"), "{line}");
        }
    }
    assert!(printed.contains("\"CronMissed\""));
}

#[test]
fn a_year_of_ten_cronjobs_in_three_zones_is_the_same_twice() {
    let words = ["year", "--for", "365d", "-o", "json"];
    let began = Instant::now();
    let first = timeline("tests/simulate", &words);
    println!("{} events in {:?}", first.lines().count(), began.elapsed());
    assert!(first == timeline("tests/simulate", &words), "the second run differs");
    let runs = |name: &str| {
        let of = format!("\"name\":\"{name}\"");
        first.lines().filter(|l| l.contains("\"CronTriggered\"") && l.contains(&of)).count()
    };
    // 365 days, from midnight of UTC on; clock changes neither lose nor double a run.
    assert_eq!(runs("c0"), 365, "30 2 * * * in Berlin");
    assert_eq!(runs("c1"), 365, "30 1 * * * in New York");
    assert_eq!(runs("c5"), 730, "15 6,18 * * * in Kolkata");
    assert_eq!(runs("c7"), 1_460, "@every 6h");
    assert_eq!(runs("c8"), 52, "Sundays");
}

#[test]
fn every_mistake_of_a_script_has_its_place() {
    let words = ["db.toml", "--for", "1h", "--script", "bad.toml"];
    let output = simulate(&project("tests/simulate"), &words);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stdout), "");
    let file = project("tests/simulate/bad.txt");
    assert_data_eq!(text(&output.stderr), Data::read_from(&file, None).raw());
}

#[test]
fn usage_and_invalid_files_have_their_exit_codes() {
    let dir = folder(&[
        ("units/app.toml", SERVER),
        ("bad/app.toml", "kind = \"deployment\"\nreplcas = 1\n"),
        ("toml.toml", "start = \n"),
        ("v2.toml", "[[change]]\nat = \"1s\"\nunits = \"bad\"\n"),
    ]);
    let rows: &[(&[&str], i32, &str)] = &[
        (&["units"], 2, "--for"),
        (&["units", "--for", "5"], 2, "did you mean \"5s\"?"),
        (&["units", "--for", "1h", "--from", "yesterday"], 2, "RFC 3339"),
        (&["units", "--for", "1h", "-o", "yaml"], 2, "yaml"),
        (&["units", "--for", "36500d", "--from", "9999-01-01T00:00:00Z"], 2, "year 9999"),
        (&["nowhere", "--for", "1h"], 2, "cannot read nowhere"),
        (&["units", "--for", "1h", "--script", "nowhere"], 2, "cannot read nowhere"),
        (&["bad", "--for", "1h"], 1, "did you mean `replicas`?"),
        (&["units", "--for", "1h", "--script", "toml.toml"], 1, "toml.toml:1:"),
        (&["units", "--for", "1h", "--script", "v2.toml"], 1, "did you mean `replicas`?"),
        (&["units", "--for", "1h"], 0, ""),
    ];
    for (words, code, message) in rows {
        let output = simulate(dir.path(), words);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(*code), "{words:?}: {said}");
        assert!(said.contains(message), "{words:?}: {said}");
    }
}

#[test]
fn a_simulation_begins_where_it_is_told() {
    let script = "start = 2026-03-02T09:00:00Z\n";
    let (_, fixed, _) = play(SERVER, "", &["--for", "1s"]);
    assert!(fixed.starts_with("Thursday, 2026-01-01 UTC\n00:00:00 "), "{fixed}");
    let (_, scripted, _) = play(SERVER, script, &["--for", "1s"]);
    assert!(scripted.starts_with("Monday, 2026-03-02 UTC\n09:00:00 "), "{scripted}");
    let words = ["--for", "1s", "--from", "2026-05-01T12:00:00+02:00"];
    let (_, given, _) = play(SERVER, script, &words);
    assert!(given.starts_with("Friday, 2026-05-01 UTC\n10:00:00 "), "{given}");
}

#[test]
fn a_process_without_a_behaviour_runs_on_and_a_job_exits_after_a_second() {
    let (_, server, _) = play(SERVER, "", &["--for", "365d"]);
    assert!(!server.contains("InstanceExited"), "{server}");
    let (_, job, _) = play(JOB, "", &["--for", "1s"]);
    assert!(job.contains("00:00:01      JobCompleted"), "the last instant belongs to it: {job}");
}

/// The script that a process follows, and the lines that must be there in this order.
#[test]
fn processes_do_what_the_script_says() {
    let rows: &[(&str, &str, &[&str])] = &[
        (
            "the last attempt repeats",
            "[[behaviour]]\nunit = \"app\"\nattempts = [{ runs_for = \"1s\", exit_code = 3 }]\n",
            &["00:00:01      InstanceExited", "exit code 3", "00:00:02      BackOff"],
        ),
        (
            "attempts are counted by start",
            "[[behaviour]]\nunit = \"deployment/app\"\n\
             attempts = [{ runs_for = \"1s\", signal = \"KILL\" }, {}]\n",
            &["00:00:01      InstanceExited", "SIGKILL", "1/1", "1 exits"],
        ),
        (
            "the stop signal is answered late",
            "[[behaviour]]\nunit = \"app\"\nstop_takes = \"2500ms\"\n\
             [[change]]\nat = \"10s\"\ncommand = [\"stop\", \"app\"]\n",
            &["$ wsup ctl stop app", "00:00:12.500  InstanceExited", "SIGTERM", "Stopped"],
        ),
        (
            "the stop signal is ignored",
            "[[behaviour]]\nunit = \"app\"\nstop_takes = \"never\"\n\
             [[change]]\nat = \"10s\"\ncommand = [\"stop\", \"app\"]\n",
            &["00:00:10      InstanceStopping", "00:00:40      InstanceKilled", "SIGKILL"],
        ),
        (
            "a signal that ends programs ends it, another does not",
            "[[change]]\nat = \"5s\"\ncommand = [\"signal\", \"app\", \"SIGWINCH\"]\n\
             [[change]]\nat = \"10s\"\ncommand = [\"signal\", \"app\", \"USR1\"]\n",
            &["SIGWINCH", "00:00:10", "$ wsup ctl signal app USR1", "SIGUSR1", "1 exits"],
        ),
        (
            "a refusal is told",
            "[[change]]\nat = \"5s\"\ncommand = [\"scale\", \"ap\", \"--replicas\", \"2\"]\n",
            &["$ wsup ctl scale ap --replicas 2", "refused:", "did you mean `app`?", "1/1"],
        ),
        (
            "nobody answers while no daemon runs",
            "[[change]]\nat = \"5s\"\ndaemon = \"kill\"\ndown_for = \"10s\"\n\
             [[change]]\nat = \"6s\"\ncommand = [\"stop\", \"app\"]\n",
            &["the daemon is killed", "refused: no daemon runs", "00:00:15", "DaemonAdopted"],
        ),
        (
            "a daemon that is not there cannot be killed",
            "[[change]]\nat = \"5s\"\ndaemon = \"kill\"\ndown_for = \"10s\"\n\
             [[change]]\nat = \"6s\"\ndaemon = \"stop\"\n",
            &["the daemon is killed", "00:00:06        refused: no daemon runs", "DaemonStarted"],
        ),
        (
            "a daemon that stops takes its processes with it",
            "[[change]]\nat = \"5s\"\ndaemon = \"stop\"\ndown_for = \"1h\"\n",
            &["DaemonStopping", "SIGTERM", "the daemon has ended", "no daemon runs"],
        ),
        (
            "what ended without a daemon is known later",
            "[[behaviour]]\nunit = \"app\"\nattempts = [{ runs_for = \"7s\" }, {}]\n\
             [[change]]\nat = \"5s\"\ndaemon = \"kill\"\ndown_for = \"10s\"\n",
            &["00:00:15      InstanceExited", "00:00:15      InstanceStarted", "1/1"],
        ),
    ];
    for (what, script, expected) in rows {
        let (code, printed, said) = play(SERVER, script, &["--for", "1m"]);
        assert_eq!(code, 0, "{what}: {said}");
        let mut rest = printed.as_str();
        for part in *expected {
            let Some(at) = rest.find(part) else {
                panic!("{what}: no {part:?} in its place in\n{printed}");
            };
            rest = &rest[at + part.len()..];
        }
    }
}

#[test]
fn the_most_particular_behaviour_counts() {
    let unit = "kind = \"statefulset\"\nreplicas = 2\n[process]\ncommand = [\"app\"]\n";
    let script = "[[behaviour]]\ninstance = \"app-1\"\nattempts = [{ runs_for = \"5s\" }, {}]\n\
                  [[behaviour]]\nunit = \"app\"\nattempts = [{ runs_for = \"9s\" }, {}]\n";
    let (_, printed, _) = play(unit, script, &["--for", "1m"]);
    for line in
        ["00:00:05      InstanceExited       app-1", "00:00:09      InstanceExited       app-0"]
    {
        assert!(printed.contains(line), "{line}\n{printed}");
    }
}

#[test]
fn units_are_selected_and_daemonsets_have_nodes_on_the_made_up_machine() {
    let unit = "kind = \"daemonset\"\nnode_selector = { gpu = \"a100\" }\n[process]\n\
                command = [\"app\"]\n[daemonset]\nnodes = { glob = \"/dev/nvidia[0-9]*\" }\n";
    let (_, printed, _) = play(unit, "", &["--for", "1s"]);
    for name in ["app-nvidia0", "app-nvidia1"] {
        assert!(printed.contains(name), "{name}\n{printed}");
    }
}

/// Without probes of the unit's own, `ready_after` and `never` hold the instance back all the same.
#[test]
fn a_script_says_when_programs_are_ready() {
    let at = |script: &str, reason: &str| -> Vec<String> {
        let (code, out, err) = play(SERVER, script, &["--for", "1h", "-o", "json"]);
        assert_eq!((code, err.as_str()), (0, ""), "{script}");
        out.lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .filter(|event| event["reason"] == reason)
            .map(|event| event["time"].as_str().unwrap().to_owned())
            .collect()
    };
    let slow = "[[behaviour]]\nunit = \"app\"\nready_after = \"90s\"\n";
    assert_eq!(at(slow, "InstanceReady"), ["2026-01-01T00:01:30Z"]);
    assert_eq!(at(slow, "RolloutComplete"), ["2026-01-01T00:01:30Z"]);
    assert_eq!(at("", "InstanceReady"), ["2026-01-01T00:00:00Z"], "ready at once by default");
    let never = "[[behaviour]]\nunit = \"app\"\nnever = true\n";
    assert_eq!(at(never, "InstanceReady"), [""; 0]);
    assert_eq!(at(never, "RolloutStalled").len(), 1);
}

#[test]
fn what_never_ends_is_cut_off() {
    use wsup::sim::scenario::{Play, Script, Setting};
    let dir = folder(&[("app.toml", SERVER)]);
    let read = wsup::os::unit_files::read(&[dir.path().to_owned()]).unwrap();
    let setting = |events_max| Setting {
        units: wsup::unit::load(read.clone()).units,
        later: std::collections::BTreeMap::new(),
        script: Script::default(),
        from: wsup::core::time::Wall(0),
        length: wsup::core::time::Millis::from_secs(60),
        events_max,
        seed: 0,
        zones: std::sync::Arc::new(wsup::daemon::zones::SystemZones),
        resolve: &|_, _| Ok(Vec::new()),
    };
    let mut play = Play::new(setting(1));
    assert!(play.by_ref().count() > 0, "what happened until then is told");
    assert!(play.end().cut);
    let mut play = Play::new(setting(100));
    assert!(play.by_ref().count() > 0);
    assert!(!play.end().cut);
}
