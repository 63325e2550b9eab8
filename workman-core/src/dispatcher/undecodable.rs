//! A second look at work that an older build could not read, once at each start. Decodes only, runs nothing.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use futures::channel::mpsc::unbounded;

use super::Core;
use crate::info::WorkInfo;
use crate::plan::Command;
use crate::query::{PageRequest, WorkQuery};
use crate::record::{InputShape, ParkReason};
use crate::worker::{Attempt, Invocation, Unstartable, WorkContext, outputs};

/// How many parked works are read at a time.
const PAGE: usize = 256;

/// Frees all parked work that decodes in this build.
pub(crate) async fn retry(core: Arc<Core>) {
    let core = &core;
    let mut after = None;
    loop {
        let request = PageRequest { query: WorkQuery::parked(), after, limit: PAGE };
        let Ok(page) = core.store.query(request).await else { return };
        let mut free = Vec::new();
        for info in &page.works {
            if matches!(info.parked, Some(ParkReason::Undecodable { .. })) && decodes(core, info).await {
                tracing::info!(id = %info.id, worker = %info.worker, "decodes again and is freed");
                free.push(core.unit(Command::Retry(info.id)));
            }
        }
        if !free.is_empty()
            && let Err(error) = core.store.transact(free).await
        {
            tracing::warn!(%error, "work that decodes again could not be freed; the next start tries it again");
        }
        after = page.next;
        if after.is_none() {
            return;
        }
    }
}

async fn decodes(core: &Arc<Core>, info: &WorkInfo) -> bool {
    let Some(worker) = core.registry.get(&info.worker) else { return false };
    let prerequisites = match worker.def.takes {
        InputShape::Nothing => Ok(Vec::new()),
        _ => outputs(&*core.store, &info.prerequisites, core.limits.prerequisites).await,
    };
    let Ok(prerequisites) = prerequisites else { return false };
    let context = WorkContext::new(Arc::new(attempt_of_nobody(core, info)));
    let states = Arc::clone(&core.states);
    let invocation = Invocation { context, input: info.input.clone(), prerequisites, states };
    // Decoding is the program's code; what panics does not decode.
    let started = catch_unwind(AssertUnwindSafe(|| worker.start(invocation)));
    started.is_ok_and(|started| !matches!(started, Err(Unstartable::Undecodable(_))))
}

fn attempt_of_nobody(core: &Core, info: &WorkInfo) -> Attempt {
    let (engine, _) = unbounded();
    Attempt {
        id: info.id,
        fence: info.runs,
        worker: Arc::clone(&info.worker),
        tags: info.tags.clone(),
        number: info.failures,
        period: None,
        notes_limit: core.limits.progress,
        clock: Arc::clone(&core.clock),
        engine,
        hub: Arc::clone(&core.hub),
        shared: Mutex::default(),
    }
}
