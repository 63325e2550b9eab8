//! The workloads, each as one process does it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use crate::peer::{Bodies, Counts, Due, Input, Peer, Place};
use crate::{control, counters, figure};

/// What a process is asked to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    /// The name of the system.
    pub system: String,
    /// The name of one of its durabilities.
    pub durability: String,
    /// The name of one of its settings.
    pub setting: String,
    /// The folder that holds the store.
    pub folder: PathBuf,
    /// The workload.
    pub task: Task,
    /// After how many seconds a slow system has been measured enough.
    pub budget: f64,
    /// Whether this is the run that counts allocations.
    pub allocations: Allocations,
}

/// A workload.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Task {
    /// Fills a store and closes it.
    Seed {
        /// With so many works.
        works: u64,
        /// That are due then.
        due: Due,
    },
    /// Says what a store holds.
    Count,
    /// Callers enqueue, each awaiting one work after the other.
    Enqueue {
        /// So many callers.
        callers: u64,
        /// So many works together.
        works: u64,
    },
    /// One caller enqueues in calls of many.
    Batches {
        /// So many works together.
        works: u64,
        /// So many in a call.
        batch: u64,
    },
    /// The worker empties a store.
    Drain {
        /// That holds so many works.
        works: u64,
    },
    /// From the call of `enqueue` on an idle queue to the body.
    Body {
        /// So many times.
        samples: u64,
    },
    /// From the call of `enqueue` on an idle queue until its caller knows the end.
    Output {
        /// So many times.
        samples: u64,
    },
    /// Opens a store with works and runs the first of them.
    FirstBody,
    /// Has a worker with nothing to do.
    Idle,
}

impl Task {
    /// What its figure counts.
    #[must_use]
    pub fn unit(self) -> &'static str {
        match self {
            Self::Body { .. } | Self::Output { .. } | Self::FirstBody => "ms",
            Self::Idle => "switches",
            _ => "works/s",
        }
    }

    /// Whether its figure is a rate, so that costs can be told per work.
    #[must_use]
    pub fn is_rate(self) -> bool {
        self.unit() == "works/s"
    }
}

/// Whether allocations are counted, which costs time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Allocations {
    /// They are, and the times mean nothing.
    Counted,
    /// They are not.
    Ignored,
}

/// What a process found.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Measured {
    /// How many works were measured.
    pub works: u64,
    /// How long that took.
    pub seconds: f64,
    /// See [`figure::Figure::p50`].
    pub p50: Option<f64>,
    /// See [`figure::Figure::p99`].
    pub p99: Option<f64>,
    /// See [`figure::Figure::fsyncs`].
    pub fsyncs: u64,
    /// Allocations in the measured part.
    pub allocations: u64,
    /// Works that the system acknowledged as enqueued, or as done where it emptied a store.
    pub acknowledged: u64,
    /// What the store holds, where that was asked.
    pub counts: Counts,
    /// See [`figure::Figure::control`].
    pub control: f64,
}

/// Does `job` with one system and tells what it found. Only a process that fills or counts a store goes on from there: all others keep
/// the store open until they are killed.
pub async fn perform<P: Peer>(job: &Job, tell: fn(&Measured) -> Result<()>) -> Result<()> {
    let place = Place { folder: &job.folder, durability: &job.durability, setting: &job.setting };
    let peer = P::open(place).await.context("opening the store")?;
    let measured = match job.task {
        Task::Seed { works, due } => {
            enqueue_in_batches(&peer, works, 1000, due, |_| ()).await?;
            peer.close().await?;
            return tell(&Measured::default());
        }
        Task::Count => {
            let counts = peer.counts().await?;
            return tell(&Measured { counts, ..Measured::default() });
        }
        Task::Enqueue { callers, works } => enqueue(&peer, job, callers, works).await?,
        Task::Batches { works, batch } => batches(&peer, job, works, batch).await?,
        Task::Drain { works } => drain(&peer, job, works).await?,
        Task::Body { samples } => body(&peer, job, samples).await?,
        Task::Output { samples } => output(&peer, job, samples).await?,
        Task::FirstBody => first_body(&peer, job).await?,
        Task::Idle => {
            peer.work(&job.setting, Bodies::default()).await?;
            Measured::default()
        }
    };
    tell(&measured)?;
    std::future::pending().await
}

/// Watches a timed part.
struct Meter {
    control: f64,
    started: Instant,
    syncs: u64,
    allocations: u64,
}

impl Meter {
    /// Looks at the disk alone and starts.
    fn start(job: &Job) -> Result<Self> {
        let control = control::appends_a_second(&job.folder)?;
        if job.allocations == Allocations::Counted {
            counters::count_allocations();
        }
        let (syncs, allocations) = (counters::syncs(), counters::allocations());
        Ok(Self { control, started: Instant::now(), syncs, allocations })
    }

