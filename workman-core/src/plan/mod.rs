//! The planner: every decision of workman, pure and synchronous.
//!
//! [`plan`] gets what a store loaded ([`Snapshot`]), a [`Command`] and the store's time, and answers either "I must see
//! this too" ([`Decision::Load`]) or "this is what happens" ([`Decision::Done`]). It knows no store, clock, randomness, thread,
//! log or user code; the same inputs give the same answer. Verbs live in a file each; this one holds the match.

mod answer;
mod by_id;
mod cascade;
mod claim;
mod command;
mod draft;
mod enqueue;
mod followers;
mod gates;
mod limit;
mod periodic;
mod prune;
mod quota;
mod reading;
mod recover;
mod refusal;
mod settle;
mod steer;
mod superseded;
#[cfg(test)]
mod tests;
mod turnstile;
mod unique;
mod update;
mod view;

use crate::time::Timestamp;

pub use answer::{
    Applied, Blame, CASCADE_LIMIT, Claimed, Death, Decision, Enqueued, HISTORY_LIMIT, Hint, NUMBERS_A_PLAN,
    PROMOTE_LIMIT, PRUNE_GRACE, PRUNE_LIMIT, Plan, REASON_LIMIT, RESCUE_LIMIT, RetryReport, SELECT_LIMIT, SHORT_STRIDE,
    StayedFailed, SteerResult, UpdateResult, Write,
};
pub use by_id::{ById, Few};
pub use command::{
    Advice, Barred, BarredName, Cancel, Claim, Command, End, Endurance, Enqueue, FreeSlots, GateCommand, Listed,
    ListedVerb, NewWork, NextScheduleTime, Note, Offer, OnPause, OpenLane, Prune, Retention, Settle, Steering, Stride,
    SuspectsAllowed, Unique, UniquePolicy, WorkerKind,
};
pub(crate) use gates::wrong_with;
pub use gates::{GATE_LIMIT, GateChange, GateLook, GateProblem, GateStatus};
pub use refusal::Refusal;
pub use view::{List, Scope, SelectorWanted, Snapshot, Want};

use view::Halt;

/// Decides what a command does.
///
/// # Errors
/// A [`Refusal`] when the command can't be done; nothing changes then.
pub fn plan(view: &Snapshot, command: &Command, now: Timestamp) -> Result<Decision, Refusal> {
    let decided = match command {
        Command::Enqueue(enqueue) => enqueue::plan(view, enqueue, now),
        Command::Claim(claim) => claim::plan(view, claim, now),
        Command::Settle(settle) => settle::settle(view, settle, now),
        Command::Note(note) => settle::note(view, note, now),
        Command::Cancel(cancel) => cascade::cancel(view, cancel, now),
        Command::Listed(listed) => match &listed.verb {
            ListedVerb::Cancel { because } => cascade::cancel_listed(view, listed, because.as_ref(), now),
            ListedVerb::Prune => prune::listed(view, listed, now),
        },
        Command::Update(work) => update::plan(view, work, now),
        Command::Prune(prune) => prune::plan(view, prune, now),
        Command::Retry(id) => recover::retry(view, *id, now),
        Command::Steer { id, how: Steering::RunNow } => steer::run_now(view, *id, steer::Gates::Keep, now),
        Command::Steer { id, how: Steering::RunNowPastGates } => steer::run_now(view, *id, steer::Gates::Pass, now),
        Command::Steer { id, how: Steering::At(at) } => steer::reschedule(view, *id, *at, now),
        Command::Steer { id, how: Steering::Retry } => steer::retry(view, *id, now),
        Command::Attach => recover::attach(view, now),
        Command::Detach { epoch } => recover::detach(view, *epoch, now),
        Command::Reclaim { epoch, held } => recover::reclaim(view, *epoch, held, now),
        Command::Rescue => recover::rescue(view, now),
        Command::Gate(gate) => limit::plan(view, gate, now),
        Command::Drain => cascade::plan(view, now),
    };
    match decided {
        Ok(plan) => Ok(Decision::Done(plan)),
        Err(Halt::Load(scope)) => Ok(Decision::Load(scope)),
        Err(Halt::Refuse(refusal)) => Err(refusal),
    }
}
