//! Turns lines of JSON into a table: `report FILE...`.

use std::fs;

use anyhow::{Context, Result};
use workman_peers::report;

fn main() -> Result<()> {
    let mut figures = Vec::new();
    for path in std::env::args().skip(1) {
        let text = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
        for (number, line) in text.lines().enumerate().filter(|(_, line)| line.starts_with('{')) {
            let figure = serde_json::from_str(line).with_context(|| format!("{path}, line {}", number + 1))?;
            figures.push(figure);
        }
    }
    print!("{}", report::markdown(&figures));
    Ok(())
}
