//! The process of a test: its start, its death, and the loop that runs it.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use workman_core::seams::{Body, ReadBack, Registry, Stub};
use workman_core::{
    DuplicateWorker, Outcome, ShutdownReport, StartError, Timestamp, WorkError, WorkManager, WorkQuery, WorkState,
};

use super::{Process, TestDriver};
use crate::baton::Stuck;
use crate::executor::Awaited;
use crate::fault::FaultStore;

/// How long a shut down manager may need after the grace period: dropped workers get a second.
const AFTER_GRACE: Duration = Duration::from_secs(5);

impl TestDriver {
    /// The manager of the process, which starts if there is none.
    ///
    /// Chains, queries and everything else that the driver has no verb for go through it and
    /// [`block_on`](Self::block_on).
    #[track_caller]
    #[must_use]
    pub fn manager(&self) -> WorkManager {
        if let Err(error) = self.try_start() {
            self.fail(format_args!("the manager does not start: {error}"));
        }
        let process = self.process.borrow();
        process.as_ref().map_or_else(|| self.fail(format_args!("there is no process")), |p| p.manager.clone())
    }

    /// Starts the process, if there is none.
    ///
    /// # Errors
    /// What [`Builder::start`](workman_core::Builder::start) says.
    pub fn try_start(&self) -> Result<(), StartError> {
        if self.process.borrow().is_some() {
            return Ok(());
        }
        let ledger = Arc::clone(&self.ledger.borrow());
        ledger.begin_process();
        let store = FaultStore::open(ledger);
        let runtime = self.executor.begin_process(Arc::clone(&self.ids));
        let setup = self.setup.borrow();
        let mut registry = setup.registry.clone().unwrap_or_else(Registry::linked);
        setup.stubs.iter().for_each(|stub| stub(&mut registry));
        registry.keep_apart(|clash| self.refusal(&clash));
        let builder = WorkManager::builder(Arc::clone(&store))
            .clock(self.clock.clone())
            .sensor(self.sensor.clone())
            .runtime(runtime)
            .limits(setup.limits.clone())
            .read_back(ReadBack::All)
            .driven_by_test()
            .workers(registry);
        let builder = setup.shape.iter().fold(builder, |builder, shape| shape(builder));
        drop(setup);
        let started = builder.start_inline();
        if started.is_err() {
            store.shut();
        }
        let (manager, engine) = started?;
        self.executor.spawn_engine(Box::pin(engine));
        self.process.replace(Some(Process { manager, store }));
        Ok(())
    }

    /// What stands in for workers of one name: the test that runs one of them fails, and says which there are.
    fn refusal(&self, clash: &DuplicateWorker) -> Stub {
        let broken = self.ledger.borrow().broken();
        let (name, text) = (clash.name.clone(), clash.to_string());
        Arc::new(move |_| {
            broken.report(format!("{text}. A test names the one that it means with `register` or `stub`"));
            let (name, text) = (name.clone(), text.clone());
            Ok(Body::Blocking(Box::new(move || Outcome::<()>::Failed(WorkError::permanent(text)).end(&name))))
        })
    }

    /// Kills the process and starts the next on the same store.
    ///
    /// First the old process is cut off: every manager, handle and context of it is answered with `Closed` and writes nothing. Then
    /// its futures are dropped and its threads unwind. Then the store is opened anew.
    #[track_caller]
    pub fn crash_and_restart(&self) {
        self.die();
        self.start_again();
    }

    /// Cuts the power, and boots the machine again with its wall clock at this time, however long it was off: one without a battery
    /// for its clock begins somewhere in the past, until a time server is reached. [`clock`](Self::clock) sets it right then.
    ///
    /// ```
    /// use std::time::Duration;
    /// use workman_core::{Clock, WorkState, worker};
    /// use workman_testing::TestDriver;
    ///
    /// #[worker]
    /// fn remind() {}
    ///
    /// let test = TestDriver::new();
    /// let day = Duration::from_secs(24 * 3600);
    /// let id = test.enqueue(remind::request().initial_delay(7 * day));
    /// let early = test.clock().wall() - 30 * day;
    /// let right = test.clock().wall() + Duration::from_secs(60);
    /// test.boot_at(early);
    /// test.advance(Duration::from_secs(60));
    /// test.clock().set_wall(right);
    /// test.advance(6 * day);
    /// assert_eq!(test.state_of(id), WorkState::Enqueued);
    /// test.advance(day);
    /// assert_eq!(test.state_of(id), WorkState::Succeeded);
    /// ```
    #[track_caller]
    pub fn boot_at(&self, wall: Timestamp) {
        self.die();
        self.clock.set_wall(wall);
        self.start_again();
    }

