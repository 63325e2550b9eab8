//! What a refusal says.

use super::*;

#[test]
fn a_refusal_names_whom_it_is_about_and_what_is_wrong() {
    let (work, prerequisite) = (id(0x1_2345_6789), id(0x9_8765_4321));
    let name = "nightly backup";
    let table: [(Refusal, &[&str]); 18] = [
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
        (Refusal::NotRetryable { id: work, state: WorkState::Cancelled }, &["was cancelled", "enqueue a new request"]),
        (Refusal::NotRetryable { id: work, state: WorkState::Running }, &["is running", "parked or has failed"]),
        (Refusal::PrerequisiteGone { work, prerequisite }, &["not stored any more", &prerequisite.to_string()]),
        (Refusal::PrerequisiteEnded { work, prerequisite }, &["retry that one", &prerequisite.to_string()]),
        (Refusal::StillEnding(work), &["still on its way", "try again in a moment"]),
        (Refusal::TooManyDependents { id: work, limit: 10_000 }, &["10000 edges", "enqueue it anew"]),
        (Refusal::ReasonTooLong { size: 2_000, limit: 1_024 }, &["2000 bytes", "1024", "in short"]),
        (Refusal::Never(work), &["would never run", "cancel the work"]),
        (Refusal::EpochClosed(4_711), &["4711", "start a new manager"]),
    ];
    for (refusal, words) in table {
        let said = refusal.to_string();
        assert!(words.iter().all(|word| said.contains(word)), "{said}");
        let is_about_work = !matches!(refusal, Refusal::EpochClosed(_) | Refusal::ReasonTooLong { .. });
        assert_eq!(said.contains(&work.to_string()), is_about_work, "{said}");
    }
}
