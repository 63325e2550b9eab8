//! Who has a store: the lock beside it, what each opening writes down, and what becomes of one that was somebody else's meanwhile.

#![allow(clippy::unwrap_used, reason = "a test says what went wrong by its panic")]

mod support;

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command as Process, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use support::disk::{Disk, Fault};
use support::workload::{plain, sized};
use support::{Folder, Hands, block_on, dump, run};
use workman_core::store::{Command, PageRequest, Store};
use workman_core::{HealthStatus, QueryError, StoreErrorKind, ThreadRuntime, WorkId, WorkManager, WorkQuery};
use workman_redb::{OpenError, RedbBuilder, RedbStore};

#[test]
fn an_opening_counts_though_it_never_made_a_commit() {
    let folder = Folder::new("counts");
    for _ in 0..3 {
        drop(RedbStore::open(folder.store()).unwrap());
    }
    let store = RedbStore::open(folder.store()).unwrap();
    run(&store, Command::Attach, 1).unwrap().unwrap();
    assert_eq!(dump(&store).meta.incarnation, 4);
}

#[test]
fn the_lock_stays_beside_the_store_is_empty_and_may_not_be_anything_but_a_file() {
    let folder = Folder::new("lock");
    let lock = folder.path().join("work.redb.lock");
    drop(RedbStore::open(folder.store()).unwrap());
    assert_eq!(fs::read(&lock).unwrap(), b"");
    fs::remove_file(&lock).unwrap();
    fs::create_dir(&lock).unwrap();
    let refused = || {
        let error = RedbStore::open(folder.store()).unwrap_err();
        assert!(matches!(error, OpenError::NotLockable { .. }), "{error:?}");
        for part in [&lock, &folder.store()] {
            assert!(error.to_string().contains(&part.display().to_string()), "{error}");
        }
    };
    refused();
    fs::remove_dir(&lock).unwrap();
    #[cfg(unix)]
    {
        let elsewhere = folder.path().join("elsewhere");
        std::os::unix::fs::symlink(&elsewhere, &lock).unwrap();
        refused();
        assert!(!elsewhere.exists(), "nothing is made behind a link");
        fs::remove_file(&lock).unwrap();
    }
    drop(RedbStore::open(folder.store()).unwrap());
}

#[cfg(unix)]
#[test]
fn what_lies_beside_a_store_is_never_written_through_a_link() {
    let folder = Folder::new("links");
    let precious = folder.path().join("precious");
    fs::write(&precious, "not ours").unwrap();
    for suffix in ["new", "ballast"] {
        std::os::unix::fs::symlink(&precious, folder.path().join(format!("work.redb.{suffix}"))).unwrap();
    }
    drop(RedbStore::open(folder.store()).unwrap());
    assert_eq!(fs::read(&precious).unwrap(), b"not ours");
}

