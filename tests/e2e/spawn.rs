//! What a process finds when it is started.

use super::support::Daemon;

fn job(head: &str, process: &str, script: &str) -> String {
    format!("kind = \"job\"\n{head}\n[process]\ncommand = ['sh', '-c', '{script}']\n{process}\n")
}

/// Runs one job to its end and gives what it wrote to `out` in the test's folder.
fn run(name: &str, unit: &str) -> (Daemon, String) {
    let daemon = Daemon::start(&[(name, unit)]);
    daemon.wait("the job is complete", |d| d.get(&format!("job/{name}"))["succeeded"] == 1);
    let out = daemon.read("out");
    (daemon, out)
}

#[test]
fn the_environment_is_what_the_unit_says() {
    let process = "env_file = [\"@DIR@/vars.env\", \"-@DIR@/missing\"]\n\
                   [process.env]\nGREETING = \"hello $(WHO), $$(WHO) $(NOBODY)\"\n";
    let unit = job("", process, "env | sort > @DIR@/out");
    // The file must be there before the daemon starts.
    let mut daemon = Daemon::start(&[]);
    daemon.stop();
    std::fs::write(daemon.path("vars.env"), "# people\nexport WHO=\"you there\"\n").unwrap();
    daemon.write_unit("vars", &unit);
    daemon.launch();
    daemon.wait("the job is complete", |d| d.get("job/vars")["succeeded"] == 1);
    let out = daemon.read("out");
    let value = |name: &str| {
        out.lines().find_map(|line| line.strip_prefix(&format!("{name}="))).unwrap_or("(none)")
    };
    assert_eq!(value("GREETING"), "hello you there, $(WHO) $(NOBODY)", "{out}");
    assert_eq!((value("WSUP_UNIT"), value("WSUP_KIND")), ("vars", "job"));
    assert!(value("WSUP_INSTANCE").starts_with("vars-"));
    assert_eq!(value("WSUP_CONTROL"), daemon.path("run/wsup.sock").to_str().unwrap());
    assert_ne!(value("PATH"), "(none)");
    assert_eq!(value("CARGO_BIN_EXE_wsup"), "(none)", "nothing else is passed on");
    assert_eq!(value("NO_COLOR"), "(none)", "nothing else is passed on");
}

#[test]
fn the_process_is_set_up_as_the_unit_says() {
    let process = "working_dir = \"@DIR@/units\"\numask = \"0027\"\nnice = 5\n\
                   limits = { nofile = 123, core = 0 }\n";
    let script = "(pwd; umask; nice; ulimit -n; ulimit -c) > @DIR@/out";
    let (daemon, out) = run("set", &job("", process, script));
    let work = daemon.path("units").canonicalize().unwrap();
    assert_eq!(out, format!("{}\n0027\n5\n123\n0\n", work.display()));
}

/// A field of `/proc/self/status`.
fn status_field(status: &str, name: &str) -> String {
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.trim_start_matches(':').trim().to_owned()
}

#[test]
fn the_oom_score_and_the_cpus_are_what_the_unit_says_and_init_steps_have_them_too() {
    let own = std::fs::read_to_string("/proc/self/status").unwrap();
    let allowed = status_field(&own, "Cpus_allowed_list");
    // The last CPU that this test may use: often not the first of the machine.
    let cpu = allowed.rsplit([',', '-']).next().unwrap();
    let tell = "cat /proc/self/oom_score_adj; cat /proc/self/status";
    let init = format!("[[init]]\ncommand = ['sh', '-c', '({tell}) > @DIR@/init']\n");
    let process = format!("oom_score_adj = 654\ncpu_affinity = [{cpu}]\n");
    let (daemon, out) = run("placed", &job(&init, &process, &format!("({tell}) > @DIR@/out")));
    for text in [out, daemon.read("init")] {
        assert_eq!(text.lines().next(), Some("654"), "{text}");
        assert_eq!(status_field(&text, "Cpus_allowed_list"), cpu);
    }
    // A unit that says nothing has what the daemon has.
    daemon.write_unit("plain", &job("", "", &format!("({tell}) > @DIR@/plain")));
    daemon.ctl_ok(&["apply"]);
    daemon.wait("the job is complete", |d| d.get("job/plain")["succeeded"] == 1);
    let text = daemon.read("plain");
    let score = std::fs::read_to_string("/proc/self/oom_score_adj").unwrap();
    assert_eq!(text.lines().next(), Some(score.trim()));
    assert_eq!(status_field(&text, "Cpus_allowed_list"), allowed);
}

