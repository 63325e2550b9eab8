//! `docs/compare.md` has a line for each public feature of WorkManager 2.12, and what it says is shown or explained.

mod sources;

use sources::{read, rust_files};

/// The headings and the features of WorkManager, in the order of its sections. A feature that is added there is added here.
const FEATURES: &str = "\
## 1.1 Defining workers
`ListenableWorker.startWork()`: a future of the result
one worker object for each run
`Worker.doWork()`
`CoroutineWorker.doWork()`
`CoroutineWorker`: a stop cancels the coroutine
`RxWorker.createWork(): Single<Result>` (work-rxjava2, work-rxjava3)
`RxWorker.setCompletableProgress`
`RxWorker.setForeground`, `RxWorker.getForegroundInfo`
`RxWorker` background scheduler
`Result.success()`
`Result.success(Data)`
`Result.failure()`
`Result.failure(Data)`
`Result.retry()`
`getId`
`getInputData`
`getTags`
`getRunAttemptCount`
`getGeneration`
`isStopped`
`onStopped`
`getStopReason`
`setProgress`, `setProgressAsync`
`setForeground`, `setForegroundAsync`
`ForegroundInfo(id, notification, type)`
`getForegroundInfo`, `getForegroundInfoAsync`
`getNetwork`
`getTriggeredContentUris`, `getTriggeredContentAuthorities`
`WorkerFactory`
`DelegatingWorkerFactory`
reflective construction from the class name
`WorkerExceptionInfo`
`setWorkerInitializationExceptionHandler`
`setWorkerExecutionExceptionHandler`
`InputMerger`
`OverwritingInputMerger`
`ArrayCreatingInputMerger`
`InputMergerFactory`
## 1.2 Work requests
`setId(UUID)`
`build()` gives a new id each time
`setConstraints`
`setInputData(Data)`
`addTag`
the worker's class name is a tag
`setInitialDelay`
`setInitialDelay` beyond the end of time is an error
`setInitialDelay` of periodic work
`setBackoffCriteria(LINEAR, delay)`
`setBackoffCriteria(EXPONENTIAL, delay)`
a backoff is clamped to 10 s .. 5 h
`setBackoffForSystemInterruptions`
`setExpedited(OutOfQuotaPolicy)`
`keepResultsForAtLeast`
`setTraceTag`
refused: expedited with charging, device idle, battery not low or a content URI
refused: expedited with an initial delay
refused: a backoff with device idle
refused: periodic and expedited
`OneTimeWorkRequest.Builder(Class)`
`OneTimeWorkRequest.from(Class)`
`OneTimeWorkRequest.from(List<Class>)`
`setInputMerger(Class)`
`PeriodicWorkRequest.Builder(worker, repeatInterval)`
`PeriodicWorkRequest.Builder(worker, repeatInterval, flexInterval)`
an interval is clamped to 15 min, a flex to 5 min .. interval
`setNextScheduleTimeOverride(epochMs)`
`clearNextScheduleTimeOverride()`
constructors with `KClass`
## 1.3 Entry points of WorkManager
`enqueue(request)`
`enqueue(list)`
an empty list is an error
`enqueueUniqueWork(name, policy, request)`
`enqueueUniqueWork(name, policy, list)`
`beginWith(list)`
`beginUniqueWork(name, policy, list)`
`WorkContinuation.then(list)`
`WorkContinuation.then` after `enqueue`
`WorkContinuation.then(emptyList)` is passed over
`WorkContinuation.enqueue()`
the works of one list are siblings
`WorkContinuation.combine(list)`
`WorkContinuation.getWorkInfos`
`WorkContinuation.getWorkInfosLiveData`
`enqueueUniquePeriodicWork(name, policy, request)`
`updateWork(request)`
`cancelWorkById`: a finished work stays, and what depends on it is cancelled
`cancelAllWorkByTag`
`cancelUniqueWork`
`cancelAllWork`
`createCancelPendingIntent(id)`
`pruneWork()`
`getLastCancelAllTimeMillis`
`getLastCancelAllTimeMillisLiveData`
`getWorkInfoById`
`getWorkInfosByTag`
`getWorkInfosForUniqueWork`
`getWorkInfos(WorkQuery)`
the same queries as `LiveData`
the same queries as `Flow`
`LiveData` and `Flow` are de-duplicated
`Operation.getState`: `IN_PROGRESS`
`Operation.getState`: `SUCCESS`
`Operation.getState`: `FAILURE(Throwable)`
`Operation.getResult`
`Operation.await()`
`getInstance(context)`
`initialize(context, configuration)`
`isInitialized()`
`getConfiguration()`
`WorkManagerInitializer`
`ExistingWorkPolicy.REPLACE`
`ExistingWorkPolicy.KEEP`
`ExistingWorkPolicy.APPEND`
`ExistingWorkPolicy.APPEND_OR_REPLACE`
`ExistingPeriodicWorkPolicy.KEEP`
`ExistingPeriodicWorkPolicy.REPLACE`
`ExistingPeriodicWorkPolicy.UPDATE`
`ExistingPeriodicWorkPolicy.CANCEL_AND_REENQUEUE`
`UpdateResult.NOT_APPLIED`
`UpdateResult.APPLIED_IMMEDIATELY`
`UpdateResult.APPLIED_FOR_NEXT_RUN`
## 1.4 Constraints
`NetworkType.NOT_REQUIRED`
`NetworkType.CONNECTED`
`NetworkType.UNMETERED`
`NetworkType.NOT_ROAMING`
`NetworkType.METERED`
`NetworkType.TEMPORARILY_UNMETERED`
`CONNECTED` means a validated connection
`setRequiredNetworkRequest(NetworkRequest, fallbackType)`
`setRequiresCharging`
`setRequiresBatteryNotLow`
`setRequiresDeviceIdle`
`setRequiresStorageNotLow`
`addContentUriTrigger(uri, descendants)`
`setTriggerContentUpdateDelay`
`setTriggerContentMaxDelay`
`Constraints.NONE`
`hasConstraints`
constraints are equal by value
all constraints must hold
## 1.5 Observation
`WorkInfo.id`
`WorkInfo.state`
`WorkInfo.tags`
`WorkInfo.outputData`
`WorkInfo.progress`
`WorkInfo.runAttemptCount`
`WorkInfo.generation`
`WorkInfo.constraints`
`WorkInfo.initialDelayMillis`
`WorkInfo.periodicityInfo` (`repeatIntervalMillis`, `flexIntervalMillis`)
`WorkInfo.nextScheduleTimeMillis`
`WorkInfo.stopReason`, which stays for ever
`WorkInfo.workerClassName`
public constructors for tests
`State.ENQUEUED`
`State.RUNNING`
`State.SUCCEEDED`
`State.FAILED`
`State.BLOCKED`
`State.CANCELLED`
`State.isFinished`
not exposed: unique names, prerequisites, input
not exposed: times of enqueue, start and finish
not exposed: the cause of a failure
not exposed: the backoff
`WorkQuery` by ids
`WorkQuery` by unique names
`WorkQuery` by tags
`WorkQuery` by states
or inside a list, and between lists
an empty query is refused
## 1.6 Expedited work and quotas
`setExpedited`: starts now
`setExpedited` below API 31: a foreground service
`OutOfQuotaPolicy.RUN_AS_NON_EXPEDITED_WORK_REQUEST`
`OutOfQuotaPolicy.DROP_WORK_REQUEST`
retries are never expedited
periodic work cannot be expedited
no initial delay
only network and storage constraints
## 1.7 Long-running work
`setForeground`: longer than ten minutes
while in the foreground an ordinary stop is ignored
constraint loss stops the run
timeout of the foreground service
foreground workers use up the quota of jobs
## 1.8 Configuration
`setExecutor`
`setWorkerCoroutineContext`
`setTaskExecutor`
`setClock`
`setRunnableScheduler`
`setWorkerFactory`
`setInputMergerFactory`
`setMaxSchedulerLimit(20..50)`
`setContentUriTriggerWorkersLimit`
`setJobSchedulerJobIdRange(min, max)`
`setMinimumLoggingLevel`
`setInitializationExceptionHandler`
`setSchedulingExceptionHandler`
`setWorkerInitializationExceptionHandler` (option)
`setWorkerExecutionExceptionHandler` (option)
`setDefaultProcessName`
`setRemoteSessionTimeoutMillis`
`setMarkingJobsAsImportantWhileForeground`
`setExecutionEventListener`
`setScheduleEventListener`
`setGreedySchedulerEnabled`
`isRepresentativeJobsEnabled` (internal)
`Configuration.Provider`
`ScheduleEventListener.onEnqueued`
`ScheduleEventListener.onUpdated(old, new)`
`ScheduleEventListener.onUnblocked`
`ScheduleEventListener.onCancelled`
`ScheduleEventListener.onPrerequisiteFailed`
`ExecutionEventListener.onStarted`
`ExecutionEventListener.onFinished(result)`
`ExecutionEventListener.onException(throwable)`
`ExecutionEventListener.onStopped(reason)`
listeners get snapshots, asynchronously
## 1.9 Stop reasons
`STOP_REASON_NOT_STOPPED` (-256)
`STOP_REASON_UNKNOWN` (-512)
`STOP_REASON_FOREGROUND_SERVICE_TIMEOUT` (-128)
`STOP_REASON_CANCELLED_BY_APP` (1)
`STOP_REASON_PREEMPT` (2)
`STOP_REASON_TIMEOUT` (3)
`STOP_REASON_DEVICE_STATE` (4)
`STOP_REASON_CONSTRAINT_BATTERY_NOT_LOW` (5)
`STOP_REASON_CONSTRAINT_CHARGING` (6)
`STOP_REASON_CONSTRAINT_CONNECTIVITY` (7)
`STOP_REASON_CONSTRAINT_DEVICE_IDLE` (8)
`STOP_REASON_CONSTRAINT_STORAGE_NOT_LOW` (9)
`STOP_REASON_QUOTA` (10)
`STOP_REASON_BACKGROUND_RESTRICTION` (11)
`STOP_REASON_APP_STANDBY` (12)
`STOP_REASON_USER` (13)
`STOP_REASON_SYSTEM_PROCESSING` (14)
`STOP_REASON_ESTIMATED_APP_LAUNCH_TIME_CHANGED` (15)
## 1.10 Data
typed getters: boolean, byte, int, long, float, double, String, and arrays of them
a missing key gives the default
a wrong type gives the default
`keyValueMap`
`hasKeyWithValueOfType(key, class)`
`toByteArray`, `fromByteArray`
`workDataOf(..)`
`Data.EMPTY`
`putAll(Map)` refuses other types
`getNullableStringArray`
`getStringArray` (deprecated)
10 240 bytes at most
binary form, version 1
rows of the older form are still read
## 1.11 Several processes, artifacts, tools
`RemoteWorkManager`: enqueue, begin, cancel, infos, progress over IPC
`RemoteWorkContinuation`
`RemoteListenableWorker.startRemoteWork`
`RemoteCoroutineWorker.doRemoteWork`
`RemoteWorkerService`
`WorkerParameters.isRemoteWorkRequest`, `usingRemoteService`
work-gcm
work-datatransfer (`UserInitiatedTaskRequest`, `UserInitiatedTask`, `Constraints`, `TransferInfo`)
work-analytics (`WorkMetricsInfoRepository`, `WorkMetricsQuery`)
work-inspection, Background Task Inspector
broadcast `REQUEST_DIAGNOSTICS`: finished in 24 h, running, scheduled
lint `BadConfigurationProvider`
lint `IdleBatteryChargingConstraints`
lint `InvalidPeriodicWorkRequestInterval`
lint `PeriodicEnqueue` (periodic work without a unique name)
lint `RemoveWorkManagerInitializer`
lint `RxWorkerSetProgress`
lint `SpecifyForegroundServiceType`
lint `SpecifyJobSchedulerIdRange`
lint `WorkerHasPublicModifier`
tracing: a section for each run
tracing: sections for enqueue, cancel, update, reschedule
`WorkMetricsInfo`: one record for each work, generation and period
`WorkMetricsInfo` states: `ENQUEUED_BLOCKED`, `ENQUEUED_PENDING`, `RUNNING`, `SUCCEEDED`, `FAILED`, `CANCELLED`, `OBSOLETE_UPDATED`
`WorkMetricsInfo.enqueueTimeMillis`
`WorkMetricsInfo.unblockTimeMillis`
`WorkMetricsInfo.firstStartTimeMillis`
`WorkMetricsInfo.finishTimeMillis`
`WorkMetricsInfo.workerDurationMillis`
`WorkMetricsInfo.totalRuntimeMillis`
`WorkMetricsInfo.runAttemptCount`
`WorkMetricsInfo.explicitRetryCount`
`WorkMetricsInfo.stopReasonCounts`
`WorkMetricsInfo` tags and class
`WorkMetricsQuery` by id, class, tag, state, time
`finishedWorkMetricsInfoFlow`
metrics are kept for 7 days, 30 at most
an update or a finished period closes the record
a record that a crash left behind becomes `OBSOLETE_UPDATED`
## 1.12 Testing
`WorkManagerTestInitHelper.initializeTestWorkManager(context)`
`initializeTestWorkManager(context, configuration)`
`ExecutorsMode.LEGACY_OVERRIDE_WITH_SYNCHRONOUS_EXECUTORS`
`ExecutorsMode.PRESERVE_EXECUTORS`
`ExecutorsMode.USE_TIME_BASED_SCHEDULING`
`TestDriver.setAllConstraintsMet(id)`
`TestDriver.setInitialDelayMet(id)`
`TestDriver.setPeriodDelayMet(id)`
`TestDriver.stopRunningWorkWithReason(id, reason)`
`setPeriodDelayMet` of one-time work, `stopRunningWorkWithReason` of work that does not run: errors
an unknown id is an error
`TestListenableWorkerBuilder`
`TestWorkerBuilder`
builder: input
builder: tags
builder: `runAttemptCount`
builder: id
builder: network
builder: progress and foreground updaters
builder: worker factory
`SynchronousExecutor`
`closeWorkDatabase()`
";

