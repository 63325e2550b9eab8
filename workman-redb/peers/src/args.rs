//! The command line.

use std::path::PathBuf;

use clap::Parser;

/// Runs the workloads of workman's benchmarks with other systems and prints a line of JSON for every figure.
#[derive(Clone, Debug, Parser)]
pub struct Args {
    /// Only these systems, by the start of their names.
    #[arg(long, value_delimiter = ',')]
    pub only: Vec<String>,

    /// Only these workloads, such as B1,B4.
    #[arg(long, value_delimiter = ',')]
    pub workloads: Vec<String>,

    /// A quick look: fewer works, one run, less patience.
    #[arg(long)]
    pub short: bool,

    /// Over how many runs the median is taken [default: 3, in short 1].
    #[arg(long)]
    pub runs: Option<u64>,

    /// Where the stores are made, on the disk to be measured.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/target/bench-peers"))]
    pub dir: PathBuf,

    /// How many works wait for next week in B6 [default: 1000000, in short 50000].
    #[arg(long)]
    pub backlog: Option<u64>,

    /// What a child process is told to do; for the program itself.
    #[arg(long, hide = true)]
    pub child: Option<String>,
}
