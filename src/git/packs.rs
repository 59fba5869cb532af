//! Decodes blobs and trees of packs so that every step of a delta chain is decoded once.
//!
//! gix decodes an object with all deltas below it and remembers the object alone. Versions of a file are a chain of
//! deltas, and they are wanted one after the other, so here every step is remembered, bases included. What is not in a
//! pack that could be opened, and all that is odd (another kind of object, damage, a chain without end, sizes beyond
//! the limit), is left to gix, which knows what to say of it.

use std::{
    cmp::Ordering,
    collections::VecDeque,
    num::NonZeroUsize,
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    rc::Rc,
    sync::Arc,
};

use clru::{CLruCache, CLruCacheConfig, WeightScale};
use gix::{
    ObjectId,
    hash::{Kind, oid},
    odb::pack::{
        data::{self, entry::Header},
        index,
    },
    zlib::Inflate,
};
use hashbrown::DefaultHashBuilder;

use super::{needs::Needs, repository::Repository};

/// Longest chain of deltas; git makes none of more than 4095 (`--depth`).
const CHAIN_MAX: usize = 4096;

/// Largest object in bytes that is decoded here, bases included.
const OBJECT_BYTES_MAX: u64 = 16 << 20;

/// Of small objects, so many bytes are remembered at most: what is near is found sooner, and memory that was never used is
/// cleared first.
const CACHE_BYTES_MIN: usize = 6 << 20;

/// As [`CACHE_BYTES_MIN`], where it is known what is still needed: most of what is remembered then is.
const NEEDED_BYTES_MIN: usize = 16 << 20;

/// Objects of one size that are remembered: git's chains have 50 deltas (`--depth`), and one base.
const CACHE_OBJECTS: usize = 64;

/// Memory of fewer bytes is not kept: the allocator has it at hand.
const SPARE_BYTES_MIN: usize = 8 << 10;

/// Forgotten objects of which the memory is kept for the next ones: fresh memory is cleared by the kernel first.
const SPARE_MAX: usize = 32;

/// Objects that no row to come needs and somebody still holds: the texts that are kept for the next rows, and those of one row.
const DONE_MAX: usize = 24;

/// Where an object is: the number of the pack, and where in it the entry begins. Very many are counted, so it is one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place(u64);

impl Place {
    const OFFSET_BITS: u32 = 48;

    /// None where one of the two is larger than any that is real.
    pub(super) fn new(pack: usize, offset: u64) -> Option<Self> {
        let is_real = offset >> Self::OFFSET_BITS == 0 && pack >> (u64::BITS - Self::OFFSET_BITS) == 0;
        is_real.then_some(Place((pack as u64) << Self::OFFSET_BITS | offset))
    }

    fn pack(self) -> usize {
        (self.0 >> Self::OFFSET_BITS) as usize
    }

    fn offset(self) -> u64 {
        self.0 & ((1 << Self::OFFSET_BITS) - 1)
    }
}

/// The packs of a repository that could be opened.
#[derive(Default)]
pub struct Packs {
    list: Vec<(index::File, data::File)>,
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
        Packs { list: indices.iter().filter_map(|path| open(path)).collect() }
    }

    /// Where the object `id` is.
    pub(super) fn place(&self, id: &oid) -> Option<Place> {
        self.list
            .iter()
            .enumerate()
            .find_map(|(pack, (index, _))| Place::new(pack, index.pack_offset_at_index(lookup(index, id)?)))
    }

    /// What the object at `place` is a delta of.
    pub(super) fn base(&self, place: Place) -> Option<Place> {
        let (index, data) = self.list.get(place.pack())?;
        Place::new(place.pack(), base_offset(index, &data.entry(place.offset()).ok()?)?)
    }
}

/// Where the base of the delta `entry` is; none of what is no delta.
fn base_offset(index: &index::File, entry: &data::Entry) -> Option<u64> {
    match entry.header {
        Header::OfsDelta { base_distance } => entry.checked_base_pack_offset(base_distance),
        Header::RefDelta { base_id } => Some(index.pack_offset_at_index(lookup(index, &base_id)?)),
        Header::Blob | Header::Commit | Header::Tree | Header::Tag => None,
    }
}

