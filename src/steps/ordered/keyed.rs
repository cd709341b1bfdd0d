//! Something for each of a bounded number of keys, in a row: what is at its front goes first. Everything is O(1).

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// No neighbour.
const NONE: u32 = u32::MAX;

/// The keys are hashes: what could be made of them is no better.
#[derive(Default)]
pub(super) struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, _: &[u8]) {
        debug_assert!(false, "keys are numbers of 128 bits");
    }
    fn write_u128(&mut self, key: u128) {
        self.0 = key as u64;
    }
}

/// A row of values with keys.
pub struct Keyed<T> {
    places: HashMap<u128, u32, BuildHasherDefault<AsIs>>,
    slots: Vec<Slot<T>>,
    /// Slots that are not used.
    free: Vec<u32>,
    front: u32,
    back: u32,
}

struct Slot<T> {
    key: u128,
    value: T,
    before: u32,
    behind: u32,
}

impl<T: Default> Default for Keyed<T> {
    fn default() -> Self {
        Keyed { places: HashMap::default(), slots: Vec::new(), free: Vec::new(), front: NONE, back: NONE }
    }
}

impl<T: Default> Keyed<T> {
    /// The most memory that so many keys take, in bytes: what grows by doubling may be half empty.
    pub fn memory(keys: usize) -> usize {
        keys * 2 * (size_of::<Slot<T>>() + size_of::<(u128, u32)>())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// The value of `key`.
    pub fn get(&mut self, key: u128) -> Option<&mut T> {
        let at = *self.places.get(&key)?;
        Some(&mut self.slots[at as usize].value)
    }

    /// The first of the row.
    pub fn first(&self) -> Option<&T> {
        (self.front != NONE).then(|| &self.slots[self.front as usize].value)
    }

    /// Takes the first out of the row.
    pub fn take_first(&mut self) -> Option<T> {
        let at = self.front;
        if at == NONE {
            return None;
        }
        self.unlink(at);
        self.places.remove(&self.slots[at as usize].key);
        self.free.push(at);
        Some(std::mem::take(&mut self.slots[at as usize].value))
    }

    /// Puts `key`, which is not there, at the end of the row.
    pub fn add(&mut self, key: u128, value: T) {
        let slot = Slot { key, value, before: NONE, behind: NONE };
        let at = match self.free.pop() {
            Some(at) => {
                self.slots[at as usize] = slot;
                at
            }
            None => {
                self.slots.push(slot);
                (self.slots.len() - 1) as u32
            }
        };
        self.places.insert(key, at);
        self.link_last(at);
    }

    /// Moves `key` to the end of the row and gives its value, if it is there.
    pub fn touch(&mut self, key: u128) -> Option<&mut T> {
        let at = *self.places.get(&key)?;
        if at != self.back {
            self.unlink(at);
            self.link_last(at);
        }
        Some(&mut self.slots[at as usize].value)
    }

    fn unlink(&mut self, at: u32) {
        let Slot { before, behind, .. } = self.slots[at as usize];
        match before {
            NONE => self.front = behind,
            before => self.slots[before as usize].behind = behind,
        }
        match behind {
            NONE => self.back = before,
            behind => self.slots[behind as usize].before = before,
        }
    }

    fn link_last(&mut self, at: u32) {
        let before = self.back;
        let slot = &mut self.slots[at as usize];
        (slot.before, slot.behind) = (before, NONE);
        match before {
            NONE => self.front = at,
            before => self.slots[before as usize].behind = at,
        }
        self.back = at;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_does_what_a_list_of_pairs_does(deeds in prop::collection::vec((0..4_u8, 0..6_u128), 0..80)) {
            let (mut keyed, mut model) = (Keyed::default(), Vec::<(u128, usize)>::new());
            for (number, (deed, key)) in deeds.into_iter().enumerate() {
                let at = model.iter().position(|(known, _)| *known == key);
                match (deed, at) {
                    (0 | 1, None) => {
                        keyed.add(key, number);
                        model.push((key, number));
                    }
                    (2, _) => {
                        let pair = at.map(|at| model.remove(at));
                        model.extend(pair);
                        prop_assert_eq!(keyed.touch(key).copied(), pair.map(|(_, value)| value));
                    }
                    (3, _) => {
                        let first = (!model.is_empty()).then(|| model.remove(0));
                        prop_assert_eq!(keyed.take_first(), first.map(|(_, value)| value));
                    }
                    _ => prop_assert_eq!(keyed.get(key).copied(), at.map(|at| model[at].1)),
                }
                prop_assert_eq!(keyed.len(), model.len());
                prop_assert_eq!(keyed.first().copied(), model.first().map(|(_, value)| *value));
            }
        }
    }
}
