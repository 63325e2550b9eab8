//! A second look at work that an older build could not read, or that took more than an older limit allows, once at each start.
//! Decodes only, runs nothing.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use futures::channel::mpsc::unbounded;

use super::Core;
use crate::info::WorkInfo;
use crate::plan::Command;
use crate::query::{PageRequest, WorkQuery};
use crate::record::ParkReason;
use crate::worker::{Attempt, Fate, Given, Unstartable, WorkerDef};

/// How many parked works are read at a time.
const PAGE: usize = 256;

/// Frees all parked work that decodes in this build, and is within its limits. Pages are of several commits: one that is freed
/// meanwhile is refused to be freed again, and what is parked meanwhile was tried by this very build.
pub(crate) async fn retry(core: Arc<Core>) {
    let core = &core;
    let mut after = None;
    loop {
        let request = PageRequest { query: WorkQuery::parked(), after, limit: PAGE };
        let Ok(page) = core.store.query(request).await else { return };
        let mut free = Vec::new();
        for info in &page.works {
            let may_begin = match info.parked {
                Some(ParkReason::Undecodable { .. }) => true,
                Some(ParkReason::TooLarge { limit, .. }) => limit < core.limits.prerequisites as u64,
                _ => false,
            };
            if may_begin && decodes(core, info).await {
                tracing::info!(id = %info.id, worker = %info.worker, "can begin now and is freed");
                free.push(core.unit(Command::Retry(info.id)));
            }
        }
        if !free.is_empty()
            && let Err(error) = core.store.transact(free).await
        {
            tracing::warn!(%error, "work that can begin now could not be freed; the next start tries it again");
        }
        after = page.next;
        if after.is_none() {
            return;
        }
    }
}

async fn decodes(core: &Arc<Core>, info: &WorkInfo) -> bool {
    let Some(worker) = core.registry.get(&info.worker) else { return false };
    let given = Given::read(&*core.store, &info.input, info.takes, &info.prerequisites, &core.limits).await;
    let Ok(given) = given else { return false };
    let invocation = given.invocation(Arc::new(attempt_of_nobody(core, info, worker.def)), Arc::clone(&core.states));
    // Decoding is the program's code; what panics does not decode.
    let started = catch_unwind(AssertUnwindSafe(|| worker.start(invocation)));
    started.is_ok_and(|started| !matches!(started, Err(Unstartable::Undecodable(_))))
}

fn attempt_of_nobody(core: &Core, info: &WorkInfo, def: &'static WorkerDef) -> Attempt {
    let (engine, _) = unbounded();
    Attempt {
        id: info.id,
        fence: info.runs,
        worker: Arc::clone(&info.worker),
        def,
        tags: info.tags.clone(),
        number: info.failures,
        generation: info.generation,
        trace_tag: Arc::clone(&info.worker),
        period: None,
        notes_limit: core.limits.progress,
        read_back: core.read_back,
        output: Fate::Kept,
        time: Arc::clone(&core.time),
        engine,
        hub: Arc::clone(&core.hub),
        live: Arc::default(),
        shared: Mutex::default(),
    }
}
