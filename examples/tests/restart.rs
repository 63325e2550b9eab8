//! `count`, killed and started again, goes on where it stopped.
#![allow(clippy::unwrap_used, reason = "a test may panic wherever it stands")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use workman_examples::process::{empty_folder, example};

#[test]
fn a_counter_that_was_killed_goes_on_from_its_checkpoint() {
    let folder = empty_folder("restart").unwrap();
    let program = || -> Command {
        let mut program = example("count").unwrap();
        program.args(["--to", "40", "--pace", "50", "--store"]).arg(folder.join("works.redb"));
        program
    };
    let mut child = program().stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    lines.take_while(|line| line != "35 of 40").for_each(drop); // 1.75 s, and a checkpoint is a second old at the most
    child.kill().unwrap();
    child.wait().unwrap();

    let output = program().output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("going on with"), "{said}");
    let seen: Vec<u32> = said.lines().filter_map(|line| line.strip_suffix(" of 40")?.parse().ok()).collect();
    assert!(seen.first().is_some_and(|first| *first > 5), "it began anew: {said}");
    assert!(seen.is_sorted(), "progress went back: {said}");
    assert!(said.ends_with("counted to 40\n"), "{said}");
    fs::remove_dir_all(folder).unwrap();
}
