//! Output from the program's write to `ctl logs`: kept, attributed, chosen, and told of when lost.

use crate::support::{self, Daemon, texts};
use std::collections::BTreeMap;
use std::fs;

#[test]
fn two_hundred_short_lives_under_load_keep_every_line() {
    const JOBS: usize = 200;
    // What keeps all processors busy meanwhile.
    let busy = "kind = \"deployment\"\nreplicas = 4\n[process]\nnice = 10\n\
                command = [\"/bin/sh\", \"-c\", \"while :; do :; done\"]\n";
    let life = "kind = \"job\"\nlabels = { life = \"short\" }\n[process]\ncommand = [\"/bin/sh\", \"-c\", \
                \"echo I am $WSUP_INSTANCE; printf 'last words' >&2\"]\n";
    let names: Vec<String> = (0..JOBS).map(|n| format!("life-{n}")).collect();
    let mut units: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), life)).collect();
    units.push(("busy", busy));
    let daemon = Daemon::start(&units);
    daemon.wait("all have lived", |d| {
        let jobs = d.ctl(&["get", "jobs", "-o", "json"]).out;
        let jobs: Vec<serde_json::Value> = serde_json::from_str(&jobs).unwrap_or_default();
        jobs.iter().filter(|job| job["succeeded"] == 1).count() == JOBS
    });
    let mut said: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in daemon.ctl_ok(&["logs", "-l", "life=short"]).lines() {
        let (name, text) = line.split_once(" | ").unwrap_or_else(|| panic!("{line}"));
        said.entry(name.to_owned()).or_default().push(text.to_owned());
    }
    assert_eq!(said.len(), JOBS);
    for (name, mut lines) in said {
        lines.sort();
        assert_eq!(lines, [format!("I am {name}"), "last words".to_owned()]);
    }
}

#[test]
fn the_last_words_of_all_runs_of_a_job_and_of_all_instances_are_kept() {
    const MANY: usize = 25;
    let job = format!(
        "kind = \"job\"\n[job]\ncompletions = {MANY}\nparallelism = 5\ncompletion_mode = \"indexed\"\n\
         [process]\ncommand = [\"/bin/echo\", \"I am $(WSUP_INSTANCE)\"]\n"
    );
    let server = format!(
        "kind = \"deployment\"\nreplicas = {MANY}\n[process]\ncommand = [\"/bin/sh\", \"-c\", \
         \"echo I am $WSUP_INSTANCE; exec sleep 1000\"]\n"
    );
    let mut daemon = Daemon::start(&[("all", &job), ("web", &server)]);
    daemon.ctl_ok(&["wait", "job/all", "--for", "complete", "--timeout", "60s"]);
    daemon.wait_ready("web", MANY);
    let kept = |daemon: &Daemon, unit: &str| -> usize {
        let files = fs::read_dir(daemon.path("log").join(unit)).into_iter().flatten().flatten();
        let own = files.filter(|file| {
            let name = file.file_name().to_string_lossy().into_owned();
            let text = fs::read_to_string(file.path()).unwrap_or_default();
            name.strip_suffix(".log").is_some_and(|name| text == format!("I am {name}\n"))
        });
        own.count()
    };
    assert_eq!(kept(&daemon, "all"), MANY);
    // Also of one whose record is gone.
    let known = texts(&daemon.ps("job/all"), "name");
    let files = fs::read_dir(daemon.path("log/all")).unwrap().flatten();
    let names = files.map(|file| file.file_name().to_string_lossy().into_owned());
    let mut names = names.filter_map(|name| Some(name.strip_suffix(".log")?.to_owned()));
    let gone = names.find(|name| !known.contains(name)).expect("not all records are kept");
    assert_eq!(daemon.ctl_ok(&["logs", &gone]), format!("I am {gone}\n"));
    assert_eq!(daemon.stop(), 0);
    assert_eq!(kept(&daemon, "all"), MANY);
    assert_eq!(kept(&daemon, "web"), MANY);
}

