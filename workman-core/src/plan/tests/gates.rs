//! Gates: what passes, what is held, and that it goes on.

use super::super::{GateCommand, GateProblem, OnPause, SteerResult, Steering};
use super::random::Dice;
use super::*;
use crate::record::{GateLimits, GateTarget, OnSerialFailure, Rate, SerialLane};

fn limits(at_once: u32) -> GateLimits {
    GateLimits { at_once: Some(at_once), ..GateLimits::default() }
}

fn rate(count: u32, per: Duration, burst: u32) -> GateLimits {
    GateLimits { rate: Some(Rate { count, per, burst }), ..GateLimits::default() }
}

fn gate(command: GateCommand) -> Command {
    Command::Gate(Box::new(command))
}

fn limit(target: GateTarget, limits: impl Into<Option<GateLimits>>) -> Command {
    gate(GateCommand::Limit { target, limits: limits.into() })
}

fn pause(target: GateTarget) -> Command {
    gate(GateCommand::Pause { target, reason: None, until: None, running: OnPause::LetFinish })
}

fn resume(target: GateTarget) -> Command {
    gate(GateCommand::Resume { target })
}

fn key(key: &str) -> GateTarget {
    GateTarget::Key(key.into())
}

fn keys(beginning: &str) -> GateTarget {
    GateTarget::Keys(beginning.into())
}

fn serial(lane: &str) -> GateTarget {
    GateTarget::Serial(lane.into())
}

impl NewWork {
    fn spec(mut self, change: impl FnOnce(&mut WorkSpec)) -> Self {
        change(Arc::make_mut(&mut self.spec));
        self
    }

    pub(super) fn keyed(self, key: &str) -> Self {
        self.spec(|spec| spec.limit_key = Some(key.into()))
    }

    pub(super) fn in_lane(self, lane: &str, on_failure: OnSerialFailure) -> Self {
        self.spec(|spec| spec.serial = Some(SerialLane { lane: lane.into(), on_failure }))
    }
}

impl House {
    /// Claims as many times as the planner says that there is more.
    fn claim_ids(&mut self, epoch: u64, room: usize) -> Vec<u128> {
        let mut claimed = Vec::new();
        loop {
            let claim = self.claim_all(epoch, room - claimed.len());
            let Applied::Claimed { works, again, next_due, .. } = self.done(&Command::Claim(claim)) else { panic!() };
            let may_be_more = self.hints.iter().any(|hint| matches!(hint, Hint::Ready(_)));
            let again = again || may_be_more || next_due.wait(self.now, 0) == Some(Duration::ZERO);
            claimed.extend(works.iter().map(|claimed| claimed.record.id.as_u128()));
            if !again || claimed.len() == room {
                return claimed;
            }
        }
    }

    fn finish(&mut self, number: u128, end: End) {
        let record = self.record(number);
        self.done(&Command::Settle(Settle { id: record.id, fence: record.fence, end }));
    }

    fn drain(&mut self) {
        while let Applied::Drained { again: true } = self.done(&Command::Drain) {}
    }

    fn is_held(&self, number: u128) -> bool {
        matches!(self.record(number).standing, Standing::Held { .. })
    }
}

#[test]
fn no_more_run_at_once_than_a_worker_may_whoever_claims() {
    let mut house = House::new();
    let (one, other) = (house.attach(), house.attach());
    house.done(&limit(GateTarget::Worker("worker".into()), limits(2)));
    house.enqueue((1..=5).map(work));
    assert_eq!(house.claim_ids(one, 9), [1, 2]);
    assert_eq!(house.claim_ids(other, 9), []);
    house.finish(1, success());
    assert_eq!(house.claim_ids(other, 9), [3]);
    house.done(&Command::Detach { epoch: one });
    assert_eq!(house.claim_ids(other, 9), [2]);
}

