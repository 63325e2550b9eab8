//! What can go wrong: at the opening ([`OpenError`]), with a journal ([`JournalFault`]), with a file that is not where it was, and with
//! a commit.

mod astray;
mod failure;
mod fault;
mod open;

pub(crate) use astray::Astray;
pub(crate) use failure::{
    failed, in_doubt, is_disk_full, is_no_room, kills_the_handle, panicked, replaced, unmade, unreadable_record,
    unwritten,
};
pub use fault::JournalFault;
pub use open::OpenError;
