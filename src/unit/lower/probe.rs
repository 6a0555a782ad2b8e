//! Probes (Kubernetes `pkg/apis/core/validation/validation.go`, `validateProbe`).

use super::super::complaint::Complaint;
use super::super::report::Report;
use super::view::View;
use crate::core::spec::{ProbeHandler, ProbeSpec};
use crate::core::time::Millis;

/// The probes of a unit.
#[derive(Debug, Default)]
pub(super) struct Probes {
    pub(super) startup: Option<ProbeSpec>,
    pub(super) readiness: Option<ProbeSpec>,
    pub(super) liveness: Option<ProbeSpec>,
    pub(super) watchdog: Option<Millis>,
}

/// The keys that say how a probe asks. Not all in each: what a program says once is no sign that it lives on.
const HANDLERS: [&str; 6] = ["exec", "http", "tcp", "unix", "log", "notify"];

/// `[probes.*]`.
pub(super) fn probes(view: &View<'_>, report: &mut Report) -> Probes {
    let all = view.sub("probes");
    let liveness = all.sub("liveness");
    for name in ["startup", "readiness"] {
        let probe = all.sub(name);
        let driver = view.sub("log").text("driver");
        if let Some(driver @ ("none" | "inherit")) = driver.as_deref()
            && probe.has("log")
        {
            let complaint = Complaint::new(format!(
                "output that goes to `{driver}` cannot be searched for a line"
            ))
            .help("use the `driver` \"file\" or \"journald\" in [log], or let the probe ask in another way");
            report.error(&probe.place("log"), &probe.path("log"), complaint);
        }
    }
    Probes {
        startup: probe(&all.sub("startup"), true, report),
        readiness: probe(&all.sub("readiness"), false, report),
        watchdog: liveness.millis("watchdog"),
        liveness: probe(&liveness, true, report),
    }
}

/// One probe. `decisive`: it can kill the process, so a single good answer must make it good.
fn probe(view: &View<'_>, decisive: bool, report: &mut Report) -> Option<ProbeSpec> {
    if !view.exists() {
        return None;
    }
    let written: Vec<&str> = HANDLERS
        .into_iter()
        .filter(|name| view.has(name) && (*name != "notify" || view.flag("notify")))
        .collect();
    match written.as_slice() {
        [_] => {}
        [] if view.has("watchdog") => {}
        [] => {
            let ways = match view.path("").ends_with("liveness") {
                true => "add one of `exec`, `http`, `tcp`, `unix` or `watchdog`",
                false => "add one of `exec`, `http`, `tcp`, `unix`, `log` or `notify = true`",
            };
            let complaint = Complaint::new("the probe asks nothing").help(ways);
            report.error(view.at(), &view.path(""), complaint);
        }
        [first, second, ..] => {
            let complaint = Complaint::new(format!(
                "a probe asks in one way, this one by `{first}` and `{second}`"
            ))
            .help("remove all but one");
            report.error(&view.place(second), &view.path(second), complaint);
        }
    }
    let success_threshold = view.int("success_threshold").unwrap_or(1);
    if decisive && success_threshold != 1 {
        let complaint =
            Complaint::new("`success_threshold` must be 1 for startup and liveness probes")
                .help("remove it; only a readiness probe may ask for more");
        report.error(&view.place("success_threshold"), &view.path("success_threshold"), complaint);
    }
    let handler = match written.first().copied()? {
        "exec" => ProbeHandler::Exec(view.command("exec")?),
        "http" => ProbeHandler::Http(view.text("http")?),
        "tcp" => ProbeHandler::Tcp(view.text("tcp")?),
        "unix" => ProbeHandler::Unix(view.text("unix")?),
        "log" => ProbeHandler::Log(view.text("log")?),
        _ => ProbeHandler::Notify,
    };
    Some(ProbeSpec {
        handler,
        initial_delay: view.millis("initial_delay").unwrap_or_default(),
        period: view.millis("period").unwrap_or_default(),
        timeout: view.millis("timeout").unwrap_or_default(),
        success_threshold,
        failure_threshold: view.int("failure_threshold").unwrap_or(1),
    })
}