#[test]
fn a_death_leaves_no_slot_of_a_gate_taken() {
    let mut house = House::new();
    let epoch = house.attach();
    house.done(&limit(keys(""), limits(1)));
    house.enqueue([work(1).keyed("a"), work(2).keyed("a"), work(3).keyed("b")]);
    assert_eq!(house.claim_ids(epoch, 9), [1, 3]);
    house.die();
    let epoch = house.attach();
    house.rescue();
    assert_eq!(house.claim_ids(epoch, 9), [1, 3]);
    house.finish(1, success());
    assert_eq!(house.claim_ids(epoch, 9), [2]);
}

#[test]
fn a_full_key_holds_up_nobody_and_its_works_follow_one_by_one() {
    let mut house = House::new();
    let epoch = house.attach();
    house.done(&limit(key("a"), limits(1)));
    house.enqueue((1..=500).map(|number| work(number).keyed("a")));
    house.enqueue([work(501).keyed("b")]);
    assert_eq!(house.claim_ids(epoch, 3), [1, 501]);
    assert!(house.is_held(2));
    house.finish(1, failure(Advice::ByPolicy));
    assert_eq!(house.claim_ids(epoch, 3), [2]);
}

#[test]
fn keys_take_turns_as_their_weights_say() {
    let mut house = House::new();
    let epoch = house.attach();
    house.done(&limit(key("b"), GateLimits { weight: Some(2), ..GateLimits::default() }));
    house.enqueue((1..=6).map(|number| work(number).keyed("a")));
    assert_eq!(house.claim_ids(epoch, 1), [1]);
    house.enqueue((11..=16).map(|number| work(number).keyed("b")));
    house.enqueue((21..=23).map(|number| work(number).keyed("c")));
    let order: Vec<u128> = (0..9).flat_map(|_| house.claim_ids(epoch, 1)).collect();
    let of = |from: u128| order.iter().filter(|id| **id / 10 == from).count();
    assert_eq!((of(0), of(1), of(2)), (2, 5, 2), "{order:?}");
}

#[test]
fn a_rate_lets_so_many_begin_and_time_alone_opens_it() {
    let mut house = House::new();
    let epoch = house.attach();
    house.done(&limit(key("a"), rate(6, MINUTE, 2)));
    house.enqueue((1..=4).map(|number| work(number).keyed("a")));
    assert_eq!(house.claim_ids(epoch, 9), [1, 2]);
    house.advance(Duration::from_millis(9_999));
    assert_eq!(house.claim_ids(epoch, 9), []);
    house.advance(Duration::from_millis(1));
    assert_eq!(house.claim_ids(epoch, 9), [3]);
    let Applied::Claimed { next_due, .. } = house.done(&Command::Claim(house.claim_all(epoch, 9))) else { panic!() };
    assert_eq!(next_due.wait(house.now, 0), Some(Duration::from_secs(10)));
    // A run that never began takes no token.
    house.finish(3, End::NotBegun);
    assert_eq!(house.claim_ids(epoch, 9), [3]);
}

#[test]
fn what_a_person_sets_counts_until_it_is_cleared() {
    let mut house = House::new();
    let epoch = house.attach();
    let worker = GateTarget::Worker("worker".into());
    let program = |count: u32| {
        gate(GateCommand::Program {
            limits: vec![(GateTarget::Worker("worker".into()), limits(count))],
            workers: vec!["worker".into()],
        })
    };
    house.done(&program(1));
    house.done(&limit(worker.clone(), limits(3)));
    house.done(&program(2));
    house.enqueue((1..=9).map(work));
    assert_eq!(house.claim_ids(epoch, 9), [1, 2, 3]);
    house.done(&limit(worker, None));
    house.finish(1, success());
    assert_eq!(house.claim_ids(epoch, 9), []);
    house.finish(2, success());
    assert_eq!(house.claim_ids(epoch, 9), [4]);
    house.done(&gate(GateCommand::Program { limits: Vec::new(), workers: vec!["worker".into()] }));
    assert_eq!(house.claim_ids(epoch, 9), [5, 6, 7, 8, 9]);
}

