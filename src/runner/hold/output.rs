//! Where a start's output goes.
//!
//! Responsible for opening it before the program is started. Must not carry anything.

use super::{Hold, Inherited};
use crate::runner::logs::journal::JournalLog;
use crate::runner::logs::pump;
use crate::runner::logs::sink::Sink;
use crate::runner::logs::watch::Watch;
use crate::runner::logs::write::Log;
use crate::runner::protocol::{LogPlan, SpawnPlan};
use crate::runner::start::Output;
use std::io;
use std::os::fd::OwnedFd;

/// The log, and the program's stdout and stderr.
type Opened = (Output, Option<OwnedFd>, Option<OwnedFd>);

impl Hold {
    /// Opens what the plan names.
    ///
    /// # Errors
    /// What is not there, for people.
    pub(super) fn open_output(
        &mut self,
        plan: &SpawnPlan,
        inherited: Inherited,
    ) -> Result<Opened, String> {
        let watch = Watch::new(&plan.awaited)?;
        match &plan.log {
            LogPlan::None | LogPlan::Inherit if !plan.awaited.is_empty() => {
                Err("a `log` probe needs output that is kept".to_owned())
            }
            LogPlan::None => Ok((Output::default(), None, None)),
            LogPlan::Inherit => {
                let (stdout, stderr) =
                    inherited.ok_or("the daemon's own output did not come with the command")?;
                Ok((Output::default(), Some(stdout), Some(stderr)))
            }
            LogPlan::Journald => {
                let journal = self.journal.connection()?;
                let log = JournalLog::new(journal, &plan.unit, &plan.instance);
                with_pipes(Sink::Journal(Box::new(log)), false, watch).map_err(|e| e.to_string())
            }
            LogPlan::File { path, .. } if !path.as_path().is_absolute() => {
                Err(format!("the log's path is not absolute: `{}`", path.to_text()))
            }
            LogPlan::File { path, max_size, max_files, compress } => {
                if *compress {
                    // A runner before may not have got to it.
                    self.packer.add(path.as_path());
                }
                let log = Log::new(path.as_path(), *max_size, *max_files, plan.new_run);
                with_pipes(Sink::File(Box::new(log)), *compress, watch).map_err(|e| e.to_string())
            }
        }
    }
}

fn with_pipes(log: Sink, compress: bool, watch: Watch) -> io::Result<Opened> {
    let (stdout, child_stdout) = pump::pipe()?;
    let (stderr, child_stderr) = pump::pipe()?;
    let output = Output::new(log, compress, watch, stdout, stderr);
    Ok((output, Some(child_stdout), Some(child_stderr)))
}
