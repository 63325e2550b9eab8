//! What the planner takes to decide. Loading and applying are the store's business and are left out.

use std::hint::black_box;
use std::time::Duration;

use workman_core::store::{
    Applied, Barred, Cancel, Claim, Claimed, Codec, Command, Decision, End, Enqueue, LaneId, Meta, NewWork, Noticed,
    Offer, OpenLane, Opening, Reading, RowMap, Settle, Snapshot, Stride, SuspectsAllowed, Terms, Transaction, Unique,
    UniquePolicy, Unit, Urgency, WorkSpec, WorkerKind, load, plan, stored_meta,
};
use workman_core::{ExistingWorkPolicy, Payload, Schedule, Timestamp, WorkId, WorkSelector};

use super::Case;
use super::callgrind::measured;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case { name: "plan: enqueue 1", run: || enqueue(1) },
        Case { name: "plan: enqueue 1,000", run: || enqueue(1_000) },
        Case { name: "plan: enqueue 1 with an offer", run: offered },
        Case { name: "plan: enqueue 1 under a name that is free", run: named },
        Case { name: "plan: enqueue a chain of 1,000", run: enqueue_chain },
        Case { name: "plan: claim 1 of 2,000", run: || claim(1) },
        Case { name: "plan: claim 16 of 2,000", run: || claim(16) },
        Case { name: "plan: claim 256 of 2,000", run: || claim(256) },
        Case { name: "plan: claim 1,024 of 2,000", run: || claim(1_024) },
        Case { name: "plan: settle a success", run: settle },
        Case { name: "plan: settle a step of a chain", run: settle_step },
        Case { name: "plan: settle a period", run: settle_period },
        Case { name: "plan: settle a failure", run: settle_failure },
        Case { name: "plan: cancel 1,000 by a tag", run: cancel },
    ]
}

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

fn enqueue(count: u128) -> usize {
    let mut house = House::new();
    house.enqueue(vec![work(0)]);
    house.measure(&Command::Enqueue(Enqueue { works: works(count), unique: None, offer: None }));
    count as usize
}

fn offered() -> usize {
    let mut house = House::new();
    house.enqueue(vec![work(0)]);
    let held = house.claim(1);
    let offer = Offer { epoch: house.epoch, generation: 1, slots: 1, ids: vec![id(1)], rivals: vec![], lanes: 1 };
    house.measure(&Command::Enqueue(Enqueue { works: works(1), unique: None, offer: Some(offer) }));
    held.len()
}

fn named() -> usize {
    let house = House::new();
    let mut works = works(1);
    rename(&mut works);
    let unique = Unique { name: "name".into(), policy: UniquePolicy::OneTime(ExistingWorkPolicy::Keep) };
    house.measure(&Command::Enqueue(Enqueue { works, unique: Some(unique), offer: None }));
    1
}

fn enqueue_chain() -> usize {
    let house = House::new();
    house.measure(&Command::Enqueue(Enqueue { works: chain(1_000), unique: None, offer: None }));
    1_000
}

fn claim(room: usize) -> usize {
    let mut house = House::new();
    house.enqueue(works(2_000));
    house.measure(&house.claim_of(room));
    room
}

fn settle() -> usize {
    let mut house = House::new();
    house.enqueue(works(1));
    house.settle_all(&success());
    1
}

fn settle_step() -> usize {
    let mut house = House::new();
    house.enqueue(chain(3));
    house.settle_all(&success());
    1
}

fn settle_period() -> usize {
    let mut house = House::new();
    let mut work = work(1);
    work.terms.schedule = Schedule::every(Duration::from_secs(900));
    house.enqueue(vec![work]);
    house.settle_all(&success());
    1
}

fn settle_failure() -> usize {
    let mut house = House::new();
    house.enqueue(works(1));
    let error = workman_core::ErrorText::new("no");
    house.settle_all(&End::Failed { error, advice: workman_core::store::Advice::ByPolicy });
    1
}

fn cancel() -> usize {
    let mut house = House::new();
    house.enqueue(works(1_000));
    let selector = WorkSelector::tag("nothing");
    house.measure(&Command::Cancel(Cancel {
        selector,
        before: None,
        after: None,
        stride: Stride::Full,
        because: None,
    }));
    1_000
}

