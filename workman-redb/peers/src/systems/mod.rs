//! The systems, a module each.

mod apalis;
mod effectum;
mod river;
mod rustqueue;
mod taquba;
mod workman;

use anyhow::{Result, bail};

use crate::peer::{Durability, Peer};
use crate::workload::{self, Job, Measured};

/// Takes what was measured, while the system is still there.
type Tell = fn(&Measured) -> Result<()>;

/// What the plan must know of a system.
#[derive(Clone, Copy)]
pub struct Profile {
    /// See [`Peer::NAME`].
    pub name: &'static str,
    /// See [`Peer::DURABILITIES`].
    pub durabilities: &'static [Durability],
    /// See [`Peer::AT_16`].
    pub at_16: &'static [&'static str],
    /// See [`Peer::DEFAULT`].
    pub default: &'static [&'static str],
    /// See [`Peer::DRAIN`].
    pub drain: &'static [&'static str],
    /// See [`Peer::PICKUP`].
    pub pickup: &'static [&'static str],
    /// See [`Peer::TELLS_THE_END`].
    pub tells_the_end: bool,
}

impl Profile {
    const fn of<P: Peer>() -> Self {
        Self {
            name: P::NAME,
            durabilities: P::DURABILITIES,
            at_16: P::AT_16,
            default: P::DEFAULT,
            drain: P::DRAIN,
            pickup: P::PICKUP,
            tells_the_end: P::TELLS_THE_END,
        }
    }
}

/// All systems, in the order of the tables.
pub const ALL: [Profile; 6] = [
    Profile::of::<workman::Workman>(),
    Profile::of::<effectum::Effectum>(),
    Profile::of::<apalis::Apalis>(),
    Profile::of::<rustqueue::RustQueue>(),
    Profile::of::<taquba::Taquba>(),
    Profile::of::<river::River>(),
];

/// Does `job` with the system that it names.
pub async fn perform(job: &Job, tell: Tell) -> Result<()> {
    match job.system.as_str() {
        workman::Workman::NAME => workload::perform::<workman::Workman>(job, tell).await,
        effectum::Effectum::NAME => workload::perform::<effectum::Effectum>(job, tell).await,
        apalis::Apalis::NAME => workload::perform::<apalis::Apalis>(job, tell).await,
        rustqueue::RustQueue::NAME => workload::perform::<rustqueue::RustQueue>(job, tell).await,
        taquba::Taquba::NAME => workload::perform::<taquba::Taquba>(job, tell).await,
        river::River::NAME => workload::perform::<river::River>(job, tell).await,
        other => bail!("there is no system `{other}`"),
    }
}

/// Finds the row of `name` in the table of a system's settings.
fn setting<T: Copy>(table: &[(&str, T)], name: &str) -> Result<T> {
    match table.iter().find(|(known, _)| *known == name) {
        Some((_, setting)) => Ok(*setting),
        None => bail!("there is no setting `{name}`"),
    }
}
