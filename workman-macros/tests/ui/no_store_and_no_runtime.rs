#![allow(unused_variables)]

use workman_core::{MemoryStore, WorkManager};

fn start(store: Result<MemoryStore, u8>) {
    let _ = WorkManager::builder(store);
    let _ = WorkManager::builder(MemoryStore::new()).runtime(5);
}

fn main() {}
