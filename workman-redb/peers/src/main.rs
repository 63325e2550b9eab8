//! Measures the other systems: `peers --help`.

use std::io::Write;

use anyhow::Result;
use clap::Parser;
use workman_peers::args::Args;
use workman_peers::child;
use workman_peers::plan::Plan;

fn main() -> Result<()> {
    let args = Args::parse();
    if let Some(told) = &args.child {
        return child::main(told);
    }
    Plan::new(args).run(|figure| {
        let mut output = std::io::stdout().lock();
        serde_json::to_writer(&mut output, figure)?;
        output.write_all(b"\n")?;
        Ok(output.flush()?)
    })
}
