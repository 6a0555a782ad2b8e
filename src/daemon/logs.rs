//! Where log files are.

use std::path::{Path, PathBuf};

/// The present log file of an instance: `<logs>/UNIT/INSTANCE.log`.
pub fn file(logs: &Path, unit: &str, instance: &str) -> PathBuf {
    logs.join(unit).join(format!("{instance}.log"))
}
