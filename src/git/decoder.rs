//! Decodes blobs and trees of packs so that every step of a delta chain is decoded once.
//!
//! gix decodes an object with all deltas below it and remembers the object alone. Versions of a file are a chain of
//! deltas, and they are wanted one after the other, so here every step is remembered, bases included. What is not in a
//! pack that could be opened, and all that is odd (another kind of object, damage, a chain without end, sizes beyond
//! the limit), is left to gix, which knows what to say of it.

use std::{
    collections::VecDeque,
    num::NonZeroUsize,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    sync::Arc,
};

use bstr::ByteVec as _;
use clru::{CLruCache, CLruCacheConfig, WeightScale};
use gix::{ObjectId, hash::oid, odb::pack::data, zlib::Inflate};
use hashbrown::DefaultHashBuilder;

use super::{
    delta::{Sizes, apply, apply_to_text, sizes},
    needs::Needs,
    packs::{Packs, Place, base_offset},
    repository::Repository,
};

/// Longest chain of deltas; git makes none of more than 4095 (`--depth`).
const CHAIN_MAX: usize = 4096;

/// Largest object in bytes that is decoded here, bases included.
const OBJECT_BYTES_MAX: u64 = 16 << 20;

/// Of small objects, so many bytes are remembered at most: what is near is found sooner, and memory that was never used is
/// cleared first.
const CACHE_BYTES_MIN: usize = 6 << 20;

/// As [`CACHE_BYTES_MIN`], where it is known what is still needed: most of what is remembered then is.
const NEEDED_BYTES_MIN: usize = 16 << 20;

/// Of what a thread may remember, trees as they are decoded get one part in so many: most serve a few commits, and those that are
/// taken apart are remembered as well.
const TREES_PART: usize = 8;

/// Objects of one size that are remembered: git's chains have 50 deltas (`--depth`), and one base.
const CACHE_OBJECTS: usize = 64;

/// Memory of fewer bytes is not kept: the allocator has it at hand.
const SPARE_BYTES_MIN: usize = 8 << 10;

/// Forgotten objects of which the memory is kept for the next ones: fresh memory is cleared by the kernel first.
const SPARE_MAX: usize = 32;

/// Objects that no row to come needs and somebody still holds: the texts that are kept for the next rows, and those of one row.
const DONE_MAX: usize = 24;

/// A decoded object: a blob is text where its bytes are UTF-8. A version of a text is made from the text before, so that what both
/// have is not checked again.
#[derive(Clone)]
pub enum Contents {
    /// UTF-8.
    Text(Rc<String>),
    /// Anything else, and what is no blob.
    Bytes(Rc<Vec<u8>>),
}

impl Contents {
    fn new(bytes: Vec<u8>) -> Self {
        match bytes.into_string() {
            Ok(text) => Contents::Text(Rc::new(text)),
            Err(error) => Contents::Bytes(Rc::new(error.into_vec())),
        }
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Contents::Text(text) => text.as_bytes(),
            Contents::Bytes(bytes) => bytes,
        }
    }

    /// Bytes that it takes in a cache. What of its memory was never used takes nothing.
    fn weight(&self) -> usize {
        /// The entry of the cache and the counts of who has it.
        const ENTRY: usize = 128;
        ENTRY
            + match self {
                Contents::Text(text) => text.len(),
                Contents::Bytes(bytes) => bytes.len(),
            }
    }

    /// Whether nobody else has it.
    fn is_alone(&self) -> bool {
        match self {
            Contents::Text(text) => Rc::strong_count(text) == 1,
            Contents::Bytes(bytes) => Rc::strong_count(bytes) == 1,
        }
    }

    /// The memory, if nobody else has it.
    fn into_memory(self) -> Option<Vec<u8>> {
        match self {
            Contents::Text(text) => Rc::try_unwrap(text).ok().map(String::into_bytes),
            Contents::Bytes(bytes) => Rc::try_unwrap(bytes).ok(),
        }
    }
}

struct Bytes;

impl WeightScale<Place, Contents> for Bytes {
    fn weight(&self, _: &Place, object: &Contents) -> usize {
        object.weight()
    }
}

/// Decodes objects of one kind, for one thread.
pub struct Decoder {
    kind: gix::objs::Kind,
    packs: Arc<Packs>,
    /// Objects that are remembered, in bytes.
    cache_bytes: usize,
    /// Objects above are left to gix; what they are made of may be larger.
    bytes_max: u64,
    inflate: Inflate,
    cache: CLruCache<Place, Contents, DefaultHashBuilder, Bytes>,
    /// How often objects are still needed, where that is known.
    needs: Option<Arc<Needs>>,
    /// What no row to come needs and somebody still held, oldest first.
    done: VecDeque<Contents>,
    /// Memory for the deltas of an object, and for two of them.
    chain: Vec<(Place, data::Entry)>,
    deltas: [Vec<u8>; 2],
    spare: Vec<Vec<u8>>,
}

