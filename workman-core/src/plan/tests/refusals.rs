//! What a refusal says.

use super::*;

#[test]
fn a_refusal_names_whom_it_is_about_and_what_is_wrong() {
    let (work, prerequisite) = (id(0x1_2345_6789), id(0x9_8765_4321));
    let name = "nightly backup";
    let table: [(Refusal, &[&str]); 10] = [
        (Refusal::NotFound(work), &["no work has the id", "it has finished and was pruned"]),
        (Refusal::Stale(work), &["fenced off"]),
        (Refusal::IdReused(work), &["used before for another request"]),
        (
            Refusal::MissingPrerequisite { work, prerequisite },
            &["which is not stored", "was pruned", "was kept", &prerequisite.to_string()],
        ),
        (
            Refusal::PeriodicPrerequisite { work, worker: "resize".into(), prerequisite, name: None },
            &["\"resize\"", "never finishes", &prerequisite.to_string()],
        ),
        (
            Refusal::PeriodicPrerequisite { work, worker: "resize".into(), prerequisite, name: Some(name.into()) },
            &["\"resize\"", "never finishes", name, "use `Replace`"],
        ),
        (Refusal::Cycle(work), &["waits for itself"]),
        (Refusal::NotPeriodic { name: name.into(), id: work }, &["not periodic", name]),
        (Refusal::NotParked { id: work, state: WorkState::Blocked }, &["not parked", &WorkState::Blocked.to_string()]),
        (Refusal::EpochClosed(4_711), &["4711", "start a new manager"]),
    ];
    for (refusal, words) in table {
        let said = refusal.to_string();
        assert!(words.iter().all(|word| said.contains(word)), "{said}");
        let is_about_work = !matches!(refusal, Refusal::EpochClosed(_));
        assert_eq!(said.contains(&work.to_string()), is_about_work, "{said}");
    }
}
