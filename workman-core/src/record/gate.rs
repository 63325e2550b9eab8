//! Gates: what a work has to pass before it runs. Limits of a worker, a tag, a unique name or a key, rates, serial lanes and pauses
//! are all of them gates.
//!
//! What somebody wants of gates is one row of the store, [`GateSettings`]; what goes on at a gate is a row of its own,
//! [`GateRow`](super::GateRow), which is there only as long as something goes on. Both are written by plans, and a plan counts
//! by the records alone: by what they say before it and after it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::{Due, Timestamp};

/// A gate: the number of what it stands before. Its lowest three bits say of which kind that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GateId(pub u128);

impl GateId {
    const KINDS: u128 = 0b111;
    const KEY: u128 = 4;

    /// Whether it is that of a limit key.
    #[must_use]
    pub const fn is_of_key(self) -> bool {
        self.0 & Self::KINDS == Self::KEY
    }
}

/// What a gate stands before: the works that have this in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum GateTarget {
    /// All works there are.
    Everything,
    /// The works of this worker, by its registered name.
    Worker(Arc<str>),
    /// The works with this tag.
    Tag(Arc<str>),
    /// The works under this unique name.
    Name(Arc<str>),
    /// The works with this limit key.
    Key(Arc<str>),
    /// The works whose limit key begins so: what stands before the star of a pattern. Each key has a gate of its own, for which the
    /// settings of the longest beginning count unless it has its own.
    Keys(Arc<str>),
    /// The works of this serial lane.
    Serial(Arc<str>),
}

impl GateTarget {
    /// Its kind as people call it, and the text that goes with it.
    #[must_use]
    pub fn parts(&self) -> (&'static str, &str) {
        match self {
            GateTarget::Everything => ("everything", ""),
            GateTarget::Worker(name) => ("worker", name),
            GateTarget::Tag(tag) => ("tag", tag),
            GateTarget::Name(name) => ("name", name),
            GateTarget::Key(key) => ("key", key),
            GateTarget::Keys(beginning) => ("keys", beginning),
            GateTarget::Serial(lane) => ("serial lane", lane),
        }
    }

    /// The number of the gate: FNV-1a of 128 bits over its kind and its text
    /// (<https://datatracker.ietf.org/doc/html/draft-eastlake-fnv>), so that nobody has to look it up. Whoever reads the row of a gate
    /// compares what it stands before.
    #[must_use]
    pub fn id(&self) -> GateId {
        const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
        const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
        let (kind, text) = self.parts();
        let bytes = kind.bytes().chain([0]).chain(text.bytes());
        let hash = bytes.fold(BASIS, |hash, byte| (hash ^ u128::from(byte)).wrapping_mul(PRIME));
        GateId(hash & !GateId::KINDS | self.kind())
    }

    const fn kind(&self) -> u128 {
        match self {
            GateTarget::Everything => 0,
            GateTarget::Worker(_) => 1,
            GateTarget::Tag(_) => 2,
            GateTarget::Name(_) => 3,
            GateTarget::Key(_) => GateId::KEY,
            GateTarget::Keys(_) => 5,
            GateTarget::Serial(_) => 6,
        }
    }

    /// Whether it shuts whole lanes, which are not read then. No work stands at such a gate.
    #[must_use]
    pub const fn shuts_lanes(&self) -> bool {
        matches!(self, GateTarget::Everything | GateTarget::Worker(_))
    }
}

impl fmt::Display for GateTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.parts() {
            (kind, "") => f.write_str(kind),
            ("keys", beginning) => write!(f, "keys `{beginning}*`"),
            (kind, text) => write!(f, "{kind} `{text}`"),
        }
    }
}

/// How much may pass a gate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateLimits {
    /// How many of its works run at once, at the most; none if nothing limits that.
    pub at_once: Option<u32>,
    /// How many begin in a time, at the most.
    pub rate: Option<Rate>,
    /// Of a key: how many of its works get their turn while one of a key of weight 1 does.
    pub weight: Option<u32>,
}

impl GateLimits {
    /// Whether nothing is limited.
    #[must_use]
    pub const fn is_nothing(&self) -> bool {
        self.at_once.is_none() && self.rate.is_none() && self.weight.is_none()
    }
}

