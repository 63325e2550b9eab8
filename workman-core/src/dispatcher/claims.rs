//! [`Claims`]: what is to start. Which lanes there are, what was claimed in them and lines up here, and what to look at next.
//!
//! What was claimed is started a few at a time, so that ends are heard in between. All of it holds its slots already.

use std::collections::VecDeque;
use std::time::Duration;

use super::core::Core;
use super::inbox::Wake;
use super::lanes::{Lanes, Reach};
use super::prune::Company;
use super::slots::{Beside, Seat, Seats, Slots};
use crate::id::WorkId;
use crate::plan::{Claim, Claimed, Command, End, FreeSlots, Settle, SuspectsAllowed, WorkerKind};
use crate::record::{Lane, LaneId};
use crate::state::StopReason;
use crate::store::Stamp;
use crate::store::StoreError;
use crate::time::{Due, NextDue};
use crate::worker::RegisteredWorker;

/// What is to start, and where to look for more.
pub(super) struct Claims {
    lanes: Lanes,
    line: Line,
    /// Whether something happened since the last claim that may let something start.
    look: bool,
    next_due: NextDue,
    /// Whether the store may think that this manager runs more than it does.
    reclaim: bool,
    /// Offers of earlier generations are void: what they claimed is given back by a reclaim.
    generation: u64,
    /// Whether dead managers may have left something.
    rescue: bool,
    /// Whether something wide may have left a rest.
    cascade: bool,
}

/// Claimed work in the order in which it starts.
#[derive(Default)]
struct Line {
    next: VecDeque<Next>,
    /// Claimed beyond what may run: a slot was reserved for it, and nobody knew any more. It starts when one is free.
    beyond: Vec<Next>,
    places: Seats,
}

/// Claimed work that is to start.
pub(super) struct Next {
    pub(super) claimed: Claimed,
    pub(super) worker: RegisteredWorker,
}

impl Claims {
    /// Nobody knows yet what lies in these lanes, and whether a cascade was left.
    pub(super) fn new(lanes: &[Lane], next_due: NextDue, core: &Core) -> Self {
        let mut claims = Claims {
            lanes: Lanes::default(),
            line: Line::default(),
            look: true,
            next_due,
            reclaim: false,
            generation: 0,
            rescue: false,
            cascade: true,
        };
        claims.add_lanes(lanes, core);
        claims
    }

    // ---- what comes in ----

    /// Something has happened that may let something start.
    pub(super) fn look(&mut self) {
        self.look = true;
    }

    /// Something may be ready in this lane.
    pub(super) fn on_ready(&mut self, lane: LaneId) {
        self.lanes.heat(lane);
        self.look = true;
    }

    /// Something is due then.
    pub(super) fn on_due(&mut self, due: Due) {
        self.next_due = self.next_due.and(due);
    }

    pub(super) fn add_lanes(&mut self, lanes: &[Lane], core: &Core) {
        lanes.iter().for_each(|lane| self.lanes.add(lane, core));
    }

    /// Something may be ready in any lane.
    pub(super) fn look_into_all(&mut self) {
        self.lanes.heat_all();
        self.look = true;
    }

    pub(super) fn on_cascade(&mut self) {
        self.cascade = true;
    }

    /// More was left to rescue than one commit may.
    pub(super) fn rescue_more(&mut self) {
        self.rescue = true;
    }

    /// Hints were lost, so everything that they could have said is found out anew.
    pub(super) fn look_at_everything(&mut self, slots: &Slots) {
        self.lanes.heat_all();
        self.next_due = NextDue::NOW;
        (self.cascade, self.look) = (true, true);
        self.want_reclaim(slots);
    }

    /// An answer was lost, or a run never began: the store thinks that this manager runs more than it does. What it does not run is
    /// given back as it was.
    pub(super) fn want_reclaim(&mut self, slots: &Slots) {
        self.reclaim = true;
        self.generation += 1;
        self.line = Line::default();
        slots.refuse_offers();
        slots.forget_reservations();
    }

