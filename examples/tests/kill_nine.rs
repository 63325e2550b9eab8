//! `kill -9` at random moments of `image_pipeline`, again and again, with real processes.
//!
//! In the end every output file is there, byte for byte that of a run that was never killed; a step whose end was committed never ran
//! again; only the attempt in flight at a kill was repeated; nothing is parked; and the store opened every time.
//!
//! `WORKMAN_KILLS=500` kills more often, `WORKMAN_SEED=..` repeats the choices of a run.
#![allow(clippy::unwrap_used, reason = "a test may panic wherever it stands")]

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use futures::executor::block_on;
use workman_core::store::{PageRequest, Store};
use workman_core::{AttemptEnd, WorkId, WorkInfo, WorkQuery, WorkState};
use workman_examples::gallery;
use workman_examples::journal::{Entry, Journal, Moment};
use workman_examples::process::{empty_folder, example};
use workman_redb::RedbStore;

const PHOTOS: u32 = 24;
const LONGEST_LIFE_IN_LINES: u64 = 40;
const LONGEST_PAUSE_IN_YIELDS: u64 = 20_000;

#[test]
fn killed_fifty_times_it_finishes_everything_and_does_nothing_settled_again() {
    let number = |name| env::var(name).ok().and_then(|text: String| text.parse::<u64>().ok());
    let seed = number("WORKMAN_SEED")
        .unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos().into());
    let kills = number("WORKMAN_KILLS").unwrap_or(50);
    println!("WORKMAN_SEED={seed} WORKMAN_KILLS={kills}");

    let folder = empty_folder("kill-nine").unwrap();
    let untouched = never_killed(&folder);
    let mut round = Round::new(&folder, "killed");
    let mut dice = Dice(seed);
    let (mut killed, mut deaths, mut rounds) = (0, 0, 0);
    while killed < kills {
        killed += u64::from(round.live(Some(&mut dice)));
        round.inspect();
        if round.is_finished() {
            deaths += round.verify(&untouched);
            rounds += 1;
        }
    }
    while !round.is_finished() {
        round.live(None);
        round.inspect();
    }
    deaths += round.verify(&untouched);
    println!("{killed} kills, {} times finished, {deaths} attempts in flight died", rounds + 1);
    assert!(deaths > 0, "no kill has hit an attempt: the moments are badly chosen");
    round.finished_stays_finished();
    fs::remove_dir_all(folder).unwrap();
}

/// The first moments of a store are the only ones in which there is no whole file yet.
#[test]
fn killed_while_the_store_is_made_it_opens_and_holds_the_chain_or_nothing() {
    let folder = empty_folder("kill-first").unwrap();
    fs::create_dir(folder.join("photos")).unwrap();
    gallery::save(gallery::draw(1, 32, 24), &folder.join("photos/one.png")).unwrap();
    let mut empty = 0;
    for life in 0..20_u64 {
        let mut round = Round::new(&folder, &life.to_string());
        let mut child = round.program().stdout(Stdio::null()).spawn().unwrap();
        (0..life * life * 120).for_each(|_| thread::yield_now());
        child.kill().unwrap();
        child.wait().unwrap();
        round.inspect();
        assert!(matches!(round.works.len(), 0 | 6), "half a chain: {} works", round.works.len());
        empty += u32::from(round.works.is_empty());
    }
    println!("{empty} of 20 were killed before the chain was stored");
    fs::remove_dir_all(folder).unwrap();
}

/// The files that a run leaves that nobody disturbs.
fn never_killed(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let photos = folder.join("photos");
    fs::create_dir(&photos).unwrap();
    for seed in 0..PHOTOS {
        gallery::save(gallery::draw(seed, 32, 24), &photos.join(format!("{seed:03}.png"))).unwrap();
    }
    let mut round = Round::new(folder, "untouched");
    assert!(!round.live(None));
    round.inspect();
    let files = round.files();
    assert_eq!(files.len(), 3 * PHOTOS as usize + 1);
    assert_eq!(round.verify(&files), 0);
    files
}

/// A signal leaves no code; where there are none, who kills gives one, and std gives this.
fn is_that_of_a_kill(status: ExitStatus) -> bool {
    status.code() == if cfg!(unix) { None } else { Some(1) }
}

/// One gallery, its store and its journal, through many lives of the program.
struct Round {
    photos: PathBuf,
    out: PathBuf,
    store: PathBuf,
    journal: PathBuf,
    works: Vec<WorkInfo>,
    /// Works that were seen finished on disk, with the number of journal lines that were there by then.
    settled: BTreeMap<WorkId, (WorkInfo, usize)>,
}

impl Round {
    fn new(folder: &Path, name: &str) -> Self {
        let path = |what: &str| folder.join(format!("{name}-{what}"));
        let photos = folder.join("photos").canonicalize().unwrap();
        let (out, store, journal) = (path("gallery"), path("works.redb"), path("journal"));
        Round { photos, out, store, journal, works: Vec::new(), settled: BTreeMap::new() }
    }

    fn program(&self) -> Command {
        let mut program = example("image_pipeline").unwrap();
        program.arg(&self.photos).arg("--out").arg(&self.out);
        program.arg("--store").arg(&self.store).arg("--journal").arg(&self.journal);
        program
    }