#[test]
fn a_pause_holds_all_there_is_and_outlasts_the_process_and_its_end_lets_it_go_on() {
    for target in [GateTarget::Everything, GateTarget::Worker("worker".into()), GateTarget::Tag("t".into()), keys("k")]
    {
        let mut house = House::new();
        house.attach();
        house.enqueue((1..=600).map(|number| work(number).tag("t").keyed("k")));
        house.done(&pause(target.clone()));
        house.die();
        let epoch = house.attach();
        assert_eq!(house.claim_ids(epoch, 700), [], "{target}");
        house.done(&resume(target.clone()));
        house.drain();
        let mut claimed = BTreeSet::new();
        loop {
            let more = house.claim_ids(epoch, 700);
            if more.is_empty() {
                break;
            }
            claimed.extend(more);
        }
        assert_eq!(claimed.len(), 600, "{target}");
    }
}

#[test]
fn a_pause_with_an_end_ends_by_the_wall_clock() {
    for target in [GateTarget::Worker("worker".into()), GateTarget::Tag("t".into())] {
        let mut house = House::new();
        let epoch = house.attach();
        house.enqueue([work(1).tag("t")]);
        let until = Some(house.now + MINUTE);
        let running = OnPause::LetFinish;
        house.done(&gate(GateCommand::Pause { target: target.clone(), reason: Some("deploy".into()), until, running }));
        assert_eq!(house.claim_ids(epoch, 9), [], "{target}");
        let Applied::Claimed { next_due, .. } = house.done(&Command::Claim(house.claim_all(epoch, 9))) else {
            panic!()
        };
        assert_eq!(next_due.wait(house.now, 0), Some(MINUTE), "{target}");
        house.advance(MINUTE);
        assert_eq!(house.claim_ids(epoch, 9), [1], "{target}");
    }
}

#[test]
fn a_pause_that_stops_gives_back_what_runs_as_it_was() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([work(1).name("n"), work(2)]);
    assert_eq!(house.claim_ids(epoch, 9), [1, 2]);
    let target = GateTarget::Name("n".into());
    let stop = GateCommand::Pause { target: target.clone(), reason: None, until: None, running: OnPause::Stop };
    house.done(&gate(stop));
    let stops: Vec<&Hint> = house.hints.iter().filter(|hint| matches!(hint, Hint::Stop { .. })).collect();
    assert!(matches!(stops[..], [Hint::Stop { reason: StopReason::Paused, .. }]), "{stops:?}");
    assert_eq!(house.record(1).failures, 0);
    assert_eq!(house.claim_ids(epoch, 9), []);
    house.done(&resume(target));
    assert_eq!(house.claim_ids(epoch, 9), [1]);
}

#[test]
fn a_serial_lane_runs_one_after_the_other_in_the_order_of_enqueue() {
    let mut house = House::new();
    let epoch = house.attach();
    let lane = |work: NewWork| work.in_lane("l", OnSerialFailure::Skip);
    house.enqueue([lane(work(1)), lane(work(2)).priority(9), lane(work(3)).after([2]), lane(work(4)), work(5)]);
    assert_eq!(house.claim_ids(epoch, 9), [1, 5]);
    house.finish(1, failure(Advice::ByPolicy));
    assert_eq!(house.claim_ids(epoch, 9), [], "it occupies its lane until it has finished");
    house.advance(HOUR);
    assert_eq!(house.claim_ids(epoch, 9), [1]);
    house.finish(1, failure(Advice::Never));
    for number in [2, 3, 4] {
        assert_eq!(house.claim_ids(epoch, 9), [number]);
        house.finish(number, success());
    }
}

