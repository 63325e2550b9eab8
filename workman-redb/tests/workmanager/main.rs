//! WorkManager's own test cases, on the memory store and on redb, through the public interface and the virtual clock.
//!
//! Each case is told as a sentence in the comment of the test that it became, and each test covers the neighbourhood of its case.
//! The lists have a line for each case that was taken from the suite (AndroidX 2.10 to 2.12), by its class and its number or name:
//! the tests, or the reason for which there is none. Dn is a line of what is changed on purpose, in `workman-core/docs/rules.md`;
//! what is "later" comes with the work on that subject.
//!
//! # WorkManagerImplTest, WorkManagerImplTestKt, WorkManagerImplLargeExecutorTest
//! - 1: changed: D16, there is no global instance to ask for
//! - 2: changed: D16, the builder is the configuration and is used up by `start`
//! - 4: `requests::the_workers_name_is_a_tag_beside_those_of_the_request`
//! - 5: `requests::obs_5_many_works_in_one_call_are_stored_together_and_none_is_refused`
//! - 7: `chains::dep_1_prerequisites_are_the_direct_ones_in_the_order_of_declaration`
//! - 8: `chains::dep_5_what_goes_on_behind_an_enqueued_chain_is_born_as_that_stands_now`
//! - 10: `chains::dep_5_what_goes_on_behind_an_enqueued_chain_is_born_as_that_stands_now`
//! - 11: `requests::constraints_come_back_from_the_store_and_do_not_leak_down_a_chain`
//! - 13: `requests::bo_3_each_work_of_a_chain_backs_off_on_its_own_terms`
//! - 14: `requests::the_workers_name_is_a_tag_beside_those_of_the_request`
//! - 16: `times::nrt_4_a_delay_counts_from_the_enqueue_and_not_from_the_making_of_the_request`
//! - 17: `times::nrt_4_a_delay_counts_from_the_enqueue_and_not_from_the_making_of_the_request`
//! - 19: `unique::unq_9_periodic_keep_keeps_what_lives_and_replaces_what_is_over`
//! - 20: `unique::unq_7_replace_deletes_all_of_the_old_and_the_name_is_the_new_chains`,
//!   `unique::unq_6_and_unq_7_replace_stops_what_runs_and_drops_its_result`
//! - 22: `unique::unq_1_keep_drops_the_whole_new_chain_while_the_old_work_is_enqueued_or_runs`
//! - 23: `unique::unq_9_periodic_keep_keeps_what_lives_and_replaces_what_is_over`
//! - 25: `unique::unq_9_periodic_keep_keeps_what_lives_and_replaces_what_is_over`, `unique::unq_1_keep_replaces_what_is_finished`
//! - 26: `unique::unq_10_update_keeps_the_stored_id_and_the_place_in_the_series`
//! - 28: `unique::unq_10_update_of_a_free_name_or_a_cancelled_work_enqueues`
//! - 29: `unique::unq_10_update_of_a_name_that_one_time_work_holds_is_refused`
//! - 31: `unique::a_list_that_is_appended_waits_side_by_side`
//! - 32: `unique::what_is_appended_waits_for_the_leaves_only`
//! - 34: `unique::unq_4_append_or_replace_starts_over_where_a_leaf_ended_badly`
//! - 35: `unique::append_or_replace_appends_while_nothing_ended_badly`
//! - 37: `query::obs_2_a_work_is_found_by_its_id_and_an_unknown_one_is_none`
//! - 38: `query::obs_2_a_work_is_found_by_its_id_and_an_unknown_one_is_none`
//! - 40: `times::interval_and_flex_come_back_from_the_store`
//! - 41: `query::obs_2_a_work_is_found_by_its_id_and_an_unknown_one_is_none`
//! - 43: `query::obs_2_works_are_found_by_tag_and_by_name_and_unknown_ones_are_an_empty_list`
//! - 44: `query::obs_2_works_are_found_by_tag_and_by_name_and_unknown_ones_are_an_empty_list`
//! - 46: `cancel::can_1_a_work_is_cancelled_by_its_id_and_no_other`
//! - 47: `cancel::can_1_and_dep_3_dependents_are_cancelled_with_it_and_what_is_finished_stays`
//! - 49: `cancel::can_1_all_works_with_a_tag_are_cancelled`
//! - 50: `cancel::can_1_and_dep_3_a_tag_takes_dependents_along_and_no_other_prerequisite`
//! - 52: `cancel::can_1_a_name_is_cancelled_but_for_what_is_finished`
//! - 53: `cancel::can_1_everything_is_cancelled_but_for_what_is_finished`
//! - 55: `observe::can_5_the_last_cancel_all_is_told_with_its_time_and_is_kept`
//! - 56: `cancel::rec_6_and_data_6_prune_deletes_all_finished_work_that_nothing_unfinished_waits_for`
//! - 58: `backoff::rec_1_what_ran_when_the_process_died_runs_again`
//! - 59: `cancel::rec_6_finished_work_goes_a_day_after_its_end_and_unfinished_work_never` (D11)
//! - 61: android: boot receiver component
//! - 62: android: worker swapped by API level
//! - 64: android: worker swapped by API level
//! - 65: android: worker swapped by API level
//! - 67: android: worker swapped by API level
//! - 68: android: worker swapped by API level
//! - 70: `periodic::per_6_a_worker_may_set_its_own_next_run_from_inside_the_run`
//! - 71: `periodic::per_6_an_override_goes_with_keep_and_update_only`
//! - 73: `periodic::per_6_an_override_goes_with_keep_and_update_only`
//! - 74: `periodic::per_6_a_worker_may_set_its_own_next_run_from_inside_the_run`
//! - 76: `times::nrt_4_the_next_run_is_told_while_work_is_enqueued_and_only_then`
//! - 77: `times::nrt_4_the_next_run_is_told_while_work_is_enqueued_and_only_then`
//! - Kt 1: `observe::can_5_the_last_cancel_all_is_told_with_its_time_and_is_kept`
//! - Large 1: `workers::sch_6_no_more_run_at_once_than_there_are_slots_and_each_runs_once` (D13)
//!
//! # WorkContinuationImplTest
//! - 2: `chains::obs_2_a_chain_tells_all_of_its_works`
//! - 3: `chains::dep_1_a_chain_is_stored_in_one_commit_and_runs_in_its_order`
//! - 5: `chains::dep_1_a_chain_is_stored_in_one_commit_and_runs_in_its_order`
//! - 6: `chains::unq_8_a_chain_that_is_enqueued_again_is_the_same_works`
//! - 8: `chains::dep_7_and_dep_9_chains_that_share_works_are_joined_and_each_work_is_one`
//! - 9: `chains::dep_7_and_dep_9_chains_that_share_works_are_joined_and_each_work_is_one`
//! - 11: `chains::dep_7_a_work_that_waits_for_itself_is_refused_and_nothing_is_stored`
//! - 12: `chains::dep_7_a_work_that_waits_for_itself_is_refused_and_nothing_is_stored`
//! - 14: `chains::dep_7_a_work_that_waits_for_itself_is_refused_and_nothing_is_stored`
//! - 15: `chains::dep_7_and_dep_9_chains_that_share_works_are_joined_and_each_work_is_one`
//! - 17: `chains::dep_7_and_dep_9_chains_that_share_works_are_joined_and_each_work_is_one`
//! - 18: `chains::obs_2_a_chain_tells_all_of_its_works`
//!
//! # WorkManagerInitializationTest, WorkManagerDirectBootTest
//! - Initialization 1, 2: android: device-protected storage; a store that can not be opened is an error of `open`:
//!   `tests/opening.rs`
//! - DirectBoot 1, 4: android: device locked at boot
//! - DirectBoot 2, 5: changed: D16, there is no global instance
//!
//! # WorkerWrapperTest, WorkerWrapperTestKt, ControlledWorkerWrapperTest
//! - 2: `backoff::bo_5_every_start_is_a_run_and_only_a_failed_attempt_is_a_failure`
//! - 3: `backoff::bo_5_every_start_is_a_run_and_only_a_failed_attempt_is_a_failure`
//! - 5: changed: a worker is a function, there is no object to use twice
//! - 6: `workers::sm_8_work_is_running_while_its_body_runs_and_runs_once`
//! - 8: `workers::rec_5_work_of_an_unknown_worker_waits_for_it_and_counts_no_attempt` (D9)
//! - 9: changed: a merger is a value of the request and never unknown
//! - 11: `chains::dep_2_and_dep_3_a_deep_chain_ends_as_its_root_does`
//! - 12: `workers::sm_8_work_is_running_while_its_body_runs_and_runs_once`
//! - 14: `data::data_1_and_data_3_outputs_of_all_prerequisites_are_merged`
//! - 15: `chains::dep_1_a_dependent_is_enqueued_when_it_is_unblocked_and_its_delay_counts_from_there`
//! - 17: `chains::dep_2_a_failure_fails_all_dependents_but_those_that_were_cancelled`
//! - 18: `backoff::bo_2_work_that_backs_off_does_not_run_before_its_time_whatever_happens`
//! - 20: `periodic::sm_7_a_failed_period_does_not_end_the_series`
//! - 21: `periodic::per_5_a_success_ends_the_period_and_the_next_begins_with_attempt_zero`
//! - 23: `periodic::per_5_a_retry_stays_in_its_period_and_backs_off`
//! - 24: `periodic::sm_2_a_period_does_not_run_twice`
//! - 26: `periodic::per_6_and_nrt_1_an_override_puts_off_the_next_run_once`
//! - 27: `periodic::per_6_a_retry_of_an_overridden_run_backs_off_from_its_end`
//! - 29: `periodic::per_6_and_nrt_1_an_override_given_during_a_run_beats_its_backoff`
//! - 30: `periodic::per_7_an_override_that_was_cleared_during_the_run_leaves_no_trace`
//! - 32: android: application context; `#[state]` is the program's own: `workman-macros/tests/arguments.rs`
//! - 33: `requests::a_worker_gets_the_input_that_was_stored`
//! - 35: android: content triggers
//! - 36: `workers::can_6_a_stopped_worker_sees_the_reason_that_the_snapshot_tells`
//! - 38: `kinds::a_run_lasts_until_its_completer_is_settled` (a completer that is dropped)
//! - 39: `workers::sm_6_a_panic_is_a_failed_attempt_with_its_text` (D8, D17)
//! - 41: `workers::con_1_what_is_stopped_before_it_begins_never_begins`
//! - 42: `workers::rec_5_work_of_an_unknown_worker_waits_for_it_and_counts_no_attempt` (D9)
//! - 43: `workers::sm_3_work_that_can_not_begin_is_parked_with_its_reason_and_counts_no_attempt` (D9)
//! - 44: `workers::can_6_a_stopped_worker_sees_the_reason_that_the_snapshot_tells`
//! - 46: `requests::a_trace_tag_is_cut_to_127_characters`
//! - 47: `periodic::sm_7_a_failed_period_does_not_end_the_series`
//! - Kt 2: `workers::sm_8_work_is_running_while_its_body_runs_and_runs_once`
//! - Kt 3: `backoff::bo_6_and_con_1_a_lost_constraint_is_no_failed_attempt_and_has_no_backoff`
//! - Kt 5: `backoff::bo_4_the_first_attempt_has_the_number_zero` (a request has no attempts of its own to begin with)
//! - Controlled 1: `workers::con_1_what_is_stopped_before_it_begins_never_begins`
//!
//! # WorkUpdateTest, EnqueueRunnableTest
//! - 1: `update::upd_2_and_upd_3_waiting_work_runs_as_soon_as_its_new_terms_let_it`
//! - 2: `update::upd_4_a_run_goes_on_as_it_began`
//! - 4: `update::upd_1_an_unknown_work_can_not_be_updated`
//! - 5: `update::upd_2_tags_and_everything_else_that_a_request_says_are_replaced`
//! - 7: `update::upd_2_and_upd_3_waiting_work_runs_as_soon_as_its_new_terms_let_it`
//! - 8: `update::upd_3_and_sm_9_an_update_deletes_the_progress_of_an_earlier_run`
//! - 10: `update::upd_6_edges_and_names_stay`
//! - 11: `update::upd_6_edges_and_names_stay`
//! - 13: `update::upd_1_what_runs_once_can_not_become_periodic_nor_the_other_way_round`
//! - 14: `update::upd_1_what_runs_once_can_not_become_periodic_nor_the_other_way_round`
//! - 16: `update::upd_5_the_place_in_the_series_stays`
//! - 17: `update::upd_2_failed_attempts_stay`
//! - 19: android: worker swapped by API level
//! - 20: `update::upd_2_each_update_raises_the_generation_that_worker_and_snapshot_tell`
//! - 22: `update::per_6_and_per_7_the_last_override_counts_and_clearing_falls_back_to_the_period`
//! - 23: `update::nrt_1_and_bo_8_an_override_beats_the_backoff_and_the_failed_attempts_stay`
//! - 25: `update::per_6_and_per_7_the_last_override_counts_and_clearing_falls_back_to_the_period`
//!   (an override has no generation of its own)
//! - EnqueueRunnableTest 1: `unique::unq_1_keep_drops_the_whole_new_chain_while_the_old_work_is_enqueued_or_runs`
//!
//! # StopReasonTest (three classes)
//! - Java 2: `workers::stop_reasons_have_the_codes_of_workmanager`
//! - Java 3: `workers::stop_reasons_have_the_codes_of_workmanager`
//! - Kotlin 2: `workers::can_6_a_stopped_worker_sees_the_reason_that_the_snapshot_tells`
//! - Kotlin 3: `backoff::can_2_a_cancelled_run_is_told_and_says_why`
//! - testStopReasonPropagated: `workers::can_6_a_stopped_worker_sees_the_reason_that_the_snapshot_tells`
//! - testGetStopReasonWhileRunning: `workers::can_6_a_stopped_worker_sees_the_reason_that_the_snapshot_tells`
//! - testStopReasonWhenCancelledPreRun: `cancel::can_1_a_work_is_cancelled_by_its_id_and_no_other`
//!
//! # TestSchedulerTest, TestSchedulerRealExecutorTest (D15)
//! - withDependentWork (both): `chains::dep_1_a_chain_is_stored_in_one_commit_and_runs_in_its_order`
//! - withConstraints_shouldNoOp: `backoff::con_1_work_does_not_begin_before_its_constraint_is_met`
//! - withInitialDelay (2): `requests::nrt_4_an_initial_delay_is_kept_to_the_millisecond`
//! - withPeriod_cancelAndResume: `cancel::sm_1_cancelled_periodic_work_never_runs_again`
//! - withPeriodDelay (both): `periodic::per_3_it_runs_once_in_each_period_and_is_never_finished`
//! - testOverrideWorker_doesntRunYet: `periodic::per_6_and_nrt_1_an_override_puts_off_the_next_run_once`
//! - ..initialDelayMet_doesntRun: `periodic::per_6_an_override_takes_the_place_of_delay_and_flex_and_one_in_the_past_means_now`
//! - ..afterExpiring: `periodic::per_6_and_nrt_1_an_override_puts_off_the_next_run_once`
//! - withPeriodicWorkerFlex: `periodic::per_2_and_per_4_with_flex_the_first_run_is_in_the_last_part_of_its_period`
//! - testWorkerUnique (both): `unique::of_two_replacing_requests_the_second_runs_when_its_delay_is_over`
//! - ..throwsExceptionWhenSetPeriodDelayMet: later: with the driver's verbs for single works
//! - ..MultiThreaded_noDeadLock: `workers::many_callers_at_once_are_all_served`
//! - testOneTimeWorkerRetry (both): `backoff::bo_2_work_that_backs_off_does_not_run_before_its_time_whatever_happens`
//! - testStopWorkerWithReason: `backoff::bo_6_and_con_1_a_lost_constraint_is_no_failed_attempt_and_has_no_backoff`
//! - real executor, withPeriodicWorkerWithInitialDelay: `periodic::per_2_the_initial_delay_counts_for_the_first_run_only`
//! - real executor, afterSuccessfulRun: `workers::sm_1_nothing_makes_finished_work_run_again`
//! - real executor, setAllConstraintsDontTriggerSecondRun: `periodic::sm_2_a_period_does_not_run_twice`
//! - real executor, testPeriodicWorkerRetry: `periodic::per_5_a_retry_stays_in_its_period_and_backs_off`
//!
//! # TestWorkerBuilderTest, WorkManagerTestInitHelperTest
//! - builds, testBuilder, executor, extension (5): `workers::a_worker_alone_gets_its_request_and_what_the_test_chooses`
//! - usesWorkerFactory: changed: workers are functions, there is no factory
//! - initialized (2): changed: D16; every option of a test is one of `TestDriver`
//!
//! # WorkSpecTest, WorkSpecDaoTest, RawWorkInfoDaoTest, WorkConstraintsDaoTest
//! - firstRun (2), nextRun_withInitialDelay: `times::nrt_3_and_per_2_the_first_run_is_due_after_its_delay_and_in_its_flex`
//! - nextRun_withFlexNotApplicable: `times::per_3_and_per_4_later_runs_are_one_interval_after_the_end_of_the_run_before`
//! - rerunAttempt (3): `times::bo_2_attempts_are_repeated_at_the_exact_delays_of_their_policy`,
//!   `requests::with_androids_limits_a_backoff_is_at_least_ten_seconds`
//! - testWorkSpecsForInserting: `query::obs_3_finished_and_distant_work_is_found_after_a_restart`
//! - testScheduledWorkSpecCount, ..AlreadyScheduled..: `workers::sch_3_only_what_runs_holds_a_slot` (D13)
//! - content URIs (2), network request (2): android: content providers, network capabilities
//! - namesOnly, idsOnly, tagsOnly, statesOnly: `query::a_list_in_a_query_means_any_of_it`
//! - idsAndTags, statesAndTags, idsAndName, tagsAndName, ..: `query::several_lists_in_a_query_must_all_be_met`
//! - invalidWorkQuery: `query::a_query_that_asks_for_nothing_means_all_works` (changed: it means all)
//!
//! # Requests
//! - PeriodicWorkTest, backoffAndIdleMode: `requests::a_backoff_and_an_idle_machine_do_not_go_together`
//! - PeriodicWorkTest, interval and flex (5): `requests::with_androids_limits_interval_and_flex_are_raised_and_cut`,
//!   `requests::per_1_without_limits_any_interval_is_kept_and_nonsense_is_refused`
//! - OneTimeWorkRequestTest, defaults: `data::a_request_that_names_no_merger_merges_nothing` (changed: outputs are taken by type)
//! - PeriodicWorkRequestTest, builders (3): `requests::with_androids_limits_interval_and_flex_are_raised_and_cut`
//! - PeriodicWorkRequestTest, nextScheduleTimeOverride (2): `requests::per_6_an_override_is_kept_and_the_last_moment_is_refused`
//! - WorkRequestTest, expedited (2): `requests::expedited_work_waits_for_network_and_storage_only_and_not_for_later`
//! - WorkTest, similar specs: `requests::unq_8_requests_made_alike_differ_in_their_ids_only_and_a_clone_is_the_same_work`
//! - WorkTest, initial delay (3): `requests::nrt_4_an_initial_delay_is_kept_to_the_millisecond`,
//!   `requests::what_reaches_the_end_of_time_is_refused_by_the_name_of_its_field`
//! - WorkTest, backoff (2): `requests::bo_2_a_backoff_is_kept_as_it_was_asked_for_up_to_its_ceiling`,
//!   `requests::with_androids_limits_a_backoff_is_at_least_ten_seconds`
//! - WorkTest, expedited (3): `requests::expedited_work_waits_for_network_and_storage_only_and_not_for_later`
//! - ConstraintsTest, network specifier: android: network capabilities
//!
//! # Data and mergers
//! - DataTest, size, serialize, putAll (5): `data::every_kind_of_value_comes_back_as_it_was`
//! - DataTest, past max size (2): `data::data_4_the_limit_is_checked_at_the_enqueue_and_at_the_end_of_the_run`
//! - DataTest, equals (5): `data::equal_inputs_are_equal_and_other_ones_are_not`
//! - DataTest on a device: `data::a_value_of_another_kind_is_an_error_and_no_default`
//! - ArrayCreatingInputMergerTest (4): `data::data_3_values_of_one_key_are_joined_in_order`,
//!   `data::data_3_and_data_5_values_of_different_types_park_the_work_with_the_key`
//! - OverwritingInputMergerTest: `data::data_2_of_one_key_the_last_value_counts_in_the_order_of_declaration`
//! - InputMergerFactoryTest (2): changed: a merger is a value, there is no factory
//!
//! # Schedulers
//! - GreedySchedulerTest, startsPeriodicWorkRequests:
//!   `times::nrt_3_and_per_2_the_first_run_is_due_after_its_delay_and_in_its_flex`
//! - GreedySchedulerTest, startsDelayedWork: `requests::nrt_4_an_initial_delay_is_kept_to_the_millisecond`
//! - GreedySchedulerTest, ignoresIdleWorkConstraint: changed: D19, a constraint that nobody observes is refused
//! - GreedySchedulerTest, startsWorkWhenConstraintsMet: `backoff::con_1_work_does_not_begin_before_its_constraint_is_met`
//! - GreedySchedulerTest, constraintsAreAddedAndRemovedForTracking: later: with the sensors
//! - GreedySchedulerTest, executionListener, otherProcess: changed: D1, there is one engine for each manager
//! - GreedySchedulerTest, throttleWork: changed: D2, a failed attempt has its backoff and no throttle beside it
//! - GreedySchedulerTimeoutTest, testWorkerTimesout:
//!   `workers::sch_4_an_attempt_that_takes_too_long_is_stopped_and_is_a_failed_one`
//! - SchedulersTest, runDependency: `chains::dep_1_a_chain_goes_on_in_the_next_process`
//! - SchedulersTest, interruptionReschedules: `backoff::bo_6_and_con_1_a_lost_constraint_is_no_failed_attempt_and_has_no_backoff`
//! - SchedulersTest, periodicReschedules: `periodic::per_3_it_runs_once_in_each_period_and_is_never_finished`
//! - CoroutineRunnableSchedulerTest (2): `requests::nrt_4_an_initial_delay_is_kept_to_the_millisecond`,
//!   `workers::con_1_what_is_stopped_before_it_begins_never_begins`
//! - SerialExecutorTest: changed: one writer of the store takes the place of a serial executor: `tests/group_commit.rs`
//! - ContentUriTriggerWorkersTest: android: content triggers
//! - ListenableFutureTest (2): changed: an enqueue is not withdrawn by dropping its future:
//!   `workman-core/tests/promise_engine.rs`
//!
//! # Constraints
//! - WorkConstraintsTrackerTest (3), ConstraintControllerTest, ConstraintTrackerTest (5): later: with the sensors; what a lost
//!   and a met constraint do is in `backoff`
//! - ConstraintTrackingWorkerTest, testSelfCancellingWorker: `workers::an_end_that_is_no_answer_to_a_stop_counts_as_what_it_is`
//! - ConstraintTrackingWorkerTest, onConstraintsNotMet: `backoff::con_1_work_does_not_begin_before_its_constraint_is_met`
//! - ConstraintTrackingWorkerTest, onConstraintsChanged:
//!   `backoff::bo_6_and_con_1_a_lost_constraint_is_no_failed_attempt_and_has_no_backoff`
//! - ConstraintTrackingWorkerTest, stopPropagated:
//!   `backoff::bo_6_and_con_1_a_lost_constraint_is_no_failed_attempt_and_has_no_backoff`
//! - NetworkRequest.., NetworkStateTracker.., BatteryNotLowTrackerTest (9): later: sensors of the system, with the sensors
//!
//! # ForceStopRunnableTest
//! - ReschedulesOnForceStop, reconcileJobs: android: jobs of the system
//! - doNothingWhenNotForceStopped: `workers::rec_1_a_start_changes_nothing_that_did_not_run`
//! - UnfinishedWork_getsScheduled: `backoff::rec_1_what_ran_when_the_process_died_runs_again`
//! - exceptions at the start (3): changed: D10; `open` and `start` answer errors: `tests/opening.rs`
//! - directBoot: android: device encryption state
//!
//! # Observation
//! - WorkInfoFlowsTest, flowById: `observe::obs_1_a_watched_id_shows_each_change_of_it_and_nothing_else`
//! - WorkInfoFlowsTest, flowByName: `observe::obs_1_a_watched_name_shows_the_works_of_that_name`
//! - WorkInfoFlowsTest, flowByTag: `observe::obs_1_a_watched_tag_shows_the_works_with_that_tag`
//! - WorkInfoTest, generation: `observe::obs_1_equal_snapshots_are_shown_once_and_a_change_of_any_field_is_news`
//! - WorkInfoTest, stop reason: `observe::obs_1_another_stop_reason_is_another_snapshot`
//! - LiveDataUtilsTest: `observe::obs_1_equal_snapshots_are_shown_once_and_a_change_of_any_field_is_news`
//!
//! # Workers
//! - DelegatingWorkerFactoryTest (2): changed: workers are functions in one registry, and two of one name are refused
//! - CoroutineWorkerTest, cancellingFutureCancelsJob: `workers::can_6_a_stopped_worker_sees_the_reason_that_the_snapshot_tells`
//! - CoroutineWorkerTest, testProgressUpdates: `observe::sm_9_progress_is_shown_while_it_runs_and_gone_when_it_ends`
//! - WorkProgressUpdaterTest: `observe::sm_9_progress_after_the_end_is_refused`
//! - DefaultWorkerFactoryTest: `workers::a_worker_is_told_which_work_it_runs`
//! - ResultTest (3): `workers::each_answer_ends_the_work_as_it_says`
//! - ConfigurationExecutorsTest (4): later: with what surrounds a run; `.runtime(..)`: `workman-core/tests/promise_runtimes.rs`
//! - WorkForegroundRunnableTest (2): android: foreground service
//!
//! # Other processes
//! - RemoteWorkManagerClientTest (2), WorkerInRemoteProcessTest, ListenableWorkerImplClientTest (3): android: services of another
//!   process
//! - RemoteListenableWorkerTest, RemoteCoroutineWorkerTest: success, failure, retry:
//!   `kinds::a_run_lasts_until_its_completer_is_settled`
//! - RemoteListenableWorkerTest, stop: `kinds::sm_4_and_can_6_a_stop_reaches_a_completer_and_a_late_answer_is_dropped`
//! - RemoteListenableWorkerTest, unbind (2): android: service connections
//! - ParcelableWorkContinuationImplTest (3): changed: a chain is enqueued by the program that made it
//!
//! # Processor and migrations
//! - ProcessorTests, foreground (4): android: foreground service
//! - ProcessorTests, newGenerationDoesntStopCurrentWorker:
//!   `workers::sm_8_an_update_neither_stops_a_run_nor_starts_another_beside_it`
//! - ProcessorTests, oldGenerationDoesntStart: `update::upd_2_each_update_raises_the_generation_that_worker_and_snapshot_tell`
//! - ProcessorTests, listenerCanModifyList: later: with the stream of events
//! - ProcessorTest, stopWork_invalidWorkId: `cancel::can_4_cancelling_what_is_unknown_or_over_does_nothing`
//! - ProcessorTest, hasWork: `workers::sm_8_work_is_running_while_its_body_runs_and_runs_once`
//! - ProcessorTest, dontCancelWhenNeedsReschedule: superseded upstream
//! - WorkDatabaseMigrationTest (8): changed: D10; files of older builds: `tests/golden.rs`

