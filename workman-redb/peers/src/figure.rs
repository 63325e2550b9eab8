//! One figure: a line of JSON, in the fields that workman's own benchmarks write as well.

use serde::{Deserialize, Serialize};

/// A line of the output. The order of the fields is the order in the line.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Figure {
    /// "B1", "B4 at 16", "B5 body", "B6 B2" and so on.
    pub workload: String,
    /// Whose figure it is.
    pub system: String,
    /// How the system keeps what it acknowledges.
    pub durability: Option<String>,
    /// The figure; nothing where the system could not be measured.
    pub value: Option<f64>,
    /// "works/s", "ms", "switches" or "calls/s".
    pub unit: String,
    /// Microseconds that half of the calls took at most.
    pub p50: Option<f64>,
    /// Microseconds that 99 of 100 calls took at most.
    pub p99: Option<f64>,
    /// Calls that synced a file in the timed part, a work.
    pub fsyncs: Option<f64>,
    /// Allocations a work, from a run apart.
    pub allocations: Option<f64>,
    /// The setting of the worker.
    #[serde(default)]
    pub setting: Option<String>,
    /// How many works were measured.
    #[serde(default)]
    pub works: Option<f64>,
    /// Over how many runs this is the median.
    #[serde(default)]
    pub runs: Option<f64>,
    /// Works that the system had acknowledged when it was killed.
    #[serde(default)]
    pub acknowledged: Option<f64>,
    /// Those of them that were there afterwards.
    #[serde(default)]
    pub found: Option<f64>,
    /// Appends of 4 KiB with `fdatasync` that the disk gave just before, a second.
    #[serde(default)]
    pub control: Option<f64>,
    /// Whether every acknowledgement waits until its work is on the disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub durable: Option<bool>,
    /// What went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

/// The value in the middle; of an even number the mean of the two. Nothing of nothing.
#[must_use]
pub fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}

/// A figure without digits that mean nothing.
#[must_use]
pub fn rounded(value: f64) -> f64 {
    let digits = if value.abs() < 100.0 { 1e3 } else { 1e1 };
    (value * digits).round() / digits
}

/// The value that `share` of all do not exceed.
#[must_use]
pub fn percentile(values: &[f64], share: f64) -> Option<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let last = values.len().checked_sub(1)?;
    let at = (share * values.len() as f64).ceil() as usize;
    Some(values[at.saturating_sub(1).min(last)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_odd_and_even_and_none() {
        assert_eq!(median([3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median([]), None);
    }

    #[test]
    fn a_percentile_is_one_of_the_values() {
        let values: Vec<f64> = (1..=200).map(f64::from).collect();
        assert_eq!(percentile(&values, 0.5), Some(100.0));
        assert_eq!(percentile(&values, 0.99), Some(198.0));
        assert_eq!(percentile(&[7.0], 0.99), Some(7.0));
        assert_eq!(percentile(&[], 0.5), None);
    }
}