    /// Whether an offer of this generation is good. If it is of a time before the last reclaim was wanted, nobody knows whether
    /// its work was given back since: another reclaim makes sure that it is.
    pub(super) fn honours(&mut self, generation: u64) -> bool {
        self.reclaim |= generation != self.generation;
        generation == self.generation
    }

    /// Claimed work is to start, as soon as there is time for that. Answers its end if it can't.
    pub(super) fn line_up(&mut self, claimed: Claimed, core: &Core) -> Option<Settle> {
        let (id, fence) = (claimed.record.id, claimed.record.fence);
        if let Some(worker) = core.registry.get(&claimed.spec.worker).cloned() {
            self.line.push(Next { claimed, worker });
            return None;
        }
        // Its lane is closed here, so nobody can have claimed it for this manager.
        tracing::error!(%id, worker = %claimed.spec.worker, "claimed work of a worker that is not here");
        Some(Settle { id, fence, end: End::Interrupted { reason: StopReason::RuntimeGone } })
    }

    /// The store has moved on without this one.
    pub(super) fn withdraw(&mut self, id: WorkId) {
        self.line.withdraw(id);
    }

    // ---- what goes out ----

    /// A slot may be free for what was claimed beyond what may run.
    pub(super) fn try_again(&mut self) {
        self.line.try_again();
    }

    /// What starts next beside these. What has no slot waits for one.
    pub(super) fn next(&mut self, slots: &Slots, mut running: Seats) -> Option<Next> {
        while let Some(next) = self.line.pop() {
            let Seat { kind, urgency, .. } = next.place();
            if slots.may_run(kind, urgency, *running.taken.of(kind)) {
                return Some(next);
            }
            self.line.set_aside(next);
        }
        None
    }

    /// Whether nothing is to start.
    pub(super) fn is_empty(&self) -> bool {
        self.line.next.is_empty() && self.line.beyond.is_empty()
    }

    /// No claim is under way: what runs, or is about to, holds its slots, and the rest is free.
    pub(super) fn count(&self, slots: &Slots, running: Seats) {
        slots.set_running(running.taken.and(self.line.places.taken));
    }

    /// Whether a commit comes soon anyway, since something may start.
    pub(super) fn looks(&self) -> bool {
        self.look
    }

    /// What was lost on the way, or was too much for one commit. `held` says what runs here.
    pub(super) fn errands(
        &self,
        epoch: u64,
        held: impl FnOnce() -> Vec<(WorkId, u64)>,
    ) -> impl Iterator<Item = Command> {
        let rescue = self.rescue.then_some(Command::Rescue);
        let reclaim = self.reclaim.then(|| Command::Reclaim { epoch, held: self.held(held()) });
        let drain = self.cascade.then_some(Command::Drain);
        rescue.into_iter().chain(reclaim).chain(drain)
    }

    fn held(&self, mut held: Vec<(WorkId, u64)>) -> Vec<(WorkId, u64)> {
        let lined_up = self.line.next.iter().chain(&self.line.beyond).map(|next| &next.claimed.record);
        held.extend(lined_up.map(|record| (record.id, record.fence)));
        held
    }

    /// Whether all slots of this kind are held, and work seems to wait for one, or for any if it has just become due.
    pub(super) fn seems_to_wait(&self, kind: WorkerKind, core: &Core, now: Duration) -> bool {
        if !core.slots.are_all_held(kind) {
            return false;
        }
        let due = || self.wait_for_due(core).is_some_and(|wait| wait.is_zero());
        !self.lanes.within(Reach::Hot, &[kind], &core.dwell(), now).is_empty() || due()
    }

