//! A disk with a store and its journal that can lose power at any operation, fail any operation, and be looked at afterwards.

use std::collections::BTreeSet;
use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard};

use redb::StorageBackend;
use workman_redb::{DiskFile, RedbBuilder, RedbStore};

use super::Random;

/// The disk. Clones are handles of the same disk.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    state: Arc<Mutex<State>>,
}

/// One of its files, opened.
#[derive(Clone, Debug)]
pub struct OpenFile {
    disk: Disk,
    which: usize,
}

#[derive(Debug, Default)]
struct State {
    /// What the program sees, by file.
    bytes: [Vec<u8>; 2],
    moment: Moment,
    record: Option<Vec<(usize, Op)>>,
    ops: u64,
    syncs: u64,
    /// What goes wrong from which operation on.
    faults: Vec<(u64, Fault)>,
    /// Every operation that changes this file fails.
    broken: Option<(usize, io::ErrorKind)>,
    /// Blocks that have room on a disk which is full otherwise, by file.
    has_room: Option<BTreeSet<(usize, usize)>>,
    reads: u64,
    /// The read that fails, once.
    failing_read: Option<u64>,
    dead: bool,
    listeners: Vec<Sender<()>>,
}

/// The unit of room.
const BLOCK: usize = 4_096;

const STORE: usize = DiskFile::Store as usize;
const JOURNAL: usize = DiskFile::Journal as usize;

/// What was done to a file.
#[derive(Clone, Debug)]
pub enum Op {
    Write(usize, Vec<u8>),
    Length(usize),
    Sync,
}

/// What a loss of power may leave.
#[derive(Clone, Debug, Default)]
pub struct Moment {
    /// What would be there if nothing unsynced were, by file.
    durable: [Vec<u8>; 2],
    /// What was done to which file since it was synced, in order.
    unsynced: Vec<(usize, Op)>,
}

impl Moment {
    pub fn of(durable: [Vec<u8>; 2]) -> Self {
        Moment { durable, unsynced: Vec::new() }
    }

    /// One operation later.
    pub fn step(&mut self, which: usize, op: Op) {
        if !matches!(op, Op::Sync) {
            self.unsynced.push((which, op));
            return;
        }
        let durable = &mut self.durable[which];
        for (_, op) in self.unsynced.extract_if(.., |(file, _)| *file == which) {
            op.apply(durable);
        }
    }

    /// The disk as the next start finds it.
    pub fn left(&self, survivors: Survivors, random: &mut Random) -> Disk {
        let mut files = self.durable.clone();
        let keep = random.below(self.unsynced.len() + 1);
        for (number, (which, op)) in self.unsynced.iter().enumerate() {
            let bytes = &mut files[*which];
            let survives = match survivors {
                Survivors::Nothing => false,
                Survivors::Everything => true,
                Survivors::OfStore => *which == STORE,
                Survivors::OfJournal => *which == JOURNAL,
                Survivors::Prefix => number < keep,
                Survivors::Subset | Survivors::Torn => random.one_in(2),
            };
            match op {
                Op::Write(offset, data) if matches!(survivors, Survivors::Torn) => {
                    // Sectors are where the disk has them, wherever the write began.
                    let (mut at, mut rest) = (*offset, &data[..]);
                    while !rest.is_empty() {
                        let (piece, behind) = rest.split_at((512 - at % 512).min(rest.len()));
                        if random.one_in(2) {
                            write(bytes, at, piece);
                        }
                        (at, rest) = (at + piece.len(), behind);
                    }
                }
                op if survives => op.apply(bytes),
                _ => {}
            }
        }
        let [store, journal] = files;
        Disk::with(store, journal)
    }
}

impl Op {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Op::Write(offset, data) => write(bytes, *offset, data),
            Op::Length(length) => bytes.resize(*length, 0),
            Op::Sync => {}
        }
    }
}

/// What goes wrong at an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The power fails: this and everything after it does not happen.
    PowerLoss,
    /// An input/output error, once.
    Error(io::ErrorKind),
    /// An input/output error, once, after which the system has thrown away all that was not synced.
    DroppedPages,
    /// The backend panics, once.
    Panic,
}

