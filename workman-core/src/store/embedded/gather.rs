//! Going through a stretch of the index, a bounded number of entries at a time.

use super::super::StoreError;
use super::Rows;
use crate::id::WorkId;
use crate::index::{IndexKey, IndexRange};
use crate::plan::List;

/// How many entries are read at a time while looking for those that fit.
const STRIDE: usize = 256;

/// How far a look through the index goes that finds little.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Looks {
    /// So many that others get their turn.
    Bounded,
    /// As many as it takes.
    All,
}

/// How many entries a bounded selection or page looks at, found or not; more only where more than this are wanted. A list that
/// was cut short by it says where to go on, even if nothing was found.
pub(super) const LOOK_LIMIT: usize = 4_096;

/// Entries that were gone through.
#[derive(Default)]
pub(super) struct Gathered {
    pub(super) ids: Vec<WorkId>,
    /// The last one, if there may be more.
    pub(super) next: Option<IndexKey>,
    /// The first one that was not asked for.
    pub(super) beyond: Option<IndexKey>,
}

impl Gathered {
    /// As a plan sees it.
    pub(super) fn list(self) -> List {
        List { ids: self.ids, next: self.next, ..List::default() }
    }
}

/// Whether a list ends with its last entry, or looks for the one behind it.
#[derive(Clone, Copy)]
pub(super) enum Peek {
    Nothing,
    Beyond,
}

/// Goes through a stretch until `fits` has said yes `limit` times, an entry is not `asked` for, or it has passed over enough. So
/// entries that fit nothing hold up nobody behind them.
pub(super) fn gather(
    rows: &impl Rows,
    range: IndexRange,
    (limit, peek): (usize, Peek),
    asked: impl Fn(&IndexKey) -> bool,
    fits: &mut dyn FnMut(&IndexKey) -> Result<bool, StoreError>,
) -> Result<Gathered, StoreError> {
    let more = match peek {
        Peek::Nothing => 0,
        Peek::Beyond => 1,
    };
    let (mut found, mut passed) = (Gathered::default(), 0);
    let mut wanted = limit.saturating_add(more);
    let mut last = range.after.clone();
    loop {
        let keys = rows.scan(&range.clone().after(last), wanted)?;
        for key in &keys {
            if !asked(key) || found.ids.len() >= limit {
                found.beyond = Some(key.clone());
                return Ok(found);
            }
            found.next = Some(key.clone());
            if fits(key)? {
                found.ids.push(key.id());
            } else {
                passed += 1;
            }
        }
        if keys.len() < wanted {
            found.next = found.next.filter(|_| found.ids.len() >= limit);
            return Ok(found);
        }
        if (more == 0 && found.ids.len() >= limit) || passed >= LOOK_LIMIT {
            return Ok(found);
        }
        last = found.next.clone();
        wanted = (limit - found.ids.len()).saturating_add(more).max(STRIDE);
    }
}

/// Goes through stretches of the index behind `after` until `wanted` has said yes `limit` times, or it has looked at enough.
/// Answers the last entry it looked at if there may be more.
pub(super) fn each_entry(
    rows: &impl Rows,
    ranges: Vec<IndexRange>,
    after: Option<&IndexKey>,
    limit: usize,
    looks: Looks,
    wanted: &mut dyn FnMut(&IndexKey) -> Result<bool, StoreError>,
) -> Result<Option<IndexKey>, StoreError> {
    let (mut found, mut looked) = (0, 0);
    let look_limit = match looks {
        Looks::Bounded => limit.max(LOOK_LIMIT),
        Looks::All => usize::MAX,
    };
    for range in ranges {
        if after.is_some_and(|after| *after > range.last) {
            continue;
        }
        let mut last = after.filter(|after| **after >= range.first).cloned();
        loop {
            let keys = rows.scan(&range.clone().after(last), STRIDE)?;
            for key in &keys {
                found += usize::from(wanted(key)?);
                looked += 1;
                if found >= limit || looked >= look_limit {
                    return Ok(Some(key.clone()));
                }
            }
            match keys.last() {
                Some(key) if keys.len() == STRIDE => last = Some(key.clone()),
                _ => break,
            }
        }
    }
    Ok(None)
}