#[test]
fn a_failure_holds_a_serial_lane_or_ends_it_as_was_said() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue((1..=3).map(|number| work(number).in_lane("holds", OnSerialFailure::Hold)));
    house.enqueue((4..=400).map(|number| work(number).in_lane("ends", OnSerialFailure::End)));
    house.enqueue([work(401).after([400])]);
    assert_eq!(house.claim_ids(epoch, 9), [1, 4]);
    house.finish(1, failure(Advice::Never));
    house.finish(4, failure(Advice::Never));
    house.drain();
    assert_eq!(house.claim_ids(epoch, 9), []);
    assert_eq!(house.states([400, 401]), [WorkState::Cancelled; 2]);
    house.enqueue([work(402).in_lane("ends", OnSerialFailure::End)]);
    assert_eq!(house.claim_ids(epoch, 9), [402]);
    house.done(&resume(serial("holds")));
    assert_eq!(house.claim_ids(epoch, 9), [2]);
    house.cancel(WorkSelector::Id(id(2)));
    assert_eq!(house.claim_ids(epoch, 9), [3]);
}

/// It fails with what it waited for, while nothing of its lane goes on: the row of the lane is made by that failure.
#[test]
fn work_that_fails_before_it_lines_up_holds_or_ends_its_serial_lane_under_the_name_of_that() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([work(1), work(2).after([1]).in_lane("holds", OnSerialFailure::Hold)]);
    house.enqueue([work(3).after([1]).in_lane("ends", OnSerialFailure::End)]);
    house.enqueue((4..=700).map(|number| work(number).delay(HOUR).in_lane("ends", OnSerialFailure::End)));
    let claimed = house.run(epoch, 1);
    house.settle(&claimed, failure(Advice::Never));
    assert_eq!(house.states([2, 3]), [WorkState::Failed; 2]);
    for _ in 0..3 {
        assert_eq!(house.claim_ids(epoch, 9), []);
    }
    assert_eq!(house.count(WorkState::Cancelled), 697, "the lane has ended");
    house.enqueue([work(701).in_lane("holds", OnSerialFailure::Hold)]);
    assert_eq!(house.claim_ids(epoch, 9), []);
    house.done(&resume(serial("holds")));
    assert_eq!(house.claim_ids(epoch, 9), [701]);
}

#[test]
fn a_limit_that_is_set_while_works_run_counts_those_and_stops_nobody() {
    for target in
        [GateTarget::Everything, GateTarget::Worker("worker".into()), GateTarget::Tag("t".into()), key("k"), keys("")]
    {
        let mut house = House::new();
        let epoch = house.attach();
        house.enqueue((1..=6).map(|number| work(number).tag("t").keyed("k")));
        assert_eq!(house.claim_ids(epoch, 4).len(), 4, "{target}");
        house.done(&limit(target.clone(), limits(2)));
        assert_eq!(house.claim_ids(epoch, 9), [], "{target}");
        for number in [1, 2] {
            house.finish(number, success());
            assert_eq!(house.claim_ids(epoch, 9), [], "{target}");
        }
        house.finish(3, success());
        assert_eq!(house.claim_ids(epoch, 9), [5], "{target}");
        house.done(&limit(target.clone(), None));
        house.drain();
        assert_eq!(house.claim_ids(epoch, 9), [6], "{target}");
    }
}

#[test]
fn a_run_that_its_store_has_given_up_still_counts_in_its_process() {
    let mut house = House::new();
    let epoch = house.attach();
    house.done(&limit(key("a"), limits(1)));
    house.enqueue([work(1).keyed("a"), work(2).keyed("a")]);
    assert_eq!(house.claim_ids(epoch, 9), [1]);
    house.cancel(WorkSelector::Id(id(1)));
    let gates = vec![key("a").id()];
    let barred = Barred { works: vec![id(1)], names: Vec::new(), gates };
    let claim = Claim { barred, ..house.claim_all(epoch, 9) };
    let Applied::Claimed { works, again, .. } = house.done(&Command::Claim(claim)) else { panic!() };
    assert!(works.is_empty(), "{works:?}");
    let is_shown_again = house.hints.iter().any(|hint| matches!(hint, Hint::Ready(_)));
    assert!(!again && !is_shown_again, "it would be claimed and held for as long as that run goes on");
}

