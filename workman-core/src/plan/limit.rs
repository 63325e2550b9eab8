//! What somebody wants of gates: limits that code or a person sets, pauses, and their end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::draft::Draft;
use super::gates::{GateChange, GateLook, GateStatus, wrong_with};
use super::settle::interrupt;
use super::view::{Halt, Snapshot, Want};
use super::{Applied, GateCommand, Hint, OnPause, Plan, Refusal, cascade};
use crate::id::WorkId;
use crate::record::{
    GateLimits, GateSetting, GateSettings, GateTarget, MOST_GATE_SETTINGS, Mark, Pause, Rare, Standing, WorkRecord,
    WorkSpec, marks,
};
use crate::state::StopReason;
use crate::time::Timestamp;

pub(super) fn plan(view: &Snapshot, command: &GateCommand, now: Timestamp) -> Result<Plan, Halt> {
    let mut draft = Draft::new(view, now);
    let mut settings = (*draft.settings()?).clone();
    let mut stopped = 0;
    let changed = match command {
        GateCommand::Limit { target, limits } => {
            let limits = limits.filter(|limits| !limits.is_nothing());
            change(&mut settings, target, |setting| setting.hand = limits)?
        }
        GateCommand::Pause { target, reason, until, running } => {
            check(target, &GateLimits::default())?;
            let since =
                settings.gates.get(target).and_then(|setting| setting.pause.as_ref()).map_or(now, |pause| pause.since);
            let pause = Pause { reason: cascade::reason(reason.as_ref())?, since, until: *until };
            let changed = change(&mut settings, target, |setting| setting.pause = Some(pause))?;
            if *running == OnPause::Stop {
                stopped = stop_all(&mut draft, target)?;
            }
            changed
        }
        GateCommand::Resume { target } => {
            let changed = change(&mut settings, target, |setting| setting.pause = None)?;
            if let GateTarget::Serial(_) = target {
                draft.touch(target);
                draft.gate(target.id())?.halted = None;
            }
            changed
        }
        GateCommand::Program { limits, workers } => return program(draft, settings, limits, workers),
        GateCommand::Look(wanted) => return look(draft, *wanted),
    };
    finish(draft, settings, changed.into_iter().collect(), stopped)
}

fn check(target: &GateTarget, limits: &GateLimits) -> Result<(), Refusal> {
    let wrong = wrong_with(target, limits);
    wrong.map_or(Ok(()), |problem| Err(Refusal::Gate { target: target.clone(), problem }))
}

/// Changes what is wanted of a gate. None if that is what it was.
fn change(
    settings: &mut GateSettings,
    target: &GateTarget,
    change: impl FnOnce(&mut GateSetting),
) -> Result<Option<GateChange>, Halt> {
    let before = settings.gates.get(target).cloned().unwrap_or_default();
    let mut after = before.clone();
    change(&mut after);
    for limits in after.hand.iter().chain(&after.code) {
        check(target, limits)?;
    }
    if after == before {
        return Ok(None);
    }
    if after.is_nothing() {
        settings.gates.remove(target);
    } else {
        settings.gates.insert(target.clone(), after.clone());
    }
    if settings.gates.len() > MOST_GATE_SETTINGS {
        return Err(Refusal::TooManyGates { limit: MOST_GATE_SETTINGS }.into());
    }
    Ok(Some(GateChange { target: target.clone(), before, after }))
}

/// A program starts. What its code says of its workers counts from now on, and what code said of them before does not; of all else,
/// what code said is forgotten if no other manager is there that may have said it.
fn program(
    draft: Draft<'_>,
    mut settings: GateSettings,
    limits: &[(GateTarget, GateLimits)],
    workers: &[Arc<str>],
) -> Result<Plan, Halt> {
    let said: BTreeMap<&GateTarget, GateLimits> = limits.iter().map(|(target, limits)| (target, *limits)).collect();
    let is_alone = draft.meta.epochs_of != draft.meta.incarnation || draft.meta.open_epochs.len() <= 1;
    let forgets = |target: &GateTarget| match target {
        GateTarget::Worker(worker) => workers.contains(worker),
        _ => is_alone,
    };
    let known: BTreeSet<GateTarget> = settings.gates.keys().chain(said.keys().copied()).cloned().collect();
    let mut changed = Vec::new();
    for target in known {
        let code = said.get(&target).copied();
        if code.is_some() || forgets(&target) {
            changed.extend(change(&mut settings, &target, |setting| setting.code = code)?);
        }
    }
    finish(draft, settings, changed, 0)
}

fn finish(
    mut draft: Draft<'_>,
    settings: GateSettings,
    changed: Vec<GateChange>,
    stopped: usize,
) -> Result<Plan, Halt> {
    if !changed.is_empty() {
        draft.put_settings(settings, changed.iter().map(|change| &change.target));
        let counts = changed.iter().filter(|change| change.after.limits().is_some());
        let new: Vec<GateTarget> = counts.map(|change| change.target.clone()).collect();
        count_running(&mut draft, &new)?;
    }
    draft.done(Applied::Gates { changed, stopped })
}

