//! Decodes blobs and trees of packs so that every step of a delta chain is decoded once.
//!
//! gix decodes an object with all deltas below it and remembers the object alone. Versions of a file are a chain of
//! deltas, and they are wanted one after the other, so here every step is remembered, bases included. What is not in a
//! pack that could be opened, and all that is odd (another kind of object, damage, a chain without end, sizes beyond
//! the limit), is left to gix, which knows what to say of it.

use std::{
    num::NonZeroUsize,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    rc::Rc,
    sync::Arc,
};

use clru::{CLruCache, CLruCacheConfig, WeightScale};
use gix::{
    ObjectId,
    hash::Kind,
    odb::pack::{
        data::{self, entry::Header},
        index,
    },
    zlib::Inflate,
};

/// Longest chain of deltas; git makes none of more than 4095 (`--depth`).
const CHAIN_MAX: usize = 4096;

/// Largest object in bytes that is decoded here, bases included.
const OBJECT_BYTES_MAX: u64 = 16 << 20;

/// Objects that a thread remembers, in bytes.
const CACHE_BYTES: NonZeroUsize = NonZeroUsize::new(48 << 20).expect("it is not zero");

/// Forgotten objects of which the memory is kept for the next ones: fresh memory is cleared by the kernel first.
const SPARE_MAX: usize = 32;

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
}

struct Bytes;

impl WeightScale<(usize, u64), Rc<Vec<u8>>> for Bytes {
    fn weight(&self, _: &(usize, u64), object: &Rc<Vec<u8>>) -> usize {
        object.len()
    }
}

/// Decodes objects of one kind, for one thread.
pub struct Decoder {
    kind: gix::objs::Kind,
    packs: Arc<Packs>,
    inflate: Inflate,
    /// By pack and offset.
    cache: CLruCache<(usize, u64), Rc<Vec<u8>>, std::hash::RandomState, Bytes>,
    delta: Vec<u8>,
    spare: Vec<Vec<u8>>,
}

impl Decoder {
    /// Decodes objects of this kind from `packs`.
    pub fn new(packs: Arc<Packs>, kind: gix::objs::Kind) -> Self {
        let cache = CLruCache::with_config(CLruCacheConfig::new(CACHE_BYTES).with_scale(Bytes));
        Decoder { kind, packs, inflate: Inflate::default(), cache, delta: Vec::new(), spare: Vec::new() }
    }

    /// The object `id`, if it is of the kind and can be decoded here.
    pub fn decode(&mut self, id: &ObjectId) -> Option<Rc<Vec<u8>>> {
        // Hostile bytes must not take the thread with them, whatever the libraries below do about them.
        catch_unwind(AssertUnwindSafe(|| self.try_decode(id))).ok().flatten()
    }

    fn try_decode(&mut self, id: &ObjectId) -> Option<Rc<Vec<u8>>> {
        let packs = Arc::clone(&self.packs);
        let found = packs.list.iter().enumerate().find_map(|(at, pack)| Some((at, pack, pack.0.lookup(id)?)));
        let (number, (index, data), at) = found?;
        let mut offset = index.pack_offset_at_index(at);
        let mut chain = Vec::new();
        let mut object = loop {
            if let Some(known) = self.cache.get(&(number, offset)) {
                break Rc::clone(known);
            }
            let entry = data.entry(offset).ok()?;
            if entry.decompressed_size > OBJECT_BYTES_MAX || chain.len() == CHAIN_MAX {
                return None;
            }
            let base = match entry.header {
                header if header.as_kind() == Some(self.kind) => {
                    let mut bytes = self.memory(usize::try_from(entry.decompressed_size).ok()?);
                    bytes.resize(usize::try_from(entry.decompressed_size).ok()?, 0);
                    data.decompress_entry(&entry, &mut self.inflate, &mut bytes).ok()?;
                    break self.remember((number, offset), bytes);
                }
                Header::OfsDelta { base_distance } => entry.checked_base_pack_offset(base_distance)?,
                Header::RefDelta { base_id } => index.pack_offset_at_index(index.lookup(base_id)?),
                Header::Blob | Header::Commit | Header::Tree | Header::Tag => return None,
            };
            chain.push((offset, entry));
            offset = base;
        };
        while let Some((offset, entry)) = chain.pop() {
            self.delta.resize(usize::try_from(entry.decompressed_size).ok()?, 0);
            data.decompress_entry(&entry, &mut self.inflate, &mut self.delta).ok()?;
            let (size, commands) = sizes(&self.delta, &object)?;
            let mut bytes = self.memory(size);
            apply(&object, &self.delta[commands..], size, &mut bytes)?;
            object = self.remember((number, offset), bytes);
        }
        Some(object)
    }

