//! `[resources]`, `[sandbox]` and `ctl top` through the whole program.

use crate::support::{Daemon, texts, wsup};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

fn unit(memory: &str) -> String {
    format!(
        "kind = \"deployment\"\n[process]\n\
         command = ['sh', '-c', 'while :; do :; done & wait']\n\
         [resources]\nmemory = \"{memory}\"\nmemory_high = \"32MiB\"\n"
    )
}

/// The value of a line of `describe`.
fn fact(text: &str, name: &str) -> String {
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name}:")));
    line.unwrap_or_default().trim().to_owned()
}

fn told(daemon: &Daemon, unit: &str) -> Vec<Value> {
    let mut events = daemon.events();
    events.retain(|event| event["reason"] == "LimitNotEnforced" && event["name"] == unit);
    events
}

#[test]
fn a_changed_limit_is_a_new_revision_and_what_is_in_force_is_told() {
    let daemon = Daemon::start(&[("busy", &unit("64MiB"))]);
    daemon.wait_ready("busy", 1);
    let first = daemon.ps("busy")[0].clone();
    daemon.write_unit("busy", &unit("128MiB"));
    daemon.ctl_ok(&["apply"]);
    daemon.wait("the new revision runs alone", |d| {
        let all = d.ps("busy");
        all.len() == 1 && all[0]["revision"] == 2 && all[0]["ready"] == true
    });
    let second = daemon.ps("busy")[0].clone();
    assert_ne!(first["name"], second["name"]);

    let text = daemon.ctl_ok(&["describe", second["name"].as_str().unwrap()]);
    assert_eq!(fact(&text, "Resources"), "memory 134217728, memory_high 33554432");
    let held = fact(&text, "Held by");
    let dir = held.strip_prefix("cgroup ").map(Path::new);
    match dir {
        Some(dir) => assert!(dir.join("cgroup.procs").exists(), "{held}"),
        None => assert!(held.starts_with("session and process group "), "{held}"),
    }
    let warnings = told(&daemon, "busy");
    if dir.is_some_and(|dir| dir.join("memory.max").exists()) {
        assert_eq!(fact(&text, "Limits in force"), "memory.max 134217728, memory.high 33554432");
        assert_eq!(warnings, Vec::<Value>::new());
    } else {
        eprintln!("the memory controller is not there: {held}");
        assert_eq!(fact(&text, "Limits in force"), "none");
        // Once for the unit, though it was started twice.
        assert_eq!(texts(&warnings, "controller"), ["memory"], "{warnings:?}");
        assert_eq!(texts(&warnings, "type"), ["Warning"]);
        let message = warnings[0]["message"].as_str().unwrap();
        assert!(message.starts_with("`memory`, `memory_high` of [resources] not enforced: "));
    }
}

