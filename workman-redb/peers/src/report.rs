//! Figures as a table in Markdown, and as ratios.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::figure::Figure;

/// The system that all others are set against.
const OURS: &str = "workman";

/// A table of all figures, and a line for each workload that we and another system ran. A later figure of the same workload, system
/// and durability takes the place of an earlier one.
#[must_use]
pub fn markdown(figures: &[Figure]) -> String {
    let columns = columns(figures);
    let mut cells = BTreeMap::new();
    for figure in figures {
        cells.insert((order(&figure.workload), column(figure)), figure);
    }
    let mut workloads: Vec<_> = figures.iter().map(|figure| (order(&figure.workload), figure)).collect();
    workloads.sort_by(|(one, _), (other, _)| one.cmp(other));
    workloads.dedup_by(|(one, _), (other, _)| one == other);

    let mut text = String::from("| |");
    columns.iter().for_each(|column| write!(text, " {} |", header(column)).expect("a string takes all"));
    text.push_str("\n|---|");
    text.push_str(&"---|".repeat(columns.len()));
    for (id, any) in &workloads {
        let row: Vec<_> = columns.iter().map(|column| cells.get(&(id.clone(), column.clone())).copied()).collect();
        let best = best(row.iter().flatten().copied());
        write!(text, "\n| {}, {} |", any.workload, any.unit).expect("a string takes all");
        for cell in row {
            write!(text, " {} |", shown(cell, best)).expect("a string takes all");
        }
    }
    text.push_str("\n\n");
    for (id, _) in &workloads {
        let row: Vec<&Figure> =
            columns.iter().filter_map(|column| cells.get(&(id.clone(), column.clone()))).copied().collect();
        if let Some(line) = ratio(&row) {
            writeln!(text, "- {line}").expect("a string takes all");
        }
    }
    text
}

type Column = (u8, usize, String, Option<String>);

/// What makes a column: the system and its durability; ours come first and controls last.
fn columns(figures: &[Figure]) -> Vec<(String, Option<String>)> {
    let mut columns: Vec<Column> = Vec::new();
    for (at, figure) in figures.iter().enumerate() {
        let (system, durability) = column(figure);
        let place = if system == OURS {
            0
        } else if is_control(figure) {
            2
        } else {
            1
        };
        if !columns.iter().any(|(_, _, one, other)| *one == system && *other == durability) {
            columns.push((place, at, system, durability));
        }
    }
    columns.sort();
    columns.into_iter().map(|(_, _, system, durability)| (system, durability)).collect()
}

fn column(figure: &Figure) -> (String, Option<String>) {
    (figure.system.clone(), figure.durability.clone().filter(|_| !is_control(figure)))
}

fn header((system, durability): &(String, Option<String>)) -> String {
    durability.as_ref().map_or_else(|| system.clone(), |durability| format!("{system}: {durability}"))
}

/// "B10" comes after "B9".
fn order(workload: &str) -> (u32, String) {
    let digits: String = workload.chars().skip(1).take_while(char::is_ascii_digit).collect();
    (digits.parse().unwrap_or(u32::MAX), workload.to_owned())
}

fn is_control(figure: &Figure) -> bool {
    figure.system.contains("(control)")
}

fn syncs(figure: &Figure) -> bool {
    figure.syncs.unwrap_or(true)
}

fn less_is_better(figure: &Figure) -> bool {
    matches!(figure.unit.as_str(), "ms" | "us" | "switches" | "bytes" | "MiB")
}

/// The best of those that sync what they acknowledge; a control takes no part.
fn best<'a>(row: impl Iterator<Item = &'a Figure>) -> Option<f64> {
    let row: Vec<&Figure> = row.filter(|figure| !is_control(figure) && syncs(figure)).collect();
    let values = row.iter().filter_map(|figure| figure.value);
    if row.first().is_some_and(|figure| less_is_better(figure)) {
        values.min_by(f64::total_cmp)
    } else {
        values.max_by(f64::total_cmp)
    }
}

