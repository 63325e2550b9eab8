//! Random nouns for tests, from a seed.

use std::sync::Arc;
use std::time::Duration;

use workman_core::store::{
    Bucket, Cascade, CascadeVerb, Codec, Due, FairLane, Finish, GateId, GateLane, GateMeta, GateRow, GateSetting,
    GateSettings, IndexKey, Lane, LaneId, Meta, Notes, Pause, Period, Prerequisites, Rare, RowsPresent, RunTime,
    SerialLane, SerialPlace, Standing, Tally, Terms, Urgency, WorkRecord, WorkSpec,
};
use workman_core::{
    AttemptEnd, AttemptRecord, Backoff, BackoffPolicy, Constraints, ErrorText, GateLimits, GateTarget, InputMerger,
    InputShape, NetworkType, OnDeath, OnInterruption, OnSerialFailure, OutOfQuotaPolicy, ParkReason, Payload, Rate,
    Schedule, StopReason, Timestamp, Wait, WorkId,
};

/// A folder that goes with its guard.
pub(crate) struct Folder(std::path::PathBuf);

impl Folder {
    pub(crate) fn path(&self) -> &std::path::Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// An empty folder for one test.
pub(crate) fn folder(name: &str) -> Folder {
    let path = std::env::temp_dir().join(format!("workman-redb-{}-{name}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    Folder(path)
}

/// SplitMix64.
pub(crate) struct Random {
    seed: u64,
    state: u64,
}

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Random { seed, state: seed }
    }

    /// For messages.
    pub(crate) fn seed(&self) -> String {
        format!("seed {:#x}", self.seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub(crate) fn flip(&mut self) -> bool {
        self.below(2) == 1
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize].clone()
    }

    /// Small, huge and edge numbers alike.
    pub(crate) fn number(&mut self) -> u64 {
        match self.below(4) {
            0 => self.below(4),
            1 => u64::MAX - self.below(3),
            2 => 1 << self.below(64),
            _ => self.next(),
        }
    }

    fn small(&mut self) -> u32 {
        self.number() as u32
    }

    pub(crate) fn id(&mut self) -> WorkId {
        WorkId::from_u128(u128::from(self.number()) << 64 | u128::from(self.number()))
    }

    pub(crate) fn time(&mut self) -> Timestamp {
        Timestamp::from_millis(self.number().cast_signed())
    }

    fn duration(&mut self) -> Duration {
        Duration::new(self.number(), self.below(1_000_000_000) as u32)
    }

    /// Few letters and zero bytes, so that texts begin each other.
    pub(crate) fn text(&mut self) -> Arc<str> {
        let length = self.below(5);
        (0..length).map(|_| self.pick(&['\0', 'a', 'b', '\u{1}', 'ÿ', '🦀'])).collect::<String>().into()
    }

    fn texts(&mut self) -> Vec<Arc<str>> {
        (0..self.below(4)).map(|_| self.text()).collect()
    }

    pub(crate) fn payload(&mut self) -> Payload {
        let bytes: Vec<u8> = (0..self.below(300)).map(|_| self.next() as u8).collect();
        Payload::new(Codec::from_code(self.next() as u8), bytes)
    }

    fn option<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.flip().then(|| make(self))
    }

    pub(crate) fn constraints(&mut self) -> Constraints {
        use NetworkType::{Connected, Metered, NotRequired, NotRoaming, TemporarilyUnmetered, Unmetered};
        let networks = [NotRequired, Connected, Unmetered, NotRoaming, Metered, TemporarilyUnmetered];
        let mut constraints = Constraints::new().network(self.pick(&networks));
        let wishes: [fn(Constraints) -> Constraints; 4] = [
            Constraints::requires_charging,
            Constraints::requires_battery_not_low,
            Constraints::requires_device_idle,
            Constraints::requires_storage_not_low,
        ];
        for wish in wishes {
            if self.flip() {
                constraints = wish(constraints);
            }
        }
        constraints
    }

    fn terms(&mut self) -> Terms {
        let policy = self.pick(&[BackoffPolicy::Linear, BackoffPolicy::Exponential, BackoffPolicy::Custom]);
        Terms {
            priority: self.next() as i8,
            initial_delay: self.duration(),
            run_at: self.option(Self::time).unwrap_or(Timestamp::MIN),
            backoff: Backoff::new(policy, self.duration()).ceiling(self.duration()).jitter(self.below(101) as u8),
            max_attempts: self.option(Self::small),
            timeout: self.option(Self::duration),
            on_interruption: self.pick(&[OnInterruption::RunAgain, OnInterruption::BackOff]),
            expedited: self.option(|r| {
                r.pick(&[OutOfQuotaPolicy::RunAsNonExpeditedWorkRequest, OutOfQuotaPolicy::DropWorkRequest])
            }),
            retention: self.duration(),
            on_death: self.pick(&[OnDeath::Park, OnDeath::Fail]),
            discards_output: self.flip(),
            schedule: if self.flip() { Schedule::Once } else { Schedule::every(self.duration()).flex(self.duration()) },
            expires_at: self.option(Self::time).unwrap_or(Timestamp::MAX),
        }
    }

    fn urgency(&mut self) -> Urgency {
        self.pick(&[Urgency::Ordinary, Urgency::Expedited])
    }

    fn standing(&mut self) -> Standing {
        let park = match self.below(3) {
            0 => ParkReason::Undecodable { message: self.text() },
            1 => ParkReason::Poisoned { deaths: self.small() },
            _ => ParkReason::TooLarge { size: self.number(), limit: self.number() },
        };
        let how = self.pick(&[Finish::Succeeded, Finish::Failed, Finish::Cancelled]);
        let (at, epoch, why, gate) = (self.time(), self.number(), self.wait(), self.gate_id());
        self.pick(&[
            Standing::Blocked,
            Standing::Waiting { due: Due::Store(at), why },
            Standing::Waiting { due: Due::Wall(at), why },
            Standing::Ready { since: Due::Store(at), why },
            Standing::Ready { since: Due::Wall(at), why },
            Standing::Held { gate, since: Due::Store(at), why },
            Standing::Held { gate, since: Due::Wall(at), why },
            Standing::Parked { why: park },
            Standing::Running { epoch },
            Standing::Finished { how, at },
        ])
    }

    fn gate_id(&mut self) -> GateId {
        GateId(u128::from(self.number()) << 64 | u128::from(self.number()))
    }

    fn on_failure(&mut self) -> OnSerialFailure {
        self.pick(&[OnSerialFailure::Hold, OnSerialFailure::Skip, OnSerialFailure::End])
    }

    fn wait(&mut self) -> Wait {
        let codes = (0..u8::MAX).map_while(Wait::from_code).collect::<Vec<_>>();
        self.pick(&codes)
    }

    fn stop(&mut self) -> StopReason {
        self.pick(&[StopReason::CancelledByApp, StopReason::Preempted, StopReason::Shutdown, StopReason::Replaced])
    }

    pub(crate) fn record(&mut self) -> WorkRecord {
        WorkRecord {
            id: self.id(),
            seq: self.number(),
            turn: self.number(),
            lane: LaneId(self.small()),
            urgency: self.urgency(),
            terms: self.terms(),
            generation: self.small(),
            standing: self.standing(),
            created: self.time(),
            enqueued: self.time(),
            fence: self.number(),
            run_generation: self.small(),
            failures: self.small(),
            interruptions: self.small(),
            deaths: self.small(),
            open: self.small(),
            followers: self.option(Self::small),
            period: self.option(|r| Period {
                count: r.number(),
                due: r.time(),
                anchor: r.time(),
                next_run: r.option(Self::time),
            }),
            started: self.option(Self::time),
            ended: self.option(Self::time),
            stop: self.option(Self::stop),
            rows: RowsPresent {
                output: self.flip(),
                notes: self.flip(),
                history: self.flip(),
                dependents: self.flip(),
            },
            rare: self.option(|r| {
                let gates = (0..r.below(3)).map(|_| r.gate_id()).collect();
                let counted = (0..r.below(3)).map(|_| r.gate_id()).collect();
                let serial =
                    r.option(|r| SerialPlace { gate: r.gate_id(), is_out: r.flip(), on_failure: r.on_failure() });
                let (flaps, superseded) = (r.small(), r.flip());
                let (scheduled_for, cancelled_because) = (r.option(Self::time), r.option(Self::text));
                Box::new(Rare { flaps, superseded, gates, serial, counted, scheduled_for, cancelled_because })
            }),
        }
    }

    pub(crate) fn spec(&mut self) -> WorkSpec {
        let merged = [InputMerger::Overwriting, InputMerger::ArrayCreating].map(InputShape::Merged);
        let shapes = [InputShape::Nothing, InputShape::One, InputShape::List, InputShape::Tuple, merged[0], merged[1]];
        WorkSpec {
            worker: self.text(),
            input: self.payload(),
            tags: self.texts(),
            name: self.option(Self::text),
            constraints: self.constraints(),
            prerequisites: Prerequisites {
                shape: self.pick(&shapes),
                ids: (0..self.below(4)).map(|_| self.id()).collect(),
            },
            trace_tag: self.option(Self::text),
            traceparent: self.option(Self::text),
            worker_version: self.small(),
            limit_key: self.option(Self::text),
            serial: self.option(|r| SerialLane { lane: r.text(), on_failure: r.on_failure() }),
        }
    }

    pub(crate) fn notes(&mut self) -> Notes {
        Notes { progress: self.option(Self::payload), checkpoint: self.option(Self::payload) }
    }

    pub(crate) fn history(&mut self) -> Vec<AttemptRecord> {
        (0..self.below(5)).map(|_| self.attempt()).collect()
    }

    fn attempt(&mut self) -> AttemptRecord {
        let error = ErrorText {
            message: self.text().to_string(),
            sources: self.texts().iter().map(ToString::to_string).collect(),
            panicked: self.flip(),
        };
        let reason = self.stop();
        AttemptRecord {
            number: self.small(),
            fence: self.number(),
            generation: self.small(),
            started: self.time(),
            ended: self.time(),
            end: self.pick(&[
                AttemptEnd::Succeeded,
                AttemptEnd::Failed { error },
                AttemptEnd::Snoozed,
                AttemptEnd::Interrupted { reason },
                AttemptEnd::Died,
            ]),
        }
    }

    pub(crate) fn lane(&mut self) -> Lane {
        Lane { id: LaneId(self.small()), worker: self.text(), constraints: self.constraints(), urgency: self.urgency() }
    }

    pub(crate) fn cascade(&mut self) -> Cascade {
        Cascade {
            number: self.number(),
            verb: self.pick(&[CascadeVerb::Release, CascadeVerb::Fail, CascadeVerb::Cancel]),
            of: self.id(),
            after: self.option(Self::id),
            born_before: self.option(Self::number),
            because: self.option(Self::text),
        }
    }

    pub(crate) fn meta(&mut self) -> Meta {
        Meta {
            incarnation: self.number(),
            epochs_of: self.number(),
            open_epochs: (0..self.below(5)).map(|_| (self.number(), self.time())).collect(),
            next_epoch: self.number(),
            next_seq: self.number(),
            next_lane: self.small(),
            clock_offset_ms: self.number().cast_signed(),
            latest: self.time(),
            first_cascade: self.number(),
            next_cascade: self.number(),
            finished: self.number(),
            last_cancel_all: self.option(Self::time),
            expedited: RunTime { steps: (0..self.below(5)).map(|_| (self.time(), self.duration())).collect() },
            gates: GateMeta {
                settings: self.small(),
                rows: self.number(),
                openings: self.number(),
                refill: self.option(Self::gate_id),
                passing: (0..self.below(3)).map(|_| self.id()).collect(),
                claimed: self.number(),
                fair: (0..self.below(3)).map(|_| self.fair_lane()).collect(),
            },
        }
    }

    fn fair_lane(&mut self) -> ((LaneId, u8), FairLane) {
        let lane = (LaneId(self.small()), self.next() as u8);
        (lane, FairLane { turn: self.number(), waiting: self.number() })
    }

    fn target(&mut self) -> GateTarget {
        let text = self.text();
        let kinds: [fn(Arc<str>) -> GateTarget; 7] = [
            |_| GateTarget::Everything,
            GateTarget::Worker,
            GateTarget::Tag,
            GateTarget::Name,
            GateTarget::Key,
            GateTarget::Keys,
            GateTarget::Serial,
        ];
        self.pick(&kinds)(text)
    }

    pub(crate) fn gate(&mut self) -> GateRow {
        let lane = |r: &mut Self| GateLane { shown: r.small(), held: r.number(), finish: r.number(), part: r.small() };
        GateRow {
            running: self.small(),
            bucket: Bucket { full_at: self.number().cast_signed() },
            halted: self.option(Self::id),
            ends_before: self.option(Self::number),
            opens: self.option(|r| if r.flip() { Due::Store(r.time()) } else { Due::Wall(r.time()) }),
            lanes: (0..self.below(4)).map(|_| (LaneId(self.small()), lane(self))).collect(),
            ..GateRow::new(self.target())
        }
    }

    pub(crate) fn tally(&mut self) -> Tally {
        Tally::from_counts(std::array::from_fn(|_| self.number()))
    }

    fn limits(&mut self) -> GateLimits {
        GateLimits {
            at_once: self.option(Self::small),
            rate: self.option(|r| Rate { count: r.small(), per: r.duration(), burst: r.small() }),
            weight: self.option(Self::small),
        }
    }

    pub(crate) fn gate_settings(&mut self) -> GateSettings {
        let pause = |r: &mut Self| Pause { reason: r.option(Self::text), since: r.time(), until: r.option(Self::time) };
        let setting = |r: &mut Self| GateSetting {
            code: r.option(Self::limits),
            hand: r.option(Self::limits),
            pause: r.option(pause),
        };
        GateSettings { gates: (0..self.below(5)).map(|_| (self.target(), setting(self))).collect() }
    }

    pub(crate) fn index_key(&mut self) -> IndexKey {
        let (seq, turn, epoch, id) = (self.number(), self.number(), self.number(), self.id());
        let (lane, text, at, of) = (LaneId(self.small()), self.text(), self.time(), self.id());
        let gate = self.gate_id();
        match self.below(16) {
            12 => IndexKey::Held { gate, lane, suspect: self.flip(), rank: self.next() as u8, turn, id },
            13 => IndexKey::Serial { gate, seq, id },
            14 => IndexKey::Opens { due: Due::Store(at), gate },
            15 => IndexKey::Opens { due: Due::Wall(at), gate },
            0 => IndexKey::Blocked { seq, id },
            1 => IndexKey::Waiting { due: Due::Store(at), turn, id },
            11 => IndexKey::Waiting { due: Due::Wall(at), turn, id },
            2 => IndexKey::Ready { lane, suspect: self.flip(), rank: self.next() as u8, turn, id },
            3 => IndexKey::Parked { lane, seq, id },
            4 => IndexKey::Running { epoch, id },
            5 => IndexKey::Finished { until: at, seq, id },
            6 => IndexKey::Name { name: text, seq, id },
            7 => IndexKey::Tag { tag: text, seq, id },
            8 => IndexKey::Leaf { name: text, seq, id },
            9 => IndexKey::Unfinished { name: text, unblocked: self.flip(), seq, id },
            _ => IndexKey::Dependent { of, id },
        }
    }
}
