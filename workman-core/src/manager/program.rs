//! What the code of a program wants of gates, said at its start.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::gates::Gate;
use super::refused::StartError;
use crate::dispatcher::Role;
use crate::plan::{GateChange, GateCommand, Refusal, wrong_with};
use crate::record::{GateLimits, GateTarget};
use crate::worker::Registry;

/// What a manager in this role has to say at its start: one that only enqueues says nothing.
///
/// # Errors
/// When it makes no sense.
pub(super) fn program(role: Role, registry: &Registry, gates: &[Gate]) -> Result<Option<GateCommand>, StartError> {
    match role {
        Role::Runs => said_by(registry, gates).map(Some).map_err(StartError::Gate),
        Role::EnqueuesOnly => Ok(None),
    }
}

/// What the code of a program says of gates.
fn said_by(registry: &Registry, gates: &[Gate]) -> Result<GateCommand, Refusal> {
    let mut limits: BTreeMap<GateTarget, GateLimits> = BTreeMap::new();
    for worker in registry.iter() {
        if let Some(at_once) = worker.def.defaults.concurrency {
            let at_once = GateLimits { at_once: Some(at_once), ..GateLimits::default() };
            limits.insert(GateTarget::Worker(Arc::clone(&worker.name)), at_once);
        }
    }
    for gate in gates {
        let (target, wanted) = gate.resolved(registry)?;
        limits.insert(target, wanted);
    }
    let workers = registry.iter().map(|worker| Arc::clone(&worker.name)).collect();
    if let Some((target, problem)) =
        limits.iter().find_map(|(target, wanted)| Some((target, wrong_with(target, wanted)?)))
    {
        return Err(Refusal::Gate { target: target.clone(), problem });
    }
    Ok(GateCommand::Program { limits: limits.into_iter().collect(), workers })
}

/// What code said of a gate before and says otherwise now: an earlier version of the program, or another one on the same store.
pub(super) fn log_gates(changed: &[GateChange]) {
    for GateChange { target, before, after } in changed {
        match (&before.code, &after.code) {
            (Some(before), Some(after)) => {
                tracing::warn!(gate = %target, %before, %after, "this program wants another limit than the one before it, or than another one on this store; the later start counts");
            }
            (Some(before), None) => {
                tracing::info!(gate = %target, %before, "no program wants this limit any more");
            }
            (None, _) => {}
        }
    }
}