    /// Ends the process as a kill does.
    #[track_caller]
    fn die(&self) {
        let alive = self.end_process();
        self.check();
        if alive > 0 {
            self.fail(format_args!(
                "{alive} blocking workers did not end when their process died: they hold a thread without giving it back"
            ));
        }
    }

    #[track_caller]
    fn start_again(&self) {
        // It may die again at its very start; then the next one is started.
        while let Err(error) = self.try_start() {
            if !self.has_crashed() {
                self.fail(format_args!("the manager does not start: {error}"));
            }
        }
    }

    /// Ends the process in order, with the usual grace period, and starts the next on the same store.
    #[track_caller]
    pub fn restart(&self) -> ShutdownReport {
        let grace = self.setup.borrow().limits.grace;
        let report = self.shutdown(grace);
        self.end_process();
        self.check();
        let _ = self.manager();
        report
    }

    /// Shuts the manager down, and lets as much time pass as that takes. The process stays, with a manager that has ended, until
    /// [`restart`](Self::restart) or [`crash_and_restart`](Self::crash_and_restart).
    #[track_caller]
    pub fn shutdown(&self, grace: Duration) -> ShutdownReport {
        use workman_core::Clock;

        let manager = self.manager();
        let mut report = pin!(manager.shutdown(grace));
        let mut main = self.executor.main();
        let end = self.clock.monotonic().saturating_add(grace).saturating_add(AFTER_GRACE);
        loop {
            if let Poll::Ready(report) = main.poll(report.as_mut()) {
                return report;
            }
            self.run_tasks();
            self.executor.wake_spinners();
            if self.executor.awaited() == Awaited::Completers && !self.has_crashed() && self.waits_outside() {
                continue;
            }
            if !self.executor.take_main() && !self.clock.step(end) {
                self.fail(format_args!("the manager did not shut down"));
            }
        }
    }

    /// Ends the process as it is. Answers how many threads did not end.
    pub(super) fn end_process(&self) -> usize {
        let Some(process) = self.process.take() else { return 0 };
        self.ledger.borrow().end_process();
        process.store.shut();
        self.executor.end_process(self.patience)
    }

    // ---- running ----

    /// Runs everything that can run without time passing.
    #[track_caller]
    pub fn run_until_idle(&self) {
        self.begin_verb();
        self.settle();
        self.end_verb();
    }

    /// Lets time pass, stop by stop: at each moment at which somebody wants to be woken, everything runs that can.
    #[track_caller]
    pub fn advance(&self, length: Duration) {
        use workman_core::Clock;

        let end = self.clock.monotonic().saturating_add(length);
        self.begin_verb();
        self.settle();
        while !self.has_crashed() && self.clock.step(end) {
            self.settle();
        }
        self.end_verb();
    }

    #[track_caller]
    fn begin_verb(&self) {
        let _ = self.manager();
        self.executor.grant_time();
        self.ledger.borrow().begin_verb();
    }

    #[track_caller]
    fn end_verb(&self) {
        self.ledger.borrow().end_verb();
        self.check();
    }

    /// Runs until nothing is ready, and who waits for the world outside has had real time for it.
    #[track_caller]
    fn settle(&self) {
        self.executor.wake_spinners();
        loop {
            self.run_tasks();
            if self.has_crashed() || !self.waits_outside() {
                return;
            }
        }
    }

