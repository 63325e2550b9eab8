//! The workloads of workman's own benchmarks, run by other systems of the same kind.
//!
//! One module a system (`systems/`), behind one small trait (`peer`). A workload runs in a process of its own (`child`), which the
//! measuring program starts, listens to and kills (`parent`, `plan`). What was measured goes out as lines of JSON (`figure`).

pub mod args;
pub mod child;
pub mod control;
pub mod counters;
pub mod figure;
pub mod folder;
pub mod idle;
pub mod parent;
pub mod peer;
pub mod plan;
pub mod report;
pub mod series;
pub mod sqlite;
pub mod systems;
pub mod workload;