/// A decoded object: text where its bytes are UTF-8. A version of a text is made from the text before, so that what both
/// have is not checked again.
#[derive(Clone)]
pub enum Contents {
    /// UTF-8.
    Text(Rc<String>),
    /// Anything else.
    Bytes(Rc<Vec<u8>>),
}

impl Contents {
    fn new(bytes: Vec<u8>) -> Self {
        match String::from_utf8(bytes) {
            Ok(text) => Contents::Text(Rc::new(text)),
            Err(error) => Contents::Bytes(Rc::new(error.into_bytes())),
        }
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Contents::Text(text) => text.as_bytes(),
            Contents::Bytes(bytes) => bytes,
        }
    }

    /// Bytes that it takes in a cache.
    fn weight(&self) -> usize {
        /// The entry of the cache and the counts of who has it.
        const ENTRY: usize = 128;
        ENTRY
            + match self {
                Contents::Text(text) => text.capacity(),
                Contents::Bytes(bytes) => bytes.capacity(),
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
        let (needs, done) = (None, VecDeque::new());
        Decoder { kind, packs, cache_bytes, bytes_max, inflate, cache, needs, done, deltas, spare }
    }

    /// Lets go what is not needed any more by these counts. [`Decoder::serve`] has to be told of every object that was asked for.
    #[must_use]
    pub(super) fn with_needs(mut self, needs: Option<Arc<Needs>>) -> Self {
        self.needs = needs;
        self
    }

    /// Where the object `id` is, if it is in a pack.
    pub(super) fn place(&self, id: &oid) -> Option<Place> {
        catch_unwind(AssertUnwindSafe(|| self.packs.place(id))).ok().flatten()
    }

    /// The object `id`, if it is of the kind and can be decoded here.
    pub fn decode(&mut self, id: &ObjectId) -> Option<Contents> {
        let place = self.place(id)?;
        self.decode_at(place)
    }

    /// The object at `place`, if it is of the kind and can be decoded here.
    pub(super) fn decode_at(&mut self, place: Place) -> Option<Contents> {
        // Hostile bytes must not take the thread with them, whatever the libraries below do about them.
        let decoded = catch_unwind(AssertUnwindSafe(|| self.try_decode(place))).ok().flatten();
        decoded.filter(|object| object.as_bytes().len() as u64 <= self.bytes_max)
    }

    fn try_decode(&mut self, place: Place) -> Option<Contents> {
        let packs = Arc::clone(&self.packs);
        let (index, data) = packs.list.get(place.pack())?;
        let mut place = place;
        let mut chain = Vec::new();
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
                bytes.resize(size, 0);
                data.decompress_entry(&entry, &mut self.inflate, &mut bytes).ok()?;
                break self.remember(place, Contents::new(bytes));
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
        if let Contents::Text(base) = base {
            let text = String::from_utf8(memory).expect("it is empty");
            match apply_to_text(base, commands, size, text) {
                Ok(text) => return Some(Contents::Text(Rc::new(text))),
                Err(text) => memory = text.into_bytes(),
            }
            memory.clear();
        }
        apply(base.as_bytes(), commands, size, &mut memory)?;
        Some(Contents::new(memory))
    }

    /// An empty buffer for `size` bytes.
    fn memory(&mut self, size: usize) -> Vec<u8> {
        if size < SPARE_BYTES_MIN {
            return Vec::with_capacity(size);
        }
        // The smallest that holds them and wastes no more than as much again.
        let fits = |spare: &(usize, &Vec<u8>)| (size..=2 * size + 256).contains(&spare.1.capacity());
        let best = self.spare.iter().enumerate().filter(fits).min_by_key(|(_, spare)| spare.capacity());
        let mut memory = match best.map(|(at, _)| at) {
            Some(at) => self.spare.swap_remove(at),
            None => Vec::with_capacity(size),
        };
        memory.clear();
        memory
    }

    fn remember(&mut self, place: Place, object: Contents) -> Contents {
        let size = object.weight();
        let most = match self.kind {
            // Blobs come one file after the other; trees of all sizes are asked for in turn.
            gix::objs::Kind::Blob => {
                let least = if self.needs.is_some() { NEEDED_BYTES_MIN } else { CACHE_BYTES_MIN };
                self.cache_bytes.min(least.max(CACHE_OBJECTS * size))
            }
            _ => self.cache_bytes,
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

/// The position of `id` in an index.
fn lookup(index: &index::File, id: &oid) -> Option<u32> {
    position(index.num_objects(), |at| index.oid_at_index(at), id)
}

/// The position of `id` among `count` sorted ids. They are drawn as if by lot, so where one must stand is known within a few
/// places; of the dozen and more that halving looks at, each is somewhere else in memory.
fn position<'i>(count: u32, id_at: impl Fn(u32) -> &'i oid, id: &oid) -> Option<u32> {
    /// Within so many looks it is found in an index as git writes it; beyond them, what is left is halved.
    const GUESSES: u32 = 12;
    let start_of = |id: &oid| id.as_bytes().first_chunk().map_or(0, |start| u64::from_be_bytes(*start));
    let wanted = start_of(id);
    let (mut from, mut to, mut looks) = (0, count, 0);
    let (mut below, mut above) = (0, u64::MAX);
    while from < to {
        let among = u128::from(to - from);
        let guess = among * u128::from(wanted.saturating_sub(below)) / (u128::from(above.saturating_sub(below)) + 1);
        let guess = u32::try_from(guess).unwrap_or(u32::MAX).min(to - from - 1);
        let at = from + if looks < GUESSES { guess } else { (to - from) / 2 };
        let found = id_at(at);
        match found.cmp(id) {
            Ordering::Equal => return Some(at),
            Ordering::Less => (from, below) = (at + 1, start_of(found)),
            Ordering::Greater => (to, above) = (at, start_of(found)),
        }
        looks += 1;
    }
    None
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

/// What a delta says at its start.
struct Sizes {
    /// Bytes that it is to be applied to.
    base: u64,
    /// Bytes that it makes of them.
    result: u64,
    /// Where its commands begin.
    commands: usize,
}

fn sizes(delta: &[u8]) -> Option<Sizes> {
    let (base, rest) = size(delta)?;
    let (result, commands) = size(rest)?;
    Some(Sizes { base, result, commands: delta.len() - commands.len() })
}

/// A command of a delta (gitformat-pack, "Deltified representation").
enum Command<'d> {
    /// This part of the base.
    Copy(Range<usize>),
    /// These bytes.
    Insert(&'d [u8]),
}

/// Takes the first command off `delta`; none where it is damaged.
fn command<'d>(delta: &mut &'d [u8]) -> Option<Command<'d>> {
    let (&command, rest) = delta.split_first()?;
    *delta = rest;
    if command & 0x80 == 0 {
        let (new, rest) = delta.split_at_checked(usize::from(command)).filter(|_| command != 0)?;
        *delta = rest;
        return Some(Command::Insert(new));
    }
    // Bits say which bytes of offset and length follow.
    let mut number = |bits: Range<u8>| {
        let mut value = 0usize;
        for (place, bit) in bits.enumerate() {
            if command & 1 << bit != 0 {
                let (&byte, rest) = delta.split_first()?;
                value |= usize::from(byte) << (8 * place);
                *delta = rest;
            }
        }
        Some(value)
    };
    let (from, length) = (number(0..4)?, number(4..7)?);
    let length = if length == 0 { 0x10000 } else { length };
    Some(Command::Copy(from..from + length))
}

/// Appends to the empty `result` the `size` bytes that `commands` make of `base`; none where they are damaged.
fn apply(base: &[u8], mut commands: &[u8], size: usize, result: &mut Vec<u8>) -> Option<()> {
    while !commands.is_empty() {
        let part = match command(&mut commands)? {
            Command::Copy(range) => base.get(range)?,
            Command::Insert(new) => new,
        };
        if part.len() > size - result.len() {
            return None;
        }
        result.extend_from_slice(part);
    }
    (result.len() == size).then_some(())
}

/// Text that is put together, of which a letter may be cut at the end.
struct Pieces {
    text: String,
    open: Vec<u8>,
}

impl Pieces {
    /// Appends bytes that may begin and end within a letter; none where what comes out is no text.
    fn push_bytes(&mut self, bytes: &[u8]) -> Option<()> {
        if self.open.is_empty()
            && let Ok(text) = std::str::from_utf8(bytes)
        {
            self.text.push_str(text);
            return Some(());
        }
        self.open.extend_from_slice(bytes);
        let whole = match std::str::from_utf8(&self.open) {
            Ok(text) => text,
            // The letter may go on in what comes next.
            Err(error) if error.error_len().is_none() => std::str::from_utf8(&self.open[..error.valid_up_to()]).ok()?,
            Err(_) => return None,
        };
        self.text.push_str(whole);
        let whole = whole.len();
        self.open.drain(..whole);
        Some(())
    }

    /// Appends this part of a text.
    fn push_part(&mut self, text: &str, range: Range<usize>) -> Option<()> {
        // Nearly all end where letters do.
        if self.open.is_empty()
            && let Some(whole) = text.get(range.clone())
        {
            self.text.push_str(whole);
            return Some(());
        }
        let from = text.ceil_char_boundary(range.start).min(range.end);
        let to = text.floor_char_boundary(range.end).max(from);
        let bytes = text.as_bytes();
        self.push_bytes(bytes.get(range.start..from)?)?;
        // A letter that was open has to be whole now.
        if self.open.is_empty()
            && let Some(whole) = text.get(from..to)
        {
            self.text.push_str(whole);
            return self.push_bytes(bytes.get(to..range.end)?);
        }
        self.push_bytes(bytes.get(from..range.end)?)
    }

    fn len(&self) -> usize {
        self.text.len() + self.open.len()
    }
}

/// As [`apply`], for text; gives the memory back where what comes out is no text, or `commands` are damaged. Only what is
/// new is looked at for that, and letters that are cut.
fn apply_to_text(base: &str, mut commands: &[u8], size: usize, memory: String) -> Result<String, String> {
    let mut made = Pieces { text: memory, open: Vec::new() };
    let mut push = |made: &mut Pieces| {
        let left = size - made.len();
        match command(&mut commands)? {
            Command::Copy(range) if range.len() <= left && range.end <= base.len() => made.push_part(base, range)?,
            Command::Insert(new) if new.len() <= left => made.push_bytes(new)?,
            _ => return None,
        }
        Some(commands.is_empty())
    };
    loop {
        match push(&mut made) {
            Some(false) => {}
            Some(true) if made.open.is_empty() && made.text.len() == size => return Ok(made.text),
            _ => return Err(made.text),
        }
    }
}

/// A size at the start of `bytes`, seven bits a byte from the lowest on, and what follows.
fn size(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut size = 0u64;
    for (at, byte) in bytes.iter().enumerate().take(9) {
        size |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((size, &bytes[at + 1..]));
        }
    }
    None
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
                let find = |ids: &[ObjectId], id: &oid| position(ids.len() as u32, |at| &ids[at as usize], id);
                for (at, id) in ids.iter().enumerate() {
                    assert_eq!(find(&ids, id), Some(at as u32), "{spread} {count}");
                }
                let others = [
                    id(spread),
                    id(255),
                    ObjectId::null(Kind::Sha1),
                    ObjectId::try_from(&[255; 20][..]).expect("an id"),
                ];
                for other in others {
                    assert_eq!(find(&ids, &other), ids.binary_search(&other).ok().map(|at| at as u32));
                }
                // In no order, the search ends, and what it finds is there.
                ids.reverse();
                for id in &ids {
                    assert!(find(&ids, id).is_none_or(|at| ids[at as usize] == *id));
                }
            }
        }
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
    fn places_hold_what_they_are_made_of() {
        for (pack, offset) in [(0, 0), (1, 12), (0xffff, (1 << 48) - 1)] {
            let place = Place::new(pack, offset).expect("a real one");
            assert_eq!((place.pack(), place.offset()), (pack, offset));
        }
        assert_eq!([Place::new(0, 1 << 48), Place::new(0x10000, 0)], [None, None]);
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