#[test]
fn only_who_is_told_to_passes_all_gates_and_it_counts_there() {
    let mut house = House::new();
    let epoch = house.attach();
    house.done(&limit(key("a"), limits(1)));
    let serial = |number: u128| work(number).keyed("a").in_lane("l", OnSerialFailure::Skip);
    house.enqueue([serial(1), serial(2), serial(3).worker("other")]);
    assert_eq!(house.claim_ids(epoch, 9), [1]);
    for target in [GateTarget::Everything, GateTarget::Worker("other".into()), key("a")] {
        house.done(&pause(target));
    }
    let past = Command::Steer { id: id(3), how: Steering::RunNowPastGates };
    assert_eq!(house.done(&past), Applied::Steered(SteerResult::Applied));
    assert_eq!(house.done(&past), Applied::Steered(SteerResult::Unchanged));
    house.die();
    let epoch = house.attach();
    house.rescue();
    assert_eq!(house.claim_ids(epoch, 9), [3]);
    house.finish(3, failure(Advice::ByPolicy));
    house.advance(HOUR);
    assert_eq!(house.claim_ids(epoch, 9), [], "once is once");
    for target in [GateTarget::Everything, GateTarget::Worker("other".into()), key("a")] {
        house.done(&resume(target));
    }
    house.drain();
    for number in [1, 2, 3] {
        assert_eq!(house.claim_ids(epoch, 9), [number]);
        house.finish(number, success());
    }
}

#[test]
fn failed_work_that_is_retried_takes_its_serial_lane_up_again() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue((1..=3).map(|number| work(number).in_lane("l", OnSerialFailure::Hold)));
    assert_eq!(house.claim_ids(epoch, 9), [1]);
    house.finish(1, failure(Advice::Never));
    assert_eq!(house.claim_ids(epoch, 9), []);
    house.done(&Command::Steer { id: id(1), how: Steering::Retry });
    for number in [1, 2, 3] {
        assert_eq!(house.claim_ids(epoch, 9), [number]);
        house.finish(number, success());
    }
}

/// Its old key has no row, since another gate holds all that is there; the update must not store one without a name.
#[test]
fn work_that_another_key_is_given_leaves_the_old_one_as_it_was() {
    let mut house = House::new();
    let epoch = house.attach();
    house.done(&limit(GateTarget::Tag("t".into()), limits(1)));
    house.enqueue((1..=3).map(|number| work(number).tag("t").keyed("old")));
    assert_eq!(house.claim_ids(epoch, 9), [1]);
    house.update(work(2).tag("t").keyed("new"));
    house.done(&limit(key("old"), limits(1)));
    house.finish(1, success());
    house.done(&limit(GateTarget::Tag("t".into()), None));
    house.drain();
    assert_eq!(house.claim_ids(epoch, 9).len(), 2);
    let named = house.dump().gates.into_iter().all(|(id, row)| row.target.id() == id);
    assert!(named, "{:?}", house.dump().gates);
}

#[test]
fn what_makes_no_sense_is_refused_and_says_why() {
    let mut house = House::new();
    let weight = GateLimits { weight: Some(1), ..GateLimits::default() };
    let wrong = [
        (key("a"), limits(0), GateProblem::NoneAtOnce),
        (key("a"), rate(0, MINUTE, 1), GateProblem::NoRate),
        (key("a"), rate(1, Duration::ZERO, 1), GateProblem::NoRate),
        (key("a"), rate(1, MINUTE, 0), GateProblem::NoBurst),
        (key("a"), rate(1, Duration::MAX, 2), GateProblem::LongRate),
        (key("a"), rate(1, HOUR * 24 * 365, u32::MAX), GateProblem::LongRate),
        (GateTarget::Tag("t".into()), weight, GateProblem::WeightOfNoKey),
        (serial("l"), limits(1), GateProblem::LimitOfSerial),
        (key(""), limits(1), GateProblem::Text),
        (key(&"k".repeat(10_240)), limits(1), GateProblem::Text),
    ];
    for (target, limits, problem) in wrong {
        let refusal = house.refused(&limit(target.clone(), limits));
        assert_eq!(refusal, Refusal::Gate { target, problem });
    }
    let reason = Some("x".repeat(1_025).into());
    let long = GateCommand::Pause { target: key("a"), reason, until: None, running: OnPause::LetFinish };
    assert!(matches!(house.refused(&gate(long)), Refusal::ReasonTooLong { size: 1_025, .. }));
    // What nobody has matches nothing, and is no mistake.
    house.done(&pause(GateTarget::Worker("nobody".into())));
}