impl Decoder {
    /// Decodes objects of this kind and of at most `bytes_max` bytes from the packs of `repository`.
    pub fn new(repository: &Repository, kind: gix::objs::Kind, bytes_max: u64) -> Self {
        Self::with_packs(repository.packs(), repository.cache_bytes(), kind, bytes_max)
    }

    fn with_packs(packs: Arc<Packs>, cache_bytes: NonZeroUsize, kind: gix::objs::Kind, bytes_max: u64) -> Self {
        let config = CLruCacheConfig::new(cache_bytes).with_hasher(DefaultHashBuilder::default()).with_scale(Bytes);
        let (inflate, cache) = (Inflate::default(), CLruCache::with_config(config));
        let (cache_bytes, deltas, spare) = (cache_bytes.get(), Default::default(), Vec::new());
        let (needs, done, chain) = (None, VecDeque::new(), Vec::new());
        Decoder { kind, packs, cache_bytes, bytes_max, inflate, cache, needs, done, chain, deltas, spare }
    }

    /// Lets go what is not needed any more by these counts. [`Decoder::serve`] has to be told of every object that was asked for.
    #[must_use]
    pub(super) fn with_needs(mut self, needs: Option<Arc<Needs>>) -> Self {
        self.needs = needs;
        self
    }

    /// Where the object `id` is, if it is in a pack.
    pub(super) fn place(&self, id: &oid) -> Option<Place> {
        self.packs.place(id)
    }

    /// The object `id`, if it is of the kind and can be decoded here.
    pub fn decode(&mut self, id: &ObjectId) -> Option<Contents> {
        let place = self.place(id)?;
        self.decode_at(place)
    }

    /// As [`Decoder::decode`], of objects that are mostly no deltas, and nothing is made of: such a one is not remembered.
    pub(super) fn decode_once(&mut self, id: &oid) -> Option<Vec<u8>> {
        let place = self.place(id)?;
        let whole = catch_unwind(AssertUnwindSafe(|| {
            let (_, data) = self.packs.get(place)?;
            let entry = data.entry(place.offset()).ok()?;
            let is_whole = entry.header.as_kind() == Some(self.kind);
            if !is_whole || entry.decompressed_size > self.bytes_max.min(OBJECT_BYTES_MAX) {
                return None;
            }
            let mut bytes = vec![0; usize::try_from(entry.decompressed_size).ok()?];
            data.decompress_entry(&entry, &mut self.inflate, &mut bytes).ok()?;
            Some(bytes)
        }));
        let whole = whole.ok().flatten();
        whole.or_else(|| self.decode_at(place).map(|object| object.as_bytes().to_vec()))
    }

    /// The object at `place`, if it is of the kind and can be decoded here.
    pub(super) fn decode_at(&mut self, place: Place) -> Option<Contents> {
        // Hostile bytes must not take the thread with them, whatever the libraries below do about them.
        let decoded = catch_unwind(AssertUnwindSafe(|| self.try_decode(place))).ok().flatten();
        decoded.filter(|object| object.as_bytes().len() as u64 <= self.bytes_max)
    }

    fn try_decode(&mut self, place: Place) -> Option<Contents> {
        let packs = Arc::clone(&self.packs);
        let (index, data) = packs.get(place)?;
        let mut place = place;
        let mut chain = std::mem::take(&mut self.chain);
        chain.clear();
        let mut object = loop {
            if let Some(known) = self.cache.get(&place) {
                break known.clone();
            }
            let entry = data.entry(place.offset()).ok()?;
            let size = usize::try_from(entry.decompressed_size).ok()?;
            if entry.decompressed_size > OBJECT_BYTES_MAX || chain.len() == CHAIN_MAX {
                return None;
            }
            if entry.header.as_kind() == Some(self.kind) {
                if chain.is_empty() && entry.decompressed_size > self.bytes_max {
                    return None;
                }
                let mut bytes = self.memory(size);
                // What was there before is written over, or the object is damaged.
                bytes.resize(size, 0);
                data.decompress_entry(&entry, &mut self.inflate, &mut bytes).ok()?;
                let object = self.contents(bytes);
                break self.remember(place, object);
            }
            let base = Place::new(place.pack(), base_offset(index, &entry)?)?;
            if chain.is_empty() {
                // The delta of the object itself tells its size, before anything else is decoded for it.
                let delta = inflated(data, &entry, &mut self.inflate, &mut self.deltas[0])?;
                if sizes(delta)?.result > self.bytes_max {
                    return None;
                }
            }
            chain.push((place, entry));
            place = base;
        };
        let mut base = place;
        while let Some((place, entry)) = chain.pop() {
            let [own, other] = &mut self.deltas;
            let delta = if chain.is_empty() {
                std::mem::take(own)
            } else {
                inflated(data, &entry, &mut self.inflate, other).map(std::mem::take)?
            };
            let patched = self.patch(&object, &delta);
            self.deltas[usize::from(!chain.is_empty())] = delta;
            object = self.remember(place, patched?);
            if self.needs.as_ref().is_some_and(|needs| needs.is_first(place)) {
                self.serve(base);
            }
            base = place;
        }
        self.chain = chain;
        Some(object)
    }

