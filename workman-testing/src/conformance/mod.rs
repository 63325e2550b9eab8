//! The contract of [`Store`](workman_core::store::Store) as tests: one function a sentence, cited by clause number.
//!
//! Whoever writes a store writes a [`StoreFactory`] and one line,
//! [`store_conformance!`](crate::store_conformance), and gets a `#[test]` for each sentence of the contract:
//!
//! ```
//! use workman_core::MemoryStore;
//! use workman_testing::conformance::StoreFactory;
//!
//! struct Memory(MemoryStore);
//!
//! impl StoreFactory for Memory {
//!     type Store = MemoryStore;
//!
//!     fn new() -> Self {
//!         Memory(MemoryStore::new())
//!     }
//!
//!     fn open(&self) -> MemoryStore {
//!         self.0.reopen()
//!     }
//! }
//!
//! workman_testing::store_conformance!(Memory);
//! ```
//!
//! The tests know a store by its trait alone, and bring all the time there is: the wall times of their units. They sleep
//! never; a watchdog ends a test whose store says nothing any more.

mod bench;
#[cfg(test)]
mod broken;
mod commits;
mod finished;
mod loading;
mod numbers;
mod ownership;
mod reading;

use workman_core::store::{Dump, Store};

pub use commits::*;
pub use finished::*;
pub use loading::*;
pub use numbers::*;
pub use ownership::*;
pub use reading::*;

/// A place in which one store lives: a file, a schema, a piece of memory.
///
/// Only the first two verbs are needed. The others let the suite see more than [`Store`] shows; their defaults skip what
/// can't be tested without them.
pub trait StoreFactory: Send + Sync + 'static {
    /// The store.
    type Store: Store;

    /// A new place, with nothing in it.
    fn new() -> Self
    where
        Self: Sized;

    /// Opens the store. The suite ends the opening before it first, by [`Store::close`] or by [`kill`](Self::kill).
    /// What was acknowledged must be there again.
    fn open(&self) -> Self::Store;

    /// Ends an opening as the death of its process does: nobody calls `close`. The default drops it.
    fn kill(&self, store: Self::Store) {
        drop(store);
    }

    /// Tries to open the store a second time while `first` is open, as another process would. `None` is "refused", and the
    /// default, for stores that can't be asked.
    fn open_beside(&self, first: &Self::Store) -> Option<Self::Store> {
        let _ = first;
        None
    }

    /// Makes the next commit fail, with an error that the suite then takes at its word. The default can't, and says so.
    fn fail_next_commit(&self, store: &Self::Store) -> FaultInjected {
        let _ = store;
        FaultInjected::No
    }

    /// Everything that is stored, for the invariants. The default knows no way.
    fn dump(&self, store: &Self::Store) -> Option<Dump> {
        let _ = store;
        None
    }
}

/// Whether [`StoreFactory::fail_next_commit`] could do what it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultInjected {
    /// The next commit fails.
    Yes,
    /// This factory has no means to make commits fail.
    No,
}

/// One sentence of the contract, as a test.
pub struct Clause<F> {
    /// Its name, which begins with the number of the clause.
    pub name: &'static str,
    /// Panics when the store in this new and empty place breaks it.
    pub check: fn(&F),
}

