//! [`RowLog`]: the row writes of a commit as the body of a record, and back.

use crate::codec::{CodecError, Reader, Writer};
use crate::keys::ENTRY;
use crate::rows::{TableId, WorkTableId};

use super::record::{self, sealed_len};

/// A table by the byte that stands for it, doubled, with the lowest bit for a row that is put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Bytes(TableId),
    Works(WorkTableId),
    Entries,
}

/// The codes of [`Place`]; 0 ends a body.
const FIRST_BYTES: u8 = 1;
const FIRST_WORKS: u8 = FIRST_BYTES + TableId::ALL.len() as u8;
const ENTRIES: u8 = FIRST_WORKS + WorkTableId::ALL.len() as u8;

impl Place {
    fn code(self) -> u8 {
        match self {
            Place::Bytes(table) => FIRST_BYTES + table as u8,
            Place::Works(table) => FIRST_WORKS + table as u8,
            Place::Entries => ENTRIES,
        }
    }

    fn of(code: u8) -> Option<Self> {
        let bytes = code.checked_sub(FIRST_BYTES).and_then(|table| TableId::ALL.get(usize::from(table)));
        let works = code.checked_sub(FIRST_WORKS).and_then(|table| WorkTableId::ALL.get(usize::from(table)));
        match (bytes, works) {
            (Some(table), _) => Some(Place::Bytes(*table)),
            (_, Some(table)) => Some(Place::Works(*table)),
            _ => (code == ENTRIES).then_some(Place::Entries),
        }
    }

    /// The length of all its keys, if they have one.
    fn key_length(self) -> Option<usize> {
        match self {
            Place::Bytes(_) => None,
            Place::Works(_) => Some(16),
            Place::Entries => Some(ENTRY),
        }
    }

    /// Whether its rows follow from their keys.
    fn is_index(self) -> bool {
        matches!(self, Place::Bytes(TableId::Label) | Place::Entries)
    }
}

/// What was written to one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RowWrite<'a> {
    pub(crate) place: Place,
    pub(crate) key: &'a [u8],
    /// The row as it lies in its table, nothing for an index entry; `None` if it went.
    pub(crate) row: Option<&'a [u8]>,
}

/// The row writes of one commit, in the order in which they were made, as they go into a record.
#[derive(Default)]
pub(crate) struct RowLog {
    to: Writer,
    /// A record that would become longer is not for the journal, and is no more written down.
    most: usize,
    is_too_long: bool,
}

impl RowLog {
    /// Begins in a buffer that is used again.
    pub(crate) fn begin(mut buffer: Vec<u8>, most: usize) -> Self {
        record::begin(&mut buffer);
        RowLog { to: Writer::behind(buffer), most, is_too_long: false }
    }

    pub(crate) fn put(&mut self, place: Place, key: &[u8], row: &[u8]) {
        self.write(RowWrite { place, key, row: Some(row) });
    }

    pub(crate) fn remove(&mut self, place: Place, key: &[u8]) {
        self.write(RowWrite { place, key, row: None });
    }

    fn write(&mut self, write: RowWrite<'_>) {
        if self.is_too_long {
            return;
        }
        self.to.byte(write.place.code() << 1 | u8::from(write.row.is_some()));
        match write.place.key_length() {
            Some(_) => self.to.rest(write.key),
            None => self.to.blob(write.key),
        }
        if let Some(row) = write.row.filter(|_| !write.place.is_index()) {
            self.to.blob(row);
        }
        self.is_too_long = sealed_len(self.to.len()) > self.most;
    }

    /// The buffer, and whether all of the commit is in it.
    pub(crate) fn end(self) -> (Vec<u8>, bool) {
        (self.to.into_bytes(), !self.is_too_long)
    }
}

/// Reads the body of a record.
///
/// # Errors
/// When it is not what [`RowLog`] writes, which a newer version may do.
pub(crate) fn each<'a>(body: &'a [u8], mut see: impl FnMut(RowWrite<'a>)) -> Result<(), CodecError> {
    let mut from = Reader::new(body);
    while !from.is_empty() {
        let head = from.byte()?;
        if head == 0 {
            break;
        }
        let place = Place::of(head >> 1).ok_or(CodecError::Unknown("table", head))?;
        let key = match place.key_length() {
            Some(length) => from.take(length)?,
            None => from.blob()?,
        };
        let row = match (head & 1 == 1, place.is_index()) {
            (false, _) => None,
            (true, true) => Some(&[][..]),
            (true, false) => Some(from.blob()?),
        };
        see(RowWrite { place, key, row });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Random;

    fn places() -> Vec<Place> {
        let bytes = TableId::ALL.into_iter().map(Place::Bytes);
        let works = WorkTableId::ALL.into_iter().map(Place::Works);
        bytes.chain(works).chain([Place::Entries]).collect()
    }

    #[test]
    fn every_place_has_a_code_of_its_own() {
        for place in places() {
            assert_eq!(Place::of(place.code()), Some(place));
        }
        assert_eq!((Place::of(0), Place::of(ENTRIES + 1)), (None, None));
    }

    #[test]
    fn what_was_written_comes_back_in_order_and_what_is_cut_short_is_an_error() {
        let mut random = Random::new(0x10_6b00c);
        for _ in 0..200 {
            let mut log = RowLog::begin(Vec::new(), usize::MAX);
            let mut written = Vec::new();
            for _ in 0..random.below(12) {
                let place = places()[random.below(10) as usize];
                let length = place.key_length().unwrap_or(random.below(40) as usize);
                let key: Vec<u8> = (0..length).map(|_| random.next() as u8).collect();
                let row: Vec<u8> = (0..random.below(300)).map(|_| random.next() as u8).collect();
                let row = (random.below(4) > 0).then_some(if place.is_index() { Vec::new() } else { row });
                match &row {
                    Some(row) => log.put(place, &key, row),
                    None => log.remove(place, &key),
                }
                written.push((place, key, row));
            }
            let (record, is_whole) = log.end();
            assert!(is_whole);
            let body = [&record[record::HEAD..], &[0; 7]].concat();
            let mut read = Vec::new();
            each(&body, |write| read.push((write.place, write.key.to_vec(), write.row.map(<[u8]>::to_vec)))).unwrap();
            assert_eq!(read, written, "{}", random.seed());
            for length in 0..record.len() - record::HEAD {
                let mut seen = 0;
                let cut = each(&body[..length], |_| seen += 1);
                assert!(cut.is_err() || seen < written.len(), "{length} bytes, {}", random.seed());
            }
        }
    }

    #[test]
    fn a_log_that_becomes_too_long_is_no_record_and_takes_no_more_memory() {
        let mut log = RowLog::begin(Vec::new(), 1_000);
        for _ in 0..1_000 {
            log.put(Place::Bytes(TableId::Meta), b"key", &[1; 100]);
        }
        let (record, is_whole) = log.end();
        assert!(!is_whole && record.len() < 1_200, "{}", record.len());
    }
}