    /// Ends the timed part, in which `works` were measured, with what single calls took in microseconds.
    fn end(&self, works: u64, latencies: &[f64]) -> Measured {
        Measured {
            works,
            seconds: self.started.elapsed().as_secs_f64(),
            p50: figure::percentile(latencies, 0.5),
            p99: figure::percentile(latencies, 0.99),
            fsyncs: counters::syncs() - self.syncs,
            allocations: counters::allocations() - self.allocations,
            acknowledged: works,
            counts: Counts::default(),
            control: self.control,
        }
    }
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

async fn enqueue<P: Peer>(peer: &P, job: &Job, callers: u64, works: u64) -> Result<Measured> {
    let budget = Duration::from_secs_f64(job.budget);
    let taken = Arc::new(AtomicU64::new(0));
    let meter = Meter::start(job)?;
    let started = meter.started;
    let mut tasks = JoinSet::new();
    for _ in 0..callers {
        let (peer, taken) = (peer.clone(), taken.clone());
        tasks.spawn(async move {
            let mut latencies = Vec::new();
            while started.elapsed() < budget && taken.fetch_add(1, Relaxed) < works {
                let called = Instant::now();
                peer.enqueue(Input::default()).await?;
                latencies.push(micros(called.elapsed()));
            }
            anyhow::Ok(latencies)
        });
    }
    let mut latencies = Vec::new();
    while let Some(caller) = tasks.join_next().await {
        latencies.extend(caller??);
    }
    Ok(meter.end(latencies.len() as u64, &latencies))
}

async fn batches<P: Peer>(peer: &P, job: &Job, works: u64, batch: u64) -> Result<Measured> {
    let mut latencies = Vec::new();
    let meter = Meter::start(job)?;
    enqueue_in_batches(peer, works, batch, Due::Now, |call| latencies.push(micros(call))).await?;
    Ok(meter.end(works, &latencies))
}

async fn enqueue_in_batches<P: Peer>(
    peer: &P,
    works: u64,
    batch: u64,
    due: Due,
    mut called: impl FnMut(Duration) + Send,
) -> Result<()> {
    let mut left = works;
    while left > 0 {
        let now = left.min(batch);
        let call = Instant::now();
        peer.enqueue_many((0..now).map(|_| Input::default()).collect(), due).await?;
        called(call.elapsed());
        left -= now;
    }
    Ok(())
}

/// All bodies have to run and the store has to say that all works are done; a slow system is stopped at what it has done.
async fn drain<P: Peer>(peer: &P, job: &Job, works: u64) -> Result<Measured> {
    let bodies = Bodies::default();
    bodies.expect(works);
    let meter = Meter::start(job)?;
    peer.work(&job.setting, bodies.clone()).await?;
    if bodies.expected(Duration::from_secs_f64(job.budget)).await.is_none() {
        return Ok(meter.end(peer.counts().await?.done, &[]));
    }
    while peer.counts().await?.done < works {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(meter.end(works, &[]))
}

/// How long a single work may take until the system counts as one that does not run it.
const PATIENCE: Duration = Duration::from_secs(60);

async fn body<P: Peer>(peer: &P, job: &Job, samples: u64) -> Result<Measured> {
    let bodies = Bodies::default();
    peer.work(&job.setting, bodies.clone()).await?;
    sample(job, samples, async || {
        bodies.expect(bodies.count() + 1);
        let called = bodies.now();
        peer.enqueue(Input::default()).await?;
        let ran = bodies.expected(PATIENCE).await.context("the work was not picked up")?;
        Ok(Duration::from_nanos(ran - called))
    })
    .await
}

async fn output<P: Peer>(peer: &P, job: &Job, samples: u64) -> Result<Measured> {
    peer.work(&job.setting, Bodies::default()).await?;
    sample(job, samples, async || {
        let called = Instant::now();
        tokio::time::timeout(PATIENCE, peer.enqueue_and_await(Input::default())).await??;
        Ok(called.elapsed())
    })
    .await
}

/// Takes samples from an idle queue. The pause before each is of a different length, up to the longest sample so far and a little
/// more, so that a system that polls is met at any point of its period.
async fn sample(job: &Job, samples: u64, mut one: impl AsyncFnMut() -> Result<Duration>) -> Result<Measured> {
    const WARM_UP: u64 = 5;
    const LEAST: u64 = 10;
    let budget = Duration::from_secs_f64(job.budget);
    let mut longest = Duration::ZERO;
    let mut latencies = Vec::new();
    let mut meter = Meter::start(job)?;
    let mut random = 1_u64;
    for number in 0..WARM_UP + samples {
        if number == WARM_UP {
            meter = Meter::start(job)?;
        }
        let patience = if number < WARM_UP + LEAST { budget * 4 } else { budget };
        if number > WARM_UP && meter.started.elapsed() > patience {
            break;
        }
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let part = (random >> 40) as f64 / (1_u64 << 24) as f64;
        let span = Duration::from_millis(10) + longest.min(Duration::from_secs(1));
        tokio::time::sleep(Duration::from_millis(3) + span.mul_f64(part)).await;
        let took = one().await?;
        longest = longest.max(took);
        if number >= WARM_UP {
            latencies.push(micros(took));
        }
    }
    Ok(Measured { acknowledged: latencies.len() as u64 + WARM_UP, ..meter.end(latencies.len() as u64, &latencies) })
}

async fn first_body<P: Peer>(peer: &P, job: &Job) -> Result<Measured> {
    let bodies = Bodies::default();
    bodies.expect(1);
    peer.work(&job.setting, bodies.clone()).await?;
    bodies.expected(PATIENCE).await.context("no work was picked up")?;
    Ok(Measured { works: 1, ..Measured::default() })
}
