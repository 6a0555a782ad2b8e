//! Asking for programs: a start, a hook, a probe.
//!
//! Responsible for what whoever starts them is told: variables, directory, ports, sockets. Must not
//! decide that one is started.

use super::Core;
use super::action::{Action, DataDir, Spawn, Step};
use super::instance::{Instance, State};
use super::managed::Unit;
use super::spec::WorkloadSpec;
use super::workload::Identity;
use std::borrow::Cow;
use std::sync::Arc;

impl Core {
    /// Asks for a program of an instance to be started or run.
    pub(super) fn ask_for(&mut self, slot: u64, step: Step, how: fn(Box<Spawn>) -> Action) {
        let Some(instance) = self.instances.get(&slot) else { return };
        let Some(unit) = self.units.get(&instance.unit) else { return };
        // Those of a cronjob stay from run to run, and overlapping runs share them.
        let owner = unit.kept.owner.as_ref();
        let listener = owner.and_then(|owner| self.units.get(owner)).unwrap_or(unit);
        let spawn = Spawn {
            id: instance.id(),
            unit: instance.unit.clone(),
            instance: instance.name.to_string(),
            step,
            template: Arc::clone(&instance.template),
            vars: self.variables(instance, unit, step),
            data_dir: data_dir(unit, instance),
            ports: instance.ports.clone(),
            listener: listener.spec.key.clone(),
            sockets: listener.spec.sockets.clone().into(),
        };
        self.actions.push_back(how(Box::new(spawn)));
    }

    /// Has a start fail that need not be tried.
    pub(super) fn cannot_start(&mut self, slot: u64, message: String) {
        let Some(instance) = self.instances.get(&slot) else { return };
        self.actions.push_back(Action::CannotStart { id: instance.id(), message });
    }

    /// Asks once more for a start that was not made.
    pub(super) fn ask_again(&mut self, slot: u64) {
        let Some(instance) = self.instances.get(&slot) else { return };
        let State::Starting { program } = instance.state else { return };
        self.store_instance(slot);
        self.ask_for(slot, program.into(), Action::Spawn);
    }

    fn variables(
        &self,
        instance: &Instance,
        unit: &Unit,
        step: Step,
    ) -> Vec<(Cow<'static, str>, String)> {
        let revision = unit.kept.memory.revision_of(instance.set).unwrap_or(1);
        let mut vars = vec![
            ("WSUP_UNIT".into(), instance.unit.name.to_string()),
            ("WSUP_KIND".into(), instance.unit.kind.to_string()),
            ("WSUP_INSTANCE".into(), instance.name.to_string()),
            ("WSUP_REVISION".into(), revision.to_string()),
        ];
        for (at, (spec, port)) in instance.template.ports.iter().zip(&instance.ports).enumerate() {
            if at == 0 {
                vars.push(("PORT".into(), port.to_string()));
            }
            let name = spec.name.to_ascii_uppercase().replace('-', "_");
            vars.push((format!("PORT_{name}").into(), port.to_string()));
        }
        if let (Step::Hook(_) | Step::Probe(_), Some(pid)) = (step, instance.pid()) {
            // systemd.exec(5): what runs beside a program is told its number.
            vars.push(("MAINPID".into(), pid.to_string()));
        }
        let node = match &instance.identity {
            Identity::Node { name, .. } => name.clone(),
            Identity::Anonymous | Identity::Ordinal(_) | Identity::Index(_) => {
                self.config.node.to_string()
            }
        };
        vars.push(("WSUP_NODE".into(), node));
        match &instance.identity {
            Identity::Ordinal(n) => vars.push(("WSUP_ORDINAL".into(), n.to_string())),
            Identity::Index(n) => {
                vars.push(("WSUP_ORDINAL".into(), n.to_string()));
                // pod_control: the variable is added unless the unit defines it itself.
                if !instance.template.process.env.contains_key("JOB_COMPLETION_INDEX") {
                    vars.push(("JOB_COMPLETION_INDEX".into(), n.to_string()));
                }
            }
            Identity::Node { path: Some(path), .. } => {
                vars.push(("WSUP_NODE_PATH".into(), path.clone()))
            }
            Identity::Node { path: None, .. } | Identity::Anonymous => {}
        }
        vars
    }
}

/// The data directory of a statefulset's instance.
pub(super) fn data_dir(unit: &Unit, instance: &Instance) -> Option<DataDir> {
    match &unit.spec.workload {
        WorkloadSpec::StatefulSet(spec) => {
            Some(DataDir { base: spec.data_dir.clone(), instance: instance.name.to_string() })
        }
        WorkloadSpec::Deployment(_)
        | WorkloadSpec::DaemonSet(_)
        | WorkloadSpec::Job(_)
        | WorkloadSpec::CronJob(_) => None,
    }
}
