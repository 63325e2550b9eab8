//! [`WorkId`]: who a work is, made by the caller before anything is written.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::str::FromStr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::time::{Clock, SystemClock, Timestamp};

/// The identity of one work: 128 bits in the layout of a version 7 UUID, so that ids grow with time.
///
/// The id is made with the request, on the caller's side, and `enqueue` is idempotent on it: a call whose answer was
/// lost is simply repeated. Ids of your own making (`WorkId::from_u128`) are legal; random ones are slower, because
/// the store keeps its keys in order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkId(u128);

impl WorkId {
    /// Makes a new id. Ids made in one process grow strictly, whatever the clock does.
    #[must_use]
    pub fn generate() -> Self {
        SCOPED.with_borrow(|scoped| match scoped {
            Some(source) => source.next(),
            None => process_source().next(),
        })
    }

    /// The id with these bits.
    #[must_use]
    pub const fn from_u128(bits: u128) -> Self {
        WorkId(bits)
    }

    /// The bits of the id.
    #[must_use]
    pub const fn as_u128(self) -> u128 {
        self.0
    }
}

impl fmt::Display for WorkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let b = self.0;
        write!(
            f,
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            b >> 96,
            (b >> 80) & 0xffff,
            (b >> 64) & 0xffff,
            (b >> 48) & 0xffff,
            b & 0xffff_ffff_ffff
        )
    }
}

impl fmt::Debug for WorkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WorkId({self})")
    }
}

impl Serialize for WorkId {
    /// Its text, as `Display` writes it.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for WorkId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<str>::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// The text was not 32 hexadecimal digits, with or without hyphens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseWorkIdError {
    text: String,
}

impl fmt::Display for ParseWorkIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not a work id: 32 hexadecimal digits are wanted, hyphens are ignored", self.text)
    }
}

impl std::error::Error for ParseWorkIdError {}

impl FromStr for WorkId {
    type Err = ParseWorkIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseWorkIdError { text: text.chars().take(64).collect() };
        let digits: String = text.chars().filter(|c| *c != '-').collect();
        if digits.len() != 32 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(error());
        }
        u128::from_str_radix(&digits, 16).map(WorkId).map_err(|_| error())
    }
}

/// Makes ids: 48 bits of milliseconds, then a counter that starts anew with each millisecond, then noise.
pub struct IdSource {
    clock: Arc<dyn Clock>,
    state: Mutex<SourceState>,
}

struct SourceState {
    noise: u64,
    last: (u64, u16),
}

impl IdSource {
    /// A source on this clock; the same seed on the same clock makes the same ids.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, seed: u64) -> Self {
        IdSource { clock, state: Mutex::new(SourceState { noise: seed, last: (0, 0) }) }
    }

    /// The next id, greater than all that this source made before.
    #[must_use]
    pub fn next(&self) -> WorkId {
        let wall = u64::try_from(self.clock.wall().as_millis()).unwrap_or(0) & 0xffff_ffff_ffff;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (ms, count) = state.last;
        state.last = match count.checked_add(1) {
            _ if wall > ms => (wall, 0),
            Some(next) if next < 0x1000 => (ms, next),
            _ => (ms + 1, 0),
        };
        state.noise = split_mix(state.noise);
        let (ms, count) = state.last;
        let bits = (u128::from(ms) << 80)
            | (0x7 << 76)
            | (u128::from(count) << 64)
            | (0b10 << 62)
            | u128::from(state.noise >> 2);
        WorkId(bits)
    }
}

/// One step of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
fn split_mix(state: u64) -> u64 {
    let mut z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

thread_local! {
    static SCOPED: RefCell<Option<Arc<IdSource>>> = const { RefCell::new(None) };
}

/// Makes [`WorkId::generate`] use `source` on this thread until the guard is dropped: the seam for deterministic tests.
#[must_use = "the source is used until the guard is dropped"]
pub fn scoped_ids(source: Arc<IdSource>) -> ScopedIds {
    ScopedIds { before: SCOPED.replace(Some(source)) }
}

/// Restores the id source that was there before [`scoped_ids`].
pub struct ScopedIds {
    before: Option<Arc<IdSource>>,
}

impl Drop for ScopedIds {
    fn drop(&mut self) {
        SCOPED.set(self.before.take());
    }
}

/// The time of the clock by which [`WorkId::generate`] makes ids on this thread: that of the test, in a test.
pub(crate) fn wall_of_ids() -> Timestamp {
    SCOPED.with_borrow(|scoped| {
        scoped.as_ref().map_or_else(|| process_source().clock.wall(), |source| source.clock.wall())
    })
}

/// Ids hold no state that a program could observe, so one source a process is no global instance of workman.
fn process_source() -> &'static IdSource {
    static SOURCE: OnceLock<IdSource> = OnceLock::new();
    SOURCE.get_or_init(|| {
        let seed = RandomState::new().hash_one(std::process::id());
        IdSource::new(Arc::new(SystemClock::new()), seed)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_grow_and_survive_printing() {
        let mut last = WorkId::generate();
        for _ in 0..10_000 {
            let next = WorkId::generate();
            assert!(next > last, "{next} after {last}");
            last = next;
        }
        assert_eq!(last.to_string().parse(), Ok(last));
        assert_eq!((last.as_u128() >> 76) & 0xf, 7);
    }

    #[test]
    fn text_that_is_no_id_is_refused() {
        for text in ["", "abc", "+0000000000000000000000000000000", "g0000000000000000000000000000000"] {
            assert!(text.parse::<WorkId>().is_err(), "{text}");
        }
    }
}