    /// What may start now, if there is any use in looking. Of the kinds that are asked about, the store is to say in which lanes
    /// something waits for a slot.
    pub(super) fn claim(
        &mut self,
        core: &Core,
        company: Company,
        beside: impl FnOnce() -> Beside,
        asked: &[WorkerKind],
        now: Duration,
    ) -> Option<Claim> {
        let due = self.wait_for_due(core).is_some_and(|wait| wait.is_zero());
        if !(self.look || due || !asked.is_empty()) {
            return None;
        }
        let Beside { places, barred } = beside();
        self.count(&core.slots, places);
        // What is due is ordinary work, since expedited work has no delay: slots that are kept for it are no reason to look.
        let watches = if due { Reach::Known } else { Reach::Hot };
        let due = due && core.slots.has_any_free();
        if !(self.look || due || !asked.is_empty()) {
            return None;
        }
        self.look = false;
        let free = core.slots.begin_claim();
        let reach = if due || company == Company::Ends { Reach::Known } else { Reach::Hot };
        let (lanes, watched) = {
            let dwell = core.dwell();
            *core.rivals() = self.lanes.rivals(&dwell, now);
            let lanes = self.lanes.open(reach, &dwell, now, free);
            let watched = self.lanes.within(watches, asked, &dwell, now).into_iter();
            let watched: Vec<LaneId> = watched.filter(|lane| lanes.iter().all(|open| open.lane != *lane)).collect();
            (lanes, watched)
        };
        if !self.reclaim {
            core.slots.take_offers(self.generation);
        }
        let is_full = free == (FreeSlots::default(), FreeSlots::default());
        if asked.is_empty() && (is_full || (lanes.is_empty() && !due)) {
            self.count(&core.slots, places);
            return None;
        }
        let suspects = places.suspects + self.line.places.suspects;
        let suspects = if suspects > 0 { SuspectsAllowed::None } else { SuspectsAllowed::One };
        Some(Claim {
            epoch: core.epoch,
            lanes,
            async_slots_free: free.0,
            blocking_slots_free: free.1,
            expedited_budget: core.limits.expedited_budget,
            barred,
            watched,
            suspects,
        })
    }

    // ---- what the store answers ----

    /// A claim has emptied these lanes, and says what is due next and whether there is more than it could take.
    pub(super) fn on_claimed(&mut self, drained: Vec<LaneId>, next_due: NextDue, more: Again) {
        drained.into_iter().for_each(|lane| self.lanes.cool(lane));
        self.next_due = next_due;
        self.look |= more == Again::Needed;
    }

    /// Which slots the workers of these lanes take.
    pub(super) fn kinds_of(&self, lanes: &[LaneId]) -> Vec<WorkerKind> {
        lanes.iter().filter_map(|lane| self.lanes.kind_of(*lane)).collect()
    }

    /// A claim failed. If nobody knows whether it was written, the store may have given something that nobody has.
    pub(super) fn on_claim_failed(&mut self, error: &StoreError, slots: &Slots) {
        self.look = true;
        if error.is_indeterminate() {
            self.want_reclaim(slots);
        }
    }

    pub(super) fn on_rescued(&mut self, again: Again) {
        self.rescue = again == Again::Needed;
    }

    pub(super) fn on_drained(&mut self, again: Again) {
        self.cascade = again == Again::Needed;
    }

    /// All that this manager did not name was given back.
    pub(super) fn on_reclaimed(&mut self, lanes: &[Lane], core: &Core) {
        self.add_lanes(lanes, core);
        (self.reclaim, self.look) = (false, true);
    }

    /// When something is due that there is free for.
    pub(super) fn next_wake(&self, core: &Core, now: Duration) -> Option<Wake> {
        let wait = self.wait_for_due(core).filter(|_| core.slots.has_any_free())?;
        Some(Wake::at(now.saturating_add(wait)))
    }

    /// How long until delayed work is due, as the clocks stand; none if there is no such work.
    fn wait_for_due(&self, core: &Core) -> Option<Duration> {
        if self.next_due == NextDue::default() {
            return None;
        }
        let Stamp { now, offset_ms } = core.time.now();
        self.next_due.wait(now, offset_ms)
    }
}

/// Whether a command has to be sent once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    Needed,
    Done,
}

impl From<bool> for Again {
    /// As a store's answer says it.
    fn from(again: bool) -> Self {
        if again { Again::Needed } else { Again::Done }
    }
}