#[test]
fn another_user_is_another_user() {
    if !nix::unistd::Uid::effective().is_root() {
        return;
    }
    // `nobody` may not look into the test's folder, so the result goes to the log.
    let unit = job("", "user = \"nobody\"\n", "id -un; id -u; echo $HOME $USER $LOGNAME");
    let daemon = Daemon::start(&[("who", &unit)]);
    daemon.wait("the job is complete", |d| d.get("job/who")["succeeded"] == 1);
    let name = daemon.ps("job/who")[0]["name"].as_str().unwrap().to_owned();
    let log = daemon.read(&format!("log/who/{name}.log"));
    let user = nix::unistd::User::from_name("nobody").unwrap().unwrap();
    let expected = format!("nobody\n{}\n{} nobody nobody\n", user.uid, user.dir.display());
    assert_eq!(log, expected);
}

#[test]
fn init_steps_run_in_order_before_the_process() {
    let unit = "kind = \"deployment\"\n\
                [[init]]\ncommand = ['sh', '-c', 'echo one >> @DIR@/out']\n\
                [[init]]\ncommand = ['sh', '-c', 'echo two >> @DIR@/out']\n\
                [process]\ncommand = ['sh', '-c', 'echo main >> @DIR@/out; exec sleep 1000']\n";
    let daemon = Daemon::start(&[("steps", unit)]);
    daemon.wait("main has begun", |d| d.read("out").contains("main"));
    assert_eq!(daemon.read("out"), "one\ntwo\nmain\n");
}

#[test]
fn what_cannot_be_started_says_why() {
    let table = [
        (
            "program",
            "kind = \"deployment\"\n[process]\ncommand = [\"/no/such/program\"]\n",
            "/no/such/program",
        ),
        (
            "file",
            "kind = \"deployment\"\n[process]\ncommand = [\"true\"]\nenv_file = [\"/no/such/file\"]\n",
            "env_file /no/such/file does not exist",
        ),
        (
            "folder",
            "kind = \"deployment\"\n[process]\ncommand = [\"true\"]\nworking_dir = \"/no/such/dir\"\n",
            "/no/such/dir",
        ),
        (
            "cpu",
            "kind = \"deployment\"\n[process]\ncommand = [\"true\"]\ncpu_affinity = [1023]\n",
            "cpu_affinity [1023]",
        ),
    ];
    let units: Vec<_> = table.iter().map(|(name, unit, _)| (*name, *unit)).collect();
    let daemon = Daemon::start(&units);
    for (name, _, reason) in table {
        daemon.wait(&format!("{name} says why"), |d| {
            d.events().iter().any(|event| {
                event["reason"] == "InstanceStartFailed"
                    && event["name"] == name
                    && event["message"].as_str().is_some_and(|text| text.contains(reason))
            })
        });
    }
}

#[test]
fn files_in_folders_that_appear_later_are_found_by_themselves() {
    let daemon = Daemon::start(&[]);
    for n in 0..5 {
        let folder = daemon.path(&format!("units/team-{n}/deep"));
        std::fs::create_dir_all(&folder).unwrap();
        let unit =
            format!("kind = \"job\"\nname = \"late-{n}\"\n[process]\ncommand = [\"true\"]\n");
        std::fs::write(folder.join("late.toml"), unit).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(n * 60));
    }
    for n in 0..5 {
        daemon.wait("the late job is complete", |d| {
            d.get(&format!("job/late-{n}"))["succeeded"] == 1
        });
    }
}