#[test]
fn top_measures_units_and_instances() {
    let idle = "kind = \"deployment\"\nreplicas = 2\n[process]\n\
                command = ['sh', '-c', 'sleep 1000 & sleep 1000 & wait']\n";
    let daemon = Daemon::start(&[("busy", &unit("64MiB")), ("idle", idle)]);
    daemon.wait_ready("busy", 1);
    daemon.wait_ready("idle", 2);
    let top = |words: &[&str]| -> Value {
        let words: Vec<&str> = ["top", "-o", "json"].iter().chain(words).copied().collect();
        serde_json::from_str(&daemon.ctl_ok(&words)).unwrap()
    };
    daemon.wait("all of both trees are up", |_| {
        let all = top(&[]);
        let tasks: Vec<_> = all["units"].as_array().unwrap().iter().map(|u| &u["tasks"]).collect();
        tasks == [2, 6]
    });
    let all = top(&[]);
    let units = all["units"].as_array().unwrap();
    assert_eq!(texts(units, "name"), ["busy", "idle"]);
    assert_eq!((&units[0]["instances"], &units[1]["instances"]), (&1.into(), &2.into()));
    for one in all["instances"].as_array().unwrap() {
        assert!(one["memory"].as_u64().unwrap() > 50_000, "{one}");
        assert!(one["cpu"].is_number() && one["io_read_rate"].is_number(), "{one}");
        for figure in ["cpu", "memory", "tasks", "io"] {
            let source = one["sources"][figure].as_str().unwrap();
            assert!(["cgroup", "processes"].contains(&source), "{one}");
        }
    }
    // Busy are its loops, and nobody else's.
    daemon.wait("the loop is seen", |_| top(&["busy"])["units"][0]["cpu"].as_f64() > Some(0.02));
    let some = top(&["idle"]);
    assert_eq!(texts(some["units"].as_array().unwrap(), "name"), ["idle"]);
    assert!(some["units"][0]["cpu"].as_f64() < Some(0.5), "{some}");

    let table = daemon.ctl_ok(&["top"]);
    let heads: Vec<&str> = table.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(heads, ["NAME", "CPU", "MEMORY", "TASKS", "READ/S", "WRITE/S", "FROM"]);
    assert_eq!(table.lines().count(), 6, "{table}");
    assert_eq!(daemon.ctl(&["top", "nobody"]).code, 3);
    // Again and again, for as long as somebody reads.
    let mut watch = wsup()
        .args(["ctl", "--socket"])
        .arg(daemon.path("run/wsup.sock"))
        .args(["top", "busy", "-w", "-o", "json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    let mut total = || -> f64 {
        let one: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        one["instances"][0]["cpu_seconds"].as_f64().unwrap()
    };
    let (first, second) = (total(), total());
    assert!(second > first, "{first} {second}");
    watch.kill().unwrap();
    watch.wait().unwrap();
    daemon.ctl_ok(&["stop", "busy"]);
    daemon.ctl_ok(&["wait", "busy", "--for", "stopped", "--timeout", "60s"]);
    assert_eq!(daemon.ctl_ok(&["top", "busy"]), "Nothing runs.\n");
}

#[test]
fn a_sandbox_is_told_and_a_start_that_it_forbids_says_why() {
    let boxed = "kind = \"deployment\"\n[process]\ncommand = ['sleep', '1000']\n\
                 [sandbox]\nno_new_privileges = true\nprivate_tmp = true\n";
    let failing = "kind = \"deployment\"\n[process]\ncommand = ['sleep', '1000']\n\
                   [sandbox]\nread_only = ['/no/such/place']\n";
    let daemon = Daemon::start(&[("boxed", boxed), ("failing", failing)]);
    daemon.wait_ready("boxed", 1);
    let name = daemon.ps("boxed")[0]["name"].as_str().unwrap().to_owned();
    let text = daemon.ctl_ok(&["describe", &name]);
    assert_eq!(fact(&text, "Sandbox"), "no_new_privileges, private_tmp");
    let force = fact(&text, "Sandbox in force");
    assert!(force.contains("mounts of its own") && force.contains("no new privileges"), "{text}");
    daemon.wait("the failure says why", |d| {
        d.events().iter().any(|event| {
            event["reason"] == "InstanceStartFailed"
                && event["message"].as_str().is_some_and(|text| {
                    text.starts_with("cannot start failing-")
                        && text.ends_with(
                            ": sandbox: read_only `/no/such/place`: ENOENT (No such file or \
                             directory)",
                        )
                })
        })
    });
}

#[test]
fn the_paths_of_a_sandbox_may_name_the_data_directory() {
    let unit = "kind = \"statefulset\"\n[process]\n\
        command = ['sh', '-c', 'echo kept > $WSUP_DATA_DIR/f; (echo x > @DIR@/scratch/f) \
                    || echo refused > $WSUP_DATA_DIR/g; exec sleep 1000']\n\
        [sandbox]\nread_only = ['/']\nread_write = ['$(WSUP_DATA_DIR)']\n";
    let daemon = Daemon::start(&[("db", unit)]);
    daemon.wait_ready("db", 1);
    daemon.wait("it has written", |d| d.read("state/data/db/db-0/g") == "refused\n");
    assert_eq!(daemon.read("state/data/db/db-0/f"), "kept\n");
    assert_eq!(daemon.read("scratch/f"), "");
}
