//! How a journal lies in its file: its header, its records, and how far what lies there is to be believed.
//!
//! Nothing is trusted: a length may be any number, a record may be torn, stale, or from another store. What a record says counts
//! only if its checksum fits, its salt is the one that the store names, and the record before it is the one that it names.

use std::ops::Range;

use workman_core::WorkId;
use xxhash_rust::xxh3::xxh3_64;

use crate::codec::Salt;

/// Where the first record begins. What lies before it is the header.
pub(crate) const START: u64 = 4_096;

/// The shortest journal, and the longest, in bytes of records.
pub(crate) const SHORTEST: u64 = 64 << 10;
pub(crate) const LONGEST: u64 = 1 << 30;

/// The version of the journal that this build writes, and the newest that it reads.
pub(crate) const VERSION: u32 = 1;

/// The first bytes of every journal.
const MAGIC: [u8; 16] = *b"workman journal\n";

/// Magic, version, four zeros, instance, length, incarnation, checksum.
pub(crate) const HEADER: usize = 64;

/// Length, lag, salt, number, checksum of the record before.
pub(crate) const HEAD: usize = 40;
const SUM: usize = 8;

/// Records begin at multiples of this.
const ALIGN: usize = 8;

/// What a journal says that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// That of the store to which it belongs.
    pub(crate) instance: WorkId,
    /// How long the file is at least.
    pub(crate) length: u64,
    /// The opening that made it.
    pub(crate) incarnation: u64,
}

/// Why the first bytes of a file are no header of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoHeader {
    /// They are all zero: the file is being made.
    Blank,
    /// Another program wrote them.
    Foreign,
    /// They are not what was written.
    Damaged,
    /// A newer version of this crate wrote them.
    Newer(u32),
}

impl Header {
    pub(crate) fn encode(self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..16].copy_from_slice(&MAGIC);
        bytes[16..20].copy_from_slice(&VERSION.to_le_bytes());
        bytes[24..40].copy_from_slice(&self.instance.as_u128().to_be_bytes());
        bytes[40..48].copy_from_slice(&self.length.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.incarnation.to_le_bytes());
        let sum = xxh3_64(&bytes[..56]);
        bytes[56..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// Reads the header at the beginning of a file.
    ///
    /// # Errors
    /// What lies there instead.
    pub(crate) fn decode(file: &[u8]) -> Result<Self, NoHeader> {
        let Some(bytes) = file.first_chunk::<HEADER>() else {
            return Err(if file.iter().all(|byte| *byte == 0) { NoHeader::Blank } else { NoHeader::Foreign });
        };
        if bytes[..16] != MAGIC {
            return Err(if bytes.iter().all(|byte| *byte == 0) { NoHeader::Blank } else { NoHeader::Foreign });
        }
        if u64_at(bytes, 56) != Some(xxh3_64(&bytes[..56])) {
            return Err(NoHeader::Damaged);
        }
        match u32_at(bytes, 16) {
            Some(VERSION) => {}
            version => return Err(NoHeader::Newer(version.unwrap_or_default())),
        }
        let instance = array_at(bytes, 24).map(u128::from_be_bytes).ok_or(NoHeader::Damaged)?;
        let length = u64_at(bytes, 40).ok_or(NoHeader::Damaged)?;
        let incarnation = u64_at(bytes, 48).ok_or(NoHeader::Damaged)?;
        Ok(Header { instance: WorkId::from_u128(instance), length, incarnation })
    }
}

/// Where a record belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) salt: Salt,
    /// The number of its commit.
    pub(crate) number: u64,
    /// The checksum of the record before it; 0 for the first.
    pub(crate) previous: u64,
    /// How many of the commits right before it were not synced when it was written.
    pub(crate) lag: u32,
}

/// Room for the head of a record. Its rows go behind.
pub(crate) fn begin(record: &mut Vec<u8>) {
    record.clear();
    record.resize(HEAD, 0);
}

/// How long a record becomes that holds this much now.
pub(crate) fn sealed_len(unsealed: usize) -> usize {
    unsealed.next_multiple_of(ALIGN) + SUM
}

/// Ends a record, and answers its checksum. It must be shorter than 4 GiB, as all that fit into a journal are.
pub(crate) fn seal(record: &mut Vec<u8>, link: Link) -> u64 {
    let length = sealed_len(record.len());
    record.resize(length - SUM, 0);
    let told = u32::try_from(length).unwrap_or(u32::MAX);
    record[..4].copy_from_slice(&told.to_le_bytes());
    record[4..8].copy_from_slice(&link.lag.to_le_bytes());
    record[8..24].copy_from_slice(&link.salt.0);
    record[24..32].copy_from_slice(&link.number.to_le_bytes());
    record[32..HEAD].copy_from_slice(&link.previous.to_le_bytes());
    let sum = xxh3_64(record);
    record.extend_from_slice(&sum.to_le_bytes());
    sum
}

/// A record whose checksum fits.
struct Record {
    link: Link,
    rows: Range<usize>,
    sum: u64,
    end: usize,
}