/// What runs already counts at a gate of which something is wanted only now. Works with keys count at theirs from the beginning.
fn count_running(draft: &mut Draft<'_>, targets: &[GateTarget]) -> Result<(), Halt> {
    let counts_late =
        |target: &&GateTarget| !matches!(target, GateTarget::Key(_) | GateTarget::Keys(_) | GateTarget::Serial(_));
    let targets: Vec<&GateTarget> = targets.iter().filter(counts_late).collect();
    if targets.is_empty() {
        return Ok(());
    }
    for (record, spec) in running(draft)? {
        for target in &targets {
            let gate = target.id();
            if !is_before(target, &spec) {
                continue;
            }
            let Some(record) = draft.work(record.id)?.cloned() else { continue };
            if matches!(record.standing, Standing::Running { .. }) && !record.counted().contains(&gate) {
                draft.put(record.with_rare(|mut rare: Rare| {
                    rare.counted.push(gate);
                    rare
                }));
            }
        }
    }
    Ok(())
}

/// All that runs, with what its request said.
fn running(draft: &Draft<'_>) -> Result<Vec<(WorkRecord, Arc<WorkSpec>)>, Halt> {
    let claims = draft.view.list(Want::Claims)?;
    draft.view.require(claims.ids.iter().map(|id| Want::Spec(*id)))?;
    let mut running = Vec::with_capacity(claims.ids.len());
    for id in &claims.ids {
        let runs = |record: &&WorkRecord| matches!(record.standing, Standing::Running { .. });
        if let Some(record) = draft.work(*id)?.filter(runs) {
            running.push((record.clone(), Arc::clone(draft.view.spec(*id)?)));
        }
    }
    Ok(running)
}

/// Whether the gate stands before a work of this request.
fn is_before(target: &GateTarget, spec: &WorkSpec) -> bool {
    match target {
        GateTarget::Everything => true,
        GateTarget::Worker(worker) => spec.worker == *worker,
        GateTarget::Tag(tag) => spec.tags.contains(tag),
        GateTarget::Name(name) => spec.name.as_ref() == Some(name),
        GateTarget::Key(key) => spec.limit_key.as_ref() == Some(key),
        GateTarget::Keys(beginning) => spec.limit_key.as_ref().is_some_and(|key| key.starts_with(&**beginning)),
        GateTarget::Serial(lane) => spec.serial.as_ref().is_some_and(|serial| serial.lane == *lane),
    }
}

/// What runs behind a gate is stopped and given back: no attempt is lost by a pause.
fn stop_all(draft: &mut Draft<'_>, target: &GateTarget) -> Result<usize, Halt> {
    let mut stopped = 0;
    for (record, spec) in running(draft)? {
        if is_before(target, &spec) {
            draft.hint(Hint::Stop { id: record.id, fence: record.fence, reason: StopReason::Paused });
            interrupt(draft, record, StopReason::Paused, None);
            stopped += 1;
        }
    }
    Ok(stopped)
}

fn look(mut draft: Draft<'_>, look: GateLook) -> Result<Plan, Halt> {
    let targets = match look {
        GateLook::Wanted => draft.settings()?.gates.keys().cloned().collect(),
        GateLook::Of(id) => met_by(&mut draft, id)?,
    };
    if draft.meta.gates.rows > 0 {
        draft.view.require(targets.iter().map(|target| Want::Gate(target.id())))?;
    }
    let mut gates = Vec::with_capacity(targets.len());
    for target in targets {
        let holders = match look {
            GateLook::Wanted => Vec::new(),
            GateLook::Of(_) => holders(&draft, &target)?,
        };
        gates.push(GateStatus { holders, ..draft.gate_status(target)? });
    }
    let meta = draft.view.meta.clone();
    Ok(Plan { writes: Vec::new(), meta, hints: Vec::new(), applied: Applied::GatesSeen(gates) })
}

/// How many works are named that keep a gate shut.
const NAMED_HOLDERS: usize = 10;

/// The works that a gate counts, the first of them.
fn holders(draft: &Draft<'_>, target: &GateTarget) -> Result<Vec<WorkId>, Halt> {
    let gate = target.id();
    let want = match target {
        GateTarget::Serial(_) => Want::Serial { gate, limit: NAMED_HOLDERS },
        _ => Want::Claims,
    };
    let mut holders = Vec::new();
    for id in &draft.view.list(want)?.ids {
        let counts = |record: &&WorkRecord| marks(record).any(|mark| mark == Mark::Running(gate));
        holders.extend(draft.work(*id)?.filter(counts).map(|record| record.id));
    }
    holders.truncate(NAMED_HOLDERS);
    Ok(holders)
}

/// The gates that a work meets.
fn met_by(draft: &mut Draft<'_>, id: WorkId) -> Result<Vec<GateTarget>, Halt> {
    if draft.view.work(id)?.is_none() {
        return Ok(Vec::new());
    }
    let (spec, settings) = (draft.spec_of(id)?, draft.settings()?);
    let lanes = [GateTarget::Everything, GateTarget::Worker(Arc::clone(&spec.worker))];
    let lanes = lanes.into_iter().filter(|target| settings.gates.contains_key(target));
    let serial = spec.serial.as_ref().map(|serial| GateTarget::Serial(Arc::clone(&serial.lane)));
    let key = spec.limit_key.clone().map(GateTarget::Key);
    let labels = settings.of_labels(&spec.tags, spec.name.as_ref()).cloned();
    Ok(lanes.chain(serial).chain(key).chain(labels).collect())
}