    /// Notes that the object at `place` was what somebody needed, and lets go of it where that was the last one.
    pub(super) fn serve(&mut self, place: Place) {
        if !self.needs.as_ref().is_some_and(|needs| needs.take(place)) {
            return;
        }
        // What a row or the texts of the last rows still hold takes no memory beside theirs.
        match self.cache.pop(&place) {
            Some(object) if object.is_alone() => self.recycle(object),
            object => self.done.extend(object.filter(|object| object.as_bytes().len() >= SPARE_BYTES_MIN)),
        }
        while self.done.len() > DONE_MAX || self.done.front().is_some_and(Contents::is_alone) {
            let Some(object) = self.done.pop_front() else { break };
            self.recycle(object);
        }
    }

    /// Keeps the memory of an object for the next ones, if nobody else has it.
    fn recycle(&mut self, object: Contents) {
        let memory = object.into_memory().filter(|memory| memory.capacity() >= SPARE_BYTES_MIN);
        if memory.is_some() && self.spare.len() == SPARE_MAX {
            self.spare.swap_remove(0);
        }
        self.spare.extend(memory);
    }

    /// What `delta` makes of `base`; none where it is none of `base`, or damaged.
    fn patch(&mut self, base: &Contents, delta: &[u8]) -> Option<Contents> {
        let Sizes { base: base_size, result, commands } = sizes(delta)?;
        if base_size != base.as_bytes().len() as u64 || result > OBJECT_BYTES_MAX {
            return None;
        }
        let (size, commands) = (usize::try_from(result).ok()?, &delta[commands..]);
        let mut memory = self.memory(size);
        memory.clear();
        if let Contents::Text(base) = base {
            let text = String::from_utf8(memory).expect("it is empty");
            match apply_to_text(base, commands, size, text) {
                Ok(text) => return Some(Contents::Text(Rc::new(text))),
                Err(text) => memory = text.into_bytes(),
            }
            memory.clear();
        }
        apply(base.as_bytes(), commands, size, &mut memory)?;
        Some(self.contents(memory))
    }

    /// Only of blobs is it asked whether they are text.
    fn contents(&self, bytes: Vec<u8>) -> Contents {
        match self.kind {
            gix::objs::Kind::Blob => Contents::new(bytes),
            _ => Contents::Bytes(Rc::new(bytes)),
        }
    }

    /// A buffer for `size` bytes, with anything in it.
    fn memory(&mut self, size: usize) -> Vec<u8> {
        if size < SPARE_BYTES_MIN {
            return Vec::with_capacity(size);
        }
        // Of few sizes, so that it fits the next versions and the next file.
        let capacity = size.next_power_of_two();
        match self.spare.iter().position(|spare| spare.capacity() == capacity) {
            Some(at) => self.spare.swap_remove(at),
            None => Vec::with_capacity(capacity),
        }
    }

    fn remember(&mut self, place: Place, object: Contents) -> Contents {
        let size = object.weight();
        let most = match self.kind {
            // Blobs come one file after the other; trees of all sizes are asked for in turn.
            gix::objs::Kind::Blob => {
                let least = if self.needs.is_some() { NEEDED_BYTES_MIN } else { CACHE_BYTES_MIN };
                self.cache_bytes.min(least.max(CACHE_OBJECTS * size))
            }
            _ => self.cache_bytes / TREES_PART,
        };
        while self.cache.len() + self.cache.weight() + size >= most {
            let Some((_, oldest)) = self.cache.pop_back() else { break };
            self.recycle(oldest);
        }
        // What is larger than the cache is not remembered.
        let _too_large = self.cache.put_with_weight(place, object.clone());
        object
    }
}