/// One row: what it is called there, what it is here, and the tests that show it.
struct Row {
    feature: String,
    here: String,
    shown_by: String,
}

/// Headings and features in order, and the rows.
fn comparison() -> (Vec<String>, Vec<Row>) {
    let (mut lines, mut rows) = (Vec::new(), Vec::new());
    for line in read("workman-core/docs/compare.md").lines() {
        if line.starts_with("## ") {
            lines.push(line.to_owned());
        }
        let Some(cells) = line.strip_prefix('|').and_then(|line| line.strip_suffix('|')) else { continue };
        let cells: Vec<String> = cells.split('|').map(|cell| cell.trim().to_owned()).collect();
        let [feature, here, shown_by] = cells.try_into().unwrap_or_else(|_| panic!("not three cells: {line}"));
        if feature == "WorkManager" || feature == "---" {
            continue;
        }
        lines.push(feature.clone());
        rows.push(Row { feature, here, shown_by });
    }
    (lines, rows)
}

#[test]
fn every_feature_of_work_manager_has_its_line() {
    let (written, _) = comparison();
    let written: Vec<&str> = written.iter().map(String::as_str).collect();
    let wanted: Vec<&str> = FEATURES.lines().collect();
    let first = wanted.iter().zip(&written).find(|(wanted, written)| wanted != written);
    assert_eq!(first, None, "the first line that is missing or too much: wanted, written");
    assert_eq!(wanted.len(), written.len(), "lines of docs/compare.md against the features");
}

#[test]
fn every_line_is_shown_by_a_test_or_says_why_not() {
    let sources = rust_files();
    let mut wrong = Vec::new();
    for Row { feature, here, shown_by } in comparison().1 {
        let reason = here.strip_prefix("later: ").or_else(|| here.strip_prefix("left out: "));
        if let Some(reason) = reason {
            if reason.split(' ').count() < 2 || !shown_by.is_empty() {
                wrong.push(format!("{feature}: a reason, and no test"));
            }
            continue;
        }
        for cited in shown_by.split(", ") {
            let test =
                cited.strip_prefix('`').and_then(|cited| cited.strip_suffix('`')).and_then(|c| c.split_once("::"));
            let found = test.is_some_and(|(path, test)| {
                let heads = [format!("fn {test}("), format!("fn {test}<")];
                sources.iter().any(|file| file.path == path && heads.iter().any(|head| file.text.contains(head)))
            });
            if here.is_empty() || !found {
                wrong.push(format!("{feature}: there is no test {cited}"));
            }
        }
    }
    assert!(wrong.is_empty(), "docs/compare.md: {wrong:#?}");
}