fn record_at(file: &[u8], at: usize) -> Option<Record> {
    let length = u32_at(file, at)? as usize;
    let end = at.checked_add(length)?;
    if length < HEAD + SUM || !length.is_multiple_of(ALIGN) {
        return None;
    }
    let bytes = file.get(at..end)?;
    let sum = u64_at(bytes, length - SUM)?;
    if sum != xxh3_64(&bytes[..length - SUM]) {
        return None;
    }
    let link = Link {
        salt: Salt(array_at(bytes, 8)?),
        number: u64_at(bytes, 24)?,
        previous: u64_at(bytes, 32)?,
        lag: u32_at(bytes, 4)?,
    };
    Some(Record { link, rows: at + HEAD..end - SUM, sum, end })
}

/// What a journal holds that its store does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tail {
    /// The rows of each commit, in order, as places in the file.
    pub(crate) commits: Vec<Range<usize>>,
    /// The number of the newest commit, that of the store if there is none here.
    pub(crate) number: u64,
    /// Where the next record goes.
    pub(crate) end: u64,
    /// The checksum of the last record; 0 if there is none.
    pub(crate) sum: u64,
}

/// Why the records of a journal are not those that belong to a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Misfit {
    /// They go on from a commit that the store does not have yet.
    Ahead { found: u64 },
    /// One is missing or damaged, and a later one that was written after it was synced is not.
    Hole { number: u64, before: Tail },
}

impl Tail {
    /// Nothing: the store has everything.
    pub(crate) fn empty(stored: u64) -> Self {
        Tail { commits: Vec::new(), number: stored, end: START, sum: 0 }
    }
}

/// Looks for the records that follow commit `stored` of a store which names this salt, or none if it is not in use.
///
/// The first that is not valid is where the writing ended, unless a later one says that it had been synced.
///
/// # Errors
/// When commits are missing that were acknowledged.
pub(crate) fn read(file: &[u8], salt: Option<Salt>, stored: u64) -> Result<Tail, Misfit> {
    let mut tail = Tail::empty(stored);
    let mut last: Option<u64> = None;
    while let Some(record) = usize::try_from(tail.end).ok().and_then(|at| record_at(file, at)) {
        let is_first = last.is_none();
        if is_first && record.link.number > stored.saturating_add(1) {
            return Err(Misfit::Ahead { found: record.link.number });
        }
        if Some(record.link.salt) != salt {
            if is_first && record.link.number > stored {
                return Err(Misfit::Ahead { found: record.link.number });
            }
            break;
        }
        if record.link.previous != tail.sum || last.is_some_and(|last| last.checked_add(1) != Some(record.link.number))
        {
            break;
        }
        if record.link.number > stored {
            tail.commits.push(record.rows);
            tail.number = record.link.number;
        }
        last = Some(record.link.number);
        (tail.end, tail.sum) = (record.end as u64, record.sum);
    }
    let end = tail.end;
    let is_missed = |link: Link| {
        let synced = link.number.saturating_sub(1 + u64::from(link.lag));
        // Whatever lies at the end has a number that is smaller than that of a record behind it.
        let was_there = last.map_or(link.lag == 0 || synced > stored, |last| synced > last);
        link.number > stored && was_there
    };
    match salt {
        Some(salt) if records_behind(file, end, salt).any(is_missed) => {
            Err(Misfit::Hole { number: last.unwrap_or(stored).saturating_add(1), before: tail })
        }
        _ => Ok(tail),
    }
}