    /// Gives real time to those who wait for the world outside. Says whether there may be more to run or to wait for.
    #[track_caller]
    fn waits_outside(&self) -> bool {
        let awaited = self.executor.awaited();
        if !self.executor.is_quiet() {
            return true;
        }
        if self.nobody_outside || awaited == Awaited::Nothing {
            return false;
        }
        if self.executor.wait_for_the_world(self.patience) {
            return true;
        }
        if awaited == Awaited::World {
            self.fail_stuck();
        }
        self.executor.end_time();
        if !self.noted_completers.replace(true) {
            let (patience, running) = (self.patience, self.running().unwrap_or_default());
            eprintln!(
                "for {patience:?} of real time a worker has waited for its completer, and the test goes on without it. Running: \
                 {running}. If no other thread settles it, `TestDriver::nobody_outside` saves that time"
            );
        }
        false
    }

    /// The manager hears of what the machine is like now, if that has changed. No worker runs meanwhile.
    #[track_caller]
    pub(super) fn tell_conditions(&self) {
        use futures::{FutureExt, StreamExt};

        let changed = self.sensed.borrow_mut().next().now_or_never().is_some();
        if changed && !self.has_crashed() {
            self.executor.run_engines();
            self.check();
        }
    }

    #[track_caller]
    fn run_tasks(&self) {
        loop {
            if self.has_crashed() {
                break;
            }
            match self.executor.run_one(self.patience) {
                Ok(true) => self.check(),
                Ok(false) => break,
                Err(Stuck) => self.fail_stuck(),
            }
        }
        self.check();
    }

    #[track_caller]
    pub(super) fn check(&self) {
        let broken = self.ledger.borrow().take_broken();
        if let Some(broken) = broken {
            self.fail(format_args!("{broken}"));
        }
    }

    /// Waits for a future, running whatever is ready meanwhile. No virtual time passes; whoever is waited for outside gets
    /// real time, with [`nobody_outside`](Self::nobody_outside) too.
    ///
    /// # Panics
    /// If nothing is left to run and the future is not ready: it waits for virtual time, which only
    /// [`advance`](Self::advance) brings about, or for something that never happens.
    #[track_caller]
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.tell_conditions();
        self.executor.grant_time();
        self.ledger.borrow().begin_verb();
        let mut future = pin!(future);
        let mut main = self.executor.main();
        loop {
            if let Poll::Ready(answer) = main.poll(future.as_mut()) {
                self.end_verb();
                return answer;
            }
            while !self.executor.take_main() {
                match self.executor.run_one(self.patience) {
                    Ok(true) => self.check(),
                    Ok(false) if main.waits_for_the_world() || self.executor.awaited() != Awaited::Nothing => {
                        if !self.executor.wait_for_the_world(self.patience) {
                            self.fail_stuck();
                        }
                    }
                    Ok(false) => self.fail(format_args!(
                        "nothing is left to run, and what the test waits for is not ready: if it takes time, say `advance`"
                    )),
                    Err(Stuck) => self.fail_stuck(),
                }
            }
        }
    }

    #[track_caller]
    fn fail_stuck(&self) -> ! {
        let patience = self.patience;
        let running = self.running().unwrap_or_default();
        self.fail(format_args!(
            "for {patience:?} of real time, something has waited for what this test does not own (a socket, a thread, a \
             channel).\nRunning: {running}\nRemedy: let the worker wait with its context (`cx.sleep`, `cx.until_stopped`) or \
             with a `Signal`, replace the outside world by `#[state]`, `stub` the worker, or give it longer with `patience`; if \
             it waits for the test itself, say `nobody_outside`"
        ));
    }

    /// What runs now, for people.
    fn running(&self) -> Option<String> {
        use futures::FutureExt;

        let manager = self.process.borrow().as_ref()?.manager.clone();
        let works = manager.query(WorkQuery::in_state(WorkState::Running).without_payloads()).now_or_never()?.ok()?;
        let line = |work: &workman_core::WorkInfo| {
            format!("worker `{}`, attempt {}, work {}", work.worker, work.failures, work.id)
        };
        Some(works.iter().map(line).collect::<Vec<_>>().join("; "))
    }
}
