//! Figures as a table in Markdown, and as ratios.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use crate::figure::Figure;

/// The system that all others are set against.
const OURS: &str = "workman";

/// Of several figures under this name the best one counts.
const B4_BEST: &str = "B4 best";

/// A table of the figures that others have too, and a line for each workload that we and another system ran. A later figure of the
/// same workload, system and durability takes the place of an earlier one.
#[must_use]
pub fn markdown(figures: &[Figure]) -> String {
    let figures = &comparable(figures);
    let columns = columns(figures);
    let mut cells = BTreeMap::new();
    for figure in figures {
        let place = (order(figure), column(figure));
        let slower = |kept: &&Figure| figure.workload == B4_BEST && figure.value < kept.value;
        if !cells.get(&place).is_some_and(slower) {
            cells.insert(place, figure);
        }
    }
    let mut workloads: Vec<_> = figures.iter().map(|figure| (order(figure), figure)).collect();
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

/// Rows are told apart by their workload and unit, and "B10" comes after "B9".
fn order(figure: &Figure) -> (u32, String, String) {
    let digits: String = figure.workload.chars().skip(1).take_while(char::is_ascii_digit).collect();
    (digits.parse().unwrap_or(u32::MAX), figure.workload.clone(), figure.unit.clone())
}

/// Figures under the names that both benchmarks share, without those that no other system has.
fn comparable(figures: &[Figure]) -> Vec<Figure> {
    let mut figures: Vec<Figure> = figures.iter().cloned().map(renamed).collect();
    let others: BTreeSet<_> =
        figures.iter().filter(|figure| figure.system != OURS && !is_control(figure)).map(order).collect();
    figures.retain(|figure| others.is_empty() || others.contains(&order(figure)) || figure.workload == "control");
    figures
}

/// What workman's own benchmarks name otherwise, since they measure more.
fn renamed(mut figure: Figure) -> Figure {
    let slots = figure.setting.as_deref().and_then(|setting| setting.strip_prefix("slots "));
    match (figure.workload.as_str(), slots) {
        ("B4", Some(slots)) if slots.split(',').next() == Some("16") => figure.workload = "B4 at 16".to_owned(),
        ("B4", Some(_)) => figure.workload = B4_BEST.to_owned(),
        ("B8 start", _) => figure.workload = "B8".to_owned(),
        ("B9 nothing due", _) => figure.workload = "B9".to_owned(),
        _ => {}
    }
    match figure.unit.as_str() {
        "us" => {
            figure.value = figure.value.map(|value| value / 1e3);
            figure.unit = "ms".to_owned();
        }
        "ms to the first body" => figure.unit = "ms".to_owned(),
        unit if unit.contains("switches") => figure.unit = "switches".to_owned(),
        _ => {}
    }
    figure
}

/// The disk and raw redb are what is possible, and no systems.
fn is_control(figure: &Figure) -> bool {
    figure.system.contains("(control)") || figure.system.starts_with("raw ")
}

fn syncs(figure: &Figure) -> bool {
    figure.durable.unwrap_or(true)
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
            durable: Some(syncs),
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
    fn our_own_names_find_their_rows() {
        let slots = |slots: &str, value| Figure {
            setting: Some(format!("slots {slots}")),
            ..figure("B4", "workman", true, "works/s", value)
        };
        let text = markdown(&[
            figure("B4 at 16", "other", true, "works/s", 10.0),
            figure("B4 best", "other", true, "works/s", 20.0),
            figure("B5 body", "other", true, "ms", 2.0),
            slots("16", 30.0),
            slots("256", 90.0),
            slots("64", 60.0),
            figure("B4", "workman", true, "% of raw redb", 50.0),
            figure("B5 body", "workman", true, "us", 500.0),
        ]);
        let lines: Vec<&str> = text.lines().skip(2).take(4).collect();
        let expected = [
            "| B4 at 16, works/s | **30.0** | 10.0 |",
            "| B4 best, works/s | **90.0** | 20.0 |",
            "| B5 body, ms | **0.50** | 2 |",
            "",
        ];
        assert_eq!(lines, expected);
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
