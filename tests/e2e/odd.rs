//! Odd input and odd surroundings: what a person meets on a bad day is answered, not endured.

use crate::support::{self, Daemon, Said};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

fn run(dir: &Path, words: &[&str]) -> Said {
    support::wsup().args(words).current_dir(dir).output().expect("it runs").into()
}

/// Files that are no units, each near the largest size that is read.
fn heaps() -> Vec<(&'static str, String)> {
    vec![
        ("table", "a:b\n".repeat(250_000)),
        ("headers", (0..100_000).map(|n| format!("[a{n}\n")).collect()),
        ("keys", (0..20_000).map(|n| format!("keyname{n} = 1\n")).collect()),
    ]
}

#[test]
fn a_heap_of_nonsense_is_refused_soon_and_with_few_words() {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in heaps() {
        let file = format!("{name}.toml");
        fs::write(dir.path().join(&file), text).unwrap();
        let begin = Instant::now();
        let said = run(dir.path(), &["check", &file]);
        // A debug build on a busy machine; it was many minutes when each complaint read the file.
        assert!(begin.elapsed() < Duration::from_secs(30), "{name}: {:?}", begin.elapsed());
        assert_eq!(said.code, 1, "{name}");
        assert!(said.err.contains("there are more mistakes than are shown"), "{name}");
        assert!(said.err.matches("error: ").count() <= 101, "{name}");
    }
}

#[test]
fn a_daemon_that_is_given_nonsense_runs_the_good_unit() {
    let good = "kind = \"deployment\"\n[process]\ncommand = [\"sleep\", \"1000\"]\n";
    let daemon = Daemon::start(&[("good", good), ("table", &heaps()[0].1)]);
    daemon.wait_ready("deployment/good", 1);
    assert!(daemon.ctl_ok(&["ps"]).contains("table"), "the file is shown as invalid");
}

#[test]
fn units_in_a_directory_that_comes_later_are_found() {
    let daemon = Daemon::start_with(&[], &[]);
    // Fast, so that files may come between the reading of a new directory and its watching.
    for round in 0..10 {
        let dir = daemon.path(&format!("units/later-{round}/deep"));
        fs::create_dir_all(&dir).unwrap();
        let text = "kind = \"deployment\"\n[process]\ncommand = [\"sleep\", \"1000\"]\n";
        fs::write(dir.join(format!("web-{round}.toml")), text).unwrap();
    }
    daemon.wait("all are there", |d| {
        (0..10).all(|round| d.get(&format!("deployment/web-{round}"))["ready"] == 1)
    });
}

#[test]
fn what_is_no_socket_is_called_so() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    for (path, reason) in
        [("file", "it is no socket"), (".", "it is no socket"), ("none", "there is no such socket")]
    {
        let said = run(dir.path(), &["ctl", "--socket", path, "ps"]);
        assert_eq!(said.code, 4, "{path}: {said:?}");
        assert!(said.err.contains(reason), "{path}: {said:?}");
    }
}

#[test]
fn a_directory_that_cannot_be_made_is_named_with_a_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let words = ["daemon", "--units", ".", "--log-dir", "l", "--runtime-dir", "r", "--state-dir"];
    let words: Vec<&str> = words.into_iter().chain(["/dev/null/state"]).collect();
    let said = run(dir.path(), &words);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains("making /dev/null/state: Not a directory"), "{said:?}");
    assert!(said.err.contains("pass another directory\n"), "{said:?}");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let flood = "kind = \"job\"\n[process]\ncommand = [\"seq\", \"200000\"]\n";
    let daemon = Daemon::start(&[("flood", flood)]);
    daemon.wait("the job is done", |d| d.get("job/flood")["succeeded"] == 1);
    let mut child = support::wsup()
        .args(["ctl", "--socket"])
        .arg(daemon.path("run/wsup.sock"))
        .args(["logs", "flood"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    // Closed unread, as `| true` does.
    drop(child.stdout.take());
    let said: Said = child.wait_with_output().unwrap().into();
    assert_eq!((said.code, said.err.as_str()), (0, ""), "{said:?}");
}