#[test]
fn what_is_no_store_gets_no_lock_beside_it() {
    let folder = Folder::new("nothing");
    fs::write(folder.store(), "some text").unwrap();
    RedbStore::open(folder.store()).unwrap_err();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[cfg(unix)]
#[test]
fn two_ways_to_one_file_are_one_store() {
    let folder = Folder::new("ways");
    let link = folder.path().join("link");
    let store = RedbStore::open(folder.store()).unwrap();
    std::os::unix::fs::symlink(folder.store(), &link).unwrap();
    assert!(RedbStore::open(&link).unwrap_err().is_already_open());
    drop(store);
    let store = RedbStore::open(&link).unwrap();
    assert!(RedbStore::open(folder.store()).unwrap_err().is_already_open());
    assert!(!folder.path().join("link.lock").exists() && !folder.path().join("link.ballast").exists());
    drop(store);
}

#[cfg(unix)]
#[test]
fn a_path_that_can_not_be_that_of_a_store_is_refused_with_its_reason() {
    let folder = Folder::new("paths");
    let broken = folder.path().join("broken");
    std::os::unix::fs::symlink(folder.path().join("no-such-file"), &broken).unwrap();
    let error = RedbStore::open(&broken).unwrap_err();
    assert!(matches!(error, OpenError::BrokenLink { .. }), "{error:?}");
    let error = RedbStore::open("/dev/null").unwrap_err();
    assert!(matches!(error, OpenError::NotAStore { .. }), "{error:?}");
    for path in ["/", "no-such-folder/", "..", "."] {
        let error = RedbStore::open(path).unwrap_err();
        assert!(matches!(error, OpenError::Directory { .. }), "{path:?}: {error:?}");
    }
    for path in [folder.path().join("\0"), "".into(), folder.path().join("x".repeat(5_000))] {
        let error = RedbStore::open(&path).unwrap_err();
        assert!(matches!(error, OpenError::Io { .. }), "{path:?}: {error:?}");
    }
    let below_a_file = folder.store().join("work.redb");
    fs::write(folder.store(), "").unwrap();
    let error = RedbStore::open(&below_a_file).unwrap_err();
    assert!(matches!(error, OpenError::MissingFolder { .. }), "{error:?}");
}

/// A disk that can be away, and a store on it whose handle is dead.
fn dead_handle() -> (Disk, Arc<AtomicBool>, Arc<Hands>, RedbStore) {
    let (disk, away, clock) = (Disk::default(), Arc::new(AtomicBool::new(false)), Arc::new(Hands::default()));
    let (handle, gone) = (disk.clone(), Arc::clone(&away));
    let open = move |file| {
        if gone.load(Ordering::SeqCst) { Err(ErrorKind::NotFound.into()) } else { Ok(handle.file(file)) }
    };
    let store = RedbStore::builder_on(open).clock(Arc::clone(&clock) as _).open().unwrap();
    run(&store, plain(WorkId::from_u128(1)), 1).unwrap().unwrap();
    (disk, away, clock, store)
}

fn on(disk: &Disk) -> RedbBuilder {
    disk.inline()
}

#[test]
fn a_store_that_was_somebody_elses_while_its_handle_was_dead_is_lost_for_good() {
    // What the other one does: nothing, as many commits as were in doubt, or more.
    for commits in 0..3 {
        let (disk, away, clock, store) = dead_handle();
        let mut changes = store.changes();
        away.store(true, Ordering::SeqCst);
        disk.plan_fault(0, Fault::Error(ErrorKind::Other));
        run(&store, plain(WorkId::from_u128(2)), 1).unwrap_err();
        let other = on(&disk).open().unwrap();
        for number in 0..commits {
            run(&other, plain(WorkId::from_u128(100 + number)), 1).unwrap().unwrap();
        }
        drop(other);
        away.store(false, Ordering::SeqCst);
        for _ in 0..3 {
            clock.advance(Duration::from_secs(10));
            let error = run(&store, plain(WorkId::from_u128(3)), 1).unwrap_err();
            assert_eq!(error.kind(), StoreErrorKind::Lost, "{commits} commits: {error}");
            assert!(
                error.is_closed() && !error.is_retryable() && error.to_string().contains("open it anew"),
                "{error}"
            );
            assert_eq!(block_on(store.dump()).unwrap_err().kind(), StoreErrorKind::Lost);
        }
        assert!(
            matches!(changes.next().now_or_never(), Some(None)),
            "the stream ends, and tells of nothing that was not ours"
        );
        block_on(store.close());
        assert_eq!(run(&store, Command::Attach, 1).unwrap_err().kind(), StoreErrorKind::Closed);
        drop(store);
        assert_eq!(dump(&on(&disk).open().unwrap()).records.len() as u128, 1 + commits);
    }
}

#[test]
fn an_older_copy_in_the_place_of_a_dead_handle_is_not_taken_for_the_store() {
    let (disk, away, clock, store) = dead_handle();
    let older = disk.bytes();
    // Too much for the journal, so the store itself has it, and what was in the journal before.
    run(&store, sized(WorkId::from_u128(2), 400_000), 1).unwrap().unwrap();
    away.store(true, Ordering::SeqCst);
    disk.plan_fault(0, Fault::Error(ErrorKind::Other));
    run(&store, plain(WorkId::from_u128(3)), 1).unwrap_err();
    disk.restore(older);
    away.store(false, Ordering::SeqCst);
    clock.advance(Duration::from_secs(10));
    let error = run(&store, plain(WorkId::from_u128(3)), 1).unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Lost, "{error}");
    assert!(error.to_string().contains("older copy"), "{error}");
}

