//! Gates by hand: limits, pauses, and what goes on at them. [`Gate`] names one.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::WorkManager;
use super::refused::ActionError;
use crate::id::WorkId;
use crate::plan::{Applied, Command, GateCommand, GateLook, GateProblem, GateStatus, OnPause, Refusal};
use crate::record::{GateLimits, GateTarget, Rate};
use crate::time::Timestamp;
use crate::worker::{Registry, Worker, WorkerDef};

/// A gate: what stands before all works that have something in common, and how much it lets pass.
///
/// The program says what it wants once ([`Builder::limit`](super::Builder::limit)), a person while it runs
/// ([`WorkManager::limit`]), and what a person says counts until it is cleared. It is stored, and the same for all managers of a store.
///
/// ```
/// use std::time::Duration;
/// use workman_core::{Gate, MemoryStore, WorkManager, worker};
///
/// #[worker]
/// async fn greet(to: String) -> usize {
///     to.len()
/// }
///
/// # futures::executor::block_on(async {
/// let manager = WorkManager::builder(MemoryStore::new())
///     .limit(Gate::worker::<greet>().at_once(4))                         // four at a time,
///     .limit(Gate::keys("customer/*").at_once(2))                        // two of one customer,
///     .limit(Gate::tag("mail").rate(100, Duration::from_secs(60)))       // and a hundred a minute
///     .start()?;
/// manager.enqueue(greet::request("you".into()).tag("mail").limit_key("customer/42")).await?.output().await?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
/// The attribute of a worker can say both, `#[worker(concurrency = 4, limit_key = "customer/{customer}")]`: the key is made of inputs then.
#[derive(Clone, Debug)]
#[must_use = "a gate does nothing until it is given to a builder or a manager"]
#[doc(alias("concurrency", "throttle", "semaphore", "rate_limit", "Limiter"))]
pub struct Gate {
    target: GateTarget,
    limits: GateLimits,
    /// How many may begin in a row, whether the rate was said before or comes behind.
    burst: Option<u32>,
    /// The worker that it stands before, whatever its registered name is.
    def: Option<&'static WorkerDef>,
    /// What can be seen to be wrong already.
    problem: Option<GateProblem>,
}

impl Gate {
    /// Before what is said.
    pub fn of(target: GateTarget) -> Self {
        Gate { target, limits: GateLimits::default(), burst: None, def: None, problem: None }
    }

    /// Before all works.
    pub fn everything() -> Self {
        Gate::of(GateTarget::Everything)
    }

    /// Before the works of this worker.
    pub fn worker<W: Worker>() -> Self {
        Gate { def: Some(W::DEF), ..Gate::of(GateTarget::Worker(W::DEF.name.into())) }
    }

    /// Before the works with this tag.
    pub fn tag(tag: impl Into<Arc<str>>) -> Self {
        Gate::of(GateTarget::Tag(tag.into()))
    }

    /// Before the works under this unique name.
    pub fn name(name: impl Into<Arc<str>>) -> Self {
        Gate::of(GateTarget::Name(name.into()))
    }

    /// Before the works with this limit key. What is said for it counts in place of what is said for [`keys`](Self::keys) like it.
    pub fn key(key: impl Into<Arc<str>>) -> Self {
        Gate::of(GateTarget::Key(key.into()))
    }

    /// Before the works of each limit key that begins so, with a gate for each key: `customer/*`. The star stands at the end. Of several
    /// the longest counts.
    pub fn keys(pattern: &str) -> Self {
        let beginning = pattern.strip_suffix('*').filter(|beginning| !beginning.contains('*'));
        let problem = beginning.is_none().then_some(GateProblem::Pattern);
        Gate { problem, ..Gate::of(GateTarget::Keys(beginning.unwrap_or(pattern).into())) }
    }

    /// Before the works of this serial lane, which has no limits and can be paused.
    pub fn serial(lane: impl Into<Arc<str>>) -> Self {
        Gate::of(GateTarget::Serial(lane.into()))
    }

    /// Lets so many run at once, in all processes that share the store. To let none run is a pause.
    #[doc(alias("max_concurrency", "concurrency_limit"))]
    pub fn at_once(mut self, count: u32) -> Self {
        self.limits.at_once = Some(count);
        self
    }

