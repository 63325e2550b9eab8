//! The file and the memory are the same store: the same commands give the same answers and leave the same works.

#![allow(clippy::unwrap_used, reason = "a test says what went wrong by its panic")]

mod support;

use support::workload::Workload;
use support::{Folder, block_on, dump};
use workman_core::store::{PageRequest, Store};
use workman_core::{MemoryStore, WorkQuery, WorkState};
use workman_redb::RedbStore;

fn pages(store: &dyn Store, query: &WorkQuery, limit: usize) -> Vec<workman_core::WorkInfo> {
    let (mut works, mut after) = (Vec::new(), None);
    loop {
        let page = block_on(store.query(PageRequest { query: query.clone(), after, limit })).unwrap();
        works.extend(page.works);
        after = page.next;
        if after.is_none() {
            return works;
        }
    }
}

fn compare(seed: u64, calls: usize) {
    let folder = Folder::new("differential");
    let mut memory = MemoryStore::new();
    let mut file = RedbStore::builder(folder.store()).inline().open().unwrap();
    let mut workload = Workload::new(seed);
    for number in 0..calls {
        if workload.random.one_in(60) {
            block_on(file.close());
            memory = memory.reopen();
            file = RedbStore::builder(folder.store()).inline().open().unwrap();
            workload.reopened();
        }
        let units = workload.call();
        let expected = block_on(memory.transact(units.clone())).unwrap();
        let results = block_on(file.transact(units.clone())).unwrap();
        assert_eq!(results, expected, "call {number} of seed {seed:#x}: {units:#?}");
        assert_eq!(dump(&file), memory.dump(), "after call {number} of seed {seed:#x}: {units:#?}");
        workload.learn(&results);
    }
    let queries = [
        WorkQuery::all(),
        WorkQuery::tag("a").tagged("nightly"),
        WorkQuery::unique("inbox").state(WorkState::Enqueued),
        WorkQuery::in_state(WorkState::Succeeded),
    ];
    for query in queries {
        let expected = pages(&memory, &query, 7);
        assert_eq!(pages(&file, &query, 7), expected, "{query:?}, seed {seed:#x}");
    }
}

#[test]
fn the_same_commands_give_the_same_answers_and_leave_the_same_works() {
    for seed in [1, 0x5eed, 0xfeed_beef] {
        compare(seed, 160);
    }
}
