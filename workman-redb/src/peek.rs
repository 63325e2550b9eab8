//! [`Peek`]: looks into a file as redb would, and leaves no trace in it.
//!
//! Opening a redb file marks it as open, may repair it, and marks it again when it is closed. Before we know that a file
//! is ours and of a format that we read, nothing may be written to it; so redb's writes stay in memory here.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::{Mutex, MutexGuard, PoisonError};

use redb::StorageBackend;

/// The unit in which writes are kept.
const BLOCK: u64 = 4096;

/// A file under a layer of memory.
#[derive(Debug)]
pub(crate) struct Peek {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    file: File,
    /// Bytes of the file that still count; what lies behind was cut off or never there.
    file_len: u64,
    len: u64,
    written: BTreeMap<u64, Box<[u8]>>,
}

impl Peek {
    pub(crate) fn new(file: File) -> io::Result<Self> {
        let len = file.metadata()?.len();
        Ok(Peek { state: Mutex::new(State { file, file_len: len, len, written: BTreeMap::new() }) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn block(&mut self, number: u64) -> io::Result<Box<[u8]>> {
        if let Some(block) = self.written.get(&number) {
            return Ok(block.clone());
        }
        let mut block = vec![0; BLOCK as usize].into_boxed_slice();
        let start = number * BLOCK;
        let there = self.file_len.saturating_sub(start).min(BLOCK) as usize;
        self.file.seek(SeekFrom::Start(start))?;
        self.file.read_exact(&mut block[..there])?;
        Ok(block)
    }

    /// Goes over a stretch block by block: which part of the block is which part of the stretch.
    fn pieces(
        offset: u64,
        length: usize,
    ) -> impl Iterator<Item = (u64, std::ops::Range<usize>, std::ops::Range<usize>)> {
        let end = offset + length as u64;
        (offset / BLOCK..end.div_ceil(BLOCK)).map(move |number| {
            let (from, to) = (offset.max(number * BLOCK), end.min((number + 1) * BLOCK));
            let within = (from - number * BLOCK) as usize..(to - number * BLOCK) as usize;
            (number, within, (from - offset) as usize..(to - offset) as usize)
        })
    }
}

impl StorageBackend for Peek {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state().len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut state = self.state();
        if offset.saturating_add(out.len() as u64) > state.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        for (number, within, of) in State::pieces(offset, out.len()) {
            out[of].copy_from_slice(&state.block(number)?[within]);
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.state();
        state.len = len;
        state.file_len = state.file_len.min(len);
        state.written.retain(|number, _| number * BLOCK < len);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        for (number, within, of) in State::pieces(offset, data.len()) {
            let mut block = state.block(number)?;
            block[within].copy_from_slice(&data[of]);
            state.written.insert(number, block);
        }
        state.len = state.len.max(offset + data.len() as u64);
        Ok(())
    }
}