/// What is left of unsynced writes after a loss of power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survivors {
    Nothing,
    Everything,
    /// Everything that was written to the store, and nothing of the journal.
    OfStore,
    /// The other way round.
    OfJournal,
    Prefix,
    Subset,
    /// A subset, torn at sectors of 512 bytes.
    Torn,
}

impl Survivors {
    pub const ALL: [Survivors; 7] = [
        Survivors::Nothing,
        Survivors::Everything,
        Survivors::OfStore,
        Survivors::OfJournal,
        Survivors::Prefix,
        Survivors::Subset,
        Survivors::Torn,
    ];
}

impl Disk {
    /// A closed store, without a journal.
    pub fn of(bytes: Vec<u8>) -> Self {
        Disk::with(bytes, Vec::new())
    }

    pub fn with(store: Vec<u8>, journal: Vec<u8>) -> Self {
        let bytes = [store, journal];
        let state = State { moment: Moment::of(bytes.clone()), bytes, ..State::default() };
        Disk { state: Arc::new(Mutex::new(state)) }
    }

    /// Notes everything that is done from now on. Answers where it begins.
    pub fn record(&self) -> Moment {
        let mut state = self.state();
        state.record = Some(Vec::new());
        Moment::of(state.bytes.clone())
    }

    /// How much was done since then.
    pub fn recorded(&self) -> usize {
        self.state().record.as_ref().map_or(0, Vec::len)
    }

    /// What was done since then, and ends the noting.
    pub fn take_record(&self) -> Vec<(usize, Op)> {
        self.state().record.take().unwrap_or_default()
    }

    /// A disk of its own with the same content.
    pub fn copy(&self) -> Self {
        Disk::with(self.bytes(), self.journal())
    }

    pub fn file(&self, which: DiskFile) -> OpenFile {
        OpenFile { disk: self.clone(), which: which as usize }
    }

    /// A store on it, with a journal that soon is full.
    pub fn builder(&self) -> RedbBuilder {
        let disk = self.clone();
        RedbStore::builder_on(move |which| Ok(disk.file(which))).journal_bytes(64 << 10)
    }

    /// A store on it that runs where it is called.
    pub fn inline(&self) -> RedbBuilder {
        self.builder().inline()
    }

    /// The bytes of the store.
    pub fn bytes(&self) -> Vec<u8> {
        self.state().bytes[STORE].clone()
    }

    pub fn journal(&self) -> Vec<u8> {
        self.state().bytes[JOURNAL].clone()
    }

    /// Puts this in the place of the store that is there, synced.
    pub fn restore(&self, bytes: Vec<u8>) {
        let mut state = self.state();
        state.moment.durable[STORE].clone_from(&bytes);
        state.moment.unsynced.retain(|(which, _)| *which != STORE);
        state.bytes[STORE] = bytes;
    }

    /// Puts other bytes into the store, as nobody who writes through the handle does.
    pub fn overwrite(&self, at: usize, bytes: &[u8]) {
        write(&mut self.state().bytes[STORE], at, bytes);
    }

    /// Operations that change or sync something, so far.
    pub fn ops(&self) -> u64 {
        self.state().ops
    }

    pub fn syncs(&self) -> u64 {
        self.state().syncs
    }

    /// Tells when the disk is synced the next time.
    pub fn next_sync(&self) -> Receiver<()> {
        let (tell, hear) = channel();
        self.state().listeners.push(tell);
        hear
    }

    /// The operation after `after` more meets this.
    pub fn plan_fault(&self, after: u64, fault: Fault) {
        let mut state = self.state();
        let at = state.ops + after;
        state.faults.push((at, fault));
    }

    /// From now on each write and sync of this file fails.
    pub fn break_for_good(&self, which: DiskFile, kind: io::ErrorKind) {
        self.state().broken = Some((which as usize, kind));
    }

