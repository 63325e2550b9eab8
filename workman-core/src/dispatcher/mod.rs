//! The dispatcher: one loop that claims what may start, runs it, and settles what ended.
//!
//! It re-derives everything from the store, so every hint may be lost: a hint only makes it look sooner. It decides nothing
//! about a work; it says which lanes are open and which slots are free, and sends ends as commands. It has no thread of its own: a
//! program polls it on one, a test driver in place. What it does in each round lies in `events`, `write` and `wake`.

mod attempts;
mod core;
mod events;
mod lanes;
mod slots;
mod undecodable;
mod wake;
mod write;

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::channel::mpsc::UnboundedReceiver;
use futures::channel::oneshot;
use futures::stream::BoxStream;

use crate::id::WorkId;
use crate::observe::Hub;
use crate::plan::{Applied, Claimed, Command, Settle};
use crate::record::{Lane, Notes};
use crate::store::Change;
use crate::time::Timestamp;
use crate::worker::FromWorker;

use attempts::Attempts;
pub(crate) use core::{Control, Core, Role};
pub use core::{MissingSensor, ShutdownReport};
use lanes::Lanes;
pub(crate) use slots::{Offers, Reservation, Slots};

/// How far the manager is on its way out.
enum Phase {
    Running,
    Leaving { done: Option<oneshot::Sender<ShutdownReport>>, report: ShutdownReport },
}

/// Whether the sensor has news.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sensed {
    Change,
    Nothing,
}

/// Where a reclaim stands: what was offered meanwhile must not start before its fate is known.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reclaim {
    Settled,
    Wanted,
    Announced,
}

/// The loop and its state.
pub(crate) struct Dispatcher {
    core: Arc<Core>,
    lanes: Lanes,
    attempts: Attempts,
    /// Ends that are not settled yet.
    ends: Vec<Settle>,
    /// Work that was claimed by an offer while a reclaim was on its way.
    limbo: Vec<Claimed>,
    reclaim: Reclaim,
    rescue: bool,
    cascade: bool,
    /// Whether something happened since the last claim that may let something start.
    look: bool,
    next_due: Option<Timestamp>,
    /// What is added to the wall clock to get store time.
    skew_ms: i64,
    /// When progress is to be written, on the monotonic clock.
    write_notes_at: Option<Duration>,
    /// When conditions may count by the passing of time alone, on the monotonic clock.
    dwell_at: Option<Duration>,
    flushes: Vec<(WorkId, oneshot::Sender<()>)>,
    idle_waiters: Vec<oneshot::Sender<()>>,
    failures: u32,
    retry_at: Option<Duration>,
    phase: Phase,
    /// Whatever is spawned is dropped: there is no use in claiming anything.
    runtime_gone: bool,
    controls: UnboundedReceiver<Control>,
    from_workers: UnboundedReceiver<FromWorker>,
    changes: BoxStream<'static, Change>,
    sensed: BoxStream<'static, ()>,
    store_gone: bool,
}

/// The pipes that end at a dispatcher.
pub(crate) struct Pipes {
    pub(crate) controls: UnboundedReceiver<Control>,
    pub(crate) changes: BoxStream<'static, Change>,
}

impl Dispatcher {
    /// A dispatcher for a manager that has just attached.
    pub(crate) fn new(core: Arc<Core>, lanes: &[Lane], next_due: Option<Timestamp>, pipes: Pipes) -> Self {
        let (attempts, from_workers) = Attempts::new(Arc::clone(&core));
        let sensed = core.sensor.changes().fuse().boxed();
        let mut dispatcher = Dispatcher {
            lanes: Lanes::default(),
            attempts,
            ends: Vec::new(),
            limbo: Vec::new(),
            reclaim: Reclaim::Settled,
            rescue: false,
            cascade: true,
            look: true,
            next_due,
            skew_ms: 0,
            write_notes_at: None,
            dwell_at: None,
            flushes: Vec::new(),
            idle_waiters: Vec::new(),
            failures: 0,
            retry_at: None,
            phase: Phase::Running,
            runtime_gone: false,
            controls: pipes.controls,
            from_workers,
            changes: pipes.changes.fuse().boxed(),
            sensed,
            store_gone: false,
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
    pub(crate) async fn run(mut self) {
        self.core.slots.set_offers(if self.runs() { Offers::Taken } else { Offers::Refused });
        if self.core.role == Role::Runs {
            undecodable::retry(&self.core).await;
        }
        loop {
            self.take_events();
            self.stop_what_must();
            if self.is_over() {
                break;
            }
            let units = self.units();
            if units.is_empty() {
                self.tell_idle();
                self.wait().await;
            } else {
                self.transact(units).await;
            }
        }
        self.leave().await;
    }

    fn add_lane(&mut self, lane: &Lane) {
        self.lanes.add(lane, &self.core);
    }

    /// Gives back what is left and tells everybody that the manager has ended.
    async fn leave(&mut self) {
        self.attempts.abandon_all();
        let mut error = None;
        let mut again = !self.store_gone;
        while again {
            let unit = self.core.unit(Command::Detach { epoch: self.core.epoch });
            again = match self.core.store.transact(vec![unit]).await {
                Ok(answers) => matches!(answers.first(), Some(Ok(Applied::Released { again: true, .. }))),
                Err(store_error) => {
                    error = Some(store_error.to_string());
                    false
                }
            };
        }
        self.core.health.ended();
        self.core.hub.close();
        if let Phase::Leaving { done: Some(done), report } = std::mem::replace(&mut self.phase, Phase::Running) {
            let ended = self.attempts.ended_while_leaving();
            let _ = done.send(ShutdownReport { error, ended, ..report });
        }
    }
}

/// Wakes observers after each commit, in a loop of its own so that nobody waits for the dispatcher.
pub(crate) async fn pump(hub: Arc<Hub>, mut changes: BoxStream<'static, Change>) {
    while let Some(change) = changes.next().await {
        match change {
            Change::Commit { touched, .. } => hub.touch(touched.iter().copied()),
            Change::Lagged => hub.touch_all(),
        }
    }
    hub.close();
}

/// Notes that are waiting to be written, for one attempt.
type TakenNotes = (WorkId, u64, Notes);
