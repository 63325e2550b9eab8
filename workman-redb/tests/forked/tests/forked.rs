//! A child that is forked without `exec` has the parent's memory and open files, and none of its threads: every call there is an
//! error at once, and nothing that it does or drops harms the parent.

use std::time::Duration;

use futures::StreamExt;
use futures::executor::block_on;
use workman_core::store::{PageRequest, Store};
use workman_core::{
    HealthStatus, MemoryStore, QueryError, StoreErrorKind, ThreadRuntime, WorkManager, WorkQuery, WorkSelector, worker,
};
use workman_redb::RedbStore;

#[worker]
fn note(number: u32) -> u32 {
    number
}

/// Runs this in a forked child, and fails if the child does or does not end by itself within a minute.
fn in_a_child(what: &str, body: impl FnOnce()) {
    // SAFETY: the child touches nothing that another thread may have held but what these tests are about, and leaves by `_exit`.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "{what}: {}", std::io::Error::last_os_error());
    if child == 0 {
        // SAFETY: an alarm touches no memory. Nobody handles it, so it ends a child that waits for ever.
        unsafe { libc::alarm(60) };
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
        // SAFETY: it ends the child without running what the parent has registered.
        unsafe { libc::_exit(i32::from(ended.is_err())) };
    }
    let mut status = 0;
    // SAFETY: `child` is a child of this process, and the status is a local.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child, "{what}");
    assert!(!libc::WIFSIGNALED(status), "{what}: the child was ended by signal {}", libc::WTERMSIG(status));
    assert_eq!(status, 0, "{what}: an assertion failed in the child");
}

struct Folder(std::path::PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("workman-forked-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Folder(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_store_answers_a_forked_child_at_once_and_stays_its_parents() {
    for inline in [false, true] {
        let folder = Folder::new("store");
        let path = folder.0.join("work.redb");
        let builder = RedbStore::builder(&path);
        let store = if inline { builder.inline() } else { builder }.open().unwrap();
        let mut early = store.changes();
        let all = || PageRequest { query: WorkQuery::all(), after: None, limit: 1 };
        let mut store = Some(store);
        in_a_child("a store", || {
            let store = store.take().unwrap();
            let error = block_on(store.transact(Vec::new())).unwrap_err();
            assert!(error.kind() == StoreErrorKind::Lost && error.to_string().contains("forked"), "{error}");
            assert!(block_on(store.query(all())).unwrap_err().is_lost());
            assert!(block_on(store.dump()).unwrap_err().is_lost());
            assert!(block_on(early.next()).is_none());
            assert!(block_on(store.changes().next()).is_none());
            assert!(RedbStore::open(&path).unwrap_err().is_already_open());
            block_on(store.close());
            drop(store);
            assert!(
                RedbStore::open(&path).unwrap_err().is_already_open(),
                "the child has given its parent's lock away"
            );
        });
        let store = store.unwrap();
        assert!(RedbStore::open(&path).unwrap_err().is_already_open());
        assert!(block_on(store.transact(Vec::new())).is_ok());
        assert!(block_on(store.query(all())).unwrap().works.is_empty());
        block_on(store.close());
        drop(RedbStore::open(&path).unwrap());
    }
}

fn manager_in_a_child(what: &str, manager: WorkManager) {
    let handle = block_on(manager.enqueue(note::request(1))).unwrap();
    assert_eq!(block_on(handle.output()).unwrap(), 1);
    let mut early = manager.watch(WorkQuery::all());
    assert!(block_on(early.next()).is_some());
    let id = handle.id();
    let mut owned = Some((manager, handle, early));
    in_a_child(what, || {
        let (manager, handle, mut early) = owned.take().unwrap();
        let error = block_on(manager.enqueue(note::request(2))).map(|_| ()).unwrap_err();
        assert!(error.to_string().contains("forked"), "{error}");
        assert!(block_on(manager.info(id)).unwrap_err().is_lost());
        let queried = block_on(manager.query(WorkQuery::all())).unwrap_err();
        assert!(matches!(queried, QueryError::Store(error) if error.is_lost()));
        assert!(block_on(manager.cancel(WorkSelector::All)).is_err());
        assert!(block_on(manager.check()).is_err());
        assert!(block_on(manager.explain(id)).is_err());
        assert!(block_on(manager.drain(Duration::from_secs(60))).is_err());
        assert!(block_on(handle.output()).is_err());
        assert!(block_on(handle.info()).is_err());
        assert!(block_on(early.next()).is_none());
        assert!(block_on(manager.watch(WorkQuery::all()).next()).is_none());
        assert!(matches!(manager.health(), HealthStatus::Lost { .. }));
        let report = block_on(manager.shutdown(Duration::from_secs(60)));
        assert!(report.error.is_some_and(|error| error.contains("forked")));
        drop((early, handle, manager));
    });
    let (manager, handle, early) = owned.unwrap();
    assert_eq!(manager.health(), HealthStatus::Healthy);
    assert_eq!(block_on(block_on(manager.enqueue(note::request(3))).unwrap().output()).unwrap(), 3);
    assert_eq!(block_on(manager.shutdown(Duration::from_secs(60))).error, None);
    drop((early, handle));
}

#[test]
fn a_manager_answers_a_forked_child_at_once_and_goes_on_in_its_parent() {
    let folder = Folder::new("manager");
    let store = RedbStore::open(folder.0.join("work.redb")).unwrap();
    let manager = WorkManager::builder(store).runtime(ThreadRuntime::new()).start().unwrap();
    manager_in_a_child("on a file", manager);
    drop(RedbStore::open_waiting(folder.0.join("work.redb"), Duration::from_secs(60)).unwrap());
    let manager = WorkManager::builder(MemoryStore::new()).runtime(ThreadRuntime::new()).start().unwrap();
    manager_in_a_child("in memory", manager);
}

#[test]
fn a_child_may_have_a_store_and_a_manager_of_its_own() {
    let folder = Folder::new("own");
    let parents = RedbStore::open(folder.0.join("parent.redb")).unwrap();
    let manager = WorkManager::builder(parents).runtime(ThreadRuntime::new()).start().unwrap();
    let path = folder.0.join("child.redb");
    in_a_child("a store of its own", || {
        let store = RedbStore::open(&path).unwrap();
        let manager = WorkManager::builder(store).runtime(ThreadRuntime::new()).start().unwrap();
        assert_eq!(block_on(block_on(manager.enqueue(note::request(4))).unwrap().output()).unwrap(), 4);
        block_on(manager.shutdown(Duration::from_secs(60)));
    });
    assert_eq!(manager.health(), HealthStatus::Healthy);
}
