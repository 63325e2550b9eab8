//! What it takes to make rows of works and back. The modules that do it are private to the crate.

use std::hint::black_box;
use std::time::Duration;

use workman_core::store::{
    Codec, Due, LaneId, RowsPresent, Standing, Terms, Urgency, WorkRecord, WorkSpec, standing_key,
};
use workman_core::{Payload, Timestamp, Wait, WorkId};

use super::Case;
use super::callgrind::measured;
use super::envelope::entry_sum;
use super::keys;
use super::rows::{WorkRows, seal_output, seal_state, seal_work};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case { name: "codec: write a work", run: write_work },
        Case { name: "codec: write a state", run: write_state },
        Case { name: "codec: write an output", run: write_output },
        Case { name: "codec: write an entry", run: write_entry },
        Case { name: "codec: read a new work", run: || read(Born::JustNow) },
        Case { name: "codec: read a work that has changed", run: || read(Born::Before) },
        Case { name: "codec: read a record that has changed", run: read_record },
    ]
}

/// Numbers of several lengths.
const WORKS: u64 = 1_000;

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

fn record(seq: u64) -> WorkRecord {
    WorkRecord {
        // As ids lie that are made one after the other.
        id: WorkId::from_u128((1 << 100) + (u128::from(seq) << 40)),
        seq,
        turn: seq,
        lane: LaneId(0),
        urgency: Urgency::Ordinary,
        terms: Terms::default(),
        generation: 0,
        standing: Standing::Ready { since: Due::Store(NOW), why: Wait::Delay },
        created: NOW,
        enqueued: NOW,
        fence: 0,
        run_generation: 0,
        failures: 0,
        interruptions: 0,
        deaths: 0,
        open: 0,
        followers: None,
        period: None,
        started: None,
        ended: None,
        stop: None,
        rows: RowsPresent::default(),
        rare: None,
    }
}

fn running(seq: u64) -> WorkRecord {
    let started = Some(NOW + Duration::from_secs(1));
    WorkRecord { standing: Standing::Running { epoch: 7 }, fence: 1, started, ..record(seq) }
}

fn spec() -> WorkSpec {
    WorkSpec::new("nothing", Payload::new(Codec::JSON, vec![b'1'; 100]))
}

/// Measures `case` with each value.
fn each<T>(values: &[T], mut case: impl FnMut(&T)) -> usize {
    measured(|| values.iter().for_each(|value| case(black_box(value))));
    values.len()
}

/// Measures writing into a row that has room already, as a store does it.
fn each_row<T>(values: &[T], mut write: impl FnMut(&mut Vec<u8>, &T)) -> usize {
    let mut row = Vec::with_capacity(1_024);
    each(values, |value| {
        row.clear();
        write(&mut row, value);
        black_box(&row);
    })
}

fn write_work() -> usize {
    let (records, spec): (Vec<_>, _) = ((0..WORKS).map(record).collect(), spec());
    each_row(&records, |row, record| seal_work(row, record, &spec).unwrap())
}

fn write_state() -> usize {
    let records: Vec<_> = (0..WORKS).map(running).collect();
    each_row(&records, |row, record| seal_state(row, record).unwrap())
}

fn write_output() -> usize {
    let records: Vec<_> = (0..WORKS).map(record).collect();
    let output = Payload::new(Codec::JSON, &b"null"[..]);
    each_row(&records, |row, record| seal_output(row, record.id, &output).unwrap())
}

fn write_entry() -> usize {
    let keys: Vec<_> = (0..WORKS).map(|seq| standing_key(&record(seq))).collect();
    each(&keys, |key| {
        let key = keys::encode(key);
        black_box(entry_sum(key.bytes()));
    })
}

/// Whether a work has changed since its birth.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Born {
    JustNow,
    Before,
}

/// The two rows of each work.
fn rows() -> Vec<(WorkId, Vec<u8>, Vec<u8>)> {
    let rows = |seq| {
        let (mut work, mut state) = (Vec::new(), Vec::new());
        seal_work(&mut work, &record(seq), &spec()).unwrap();
        seal_state(&mut state, &running(seq)).unwrap();
        (record(seq).id, work, state)
    };
    (0..WORKS).map(rows).collect()
}

fn read(born: Born) -> usize {
    let worker = spec().worker;
    each(&rows(), |(id, work, state)| {
        let rows = WorkRows { id: *id, work, state: (born == Born::Before).then_some(state) };
        black_box(rows.work(|_| Some(&worker)).unwrap());
    })
}

fn read_record() -> usize {
    each(&rows(), |(id, work, state)| {
        black_box(WorkRows { id: *id, work, state: Some(state) }.record().unwrap());
    })
}