/// Hands the names of all clauses to another macro: the one list from which the tests are made.
#[doc(hidden)]
#[macro_export]
macro_rules! __each_store_clause {
    ($callback:path { $($head:tt)* }) => {
        $callback! {
            $($head)*
            c01_a_call_is_one_commit
            c01_a_reader_never_sees_half_a_call
            c02_acknowledged_work_survives_the_death_of_the_process
            c03_units_run_in_order_and_see_each_other
            c03_a_call_sees_every_commit_acknowledged_before
            c04_a_refusal_touches_its_own_unit_only
            c04_a_refused_unit_leaves_no_trace
            c05_a_failed_commit_says_what_became_of_it
            c05_units_may_be_sent_again
            c06_a_call_that_writes_nothing_is_no_commit
            c07_a_dropped_call_still_happens
            c08_calls_from_many_threads_lose_nothing
            c08_a_work_is_claimed_by_one_thread_only
            c08_a_unique_name_has_one_holder
            c08_prerequisites_that_finish_at_once_release_once
            c09_store_time_is_the_wall_time_of_the_unit
            c09_store_time_never_runs_backwards
            c09_store_time_never_runs_backwards_across_openings
            c09_a_clock_that_is_set_right_after_the_opening_moves_nothing
            c09_an_override_is_due_by_the_wall_clock_as_it_stands
            c09_a_reading_that_can_not_be_true_leaves_nothing_behind
            c09_work_is_due_in_store_time
            c10_sequence_numbers_are_handed_out_once_and_grow
            c10_refused_units_use_no_numbers
            c10_a_pair_of_worker_and_constraints_has_one_lane
            c10_expedited_work_has_a_lane_of_its_own
            c10_epochs_are_handed_out_once_across_openings
            c11_a_plan_walks_as_far_as_it_must
            c11_a_plan_sees_the_state_inside_the_commit
            c11_a_wide_release_is_drained_before_the_next_claim
            c12_ready_work_comes_by_priority_and_place_in_line
            c12_a_claim_takes_no_more_than_there_is_room_for
            c12_due_work_comes_when_it_is_due
            c12_selections_go_on_where_they_ended
            c12_finished_work_comes_by_the_time_that_it_asked_for
            c13_failed_work_that_is_tried_again_is_unfinished_everywhere
            c12_finished_work_comes_in_pages_that_say_where_to_go_on
            c12_a_closed_lane_is_never_read
            c13_every_move_moves_the_indexes
            c13_an_update_moves_the_labels
            c13_the_members_of_a_name_are_found_by_where_they_stand
            c13_what_has_lost_its_name_is_found_by_all_else
            c13_an_update_in_place_moves_tags_and_lane_and_no_edge
            c14_deleted_work_is_found_nowhere
            c14_a_deleted_id_begins_anew
            c13_the_reason_of_a_cancellation_is_kept_and_goes_on_after_a_new_opening
            c14_pruned_work_is_found_nowhere
            c15_what_was_written_comes_back
            c15_every_wish_of_a_request_comes_back
            c15_what_workers_said_comes_back
            c15_attempts_say_which_generation_ran
            c15_bystanders_never_change
            c16_a_query_shows_what_was_acknowledged_before
            c16_pages_are_no_longer_than_asked_and_reach_everything_once
            c16_pages_reach_what_did_not_move_while_others_move
            c16_queries_are_or_inside_a_list_and_and_across
            c16_one_page_looks_at_as_much_as_it_takes
            c16_what_is_left_out_is_not_said_to_be_missing
            c16_times_and_errors_are_asked_for_in_any_index
            c16_counts_are_those_of_the_works
            c16_kept_counts_follow_every_move
            c16_an_exclusive_store_shows_no_later_commit_than_it_says
            c16_a_page_says_when_everything_was_last_cancelled
            c17_every_commit_is_announced_once_in_order
            c17_a_commit_is_announced_after_it_can_be_seen
            c17_a_subscriber_misses_nothing_from_its_subscription_on
            c17_a_slow_subscriber_is_told_what_it_missed
            c17_hints_are_announced
            c18_a_second_opening_is_refused_or_shares
            c18_claims_of_an_earlier_opening_are_dead
            c19_what_was_acknowledged_is_there_after_close_and_open
            c20_a_closed_store_answers_closed_and_writes_nothing
            c20_change_streams_end_with_the_store
        }
    };
}

macro_rules! clause_list {
    ($($name:ident)*) => {
        /// All tests of the suite.
        #[must_use]
        pub fn clauses<F: StoreFactory>() -> Vec<Clause<F>> {
            vec![$(Clause { name: stringify!($name), check: $name::<F> }),*]
        }
    };
}

crate::__each_store_clause!(clause_list {});

/// Makes the tests of one store, given its [`StoreFactory`](crate::conformance::StoreFactory): a `#[test]` for each sentence of the
/// contract, each in a new and empty place.
///
/// ```text
/// // tests/conformance.rs
/// workman_testing::store_conformance!(MyFactory);
/// ```
///
/// The module [`conformance`](crate::conformance) has a whole example.
#[macro_export]
macro_rules! store_conformance {
    ($factory:ty) => {
        $crate::__each_store_clause!($crate::__store_clause_tests { $factory; });
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __store_clause_tests {
    ($factory:ty; $($name:ident)*) => {$(
        #[test]
        fn $name() {
            $crate::conformance::$name(&<$factory as $crate::conformance::StoreFactory>::new());
        }
    )*};
}