impl Next {
    fn place(&self) -> Seat {
        Seat::of(&self.claimed, self.worker.def.kind)
    }
}

impl Line {
    fn push(&mut self, next: Next) {
        self.places.add(next.place());
        self.next.push_back(next);
    }

    fn pop(&mut self) -> Option<Next> {
        let next = self.next.pop_front()?;
        self.places.remove(next.place());
        Some(next)
    }

    /// It goes on waiting, though the others don't.
    fn set_aside(&mut self, next: Next) {
        self.places.add(next.place());
        self.beyond.push(next);
    }

    fn try_again(&mut self) {
        for next in self.beyond.drain(..).rev() {
            self.next.push_front(next);
        }
    }

    fn withdraw(&mut self, id: WorkId) {
        let Line { next, beyond, places } = self;
        let mut stays = |next: &Next| {
            let stays = next.claimed.record.id != id;
            if !stays {
                places.remove(next.place());
            }
            stays
        };
        next.retain(&mut stays);
        beyond.retain(stays);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Payload;
    use crate::limits::Limits;
    use crate::plan::{Applied, Barred, Enqueue, Hint};
    use crate::record::InputShape;
    use crate::request::{Input, RequestParts};
    use crate::runtime::block_on;
    use crate::store::{Change, StoreErrorKind};
    use crate::time::Timestamp;
    use crate::worker::{Body, Registry, Trials, Worker, WorkerDef};

    const NOW: Duration = Duration::ZERO;
    const HOUR: Duration = Duration::from_secs(3_600);

    const fn def(name: &'static str, kind: WorkerKind) -> WorkerDef {
        WorkerDef {
            name,
            aliases: &[],
            location: "here",
            kind,
            takes: InputShape::Nothing,
            defaults: crate::__private::DEFAULTS,
            states: Vec::new,
            start: |_| Ok(Body::Async(Box::pin(std::future::pending()))),
            reads_input: |_| Ok(()),
            reads_output: |_| Ok(()),
            trials: Trials::new(),
        }
    }

    macro_rules! workers {
        ($($type:ident = $name:literal $kind:ident;)*) => {$(
            struct $type;
            impl Worker for $type {
                type Output = ();
                const DEF: &'static WorkerDef = {
                    static DEF: WorkerDef = def($name, WorkerKind::$kind);
                    &DEF
                };
            }
        )*};
    }

    workers! {
        Polled = "polled" Async;
        Blocks = "blocks" Blocking;
        Unknown = "unknown" Async;
    }

    /// Claims and the store in which they claim; nothing runs.
    struct Bench {
        core: Core,
        claims: Claims,
        hints: futures::stream::BoxStream<'static, Change>,
    }

    impl Bench {
        fn with_slots(for_async: usize, for_blocking: usize) -> Bench {
            let mut limits = Limits::default();
            (limits.async_slots, limits.blocking_slots, limits.expedited_slots) = (for_async, for_blocking, 0);
            let mut registry = Registry::new();
            registry.add::<Polled>().add::<Blocks>();
            let core = Core::still(registry, limits);
            let hints = core.store.changes();
            let mut claims = Claims::new(&[], NextDue::default(), &core);
            claims.on_drained(Again::Done);
            Bench { core, claims, hints }
        }

        fn transact(&self, command: Command) -> Applied {
            block_on(self.core.store.transact(self.core.units([command]))).unwrap().pop().unwrap().unwrap()
        }

        /// Stores so many works, and hears what the store says of that.
        fn enqueue<W: Worker>(&mut self, count: usize, delay: Duration) -> Vec<WorkId> {
            let works = (0..count).map(|_| {
                let input = Input { payload: Payload::encode(&()).unwrap(), takes: InputShape::Nothing };
                let mut draft = RequestParts::new(W::DEF, Ok(input));
                draft.terms.initial_delay = delay;
                draft.new_work(&self.core.limits, self.core.store_now(), Vec::new(), None).unwrap()
            });
            let works = Vec::from_iter(works);
            let ids = works.iter().map(|work| work.id).collect();
            self.transact(Command::Enqueue(Enqueue { works, unique: None, offer: None }));
            self.hear();
            ids
        }

