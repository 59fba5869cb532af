//! Where objects stand in the packs of a repository, and what they are deltas of.

use std::{
    cmp::Ordering,
    num::NonZeroU64,
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::OnceLock,
};

use gix::{
    hash::{Kind, oid},
    odb::pack::{
        data::{self, entry::Header},
        index,
    },
};

/// Where an object is: the number of the pack, and where in it the entry begins, which is never its start. Very many are
/// kept, so it is one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place(NonZeroU64);

impl Place {
    const OFFSET_BITS: u32 = 48;

    /// None where one of the two is none that is real.
    pub(super) fn new(pack: usize, offset: u64) -> Option<Self> {
        let is_real = offset >> Self::OFFSET_BITS == 0 && pack >> (u64::BITS - Self::OFFSET_BITS) == 0;
        let number = NonZeroU64::new((pack as u64) << Self::OFFSET_BITS | offset);
        number.filter(|_| is_real && offset > 0).map(Place)
    }

    pub(super) fn pack(self) -> usize {
        (self.0.get() >> Self::OFFSET_BITS) as usize
    }

    pub(super) fn offset(self) -> u64 {
        self.0.get() & ((1 << Self::OFFSET_BITS) - 1)
    }
}

/// The packs of a repository that could be opened.
#[derive(Default)]
pub struct Packs {
    list: Vec<(index::File, data::File)>,
    /// What makes looks at each of them shorter, where many are to come.
    starts: OnceLock<Vec<Starts>>,
}

impl Packs {
    /// Opens all packs in the directory `objects` of a repository.
    pub fn open(objects: &Path, hash: Kind) -> Packs {
        let files = std::fs::read_dir(objects.join("pack")).into_iter().flatten().flatten().map(|entry| entry.path());
        let mut indices: Vec<_> = files.filter(|path| path.extension().is_some_and(|end| end == "idx")).collect();
        indices.sort();
        let open = |path: &Path| {
            let data = path.with_extension("pack");
            // Anything but a file would be waited for.
            let files = path.is_file() && data.is_file();
            files.then(|| Some((index::File::at(path, hash).ok()?, data::File::at(&data, hash).ok()?))).flatten()
        };
        let open = |path: &Path| catch_unwind(AssertUnwindSafe(|| open(path))).ok().flatten();
        Packs { list: indices.iter().filter_map(|path| open(path)).collect(), starts: OnceLock::new() }
    }

    /// Prepares for so many calls of [`Packs::place`].
    pub fn expect(&self, calls: usize) {
        /// To go once through an index takes as long as so many objects of it by looks that it spares.
        const OBJECTS_PER_CALL: usize = 16;
        if self.objects() / OBJECTS_PER_CALL < calls {
            let starts = |index: &index::File| Starts::of(index.num_objects(), |at| index.oid_at_index(at));
            let all = || self.list.iter().map(|(index, _)| starts(index)).collect();
            // Hostile bytes must not take the thread with them.
            let _odd = catch_unwind(AssertUnwindSafe(|| self.starts.get_or_init(all)));
        }
    }

    /// How many objects they have, those of several packs more than once.
    pub fn objects(&self) -> usize {
        self.list.iter().map(|(index, _)| index.num_objects() as usize).sum()
    }

    /// Where the object `id` is, if it is in a pack.
    pub fn place(&self, id: &oid) -> Option<Place> {
        let starts = self.starts.get();
        let in_pack = |(pack, (index, _)): (usize, &(index::File, _))| {
            Place::new(pack, index.pack_offset_at_index(lookup(index, starts.map(|starts| &starts[pack]), id)?))
        };
        // Hostile bytes must not take the thread with them.
        let found = catch_unwind(AssertUnwindSafe(|| self.list.iter().enumerate().find_map(in_pack)));
        found.ok().flatten()
    }

    /// The pack that `place` is in.
    pub(super) fn get(&self, place: Place) -> Option<&(index::File, data::File)> {
        self.list.get(place.pack())
    }

    /// What the object at `place` is a delta of.
    pub(super) fn base(&self, place: Place) -> Option<Place> {
        let (index, data) = self.get(place)?;
        Place::new(place.pack(), base_offset(index, &data.entry(place.offset()).ok()?)?)
    }
}

/// Where the base of the delta `entry` is; none of what is no delta.
pub(super) fn base_offset(index: &index::File, entry: &data::Entry) -> Option<u64> {
    match entry.header {
        Header::OfsDelta { base_distance } => entry.checked_base_pack_offset(base_distance),
        Header::RefDelta { base_id } => Some(index.pack_offset_at_index(lookup(index, None, &base_id)?)),
        Header::Blob | Header::Commit | Header::Tree | Header::Tag => None,
    }
}

/// The position of `id` in an index.
fn lookup(index: &index::File, starts: Option<&Starts>, id: &oid) -> Option<u32> {
    let all = || Among { positions: 0..index.num_objects(), values: (0, u64::MAX) };
    position(starts.map_or_else(all, |starts| starts.among(id)), |at| index.oid_at_index(at), id)
}

/// The first bytes of an id, as a number.
fn value(id: &oid) -> u64 {
    id.as_bytes().first_chunk().map_or(0, |start| u64::from_be_bytes(*start))
}

/// Some ids of an index that stand one behind the other.
struct Among {
    positions: Range<u32>,
    /// Their values are not below the first and not above the second.
    values: (u64, u64),
}

