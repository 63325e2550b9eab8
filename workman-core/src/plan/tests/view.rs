//! What a snapshot says about itself.

use super::super::{SelectorWanted, Want};
use super::*;
use crate::constraints::Constraints;
use crate::index::Suspects;

#[test]
fn a_snapshot_has_what_was_loaded_and_nothing_else() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([work(1).name("n"), work(2).after([1])]);
    let claimed = house.run(epoch, 1);
    house.done(&note(&claimed, Some("1"), None));
    house.settle(&claimed, interrupted());
    let lane = house.record(1).lane;
    let wants = [
        Want::Work(id(1)),
        Want::Work(id(99)),
        Want::Spec(id(1)),
        Want::Notes(id(1)),
        Want::Name { name: "n".into(), limit: 1 },
        Want::Leaves("n".into()),
        Want::Holder("n".into()),
        Want::Dependents { of: id(1), after: None, limit: 5 },
        Want::Descendants { of: id(2), after: None, limit: 5 },
        Want::Due { limit: 5 },
        Want::Ready { lane, suspects: Suspects::None, limit: 5 },
        Want::Lane { worker: "worker".into(), constraints: Constraints::NONE, urgency: Urgency::Ordinary },
        Want::Lanes,
        Want::Running { epoch, limit: 5 },
        Want::DeadClaims { limit: 5 },
        Want::Selected { selector: SelectorWanted::All, before: 9, after: None, limit: 5 },
        Want::Cascades,
    ];
    for want in wants {
        let mut view = Snapshot::default();
        assert!(!view.has(&want), "{want:?} was not loaded yet");
        load(&house.rows, &want.clone().into(), &mut view, &mut Noticed::default()).unwrap();
        assert!(view.has(&want), "{want:?} was loaded");
        assert!(!view.has(&Want::Spec(id(50))) && !view.has(&Want::Running { epoch: 50, limit: 5 }), "{want:?}");
    }
}

#[test]
fn of_work_that_does_not_exist_there_is_nothing_more_to_load() {
    let house = House::new();
    let mut view = Snapshot::default();
    load(&house.rows, &Want::Work(id(1)).into(), &mut view, &mut Noticed::default()).unwrap();
    assert!(view.has(&Want::Spec(id(1))));
    assert!(!view.has(&Want::Spec(id(2))));
}