    /// From now on there is no room but where something was written already. A file may become longer all the same.
    pub fn fill(&self) {
        let mut state = self.state();
        let mut has_room = BTreeSet::new();
        for (which, bytes) in state.bytes.iter().enumerate() {
            let used = bytes.chunks(BLOCK).enumerate().filter(|(_, block)| block.iter().any(|byte| *byte != 0));
            has_room.extend(used.map(|(block, _)| (which, block)));
        }
        // The journal is written when it is made, zeros and all.
        has_room.extend((0..state.bytes[JOURNAL].len().div_ceil(BLOCK)).map(|block| (JOURNAL, block)));
        state.has_room = Some(has_room);
    }

    /// It works again, and has room.
    pub fn mend(&self) {
        let mut state = self.state();
        (state.broken, state.has_room) = (None, None);
    }

    /// The read after `after` more fails, once.
    pub fn plan_failing_read(&self, after: u64) {
        let mut state = self.state();
        state.failing_read = Some(state.reads + after);
    }

    /// Takes the planned failing read back, if it did not happen yet.
    pub fn take_failing_read(&self) -> Option<u64> {
        self.state().failing_read.take()
    }

    /// Takes the planned fault back, if it did not happen yet.
    pub fn take_fault(&self) -> Option<Fault> {
        self.state().faults.pop().map(|(_, fault)| fault)
    }

    pub fn is_dead(&self) -> bool {
        self.state().dead
    }

    /// The disk as the next start finds it.
    pub fn after_power_loss(&self, survivors: Survivors, random: &mut Random) -> Disk {
        self.state().moment.left(survivors, random)
    }

    /// The disk as the next start finds it after the process was killed.
    pub fn after_kill(&self) -> Disk {
        self.copy()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Counts an operation, and fails it if its time has come.
    fn operate(&self, which: usize) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.state();
        let number = state.ops;
        state.ops += 1;
        match state.faults.iter().position(|(at, _)| number >= *at).map(|place| (place, state.faults[place].1)) {
            Some((_, Fault::PowerLoss)) => state.dead = true,
            Some((place, fault)) => {
                state.faults.remove(place);
                match fault {
                    Fault::Error(kind) => return Err(kind.into()),
                    Fault::DroppedPages => {
                        state.bytes = state.moment.durable.clone();
                        state.moment.unsynced.clear();
                        return Err(io::Error::other("a sync failed, and what it should have written is gone"));
                    }
                    _ => {
                        drop(state);
                        panic!("the disk panics, as it was told");
                    }
                }
            }
            None => {}
        }
        match state.broken {
            _ if state.dead => Err(io::Error::other("the power is off")),
            Some((file, kind)) if file == which => Err(kind.into()),
            _ => Ok(state),
        }
    }
}

impl State {
    fn note(&mut self, which: usize, op: Op) {
        op.apply(&mut self.bytes[which]);
        if let Some(record) = &mut self.record {
            record.push((which, op.clone()));
        }
        self.moment.step(which, op);
    }
}

fn write(bytes: &mut Vec<u8>, offset: usize, data: &[u8]) {
    if bytes.len() < offset + data.len() {
        bytes.resize(offset + data.len(), 0);
    }
    bytes[offset..offset + data.len()].copy_from_slice(data);
}

impl StorageBackend for OpenFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.state().bytes[self.which].len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut state = self.disk.state();
        let number = state.reads;
        state.reads += 1;
        if state.failing_read == Some(number) {
            state.failing_read = None;
            return Err(io::Error::other("a bad sector, this time"));
        }
        if state.dead {
            return Err(io::Error::other("the power is off"));
        }
        let offset = offset as usize;
        let there = state.bytes[self.which].get(offset..offset + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(there);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.operate(self.which)?.note(self.which, Op::Length(len as usize));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.disk.operate(self.which)?;
        state.syncs += 1;
        state.note(self.which, Op::Sync);
        for listener in state.listeners.drain(..) {
            let _ = listener.send(());
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.disk.operate(self.which)?;
        let offset = offset as usize;
        let mut blocks = offset / BLOCK..(offset + data.len()).div_ceil(BLOCK);
        if state.has_room.as_ref().is_some_and(|room| !blocks.all(|block| room.contains(&(self.which, block)))) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        state.note(self.which, Op::Write(offset, data.to_vec()));
        Ok(())
    }
}
