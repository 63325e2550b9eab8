//! What goes on beside the dispatcher: whoever observes works is woken after each commit, and work that an older build could not
//! read, or that took more than an older limit allows, gets a second look once at each start.

use std::convert::Infallible;
use std::future::pending;
use std::sync::{Arc, Mutex};

use futures::StreamExt;
use futures::channel::mpsc::unbounded;
use futures::future::join;
use futures::stream::BoxStream;

use crate::dispatcher::{Core, Role};
use crate::foreign::foreign;
use crate::id::WorkId;
use crate::info::WorkInfo;
use crate::observe::{Hub, NO_WORK, News};
use crate::plan::{Command, Hint};
use crate::query::{PageRequest, WorkQuery};
use crate::record::ParkReason;
use crate::store::{Change, Store};
use crate::worker::{Attempt, Fate, Given, Unstartable, WorkerDef};

/// How many parked works are read at a time.
const PAGE: usize = 256;

/// Runs beside the dispatcher as long as that runs. `changes` are given by those who listen to the store all the time. It never
/// ends: a store that is closed still has to be left.
pub(super) async fn beside(core: Arc<Core>, changes: Option<BoxStream<'static, Change>>) -> Infallible {
    let pump = async {
        match changes {
            Some(changes) => pump(&core.hub, changes).await,
            None => pump_while_observed(&core.hub, &*core.store).await,
        }
    };
    let second_look = async {
        if core.role == Role::Runs {
            look_again(&core).await;
        }
    };
    join(pump, second_look).await;
    pending().await
}

/// Wakes observers after each commit, in a loop of its own so that nobody waits for the dispatcher.
async fn pump(hub: &Hub, mut changes: BoxStream<'static, Change>) {
    while let Some(change) = changes.next().await {
        pass_on(hub, change);
    }
    hub.close();
}

/// As [`pump`], but listens to the store only while somebody observes: a manager that only enqueues is else woken by each of
/// its own commits.
async fn pump_while_observed(hub: &Hub, store: &dyn Store) {
    loop {
        hub.observed().await;
        let mut changes = store.changes();
        // What happened before is in no change; whoever watches already looks once more.
        hub.touch_all();
        while hub.is_observed() {
            let Some(change) = changes.next().await else { return hub.close() };
            pass_on(hub, change);
        }
    }
}

fn pass_on(hub: &Hub, change: Change) {
    match change {
        // When that was is seen by those too who look at no work.
        Change::Commit { commit, touched, hints, .. } if hints.contains(&Hint::CancelledAll) => {
            let touched: Vec<WorkId> = touched.iter().copied().chain([NO_WORK]).collect();
            hub.touch(News::Commit(commit), &touched);
        }
        Change::Commit { commit, touched, .. } => hub.touch(News::Commit(commit), &touched),
        Change::Lagged => hub.touch_all(),
        // That is for health, and no news of a work.
        Change::Damaged(_) => {}
    }
}

/// Frees all parked work that decodes in this build, and is within its limits, but for what newer work of its name has superseded.
/// It decodes only, and runs nothing.
/// Pages are of several commits: one that is freed meanwhile is refused to be freed again, and what is parked meanwhile was tried by
/// this very build.
async fn look_again(core: &Core) {
    let mut after = None;
    loop {
        let request = PageRequest { query: WorkQuery::parked(), after, limit: PAGE };
        let Ok(page) = core.store.query(request).await else { return };
        let mut free = Vec::new();
        for info in &page.works {
            let may_begin = match info.parked {
                _ if info.superseded => false,
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

async fn decodes(core: &Core, info: &WorkInfo) -> bool {
    let Some(worker) = core.registry.get(&info.worker) else { return false };
    let given = Given::read(&*core.store, &info.input, info.takes, &info.prerequisites, &core.limits).await;
    let Ok(given) = given else { return false };
    let invocation = given.invocation(Arc::new(attempt_of_nobody(core, info, worker.def)), Arc::clone(&core.states));
    // Decoding is the program's code, and so is the drop of what was decoded; what panics does not decode.
    foreign(|| !matches!(worker.start(invocation), Err(Unstartable::Undecodable(_)))).unwrap_or(false)
}

fn attempt_of_nobody(core: &Core, info: &WorkInfo, def: &'static WorkerDef) -> Attempt {
    let (engine, _) = unbounded();
    Attempt {
        id: info.id,
        fence: info.runs,
        worker: Arc::clone(&info.worker),
        def,
        tags: info.tags.clone(),
        gates: Vec::new(),
        number: info.failures,
        most: None,
        generation: info.generation,
        trace_tag: Arc::clone(&info.worker),
        period: None,
        timeout: None,
        limits: Arc::clone(&core.limits),
        read_back: core.read_back,
        output: Fate::Kept,
        time: Arc::clone(&core.time),
        engine,
        hub: Arc::clone(&core.hub),
        live: Arc::default(),
        shared: Mutex::default(),
    }
}