impl fmt::Display for GateLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at_once = self.at_once.map(|count| format!("{count} at once"));
        let rate = self.rate.map(|rate| format!("{} in {:?}, {} in a burst", rate.count, rate.per, rate.burst));
        let weight = self.weight.map(|weight| format!("weight {weight}"));
        let parts: Vec<String> = [at_once, rate, weight].into_iter().flatten().collect();
        f.write_str(if parts.is_empty() { "no limit" } else { "" })?;
        f.write_str(&parts.join(", "))
    }
}

/// So many in a time, and so many in a row.
///
/// A token bucket, kept as the generic cell rate algorithm keeps it (ITU-T I.371): one number, the time at which the bucket is full
/// again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// How many.
    pub count: u32,
    /// In how long.
    pub per: Duration,
    /// How many may begin in a row after a rest.
    pub burst: u32,
}

impl Rate {
    /// The time in microseconds in which one token comes, rounded up: never more begin than was said, and no more than a million in
    /// a second.
    fn interval(&self) -> i64 {
        let interval = self.per.as_micros().div_ceil(u128::from(self.count.max(1))).max(1);
        i64::try_from(interval).unwrap_or(i64::MAX)
    }

    /// Whether its burst fills within the times that there are: beyond that nothing could be counted.
    pub(crate) fn is_countable(&self) -> bool {
        let fills_in = self.interval().checked_mul(i64::from(self.burst));
        fills_in.is_some_and(|length| length <= LONGEST_BURST)
    }

    /// How many may begin now.
    #[must_use]
    pub fn tokens(&self, bucket: Bucket, now: Timestamp) -> u32 {
        let missing = bucket.full_at.saturating_sub(micros(now)).max(0);
        let taken = u64::try_from(missing).unwrap_or(0).div_ceil(self.interval().unsigned_abs());
        u64::from(self.burst).saturating_sub(taken).try_into().unwrap_or(u32::MAX)
    }

    /// The bucket after one has begun.
    #[must_use]
    pub fn take(&self, bucket: Bucket, now: Timestamp) -> Bucket {
        Bucket { full_at: bucket.full_at.max(micros(now)).saturating_add(self.interval()) }
    }

    /// The bucket after one that was to begin did not.
    #[must_use]
    pub fn give_back(&self, bucket: Bucket) -> Bucket {
        Bucket { full_at: bucket.full_at.saturating_sub(self.interval()) }
    }

    /// When there is a token, if there is none.
    #[must_use]
    pub fn next_token(&self, bucket: Bucket) -> Timestamp {
        let ahead = self.interval().saturating_mul(i64::from(self.burst).saturating_sub(1));
        up_to_millis(bucket.full_at.saturating_sub(ahead))
    }
}

/// The longest that a burst may take to fill, in microseconds: more than a thousand years.
const LONGEST_BURST: i64 = i64::MAX / 256;

/// What is left of the tokens of a [`Rate`]: when all would be there again, in microseconds of store time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bucket {
    /// When it is full.
    pub full_at: i64,
}

impl Bucket {
    /// When it is full.
    pub(crate) fn full(self) -> Timestamp {
        up_to_millis(self.full_at)
    }
}

fn micros(at: Timestamp) -> i64 {
    at.as_millis().saturating_mul(1_000)
}

fn up_to_millis(micros: i64) -> Timestamp {
    Timestamp::from_millis(micros.div_euclid(1_000).saturating_add(i64::from(micros.rem_euclid(1_000) > 0)))
}

/// That nothing passes a gate for now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pause {
    /// Why, as somebody said.
    pub reason: Option<Arc<str>>,
    /// Since when.
    pub since: Timestamp,
    /// Until when, by the wall clock; until somebody ends it if nothing was said.
    pub until: Option<Timestamp>,
}

/// What is wanted of one gate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateSetting {
    /// What the program's code says.
    pub code: Option<GateLimits>,
    /// What a person said while it ran: it counts until it is cleared, whatever the code says.
    pub hand: Option<GateLimits>,
    /// Whether nothing passes for now.
    pub pause: Option<Pause>,
}

impl GateSetting {
    /// What counts.
    #[must_use]
    pub fn limits(&self) -> Option<&GateLimits> {
        self.hand.as_ref().or(self.code.as_ref())
    }

    /// Whether nothing is wanted.
    #[must_use]
    pub const fn is_nothing(&self) -> bool {
        self.code.is_none() && self.hand.is_none() && self.pause.is_none()
    }
}