fn success() -> End {
    End::Succeeded { output: Payload::new(Codec::JSON, &b"null"[..]) }
}

fn id(number: u128) -> WorkId {
    // As ids lie that are made one after the other.
    WorkId::from_u128((1 << 100) + (number << 40))
}

fn work(number: u128) -> NewWork {
    NewWork::new(id(number), WorkSpec::new("nothing", Payload::new(Codec::JSON, vec![b'1'; 100])), Terms::default())
}

fn works(count: u128) -> Vec<NewWork> {
    (1..=count).map(work).collect()
}

/// Works of which each waits for the one before it.
fn chain(length: u128) -> Vec<NewWork> {
    let step = |number| {
        let mut spec = WorkSpec::clone(&work(number).spec);
        spec.prerequisites.ids.extend((number > 1).then(|| id(number - 1)));
        NewWork::new(id(number), spec, Terms::default())
    };
    (1..=length).map(step).collect()
}

fn rename(works: &mut [NewWork]) {
    for work in works {
        let spec = WorkSpec { name: Some("name".into()), ..WorkSpec::clone(&work.spec) };
        *work = NewWork::new(work.id, spec, work.terms.clone());
    }
}

/// A store in two maps, and a manager that is attached to it.
struct House {
    rows: RowMap,
    opening: Opening,
    epoch: u64,
}

impl House {
    fn new() -> Self {
        let mut house = House { rows: RowMap::default(), opening: Opening::new(1), epoch: 0 };
        match house.send(Command::Attach) {
            Applied::Attached { epoch, .. } => house.epoch = epoch,
            other => panic!("{other:?}"),
        }
        house
    }

    fn send(&mut self, command: Command) -> Applied {
        let mut transaction = Transaction::begin(&self.rows, &mut self.opening).unwrap();
        let done = transaction
            .run_unit(&mut self.rows, &Unit { command, at: Reading { wall: NOW, monotonic: Duration::ZERO } })
            .unwrap();
        transaction.finish(&mut self.rows, 1).unwrap();
        done.unwrap()
    }

    fn enqueue(&mut self, works: Vec<NewWork>) {
        self.send(Command::Enqueue(Enqueue { works, unique: None, offer: None }));
    }

    fn claim_of(&self, room: usize) -> Command {
        Command::Claim(Claim {
            epoch: self.epoch,
            lanes: vec![OpenLane { lane: LaneId(0), kind: WorkerKind::Async, urgency: Urgency::Ordinary }],
            async_slots_free: room.into(),
            blocking_slots_free: 0.into(),
            expedited_budget: Duration::from_secs(600),
            barred: Barred::default(),
            watched: Vec::new(),
            suspects: SuspectsAllowed::One,
        })
    }

    fn claim(&mut self, room: usize) -> Vec<Claimed> {
        match self.send(self.claim_of(room)) {
            Applied::Claimed { works, .. } => works,
            other => panic!("{other:?}"),
        }
    }

    /// Claims what can be claimed, and measures how the first of it is settled.
    fn settle_all(&mut self, end: &End) {
        let claimed = &self.claim(16)[0].record;
        self.measure(&Command::Settle(Settle { id: claimed.id, fence: claimed.fence, end: end.clone() }));
    }

    /// Measures all that the planner does until it has decided, with what it asks for loaded in between.
    fn measure(&self, command: &Command) {
        let meta = Meta { incarnation: 1, latest: NOW, ..stored_meta(&self.rows).unwrap() };
        let mut views = vec![Snapshot { meta, ..Snapshot::default() }];
        loop {
            let view = views.last_mut().unwrap();
            match plan(view, command, NOW).unwrap() {
                Decision::Done(_) => break,
                Decision::Load(scope) => {
                    let mut more = view.clone();
                    load(&self.rows, &scope, &mut more, &mut Noticed::default()).unwrap();
                    views.push(more);
                }
            }
        }
        measured(|| {
            let mut step = None;
            for view in &views {
                step = Some(plan(black_box(view), black_box(command), NOW));
            }
            step
        });
    }
}
