//! The dispatcher: one loop that claims what may start, runs it, and settles what ended.
//!
//! It re-derives everything from the store, so every hint may be lost: a hint only makes it look sooner. It decides nothing
//! about a work; it says which lanes are open and which slots are free, and sends ends as commands. It has no thread of its own: a
//! program polls it on one, a test driver in place. What it does in each round lies in `events`, `write` and `wake`.

mod attempts;
mod core;
mod events;
mod lanes;
mod leave;
mod linger;
mod queue;
mod retention;
mod running;
mod slots;
mod undecodable;
mod verdict;
mod wake;
mod walk;
mod write;

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::channel::mpsc::UnboundedReceiver;
use futures::channel::oneshot;
use futures::stream::BoxStream;

use crate::id::WorkId;
use crate::observe::{Hub, NO_WORK, News};
use crate::plan::{Command, Hint, Settle};
use crate::record::{Lane, Notes};
use crate::runtime;
use crate::store::{Change, Store};
use crate::time::NextDue;
use crate::worker::FromWorker;

use attempts::Attempts;
pub(crate) use core::{Control, Core, Rivals, Role};
pub use core::{MissingSensor, ShutdownReport};
use lanes::Lanes;
pub(crate) use leave::Farewell;
use linger::{CROWD, Linger};
use queue::{Queue, Started};
use retention::{Keeper, Moment};
pub(crate) use slots::{Reservation, Slots};
pub(crate) use undecodable::retry as retry_undecodable;
use wake::Timer;
pub(crate) use walk::{Progress, Walk};

/// How far the manager is on its way out.
enum Phase {
    Running,
    Leaving { waiting: Vec<oneshot::Sender<ShutdownReport>>, until: Duration },
}

/// Whether the sensor has news.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sensed {
    Change,
    Nothing,
}

/// What health and log say when the runtime is gone.
const RUNTIME_GONE: &str = "the runtime of the workers has ended; nothing runs until a new manager is started";

/// The loop and its state.
pub(crate) struct Dispatcher {
    core: Arc<Core>,
    lanes: Lanes,
    attempts: Attempts,
    /// Ends that are not settled yet.
    ends: Vec<Settle>,
    /// Work that was claimed and does not run yet.
    queue: Queue,
    linger: Linger,
    /// Whether the store may think that this manager runs more than it does.
    reclaim: bool,
    /// Offers of earlier generations are void: what they claimed is given back by a reclaim.
    generation: u64,
    rescue: bool,
    cascade: bool,
    /// Whether something happened since the last claim that may let something start.
    look: bool,
    next_due: NextDue,
    keeper: Keeper,
    /// Whether something was written: until then everything else comes first.
    warm: bool,
    /// When progress is to be written, on the monotonic clock.
    write_notes_at: Option<Duration>,
    /// When conditions may count by the passing of time alone, on the monotonic clock.
    dwell_at: Option<Duration>,
    flushes: Vec<(WorkId, oneshot::Sender<()>)>,
    idle_waiters: Vec<oneshot::Sender<()>>,
    /// Failures of the store in a row.
    failures: u32,
    /// Runs in a row that could not read what they take.
    unreadable: u32,
    retry_at: Option<Duration>,
    timer: Option<Timer>,
    phase: Phase,
    /// Whatever is spawned is dropped: there is no use in claiming anything.
    runtime_gone: bool,
    controls: UnboundedReceiver<Control>,
    from_workers: UnboundedReceiver<FromWorker>,
    changes: BoxStream<'static, Change>,
    sensed: BoxStream<'static, ()>,
    store_gone: bool,
    /// Whether everything was given back.
    detached: bool,
}

/// The pipes that end at a dispatcher.
pub(crate) struct Pipes {
    pub(crate) controls: UnboundedReceiver<Control>,
    pub(crate) changes: BoxStream<'static, Change>,
}

impl Dispatcher {
    /// A dispatcher for a manager that has just attached.
    pub(crate) fn new(core: Arc<Core>, lanes: &[Lane], next_due: NextDue, pipes: Pipes) -> Self {
        let (attempts, from_workers) = Attempts::new(Arc::clone(&core));
        let sensed = core.sensor.changes().fuse().boxed();
        let mut dispatcher = Dispatcher {
            lanes: Lanes::default(),
            attempts,
            ends: Vec::new(),
            queue: Queue::default(),
            linger: Linger::default(),
            reclaim: false,
            generation: 0,
            rescue: false,
            cascade: true,
            look: true,
            next_due,
            keeper: Keeper::new(&core.limits),
            warm: false,
            write_notes_at: None,
            dwell_at: None,
            flushes: Vec::new(),
            idle_waiters: Vec::new(),
            failures: 0,
            unreadable: 0,
            retry_at: None,
            timer: None,
            phase: Phase::Running,
            runtime_gone: false,
            controls: pipes.controls,
            from_workers,
            changes: pipes.changes.fuse().boxed(),
            sensed,
            store_gone: false,
            detached: false,
            core,
        };
        lanes.iter().for_each(|lane| dispatcher.add_lane(lane));
        dispatcher
    }

    /// More was left to rescue than one commit may.
    pub(crate) fn rescue_more(&mut self) {
        self.rescue = true;
    }

    /// Runs until the manager has left.
    pub(crate) async fn run(mut self) -> Farewell {
        // The sensor was asked before anybody listened to it.
        self.observe_conditions(Sensed::Change);
        loop {
            self.take_events();
            self.stop_what_must();
            if self.is_over() {
                break;
            }
            self.queue.try_again();
            if self.ends.len() < CROWD && self.start_some() == Started::Some {
                continue;
            }
            if self.lingers() {
                runtime::yield_now().await;
                continue;
            }
            let units = self.units();
            if units.is_empty() {
                self.tell_idle();
                self.wait().await;
            } else {
                self.transact(units).await;
            }
        }
        self.leave().await
    }

    fn add_lane(&mut self, lane: &Lane) {
        self.lanes.add(lane, &self.core);
    }
}

/// A dispatcher that is dropped before it has left (its engine was dropped, or it panicked) leaves in a hurry.
impl Drop for Dispatcher {
    fn drop(&mut self) {
        if self.detached || self.store_gone {
            return;
        }
        self.attempts.abandon_all();
        let detach = vec![self.core.unit(Command::Detach { epoch: self.core.epoch })];
        if let Err(error) = runtime::block_on(self.core.store.transact(detach)) {
            tracing::warn!(%error, "what ran here could not be given back; the next opening of the store rescues it");
        }
        self.core.health.ended();
        self.core.hub.close();
    }
}

/// Wakes observers after each commit, in a loop of its own so that nobody waits for the dispatcher.
pub(crate) async fn pump(hub: Arc<Hub>, mut changes: BoxStream<'static, Change>) {
    while let Some(change) = changes.next().await {
        pass_on(&hub, change);
    }
    hub.close();
}

/// As [`pump`], but listens to the store only while somebody observes: a manager that only enqueues is else woken by each of
/// its own commits.
pub(crate) async fn pump_while_observed(hub: Arc<Hub>, store: Arc<dyn Store>) {
    loop {
        hub.observed().await;
        let mut changes = store.changes();
        // What happened before is in no change; whoever watches already looks once more.
        hub.touch_all();
        while hub.is_observed() {
            let Some(change) = changes.next().await else { return hub.close() };
            pass_on(&hub, change);
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

/// Notes that are waiting to be written, for one attempt.
type TakenNotes = (WorkId, u64, Notes);