    /// Lets so many begin in this time, one after the other: the first at once, the next a `count`th of the time later, and so on. After a
    /// rest they may come in a [`burst`](Self::burst).
    #[doc(alias("throttle", "per_second", "per_minute"))]
    pub fn rate(mut self, count: u32, per: Duration) -> Self {
        self.limits.rate = Some(Rate { count, per, burst: 1 });
        self
    }

    /// Lets so many begin in a row after a rest; 1 if nothing is said. In any stretch of the rate's time at most `count + burst - 1`
    /// begin. Without a rate it means nothing.
    pub fn burst(mut self, burst: u32) -> Self {
        self.burst = Some(burst);
        self
    }

    /// Of a key: lets so many of its works have their turn while one of another key has.
    pub fn weight(mut self, weight: u32) -> Self {
        self.limits.weight = Some(weight);
        self
    }

    /// What it stands before and how much it lets pass, with the name that the worker is registered by.
    pub(super) fn resolved(&self, registry: &Registry) -> Result<(GateTarget, GateLimits), Refusal> {
        if let Some(problem) = self.problem {
            return Err(Refusal::Gate { target: self.target.clone(), problem });
        }
        let registered = self.def.and_then(|def| registry.iter().find(|worker| std::ptr::eq(worker.def, def)));
        let target = registered.map(|worker| GateTarget::Worker(Arc::clone(&worker.name)));
        let rate = self.limits.rate.map(|rate| Rate { burst: self.burst.unwrap_or(rate.burst), ..rate });
        Ok((target.unwrap_or_else(|| self.target.clone()), GateLimits { rate, ..self.limits }))
    }
}

/// A wish that nothing passes a gate for now. A [`Gate`] alone is one that lasts until somebody ends it.
#[derive(Clone, Debug)]
#[must_use = "nothing is paused until a manager is told"]
pub struct Pausing {
    gate: Gate,
    reason: Option<Arc<str>>,
    until: Option<Timestamp>,
    running: OnPause,
}

impl Pausing {
    /// Nothing passes this gate; what runs goes on to its end.
    pub fn of(gate: Gate) -> Self {
        Pausing { gate, reason: None, until: None, running: OnPause::default() }
    }

    /// Says why, to whoever asks: 1,024 bytes at the most ([`Refusal::ReasonTooLong`]).
    pub fn because(mut self, reason: impl Into<Arc<str>>) -> Self {
        self.reason = Some(reason.into());
        self
    }

    /// Ends by itself then, by the wall clock.
    pub fn until(mut self, at: impl Into<Timestamp>) -> Self {
        self.until = Some(at.into());
        self
    }

    /// Stops what runs behind the gate, too ([`StopReason::Paused`](crate::StopReason::Paused)): it is given back, and no attempt is lost.
    pub fn stop_running(mut self) -> Self {
        self.running = OnPause::Stop;
        self
    }
}

impl From<Gate> for Pausing {
    fn from(gate: Gate) -> Self {
        Pausing::of(gate)
    }
}

impl WorkManager {
    /// Sets a limit by hand: it counts, whatever the program says, until it is cleared, and through restarts. What runs goes on, however
    /// low the limit is. A gate that names no limit clears it, as [`clear_limit`](Self::clear_limit) does.
    ///
    /// # Errors
    /// [`ActionError::Refused`] if the limit makes no sense.
    pub async fn limit(&self, gate: Gate) -> Result<(), ActionError> {
        let (target, limits) = self.gate(&gate)?;
        self.set_gate(GateCommand::Limit { target, limits: Some(limits) }).await.map(drop)
    }

    /// Clears the limit that was set by hand: what the program says counts again.
    ///
    /// # Errors
    /// As [`limit`](Self::limit).
    pub async fn clear_limit(&self, gate: Gate) -> Result<(), ActionError> {
        let (target, _) = self.gate(&gate)?;
        self.set_gate(GateCommand::Limit { target, limits: None }).await.map(drop)
    }

