//! Order between units.

use crate::support::{Daemon, pid_of};

const DB: &str = "kind = \"statefulset\"\n[process]\ncommand = [\"sleep\", \"1000\"]\n\
    [probes.readiness]\nexec = [\"test\", \"-e\", \"@DIR@/scratch/db\"]\nperiod = \"1s\"\n\
    failure_threshold = 1\n";
const MIGRATE: &str = "kind = \"job\"\ndepends_on = [\"db\"]\n[process]\n\
    command = [\"sh\", \"-c\", \"echo migrate >> @DIR@/scratch/order\"]\n";
const API: &str = "kind = \"deployment\"\nreplicas = 2\ndepends_on = [\"statefulset/db\", { unit = \
    \"migrate\", condition = \"complete\" }]\n[process]\ncommand = [\"sh\", \"-c\", \"echo api >> \
    @DIR@/scratch/order; exec sleep 1000\"]\n";

fn pids(daemon: &Daemon, unit: &str) -> usize {
    daemon.ps(unit).iter().filter(|one| one["pid"].is_u64()).count()
}

#[test]
fn a_graph_comes_up_in_order_waits_and_recovers() {
    let mut daemon = Daemon::start(&[("api", API), ("db", DB), ("migrate", MIGRATE)]);
    daemon.wait("the api says why it waits", |d| {
        let all = d.ps("api");
        all.len() == 2
            && all.iter().all(|one| {
                let why = one["reason"].as_str().unwrap_or_default();
                one["state"] == "Pending"
                    && why.starts_with("waits for statefulset/db to be available: db-0 is in")
                    && why.contains("readiness probe")
                    && why.contains("; and for job/migrate to complete, which waits for")
            })
    });
    let instance = daemon.ps("api")[0]["name"].as_str().unwrap().to_owned();
    assert!(daemon.ctl_ok(&["describe", &instance]).contains("waits for statefulset/db"));
    assert_eq!((pids(&daemon, "api"), pids(&daemon, "migrate")), (0, 0));
    // Another daemon makes nothing else of it.
    daemon.kill();
    daemon.launch();
    assert_eq!((pids(&daemon, "api"), pids(&daemon, "migrate")), (0, 0));
    std::fs::write(daemon.path("scratch/db"), "").unwrap();
    daemon.wait_ready("api", 2);
    assert_eq!(daemon.read("scratch/order"), "migrate\napi\napi\n");
    // The database goes; what crashes meanwhile waits for it, what runs goes on.
    std::fs::remove_file(daemon.path("scratch/db")).unwrap();
    daemon.wait("the database is not ready", |d| d.ps("db")[0]["ready"] == false);
    let victim = daemon.ps("api")[0].clone();
    crate::support::signal(pid_of(&victim), "KILL");
    daemon.wait("it waits", |d| pids(d, "api") == 1);
    daemon.wait("that is told", |d| !d.event_instances("InstanceWaiting", "api").is_empty());
    std::fs::write(daemon.path("scratch/db"), "").unwrap();
    daemon.wait_ready("api", 2);
}

#[test]
fn the_daemon_stops_dependents_first() {
    let unit = |name: &str, more: &str| {
        format!(
            "kind = \"deployment\"\n{more}[process]\ncommand = [\"sh\", \"-c\", \"trap 'sleep 0.1; echo \
             {name} >> @DIR@/scratch/ends; exit 0' TERM; touch @DIR@/scratch/{name}; while :; do sleep \
             0.02; done\"]\n"
        )
    };
    let top = unit("a-top", "depends_on = [\"b-mid\"]\n");
    let mid = unit("b-mid", "depends_on = [{ unit = \"c-base\", condition = \"started\" }]\n");
    let base = unit("c-base", "");
    let mut daemon = Daemon::start(&[("a-top", &top), ("b-mid", &mid), ("c-base", &base)]);
    for name in ["a-top", "b-mid", "c-base"] {
        daemon.wait("it is up", |d| d.path(&format!("scratch/{name}")).exists());
    }
    assert_eq!(daemon.stop(), 0);
    assert_eq!(daemon.read("scratch/ends"), "a-top\nb-mid\nc-base\n");
}

#[test]
fn a_circle_is_refused_whole_and_touches_nobody_else() {
    let unit = |on: &str| {
        format!("kind = \"deployment\"\n{on}[process]\ncommand = [\"sleep\", \"1000\"]\n")
    };
    let daemon = Daemon::start(&[("a", &unit("")), ("b", &unit("depends_on = [\"a\"]\n"))]);
    daemon.wait_ready("b", 1);
    let before = (daemon.ps("a")[0]["pid"].clone(), daemon.ps("b")[0]["pid"].clone());
    daemon.write_unit("a", &unit("depends_on = [\"b\"]\n"));
    let said = daemon.ctl(&["apply"]);
    assert_eq!(said.code, 1, "{said:?}");
    let text = format!("{}{}", said.out, said.err);
    assert!(text.contains("the dependencies form a circle: a -> b -> a"), "{text}");
    assert!(text.contains("a.toml:2:"), "{text}");
    assert_eq!((daemon.ps("a")[0]["pid"].clone(), daemon.ps("b")[0]["pid"].clone()), before);
    daemon.wait("it is shown", |d| d.ctl_ok(&["get", "deployments"]).contains("invalid"));
}
