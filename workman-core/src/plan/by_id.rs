//! [`ById`]: what is known of works, by their ids; and [`Few`]: what is known by anything else, of which there is mostly little.
//!
//! A plan has a handful of each, and most of them stay empty: to make and to drop one that is empty must cost nothing.

use std::collections::BTreeMap;

use crate::id::WorkId;

/// A map whose keys mostly come in order, since ids grow with time. What comes in order lies in a row, where adding is cheap and
/// finding is a search by halves; the rest lies in a tree, so that no order is slow.
#[derive(Clone, Debug)]
pub struct ById<T> {
    row: Vec<(WorkId, T)>,
    /// There once something came out of order.
    others: Option<BTreeMap<WorkId, T>>,
}

impl<T> Default for ById<T> {
    fn default() -> Self {
        ById { row: Vec::new(), others: None }
    }
}

impl<T> ById<T> {
    /// So many more are about to be added. The first time is mostly the only one.
    pub fn reserve(&mut self, more: usize) {
        if self.row.is_empty() {
            self.row.reserve_exact(more);
        } else {
            self.row.reserve(more);
        }
    }

    /// What is known of this work.
    #[must_use]
    pub fn get(&self, id: &WorkId) -> Option<&T> {
        match self.place(id) {
            Some(Ok(place)) => Some(&self.row[place].1),
            Some(Err(_)) => self.others.as_ref()?.get(id),
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
            Some(Err(_)) => drop(self.others.get_or_insert_default().insert(id, value)),
            None => self.row.push((id, value)),
        }
    }

    /// The works of which something is known, in no order that matters.
    pub(super) fn ids(&self) -> impl Iterator<Item = WorkId> + '_ {
        self.row.iter().map(|(id, _)| *id).chain(self.others.iter().flat_map(|others| others.keys().copied()))
    }

    /// What is known, in no order that matters.
    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        self.row.iter().map(|(_, value)| value).chain(self.others.iter().flat_map(|others| others.values()))
    }

    /// Everything, in the order of the ids.
    pub fn into_ordered(self) -> impl ExactSizeIterator<Item = (WorkId, T)> {
        let ById { mut row, others } = self;
        if let Some(others) = others {
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

/// So many lie in a row, where each look goes through all of them; more lie in a tree.
const FEW: usize = 8;

/// A map that mostly has very few entries.
#[derive(Clone, Debug)]
pub struct Few<K, V> {
    row: Vec<(K, V)>,
    /// There once there are many, and then all are in it.
    many: Option<BTreeMap<K, V>>,
}

impl<K, V> Default for Few<K, V> {
    fn default() -> Self {
        Few { row: Vec::new(), many: None }
    }
}

impl<K: Ord, V> Few<K, V> {
    /// What is known of this.
    #[must_use]
    pub fn get(&self, key: &K) -> Option<&V> {
        match &self.many {
            Some(many) => many.get(key),
            None => self.row.iter().find(|(known, _)| known == key).map(|(_, value)| value),
        }
    }

    /// Whether something is known of this.
    #[must_use]
    pub fn contains_key(&self, key: &K) -> bool {
        self.get(key).is_some()
    }

    /// Adds what is known of this, or replaces it.
    pub fn insert(&mut self, key: K, value: V) {
        if self.many.is_none()
            && let Some((_, known)) = self.row.iter_mut().find(|(known, _)| *known == key)
        {
            *known = value;
        } else if self.many.is_none() && self.row.len() < FEW {
            self.row.push((key, value));
        } else {
            self.many.get_or_insert_with(|| self.row.drain(..).collect()).insert(key, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_and_many_are_a_map_too() {
        let (mut map, mut model) = (Few::default(), BTreeMap::new());
        for value in 0..100_u32 {
            // Each key comes twice, the second time as another.
            let key = value * 7 % 50;
            map.insert(key, value);
            model.insert(key, value);
            for key in 0..50 {
                assert_eq!(map.get(&key), model.get(&key), "{key} of {model:?}");
                assert_eq!(map.contains_key(&key), model.contains_key(&key), "{key} of {model:?}");
            }
        }
    }

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
