//! What a watcher has shown last, and how it becomes what is stored now.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::WorkId;
use crate::info::WorkInfo;
use crate::query::{Cursor, Page};
use crate::store::Ownership;

/// A snapshot of a query, in the order in which a page of it comes.
pub(super) struct Mirror {
    works: BTreeMap<Cursor, WorkInfo>,
    places: BTreeMap<WorkId, Cursor>,
    /// The commit that it shows, and no later one if it can be patched.
    commit: u64,
    /// What it costs to read it in whole, as far as is known.
    cost: usize,
    patches: Patches,
}

/// Whether a snapshot can be kept up by reading what was touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Patches {
    Possible,
    /// The store does not say where a work is placed. Or it is a shared one: a page of those may show later commits than it says,
    /// and what it shows of them would be mixed with what it does not show.
    Impossible,
}

impl Mirror {
    /// Of a page that shows all.
    pub(super) fn of(page: Page, ownership: Ownership) -> Self {
        let Page { works, looked, places, commit, .. } = page;
        let patches = match ownership {
            Ownership::Exclusive if places.len() == works.len() => Patches::Possible,
            _ => Patches::Impossible,
        };
        let in_turn = (0..).map(|turn| Cursor::Id(WorkId::from_u128(turn)));
        let places: Vec<Cursor> = match patches {
            Patches::Possible => places,
            Patches::Impossible => in_turn.take(works.len()).collect(),
        };
        let place_of = works.iter().map(|info| info.id).zip(places.iter().cloned()).collect();
        Mirror { works: places.into_iter().zip(works).collect(), places: place_of, commit, cost: looked, patches }
    }

    pub(super) fn commit(&self) -> u64 {
        self.commit
    }

    pub(super) fn len(&self) -> usize {
        self.works.len()
    }

    /// Whether it is better to read these works than everything.
    pub(super) fn is_better_patched(&self, touched: &BTreeSet<WorkId>) -> bool {
        self.patches == Patches::Possible && touched.len() < self.cost
    }

    /// All works, in order.
    pub(super) fn works(&self) -> Vec<WorkInfo> {
        self.works.values().cloned().collect()
    }

    /// Whether it shows what the other one shows.
    pub(super) fn shows_the_same(&self, other: &Mirror) -> bool {
        self.works.len() == other.works.len() && self.works.values().eq(other.works.values())
    }

    /// Takes in a page of the works that were touched since. Says whether it shows something else now.
    pub(super) fn patch(&mut self, touched: &BTreeSet<WorkId>, page: Page) -> Shown {
        self.commit = page.commit;
        let now: BTreeMap<WorkId, (Cursor, WorkInfo)> =
            page.works.into_iter().zip(page.places).map(|(info, place)| (info.id, (place, info))).collect();
        let (mut shown, mut moved) = (Shown::TheSame, false);
        for id in touched {
            match (self.places.get(id), now.get(id)) {
                (None, None) => {}
                (Some(was), Some((place, info))) => {
                    moved |= was != place;
                    if self.works.get(was) != Some(info) {
                        shown = Shown::Another;
                    }
                }
                _ => shown = Shown::Another,
            }
        }
        // Works may change places without passing each other, which nobody sees.
        let order = (shown == Shown::TheSame && moved).then(|| self.order());
        self.replace(touched, now);
        if order.is_some_and(|order| order != self.order()) {
            shown = Shown::Another;
        }
        self.cost = self.cost.max(self.works.len());
        shown
    }

    fn order(&self) -> Vec<WorkId> {
        self.works.values().map(|info| info.id).collect()
    }

    fn replace(&mut self, touched: &BTreeSet<WorkId>, now: BTreeMap<WorkId, (Cursor, WorkInfo)>) {
        for id in touched {
            if let Some(place) = self.places.remove(id) {
                self.works.remove(&place);
            }
        }
        for (id, (place, info)) in now {
            self.places.insert(id, place.clone());
            self.works.insert(place, info);
        }
    }
}

/// What a patch did to what is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    TheSame,
    Another,
}
