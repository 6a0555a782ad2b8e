//! The storm guard on a real machine.

use crate::support::{Daemon, pid_of, signal};

/// Twelve that die as long as `up` is not there.
const API: &str = "kind = \"deployment\"\nreplicas = 12\n[process]\ncommand = [\"sh\", \"-c\", \"test -e \
    @DIR@/scratch/up || exit 3; echo >> @DIR@/scratch/starts; exec sleep 1000\"]\n[restart]\n\
    backoff = { initial = \"100ms\", max = \"1s\" }\n";

fn held(daemon: &Daemon) -> Vec<String> {
    let said = |one: &serde_json::Value| {
        one["reason"].as_str().is_some_and(|text| text.contains("held back by the storm guard"))
    };
    let all = daemon.ps("api");
    let held = all.iter().filter(|one| one["state"] == "Backoff" && said(one));
    held.filter_map(|one| one["name"].as_str().map(str::to_owned)).collect()
}

#[test]
fn restarts_are_held_back_seen_and_made_up_for() {
    let config = tempfile::NamedTempFile::new().unwrap();
    let text = "[storm_guard]\nrestarts_per_second = 3\nhold = \"all\"\n";
    std::fs::write(config.path(), text).unwrap();
    let config = config.path().to_str().unwrap();
    let mut daemon = Daemon::start_with(&[], &["--config", config]);
    std::fs::write(daemon.path("scratch/up"), "").unwrap();
    // First starts are nobody's restarts.
    daemon.write_unit("api", API);
    daemon.ctl_ok(&["apply"]);
    daemon.wait_ready("api", 12);
    assert_eq!(daemon.event_instances("InstanceWaiting", "api"), [""; 0]);
    std::fs::remove_file(daemon.path("scratch/up")).unwrap();
    for one in daemon.ps("api") {
        signal(pid_of(&one), "KILL");
    }
    daemon.wait("some are held back", |d| !held(d).is_empty());
    daemon
        .wait("that is told of each", |d| !d.event_instances("InstanceWaiting", "api").is_empty());
    daemon.wait("and of all together", |d| {
        d.events().iter().any(|event| {
            let fields = event["reason"] == "RestartsHeld" && event["type"] == "Warning";
            fields && event["restarts_per_second"] == 3 && event["waiting"].is_u64()
        })
    });
    daemon.wait("describe says so", |d| {
        let one = held(d).pop();
        one.is_some_and(|one| {
            let said = d.ctl_ok(&["describe", &one]);
            said.contains("exit code") && said.contains("at most 3 restarts begin in a second")
        })
    });
    // Another daemon makes nothing else of it.
    daemon.kill();
    daemon.launch();
    daemon.wait("some are held back still", |d| !held(d).is_empty());
    std::fs::write(daemon.path("scratch/up"), "").unwrap();
    daemon.wait_ready("api", 12);
    assert_eq!(daemon.read("scratch/starts").lines().count(), 24, "each began twice");
    assert_eq!(held(&daemon), [""; 0]);
    assert_eq!(daemon.stop(), 0);
}
