//! How often objects of packs are still needed: by rows, and as what others are made of. With that, a thread lets go at once
//! what nobody needs any more, so that what it works on stays near and what is needed later is kept for longer.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::{AtomicU32, Ordering},
};

use hashbrown::{HashMap, hash_map::Entry};

use super::packs::{Packs, Place};

/// Marks an object that was decoded: what it is made of is counted for it once.
const DECODED: u32 = 1 << 31;

/// So many objects are counted beside those that are asked for: what a file is made of in a pack is mostly what it will be
/// later.
const OBJECTS_AHEAD: usize = 1 << 18;

/// Counts of a forest of deltas, shared by threads.
#[derive(Default)]
pub struct Needs {
    counts: HashMap<Place, AtomicU32>,
}

impl Needs {
    /// What an object takes at most, in bytes: tables double.
    pub const OBJECT_BYTES: usize = 40;

    /// No counts yet, with room for those of so many objects.
    pub fn with_room(objects: usize) -> Self {
        Needs { counts: HashMap::with_capacity(objects) }
    }

    /// Counts a need for the object at `place`, and when it is the first one, for what it is made of. No more than
    /// `objects_max` are counted, and some ahead of that: many more could be behind a few objects.
    pub fn count(&mut self, packs: &Packs, place: Place, objects_max: usize) {
        let objects_max = objects_max.saturating_add(OBJECTS_AHEAD);
        // Hostile bytes must not take the thread with them; what is odd is counted in part, and kept for longer.
        let _odd = catch_unwind(AssertUnwindSafe(|| self.add(packs, place, objects_max)));
    }

    fn add(&mut self, packs: &Packs, place: Place, objects_max: usize) {
        let mut next = Some(place);
        while let Some(place) = next {
            let is_full = self.counts.len() >= objects_max;
            next = match self.counts.entry(place) {
                Entry::Vacant(_) if is_full => None,
                Entry::Vacant(new) => {
                    new.insert(AtomicU32::new(1));
                    packs.base(place)
                }
                Entry::Occupied(mut known) => {
                    let count = known.get_mut().get_mut();
                    *count = (*count + 1).min(DECODED - 1);
                    None
                }
            };
        }
    }

    /// Notes that the object was decoded; true the first time.
    pub(super) fn is_first(&self, place: Place) -> bool {
        self.counts.get(&place).is_some_and(|count| count.fetch_or(DECODED, Ordering::Relaxed) & DECODED == 0)
    }

    /// Takes one need away; true where it was the last one.
    pub(super) fn take(&self, place: Place) -> bool {
        let less = |count: u32| (count & !DECODED > 0).then(|| count - 1);
        let taken = |count: &AtomicU32| count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        self.counts.get(&place).and_then(|count| taken(count).ok()).is_some_and(|count| count & !DECODED == 1)
    }
}

#[cfg(test)]
impl Needs {
    /// These counts.
    pub(super) fn with_counts<const N: usize>(counts: [(Place, u32); N]) -> Self {
        Needs { counts: counts.map(|(place, count)| (place, AtomicU32::new(count))).into_iter().collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_need_is_told_once() {
        let place = |offset| Place::new(1, offset).expect("a small offset");
        let needs = Needs::with_counts([(place(1), 2), (place(2), 1)]);
        assert_eq!([1, 1, 2].map(|at| needs.is_first(place(at))), [true, false, true]);
        assert_eq!([1, 1, 1, 2, 2, 3].map(|at| needs.take(place(at))), [false, true, false, true, false, false]);
        assert!(!needs.is_first(place(3)), "nothing is known of it");
    }
}
