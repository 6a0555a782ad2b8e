//! The limits of a start's cgroup.
//!
//! Responsible for having them set before the program runs, and for warning of those that cannot be.
//! Must not know what file each is.

use super::Hold;
use crate::core::spec::Resources;
use crate::runner::cgroup::{self, Missing};
use crate::runner::protocol::{Notice, SpawnPlan, TreeMode};

/// Of so many unenforced limits it is remembered that they were warned of; then all may be warned
/// of anew. The daemon tells each only once in any case.
const WARNED_MAX: usize = 4_096;

impl Hold {
    /// Sets the limits of a start that is to be made.
    pub(super) fn limit(
        &mut self,
        plan: &SpawnPlan,
        group: Option<&cgroup::Group>,
    ) -> Result<Vec<Missing>, String> {
        if plan.resources == Resources::default() {
            return Ok(Vec::new());
        }
        match (self.cgroups.as_mut(), group, &self.mode) {
            (Some(cgroups), Some(group), _) => cgroups.limit(group, &plan.resources),
            (_, _, TreeMode::ProcessGroups { reason }) => {
                Ok(cgroup::none_enforced(&plan.resources, reason))
            }
            (_, _, TreeMode::Cgroup { .. }) => Ok(Vec::new()),
        }
    }

    /// Warns of limits that are not enforced, once for each unit and controller.
    pub(super) fn warn_of_limits(&mut self, plan: &SpawnPlan, missing: &[Missing]) {
        for Missing { controller, keys, reason } in missing {
            if self.warned.len() >= WARNED_MAX {
                self.warned.clear();
            }
            if !self.warned.insert((plan.unit.clone(), *controller)) {
                continue;
            }
            let keys: Vec<String> = keys.iter().map(|key| format!("`{key}`")).collect();
            self.warnings.push(Notice::Warning {
                unit: plan.unit.clone(),
                instance: plan.instance.clone(),
                message: format!("{} of [resources] not enforced: {reason}", keys.join(", ")),
                controller: Some(controller.name().to_owned()),
            });
        }
    }
}
