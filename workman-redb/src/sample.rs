//! Random nouns for tests, from a seed.

use std::sync::Arc;
use std::time::Duration;

use workman_core::store::{
    Cascade, CascadeVerb, Codec, Due, Finish, GateId, IndexKey, Lane, LaneId, Meta, Notes, Period, Prerequisites, Rare,
    RowsPresent, RunTime, Standing, Terms, Urgency, WorkRecord, WorkSpec,
};
use workman_core::{
    AttemptEnd, AttemptRecord, Backoff, BackoffPolicy, Constraints, ErrorText, InputMerger, InputShape, NetworkType,
    OnDeath, OnInterruption, OutOfQuotaPolicy, ParkReason, Payload, Schedule, StopReason, Timestamp, Wait, WorkId,
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
        let (at, epoch, why) = (self.time(), self.number(), self.wait());
        self.pick(&[
            Standing::Blocked,
            Standing::Waiting { due: Due::Store(at), why },
            Standing::Waiting { due: Due::Wall(at), why },
            Standing::Ready { since: Due::Store(at), why },
            Standing::Ready { since: Due::Wall(at), why },
            Standing::Parked { why: park },
            Standing::Running { epoch },
            Standing::Finished { how, at },
        ])
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
                let gates = (0..r.below(3)).map(|_| GateId(r.number())).collect();
                let (flaps, superseded) = (r.small(), r.flip());
                Box::new(Rare { flaps, superseded, gates, scheduled_for: r.option(Self::time) })
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
        }
    }

    pub(crate) fn index_key(&mut self) -> IndexKey {
        let (seq, turn, epoch, id) = (self.number(), self.number(), self.number(), self.id());
        let (lane, text, at, of) = (LaneId(self.small()), self.text(), self.time(), self.id());
        match self.below(12) {
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