    /// Starts the program and kills it, if there are dice, at a moment of their choice. Says whether it was killed alive.
    fn live(&mut self, dice: Option<&mut Dice>) -> bool {
        let mut program = self.program();
        if self.is_finished() {
            program.arg("--replace");
        }
        let mut child = program.arg("--verbose").stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let may_be_killed = dice.is_some();
        if let Some(dice) = dice {
            let life = dice.below(LONGEST_LIFE_IN_LINES);
            lines.by_ref().take(usize::try_from(life).unwrap()).for_each(drop);
            (0..dice.below(LONGEST_PAUSE_IN_YIELDS)).for_each(|_| thread::yield_now());
            child.kill().unwrap();
        }
        lines.for_each(drop);
        let status = child.wait().unwrap();
        assert!(status.success() || may_be_killed && is_that_of_a_kill(status), "the program ended with {status}");
        !status.success()
    }

    /// Opens the store as the next process would, and looks at everything.
    fn inspect(&mut self) {
        let store = RedbStore::open(&self.store).unwrap();
        let query = WorkQuery::unique(format!("gallery of {}", self.photos.display()));
        let page = block_on(store.query(PageRequest { query, after: None, limit: usize::MAX })).unwrap();
        block_on(store.close());
        drop(store);
        self.works = page.works;

        let journal = Journal::read(&self.journal).unwrap();
        let ids: BTreeSet<WorkId> = self.works.iter().map(|work| work.id).collect();
        self.settled.retain(|id, _| ids.contains(id)); // those of a chain that was replaced are gone
        for work in &self.works {
            assert_eq!(work.parked, None, "{} is parked", work.worker);
            assert_ne!(work.state, WorkState::Failed, "{:?}", work.last_error());
            if !work.state.is_finished() {
                assert!(!self.settled.contains_key(&work.id), "{} was finished and is not any more", work.worker);
                continue;
            }
            let (then, lines) = self.settled.entry(work.id).or_insert_with(|| (work.clone(), journal.len()));
            assert_eq!(then, work, "a finished work has changed");
            let again = journal[*lines..].iter().find(|entry| entry.id == work.id);
            assert_eq!(again, None, "a step ran after its end was committed");
        }
    }

    fn is_finished(&self) -> bool {
        !self.works.is_empty() && self.works.iter().all(|work| work.state.is_finished())
    }

    /// Compares attempts with effects, and the files with those of an undisturbed run. Says how many attempts died.
    fn verify(&self, untouched: &BTreeMap<PathBuf, Vec<u8>>) -> usize {
        let journal = Journal::read(&self.journal).unwrap();
        let died = self.works.iter().map(|work| verify_work(work, &journal)).sum();
        assert_eq!(self.works.len(), 4 * PHOTOS as usize + 2);
        let files = self.files();
        assert!(files.keys().eq(untouched.keys()), "other files: {:?}", files.keys());
        for (name, bytes) in untouched {
            assert!(files[name] == *bytes, "{} is not what it should be", name.display());
        }
        died
    }

    fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let entries = fs::read_dir(&self.out).unwrap().map(|entry| entry.unwrap().path());
        let files = entries.filter(|path| path.is_file());
        files.map(|path| (path.file_name().unwrap().into(), fs::read(&path).unwrap())).collect()
    }

    fn finished_stays_finished(&mut self) {
        let before = (Journal::read(&self.journal).unwrap(), self.files());
        let output = self.program().output().unwrap();
        assert!(output.status.success());
        assert!(String::from_utf8(output.stdout).unwrap().starts_with("This folder is done"));
        assert!((Journal::read(&self.journal).unwrap(), self.files()) == before, "a finished chain has run again");
    }
}

/// The attempts that the store remembers are the effects that the journal remembers.
fn verify_work(work: &WorkInfo, journal: &[Entry]) -> usize {
    let what = format!("{} {}", work.worker, work.id);
    let effects = |fence, moment| {
        journal.iter().filter(|entry| entry.id == work.id && entry.fence == fence && entry.moment == moment).count()
    };
    assert_eq!(work.state, WorkState::Succeeded, "{what}");
    assert_eq!((work.failures, work.interruptions), (0, 0), "{what}");
    let (last, before) = work.attempts.split_last().unwrap_or_else(|| panic!("{what} has no attempt"));
    assert_eq!((&last.end, last.fence), (&AttemptEnd::Succeeded, work.runs), "{what}");
    assert_eq!((effects(last.fence, Moment::Begin), effects(last.fence, Moment::End)), (1, 1), "{what}");
    for attempt in before {
        assert_eq!(attempt.end, AttemptEnd::Died, "{what}");
        let (begun, ended) = (effects(attempt.fence, Moment::Begin), effects(attempt.fence, Moment::End));
        assert!(ended <= begun && begun <= 1, "{what}: {begun} begun and {ended} ended under one fence");
    }
    let known: BTreeSet<u64> = work.attempts.iter().map(|attempt| attempt.fence).collect();
    let stray = journal.iter().find(|entry| entry.id == work.id && !known.contains(&entry.fence));
    assert_eq!(stray, None, "{what} had an effect without an attempt");
    before.len()
}

/// Splitmix64: the same seed throws the same numbers.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % end
    }
}