#[test]
fn a_manager_whose_store_is_lost_ends_and_its_health_says_why() {
    let (disk, away, clock, store) = dead_handle();
    let store = Arc::new(store);
    let builder = WorkManager::builder(Arc::clone(&store)).runtime(ThreadRuntime::new());
    let manager = builder.start().unwrap();
    away.store(true, Ordering::SeqCst);
    disk.plan_fault(0, Fault::Error(ErrorKind::Other));
    run(&store, plain(WorkId::from_u128(2)), 1).unwrap_err();
    drop(on(&disk).open().unwrap());
    away.store(false, Ordering::SeqCst);
    clock.advance(Duration::from_secs(10));
    let error = block_on(manager.query(WorkQuery::all())).unwrap_err();
    assert!(matches!(&error, QueryError::Store(error) if error.is_lost()), "{error}");
    let HealthStatus::Lost { error } = manager.health() else { panic!("{:?}", manager.health()) };
    assert!(error.contains("somebody else"), "{error}");
    let mut watched = manager.watch(WorkQuery::all());
    assert!(block_on(watched.next()).is_none());
    block_on(manager.shutdown(Duration::ZERO));
    assert!(matches!(manager.health(), HealthStatus::Lost { .. }));
}

/// This very program.
#[cfg(not(target_os = "linux"))]
fn program() -> Process {
    Process::new(std::env::current_exe().unwrap())
}

/// A shell that ignores the signal of too large files, and becomes this very program.
#[cfg(target_os = "linux")]
fn program() -> Process {
    let mut shell = Process::new("sh");
    shell.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""]).arg(std::env::current_exe().unwrap());
    shell
}

/// A child process that plays the part its environment names.
struct Actor {
    child: Child,
    says: BufReader<ChildStdout>,
    hears: ChildStdin,
}

impl Actor {
    fn start(part: &str, store: &Path) -> Self {
        let mut child = program()
            .args(["--exact", "actor", "--nocapture", "--test-threads=1"])
            .env("WORKMAN_REDB_PART", part)
            .env("WORKMAN_REDB_STORE", store)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let says = BufReader::new(child.stdout.take().unwrap());
        let hears = child.stdin.take().unwrap();
        Actor { child, says, hears }
    }

    /// What stands behind the next `says: `.
    fn next(&mut self) -> String {
        let mut line = String::new();
        while self.says.read_line(&mut line).unwrap() > 0 {
            if let Some(said) = line.trim_end().strip_prefix("says: ") {
                return said.to_owned();
            }
            line.clear();
        }
        panic!("the child has ended: {:?}", self.child.wait());
    }

    #[cfg(target_os = "linux")]
    fn ask(&mut self, what: &str) -> String {
        writeln!(self.hears, "{what}").unwrap();
        self.next()
    }

    /// Lets the disk fail for whatever is written behind so many bytes of a file.
    #[cfg(target_os = "linux")]
    fn limit_files(&self, bytes: &str) -> bool {
        let mut prlimit = Process::new("prlimit");
        prlimit.arg(format!("--pid={}", self.child.id())).arg(format!("--fsize={bytes}:"));
        prlimit.stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    }
}

fn say(what: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "\nsays: {what}").and_then(|()| out.flush()).unwrap();
}

/// Not a test of its own: what the children run.
#[test]
fn actor() {
    let Ok(part) = std::env::var("WORKMAN_REDB_PART") else { return };
    let path = std::path::PathBuf::from(std::env::var("WORKMAN_REDB_STORE").unwrap());
    let opened = if part == "relative" {
        std::env::set_current_dir(path.parent().unwrap()).unwrap();
        let opened = RedbStore::open(path.file_name().unwrap());
        std::env::set_current_dir("/").unwrap();
        opened
    } else {
        std::io::stdin().read_line(&mut String::new()).unwrap();
        RedbStore::open(&path)
    };
    let store = match opened {
        Ok(store) => store,
        Err(error) => return say(if error.is_already_open() { "already open" } else { "another error" }),
    };
    say("open");
    let mut line = String::new();
    let mut next = 0;
    while std::io::stdin().read_line(&mut line).is_ok_and(|length| length > 0) {
        next += 1;
        let size = line.trim().parse().unwrap();
        match run(&store, sized(WorkId::from_u128(next), size), 1) {
            Ok(done) => say(if done.is_ok() { "done" } else { "refused" }),
            Err(error) => say(&format!("{:?}", error.kind())),
        }
        line.clear();
    }
    say("over");
}

