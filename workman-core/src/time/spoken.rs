//! [`Spoken`]: a length of time as people write it.

use std::fmt;
use std::time::Duration;

/// A length of time in its two largest units: "1 h 30 min", "30 s", "250 ms". What is left over is rounded up, so that nobody looks too
/// early.
#[derive(Clone, Copy)]
pub(crate) struct Spoken(pub(crate) Duration);

/// Each unit, one and many of it, with its length in seconds.
const UNITS: [(&str, &str, u64); 4] = [("day", "days", 86_400), ("h", "h", 3_600), ("min", "min", 60), ("s", "s", 1)];

impl fmt::Display for Spoken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_nanos().div_ceil(1_000_000);
        if millis < 1_000 && millis > 0 {
            return write!(f, "{millis} ms");
        }
        let tenths = millis.div_ceil(100);
        if tenths < 100 && !tenths.is_multiple_of(10) {
            return write!(f, "{}.{} s", tenths / 10, tenths % 10);
        }
        let mut seconds = u64::try_from(millis.div_ceil(1_000)).unwrap_or(u64::MAX);
        let largest = UNITS.iter().position(|(.., length)| seconds >= *length).unwrap_or(UNITS.len() - 1);
        let smallest = (largest + 1).min(UNITS.len() - 1);
        // A unit that is left out may fill up the one before it.
        seconds = seconds.div_ceil(UNITS[smallest].2).saturating_mul(UNITS[smallest].2);
        let largest = UNITS.iter().position(|(.., length)| seconds >= *length).unwrap_or(UNITS.len() - 1);
        let mut space = "";
        for (one, many, length) in &UNITS[largest..UNITS.len().min(largest + 2)] {
            let count = seconds / length;
            seconds %= length;
            if count > 0 || *length == 1 && space.is_empty() {
                write!(f, "{space}{count} {}", if count == 1 { one } else { many })?;
                space = " ";
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_read_as_people_write_them_and_round_up() {
        let millis = [
            (0, "0 s"),
            (1, "1 ms"),
            (999, "999 ms"),
            (1_000, "1 s"),
            (1_001, "1.1 s"),
            (2_500, "2.5 s"),
            (9_950, "10 s"),
            (29_001, "30 s"),
            (30_000, "30 s"),
            (59_999, "1 min"),
            (90_000, "1 min 30 s"),
            (3_600_000, "1 h"),
            (5_400_000, "1 h 30 min"),
            (86_399_999, "1 day"),
            (86_400_000, "1 day"),
            (183_600_000, "2 days 3 h"),
        ];
        for (length, wanted) in millis {
            assert_eq!(Spoken(Duration::from_millis(length)).to_string(), wanted, "{length} ms");
        }
        assert_eq!(Spoken(Duration::from_nanos(1)).to_string(), "1 ms");
        assert!(Spoken(Duration::MAX).to_string().contains("days"));
    }
}