        fn hear(&mut self) {
            use futures::{FutureExt, StreamExt};
            while let Some(Some(change)) = self.hints.next().now_or_never() {
                let Change::Commit { hints, .. } = change else { panic!("nothing lags") };
                for hint in hints.iter() {
                    match hint {
                        Hint::Ready(lane) => self.claims.on_ready(*lane),
                        Hint::Due(due) => self.claims.on_due(*due),
                        Hint::Lane(lane) => self.claims.add_lanes(std::slice::from_ref(lane), &self.core),
                        _ => {}
                    }
                }
            }
        }

        /// The next claim beside these.
        fn look(&mut self, places: Seats) -> Option<Claim> {
            let beside = || Beside { places, barred: Barred::default() };
            self.claims.claim(&self.core, Company::Nothing, beside, &[], NOW)
        }

        /// Claims what there is, and lines it up. Answers how many works that were.
        fn claim(&mut self, places: Seats) -> usize {
            let Some(claim) = self.look(places) else { return 0 };
            let Applied::Claimed { works, drained, next_due, again, .. } = self.transact(Command::Claim(claim)) else {
                panic!("it is the answer to a claim")
            };
            self.claims.on_claimed(drained, next_due, again.into());
            let count = works.len();
            works.into_iter().for_each(|claimed| assert_eq!(self.claims.line_up(claimed, &self.core), None));
            self.claims.count(&self.core.slots, places);
            count
        }

        /// Starts what has a slot beside these.
        fn start(&mut self, running: &mut Seats) -> Vec<WorkId> {
            self.claims.try_again();
            let next = std::iter::from_fn(|| {
                let next = self.claims.next(&self.core.slots, *running)?;
                running.add(next.place());
                Some(next.claimed.record.id)
            });
            next.collect()
        }

        fn errands(&self) -> Vec<Command> {
            self.claims.errands(self.core.epoch, Vec::new).collect()
        }

        fn may_reserve(&self) -> bool {
            self.core.slots.reserve(WorkerKind::Async, &[WorkId::from_u128(1)]).is_some()
        }
    }

    fn lost() -> StoreError {
        StoreError::new(StoreErrorKind::Indeterminate, "nobody knows")
    }

    #[test]
    fn what_is_ready_is_claimed_as_far_as_there_are_slots_and_starts_in_its_order() {
        let mut bench = Bench::with_slots(2, 1);
        assert_eq!(bench.look(Seats::default()), None, "there is no lane");
        assert_eq!(bench.look(Seats::default()), None, "nothing has happened since");
        let (polled, blocks) = (bench.enqueue::<Polled>(3, NOW), bench.enqueue::<Blocks>(1, NOW));
        assert_eq!(bench.claim(Seats::default()), 3);
        let mut running = Seats::default();
        assert_eq!(bench.start(&mut running), [polled[0], polled[1], blocks[0]]);
        assert!(bench.claims.is_empty());
        bench.claims.look();
        assert_eq!(bench.claim(running), 0, "no slot is free");
        bench.claims.look();
        assert_eq!(bench.claim(Seats::default()), 1);
        assert_eq!(bench.start(&mut Seats::default()), [polled[2]]);
    }

    #[test]
    fn what_lines_up_holds_its_slot_already() {
        let mut bench = Bench::with_slots(2, 1);
        bench.enqueue::<Polled>(1, NOW);
        assert_eq!(bench.claim(Seats::default()), 1);
        bench.enqueue::<Polled>(5, NOW);
        let claim = bench.look(Seats::default()).unwrap();
        assert_eq!((claim.async_slots_free.ordinary, claim.blocking_slots_free.ordinary), (1, 1));
    }

