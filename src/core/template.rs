//! Templates without a file: for made-up units.
//!
//! Responsible for the plainest template there is. The defaults of unit files belong to `unit`.

use super::signal;
use super::spec::{
    InstanceTemplate, Lifecycle, LogDriver, LogSpec, ProcessSpec, Resources, RestartSpec, Sandbox,
};
use super::time::Millis;
use std::collections::BTreeMap;

impl InstanceTemplate {
    /// A program and how it is restarted, and nothing else: what made-up units are made from.
    pub fn bare(command: Vec<String>, restart: RestartSpec) -> InstanceTemplate {
        InstanceTemplate {
            process: ProcessSpec {
                command,
                args: Vec::new(),
                env: BTreeMap::new(),
                env_file: Vec::new(),
                env_inherit: None,
                working_dir: None,
                user: None,
                group: None,
                supplementary_groups: None,
                umask: None,
                nice: None,
                oom_score_adj: None,
                cpu_affinity: None,
                limits: BTreeMap::new(),
                stop_signal: signal::TERM,
                termination_grace_period: Millis::from_secs(30),
            },
            init: Vec::new(),
            lifecycle: Lifecycle::default(),
            restart,
            resources: Resources::default(),
            sandbox: Sandbox::default(),
            startup: None,
            readiness: None,
            liveness: None,
            watchdog: None,
            ports: Vec::new(),
            log: LogSpec { driver: LogDriver::File, max_size: 1, max_files: 1, compress: false },
            restarted_at: None,
        }
    }
}