#[cfg(target_os = "linux")]
#[test]
fn a_process_keeps_its_store_while_its_disk_fails_wherever_it_goes() {
    let folder = Folder::new("eio");
    let mut owner = Actor::start("relative", &folder.store());
    assert_eq!(owner.next(), "open");
    assert_eq!(owner.ask("100"), "done");
    if !owner.limit_files("4096") {
        println!("skipped: there is no prlimit here");
        return;
    }
    let mut taker = Actor::start("open", &folder.store());
    let failed = owner.ask("200000");
    assert!(["Rejected", "Indeterminate"].contains(&&*failed), "{failed}");
    assert_eq!(taker.ask(""), "already open", "the handle is dead, and the store is its owner's all the same");
    assert!(owner.limit_files("unlimited"));
    // The pauses between the tries are the system's clock's.
    let mut answers = (0..1_000_000).map(|_| owner.ask("100"));
    assert!(answers.any(|answer| answer == "done"));
    drop(answers);
    assert!(RedbStore::open(folder.store()).unwrap_err().is_already_open());
    owner.child.kill().unwrap();
    owner.child.wait().unwrap();
    taker.child.wait().unwrap();
    let store = RedbStore::open_waiting(folder.store(), Duration::from_secs(60)).unwrap();
    assert!(dump(&store).records.len() >= 2);
    assert!(folder.path().join("work.redb.ballast").exists());
}

#[test]
fn of_many_processes_that_make_the_same_store_at_once_one_has_it() {
    let folder = Folder::new("crowd");
    let mut crowd: Vec<Actor> = (0..4).map(|_| Actor::start("open", &folder.store())).collect();
    for actor in &mut crowd {
        writeln!(actor.hears).unwrap();
    }
    let mut said: Vec<String> = crowd.iter_mut().map(Actor::next).collect();
    said.sort();
    assert_eq!(said, ["already open", "already open", "already open", "open"]);
    for mut actor in crowd {
        drop(actor.hears);
        actor.child.wait().unwrap();
    }
    let page = PageRequest { query: WorkQuery::all(), after: None, limit: 1 };
    assert!(block_on(RedbStore::open(folder.store()).unwrap().query(page)).unwrap().works.is_empty());
}

#[cfg(unix)]
#[test]
fn what_another_user_may_not_write_is_refused_and_left_as_it_is() {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;
    const NOBODY: u32 = 65_534;
    let folder = Folder::new("nobody");
    let program = folder.path().join("program");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let open = |path: &Path| {
        let mut process = Process::new(&program);
        process.args(["--exact", "stranger", "--nocapture"]).env("WORKMAN_REDB_STRANGER", path).uid(NOBODY).gid(NOBODY);
        let output = process.stderr(Stdio::null()).output().ok()?;
        Some(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let Some(said) = open(&folder.path().join("theirs.redb")) else {
        println!("skipped: this process may not become another user");
        return;
    };
    assert!(said.contains("says: open"), "{said}");
    drop(RedbStore::open(folder.store()).unwrap());
    let before = fs::read(folder.store()).unwrap();
    assert!(open(&folder.store()).unwrap().contains("NotWritable"), "a file of mode 0600 is its owner's");
    // A store that may be written, beside a lock that may not be.
    fs::set_permissions(folder.store(), fs::Permissions::from_mode(0o666)).unwrap();
    assert!(open(&folder.store()).unwrap().contains("NotLockable"));
    // No right to make anything in the folder.
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    assert!(open(&folder.path().join("new.redb")).unwrap().contains("NotWritable"));
    fs::remove_file(folder.path().join("work.redb.lock")).unwrap();
    assert!(open(&folder.store()).unwrap().contains("NotWritable"));
    assert!(fs::read(folder.store()).unwrap() == before);
}

/// Not a test of its own: what another user runs.
#[test]
fn stranger() {
    let Ok(path) = std::env::var("WORKMAN_REDB_STRANGER") else { return };
    match RedbStore::open(path) {
        Ok(_) => say("open"),
        Err(error) => say(&format!("{error:?}")),
    }
}
