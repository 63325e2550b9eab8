//! [`ById`]: what is known of works, by their ids.

use std::collections::BTreeMap;

use crate::id::WorkId;

/// A map whose keys mostly come in order, since ids grow with time. What comes in order lies in a row, where adding is cheap and
/// finding is a search by halves; the rest lies in a tree, so that no order is slow.
#[derive(Clone, Debug)]
pub struct ById<T> {
    row: Vec<(WorkId, T)>,
    others: BTreeMap<WorkId, T>,
}

impl<T> Default for ById<T> {
    fn default() -> Self {
        ById { row: Vec::new(), others: BTreeMap::new() }
    }
}

impl<T> ById<T> {
    /// So many more are about to be added.
    pub fn reserve(&mut self, more: usize) {
        self.row.reserve_exact(more);
    }

    /// What is known of this work.
    #[must_use]
    pub fn get(&self, id: &WorkId) -> Option<&T> {
        match self.place(id) {
            Some(Ok(place)) => Some(&self.row[place].1),
            Some(Err(_)) => self.others.get(id),
            None => None,
        }
    }

    /// Whether something is known of this work.
    #[must_use]
    pub fn contains_key(&self, id: &WorkId) -> bool {
        self.get(id).is_some()
    }

    /// Adds what is known of this work, or replaces it.
    pub fn insert(&mut self, id: WorkId, value: T) {
        match self.place(&id) {
            Some(Ok(place)) => self.row[place].1 = value,
            Some(Err(_)) => drop(self.others.insert(id, value)),
            None => self.row.push((id, value)),
        }
    }

    /// Everything, in the order of the ids.
    pub fn into_ordered(self) -> impl ExactSizeIterator<Item = (WorkId, T)> {
        let ById { mut row, others } = self;
        if !others.is_empty() {
            row.extend(others);
            row.sort_unstable_by_key(|(id, _)| *id);
        }
        row.into_iter()
    }

    /// Where the id lies in the row, or would lie; none if that is behind all that is known.
    fn place(&self, id: &WorkId) -> Option<Result<usize, usize>> {
        match self.row.last() {
            Some((last, _)) if id <= last => Some(self.row.binary_search_by_key(id, |(id, _)| *id)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_map_whatever_the_order_is() {
        let mut bits = 1_u64;
        for length in 0..60 {
            let (mut map, mut model) = (ById::default(), BTreeMap::new());
            for value in 0..length {
                // Half of the steps go on, the others go anywhere.
                bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let number = if bits >> 63 == 0 { 100 + value } else { bits >> 33 & 0x7f };
                let id = WorkId::from_u128(u128::from(number));
                map.insert(id, value);
                model.insert(id, value);
                for number in 0..200 {
                    let id = WorkId::from_u128(number);
                    assert_eq!(map.get(&id), model.get(&id), "{number} of {model:?}");
                    assert_eq!(map.contains_key(&id), model.contains_key(&id), "{number} of {model:?}");
                }
            }
            assert_eq!(map.into_ordered().collect::<Vec<_>>(), model.into_iter().collect::<Vec<_>>());
        }
    }
}