fn shown(cell: Option<&Figure>, best: Option<f64>) -> String {
    let Some(figure) = cell else { return "-".to_owned() };
    let Some(value) = figure.value else { return "failed".to_owned() };
    let mut text = number(value);
    if best == Some(value) && syncs(figure) && !is_control(figure) {
        text = format!("**{text}**");
    }
    if figure.acknowledged.zip(figure.found).is_some_and(|(acknowledged, found)| found < acknowledged) {
        text.push_str(" (lost works)");
    }
    text
}

fn number(value: f64) -> String {
    match value.abs() {
        100.0.. => {
            let digits = format!("{value:.0}");
            let groups: Vec<&str> =
                digits.as_bytes().rchunks(3).rev().filter_map(|group| str::from_utf8(group).ok()).collect();
            groups.join(",")
        }
        10.0..100.0 => format!("{value:.1}"),
        _ if value == value.trunc() => format!("{value:.0}"),
        _ => format!("{value:.2}"),
    }
}

/// How many times as good we are as the best other system that syncs.
fn ratio(row: &[&Figure]) -> Option<String> {
    let ours = row.iter().find(|figure| figure.system == OURS)?;
    let others = row.iter().filter(|figure| figure.system != OURS && !is_control(figure) && syncs(figure));
    let best = best(others.clone().copied())?;
    let other = others.clone().find(|figure| figure.value == Some(best))?;
    let ours_value = ours.value?;
    let (above, below) = if less_is_better(ours) { (best, ours_value) } else { (ours_value, best) };
    let verdict = match (above == below, below == 0.0) {
        (true, _) => "as good as".to_owned(),
        (_, true) => "better than".to_owned(),
        _ if above < below => format!("{:.2} × as good as (a loss)", above / below),
        _ => format!("{:.2} × as good as", above / below),
    };
    let (ours_value, best, unit) = (number(ours_value), number(best), &ours.unit);
    Some(format!("{}: {OURS}, {ours_value} {unit}, is {verdict} {}, {best} {unit}", ours.workload, other.system))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(workload: &str, system: &str, syncs: bool, unit: &str, value: f64) -> Figure {
        Figure {
            workload: workload.to_owned(),
            system: system.to_owned(),
            durability: Some(if syncs { "syncs".to_owned() } else { "does not".to_owned() }),
            value: Some(value),
            unit: unit.to_owned(),
            syncs: Some(syncs),
            ..Figure::default()
        }
    }

    #[test]
    fn the_best_that_syncs_is_bold_and_losses_are_told() {
        let text = markdown(&[
            figure("B10", "other", true, "ms", 2.0),
            figure("B2", "other", true, "works/s", 40_000.0),
            figure("B2", "other", false, "works/s", 90_000.0),
            figure("B2", "redb (control)", true, "works/s", 1e6),
            figure("B2", "workman", true, "works/s", 60_000.0),
            figure("B10", "workman", true, "ms", 4.0),
        ]);
        let expected = "\
| | workman: syncs | other: syncs | other: does not | redb (control) |
|---|---|---|---|---|
| B2, works/s | **60,000** | 40,000 | 90,000 | 1,000,000 |
| B10, ms | 4 | **2** | - | - |

- B2: workman, 60,000 works/s, is 1.50 × as good as other, 40,000 works/s
- B10: workman, 4 ms, is 0.50 × as good as (a loss) other, 2 ms
";
        assert_eq!(text, expected);
    }

    #[test]
    fn nothing_is_better_than_something() {
        let text =
            markdown(&[figure("B9", "workman", true, "switches", 0.0), figure("B9", "other", true, "switches", 12.0)]);
        assert!(text.ends_with("- B9: workman, 0 switches, is better than other, 12.0 switches\n"), "{text}");
    }

    #[test]
    fn a_lost_work_voids_a_figure() {
        let lost = Figure { acknowledged: Some(2.0), found: Some(1.0), ..figure("B1", "other", true, "works/s", 1.0) };
        assert!(markdown(&[lost]).contains("(lost works)"));
    }
}