    /// Lets nothing pass a gate, in all processes that share the store, and through restarts. Answers how many runs were stopped.
    ///
    /// A name that nobody has, or will have only later, is no mistake: it matches nothing until then.
    ///
    /// ```
    /// use workman_core::{Gate, Pausing, worker};
    /// use workman_testing::TestDriver;
    ///
    /// #[worker]
    /// fn post(to: String) -> usize {
    ///     to.len()
    /// }
    ///
    /// let test = TestDriver::new();
    /// let manager = test.manager();
    /// test.block_on(manager.pause(Pausing::of(Gate::worker::<post>()).because("the mail server moves")))?;
    /// let id = test.enqueue(post::request("you".into()));
    /// test.run_until_idle();
    /// println!("{}", test.block_on(manager.explain(id))?);
    /// test.block_on(manager.resume(Gate::worker::<post>()))?;
    /// test.run_until_idle();
    /// assert_eq!(test.output::<usize>(id), 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`limit`](Self::limit).
    #[doc(alias("suspend", "disable", "stop_queue"))]
    pub async fn pause(&self, pausing: impl Into<Pausing>) -> Result<usize, ActionError> {
        let Pausing { gate, reason, until, running } = pausing.into();
        let (target, _) = self.gate(&gate)?;
        self.set_gate(GateCommand::Pause { target, reason, until, running }).await
    }

    /// Ends a pause, and lets a serial lane go on that a failure holds.
    ///
    /// # Errors
    /// As [`limit`](Self::limit).
    #[doc(alias("unpause", "enable"))]
    pub async fn resume(&self, gate: Gate) -> Result<(), ActionError> {
        let (target, _) = self.gate(&gate)?;
        self.set_gate(GateCommand::Resume { target }).await.map(drop)
    }

    /// All gates of which something is wanted, and what goes on there.
    ///
    /// # Errors
    /// [`ActionError::Store`].
    pub async fn gates(&self) -> Result<Vec<GateStatus>, ActionError> {
        self.look_at_gates(GateLook::Wanted).await
    }

    /// The gates that a work meets, in the order in which it does.
    pub(super) async fn gates_of(&self, id: WorkId) -> Result<Vec<GateStatus>, ActionError> {
        self.look_at_gates(GateLook::Of(id)).await
    }

    async fn look_at_gates(&self, look: GateLook) -> Result<Vec<GateStatus>, ActionError> {
        match self.act(Command::Gate(Box::new(GateCommand::Look(look))), 0).await? {
            Applied::GatesSeen(gates) => Ok(gates),
            other => Err(ActionError::answered(&other, 0)),
        }
    }

    fn gate(&self, gate: &Gate) -> Result<(GateTarget, GateLimits), ActionError> {
        gate.resolved(&self.core().registry).map_err(ActionError::Refused)
    }

    async fn set_gate(&self, command: GateCommand) -> Result<usize, ActionError> {
        match self.act(Command::Gate(Box::new(command)), 0).await? {
            Applied::Gates { stopped, .. } => Ok(stopped),
            other => Err(ActionError::answered(&other, 0)),
        }
    }
}

impl fmt::Display for GateStatus {
    /// One line for people: what it stands before, what is wanted of it, and what goes on.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let GateStatus { target, limits, running, held, pause, halted, opens, holders, .. } = self;
        write!(f, "the gate before {target}: {limits}, {running} run")?;
        if *held > 0 {
            write!(f, ", {held} are held")?;
        }
        for (place, id) in holders.iter().enumerate() {
            write!(f, "{}{id}", if place == 0 { " (" } else { ", " })?;
        }
        f.write_str(if holders.is_empty() { "" } else { ")" })?;
        if let Some(halted) = halted {
            write!(f, "; work {halted} has failed and holds it: `retry` that, or `resume` the lane")?;
        }
        if let Some(opens) = opens.filter(|_| pause.is_none()) {
            write!(f, "; it opens by itself at {opens}")?;
        }
        match pause {
            Some(pause) => {
                let reason = pause.reason.as_deref().map_or_else(String::new, |reason| format!(": {reason}"));
                let until = pause.until.map_or_else(String::new, |until| format!(" until {until}"));
                write!(f, "; paused{until}{reason}")
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_counts_whichever_is_said_first() {
        let minute = Duration::from_secs(60);
        let registry = Registry::new();
        let limits = |gate: Gate| gate.resolved(&registry).unwrap().1;
        let expected = Some(Rate { count: 6, per: minute, burst: 3 });
        assert_eq!(limits(Gate::everything().rate(6, minute).burst(3)).rate, expected);
        assert_eq!(limits(Gate::everything().burst(3).rate(6, minute)).rate, expected);
        assert_eq!(limits(Gate::everything().burst(3)).rate, None);
    }
}