/// Inflates the delta `entry` of `data` into `buffer`.
fn inflated<'b>(
    data: &data::File,
    entry: &data::Entry,
    inflate: &mut Inflate,
    buffer: &'b mut Vec<u8>,
) -> Option<&'b mut Vec<u8>> {
    buffer.resize(usize::try_from(entry.decompressed_size).ok()?, 0);
    data.decompress_entry(entry, inflate, buffer).ok()?;
    Some(buffer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoder() -> Decoder {
        let cache_bytes = NonZeroUsize::new(1 << 20).expect("it is not zero");
        Decoder::with_packs(Arc::default(), cache_bytes, gix::objs::Kind::Blob, OBJECT_BYTES_MAX)
    }

    fn apply(base: &[u8], delta: &[u8]) -> Option<Vec<u8>> {
        let mut decoder = decoder();
        decoder.patch(&Contents::new(base.to_vec()), delta).map(|object| object.as_bytes().to_vec())
    }

    #[test]
    fn text_is_put_together_from_cut_letters() {
        let base = "aÄß€𝄞z".as_bytes();
        let all = |from: usize, to: usize| [0x91, from as u8, (to - from) as u8];
        // All ways to cut the text in three, copied and inserted.
        for first in 0..=base.len() {
            for second in first..=base.len() {
                for inserted in 0..8 {
                    let mut delta = vec![base.len() as u8, base.len() as u8];
                    for (part, (from, to)) in
                        [(0, first), (first, second), (second, base.len())].into_iter().enumerate()
                    {
                        if from == to {
                            continue;
                        }
                        if inserted & 1 << part == 0 {
                            delta.extend(all(from, to));
                        } else {
                            delta.push((to - from) as u8);
                            delta.extend(&base[from..to]);
                        }
                    }
                    let mut decoder = decoder();
                    let made = decoder.patch(&Contents::new(base.to_vec()), &delta).expect("a good delta");
                    assert!(matches!(&made, Contents::Text(text) if text.as_bytes() == base), "{first} {second}");
                }
            }
        }
        // Parts in another order are text only where no letter is cut.
        for first in 0..=base.len() {
            for second in first..=base.len() {
                let size = base.len() - (second - first);
                let mut delta = vec![base.len() as u8, size as u8];
                if first > 0 {
                    delta.extend(all(0, first));
                }
                if second < base.len() {
                    delta.extend(all(second, base.len()));
                }
                let expected = [&base[..first], &base[second..]].concat();
                if expected.is_empty() {
                    continue;
                }
                let mut decoder = decoder();
                let made = decoder.patch(&Contents::new(base.to_vec()), &delta).expect("a good delta");
                assert_eq!(made.as_bytes(), expected);
                assert_eq!(
                    matches!(made, Contents::Text(_)),
                    std::str::from_utf8(&expected).is_ok(),
                    "{first} {second}"
                );
            }
        }
    }

    #[test]
    fn what_nobody_needs_is_let_go_and_its_memory_kept() {
        let [first, second] = [1, 2].map(|offset| Place::new(0, offset).expect("a small offset"));
        let needs = Needs::with_counts([(first, 2), (second, 1)]);
        let mut decoder = decoder().with_needs(Some(Arc::new(needs)));
        let object = |byte| Contents::new(vec![byte; SPARE_BYTES_MIN]);
        let held = decoder.remember(first, object(7));
        decoder.serve(first);
        assert!(decoder.cache.contains(&first), "one need is left");
        decoder.serve(first);
        assert!(!decoder.cache.contains(&first) && decoder.spare.is_empty(), "somebody still holds it");
        drop(held);
        drop(decoder.remember(second, object(8)));
        decoder.serve(second);
        assert_eq!((decoder.cache.len(), decoder.done.len(), decoder.spare.len()), (0, 0, 2));
    }

    #[test]
    fn deltas_are_applied_or_refused() {
        let base = b"abcdefgh";
        // Copy 3 bytes from 2, add "xy", copy 1 byte from 0.
        let good = [8, 6, 0x91, 2, 3, 2, b'x', b'y', 0x90, 1];
        assert_eq!(apply(base, &good), Some(b"cdexya".to_vec()));
        let cases: &[&[u8]] = &[
            &[],
            &[8],
            &[0x80; 12],
            &[7, 1, 1, b'x'],
            &[8, 1, 0],
            &[8, 1, 2, b'x'],
            &[8, 2, 1, b'x'],
            &[8, 1, 2, b'x', b'y'],
            &[8, 3, 0x91, 6, 3],
            &[8, 3, 0x91, 6],
            &[8, 3, 0xff, 255, 255, 255, 255, 255, 255, 255],
            &[8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 1, b'x'],
        ];
        for delta in cases {
            assert_eq!(apply(base, delta), None, "{delta:?}");
        }
        // No length at all stands for 65,536 bytes.
        let long = vec![7; 0x10000];
        assert_eq!(apply(&long, &[0x80, 0x80, 4, 0x80, 0x80, 4, 0x80]), Some(long.clone()));
    }
}