#![allow(clippy::unwrap_used, reason = "a test says what went wrong by its panic")]

mod backoff;
mod bench;
mod cancel;
mod chains;
mod data;
mod kinds;
mod observe;
mod periodic;
mod query;
mod requests;
mod superseded;
mod suspects;
mod times;
mod unique;
mod update;
mod workers;

/// The lists above don't go stale.
#[test]
fn every_test_in_the_lists_exists() {
    let modules = [
        ("backoff", include_str!("backoff.rs")),
        ("cancel", include_str!("cancel.rs")),
        ("chains", include_str!("chains.rs")),
        ("data", include_str!("data.rs")),
        ("kinds", include_str!("kinds.rs")),
        ("observe", include_str!("observe.rs")),
        ("periodic", include_str!("periodic.rs")),
        ("query", include_str!("query.rs")),
        ("requests", include_str!("requests.rs")),
        ("superseded", include_str!("superseded.rs")),
        ("suspects", include_str!("suspects.rs")),
        ("times", include_str!("times.rs")),
        ("unique", include_str!("unique.rs")),
        ("update", include_str!("update.rs")),
        ("workers", include_str!("workers.rs")),
    ];
    let lists = include_str!("main.rs").lines().filter(|line| line.starts_with("//! -") || line.starts_with("//!   "));
    let cited: Vec<&str> = lists.flat_map(|line| line.split('`').skip(1).step_by(2)).collect();
    let tests = cited.iter().filter_map(|cited| cited.split_once("::"));
    let missing: Vec<(&str, &str)> = tests
        .filter(|(module, test)| {
            let head = format!("#[test]\nfn {test}() {{");
            !modules.iter().any(|(name, text)| name == module && text.contains(&head))
        })
        .collect();
    assert_eq!(missing, []);
    assert!(cited.len() > 200);
}
