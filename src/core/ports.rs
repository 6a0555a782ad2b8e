//! Ports of instances' own: `[[ports]]`.
//!
//! Responsible for who has which port of a range, from an instance's first start until it is gone: over
//! restarts it keeps its ports. Must not know whether anybody else on the machine has one: whoever
//! starts programs finds that out and tells.

use super::Core;
use super::id::InstanceId;
use super::instance::{Input, Instance, State};
use super::spec::PortSpec;
use super::time::{Millis, Mono, Now};
use super::workload::Identity;
use std::collections::BTreeMap;

/// A port that somebody else was found to have is left alone for so long.
const FOREIGN_FOR: Millis = Millis::from_secs(60);

/// Who has what.
#[derive(Clone, Debug, Default)]
pub(super) struct Ports {
    /// The instances, by port.
    taken: BTreeMap<u16, u64>,
    /// Ports that somebody else has, and until when that is believed.
    foreign: BTreeMap<u16, Mono>,
}

impl Ports {
    fn is_free(&self, port: u16) -> bool {
        !self.taken.contains_key(&port) && !self.foreign.contains_key(&port)
    }

    /// An instance that was restored has these.
    pub(super) fn restore(&mut self, instance: &Instance) {
        self.taken.extend(instance.ports.iter().map(|port| (*port, instance.slot)));
    }

    /// An instance is gone.
    pub(super) fn release(&mut self, instance: &Instance) {
        for port in &instance.ports {
            if self.taken.get(port) == Some(&instance.slot) {
                self.taken.remove(port);
            }
        }
    }

    /// Who has this port.
    pub(super) fn holder(&self, port: u16) -> Option<u64> {
        self.taken.get(&port).copied()
    }

    /// How many ports instances have.
    pub(super) fn len(&self) -> usize {
        self.taken.len()
    }
}

/// A statefulset's instance has the same port for ever.
fn fixed(spec: &PortSpec, identity: &Identity) -> Option<Result<u16, String>> {
    let Identity::Ordinal(ordinal) = identity else { return None };
    let port = u16::try_from(*ordinal).ok().and_then(|ordinal| spec.first.checked_add(ordinal));
    Some(port.filter(|port| *port <= spec.last).ok_or_else(|| {
        let (name, first, last) = (&spec.name, spec.first, spec.last);
        format!("port \"{name}\": ordinal {ordinal} is beyond {first}-{last}: widen the range")
    }))
}

impl Core {
    /// Gives an instance the ports that it needs and has not yet.
    ///
    /// # Errors
    /// One that is not to be had, for people.
    pub(super) fn allot_ports(&mut self, now: Now, slot: u64) -> Result<(), String> {
        let Some(instance) = self.instances.get(&slot) else { return Ok(()) };
        if instance.ports.len() == instance.template.ports.len() {
            return Ok(());
        }
        self.ports.foreign.retain(|_, until| *until > now.mono);
        let template = std::sync::Arc::clone(&instance.template);
        let identity = instance.identity.clone();
        for spec in template.ports.iter().skip(instance.ports.len()) {
            let port = match fixed(spec, &identity) {
                Some(port) => self.only(spec, port?)?,
                None => self.any(spec)?,
            };
            self.ports.taken.insert(port, slot);
            if let Some(instance) = self.instances.get_mut(&slot) {
                instance.ports.push(port);
            }
        }
        Ok(())
    }

    fn only(&self, spec: &PortSpec, port: u16) -> Result<u16, String> {
        let Some(other) = self.ports.holder(port) else { return Ok(port) };
        let name = self.instances.get(&other).map(|one| one.name.as_str()).unwrap_or_default();
        Err(format!("port \"{}\": {port} is {name}'s already", spec.name))
    }

    fn any(&self, spec: &PortSpec) -> Result<u16, String> {
        let mut range = spec.first..=spec.last;
        range.find(|port| self.ports.is_free(*port)).ok_or_else(|| {
            format!(
                "port \"{}\": none of {}-{} is free: widen the range",
                spec.name, spec.first, spec.last
            )
        })
    }

    /// Somebody else has a port of an instance that was to be started. It gets another one and is asked
    /// for again; a statefulset's has no other.
    pub(super) fn port_taken(&mut self, now: Now, id: InstanceId, port: u16, by: Option<&str>) {
        let Some(instance) = self.instances.get_mut(&id.slot).filter(|one| one.id() == id) else {
            return;
        };
        let by = by.map(|who| format!(" by {who}")).unwrap_or_default();
        // One that is to stop meanwhile is not asked for again either: this was its start's answer.
        let wanted = matches!(instance.state, State::Starting { .. });
        if !wanted || matches!(instance.identity, Identity::Ordinal(_)) {
            let message = format!("port {port} is taken{by}");
            return self.step(now, id.slot, Input::SpawnFailed { message: &message });
        }
        // Those behind it are allotted anew as well: they stand in the order of the template.
        let kept = instance.ports.iter().take_while(|one| **one != port).count();
        let lost = instance.ports.split_off(kept);
        for one in lost {
            self.ports.taken.remove(&one);
        }
        self.ports.foreign.insert(port, now.mono.plus(FOREIGN_FOR));
        match self.allot_ports(now, id.slot) {
            Ok(()) => self.ask_again(id.slot),
            Err(message) => {
                self.cannot_start(id.slot, format!("{message} ({port} is taken{by})"));
            }
        }
    }
}

/// Checks that each port has one holder, who knows it.
///
/// # Errors
/// What does not agree.
pub(super) fn agrees(core: &Core) -> Result<(), String> {
    let mut count = 0;
    for instance in core.instances.values() {
        count += instance.ports.len();
        let foreign = |port: &&u16| core.ports.holder(**port) != Some(instance.slot);
        if let Some(port) = instance.ports.iter().find(foreign) {
            return Err(format!("{} has port {port}, which is not its own", instance.name));
        }
    }
    if count != core.ports.len() {
        return Err(format!("{} ports are taken, {count} are had", core.ports.len()));
    }
    Ok(())
}