/// What is wanted of all gates: one row of the store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GateSettings {
    /// By what the gates stand before.
    pub gates: BTreeMap<GateTarget, GateSetting>,
}

/// The most gates of which something may be wanted at once.
pub const MOST_GATE_SETTINGS: usize = 1_000;

impl GateSettings {
    /// What counts where nobody can read what was wanted: that nothing begins, until somebody says otherwise.
    pub(crate) fn lost() -> Self {
        let reason = Some("what is wanted of gates can't be read: say it again, and resume everything".into());
        let pause = Some(Pause { reason, since: Timestamp::default(), until: None });
        GateSettings { gates: [(GateTarget::Everything, GateSetting { pause, ..GateSetting::default() })].into() }
    }

    /// What counts for this gate: its own settings, and of a key what is said for the longest beginning of it unless it has its own. A
    /// pause of either shuts it.
    #[must_use]
    pub fn of(&self, target: &GateTarget) -> Effective<'_> {
        let (mut limits, mut pause) = (None, None);
        let key = match target {
            GateTarget::Key(key) => Some(key),
            _ => None,
        };
        let patterns = key.into_iter().flat_map(|key| self.patterns_of(key));
        for setting in self.gates.get(target).into_iter().chain(patterns) {
            limits = limits.or(setting.limits().copied());
            pause = pause.or(setting.pause.as_ref());
        }
        Effective { limits: limits.unwrap_or_default(), pause }
    }

    /// What is said for beginnings of this key, the longest first.
    fn patterns_of<'a, 'k>(&'a self, key: &'k str) -> impl Iterator<Item = &'a GateSetting> + use<'a, 'k> {
        let first = GateTarget::Keys(Arc::from(""));
        let last = GateTarget::Keys(Arc::from(key));
        self.gates.range(first..=last).rev().filter_map(|(target, setting)| match target {
            GateTarget::Keys(beginning) if key.starts_with(&**beginning) => Some(setting),
            _ => None,
        })
    }

    /// The gates before tags and unique names, of which something is wanted, that stand before a work with these.
    pub fn of_labels<'a>(
        &'a self,
        tags: &'a [Arc<str>],
        name: Option<&'a Arc<str>>,
    ) -> impl Iterator<Item = &'a GateTarget> {
        self.gates.keys().filter(move |target| match target {
            GateTarget::Tag(tag) => tags.contains(tag),
            GateTarget::Name(of) => name == Some(of),
            _ => false,
        })
    }
}

/// What counts for a gate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effective<'a> {
    /// How much may pass.
    pub limits: GateLimits,
    /// Whether nothing passes.
    pub pause: Option<&'a Pause>,
}

/// Whether works pass a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    /// So many may begin.
    Open(usize),
    /// None may begin before this, or before something ends if there is no such time.
    Shut(Option<Due>),
}

impl Effective<'_> {
    /// How many more may begin while so many run and this is left of the bucket. `has_come` says whether a moment is over.
    #[must_use]
    pub fn passage(&self, running: u32, bucket: Bucket, now: Timestamp, has_come: impl Fn(Due) -> bool) -> Passage {
        if let Some(pause) = self.pause {
            match pause.until.map(Due::Wall) {
                Some(until) if has_come(until) => {}
                until => return Passage::Shut(until),
            }
        }
        let GateLimits { at_once, rate, .. } = self.limits;
        let slots = at_once.map_or(usize::MAX, |most| most.saturating_sub(running) as usize);
        if slots == 0 {
            return Passage::Shut(None);
        }
        match rate.map(|rate| (rate, rate.tokens(bucket, now))) {
            Some((rate, 0)) => Passage::Shut(Some(Due::Store(rate.next_token(bucket)))),
            Some((_, tokens)) => Passage::Open(slots.min(tokens as usize)),
            None => Passage::Open(slots),
        }
    }
}

/// What the failure of a work does to its serial lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OnSerialFailure {
    /// The lane stands still until the work is retried or the lane resumed.
    #[default]
    Hold,
    /// The next one goes on.
    Skip,
    /// Those behind it are cancelled, and all that depends on them.
    End,
}

/// A work's place in a serial lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SerialPlace {
    /// The lane.
    pub gate: GateId,
    /// What its failure does.
    pub on_failure: OnSerialFailure,
    /// Whether the lane has let it on: until it has finished, nothing else of the lane goes on.
    pub is_out: bool,
}
