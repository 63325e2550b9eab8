//! A disk that can lose power at any operation, fail any operation, and be looked at afterwards.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard};

use redb::StorageBackend;

use super::Random;

/// The disk. Clones are handles of the same disk.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    state: Arc<Mutex<State>>,
}

#[derive(Clone, Debug, Default)]
struct State {
    /// What the program sees.
    bytes: Vec<u8>,
    /// What would be there after a loss of power that keeps nothing unsynced.
    durable: Vec<u8>,
    /// What was done since the last sync.
    unsynced: Vec<Op>,
    ops: u64,
    syncs: u64,
    fault: Option<(u64, Fault)>,
    reads: u64,
    /// The read that fails, once.
    failing_read: Option<u64>,
    dead: bool,
    listeners: Vec<Sender<()>>,
}

#[derive(Clone, Debug)]
enum Op {
    Write(usize, Vec<u8>),
    Length(usize),
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
#[derive(Clone, Copy, Debug)]
pub enum Survivors {
    Nothing,
    Everything,
    Prefix,
    Subset,
    /// A subset, torn at sectors of 512 bytes.
    Torn,
}

impl Disk {
    pub fn of(bytes: Vec<u8>) -> Self {
        let state = State { durable: bytes.clone(), bytes, ..State::default() };
        Disk { state: Arc::new(Mutex::new(state)) }
    }

    /// A disk of its own with the same content.
    pub fn copy(&self) -> Self {
        Disk::of(self.bytes())
    }

    pub fn bytes(&self) -> Vec<u8> {
        self.state().bytes.clone()
    }

    /// Puts this in the place of what is there, synced.
    pub fn restore(&self, bytes: Vec<u8>) {
        let mut state = self.state();
        state.durable = bytes.clone();
        state.bytes = bytes;
        state.unsynced.clear();
    }

    /// Puts other bytes there, as nobody who writes through the handle does.
    pub fn overwrite(&self, at: usize, bytes: &[u8]) {
        write(&mut self.state().bytes, at, bytes);
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
        state.fault = Some((state.ops + after, fault));
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
        self.state().fault.take().map(|(_, fault)| fault)
    }

    pub fn is_dead(&self) -> bool {
        self.state().dead
    }

    /// The disk as the next start finds it.
    pub fn after_power_loss(&self, survivors: Survivors, random: &mut Random) -> Disk {
        let state = self.state();
        let mut bytes = state.durable.clone();
        let keep = random.below(state.unsynced.len() + 1);
        for (number, op) in state.unsynced.iter().enumerate() {
            let survives = match survivors {
                Survivors::Nothing => false,
                Survivors::Everything => true,
                Survivors::Prefix => number < keep,
                Survivors::Subset | Survivors::Torn => random.one_in(2),
            };
            match op {
                Op::Write(offset, data) if matches!(survivors, Survivors::Torn) => {
                    for (sector, piece) in data.chunks(512).enumerate() {
                        if random.one_in(2) {
                            write(&mut bytes, offset + sector * 512, piece);
                        }
                    }
                }
                Op::Write(offset, data) if survives => write(&mut bytes, *offset, data),
                Op::Length(length) if survives => bytes.resize(*length, 0),
                _ => {}
            }
        }
        Disk::of(bytes)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Counts an operation, and fails it if its time has come.
    fn operate(&self) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.state();
        let number = state.ops;
        state.ops += 1;
        match state.fault {
            Some((at, Fault::PowerLoss)) if number >= at => state.dead = true,
            Some((at, fault)) if number >= at => {
                state.fault = None;
                match fault {
                    Fault::Error(kind) => return Err(kind.into()),
                    Fault::DroppedPages => {
                        state.bytes = state.durable.clone();
                        state.unsynced.clear();
                        return Err(io::Error::other("a sync failed, and what it should have written is gone"));
                    }
                    _ => {
                        drop(state);
                        panic!("the disk panics, as it was told");
                    }
                }
            }
            _ => {}
        }
        if state.dead { Err(io::Error::other("the power is off")) } else { Ok(state) }
    }
}

fn write(bytes: &mut Vec<u8>, offset: usize, data: &[u8]) {
    if bytes.len() < offset + data.len() {
        bytes.resize(offset + data.len(), 0);
    }
    bytes[offset..offset + data.len()].copy_from_slice(data);
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state().bytes.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut state = self.state();
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
        let there = state.bytes.get(offset..offset + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(there);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.operate()?;
        state.bytes.resize(len as usize, 0);
        state.unsynced.push(Op::Length(len as usize));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.operate()?;
        state.syncs += 1;
        state.durable = state.bytes.clone();
        state.unsynced.clear();
        for listener in state.listeners.drain(..) {
            let _ = listener.send(());
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.operate()?;
        write(&mut state.bytes, offset as usize, data);
        state.unsynced.push(Op::Write(offset as usize, data.to_vec()));
        Ok(())
    }
}