/// Where in an index the ids begin that have the same first bits, a few each.
struct Starts {
    bits: u32,
    /// One position for each value of the bits, and the number of ids.
    positions: Vec<u32>,
}

impl Starts {
    /// Two raised to this power is how many ids have the same bits.
    const SHARED: u32 = 2;

    fn of<'i>(count: u32, id_at: impl Fn(u32) -> &'i oid) -> Self {
        let bits = count.checked_ilog2().unwrap_or_default().saturating_sub(Self::SHARED);
        let mut starts = Starts { bits, positions: Vec::with_capacity((1 << bits) + 1) };
        for at in 0..count {
            let len = starts.first_bits(id_at(at)) + 1;
            // In an index whose ids are in no order, some are not found by this, and left to gix.
            if starts.positions.len() < len {
                starts.positions.resize(len, at);
            }
        }
        starts.positions.resize((1 << bits) + 1, count);
        starts
    }

    fn first_bits(&self, id: &oid) -> usize {
        value(id).checked_shr(u64::BITS - self.bits).unwrap_or_default() as usize
    }

    /// The ids that begin with the bits of `id`.
    fn among(&self, id: &oid) -> Among {
        let at = self.first_bits(id);
        let others = u64::MAX >> self.bits;
        let from = value(id) & !others;
        Among { positions: self.positions[at]..self.positions[at + 1], values: (from, from | others) }
    }
}

/// The position of `id` among sorted ids. They are drawn as if by lot, so where one must stand is known within a few
/// places; of the dozen and more that halving looks at, each is somewhere else in memory.
fn position<'i>(among: Among, id_at: impl Fn(u32) -> &'i oid, id: &oid) -> Option<u32> {
    /// Within so many looks it is found in an index as git writes it; beyond them, what is left is halved.
    const GUESSES: u32 = 12;
    let wanted = value(id);
    let (Among { positions: Range { start: mut from, end: mut to }, values: (mut below, mut above) }, mut looks) =
        (among, 0);
    while from < to {
        let (far, all) = (wanted.saturating_sub(below), above.saturating_sub(below));
        // Of numbers, the highest 32 bits are enough, and much sooner divided.
        let cut = u32::BITS.saturating_sub(all.leading_zeros());
        let guess = u64::from(to - from) * (far >> cut).min(u64::from(u32::MAX)) / ((all >> cut) + 1);
        let guess = u32::try_from(guess).unwrap_or(u32::MAX).min(to - from - 1);
        let at = from + if looks < GUESSES { guess } else { (to - from) / 2 };
        let found = id_at(at);
        let found_value = value(found);
        match found_value.cmp(&wanted).then_with(|| found.cmp(id)) {
            Ordering::Equal => return Some(at),
            Ordering::Less => (from, below) = (at + 1, found_value),
            Ordering::Greater => (to, above) = (at, found_value),
        }
        looks += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use gix::ObjectId;

    use super::*;

    #[test]
    fn ids_are_found_however_they_are_spread() {
        let mut drawn = 5_u64;
        let mut draw = || {
            drawn = drawn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            drawn >> 11
        };
        let mut id = |spread: u32| -> ObjectId {
            // The first bytes from everywhere, from few values, or all the same.
            let start = draw().to_be_bytes().map(|byte| if spread == 0 { 7 } else { byte % spread as u8 });
            let parts = [&start[..], &draw().to_be_bytes(), &draw().to_be_bytes()[4..]].concat();
            ObjectId::try_from(&parts[..]).expect("twenty bytes")
        };
        for spread in [0, 2, 9, 255] {
            for count in [0, 1, 2, 3, 100, 5000] {
                let mut ids: Vec<ObjectId> = (0..count).map(|_| id(spread)).collect();
                ids.sort();
                ids.dedup();
                let starts = |ids: &[ObjectId]| Starts::of(ids.len() as u32, |at| &ids[at as usize]);
                let find = |ids: &[ObjectId], starts: &Starts, id: &oid| {
                    let at = |at: u32| &*ids[at as usize];
                    let all = Among { positions: 0..ids.len() as u32, values: (0, u64::MAX) };
                    [position(all, at, id), position(starts.among(id), at, id)]
                };
                let sorted = starts(&ids);
                for (at, id) in ids.iter().enumerate() {
                    assert_eq!(find(&ids, &sorted, id), [Some(at as u32); 2], "{spread} {count}");
                }
                let others = [
                    id(spread),
                    id(255),
                    ObjectId::null(Kind::Sha1),
                    ObjectId::try_from(&[255; 20][..]).expect("an id"),
                ];
                for other in others {
                    assert_eq!(find(&ids, &sorted, &other), [ids.binary_search(&other).ok().map(|at| at as u32); 2]);
                }
                // In no order, the search ends, and what it finds is there.
                ids.reverse();
                let reversed = starts(&ids);
                for id in &ids {
                    assert!(find(&ids, &reversed, id).into_iter().flatten().all(|at| ids[at as usize] == *id));
                }
            }
        }
    }

    #[test]
    fn places_hold_what_they_are_made_of() {
        for (pack, offset) in [(0, 12), (1, 12), (0xffff, (1 << 48) - 1)] {
            let place = Place::new(pack, offset).expect("a real one");
            assert_eq!((place.pack(), place.offset()), (pack, offset));
        }
        assert_eq!([(0, 1 << 48), (0x10000, 12), (0, 0), (1, 0)].map(|(pack, at)| Place::new(pack, at)), [None; 4]);
    }
}