/// The valid records of this salt that lie anywhere behind `end`.
fn records_behind(file: &[u8], end: u64, salt: Salt) -> impl Iterator<Item = Link> {
    let from = usize::try_from(end).unwrap_or(usize::MAX);
    let last = file.iter().rposition(|byte| *byte != 0).unwrap_or_default();
    let of_salt = move |at: &usize| file.get(at + 8..at + 24) == Some(&salt.0[..]);
    (from..last).step_by(ALIGN).filter(of_salt).filter_map(|at| record_at(file, at)).map(|record| record.link)
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    array_at(bytes, at).map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    array_at(bytes, at).map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Random;

    const SALT: Salt = Salt([7; 16]);
    const OTHER: Salt = Salt([8; 16]);

    /// A file with these records, one behind the other, and where each begins.
    fn file(records: &[Link]) -> (Vec<u8>, Vec<usize>) {
        let (mut file, mut places, mut previous) = (vec![0; START as usize], Vec::new(), 0);
        for link in records {
            let mut record = Vec::new();
            begin(&mut record);
            record.extend(vec![1; link.number as usize % 37]);
            previous = seal(&mut record, Link { previous, ..*link });
            places.push(file.len());
            file.extend(record);
        }
        file.resize(file.len() + 1_000, 0);
        (file, places)
    }

    fn link(salt: Salt, number: u64, lag: u32) -> Link {
        Link { salt, number, previous: 0, lag }
    }

    fn synced(numbers: std::ops::RangeInclusive<u64>) -> Vec<Link> {
        numbers.map(|number| link(SALT, number, 0)).collect()
    }

    fn newest(found: Result<Tail, Misfit>) -> (usize, u64) {
        found.map(|tail| (tail.commits.len(), tail.number)).unwrap()
    }

    #[test]
    fn a_header_comes_back_and_any_other_bytes_are_told_apart() {
        let header = Header { instance: WorkId::from_u128(9), length: 70_000, incarnation: 3 };
        let bytes = header.encode();
        assert_eq!(Header::decode(&bytes), Ok(header));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            let expected = if bit < 128 { NoHeader::Foreign } else { NoHeader::Damaged };
            assert_eq!(Header::decode(&flipped), Err(expected), "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert!(Header::decode(&bytes[..length]).is_err(), "length {length}");
        }
        assert_eq!(Header::decode(&[0; 5_000]), Err(NoHeader::Blank));
        assert_eq!(Header::decode(&[]), Err(NoHeader::Blank));
        let mut newer = header.encode();
        newer[16] = 9;
        let sum = xxh3_64(&newer[..56]).to_le_bytes();
        newer[56..].copy_from_slice(&sum);
        assert_eq!(Header::decode(&newer), Err(NoHeader::Newer(9)));
    }

    #[test]
    fn records_are_read_in_order_and_those_that_the_store_has_are_passed_over() {
        let (file, _) = file(&synced(5..=9));
        for (stored, expected) in [(4, (5, 9)), (6, (3, 9)), (9, (0, 9)), (12, (0, 12))] {
            assert_eq!(newest(read(&file, Some(SALT), stored)), expected, "{stored}");
        }
        assert_eq!(read(&file, Some(SALT), 3), Err(Misfit::Ahead { found: 5 }), "commit 4 is nowhere");
        assert_eq!(newest(read(&file, Some(OTHER), 9)), (0, 9), "what is left of the checkpoint before");
        assert_eq!(read(&file, Some(OTHER), 4), Err(Misfit::Ahead { found: 5 }), "an older store");
        assert_eq!(newest(read(&file, None, 9)), (0, 9));
        assert_eq!(read(&file, None, 4), Err(Misfit::Ahead { found: 5 }));
        assert_eq!(newest(read(&[], Some(SALT), 4)), (0, 4));
    }

    #[test]
    fn a_torn_last_record_is_the_end_and_any_other_is_a_hole() {
        let (file, places) = file(&synced(1..=6));
        for (number, place) in places.iter().enumerate() {
            for byte in 0..HEAD {
                let mut torn = file.clone();
                torn[place + byte] ^= 0x41;
                let found = read(&torn, Some(SALT), 0);
                match number {
                    5 => assert_eq!(newest(found), (5, 5), "byte {byte}"),
                    _ => {
                        let Err(Misfit::Hole { number: missing, before }) = found else { panic!("{number} {byte}") };
                        assert_eq!((missing, before.commits.len()), (number as u64 + 1, number));
                    }
                }
            }
        }
    }

    #[test]
    fn a_record_that_was_not_synced_when_later_ones_were_written_is_the_end() {
        let lags = [(1, 0), (2, 0), (3, 1), (4, 2)].map(|(number, lag)| link(SALT, number, lag));
        let (mut file, places) = file(&lags);
        file[places[2] + HEAD] ^= 1;
        assert_eq!(newest(read(&file, Some(SALT), 0)), (2, 2), "only 1 was synced when 4 was written");
        file[places[0] + HEAD] ^= 1;
        assert!(matches!(read(&file, Some(SALT), 0), Err(Misfit::Hole { number: 1, .. })));
    }

    #[test]
    fn damage_before_what_the_store_has_hides_nothing_behind_it() {
        let (mut file, places) = file(&synced(5..=11));
        file[places[3] + HEAD] ^= 1;
        assert!(matches!(read(&file, Some(SALT), 10), Err(Misfit::Hole { number: 8, .. })));
        assert_eq!(newest(read(&file, Some(SALT), 11)), (0, 11), "the store has everything");
    }

    #[test]
    fn bytes_of_any_kind_are_no_record() {
        let mut random = Random::new(0x0a11_b17e);
        let (good, places) = file(&synced(1..=8));
        for _ in 0..3_000 {
            let mut bytes = good.clone();
            for _ in 0..1 + random.below(4) {
                let at = START as usize + random.below((bytes.len() - START as usize) as u64) as usize;
                match random.below(3) {
                    0 => bytes[at] = random.next() as u8,
                    1 => bytes.truncate(at),
                    _ => {
                        let from = places[random.below(8) as usize];
                        let piece: Vec<u8> = bytes.iter().skip(from).take(200).copied().collect();
                        let end = (at + piece.len()).min(bytes.len());
                        if at < end {
                            bytes[at..end].copy_from_slice(&piece[..end - at]);
                        }
                    }
                }
                if bytes.len() <= START as usize + 8 {
                    break;
                }
            }
            if let Ok(tail) = read(&bytes, Some(SALT), 0) {
                let numbers = tail.commits.iter().map(|rows| u64::try_from(rows.len()).unwrap());
                for (at, length) in numbers.enumerate() {
                    let number = at as u64 + 1;
                    assert_eq!(length, (number % 37).next_multiple_of(8), "{}", random.seed());
                }
            }
        }
    }
}