/// A walk through limits, pauses and works that they stand before.
struct Gatekeeper {
    house: House,
    dice: Dice,
    epoch: u64,
    last: u128,
}

const KEYS: [&str; 4] = ["k/1", "k/2", "l/1", "l/2"];

impl Gatekeeper {
    fn new(seed: u64) -> Self {
        let mut house = House::new();
        house.label = format!("seed {seed}");
        let epoch = house.attach();
        Gatekeeper { house, dice: Dice(seed), epoch, last: 0 }
    }

    fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.dice.roll(of.len() as u64)).unwrap()].clone()
    }

    fn target(&mut self) -> GateTarget {
        let key = self.pick(&KEYS);
        let worker = self.pick(&["a", "b"]);
        self.pick(&[
            GateTarget::Everything,
            GateTarget::Worker(worker.into()),
            GateTarget::Tag("t".into()),
            GateTarget::Tag("u".into()),
            GateTarget::Name("n".into()),
            GateTarget::Key(key.into()),
            keys(""),
            keys("k/"),
            keys("l/"),
        ])
    }

    fn work(&mut self) -> NewWork {
        self.last += 1;
        let mut new = work(self.last)
            .worker(self.pick(&["a", "b"]))
            .tag(self.pick(&["t", "u", "v"]))
            .priority(i8::try_from(self.dice.roll(2)).unwrap())
            .attempts(3);
        if self.dice.roll(2) == 0 {
            new = new.keyed(self.pick(&KEYS));
        }
        if self.dice.roll(4) == 0 {
            use OnSerialFailure::{End, Hold, Skip};
            let (lane, on_failure) = (self.pick(&["x", "y"]), self.pick(&[Hold, Skip, End]));
            new = new.in_lane(lane, on_failure);
        }
        if self.dice.roll(8) == 0 {
            new = new.name("n");
        }
        if self.dice.roll(6) == 0 {
            new = new.delay(self.dice.seconds(100));
        }
        new
    }

    fn enqueue(&mut self) {
        let count = self.dice.roll(8) + 1;
        let mut works = Vec::new();
        for _ in 0..count {
            let before = self.last;
            let new = self.work();
            let waits = before > 0 && self.dice.roll(5) == 0;
            works.push(if waits { new.after([before]) } else { new });
        }
        let _ = self.house.send(&enqueue(works));
    }

    fn gate(&mut self) {
        let target = self.target();
        let at_once = u32::try_from(self.dice.roll(3)).unwrap() + 1;
        let command = match self.dice.roll(8) {
            0 | 1 => limit(target, limits(at_once)),
            2 => limit(target, rate(at_once, self.dice.seconds(30) + MINUTE, 2)),
            3 | 4 => limit(target, None),
            5 => {
                let until = (self.dice.roll(2) == 0).then(|| self.house.now + self.dice.seconds(300));
                let running = self.pick(&[OnPause::LetFinish, OnPause::Stop]);
                gate(GateCommand::Pause { target, reason: None, until, running })
            }
            6 => resume(self.pick(&[serial("x"), serial("y")])),
            _ => resume(target),
        };
        self.house.done(&command);
    }

    /// No gate lets more begin than it may, however much runs already.
    fn claim(&mut self) {
        let before = self.house.dump();
        let room = usize::try_from(self.dice.roll(8)).unwrap();
        let mut claim = self.house.claim_all(self.epoch, room);
        claim.lanes.retain(|_| self.dice.roll(5) > 0);
        self.house.done(&Command::Claim(claim));
        let now = self.house.dump();
        for (id, row) in &now.gates {
            assert_eq!(row.target.id(), *id, "{}: a row of another gate: {row:?}", self.house.label);
            let most = now.settings.of(&row.target).limits.at_once;
            let running = before.gates.get(id).map_or(0, |row| row.running);
            let label = &self.house.label;
            assert!(most.is_none_or(|most| row.running <= most.max(running)), "{label}: too many: {row:?}");
        }
    }

    fn some_run(&mut self) -> Option<WorkRecord> {
        let runs = |record: &&WorkRecord| matches!(record.standing, Standing::Running { .. });
        let running: Vec<WorkRecord> = self.house.dump().records.values().filter(runs).cloned().collect();
        (!running.is_empty()).then(|| self.pick(&running))
    }

    fn settle(&mut self) {
        let Some(record) = self.some_run() else { return };
        let end = match self.dice.roll(8) {
            0 => failure(Advice::Never),
            1 => failure(Advice::ByPolicy),
            2 => interrupted(),
            3 => End::Snoozed { delay: MINUTE },
            4 => End::NotBegun,
            _ => success(),
        };
        self.house.done(&Command::Settle(Settle { id: record.id, fence: record.fence, end }));
    }

    fn recover(&mut self) {
        match self.dice.roll(3) {
            0 => {
                self.house.done(&Command::Detach { epoch: self.epoch });
                self.epoch = self.house.attach();
            }
            1 => drop(self.house.done(&Command::Reclaim { epoch: self.epoch, held: Vec::new() })),
            _ => {
                self.house.die();
                self.epoch = self.house.attach();
                self.house.rescue();
            }
        }
    }

    fn update(&mut self) {
        let id = id(u128::from(self.dice.roll(20)) + self.last.saturating_sub(20));
        let new = self.work();
        let _ = self.house.send(&Command::Update(Box::new(NewWork { id, ..new })));
    }

    fn step(&mut self) {
        match self.dice.roll(20) {
            0..4 => self.enqueue(),
            4..8 => self.claim(),
            8..13 => self.settle(),
            13 | 14 => self.gate(),
            15 => self.recover(),
            16 => self.update(),
            17 => drop(self.house.done(&Command::Drain)),
            18 => {
                let number = u128::from(self.dice.roll(20)) + self.last.saturating_sub(20);
                self.house.cancel(WorkSelector::Id(id(number)));
            }
            _ => {
                let time = self.dice.seconds(100);
                self.house.advance(time);
            }
        }
    }

    /// Once nothing is paused and everything succeeds, nothing is left over, whatever the limits are.
    fn wind_up(&mut self) {
        let paused: Vec<GateTarget> = self.house.dump().settings.gates.keys().cloned().collect();
        for target in paused.into_iter().chain([serial("x"), serial("y")]) {
            self.house.done(&resume(target));
        }
        self.house.drain();
        for _ in 0..4_000 {
            while let Some(record) = self.some_run() {
                self.house.done(&Command::Settle(Settle { id: record.id, fence: record.fence, end: success() }));
            }
            self.house.advance(MINUTE);
            let claim = self.house.claim_all(self.epoch, 20);
            self.house.done(&Command::Claim(claim));
            let is_over = |record: &WorkRecord| {
                record.state().is_finished() || matches!(record.standing, Standing::Parked { .. })
            };
            if self.house.seen.records.values().all(is_over) {
                return;
            }
        }
        let dump = self.house.dump();
        let left: Vec<&WorkRecord> = dump.records.values().filter(|record| !record.state().is_finished()).collect();
        panic!(
            "{}: {} works are left, the first {:?}; {:?}; {:?}",
            self.house.label,
            left.len(),
            left[0],
            dump.gates,
            dump.settings
        );
    }
}

#[test]
fn a_walk_through_gates_never_passes_a_limit_and_leaves_nothing_behind() {
    let seeds: u64 = std::env::var("WORKMAN_GATES").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(10);
    for seed in 1..=seeds {
        let mut walker = Gatekeeper::new(seed);
        (0..200).for_each(|_| walker.step());
        walker.wind_up();
    }
}