#[test]
fn a_flood_that_rotates_is_read_whole_while_it_runs_and_after() {
    const LINES: usize = 100_000;
    let unit = format!(
        "kind = \"job\"\n[process]\ncommand = [\"seq\", \"-f\", \"line %.0f of the flood\", \"{LINES}\"]\n\
         [log]\nmax_size = \"100KiB\"\nmax_files = 1000\ncompress = true\n"
    );
    let daemon = Daemon::start(&[]);
    daemon.write_unit("flood", &unit);
    daemon.wait("the job is there", |d| d.get("job/flood")["name"] == "flood");
    let expected = |count: usize| (1..=count).map(|n| format!("line {n} of the flood"));
    // Follows while files are written, rotated and compressed; ends with the job.
    let followed = daemon.ctl_ok(&["logs", "-f", "job/flood"]);
    let lines: Vec<&str> = followed.lines().map(|l| l.split(" | ").last().unwrap()).collect();
    assert_eq!(lines.len(), LINES);
    assert!(lines.iter().zip(expected(LINES)).all(|(line, wanted)| *line == wanted));
    let dir = daemon.path("log/flood");
    let names = || -> Vec<String> {
        let entries = fs::read_dir(&dir).unwrap();
        entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
    };
    daemon.wait("all rotated files are compressed", |_| {
        names().iter().filter(|n| n.ends_with(".gz")).count() > 10
            && !names().iter().any(|n| n.rsplit('.').next().unwrap().parse::<u32>().is_ok())
    });
    assert!(daemon.ctl_ok(&["logs", "job/flood"]).lines().eq(expected(LINES)));
    assert_eq!(daemon.ctl_ok(&["logs", "job/flood", "--tail", "2"]), {
        let tail: Vec<String> = expected(LINES).skip(LINES - 2).collect();
        format!("{}\n{}\n", tail[0], tail[1])
    });
    let chosen = daemon.ctl_ok(&["logs", "job/flood", "--grep", "^line 4242[0-9] "]);
    assert_eq!(chosen.lines().count(), 10, "{chosen}");
}

#[test]
fn a_full_disk_is_told_as_an_event() {
    use nix::mount::{MntFlags, MsFlags, mount, umount2};
    let daemon = Daemon::start(&[]);
    let disk = daemon.path("log/full");
    fs::create_dir_all(&disk).unwrap();
    if let Err(error) =
        mount(Some("tmpfs"), &disk, Some("tmpfs"), MsFlags::empty(), Some("size=64k"))
    {
        eprintln!("skipped: no small file system can be mounted: {error}");
        return;
    }
    let unit = "kind = \"deployment\"\n[process]\ncommand = [\"/bin/sh\", \"-c\", \
                \"seq 50000; echo to the end > @DIR@/scratch/end; exec sleep 1000\"]\n";
    daemon.write_unit("full", unit);
    daemon.wait("the program goes on", |d| d.read("scratch/end") == "to the end\n");
    daemon.wait("it is told", |d| !d.event_instances("InstanceTrouble", "full").is_empty());
    let told = daemon.events();
    let told = told.iter().find(|event| event["reason"] == "InstanceTrouble").unwrap();
    assert_eq!(told["type"], "Warning", "{told}");
    assert!(told["message"].as_str().unwrap().contains("No space left on device"), "{told}");
    assert_eq!(daemon.ps("full")[0]["state"], "Ready");
    umount2(&disk, MntFlags::MNT_DETACH).unwrap();
}

#[test]
fn inherited_output_is_the_daemons_own() {
    let unit = "kind = \"job\"\n[process]\ncommand = [\"/bin/sh\", \"-c\", \
                \"echo to the daemon; echo and to its stderr >&2\"]\n[log]\ndriver = \"inherit\"\n";
    let daemon = Daemon::start(&[("talk", unit)]);
    daemon.wait("the job is done", |d| d.get("job/talk")["succeeded"] == 1);
    let log = daemon.daemon_log();
    assert!(log.lines().any(|line| line == "to the daemon"), "{log}");
    assert!(log.lines().any(|line| line == "and to its stderr"), "{log}");
    let said = daemon.ctl(&["logs", "job/talk"]);
    assert_eq!(said.code, 1);
    assert!(said.err.contains("sends output to the daemon's own output"), "{}", said.err);
}

#[test]
fn what_asks_for_a_journal_that_is_not_there_does_not_start() {
    if std::path::Path::new("/run/systemd/journal/socket").exists() {
        eprintln!("skipped: this machine has a journal");
        return;
    }
    let unit = "kind = \"deployment\"\n[process]\ncommand = [\"sleep\", \"1000\"]\n\
                [log]\ndriver = \"journald\"\n";
    let daemon = Daemon::start(&[("web", unit)]);
    daemon.wait("it is told", |d| !d.event_instances("InstanceStartFailed", "web").is_empty());
    let events = daemon.events();
    let failed = events.iter().find(|event| event["reason"] == "InstanceStartFailed").unwrap();
    let message = failed["message"].as_str().unwrap();
    assert!(message.contains("the journal cannot be reached at /run/systemd/journal/socket"));
    assert!(message.contains("driver = \"file\""), "{message}");
    let said: support::Said = daemon.ctl(&["logs", "web"]);
    assert!(said.err.contains("journalctl WSUP_UNIT=web"), "{}", said.err);
}
