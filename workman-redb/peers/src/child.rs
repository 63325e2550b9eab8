//! The side of a process that does one workload: it tells one line and then waits to be killed.

use std::io::{Read, Write};
use std::thread;
use std::time::Duration;

use anyhow::Result;

use crate::systems;
use crate::workload::Measured;

/// After which no process of ours lives on, whatever a system does.
const LIFETIME: Duration = Duration::from_secs(30 * 60);

/// Does the job that `told` describes.
pub fn main(told: &str) -> Result<()> {
    end_with_the_parent();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    if told.is_empty() {
        // The control of B8: a process, its runtime and nothing else.
        tell(&Measured::default())?;
        return runtime.block_on(std::future::pending());
    }
    let job = serde_json::from_str(told)?;
    runtime.block_on(async { tokio::time::timeout(LIFETIME, systems::perform(&job, tell)).await? })
}

/// The parent holds the other end of the input; when it is gone there is nobody left to measure for.
fn end_with_the_parent() {
    thread::spawn(|| {
        drop(std::io::stdin().read_to_end(&mut Vec::new()));
        std::process::exit(1);
    });
}

fn tell(measured: &Measured) -> Result<()> {
    let mut output = std::io::stdout().lock();
    serde_json::to_writer(&mut output, measured)?;
    output.write_all(b"\n")?;
    output.flush()?;
    Ok(())
}