    #[test]
    fn a_lane_that_a_claim_has_emptied_is_not_read_until_something_is_ready_in_it() {
        let mut bench = Bench::with_slots(9, 9);
        bench.enqueue::<Polled>(1, NOW);
        assert_eq!(bench.claim(Seats::default()), 1);
        bench.claims.look();
        assert_eq!(bench.look(Seats::default()), None);
        bench.enqueue::<Polled>(1, NOW);
        assert_eq!(bench.look(Seats::default()).unwrap().lanes.len(), 1);
    }

    #[test]
    fn what_has_a_delay_is_a_reason_to_wake_if_there_is_a_slot_and_none_to_look_before() {
        let mut bench = Bench::with_slots(1, 0);
        bench.enqueue::<Polled>(1, NOW);
        bench.enqueue::<Polled>(1, HOUR);
        assert_eq!(bench.claim(Seats::default()), 1);
        assert_eq!(bench.claims.next_wake(&bench.core, NOW), None, "its slot is taken");
        let mut running = Seats::default();
        assert_eq!(bench.start(&mut running).len(), 1);
        bench.claims.count(&bench.core.slots, Seats::default());
        assert_eq!(bench.claims.next_wake(&bench.core, HOUR), Some(Wake::at(HOUR + HOUR)));
        assert_eq!(bench.look(Seats::default()), None, "it is not due");
        bench.claims.on_due(Due::Store(Timestamp::MIN));
        assert!(bench.look(Seats::default()).is_some());
    }

    #[test]
    fn what_was_claimed_beyond_what_may_run_waits_without_holding_up_the_others() {
        let mut bench = Bench::with_slots(2, 1);
        let (polled, blocks) = (bench.enqueue::<Polled>(2, NOW), bench.enqueue::<Blocks>(1, NOW));
        assert_eq!(bench.claim(Seats::default()), 3);
        // Somebody else got a slot meanwhile.
        let place = Seat { kind: WorkerKind::Async, urgency: crate::record::Urgency::Ordinary, suspect: false };
        let mut running = Seats::default();
        running.add(place);
        assert_eq!(bench.start(&mut running), [polled[0], blocks[0]]);
        assert!(!bench.claims.is_empty());
        assert_eq!(bench.start(&mut running), []);
        running.remove(place);
        assert_eq!(bench.start(&mut running), [polled[1]]);
    }

    #[test]
    fn a_work_that_the_store_gave_away_never_starts_and_its_slot_is_free() {
        let mut bench = Bench::with_slots(2, 0);
        let ids = bench.enqueue::<Polled>(2, NOW);
        assert_eq!(bench.claim(Seats::default()), 2);
        bench.claims.withdraw(ids[0]);
        bench.enqueue::<Polled>(1, NOW);
        assert_eq!(bench.look(Seats::default()).unwrap().async_slots_free.ordinary, 1);
        assert_eq!(bench.start(&mut Seats::default()), [ids[1]]);
    }

    #[test]
    fn after_a_claim_that_may_have_been_written_everything_is_given_back_that_is_not_named() {
        let mut bench = Bench::with_slots(4, 4);
        bench.enqueue::<Polled>(2, NOW);
        assert_eq!(bench.claim(Seats::default()), 2);
        assert!(bench.may_reserve() && bench.errands().is_empty());
        let refused = StoreError::new(StoreErrorKind::Rejected, "no");
        bench.claims.on_claim_failed(&refused, &bench.core.slots);
        assert!(bench.claims.looks() && bench.errands().is_empty() && !bench.claims.is_empty());

        bench.claims.on_claim_failed(&lost(), &bench.core.slots);
        assert!(bench.claims.is_empty(), "the store gives it back");
        assert!(!bench.may_reserve());
        let [reclaim @ Command::Reclaim { .. }] = &*bench.errands() else { panic!("{:?}", bench.errands()) };
        assert!(!bench.claims.honours(0), "the offer is of a time before");
        let Applied::Reclaimed { lanes, .. } = bench.transact(reclaim.clone()) else { panic!("it was given back") };
        bench.claims.on_reclaimed(&lanes, &bench.core);
        assert!(bench.errands().is_empty());
        assert_eq!(bench.claim(Seats::default()), 2, "what was given back is claimed anew");
        assert!(bench.may_reserve() && bench.claims.honours(1));
    }

