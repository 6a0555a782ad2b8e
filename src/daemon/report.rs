//! The core's reports in the daemon's own log: one line each.

use crate::core::report::{Report, Severity};

/// The target of these lines, for filters: `wsup dev` shows them in its own way.
pub const TARGET: &str = "wsup::event";

/// Writes one.
pub fn log(report: &Report) {
    let line = line(report);
    match report.severity {
        Severity::Normal => tracing::info!(target: TARGET, "{line}"),
        Severity::Warning => tracing::warn!(target: TARGET, "{line}"),
    }
}

fn line(report: &Report) -> String {
    let mut line = report.reason.as_str().to_owned();
    match (&report.unit, &report.instance) {
        (_, Some(instance)) => line.extend([" ", instance.as_str()]),
        (Some(unit), None) => line.extend([" ", unit.to_string().as_str()]),
        (None, None) => {}
    }
    if !report.message.is_empty() {
        line.extend([": ", report.message.as_str()]);
    }
    line
}