    /// An empty buffer for `size` bytes.
    fn memory(&mut self, size: usize) -> Vec<u8> {
        // The smallest that holds them and wastes no more than as much again.
        let fits = |spare: &(usize, &Vec<u8>)| (size..=2 * size + 4096).contains(&spare.1.capacity());
        let best = self.spare.iter().enumerate().filter(fits).min_by_key(|(_, spare)| spare.capacity());
        let mut memory = match best.map(|(at, _)| at) {
            Some(at) => self.spare.swap_remove(at),
            None => Vec::with_capacity(size),
        };
        memory.clear();
        memory
    }

    fn remember(&mut self, key: (usize, u64), bytes: Vec<u8>) -> Rc<Vec<u8>> {
        while self.cache.len() + self.cache.weight() + bytes.len() >= CACHE_BYTES.get() {
            let Some((_, oldest)) = self.cache.pop_back() else { break };
            if self.spare.len() == SPARE_MAX {
                self.spare.swap_remove(0);
            }
            self.spare.extend(Rc::try_unwrap(oldest).ok());
        }
        let object = Rc::new(bytes);
        // What is larger than the cache is not remembered.
        let _too_large = self.cache.put_with_weight(key, Rc::clone(&object));
        object
    }
}

/// What `delta` says of the size of its result, and where its commands begin; none where it is no delta of `base`.
fn sizes(delta: &[u8], base: &[u8]) -> Option<(usize, usize)> {
    let (base_size, rest) = size(delta)?;
    let (result_size, commands) = size(rest)?;
    let fits = base_size == base.len() as u64 && result_size <= OBJECT_BYTES_MAX;
    fits.then_some((usize::try_from(result_size).ok()?, delta.len() - commands.len()))
}

/// Appends to the empty `result` the `result_size` bytes that the commands of a delta make of `base` (gitformat-pack,
/// "Deltified representation"); none where they are damaged.
fn apply(base: &[u8], mut delta: &[u8], result_size: usize, result: &mut Vec<u8>) -> Option<()> {
    while let Some((&command, rest)) = delta.split_first() {
        delta = rest;
        let part = if command & 0x80 != 0 {
            // Bits say which bytes of offset and length follow.
            let mut number = |bits: std::ops::Range<u8>| {
                let mut value = 0usize;
                for (place, bit) in bits.enumerate() {
                    if command & 1 << bit != 0 {
                        let (&byte, rest) = delta.split_first()?;
                        value |= usize::from(byte) << (8 * place);
                        delta = rest;
                    }
                }
                Some(value)
            };
            let (from, length) = (number(0..4)?, number(4..7)?);
            let length = if length == 0 { 0x10000 } else { length };
            base.get(from..from + length)?
        } else {
            let (new, rest) = delta.split_at_checked(usize::from(command)).filter(|_| command != 0)?;
            delta = rest;
            new
        };
        if part.len() > result_size - result.len() {
            return None;
        }
        result.extend_from_slice(part);
    }
    (result.len() == result_size).then_some(())
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

    fn apply(base: &[u8], delta: &[u8]) -> Option<Vec<u8>> {
        let mut result = Vec::new();
        let (size, commands) = sizes(delta, base)?;
        super::apply(base, &delta[commands..], size, &mut result).map(|()| result)
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