    #[test]
    fn a_reclaim_names_what_runs_and_what_lines_up() {
        let mut bench = Bench::with_slots(1, 0);
        let ids = bench.enqueue::<Polled>(1, NOW);
        assert_eq!(bench.claim(Seats::default()), 1);
        assert!(!bench.claims.honours(7), "nobody made that offer");
        let runs = (WorkId::from_u128(5), 3);
        let commands: Vec<Command> = bench.claims.errands(9, || vec![runs]).collect();
        let [Command::Reclaim { epoch: 9, held }] = &*commands else { panic!("{commands:?}") };
        assert_eq!(*held, [runs, (ids[0], 1)]);
    }

    #[test]
    fn what_was_too_much_for_one_commit_goes_on_until_the_store_says_that_it_is_done() {
        let mut bench = Bench::with_slots(1, 1);
        bench.claims.rescue_more();
        bench.claims.on_cascade();
        assert!(matches!(&*bench.errands(), [Command::Rescue, Command::Drain]));
        bench.claims.on_rescued(Again::Needed);
        bench.claims.on_drained(Again::Needed);
        assert!(matches!(&*bench.errands(), [Command::Rescue, Command::Drain]));
        bench.claims.on_rescued(Again::Done);
        bench.claims.on_drained(Again::Done);
        assert!(bench.errands().is_empty());
        bench.claims.look_at_everything(&bench.core.slots);
        assert!(matches!(&*bench.errands(), [Command::Reclaim { .. }, Command::Drain]));
    }

    #[test]
    fn one_suspect_runs_at_a_time_be_it_only_about_to() {
        let mut bench = Bench::with_slots(9, 9);
        bench.enqueue::<Polled>(1, NOW);
        assert_eq!(bench.look(Seats::default()).unwrap().suspects, SuspectsAllowed::One);
        bench.claims.look();
        let beside = Seats { suspects: 1, ..Seats::default() };
        assert_eq!(bench.look(beside).unwrap().suspects, SuspectsAllowed::None);
        assert_eq!(bench.claim(Seats::default()), 0, "nothing has happened since");
        bench.claims.look();
        let Some(Applied::Claimed { mut works, .. }) =
            bench.look(Seats::default()).map(|claim| bench.transact(Command::Claim(claim)))
        else {
            panic!("it is ready")
        };
        works[0].record.deaths = u32::MAX;
        assert_eq!(bench.claims.line_up(works.remove(0), &bench.core), None);
        bench.claims.look();
        assert_eq!(bench.look(Seats::default()).unwrap().suspects, SuspectsAllowed::None);
    }

    #[test]
    fn claimed_work_of_a_worker_that_is_not_here_is_given_back_at_once() {
        let mut bench = Bench::with_slots(1, 1);
        let ids = bench.enqueue::<Unknown>(1, NOW);
        assert_eq!(bench.look(Seats::default()), None, "its lane is closed here");
        let lane = crate::plan::OpenLane {
            lane: LaneId(1),
            kind: WorkerKind::Async,
            urgency: crate::record::Urgency::Ordinary,
        };
        bench.enqueue::<Polled>(1, NOW);
        let mut claim = bench.look(Seats::default()).unwrap();
        let known = claim.lanes[0].lane;
        claim.lanes = (0..4)
            .map(LaneId)
            .filter(|lane| *lane != known)
            .map(|id| crate::plan::OpenLane { lane: id, ..lane })
            .collect();
        let Applied::Claimed { mut works, .. } = bench.transact(Command::Claim(claim)) else {
            panic!("it was claimed")
        };
        let end = bench.claims.line_up(works.remove(0), &bench.core).unwrap();
        assert_eq!((end.id, end.end), (ids[0], End::Interrupted { reason: StopReason::RuntimeGone }));
        assert!(bench.claims.is_empty());
    }
}
