//! What a measured part cost besides time: calls that sync a file, and allocations.
//!
//! The calls are counted by defining them: the linker takes `fsync`, `fdatasync` and `sync_file_range` from here before it looks
//! into the C library, for the standard library and for the bundled SQLite as well, so nothing escapes that is in this program.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

static SYNCS: AtomicU64 = AtomicU64::new(0);
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static COUNTING: AtomicBool = AtomicBool::new(false);

/// How many calls have synced a file since the process started.
#[must_use]
pub fn syncs() -> u64 {
    SYNCS.load(Relaxed)
}

/// How many allocations were made while they were counted.
#[must_use]
pub fn allocations() -> u64 {
    ALLOCATIONS.load(Relaxed)
}

/// Counts allocations from here on. Runs that are timed leave it off: two cores that count in one place slow each other.
pub fn count_allocations() {
    COUNTING.store(true, Relaxed);
}

/// The allocator of the system, with a counter that can be turned on.
pub struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn note_allocation() {
    if COUNTING.load(Relaxed) {
        ALLOCATIONS.fetch_add(1, Relaxed);
    }
}

// SAFETY: every call is handed on to the system's allocator as it came; the counter touches no memory of the caller.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note_allocation();
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note_allocation();
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note_allocation();
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// What the C library does for `fsync`, counted.
#[unsafe(no_mangle)]
pub extern "C" fn fsync(file: libc::c_int) -> libc::c_int {
    SYNCS.fetch_add(1, Relaxed);
    // SAFETY: the call takes a number and touches no memory of ours.
    unsafe { libc::syscall(libc::SYS_fsync, file) as libc::c_int }
}

/// What the C library does for `fdatasync`, counted.
#[unsafe(no_mangle)]
pub extern "C" fn fdatasync(file: libc::c_int) -> libc::c_int {
    SYNCS.fetch_add(1, Relaxed);
    // SAFETY: the call takes a number and touches no memory of ours.
    unsafe { libc::syscall(libc::SYS_fdatasync, file) as libc::c_int }
}

/// What the C library does for `sync_file_range`, counted.
#[unsafe(no_mangle)]
pub extern "C" fn sync_file_range(file: libc::c_int, from: i64, length: i64, flags: libc::c_uint) -> libc::c_int {
    SYNCS.fetch_add(1, Relaxed);
    // SAFETY: the call takes numbers and touches no memory of ours.
    unsafe { libc::syscall(libc::SYS_sync_file_range, file, from, length, flags) as libc::c_int }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sqlx::Connection;
    use std::io::Write;

    /// One test for all counts, since the counters belong to the process and tests share it.
    #[test]
    fn syncs_of_std_and_of_sqlite_are_counted() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = std::fs::File::create(folder.path().join("file")).unwrap();
        file.write_all(b"a record").unwrap();
        let before = syncs();
        for _ in 0..7 {
            file.sync_all().unwrap();
            file.sync_data().unwrap();
        }
        assert_eq!(syncs() - before, 14);

        let options = crate::sqlite::options(&folder.path().join("database"), crate::sqlite::Journal::WalFull);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut connection = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
            sqlx::query("create table works (id integer)").execute(&mut connection).await.unwrap();
            let before = syncs();
            for _ in 0..10 {
                sqlx::query("insert into works values (1)").execute(&mut connection).await.unwrap();
            }
            // A commit to the write-ahead log is one sync; nothing else is due before the log is full.
            assert_eq!(syncs() - before, 10);
        });

        count_allocations();
        let before = allocations();
        std::hint::black_box(vec![1_u8; 64]);
        assert!(allocations() > before);
    }
}
